"""The names of indexes: which there can be, that of main, and what people call an index."""

import re
from datetime import UTC, date, datetime, time
from typing import Final

from wheelyard.errors import Invalid, NotFound, quoted

MAIN: Final = "main"
"""The name of the index at the root of the server."""
FORMER_MAIN: Final = "former-main-"
"""
What an index is called here that an earlier version has made under the name of main.

No index can get this name, as it ends with a hyphen.
"""
EVERY_INDEX: Final = "*"
"""What a right has in place of names if it is about all indexes."""
UPSTREAM_LAYER: Final = "upstream"
"""The layer with the packages of upstream indexes."""
NAME_LIMIT_CHARS: Final = 40
NAME_FORM: Final = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{NAME_LIMIT_CHARS - 2}}}[a-z0-9])?")
"""The form of the name of an index. Words of paths have it, too, and the views of days."""
DATED: Final = "as-of-"
"""The beginning of the name of the view of a day."""
_DATED: Final = re.compile(rf"{DATED}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}", re.ASCII)
_WORDS: Final = (
    "simple pypi legacy files project api raw packages integrity health ready metrics setup static "
    "search upstream wheelyard-export"
)
RESERVED_INDEX_NAMES: Final = frozenset(_WORDS.split())
"""First segments of paths of the routes and of sites, and words with a meaning in layers."""


def parse_index_name(text: str) -> str:
    """
    Return `text`, if it can be the name of an index.

    Raises Invalid (code `invalid_index`) if it cannot.
    """
    # most checks are about URLs: the name is the first segment of each path of the index
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


def renamed_in(names: str, before: str, after: str) -> str:
    """
    Return the names of indexes in a text, with commas, in which `before` is called `after`.

    They are sorted, each once. A text without `before` is returned as it was written.
    """
    renamed = {name.strip() for name in names.split(",")}
    # a text without the name stays as it was written
    if before not in renamed:
        return names
    renamed.remove(before)
    renamed.add(after)
    return ",".join(sorted(renamed))


def read_index_name(text: str) -> str:
    """
    Return the name of the index that a stored or sent text means.

    An empty text is main, which had no name in earlier versions.
    """
    return text or MAIN


def index_path(name: str) -> str:
    """Return what stands before the paths of an index: `dev/`, or nothing for main."""
    if name == MAIN:
        return ""
    return f"{name}/"


def bare_index_path(name: str) -> str:
    """Return the path of an index without slashes at its ends: `dev`, or nothing for main."""
    if name == MAIN:
        return ""
    return name


def is_dated_view(text: str) -> bool:
    """Return whether a text has the form `as-of-2026-01-01`, which is the name of a view."""
    return _DATED.fullmatch(text) is not None


def day_of_view(text: str) -> date:
    """
    Return the day of `as-of-2026-01-01`, for which `is_dated_view` is true.

    Raises NotFound if there is no such day.
    """
    # the form does not say whether the month has so many days
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
