"""Responses with pages, from the cache or rendered, for all handlers that show pages."""

from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs

from packaging.utils import NormalizedName

from wheelyard.catalog.documents import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.http.caching.page_cache import CachedPage
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import CONTENT_SECURITY_POLICY, Header, Request, Response
from wheelyard.http.protocol.negotiation import (
    MediaType,
    best_encoding,
    best_media_type,
    check_if_match,
    media_type_by_format,
)
from wheelyard.http.security.read_policy import VARY
from wheelyard.model.access import Action, Caller, Scope
from wheelyard.storage.base import ObjectVersion


def requested_media_type(request: Request) -> MediaType | None:
    """Return the form that a request asks for, None where none suits."""
    if b"format=" in request.query:
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return media_type_by_format(query["format"][0])
    return best_media_type(request.headers.get(b"accept", b""))


def page_headers(context: ServerContext, name: NormalizedName | None = None) -> tuple[Header, ...]:
    """Return the headers of a page about a project, or about all of them."""
    read_policy = context.read_policy
    return (
        CONTENT_SECURITY_POLICY,
        *read_policy.page_cache_headers(is_public=read_policy.is_public(name)),
    )


async def load_page(
    context: ServerContext,
    subject: tuple[object, ...],
    version: ObjectVersion,
    render: Callable[[], bytes],
    headers: tuple[Header, ...],
) -> CachedPage:
    """Return a page that is at hand, or rendered in a thread."""
    page = context.pages.get(subject, version)
    if page is None:
        make = partial(context.pages.get_or_render, subject, version, render, headers)
        page = await context.documents.coalesce(("page", subject, version), make)
    return page


def page_response(request: Request, page: CachedPage, form: MediaType) -> Response:
    """Return `page` in the client's encoding, or 304, or 412."""
    encoding = best_encoding(request.headers.get(b"accept-encoding", b""))
    found = page.response(form, encoding, request.headers.get(b"if-none-match"))
    return check_if_match(request.headers, dict(found.headers)[b"etag"]) or found


def visibility_key(caller: Caller) -> tuple[Scope, ...] | None:
    """Return what decides which names `caller` sees; None for all."""
    return None if caller.may_everywhere(Action.READ) else caller.scopes


def visible_names(names: Snapshot[NameList], caller: Caller) -> tuple[NormalizedName, ...]:
    """Return the names that `caller` may read."""
    every = names.value.names if names.value else ()
    if visibility_key(caller) is None:
        return every
    return tuple(name for name in every if caller.may(Action.READ, name))


def not_acceptable() -> Response:
    """Return the reply for a client that takes no form that we have."""
    return error_response(
        406,
        "not_acceptable",
        "This page comes as application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html or text/html. Ask for one of them.",
        "Not acceptable.",
        VARY,
    )
