"""The names of indexes: which there can be, that of main, and what people call an index."""

import re
from datetime import date
from typing import Final

from wheelyard.errors import Invalid, NotFound, quoted

MAIN: Final = ""
"""The name of the index at the root of the server."""
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
    "simple pypi legacy files project api raw packages health ready metrics setup static search "
    "upstream wheelyard-export"
)
RESERVED_INDEX_NAMES: Final = frozenset(_WORDS.split())
"""First segments of paths of the routes and of sites, and words with a meaning in layers."""


def parse_index_name(text: str) -> str:
    """
    Return `text`, if it can be the name of an index.

    Raises Invalid (code `invalid_index`) if it cannot.
    """
    if text in RESERVED_INDEX_NAMES:
        why = "it is a word of the paths of this server"
    elif is_dated_view(text):
        why = "it is the name of a view of that day"
    elif not NAME_FORM.fullmatch(text):
        why = f"write up to {NAME_LIMIT_CHARS} letters a-z, digits and hyphens"
    else:
        return text
    raise Invalid(f"{quoted(text)} cannot be the name of an index: {why}.", code="invalid_index")


def parse_index_names(text: str) -> str:
    """
    Return the names of indexes in a text, with commas between them, sorted and each once.

    An empty text names none. Raises Invalid (code `invalid_index`) for a wrong name.
    """
    names = {parse_index_name(name.strip()) for name in text.split(",")} if text else ()
    return ",".join(sorted(names))


def describe_index(name: str) -> str:
    """Return the name of an index, or words for the one without a name."""
    return name or "the index without a name"


def subject_of(name: str) -> str:
    """Return an index in words as the beginning of a sentence."""
    return f"The index {name}" if name else "The index without a name"


def is_dated_view(text: str) -> bool:
    """Return whether a text has the form `as-of-2026-01-01`, which is the name of a view."""
    return _DATED.fullmatch(text) is not None


def day_of_view(text: str) -> date:
    """
    Return the day of `as-of-2026-01-01`, for which `is_dated_view` is true.

    Raises NotFound if there is no such day.
    """
    try:
        return date.fromisoformat(text.removeprefix(DATED))
    except ValueError:
        raise NotFound(
            f"There is no view {text}, as there is no such day. Write the day as in "
            "/as-of-2026-01-31/simple/."
        ) from None
