"""Redirects from below the path of an index to the pages that the whole server has once."""

from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.http.client_paths import build_path
from wheelyard.http.messages import Request, Response, redirect
from wheelyard.http.token_forms import INDEX
from wheelyard.settings.sections import ServerSettings

TOKEN_PAGES: Final = (("-", "account"), ("-", "account", "tokens"))
"""The form of a token, which ticks the index that a person comes from, and what leads to it."""


class ServerRedirects(Struct, frozen=True):
    """Sends people from `/dev/-/account/` to `/-/account/`."""

    server: ServerSettings
    """Of the whole server."""
    index: str
    """The name of the index."""

    def answer(self, request: Request) -> Response:
        """Handle GET: redirect to the same path without that of the index."""
        query = request.query_string
        if request.segments in TOKEN_PAGES and request.query_field(INDEX) is None:
            of_index = urlencode({INDEX: self.index}).encode()
            query = b"&".join(filter(None, (query, of_index)))
        return redirect(302, build_path(self.server, request.segments, query))
