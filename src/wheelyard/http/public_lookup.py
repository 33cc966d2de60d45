"""The lookup of a public project by its exact name, for a search that does not know it."""

from asyncio import timeout
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.messages import Request
from wheelyard.http.resolver import Asking
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.project_facts import ProjectFacts

LOOKUP_SECONDS: Final = 3.0
"""How long a page of results waits for an upstream index."""


class PublicLookup(Struct, frozen=True):
    """What a search knows of the public project that has exactly the name that was searched."""

    name: NormalizedName
    project: ProjectFacts | None = None
    """None if there is none, or if `is_unknown`."""
    is_unknown: bool = False
    """Whether no upstream index has answered in time."""


async def find_public(request: Request, context: ServerContext, name: str) -> PublicLookup | None:
    """
    Look a name up as its page would; return None for what cannot be the name of a public project.

    Nobody is told here that a name is private.
    """
    reader = context.upstream
    try:
        parsed = parse_name(name)
    except Invalid:
        return None
    if reader is None or reader.upstream.config.offline:  # then the search knows all that there is
        return None
    # no server without an upstream index needs it
    from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

    asking = Asking(request, may_refresh=False)
    try:
        context.read_policy.require_lookup(request.caller, parsed)
        async with timeout(LOOKUP_SECONDS):
            listing = await reader.find(parsed, request.caller, asking)
    except (NotFound, Forbidden, Unauthenticated):
        return PublicLookup(parsed)
    except (Unavailable, TimeoutError):
        return PublicLookup(parsed, is_unknown=True)
    if listing is None or listing.origin.refusal:
        return PublicLookup(parsed)
    read = context.pools.run_read
    return PublicLookup(parsed, await read(lambda: facts_of(reader.upstream, listing, "")))
