"""
Responses with pages and files, from a cache or the store, and their headers for caches.

A 304, a 412 and HEAD of a distribution need no bytes of the file. Core metadata is compressed and
cached as pages are, and has no ranges.
"""

from collections.abc import Hashable, Iterator, Mapping
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct

from wheelyard.authentication.authorization import CacheScope
from wheelyard.http import representation
from wheelyard.http.context import IndexContext
from wheelyard.http.error_responses import error_response
from wheelyard.http.file_delivery import StoredBody
from wheelyard.http.messages import (
    CSP,
    NOSNIFF,
    BegunBody,
    Header,
    HeaderList,
    MadeFrom,
    Request,
    Response,
    StreamedResponse,
    redirect,
)
from wheelyard.http.page_cache import Render
from wheelyard.model.access import Action, Caller, Scope
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import Listing, Origin, ShownFile
from wheelyard.storage.base import ObjectVersion

VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
VARY_BY_CALLER: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Authorization, Cookie")
VARY_BY_COOKIE: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Cookie")
"""For public pages for people, if people can sign in: the page then has their name."""
VARY_FILE: Final[Header] = (b"vary", b"Authorization, Cookie")
VARY_ENCODING: Final[Header] = (b"vary", b"Accept-Encoding")
VARY_METADATA_BY_CALLER: Final[Header] = (b"vary", b"Accept-Encoding, Authorization, Cookie")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")
_FILE_LIFETIME_HEADERS: Final[Mapping[CacheScope, Header]] = MappingProxyType(
    {"public": PUBLIC_FILE, "revalidated": (b"cache-control", b"public, no-cache")}
)
HARMLESS: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)
"""Whoever opens a picture by its URL runs no script in it. The styles are for those in an SVG."""

Repeats = tuple[MadeFrom | None, float]
"""
What an answer was made from, and until when an identical request gets the answer again.

The first is None if each request has to be answered anew. The time is on the monotonic clock.
"""
SOURCE: Final = b"x-wheelyard-source"
"""The name of the header that says where a page comes from."""
FROM_UPSTREAM: Final[Header] = (SOURCE, b"upstream")
FROM_PRIVATE: Final[Header] = (SOURCE, b"private")
OCTET_STREAM: Final[Header] = (b"content-type", b"application/octet-stream")
ACCEPT_RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
SIGNED_URL_HEADERS: Final[HeaderList] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # a signed URL gives access to the file
)
Body = bytes | Path | Iterator[bytes] | str
"""The body of a response, or the URL that the client is redirected to."""


class ListingOfFiles(Listing, frozen=True, kw_only=True):
    """A listing that knows where its files are from, and so how long a page about it counts."""

    def repeats(self) -> Repeats:
        """Return what a page of the listing is made from, and until when it may be repeated."""
        raise NotImplementedError


def page_cache_headers(public_max_age: int, scope: CacheScope) -> tuple[Header, ...]:
    """
    Return Cache-Control and Vary of a page that the caches of `scope` may keep.

    In the scope `public`, a cache need not ask again for `public_max_age` seconds.
    """
    if scope == "private":
        return (VARY_BY_CALLER, PRIVATE_PAGE)
    lifetime = "no-cache"
    if scope == "public" and public_max_age > 0:
        lifetime = f"max-age={public_max_age}"
    cache_control = f"public, {lifetime}".encode()
    return (VARY, (b"cache-control", cache_control))


def file_cache_headers(scope: CacheScope) -> tuple[Header, ...]:
    """Return the Cache-Control of a file, which is fresh for a year, and Vary if it is private."""
    if scope == "private":
        return (PRIVATE_FILE, VARY_FILE)
    return (_FILE_LIFETIME_HEADERS[scope],)


def metadata_cache_headers(scope: CacheScope) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a file's core metadata, which is compressed as pages are."""
    if scope == "private":
        return (PRIVATE_FILE, VARY_METADATA_BY_CALLER)
    return (_FILE_LIFETIME_HEADERS[scope], VARY_ENCODING)


def requested_media_type(request: Request) -> representation.MediaType | None:
    """Return the media type that `?format=` or else Accept asks for, or None if no page has it."""
    if b"format=" in request.query_string:
        fields = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
        if "format" in fields:
            return representation.media_type_by_format(fields["format"][0])
    return representation.best_media_type(request.joined_headers.get(b"accept", b""))


def wants_html(request: Request) -> bool:
    """Return whether a request for `/` or `/setup/` gets the page for people, as it wants HTML."""
    return requested_media_type(request) in (None, representation.MediaType.HTML)


def page_headers(
    context: IndexContext, media_type: representation.MediaType, listing: Listing | None = None
) -> HeaderList:
    """
    Return the headers of the page of a project, or without `listing` of a page of all projects.

    These are the headers for caches, the header of the page's source, and CSP if the page is HTML.
    Raises Unavailable if the grants decide which caches may keep the page, and cannot be read.
    """
    max_age = context.index.settings.http.public_max_age
    source_header = HeaderList()
    if listing is None:
        scope = context.read_policy.cache_scope(None)
    else:
        scope = context.read_policy.cache_scope(listing.name)
        if listing.origin.is_upstream:
            max_age = 0  # no CDN may keep the page: the name may become private any time
            source_header = (FROM_UPSTREAM,)
        elif context.upstream is not None:
            source_header = (FROM_PRIVATE,)
    headers = page_cache_headers(max_age, scope) + source_header
    # with `nosniff`, no browser takes JSON for HTML
    if media_type.value.is_json:
        return headers
    return (CSP, *headers)


def page_response(  # noqa: PLR0913 - all that it depends on
    context: IndexContext,
    request: Request,
    media_type: representation.MediaType,
    key: Hashable,
    version: str,
    render: Render,
    *,
    repeats: Repeats = ((), inf),
    listing: ListingOfFiles | None = None,
    headers: HeaderList | None = None,
) -> Response:
    """
    Return a response with the page of a key and version, whose status is 200 or 304.

    The page is rendered unless it is cached as the client accepts it. While the page is in its
    cache, identical requests get the response again, as long as `repeats` and the `listing` on the
    page say. Without `headers`, the page has those of `page_headers`, and this raises Unavailable
    if the grants that they depend on cannot be read. Raises Invalid (412) if If-Match has another
    ETag, and what `render` raises.
    """
    made_from, deadline = repeats
    if listing is not None:
        listing_made_from, listing_deadline = listing.repeats()
        if listing_made_from is not None:
            listing_made_from += made_from or ()
        made_from = listing_made_from
        deadline = min(listing_deadline, deadline)
    if headers is None:
        headers = page_headers(context, media_type, listing)
    # a page in gzip and the page as it is are two entries, each made when a client wants it
    page_key = (key, representation.accepts_gzip(request.joined_headers))
    page = context.pages.get_or_render(page_key, version, render, headers)
    is_known = page.is_known(media_type, request.joined_headers.get(b"if-none-match"))
    response = page.response(media_type, is_known=is_known)
    response_headers = dict(response.header_list)
    representation.require_match(request.joined_headers, response_headers[b"etag"])
    response = response.repeatable(made_from, deadline)
    if listing is None:
        return response
    return with_age(response, listing.origin)


def with_age(response: Response, origin: Origin) -> Response:
    """Return a response with the page of a listing, and the age of the listing if it is stale."""
    if not origin.is_stale:
        return response
    # all callers share the response in the cache, which stays without an age
    headers = [header for header in response.header_list if header[0] != SOURCE]
    headers += [(SOURCE, b"upstream-stale"), (b"age", b"%d" % origin.age)]
    return response.with_headers(tuple(headers))


def visibility_key(caller: Caller) -> tuple[bool, tuple[Scope, ...]] | None:
    """Return a cache key for the projects that `caller` may read: None if these are all."""
    if caller.may_everywhere(Action.READ):
        return None
    return caller.may_read_public_packages, caller.scopes


def load_projects(context: IndexContext) -> ProjectTable:
    """
    Return the table of all projects, of which a caller is shown what `readable_by` returns.

    Raises Unavailable if there is no table yet, and the store does not answer.
    """
    facts = context.index.repository.shown_projects
    return facts.peek() or facts.table()


def not_acceptable() -> Response:
    """Return the 406 response to a client that accepts none of the media types."""
    message = (
        "This page comes as application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html or text/html. Ask for one of them."
    )
    return error_response(406, "not_acceptable", message, VARY)


class FileToSend(Struct, frozen=True, kw_only=True):
    """A distribution that the caller may have."""

    sha256: str
    """The digest of the file, or an empty text if it is not known. Then there is no ETag."""
    size: int | None
    """The size of the file in bytes, or None if it is not known."""
    takes_ranges: bool = True
    headers: HeaderList
    body: Body | StoredBody = b""
    """The body of the response, which may be a part of the file, or what opens it."""

    def close(self) -> None:
        """End the reading of a body that was opened, and that no response sends."""
        if isinstance(self.body, BegunBody) and not self.body.is_sent:
            self.body.close()

    @property
    def etag(self) -> bytes:
        """The ETag, or nothing if the digest is not known."""
        if not self.sha256:
            return b""
        return f'"{self.sha256}"'.encode()

    @property
    def common_headers(self) -> HeaderList:
        """The headers of each response about the file, whatever its status."""
        headers = list[Header]()
        if self.sha256:
            headers.append((b"etag", self.etag))
        if self.takes_ranges:
            headers.append(ACCEPT_RANGES)
        # a distribution is bytes of a stranger: no browser may take it for a page of this origin
        headers += [NOSNIFF, SANDBOX]
        return tuple(headers) + self.headers


class FileProvenance(Struct, frozen=True):
    """The provenance of a file."""

    sha256: str
    load: Render
    """
    Returns the bytes of the provenance.

    Raises Unavailable if the store has lost them, or does not answer.
    """


class FileRequest(Struct, frozen=True):
    """What the path of a request names: a file, or its core metadata."""

    filename: str
    sha256: str | None
    """The digest in the path, or None if the path has no digest."""
    is_metadata: bool

    def is_for(self, file: ShownFile) -> bool:
        """Return whether a listed file of this name has what the path names."""
        has_other_digest = self.sha256 is not None and self.sha256 != file.sha256
        if has_other_digest:
            return False
        return file.serves_metadata or not self.is_metadata


def response_without_bytes(request: Request, file: FileToSend) -> Response | None:
    """
    Return the response 304 or 416, or the response to HEAD, or None if the client needs the bytes.

    Raises Invalid (412) if If-Match has another ETag.
    """
    # in the order of RFC 9110, 13.2.2: If-Match, If-None-Match, then the range
    headers = request.joined_headers
    representation.require_match(headers, file.etag or None)
    if file.sha256:
        if_none_match = headers.get(b"if-none-match")
        if representation.is_not_modified(if_none_match, file.etag):
            return Response(304, file.common_headers)
    byte_range = requested_part(request, file)
    if byte_range is not None and byte_range.size == 0:
        return representation.range_not_satisfiable(file.size or 0)
    if request.method != "HEAD":
        return None
    return Response(200, _content_headers(file, None) + file.common_headers)


def redirect_to_file(url: str) -> Response:
    """Return the redirect to a signed URL of a file, which no cache may keep."""
    return redirect(302, url, *SIGNED_URL_HEADERS)


def file_response(request: Request, context: IndexContext, file: FileToSend) -> Response:
    """
    Return the response to GET or HEAD of a distribution.

    The status is 200, 206, 304 or 416, or 302 to a signed URL. Only a `StoredBody` is opened here,
    and only if its bytes are needed. Any other body has to be the part of the file already that
    `requested_part` returns. Raises Invalid (412) if If-Match has another ETag. For a `StoredBody`,
    raises NotFound if the store lacks the file, or a folder has one of another size. Raises
    Unavailable if the store does not answer or has other bytes, and OSError if this process can
    open no more files.
    """
    response = response_without_bytes(request, file)
    if response is not None:
        return response
    byte_range = requested_part(request, file)
    body = file.body
    if isinstance(body, StoredBody):
        # before the status is sent, so that an error of the store becomes an error response
        body = body.open(byte_range)
    if isinstance(body, str):
        return redirect_to_file(body)
    status = 206 if byte_range else 200
    headers = _content_headers(file, byte_range) + file.common_headers
    if isinstance(body, bytes | Path):
        return Response(status, headers, body)
    return StreamedResponse(status, headers, body, context.process.pools.streams)


def core_metadata_response(
    request: Request,
    context: IndexContext,
    version: ObjectVersion,
    load: Render,
    repeats: Repeats,
    *,
    scope: CacheScope,
) -> Response:
    """
    Return the response to GET or HEAD of core metadata, whose digest is `version`.

    `scope` says who may cache the response: anybody, or the client alone. Raises Invalid (412) if
    If-Match has another ETag, and what `load` raises.
    """
    return page_response(
        context,
        request,
        representation.MediaType.CORE_METADATA,
        ("core_metadata", version, scope),
        version,
        load,
        repeats=repeats,
        # a resolver gets more of these small answers than of any other: no header that none reads
        headers=metadata_cache_headers(scope),
    )


def requested_part(request: Request, file: FileToSend) -> representation.ByteRange | None:
    """
    Return the part of a file that a request asks for, or None for the whole file.

    A part outside the file has size 0. Return None, too, if the size of the file is not known, or
    the file takes no ranges.
    """
    if file.size is None or not file.takes_ranges:
        return None
    return representation.requested_range(request, file.etag, file.size)


def _content_headers(file: FileToSend, byte_range: representation.ByteRange | None) -> HeaderList:
    """Return the headers of the body: of the whole file, or of the part in `byte_range`."""
    # without a length, the web server sends the body in chunks
    if file.size is None:
        return (OCTET_STREAM,)
    if byte_range is None:
        return (OCTET_STREAM, (b"content-length", b"%d" % file.size))
    length = (b"content-length", b"%d" % byte_range.size)
    return (OCTET_STREAM, length, representation.content_range(byte_range, file.size))
