"""Handler of `/search.json`, the search index for the web UI and other clients."""

from hashlib import sha256

from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_headers, page_response
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.model.access import Action
from wheelyard.rendering.search_json import search_json
from wheelyard.storage.base import ObjectVersion


async def answer_search(request: Request, context: ServerContext) -> Response:
    """Handle GET `/search.json`: names, versions and summaries of projects the caller may read."""
    async with context.long_read_limit.acquire(request.client_key):
        entries = await context.pools.run_read(context.index.search.entries)
    caller = request.caller
    if not caller.may_everywhere(Action.READ):
        entries = tuple(each for each in entries if caller.may(Action.READ, each.name))
    body = search_json(entries)
    version = ObjectVersion(sha256(body).hexdigest())
    key, headers = ("search", version), page_headers(context, MediaType.PLAIN_JSON)
    page = await load_page(context, key, version, lambda: body, headers)
    return page_response(request, page, MediaType.PLAIN_JSON)
