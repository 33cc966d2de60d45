"""Handler of the page with the effective rights to a project."""

from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.rights import effective_access
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response, redirect
from wheelyard.model.access import Action
from wheelyard.rendering.web.access_matrix import access_rows
from wheelyard.rendering.web.manage_pages import render_form
from wheelyard.rendering.web.project_frame import ACCESS


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/access/`: the effective rights to an own project of the index.

    Another spelling of the name is redirected. All tokens are read from the store. Raises
    Unauthenticated for an anonymous caller, Forbidden unless the caller may manage the project, and
    NotFound if the caller may not read the project, or there is no such project. Raises Unavailable
    if the store does not answer.
    """
    index = request.context.index
    name = request.web.require_manager(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, ACCESS, query=request.query_string)
        return redirect(301, path)

    # the right to manage may be for a pattern, so also for names without a project
    request.context.require_project(name)
    entries = effective_access(name, index.authenticator, index.tokens.all())
    viewer = request.web.managed_viewer(request, name)
    page = render_form(
        request.web.environment,
        viewer,
        name,
        "access.html",
        ACCESS,
        rows=access_rows(entries),
        actions=(Action.READ, Action.UPLOAD, Action.MANAGE),
        administers=Action.ADMIN,
        has_details=is_token_admin(request.caller),
        may_grant=request.caller.administers_server and not index.settings.server.read_only,
    )
    return request.web.own_page(request, 200, page)
