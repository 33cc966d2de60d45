"""Handler of `/project/<name>/access/`: who may do what to a project, for those who manage it."""

from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.effective_access import effective_access
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.access_page import access_page


async def answer_access(request: Request, web: WebPages) -> Response:
    """Handle GET: the effective rights on a project. On a bucket it reads all tokens."""
    context, name = web.context, web.require_manager(request)
    index = context.index
    if name != request.params["name"]:
        return redirect(301, web.path("project", name, "access", query=request.query))
    await context.documents.require_project(name)
    viewer, is_admin = web.viewer(request, name), is_token_admin(request.caller)

    def respond() -> Response:
        entries = effective_access(name, index.authenticator, index.tokens.all())
        page = access_page(web.environment, viewer, name, entries, has_details=is_admin)
        return web.own_page(200, page)

    async with context.long_read_limit.acquire(request.client_key):
        return await context.pools.run_read(respond)
