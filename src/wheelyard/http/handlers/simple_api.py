"""Pages for programs: the Simple API, PyPI's JSON, and the search index."""

from contextlib import suppress
from functools import partial

from wheelyard.catalog.documents import Snapshot
from wheelyard.http.caching.page_cache import CachedPage, detail_subject
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    answer,
    form_of,
    headers_of,
    not_acceptable,
    page_of,
    sight_of,
    visible,
)
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.router import path_of
from wheelyard.http.security.read_policy import name_in
from wheelyard.model.project import Project
from wheelyard.rendering import simple_pages
from wheelyard.storage.base import ObjectVersion


async def project_list(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/` with the projects that the caller may read."""
    form = form_of(request)
    if form is None:
        return not_acceptable()
    snapshot = await context.reads.names()
    rendering = simple_pages.list_json if form.value.is_json else simple_pages.list_html

    def render() -> bytes:
        return rendering(visible(snapshot, request.caller))

    subject = ("list", form.value.is_json, sight_of(request.caller))
    page = await page_of(context, subject, snapshot.version, render, headers_of(context))
    return answer(request, page, form)


async def project_detail(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/<name>/`; another spelling is redirected."""
    name = name_in(request.params["name"])
    context.audience.require_read(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # the page's relative links would leave the prefix from here
        return redirect(301, path_of("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, path_of(prefix, (*root, name), request.query))
    form = form_of(request)
    if form is None:
        return not_acceptable()
    subject, headers = detail_subject(name, form), headers_of(context, name)
    rendering = simple_pages.detail_json if form.value.is_json else simple_pages.detail_html

    ready = dict[ObjectVersion, CachedPage]()

    def make(found: Snapshot[Project]) -> None:  # in the thread that has read the document
        # others wait for that document: a page that cannot be made is tried again below
        if found.value is not None:
            with suppress(Exception):
                render = partial(rendering, found.value)
                ready[found.version] = context.pages.made(subject, found.version, render, headers)

    project, version = await context.reads.listed(name, ahead=make)
    page = ready.get(version)
    if page is None:
        page = await page_of(context, subject, version, partial(rendering, project), headers)
    return answer(request, page, form)
