"""The names of indexes: which there can be, that of main, and what people call an index."""

import re
from datetime import UTC, date, datetime, time
from typing import Final

from wheelyard.errors import Invalid, NotFound, quoted

MAIN: Final = "main"
"""The name of the index at the root of the server."""
FORMER_MAIN: Final = "former-main-"
"""
The name that stands for an index which an earlier version has made under the name `main`.

No index can be given this name, as it ends with a hyphen.
"""
EVERY_INDEX: Final = "*"
"""What a right about all indexes has in place of names."""
UPSTREAM_LAYER: Final = "upstream"
"""The layer with the packages of upstream indexes."""
NAME_LIMIT_CHARS: Final = 40
NAME_FORM: Final = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{NAME_LIMIT_CHARS - 2}}}[a-z0-9])?")
"""The form of the name of an index, which also words of paths and names of views have."""
DATED: Final = "as-of-"
"""The beginning of the name of a view, which shows an index as of a day."""
_DATED_VIEW: Final = re.compile(rf"{DATED}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}", re.ASCII)
_RESERVED_WORDS: Final = (
    "simple pypi legacy files project api raw packages integrity health ready metrics setup static "
    "search upstream wheelyard-export"
)
RESERVED_INDEX_NAMES: Final = frozenset(_RESERVED_WORDS.split())
"""First segments of paths of the routes and of sites, and words with a meaning in layers."""


def parse_index_name(text: str) -> str:
    """
    Return `text`, if it can be the name of an index.

    Raises Invalid (code `invalid_index`) if it cannot.
    """
    # most checks are about URLs, as the name is the first segment of each path of the index
    if text == MAIN:
        why = "it is the name of the index at the root of the server"
    elif text in RESERVED_INDEX_NAMES:
        why = "it is a word of the paths of this server"
    elif is_dated_view(text):
        why = "it is the name of a view of that day"
    elif not NAME_FORM.fullmatch(text):
        why = f"write up to {NAME_LIMIT_CHARS} letters a-z, digits and hyphens"
    else:
        return text
    raise Invalid(f"{quoted(text)} cannot be the name of an index: {why}.", code="invalid_index")


def parse_right_index(text: str) -> str:
    """
    Return the index that a right names, or `EVERY_INDEX`.

    An empty text is main. Raises Invalid (code `invalid_index`) if no index can have the name.
    """
    name = read_index_name(text)
    if name in {MAIN, EVERY_INDEX}:
        return name
    return parse_index_name(name)


def names_after_rename(names: str, old_name: str, new_name: str) -> str:
    """
    Return the names of indexes in a text, with commas, after an index was renamed.

    The names are sorted, each once. A text without the old name is returned as it was written.
    """
    new_names = {name.strip() for name in names.split(",")}
    if old_name not in new_names:
        return names
    new_names.remove(old_name)
    new_names.add(new_name)
    return ",".join(sorted(new_names))


def read_index_name(text: str) -> str:
    """
    Return the name of the index that a stored or sent text means.

    An empty text is main, which had no name in earlier versions.
    """
    return text or MAIN


def index_path(name: str) -> str:
    """Return the beginning of the paths of an index: `dev/`, or an empty text for main."""
    if name == MAIN:
        return ""
    return f"{name}/"


def bare_index_path(name: str) -> str:
    """Return the path of an index without slashes at its ends: `dev`, or empty for main."""
    if name == MAIN:
        return ""
    return name


def is_dated_view(text: str) -> bool:
    """Return whether a text has the form of the name of a view, `as-of-2026-01-01`."""
    return _DATED_VIEW.fullmatch(text) is not None


def day_of_view(text: str) -> date:
    """
    Return the day of `as-of-2026-01-01`, for which `is_dated_view` is true.

    Raises NotFound if there is no such day.
    """
    # the month may have fewer days than the form allows
    try:
        return date.fromisoformat(text.removeprefix(DATED))
    except ValueError:
        raise NotFound(
            f"There is no view {text}, as there is no such day. Write the day as in "
            "/as-of-2026-01-31/simple/."
        ) from None


def end_of_day(day: date) -> datetime:
    """Return the last moment of a day, in UTC."""
    return datetime.combine(day, time.max, UTC)


def day_to_come(day: date) -> NotFound:
    """Return the error for the view of a day that has not begun."""
    return NotFound(
        f"There is no view of {day} yet, as that day has not begun in UTC. Name an earlier day."
    )
