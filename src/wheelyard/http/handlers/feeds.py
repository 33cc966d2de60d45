"""Handlers of the Atom feeds."""

from packaging.utils import NormalizedName

from wheelyard.http.caching.versions import SEARCH, project_key
from wheelyard.http.page_responses import load_page, load_projects, page_response, visibility_key
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.web_pages import WebPages
from wheelyard.model.project import Project
from wheelyard.operations.latest_changes import CHANGED_PROJECTS, read_latest
from wheelyard.operations.project_history import HistoryReader
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.storage.base import ObjectVersion


def answer_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/feed.xml`: the newest releases and changes of all that the caller may read."""
    context, environment, caller = web.context, web.environment, request.caller
    index, table = context.index, load_projects(context)

    def load(name: NormalizedName) -> Project | None:
        return index.projects.load(name).value

    def render() -> bytes:
        newest = table.readable_by(caller).latest_changes(CHANGED_PROJECTS)
        names = [each.name for each in newest]
        entries = read_latest(load, names, is_local=index.is_local)
        return index_feed(environment.brand.name, environment.base_url, entries)

    key, version = ("feed of all", visibility_key(caller)), ObjectVersion(str(table.generation))
    page = load_page(context, request, key, version, render, web.headers(None, None))
    return page_response(request, page, MediaType.ATOM, ((SEARCH, version),))


def answer_project_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
    context, environment = web.context, web.environment
    name, index = web.require_reader(request), context.index
    if name != request.path_params["name"]:
        return redirect(301, f"{web.path('project', name)}feed.xml")
    project, version = context.require_project(name)

    def render() -> bytes:
        history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)
        changes = history.newest(project).entries
        return project_feed(environment.brand.name, environment.base_url, project, changes)

    page = load_page(context, request, ("feed", name), version, render, web.headers(name, None))
    return page_response(request, page, MediaType.ATOM, ((project_key(name), version),))
