"""The lookup of a public project by its exact name, for a search that does not know it."""

from typing import Final

from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.messages import Request
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.project_facts import ProjectFacts

LOOKUP_SECONDS: Final = 3.0
"""How long a page of results waits for an upstream index."""


def find_public(request: Request, context: ServerContext, name: str) -> ProjectFacts | None:
    """
    Return the facts of a public project, looked up as its page would do it; None without one.

    Nobody is told here that a name is private. Raises Unavailable or TimeoutError if no upstream
    index answers in time.
    """
    reader = context.upstream
    if reader is None or reader.upstream.config.offline:  # then the search knows all that there is
        return None
    # no server without an upstream index needs it
    from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

    try:
        parsed = parse_name(name)
        context.read_policy.require_lookup(request.caller, parsed)
        with request.waiting_at_most(LOOKUP_SECONDS):
            listing = reader.find(parsed, request, may_refresh=False)
    except (Invalid, NotFound, Forbidden, Unauthenticated):
        return None
    if listing is None or listing.origin.refusal:
        return None
    return facts_of(reader.upstream, listing, "")
