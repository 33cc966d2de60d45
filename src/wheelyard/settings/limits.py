"""What no setting can be, whatever it is for: bytes that are no text, and what has no end."""

import tomllib
from collections.abc import Iterator
from typing import Any, Final

NUMBER_BITS: Final = 63
"""Of a number; what is larger fits nowhere."""
DEPTH: Final = 20
"""Of tables and lists in one another; a grant needs 2."""


def toml_of(text: str) -> dict[str, Any]:
    """
    Return the tables that a text is, read as TOML.

    Raises:
        ValueError: It is no TOML, or has in it what Python does not read; says which.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python reads 4300 digits at most
        raise ValueError("a number in it has too many digits") from error
    except RecursionError as error:
        raise ValueError("its brackets are too deep in one another") from error


def why_impossible(value: object) -> str:
    """Return what is wrong with a value that no setting can have, or nothing."""
    for each, depth in _within(value):
        if depth > DEPTH:
            return "expected fewer lists and tables in one another"
        if isinstance(each, str) and not is_text(each):
            return "expected text in UTF-8, and found other bytes"
        if isinstance(each, int) and each.bit_length() > NUMBER_BITS:
            return "expected a smaller number"
    return ""


def is_text(text: str) -> bool:
    """Return whether a text has no half characters, which stand for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _within(value: object) -> Iterator[tuple[object, int]]:
    """Yield a value and all that is in it, each with its depth: without a stack of calls."""
    left = [(value, 0)]
    while left:
        each, depth = left.pop()
        yield each, depth
        if isinstance(each, dict):
            left += [(part, depth + 1) for pair in each.items() for part in pair]
        elif isinstance(each, list | tuple):
            left += [(part, depth + 1) for part in each]
