"""Responses with pages, cached or rendered, and their headers for caches, for all handlers."""

from collections.abc import Hashable
from math import inf
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.http.context import ServerContext
from wheelyard.http.page_cache import Render
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import (
    CSP,
    Header,
    HeaderList,
    MadeFrom,
    Request,
    Response,
)
from wheelyard.http.protocol.representation import (
    MediaType,
    accepts_gzip,
    best_media_type,
    media_type_by_format,
    require_match,
)
from wheelyard.model.access import Action, Caller, Scope
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import Listing, Origin

if TYPE_CHECKING:
    from wheelyard.http.resolver import OpenListing

VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
VARY_BY_CALLER: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Authorization, Cookie")
VARY_BY_COOKIE: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Cookie")
"""Of public pages for people, if they can sign in: the page then has their name."""
VARY_FILE: Final[Header] = (b"vary", b"Authorization, Cookie")
VARY_METADATA: Final[Header] = (b"vary", b"Accept-Encoding")
VARY_METADATA_BY_CALLER: Final[Header] = (b"vary", b"Accept-Encoding, Authorization, Cookie")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")


def page_cache_headers(public_max_age: int, *, is_public: bool) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a page; `public_max_age` is for public ones, in seconds."""
    if not is_public:
        return (VARY_BY_CALLER, PRIVATE_PAGE)
    lifetime = f"max-age={public_max_age}" if public_max_age else "no-cache"
    return (VARY, (b"cache-control", f"public, {lifetime}".encode()))


def file_cache_headers(*, is_public: bool) -> tuple[Header, ...]:
    """Return the Cache-Control of a file (fresh for a year), and Vary unless it is public."""
    return (PUBLIC_FILE,) if is_public else (PRIVATE_FILE, VARY_FILE)


def metadata_cache_headers(*, is_public: bool) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a file's core metadata, which is compressed as pages are."""
    if is_public:
        return (PUBLIC_FILE, VARY_METADATA)
    return (PRIVATE_FILE, VARY_METADATA_BY_CALLER)


Repeats = tuple[MadeFrom | None, float]
"""
What an answer was made from, and until when an identical request gets it again.

None if each request has to be answered anew.
"""
SOURCE: Final = b"x-wheelyard-source"
"""The header that says where a page comes from."""
FROM_UPSTREAM: Final[Header] = (SOURCE, b"upstream")
FROM_PRIVATE: Final[Header] = (SOURCE, b"private")


def requested_media_type(request: Request) -> MediaType | None:
    """Return the media type that `?format=`, or else Accept, asks for; None if it is not served."""
    if b"format=" in request.query_string:
        query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return media_type_by_format(query["format"][0])
    return best_media_type(request.joined_headers.get(b"accept", b""))


def wants_html(request: Request) -> bool:
    """Return whether a request for `/` or `/setup/` gets the web page, not the Simple API's."""
    return requested_media_type(request) in (None, MediaType.HTML)


def page_headers(
    context: ServerContext, media_type: MediaType, listing: Listing | None = None
) -> HeaderList:
    """Return the headers of a page (None: of all projects): for caches, its source, CSP of HTML."""
    is_public = context.read_policy.is_public(listing.name if listing else None)
    max_age, source = context.index.settings.http.public_max_age, HeaderList()
    if listing is not None and context.upstream is not None:
        source = (FROM_UPSTREAM if listing.origin.is_upstream else FROM_PRIVATE,)
    if listing is not None and listing.origin.is_upstream:
        max_age = 0  # not by a CDN: the name may become private any time
    headers = (*page_cache_headers(max_age, is_public=is_public), *source)
    # with `nosniff`, no browser takes JSON for HTML
    return headers if media_type.value.is_json else (CSP, *headers)


def page_response(  # noqa: PLR0913 - all that it depends on
    context: ServerContext,
    request: Request,
    media_type: MediaType,
    what: Hashable,
    version: str,
    render: Render,
    *,
    repeats: Repeats = ((), inf),
    listing: "OpenListing | None" = None,
    headers: HeaderList | None = None,
) -> Response:
    """
    Return a 200 response with the page of `what` and `version`, or 304; raise Invalid for 412.

    The page is rendered unless it is cached as the client accepts it. Identical requests get the
    same response as `repeats` says, and the `listing` that is shown, while the page is in its
    cache. Without `headers`, it has those of `page_headers`.
    """
    if listing is not None:
        made_from, deadline = listing.open.repeats()
        repeats = None if made_from is None else (*made_from, *(repeats[0] or ())), deadline
    if headers is None:
        headers = page_headers(context, media_type, listing)
    key = (what, accepts_gzip(request.joined_headers))
    page = context.pages.get_or_render(key, version, render, headers)
    is_known = page.is_known(media_type, request.joined_headers.get(b"if-none-match"))
    response = page.response(media_type, is_known=is_known)
    require_match(request.joined_headers, dict(response.header_list)[b"etag"])
    response = response.until(*repeats)
    return response if listing is None else with_age(response, listing.origin)


def with_age(response: Response, origin: Origin) -> Response:
    """Return the response with a page of a listing; one that is stale says so, with its age."""
    if not origin.is_stale:
        return response
    others = (each for each in response.header_list if each[0] != SOURCE)
    stale = ((SOURCE, b"upstream-stale"), (b"age", b"%d" % origin.age))
    return response.with_headers((*others, *stale))


def visibility_key(caller: Caller) -> tuple[bool, tuple[Scope, ...]] | None:
    """Return a cache key for the set of projects that `caller` may read; None for all projects."""
    if caller.may_everywhere(Action.READ):
        return None
    return caller.may_read_public_packages, caller.scopes


def visible_names(names: Snapshot[NameList], caller: Caller) -> tuple[NormalizedName, ...]:
    """Return those of `names` that `caller` may read."""
    every = names.value.names if names.value else ()
    if visibility_key(caller) is None:
        return every
    return tuple(name for name in every if caller.may(Action.READ, name))


def load_projects(context: ServerContext) -> ProjectTable:
    """Return the table of all projects; each caller is shown only what `readable_by` returns."""
    return context.index.search.peek() or context.index.search.table()


def not_acceptable() -> Response:
    """Return the 406 response to a client that accepts none of the media types."""
    message = (
        "This page comes as application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html or text/html. Ask for one of them."
    )
    return error_response(406, "not_acceptable", message, VARY)
