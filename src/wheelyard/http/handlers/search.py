"""Handler of `/search.json`: all projects for other clients, or what a search finds."""

from typing import Final

from wheelyard.http.caching.versions import SEARCH
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    load_page,
    load_projects,
    page_headers,
    page_response,
    visibility_key,
)
from wheelyard.http.protocol.fields import query_field
from wheelyard.http.protocol.messages import JSON, Request, Response, make_response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.rendering.search_json import results_json, search_json
from wheelyard.storage.base import ObjectVersion

SHOWN_RESULTS: Final = 20
"""The projects that a search as one types shows; the page of results has all."""


def answer_search(request: Request, context: ServerContext) -> Response:
    """
    Handle GET `/search.json`: names, versions and summaries of projects the caller may read.

    With `?q=`, those that have these words: how many, and the first of them.
    """
    headers, caller = page_headers(context, MediaType.PLAIN_JSON), request.caller
    table = load_projects(context)
    words = query_field(request.query_string, "q")
    if words is not None:

        def search() -> bytes:
            found = table.readable_by(caller).search(words, 0, SHOWN_RESULTS)
            return results_json(found.total, found.projects)

        body = search()
        return make_response(200, JSON, body, *headers)

    def render() -> bytes:
        return search_json(table.readable_by(caller).projects)

    key = ("search", visibility_key(caller))
    version = ObjectVersion(str(table.generation))
    page = load_page(context, request, key, version, render, headers)
    return page_response(request, page, MediaType.PLAIN_JSON, ((SEARCH, version),))
