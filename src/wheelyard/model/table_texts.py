"""Tables of TOML in words, for lists and histories of those in the store."""

from collections.abc import Mapping
from typing import Any, Final

MAX_ELEMENTS: Final = 20
"""How many elements of a list are said. It may have thousands of names."""


def describe_table(keys: Mapping[str, Any], without: str = "") -> str:
    """Return the keys of a table, perhaps but one, with their values, as one line."""
    return ", ".join(f"{key} {_text_of(value)}" for key, value in keys.items() if key != without)


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        texts = [_text_of(element) or '""' for element in value[:MAX_ELEMENTS]]
        if len(value) > MAX_ELEMENTS:
            texts.append(f"and {len(value) - MAX_ELEMENTS} more")
        return " ".join(texts)
    if isinstance(value, dict):
        return " ".join(f"{name}={_text_of(inner)}" for name, inner in value.items())
    return str(value)
