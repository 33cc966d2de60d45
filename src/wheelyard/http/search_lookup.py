"""Which names a search looks up in upstream indexes, beside what it finds in its table."""

from packaging.utils import NormalizedName

from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated
from wheelyard.http.context import IndexRequest
from wheelyard.model.distribution_filename import parse_name


def name_to_look_up(request: IndexRequest, words: str) -> NormalizedName | None:
    """
    Return the name that the caller may have looked up in upstream indexes, or None.

    It is None without upstream indexes, if they are not asked now, and if `words` are no name. None
    of that depends on which names are private.
    """
    reader = request.context.upstream
    if reader is None or reader.upstream.config.offline:  # then the search knows all that there is
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

    This is said without a look at the store, which may show that none is.
    """
    name = name_to_look_up(request, words)
    reader = request.context.upstream
    if name is None or reader is None:
        return []
    upstream = reader.upstream
    if upstream.names.matches_pattern(name) or not upstream.policy.accepts(name):
        return []
    return [client.server.label for client in upstream.clients.asked_for(name)]
