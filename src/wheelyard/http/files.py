"""
Distributions and their core metadata.

Only what the project's document lists, and its status permits, is answered, never a bare key. What
needs no bytes of a file (HEAD, what the client has already, a range behind the end) is answered
from the document, and core metadata is always sent by the index itself.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import IndexFault, NotFound
from wheelyard.http.desk import Desk, lost
from wheelyard.http.errors import not_readable, refuse
from wheelyard.http.exchange import (
    NOSNIFF,
    FileOnDisk,
    Header,
    Reply,
    Request,
    Stream,
    redirect,
)
from wheelyard.http.negotiation import Span, Unsatisfiable, span_of, unmet
from wheelyard.model.distribution import parse_listed, parse_name
from wheelyard.model.project import File

METADATA: Final = ".metadata"

BINARY: Final[Header] = (b"content-type", b"application/octet-stream")
RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
ELSEWHERE: Final[tuple[Header, ...]] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # whoever has a signed URL has the file
)

Body = Callable[[Span | None], Awaitable[bytes | FileOnDisk | Stream | str]]
"""Returns part of a body, or all of it; a string is a URL that has it."""


async def file_by_key(request: Request, desk: Desk) -> Reply:
    """Answer a file at its object's key, which is where the pages link to."""
    project, asked = request.params["project"], request.params["filename"]
    filename = asked.removesuffix(METADATA)
    found = await _listed(request, project, filename, desk)
    if found is None or found[1].sha256 != request.params["sha256"] or found[0] != project:
        return not_readable()
    return await _answer(request, *found, desk, metadata=filename != asked)


async def file_by_name(request: Request, desk: Desk) -> Reply:
    """Answer a file by its name alone, in place, exactly as at its key."""
    filename = request.params["filename"].removesuffix(METADATA)
    named = request.params.get("project")
    asked = None if named is None else _normalised(named)
    if asked is not None:  # before anything else is looked at, wherever the path says it
        desk.require_read(request.caller, asked)
    try:
        project = parse_listed(filename).project
    except IndexFault:
        return not_readable()
    if named is not None and asked != project:
        return not_readable()
    found = await _listed(request, project, filename, desk)
    if found is None:
        return not_readable()
    metadata = filename != request.params["filename"]
    return await _answer(request, *found, desk, metadata=metadata)


async def _listed(
    request: Request, project: str, filename: str, desk: Desk
) -> tuple[NormalizedName, File] | None:
    name = _normalised(project)
    if name is None:
        return None
    desk.require_read(request.caller, name)
    document = (await desk.project(name)).value
    if document is None or not document.status.serves_files:
        return None
    file = document.by_filename.get(filename)
    return None if file is None else (name, file)


def _normalised(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except IndexFault:
        return None


async def _answer(
    request: Request, name: NormalizedName, file: File, desk: Desk, *, metadata: bool
) -> Reply:
    if metadata and not file.serves_metadata:
        return not_readable()
    try:
        return await _whole_or_part(request, name, file, desk, metadata=metadata)
    except NotFound as error:
        # a delete takes the file out of the document first: it may have come in between
        if await desk.lists(name, file):
            raise lost(file) from error
        return not_readable()


async def _whole_or_part(
    request: Request, name: NormalizedName, file: File, desk: Desk, *, metadata: bool
) -> Reply:
    etag = f'"{file.core_metadata if metadata else file.sha256}"'.encode()
    common = ((b"etag", etag), RANGES, NOSNIFF, SANDBOX, *desk.caching_of_file(name))
    refused = unmet(request.headers, etag)
    if refused is not None:
        return refused
    known = request.headers.get(b"if-none-match")
    if known is not None and (etag in known or known.strip() == b"*"):
        return Reply(304, common)
    if not metadata:
        return await _partial(
            request, common, file.size, lambda span: _body(name, file, span, desk)
        )
    content = await _core_metadata(name, file, desk)

    async def part(span: Span | None) -> bytes:
        return content[span.start : span.stop] if span else content

    return await _partial(request, common, len(content), part)


async def _partial(request: Request, common: tuple[Header, ...], size: int, body: Body) -> Reply:
    """Return the whole body, or the range that was asked for; `common` begins with the ETag."""
    span = _span(request, common[0][1], size)
    if isinstance(span, Unsatisfiable):
        message = f"The file has {size} bytes, and the range begins behind them."
        total = (b"content-range", b"bytes */%d" % size)
        return refuse(416, "range_not_satisfiable", message, "Range not satisfiable.", total)
    if request.method == "HEAD":
        return Reply(200, (BINARY, _length(size), *common))
    found = await body(span)
    if isinstance(found, str):
        return redirect(302, found, *ELSEWHERE)
    if span is None:
        return Reply(200, (BINARY, _length(size), *common), found)
    part = (b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size))
    return Reply(206, (BINARY, _length(span.stop - span.start), part, *common), found)


async def _body(
    name: NormalizedName, file: File, span: Span | None, desk: Desk
) -> FileOnDisk | Stream | str:
    """Return a file's bytes, or where they are; afar, even the signature may take a network."""
    if desk.index.is_near:
        return desk.downloads.body(name, file, span)
    return await desk.read(lambda: desk.downloads.body(name, file, span))


async def _core_metadata(name: NormalizedName, file: File, desk: Desk) -> bytes:
    held = desk.core_metadata_cache.get(file.core_metadata)
    if held is not None:
        return held
    subject = ("core metadata", name, file.sha256)
    return await desk.shared(subject, lambda: desk.kept_core_metadata(name, file))


def _span(request: Request, etag: bytes, size: int) -> Span | Unsatisfiable | None:
    header = request.headers.get(b"range")
    if header is None or request.method == "HEAD":  # RFC 9110: ranges are of GET alone
        return None
    if request.headers.get(b"if-range", etag) != etag:
        return None
    return span_of(header.decode("latin-1"), size)


def _length(size: int) -> Header:
    return (b"content-length", b"%d" % size)
