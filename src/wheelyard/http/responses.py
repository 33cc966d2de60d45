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
"""Of public pages for people, if they can sign in: the page then has their name."""
VARY_FILE: Final[Header] = (b"vary", b"Authorization, Cookie")
VARY_ENCODING: Final[Header] = (b"vary", b"Accept-Encoding")
VARY_METADATA_BY_CALLER: Final[Header] = (b"vary", b"Accept-Encoding, Authorization, Cookie")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")
_SHARED_FILE: Final[Mapping[CacheScope, Header]] = MappingProxyType(
    {"public": PUBLIC_FILE, "revalidated": (b"cache-control", b"public, no-cache")}
)
HARMLESS: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)
"""Whoever opens a picture by its URL runs no script in it. The styles are those inside an SVG."""

Repeats = tuple[MadeFrom | None, float]
"""
What an answer was made from, and until when an identical request gets it again.

None if each request has to be answered anew. The time is one of the monotonic clock.
"""
SOURCE: Final = b"x-wheelyard-source"
"""The header that says where a page comes from."""
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
    """A listing that knows where its files are from, and so how long a page of it counts."""

    def repeats(self) -> Repeats:
        """Return what a page of the listing is made from, and until when it may be repeated."""
        raise NotImplementedError


def page_cache_headers(public_max_age: int, scope: CacheScope) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a page, which lives `public_max_age` seconds if public."""
    if scope == "private":
        return (VARY_BY_CALLER, PRIVATE_PAGE)
    lifetime = "no-cache"
    if scope == "public" and public_max_age > 0:
        lifetime = f"max-age={public_max_age}"
    return (VARY, (b"cache-control", f"public, {lifetime}".encode()))


def file_cache_headers(scope: CacheScope) -> tuple[Header, ...]:
    """Return the Cache-Control of a file (fresh for a year), and Vary if it is private."""
    if scope == "private":
        return (PRIVATE_FILE, VARY_FILE)
    return (_SHARED_FILE[scope],)


def metadata_cache_headers(scope: CacheScope) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a file's core metadata, which is compressed as pages are."""
    if scope == "private":
        return (PRIVATE_FILE, VARY_METADATA_BY_CALLER)
    return (_SHARED_FILE[scope], VARY_ENCODING)


def requested_media_type(request: Request) -> representation.MediaType | None:
    """Return the media type that `?format=` or else Accept asks for, or None if no page has it."""
    if b"format=" in request.query_string:
        query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return representation.media_type_by_format(query["format"][0])
    return representation.best_media_type(request.joined_headers.get(b"accept", b""))


def wants_html(request: Request) -> bool:
    """Return whether a request for `/` or `/setup/` gets the web page, not the Simple API's."""
    return requested_media_type(request) in (None, representation.MediaType.HTML)


def page_headers(
    context: IndexContext, media_type: representation.MediaType, listing: Listing | None = None
) -> HeaderList:
    """
    Return the headers of the page of a project, or without `listing` of one of all projects.

    They are those for caches and of the page's source, and CSP if it is HTML. Raises Unavailable if
    the grants decide which caches may keep it, and cannot be read.
    """
    max_age = context.index.settings.http.public_max_age
    source = HeaderList()
    if listing is None:
        scope = context.read_policy.cache_scope(None)
    else:
        scope = context.read_policy.cache_scope(listing.name)
        if listing.origin.is_upstream:
            max_age = 0  # not by a CDN: the name may become private any time
            source = (FROM_UPSTREAM,)
        elif context.upstream is not None:
            source = (FROM_PRIVATE,)
    headers = page_cache_headers(max_age, scope) + source
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

    The page is rendered unless it is cached as the client accepts it. Identical requests get the
    same response as `repeats` says, and the `listing` that is on it, while the page is in its
    cache. Without `headers`, it has those of `page_headers`, and this raises Unavailable if the
    grants that these depend on cannot be read. Raises Invalid (412) if If-Match has another ETag,
    and what `render` raises.
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
    # a page in gzip and as it is are two entries, of which each is made when it is asked for
    page_key = (key, representation.accepts_gzip(request.joined_headers))
    page = context.pages.get_or_render(page_key, version, render, headers)
    is_known = page.is_known(media_type, request.joined_headers.get(b"if-none-match"))
    response = page.response(media_type, is_known=is_known)
    representation.require_match(request.joined_headers, dict(response.header_list)[b"etag"])
    response = response.until(made_from, deadline)
    if listing is None:
        return response
    return with_age(response, listing.origin)


def with_age(response: Response, origin: Origin) -> Response:
    """Return the response with a page of a listing, which says how old it is if it is stale."""
    if not origin.is_stale:
        return response
    # the response itself is in the cache, and shared: it stays without an age
    headers = [header for header in response.header_list if header[0] != SOURCE]
    headers += [(SOURCE, b"upstream-stale"), (b"age", b"%d" % origin.age)]
    return response.with_headers(tuple(headers))


def visibility_key(caller: Caller) -> tuple[bool, tuple[Scope, ...]] | None:
    """Return a cache key for the set of projects that `caller` may read, which is None for all."""
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
    """Empty if it is not known, so that there is no ETag."""
    size: int | None
    """In bytes, or None if it is not known."""
    takes_ranges: bool = True
    headers: HeaderList
    body: Body | StoredBody = b""
    """The bytes that were asked for, or what opens them."""

    def close(self) -> None:
        """End the reading of a body that was opened, of which nothing is sent."""
        if isinstance(self.body, BegunBody) and not self.body.is_sent:
            self.body.close()

    @property
    def etag(self) -> bytes:
        """The ETag, or nothing if there is none."""
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
    """Returns its bytes. Raises Unavailable if the store has lost them, or does not answer."""


class FileRequest(Struct, frozen=True):
    """What the path of a request names: a file, or its core metadata."""

    filename: str
    sha256: str | None
    """The digest that the path has, or None if it has none."""
    is_metadata: bool

    def is_for(self, file: ShownFile) -> bool:
        """Return whether a listed file of this name is the one that the path means."""
        if self.sha256 not in (None, file.sha256):
            return False
        return file.serves_metadata or not self.is_metadata


def response_without_bytes(request: Request, file: FileToSend) -> Response | None:
    """
    Return the response 304 or 416, or that to HEAD, or None if the client needs the bytes.

    Raises Invalid (412) if If-Match has another ETag.
    """
    # in the order of RFC 9110, 13.2.2: If-Match, If-None-Match, then the range
    representation.require_match(request.joined_headers, file.etag or None)
    if file.sha256 and representation.is_not_modified(
        request.joined_headers.get(b"if-none-match"), file.etag
    ):
        return Response(304, file.common_headers)
    byte_range = requested_part(request, file)
    if byte_range is not None and not byte_range.size:
        return representation.range_not_satisfiable(file.size or 0)
    if request.method != "HEAD":
        return None
    return Response(200, _content_headers(file, None) + file.common_headers)


def redirect_to_file(url: str) -> Response:
    """Return the redirect to a URL that has the file."""
    return redirect(302, url, *SIGNED_URL_HEADERS)


def file_response(request: Request, context: IndexContext, file: FileToSend) -> Response:
    """
    Return the response to GET or HEAD of a distribution.

    Its status is 200, 206, 304 or 416, or 302 to a signed URL. Only a `StoredBody` is opened here,
    and only if its bytes are needed. Any other body has to be the part that `requested_part`
    returns already. Raises Invalid (status 412) if If-Match has another ETag. Of a `StoredBody`,
    raises NotFound if the store lacks the file, or a folder has one of another size. Raises
    Unavailable if the store does not answer or has other bytes, and OSError if this process can
    open no more files.
    """
    response = response_without_bytes(request, file)
    if response is not None:
        return response
    byte_range = requested_part(request, file)
    # opened only now, and before the status is sent: what goes wrong with it is an error response
    body = file.body.open(byte_range) if isinstance(file.body, StoredBody) else file.body
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

    Raises Invalid (412) if If-Match has another ETag, and what `load` raises.
    """
    return page_response(
        context,
        request,
        representation.MediaType.CORE_METADATA,
        ("core_metadata", version, scope),
        version,
        load,
        repeats=repeats,
        # of a resolver's answers these are the most and the smallest: no header that none reads
        headers=metadata_cache_headers(scope),
    )


def requested_part(request: Request, file: FileToSend) -> representation.ByteRange | None:
    """
    Return the part of a file that a request asks for, or None for all of it.

    A part outside the file has size 0. It is None, too, if the size of the file is not known, or
    the file takes no ranges.
    """
    if file.size is None or not file.takes_ranges:
        return None
    return representation.requested_range(request, file.etag, file.size)


def _content_headers(file: FileToSend, byte_range: representation.ByteRange | None) -> HeaderList:
    """Return the headers of a body, which is a part of the file if there is a range."""
    # without a length, the web server sends the body in chunks
    if file.size is None:
        return (OCTET_STREAM,)
    if byte_range is None:
        return (OCTET_STREAM, (b"content-length", b"%d" % file.size))
    length = (b"content-length", b"%d" % byte_range.size)
    return (OCTET_STREAM, length, representation.content_range(byte_range, file.size))
