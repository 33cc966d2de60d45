"""Handler of the home page."""

from wheelyard.http.page_responses import visibility_key, visible_names
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.home import home_page


async def answer_home(request: Request, web: WebPages) -> Response:
    """Handle GET `/` for a browser: the names of the projects that the caller may read."""
    names = await web.context.documents.load_names()
    viewer, caller = web.viewer(request), request.caller

    def render() -> bytes:
        return home_page(web.environment, viewer, visible_names(names, caller))

    key = ("home", viewer, visibility_key(caller))
    return await web.respond(request, key, names.version, render)
