"""`/search.json`: what the page for people searches in, besides the names that it shows."""

from hashlib import sha256

from wheelyard.http.desk import Desk
from wheelyard.http.exchange import POLICY, Reply, Request
from wheelyard.http.negotiation import Form
from wheelyard.http.simple import answer, page_of
from wheelyard.model.access import Action
from wheelyard.rendering.search import search_json
from wheelyard.storage.base import ObjectVersion


async def answer_search(request: Request, desk: Desk) -> Reply:
    """
    Answer with a line about each project that the caller may read.

    Raises:
        Unavailable: Too many ask at once, or the store does not answer.
    """
    async with desk.long_reads.one(request.party):
        every = await desk.read(desk.index.search.everything)
    caller = request.caller
    seen = every
    if not caller.may_everywhere(Action.READ):
        seen = tuple(each for each in every if caller.may(Action.READ, each.name))
    body = search_json(seen)
    version = ObjectVersion(sha256(body).hexdigest())
    caching = desk.caching_of_page(is_public=desk.is_public())
    page = await page_of(desk, ("search", version), version, lambda: body, (POLICY, *caching))
    return answer(request, page, Form.PLAIN_JSON)
