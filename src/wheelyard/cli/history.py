"""Lines about changes: when each was made, by whom, and what it was."""

from collections.abc import Iterable, Iterator, Sequence

from wheelyard.cli.command_context import Api
from wheelyard.cli.output import warn
from wheelyard.errors import Unavailable
from wheelyard.model.grants import with_name
from wheelyard.model.project_json import OtherEvent


def history_lines(
    api: Api, events: Sequence[OtherEvent], descriptions: Iterable[str]
) -> Iterator[tuple[str, ...]]:
    """
    Yield the columns of each event: when it was, by whom, and what it was.

    There is one description for each event. It warns if the names of tokens cannot be read.
    """
    # journals have the ids of tokens, and people know their tokens by name
    names = token_names(api, {event.by for event in events})
    for event, description in zip(events, descriptions, strict=True):
        by = with_name(event.by, names.get(event.by, ""))
        yield f"{event.at:%Y-%m-%d %H:%M:%S} UTC", by, description


def token_names(api: Api, principals: Iterable[str]) -> dict[str, str]:
    """
    Return the name of the API token that each principal is, an empty text for others.

    If they cannot be read, warn and return an empty dictionary.
    """
    try:
        return {principal: api.name_of(principal) for principal in principals}
    except Unavailable as fault:
        warn(f"the names of tokens cannot be read: {fault.message}")
        return {}
