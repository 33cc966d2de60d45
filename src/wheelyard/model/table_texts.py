"""Tables of TOML in words, for lists of the tables in the store and their history."""

from collections.abc import Mapping
from typing import Any, Final

MAX_ELEMENTS: Final = 20
"""How many elements of a list are named. A list may have thousands of names."""


def describe_table(keys: Mapping[str, Any], without: str = "") -> str:
    """Return the keys of a table with their values as one line, but for the key `without`."""
    described = [f"{key} {_text_of(value)}" for key, value in keys.items() if key != without]
    return ", ".join(described)


def _text_of(value: object) -> str:
    """Return a value of a table in words, also of a nested list or table."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        texts = [_text_of(element) or '""' for element in value[:MAX_ELEMENTS]]
        if len(value) > MAX_ELEMENTS:
            texts.append(f"and {len(value) - MAX_ELEMENTS} more")
        return " ".join(texts)
    if isinstance(value, dict):
        return " ".join(f"{name}={_text_of(member)}" for name, member in value.items())
    return str(value)
