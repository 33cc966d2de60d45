"""
Handlers that serve distributions and their core metadata.

A file is served if the caller may read its project, the project's document lists it, and the
project's status permits it. A 304, a 412 and HEAD of a distribution need no bytes of the file.
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

METADATA_SUFFIX: Final = ".metadata"
OCTET_STREAM: Final[Header] = (b"content-type", b"application/octet-stream")
ACCEPT_RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
SIGNED_URL_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # a signed URL gives access to the file
)


@dataclass(frozen=True, slots=True)
class _RequestedFile:
    project: NormalizedName
    file: File
    is_metadata: bool
    """Whether the core metadata of the file is requested, instead of the file."""


async def file_by_key(request: Request, context: ServerContext) -> Response:
    """Handle GET `/files/<project>/<sha256>/<filename>`: a distribution or its core metadata."""
    project = request.params["project"]
    requested, sha256 = await _find_listed(request, project, context), request.params["sha256"]
    if requested and requested.project == project and requested.file.sha256 == sha256:
        return await _respond(request, requested, context)
    return file_not_found()


async def file_by_name(request: Request, context: ServerContext) -> Response:
    """Handle GET of a distribution or its core metadata by filename, at a path without SHA-256."""
    sent = request.params.get("project")
    name = None if sent is None else _parse_name_or_none(sent)
    if name is not None:  # before the filename is parsed
        context.read_policy.require_project_read(request.caller, name)
    filename = request.params["filename"].removesuffix(METADATA_SUFFIX)
    try:
        project = parse_known_filename(filename).project
    except WheelyardError:
        return file_not_found()
    if sent is not None and name != project:
        return file_not_found()
    requested = await _find_listed(request, project, context)
    return file_not_found() if requested is None else await _respond(request, requested, context)


async def _find_listed(
    request: Request, project: str, context: ServerContext
) -> _RequestedFile | None:
    """
    Return which listed file the path names; None if its project does not list or serve it.

    Raise WheelyardError if the caller may not read the project.
    """
    name, sent = _parse_name_or_none(project), request.params["filename"]
    if name is None:
        return None
    context.read_policy.require_project_read(request.caller, name)
    document = (await context.documents.load_project(name)).value
    if document is None or not document.status.serves_files:
        return None
    filename = sent.removesuffix(METADATA_SUFFIX)
    file = document.by_filename.get(filename)
    return None if file is None else _RequestedFile(name, file, filename != sent)


def _parse_name_or_none(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


async def _respond(request: Request, requested: _RequestedFile, context: ServerContext) -> Response:
    file, project = requested.file, requested.project
    if requested.is_metadata and not file.serves_metadata:
        return file_not_found()
    digest = file.core_metadata if requested.is_metadata else file.sha256
    etag = f'"{digest}"'.encode()
    cache_headers = file_cache_headers(is_public=context.read_policy.is_public(project))
    common = ((b"etag", etag), ACCEPT_RANGES, NOSNIFF, SANDBOX, *cache_headers)
    if rejection := check_if_match(request.headers, etag):
        return rejection
    if is_not_modified(request.headers.get(b"if-none-match"), etag):
        return Response(304, common)
    try:
        return await _whole_or_range(request, requested, common, context)
    except NotFound as error:
        # a concurrent delete first changes the document, then deletes the bytes
        if await context.documents.is_file_listed(project, file):
            raise missing_file_error(file) from error
        return file_not_found()


async def _whole_or_range(
    request: Request, requested: _RequestedFile, common: tuple[Header, ...], context: ServerContext
) -> Response:
    """Return the response 200, 206, 302 or 416 to GET or HEAD; `common` begins with the ETag."""
    file = requested.file
    content = await _core_metadata(requested, context) if requested.is_metadata else None
    size = file.size if content is None else len(content)
    part = requested_range(request, common[0][1], size)
    if part is not None and not part.size:
        return range_not_satisfiable(size)
    sent = part or ByteRange(0, size)
    headers = (OCTET_STREAM, (b"content-length", b"%d" % sent.size))
    if request.method == "HEAD":
        return Response(200, (*headers, *common))
    if content is not None:
        body: Path | Iterator[bytes] | bytes | str = content[sent.start : sent.stop]
    else:
        deliver = partial(context.file_delivery.open_body, requested.project, file, part)
        # on a bucket, even signing a URL may be a request to Google
        body = deliver() if context.index.is_local else await context.pools.run_read(deliver)
    if isinstance(body, str):
        return redirect(302, body, *SIGNED_URL_HEADERS)
    if part is None:
        return Response(200, (*headers, *common), body)
    return Response(206, (*headers, content_range(part, size), *common), body)


async def _core_metadata(requested: _RequestedFile, context: ServerContext) -> bytes:
    project, file = requested.project, requested.file
    if (cached := context.core_metadata.cache.get(file.core_metadata)) is not None:
        return cached
    key = ("core metadata", project, file.sha256)
    return await context.documents.coalesce(
        key, partial(context.core_metadata.load_bytes, project, file)
    )
