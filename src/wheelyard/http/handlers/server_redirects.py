"""Redirects from below the path of an index to the pages that the whole server has once."""

from typing import Final
from urllib.parse import urlencode

from wheelyard.http.client_paths import build_path
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response, redirect
from wheelyard.http.token_forms import INDEX

TOKEN_PAGES: Final = (("-", "account"), ("-", "account", "tokens"))
"""The form of a token, which ticks the index that a person comes from, and what leads to it."""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET: redirect to the same path without that of the index.

    The form of a token is told which index it was, unless the query names one.
    """
    index = request.context.index
    query = request.query_string
    # below main, the page cannot know any more from which index somebody has come
    if request.segments in TOKEN_PAGES and request.query_field(INDEX) is None:
        index_field = urlencode({INDEX: index.name}).encode()
        if query:
            query += b"&"
        query += index_field
    return redirect(302, build_path(index.server.settings.server, request.segments, query))
