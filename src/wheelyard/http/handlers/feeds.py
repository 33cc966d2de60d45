"""Handlers of the Atom feeds."""

from wheelyard.http.page_responses import load_page, page_response
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.http.web_pages import WebPages
from wheelyard.operations.project_history import HistoryReader
from wheelyard.rendering.feeds import project_feed


async def answer_project_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
    context, environment = web.context, web.environment
    name, index = parse_project_name(request.params["name"]), context.index
    context.read_policy.require_project_read(request.caller, name)
    if name != request.params["name"]:
        prefix = index.settings.server.path_prefix
        return redirect(301, f"{prefix}/project/{name}/feed.xml")
    project, version = await context.documents.require_project(name)

    def render() -> bytes:
        history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)
        changes = history.newest(project).entries
        return project_feed(environment.brand.name, environment.base_url, project, changes)

    is_current = index.projects.watch(name, version)
    page = await load_page(context, ("feed", name), version, render, web.headers(name, None))
    return page_response(request, page, MediaType.ATOM, is_current)
