"""Handler of the set-up page."""

from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.setup_page import setup_page
from wheelyard.storage.base import ABSENT


async def answer_setup(request: Request, web: WebPages) -> Response:
    """Handle GET `/setup/` for a browser: the settings of each client for this index."""
    can_publish = not web.context.index.settings.server.read_only
    viewer = web.viewer(request)

    def render() -> bytes:
        return setup_page(web.environment, viewer, can_publish=can_publish)

    # it is made from no document, and so from no version of one
    return await web.respond(request, ("setup", viewer), ABSENT, render, is_current=lambda: True)
