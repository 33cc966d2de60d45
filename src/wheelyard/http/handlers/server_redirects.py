"""Redirects from below the path of an index to the pages that the whole server has once."""

from msgspec import Struct

from wheelyard.http.client_paths import build_path
from wheelyard.http.messages import Request, Response, redirect
from wheelyard.settings.sections import ServerSettings


class ServerRedirects(Struct, frozen=True):
    """Sends people from `/dev/-/account/` to `/-/account/`."""

    server: ServerSettings
    """Of the whole server."""

    def answer(self, request: Request) -> Response:
        """Handle GET: redirect to the same path without that of the index."""
        path = build_path(self.server, request.segments, request.query_string)
        return redirect(302, path)
