"""Which name a search looks up in upstream indexes, besides what it finds in the search table."""

from packaging.utils import NormalizedName

from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated
from wheelyard.http.context import IndexRequest
from wheelyard.model.distribution_filename import parse_name


def name_to_look_up(request: IndexRequest, words: str) -> NormalizedName | None:
    """
    Return the name in `words` that is looked up in upstream indexes for the caller, or None.

    Return None without upstream indexes, if these are not asked because the server is offline, if
    `words` are no name, and if the caller may not ask for it. The result does not depend on which
    names are private.
    """
    reader = request.context.upstream
    # offline, the search table has all public packages that there are
    if reader is None or reader.upstream.config.offline:
        return None
    try:
        name = parse_name(words)
        request.context.read_policy.require_lookup(request.caller, name)
    except (Invalid, NotFound, Forbidden, Unauthenticated):
        return None
    return name


def indexes_to_ask(request: IndexRequest, words: str) -> list[str]:
    """
    Return the labels of the upstream indexes that would be asked for the name in `words`.

    The store is not read for that, which may know the name: then no upstream index is asked.
    """
    name = name_to_look_up(request, words)
    reader = request.context.upstream
    if name is None or reader is None:
        return []
    upstream = reader.upstream
    if upstream.names.matches_pattern(name) or not upstream.policy.accepts(name):
        return []
    return [client.server.label for client in upstream.clients.asked_for(name)]
