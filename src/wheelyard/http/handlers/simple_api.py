"""Handlers of the Simple API: the list of projects, and the page of a project."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.errors import NotFound
from wheelyard.http import page_responses
from wheelyard.http.caching.page_cache import CachedPage, detail_page_key
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_headers, page_response
from wheelyard.http.protocol.messages import Header, Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.protocol.router import build_path
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.model.project import Project
from wheelyard.rendering import simple_pages
from wheelyard.rendering.shown import ShownFile, ShownProject
from wheelyard.storage.base import ABSENT, ObjectVersion

if TYPE_CHECKING:
    from wheelyard.upstream.index import ServedPage


async def project_list(request: Request, context: ServerContext) -> Response:
    """Handle GET `/simple/`: the names of the projects that the caller may read."""
    media_type = page_responses.requested_media_type(request)
    if media_type is None:
        return page_responses.not_acceptable()
    snapshot = await context.documents.load_names()
    rendering = simple_pages.list_json if media_type.value.is_json else simple_pages.list_html

    def render() -> bytes:
        return rendering(page_responses.visible_names(snapshot, request.caller))

    key = ("list", media_type.value.is_json, page_responses.visibility_key(request.caller))
    headers = page_headers(context, media_type)
    page = await load_page(context, request, key, snapshot.version, render, headers)
    is_current = context.index.projects.names.watch(snapshot.version)
    return page_response(request, page, media_type, is_current)


async def project_detail(request: Request, context: ServerContext) -> Response:
    """Handle GET `/simple/<name>/`: the page of a project, or a redirect to its usual URL."""
    name = parse_project_name(request.params["name"])
    context.read_policy.require_lookup(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # from this URL, the page's relative links would lead outside the prefix
        return redirect(301, build_path("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, build_path(prefix, (*root, name), request.query))
    media_type = page_responses.requested_media_type(request)
    if media_type is None:
        return page_responses.not_acceptable()
    if context.upstream is None:
        return await _private_page(request, context, name, media_type)
    page = await context.upstream.find(request, name)
    if page is not None:
        return await _upstream_page(request, context, page, media_type)
    return await _page_beside_upstream(request, context, name, media_type)


async def _private_page(
    request: Request,
    context: ServerContext,
    name: NormalizedName,
    media_type: MediaType,
    *more_headers: Header,
) -> Response:
    """Return the response with the page of a private project."""
    key = detail_page_key(name, media_type)
    headers = (*page_headers(context, media_type, name), *more_headers)
    rendering, rendered = _rendering(media_type), dict[ObjectVersion, CachedPage]()

    def render_now(read: Snapshot[Project]) -> None:  # in the thread that has read the document
        if read.value is not None:
            # other requests wait for this document, so an error must not reach them
            with suppress(Exception):
                render = partial(rendering, read.value)
                made = (key, page_responses.requested_encoding(request))
                page = context.pages.get_or_render(made, read.version, render, headers)
                rendered[read.version] = page

    project, version = await context.documents.require_project(name, on_read=render_now)
    page = rendered.get(version)
    if page is None:
        page = await load_page(context, request, key, version, partial(rendering, project), headers)
    is_current = context.index.projects.watch(name, version)
    return page_response(request, page, media_type, is_current)


async def _page_beside_upstream(
    request: Request, context: ServerContext, name: NormalizedName, media_type: MediaType
) -> Response:
    """Return the response with the page of a private name, which may have no project."""
    # no server without an upstream index needs it
    from wheelyard.http.upstream_reader import FROM_PRIVATE  # noqa: PLC0415

    try:
        return await _private_page(request, context, name, media_type, FROM_PRIVATE)
    except NotFound:
        if context.upstream is not None:
            context.upstream.upstream.observation.blocked("private")
        if context.index.settings.upstream.private_missing == "404":
            raise
    # a page without files: after a 404, uv would go on to its next index
    key, rendering = detail_page_key(name, media_type), _rendering(media_type)
    headers = (*page_headers(context, media_type, name), FROM_PRIVATE)
    render = partial(rendering, Project(name=name))
    page = await load_page(context, request, key, ABSENT, render, headers)
    return page_response(request, page, media_type)


async def _upstream_page(
    request: Request, context: ServerContext, found: "ServedPage", media_type: MediaType
) -> Response:
    """Return the response with the page of a project of an upstream index."""
    # no server without an upstream index needs it
    from wheelyard.http.upstream_reader import FROM_UPSTREAM, with_age  # noqa: PLC0415

    assert context.upstream is not None  # noqa: S101 - it has found the page
    shown = found.content.shown
    key = ("upstream", *detail_page_key(shown.name, media_type))
    head = page_headers(context, media_type, shown.name, is_upstream=True)
    headers = (*head, FROM_UPSTREAM)
    render = partial(_rendering(media_type), shown)
    page = await load_page(context, request, key, found.content.version, render, headers)
    is_current = context.upstream.watch(shown.name, found)
    return with_age(page_response(request, page, media_type, is_current), found)


def _rendering(media_type: MediaType) -> Callable[[ShownProject[ShownFile]], bytes]:
    return simple_pages.detail_json if media_type.value.is_json else simple_pages.detail_html
