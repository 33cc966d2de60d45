"""
Distributions and their core metadata.

Only what the project's document lists, and its status permits, is answered. What needs no bytes of
a file is answered from the document.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import NotFound, WheelyardError
from wheelyard.http.caching.cache_headers import file_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.protocol.conditional_requests import check_if_match, is_not_modified
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import NOSNIFF, Header, Request, Response, redirect
from wheelyard.http.protocol.range_requests import (
    ByteRange,
    content_range,
    range_not_satisfiable,
    requested_range,
)
from wheelyard.model.distribution_filename import parse_known_filename, parse_name
from wheelyard.model.project import File

METADATA: Final = ".metadata"

BINARY: Final[Header] = (b"content-type", b"application/octet-stream")
RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
ELSEWHERE: Final[tuple[Header, ...]] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # whoever has a signed URL has the file
)


@dataclass(frozen=True, slots=True)
class _Found:
    name: NormalizedName
    file: File
    is_metadata: bool
    """Whether its core metadata is asked for, and not the file itself."""


async def file_by_key(request: Request, context: ServerContext) -> Response:
    """Answer a file at its object's key, where the pages link to."""
    project = request.params["project"]
    found = await _listed(request, project, context)
    if found is None or found.name != project or found.file.sha256 != request.params["sha256"]:
        return file_not_found()
    return await _answer(request, found, context)


async def file_by_name(request: Request, context: ServerContext) -> Response:
    """Answer a file by its name alone, in place, exactly as at its key."""
    named = request.params.get("project")
    asked = None if named is None else _normalised(named)
    if asked is not None:  # before anything else is looked at
        context.read_policy.require_project_read(request.caller, asked)
    try:
        project = parse_known_filename(request.params["filename"].removesuffix(METADATA)).project
    except WheelyardError:
        return file_not_found()
    if named is not None and asked != project:
        return file_not_found()
    found = await _listed(request, project, context)
    return file_not_found() if found is None else await _answer(request, found, context)


async def _listed(request: Request, project: str, context: ServerContext) -> _Found | None:
    name, asked = _normalised(project), request.params["filename"]
    if name is None:
        return None
    context.read_policy.require_project_read(request.caller, name)
    document = (await context.documents.load_project(name)).value
    if document is None or not document.status.serves_files:
        return None
    filename = asked.removesuffix(METADATA)
    file = document.by_filename.get(filename)
    return None if file is None else _Found(name, file, filename != asked)


def _normalised(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


async def _answer(request: Request, found: _Found, context: ServerContext) -> Response:
    if found.is_metadata and not found.file.serves_metadata:
        return file_not_found()
    try:
        return await _whole_or_part(request, found, context)
    except NotFound as error:
        # a delete, which changes the document first, may have come in between
        if await context.documents.is_file_listed(found.name, found.file):
            raise missing_file_error(found.file) from error
        return file_not_found()


async def _whole_or_part(request: Request, found: _Found, context: ServerContext) -> Response:
    digest = found.file.core_metadata if found.is_metadata else found.file.sha256
    etag, is_public = f'"{digest}"'.encode(), context.read_policy.is_public(found.name)
    caching = file_cache_headers(is_public=is_public)
    common = ((b"etag", etag), RANGES, NOSNIFF, SANDBOX, *caching)
    refused = check_if_match(request.headers, etag)
    if refused is not None:
        return refused
    if is_not_modified(request.headers.get(b"if-none-match"), etag):
        return Response(304, common)
    return await _partial(request, found, common, context)


async def _partial(
    request: Request, found: _Found, common: tuple[Header, ...], context: ServerContext
) -> Response:
    """Return the body or a range of it; `common` begins with the ETag."""
    content = await _core_metadata(found, context) if found.is_metadata else None
    size = found.file.size if content is None else len(content)
    part = requested_range(request, common[0][1], size)
    if part is not None and not part.size:
        return range_not_satisfiable(size)
    if request.method == "HEAD":
        return Response(200, (BINARY, _length(size), *common))
    sent = part or ByteRange(0, size)
    body = await _body(found, part, context) if content is None else content[sent.start : sent.stop]
    if isinstance(body, str):
        return redirect(302, body, *ELSEWHERE)
    if part is None:
        return Response(200, (BINARY, _length(size), *common), body)
    headers = (BINARY, _length(part.size), content_range(part, size), *common)
    return Response(206, headers, body)


async def _body(
    found: _Found, part: ByteRange | None, context: ServerContext
) -> Path | Iterator[bytes] | str:
    # afar, even the signature may take a network
    body = partial(context.file_delivery.open_body, found.name, found.file, part)
    return body() if context.index.is_local else await context.pools.run_read(body)


async def _core_metadata(found: _Found, context: ServerContext) -> bytes:
    held = context.core_metadata.cache.get(found.file.core_metadata)
    if held is not None:
        return held
    subject = ("core metadata", found.name, found.file.sha256)
    read = partial(context.core_metadata.load_bytes, found.name, found.file)
    return await context.documents.coalesce(subject, read)


def _length(size: int) -> Header:
    return (b"content-length", b"%d" % size)
