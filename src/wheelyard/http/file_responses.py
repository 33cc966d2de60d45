"""
Responses with a file that was found, or with its core metadata, for GET and HEAD.

A 304, a 412 and HEAD of a distribution need no bytes of the file. Core metadata is compressed and
cached as pages are, and has no ranges.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import Repeats, metadata_cache_headers, page_response
from wheelyard.http.protocol.messages import (
    NOSNIFF,
    BegunBody,
    Header,
    HeaderList,
    Request,
    Response,
    StreamedResponse,
    redirect,
)
from wheelyard.http.protocol.representation import (
    ByteRange,
    MediaType,
    content_range,
    is_not_modified,
    range_not_satisfiable,
    requested_range,
    require_match,
)
from wheelyard.rendering.listing import ShownFile
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


class FileToSend(Struct, frozen=True, kw_only=True):
    """A distribution that the caller may have."""

    sha256: str
    """Empty if it is not known; then there is no ETag."""
    size: int | None
    """Bytes; None if they are not known."""
    takes_ranges: bool = True
    headers: HeaderList
    body: Body | Callable[[ByteRange | None], Body] = b""
    """
    The bytes that were asked for, or what returns a part of it, or all.

    A path or a URL is for all of it. May raise NotFound.
    """

    def close(self) -> None:
        """End the reading of a body that was opened, of which nothing is sent."""
        if isinstance(self.body, BegunBody) and not self.body.is_sent:
            self.body.close()

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


def response_without_bytes(request: Request, file: FileToSend) -> Response | None:
    """Return the response 304 or 416, or that to HEAD; None if the client needs the bytes."""
    require_match(request.joined_headers, file.etag or None)
    if file.sha256 and is_not_modified(request.joined_headers.get(b"if-none-match"), file.etag):
        return Response(304, file.common_headers)
    part = requested_part(request, file)
    if part is not None and not part.size:
        return range_not_satisfiable(file.size or 0)
    if request.method != "HEAD":
        return None
    return Response(200, (*_content_headers(file, None), *file.common_headers))


def redirect_to_file(url: str) -> Response:
    """Return the redirect to a URL that has the file."""
    return redirect(302, url, *SIGNED_URL_HEADERS)


def file_response(request: Request, context: ServerContext, file: FileToSend) -> Response:
    """Return the response to GET or HEAD of a distribution; may raise NotFound."""
    response = response_without_bytes(request, file)
    if response is not None:
        return response
    part = requested_part(request, file)
    body = file.body(part) if callable(file.body) else file.body
    if isinstance(body, str):
        return redirect_to_file(body)
    status = 206 if part else 200
    headers = (*_content_headers(file, part), *file.common_headers)
    if isinstance(body, bytes | Path):
        return Response(status, headers, body)
    return StreamedResponse(status, headers, body, context.pools.streams)


def core_metadata_response(
    request: Request,
    context: ServerContext,
    version: ObjectVersion,
    load: Callable[[], bytes],
    repeats: Repeats,
    *,
    is_public: bool,
) -> Response:
    """Return the response to GET or HEAD of core metadata, whose digest is `version`."""
    return page_response(
        context,
        request,
        MediaType.CORE_METADATA,
        ("core_metadata", version, is_public),
        version,
        load,
        repeats=repeats,
        # of a resolver's answers these are the most and the smallest: no header that none reads
        headers=metadata_cache_headers(is_public=is_public),
    )


def requested_part(request: Request, file: FileToSend) -> ByteRange | None:
    """Return the part of a file that a request asks for; None for all of it."""
    if file.size is None or not file.takes_ranges:
        return None
    return requested_range(request, file.etag, file.size)


def _content_headers(file: FileToSend, part: ByteRange | None) -> HeaderList:
    if file.size is None:
        return (OCTET_STREAM,)
    length = (b"content-length", b"%d" % (part.size if part else file.size))
    ranges = (content_range(part, file.size),) if part else ()
    return (OCTET_STREAM, length, *ranges)
