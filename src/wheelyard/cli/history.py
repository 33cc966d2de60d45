"""Lines about changes for the histories of commands, and the names of tokens in them."""

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
    Yield the columns of each event: its time, who caused it, and its description.

    There is one description for each event. A warning is printed if the names of tokens cannot be
    read.
    """
    # journals have the ids of tokens, but people know their tokens by name
    names = token_names(api, {event.by for event in events})
    for event, description in zip(events, descriptions, strict=True):
        by = with_name(event.by, names.get(event.by, ""))
        yield f"{event.at:%Y-%m-%d %H:%M:%S} UTC", by, description


def token_names(api: Api, principals: Iterable[str]) -> dict[str, str]:
    """
    Return the names of API tokens by their principals, and an empty text for other principals.

    If the names cannot be read, print a warning, and return an empty dictionary.
    """
    try:
        return {principal: api.name_of(principal) for principal in principals}
    except Unavailable as fault:
        warn(f"the names of tokens cannot be read: {fault.message}")
        return {}
