"""
Distributions and their core metadata.

Only what the project's document lists, and its status permits, is answered, never a bare key. The
bytes go from the disk by the kernel, from the bucket by a redirect, or through a stream.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from stat import S_ISREG
from typing import Final
from urllib.parse import unquote

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import IndexFault, NotFound, Unavailable
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
from wheelyard.http.ranges import Span, Unsatisfiable, span_of
from wheelyard.http.routes import FileByKey, FileByName
from wheelyard.model.distribution import parse_filename, parse_name
from wheelyard.model.project import File

METADATA: Final = ".metadata"
SIGNED_LIFETIME: Final = timedelta(minutes=30)
FILE_SCHEME: Final = "file://"

BINARY: Final[Header] = (b"content-type", b"application/octet-stream")
RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")

Body = Callable[[Span | None], bytes | FileOnDisk | Stream | str]
"""Returns part of a body, or all of it; a string is a URL that has it."""


async def file_by_key(request: Request, route: FileByKey, desk: Desk) -> Reply:
    """Answer a file at its object's key, which is where the pages link to."""
    filename = route.filename.removesuffix(METADATA)
    found = await _listed(request, route.project, filename, desk)
    if found is None or found[1].sha256 != route.sha256 or found[0] != route.project:
        return not_readable()
    return await _answer(request, *found, desk, metadata=filename != route.filename)


async def file_by_name(request: Request, route: FileByName, desk: Desk) -> Reply:
    """Answer a file by its name alone, in place, exactly as at its key."""
    filename = route.filename.removesuffix(METADATA)
    try:
        project = parse_filename(filename, zip_sdists=True).project
    except IndexFault:
        return not_readable()
    if route.project is not None and _normalised(route.project) != project:
        return not_readable()
    found = await _listed(request, project, filename, desk)
    if found is None:
        return not_readable()
    return await _answer(request, *found, desk, metadata=filename != route.filename)


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
    if metadata and not file.is_wheel:
        return not_readable()
    try:
        return await _whole_or_part(request, name, file, desk, metadata=metadata)
    except Unavailable:
        # a delete takes the file out of the document first: it may have come in between
        if await desk.lists(name, file):
            raise
        return not_readable()


async def _whole_or_part(
    request: Request, name: NormalizedName, file: File, desk: Desk, *, metadata: bool
) -> Reply:
    if metadata:
        content = await desk.read(lambda: desk.core_metadata(name, file))
        return _partial(
            request,
            desk,
            file.core_metadata,
            len(content),
            lambda span: content[span.start : span.stop] if span else content,
        )
    return _partial(
        request, desk, file.sha256, file.size, lambda span: _content(name, file, span, desk)
    )


def _partial(request: Request, desk: Desk, digest: str, size: int, body: Body) -> Reply:
    """Return the whole body, the range that was asked for, or that nothing has changed."""
    etag = f'"{digest}"'.encode()
    common = ((b"etag", etag), RANGES, NOSNIFF, SANDBOX, desk.file_cache_control)
    known = request.headers.get(b"if-none-match")
    if known is not None and (etag in known or known.strip() == b"*"):
        return Reply(304, common)
    span = _span(request, etag, size)
    if isinstance(span, Unsatisfiable):
        message = f"The file has {size} bytes, and the range begins behind them."
        total = (b"content-range", b"bytes */%d" % size)
        return refuse(416, "range_not_satisfiable", message, "Range not satisfiable.", total)
    if request.method == "HEAD":
        return Reply(200, (BINARY, _length(size), *common))
    found = body(span)
    if isinstance(found, str):
        return redirect(302, found)
    if span is None:
        return Reply(200, (BINARY, _length(size), *common), found)
    part = (b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size))
    return Reply(206, (BINARY, _length(span.stop - span.start), part, *common), found)


def _span(request: Request, etag: bytes, size: int) -> Span | Unsatisfiable | None:
    header = request.headers.get(b"range")
    if header is None or request.method == "HEAD":  # RFC 9110: ranges are of GET alone
        return None
    if request.headers.get(b"if-range", etag) != etag:
        return None
    return span_of(header.decode("latin-1"), size)


def _content(
    name: NormalizedName, file: File, span: Span | None, desk: Desk
) -> FileOnDisk | Stream | str:
    key = keys.distribution(name, file.sha256, file.filename)
    try:
        url = desk.index.files.sign(key, SIGNED_LIFETIME)
        if url is not None and not url.startswith(FILE_SCHEME):
            return url
        if url is not None:
            on_disk = _on_disk(url, file)
            if span is None:
                return on_disk
        start, stop = (span.start, span.stop) if span else (0, file.size)
        return Stream(_exactly(desk.index.files.read(key, start, stop), stop - start))
    except NotFound as error:
        raise lost(file) from error


def _on_disk(url: str, file: File) -> FileOnDisk:
    path = unquote(url.removeprefix(FILE_SCHEME))
    try:
        found = Path(path).lstat()
    except OSError as error:
        raise lost(file) from error
    if found.st_size != file.size or not S_ISREG(found.st_mode):
        raise lost(file)
    return FileOnDisk(path)


def _exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the chunks, and break off where a short body would look like a complete one."""
    for chunk in chunks:
        size -= len(chunk)
        yield chunk
    if size:
        raise Unavailable("The store has fewer bytes of this file than it was given.")


def _length(size: int) -> Header:
    return (b"content-length", b"%d" % size)
