"""Pages for programs: the Simple API, PyPI's JSON, and the search index."""

from contextlib import suppress
from functools import partial

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.http.caching.page_cache import CachedPage, detail_page_key
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    load_page,
    not_acceptable,
    page_headers,
    page_response,
    requested_media_type,
    visibility_key,
    visible_names,
)
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.router import build_path
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.model.project import Project
from wheelyard.rendering import simple_pages
from wheelyard.storage.base import ObjectVersion


async def project_list(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/` with the projects that the caller may read."""
    form = requested_media_type(request)
    if form is None:
        return not_acceptable()
    snapshot = await context.documents.load_names()
    rendering = simple_pages.list_json if form.value.is_json else simple_pages.list_html

    def render() -> bytes:
        return rendering(visible_names(snapshot, request.caller))

    subject = ("list", form.value.is_json, visibility_key(request.caller))
    page = await load_page(context, subject, snapshot.version, render, page_headers(context))
    return page_response(request, page, form)


async def project_detail(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/<name>/`; another spelling is redirected."""
    name = parse_project_name(request.params["name"])
    context.read_policy.require_project_read(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # the page's relative links would leave the prefix from here
        return redirect(301, build_path("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, build_path(prefix, (*root, name), request.query))
    form = requested_media_type(request)
    if form is None:
        return not_acceptable()
    subject, headers = detail_page_key(name, form), page_headers(context, name)
    rendering = simple_pages.detail_json if form.value.is_json else simple_pages.detail_html

    ready = dict[ObjectVersion, CachedPage]()

    def make(found: Snapshot[Project]) -> None:  # in the thread that has read the document
        # others wait for that document: a page that cannot be made is tried again below
        if found.value is not None:
            with suppress(Exception):
                render = partial(rendering, found.value)
                ready[found.version] = context.pages.get_or_render(
                    subject, found.version, render, headers
                )

    project, version = await context.documents.require_project(name, on_read=make)
    page = ready.get(version)
    if page is None:
        page = await load_page(context, subject, version, partial(rendering, project), headers)
    return page_response(request, page, form)
