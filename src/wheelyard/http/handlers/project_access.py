"""Handler of the page that says who may do what to a project."""

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
    Handle GET `/project/<name>/access/`: the effective rights on a project.

    It is one of the index's own packages. Another spelling of the name is redirected. On a bucket
    it reads all tokens. Raises Unauthenticated for an anonymous caller, Forbidden unless the caller
    manages the project, and NotFound if they may not read it, or there is none. Raises Unavailable
    if the store does not answer.
    """
    index = request.context.index
    name = request.web.require_manager(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, ACCESS, query=request.query_string)
        return redirect(301, path)

    # a manager of a pattern manages names that do not exist, of which there is nothing to say
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
