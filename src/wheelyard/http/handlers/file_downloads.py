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
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.protocol.error_responses import error_response, file_not_found
from wheelyard.http.protocol.messages import NOSNIFF, Header, Request, Response, redirect
from wheelyard.http.protocol.negotiation import ByteRange, check_if_match, parse_byte_range
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
    etag, caching = f'"{digest}"'.encode(), context.read_policy.file_cache_headers(found.name)
    common = ((b"etag", etag), RANGES, NOSNIFF, SANDBOX, *caching)
    refused = check_if_match(request.headers, etag)
    if refused is not None:
        return refused
    known = request.headers.get(b"if-none-match")
    if known is not None and (etag in known or known.strip() == b"*"):
        return Response(304, common)
    return await _partial(request, found, common, context)


async def _partial(
    request: Request, found: _Found, common: tuple[Header, ...], context: ServerContext
) -> Response:
    """Return the body or a range of it; `common` begins with the ETag."""
    content = await _core_metadata(found, context) if found.is_metadata else None
    size = found.file.size if content is None else len(content)
    span = _span(request, common[0][1], size)
    if span is not None and span.start == span.stop:
        message = f"The file has {size} bytes, and the range begins behind them."
        total = (b"content-range", b"bytes */%d" % size)
        return error_response(
            416, "range_not_satisfiable", message, "Range not satisfiable.", total
        )
    if request.method == "HEAD":
        return Response(200, (BINARY, _length(size), *common))
    whole = span or ByteRange(0, size)
    body = (
        await _body(found, span, context) if content is None else content[whole.start : whole.stop]
    )
    if isinstance(body, str):
        return redirect(302, body, *ELSEWHERE)
    if span is None:
        return Response(200, (BINARY, _length(size), *common), body)
    part = (b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size))
    return Response(206, (BINARY, _length(span.stop - span.start), part, *common), body)


async def _body(
    found: _Found, span: ByteRange | None, context: ServerContext
) -> Path | Iterator[bytes] | str:
    # afar, even the signature may take a network
    body = partial(context.file_delivery.open_body, found.name, found.file, span)
    return body() if context.index.is_local else await context.pools.run_read(body)


async def _core_metadata(found: _Found, context: ServerContext) -> bytes:
    held = context.core_metadata.cache.get(found.file.core_metadata)
    if held is not None:
        return held
    subject = ("core metadata", found.name, found.file.sha256)
    read = partial(context.core_metadata.load_bytes, found.name, found.file)
    return await context.documents.coalesce(subject, read)


def _span(request: Request, etag: bytes, size: int) -> ByteRange | None:
    if request.method == "HEAD" or request.headers.get(b"if-range", etag) != etag:
        return None  # RFC 9110: ranges are of GET alone
    return parse_byte_range(request.headers.get(b"range", b"").decode("latin-1"), size)


def _length(size: int) -> Header:
    return (b"content-length", b"%d" % size)
