"""
Responses with a file that was found, or with its core metadata, for GET and HEAD.

A 304, a 412 and HEAD of a distribution need no bytes of the file. Core metadata is compressed and
cached as pages are; a range of it is not compressed.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.http.caching.cache_headers import metadata_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_response
from wheelyard.http.protocol.conditional_requests import (
    ByteRange,
    content_range,
    is_not_modified,
    range_not_satisfiable,
    requested_range,
    require_match,
)
from wheelyard.http.protocol.messages import (
    NOSNIFF,
    Header,
    HeaderList,
    Request,
    Response,
    redirect,
)
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.model.project import File
from wheelyard.rendering.shown import ShownFile
from wheelyard.storage.base import ObjectVersion

OCTET_STREAM: Final[Header] = (b"content-type", b"application/octet-stream")
ACCEPT_RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
SIGNED_URL_HEADERS: Final[HeaderList] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # a signed URL gives access to the file
)

Body = bytes | Path | Iterator[bytes] | str
"""The body of a response, or the URL that the client is redirected to."""
IsCurrent = Callable[[], bool]
"""Returns whether an identical request may get an equal response; may raise Unavailable."""


class FileToSend(Struct, frozen=True, kw_only=True):
    """A distribution that the caller may have."""

    sha256: str
    """Empty if it is not known; then there is no ETag."""
    size: int | None
    """Bytes; None if they are not known."""
    takes_ranges: bool = True
    headers: HeaderList
    open_body: Callable[[ByteRange | None], Awaitable[Body]]
    """Returns a part of it, or all; a path or a URL is for all of it. May raise NotFound."""
    open_again: Callable[[ByteRange | None], Body] | None = None
    """Returns the same once more, at once; None if an identical request takes another way."""
    is_current: IsCurrent | None = None
    """None if each request needs an answer of its own."""

    @property
    def etag(self) -> bytes:
        """The ETag; empty if there is none."""
        return f'"{self.sha256}"'.encode() if self.sha256 else b""

    @property
    def common_headers(self) -> HeaderList:
        """The headers of each response about the file, whatever its status."""
        etag = ((b"etag", self.etag),) if self.sha256 else ()
        ranges = (ACCEPT_RANGES,) if self.takes_ranges else ()
        return (*etag, *ranges, NOSNIFF, SANDBOX, *self.headers)


class WantedFile(Struct, frozen=True):
    """The file that the path of a request names, or its core metadata."""

    filename: str
    sha256: str | None
    """The digest that the path has; None if it has none."""
    is_metadata: bool

    def is_served(self, file: ShownFile) -> bool:
        """Return whether a listed file of this name is what the path means."""
        if self.sha256 not in (None, file.sha256):
            return False
        return file.serves_metadata or not self.is_metadata


def core_metadata_key(version: ObjectVersion, *, is_public: bool) -> Hashable:
    """Return the key of core metadata in the cache of pages."""
    return ("core_metadata", version, is_public)


def stored_file(
    context: ServerContext,
    file: File,
    headers: HeaderList,
    open_at_once: Callable[[ByteRange | None], Body],
    is_current: IsCurrent | None,
    *,
    is_local: bool,
) -> FileToSend:
    """Return a file that a store has, in a folder of this machine if it `is_local`."""

    async def open_body(part: ByteRange | None) -> Body:
        if is_local:
            return open_at_once(part)
        # on a bucket, even signing a URL may be a request to Google
        return await context.pools.run_read(partial(open_at_once, part))

    return FileToSend(
        sha256=file.sha256,
        size=file.size,
        headers=headers,
        open_body=open_body,
        open_again=open_at_once if is_local else None,
        is_current=is_current,
    )


def response_without_bytes(request: Request, file: FileToSend) -> Response | None:
    """Return the response 304 or 416, or that to HEAD; None if the client needs the bytes."""
    require_match(request.headers, file.etag or None)
    if file.sha256 and is_not_modified(request.headers.get(b"if-none-match"), file.etag):
        return _repeating(Response(304, file.common_headers), file.is_current)
    part = _part(request, file)
    if part is not None and not part.size:
        return range_not_satisfiable(file.size or 0)
    if request.method != "HEAD":
        return None
    head = Response(200, (*_content_headers(file, None), *file.common_headers))
    return _repeating(head, file.is_current)


def redirect_to_file(url: str) -> Response:
    """Return the redirect to a URL that has the file."""
    return redirect(302, url, *SIGNED_URL_HEADERS)


async def file_response(request: Request, file: FileToSend) -> Response:
    """Return the response to GET or HEAD of a distribution; may raise NotFound."""
    response = response_without_bytes(request, file)
    if response is not None:
        return response
    part = _part(request, file)
    body = await file.open_body(part)
    if isinstance(body, str):
        return redirect_to_file(body)
    headers = (*_content_headers(file, part), *file.common_headers)
    response = Response(206 if part else 200, headers)
    open_again = file.open_again
    if open_again is not None and isinstance(body, bytes | Path):
        # what is remembered of it has no bytes, as the cache does not count them
        response = _repeating(response, file.is_current, lambda: open_again(part))
    return replace(response, body=body)


async def core_metadata_response(
    request: Request,
    context: ServerContext,
    version: ObjectVersion,
    load: Callable[[], bytes],
    is_current: IsCurrent | None,
    *,
    is_public: bool,
) -> Response:
    """Return the response to GET or HEAD of core metadata, whose digest is `version`."""
    if b"range" in request.headers:
        uncompressed = {**request.headers, b"accept-encoding": b"identity"}
        request = replace(request, headers=uncompressed)
    key = core_metadata_key(version, is_public=is_public)
    # of a resolver's answers these are the most and the smallest: no header that none of them reads
    headers = metadata_cache_headers(is_public=is_public)
    page = await load_page(context, request, key, version, load, headers)
    whole = page_response(request, page, MediaType.CORE_METADATA, is_current)
    is_whole = b"range" not in request.headers or whole.status != HTTPStatus.OK
    return whole if is_whole else _part_of(request, whole)


def _part(request: Request, file: FileToSend) -> ByteRange | None:
    if file.size is None or not file.takes_ranges:
        return None
    return requested_range(request, file.etag, file.size)


def _content_headers(file: FileToSend, part: ByteRange | None) -> HeaderList:
    if file.size is None:
        return (OCTET_STREAM,)
    length = (b"content-length", b"%d" % (part.size if part else file.size))
    ranges = (content_range(part, file.size),) if part else ()
    return (OCTET_STREAM, length, *ranges)


def _repeating(
    response: Response, is_current: IsCurrent | None, open_body: Callable[[], Body] = bytes
) -> Response:
    """Return `response`, to be repeated with a new body as long as it is current."""
    if is_current is None:
        return response

    def repeat() -> Response | None:
        body = open_body() if is_current() else None
        return replace(response, body=body) if isinstance(body, bytes | Path) else None

    return replace(response, repeat=repeat)


def _part_of(request: Request, whole: Response) -> Response:
    """Return the response 200, 206 or 416 to a request with Range."""
    body, headers = whole.body, dict(whole.headers)
    assert isinstance(body, bytes)  # noqa: S101 - a page's
    part = requested_range(request, headers[b"etag"], len(body))
    if part is None:
        return whole
    if not part.size:
        return range_not_satisfiable(len(body))
    headers[b"content-length"] = b"%d" % part.size
    every = (*headers.items(), content_range(part, len(body)))
    return Response(206, every, body[part.start : part.stop])
