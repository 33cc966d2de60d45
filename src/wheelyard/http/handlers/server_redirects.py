"""Redirects from the path of an index to pages that the server has only once, at its root."""

from typing import Final
from urllib.parse import urlencode

from wheelyard.http.client_paths import build_path
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response, redirect
from wheelyard.http.token_forms import INDEX

TOKEN_PAGES: Final = (("-", "account"), ("-", "account", "tokens"))
"""The page with the form of a new token, and the page that links to it: both take `?index=`."""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET: redirect to the same path below the root of the server.

    The name of the index is added to the query for the pages in `TOKEN_PAGES`, unless the query
    names an index: the form then ticks this index.
    """
    index = request.context.index
    query = request.query_string
    if request.segments in TOKEN_PAGES and request.query_field(INDEX) is None:
        index_field = urlencode({INDEX: index.name}).encode()
        if query:
            query += b"&"
        query += index_field
    return redirect(302, build_path(index.server.settings.server, request.segments, query))
