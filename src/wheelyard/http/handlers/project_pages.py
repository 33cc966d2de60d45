"""Handlers of the pages of a project."""

from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.router import build_path
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.web.project_page import project_page


async def answer_project(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/`: a project's page; redirect a name in another spelling."""
    context = web.context
    name = parse_project_name(request.params["name"])
    context.read_policy.require_project_read(request.caller, name)
    if name != request.params["name"]:
        prefix = context.index.settings.server.path_prefix
        return redirect(301, build_path(prefix, ("project", name), request.query))
    project, version = await context.documents.require_project(name)
    viewer = web.viewer(request, name)

    def render() -> bytes:
        releases, core = releases_of(project), None
        described = latest_release(releases)
        if described is not None:
            core = context.core_metadata.load(name, described.metadata_file)
        return project_page(web.environment, viewer, project, releases, described, core)

    is_current = context.index.projects.watch(name, version)
    key = ("project", name, viewer)
    return await web.respond(request, key, version, render, name=name, is_current=is_current)
