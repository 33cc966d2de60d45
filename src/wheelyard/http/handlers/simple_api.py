"""Handlers of the Simple API: the list of projects, and the page of a project."""

from contextlib import suppress
from functools import partial

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.http import page_responses
from wheelyard.http.caching.page_cache import CachedPage, detail_page_key
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_headers, page_response
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.router import build_path
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.model.project import Project
from wheelyard.rendering import simple_pages
from wheelyard.storage.base import ObjectVersion


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
    """
    Handle GET `/simple/<name>/`: the page of a project.

    Redirect a name that is not normalized, and a path at which the page's relative links are wrong.
    """
    name = parse_project_name(request.params["name"])
    context.read_policy.require_project_read(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # from this URL, the page's relative links would lead outside the prefix
        return redirect(301, build_path("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, build_path(prefix, (*root, name), request.query))
    media_type = page_responses.requested_media_type(request)
    if media_type is None:
        return page_responses.not_acceptable()
    key, headers = detail_page_key(name, media_type), page_headers(context, media_type, name)
    rendering = simple_pages.detail_json if media_type.value.is_json else simple_pages.detail_html

    rendered = dict[ObjectVersion, CachedPage]()

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
