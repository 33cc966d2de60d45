"""
Values of keys as texts, as a form or a command has them, and back.

The keys are those of a table of the store, such as `[[publisher]]` or `[[index]]`. A list is a text
with commas or line breaks between its elements. A table has a line for each entry, `NAME = VALUE`,
where true and false are booleans unless they are in quotes.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import inspect

from wheelyard.errors import Invalid, quoted

_BOOLEANS: Final = {"true": True, "false": False}
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,6})?", re.ASCII)
_ELEMENTS: Final = re.compile(r"[,\n]")


def value_of_text(kind: inspect.Type, key: str, text: str) -> Any:  # noqa: ANN401 - of any type
    """
    Return the value that a text stands for, of a key whose values have the type `kind`.

    The value is not checked further: a text that is no number or boolean stays a text, for later
    checks to refuse. Raises Invalid (code `invalid_field`), with the key, if a table has a line
    without a name and `=`, or a name twice.
    """
    types = _member_types(kind)
    if _has_type(types, inspect.VarTupleType):
        elements = [element.strip() for element in _ELEMENTS.split(text)]
        return [element for element in elements if element]
    if _has_type(types, inspect.DictType):
        return _table_of_text(key, text)
    if _has_type(types, inspect.BoolType):
        return _BOOLEANS.get(text.lower(), text)
    return _number_of_text(types, text)


def _member_types(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union, or the only type. A key that may be missing is one with None."""
    if isinstance(kind, inspect.Metadata):
        return _member_types(kind.type)
    if not isinstance(kind, inspect.UnionType):
        return [kind]
    types = list[inspect.Type]()
    for member in kind.types:
        types += _member_types(member)
    return types


def _has_type(types: Sequence[inspect.Type], member_type: type[inspect.Type]) -> bool:
    """Return whether one of the types of a union is a `member_type`."""
    return any(isinstance(member, member_type) for member in types)


def _number_of_text(types: Sequence[inspect.Type], text: str) -> int | float | str:
    """Return the number that a text stands for, or the text if the key has no number like it."""
    if _has_type(types, inspect.IntType) and _NUMBER.fullmatch(text):
        return int(text)
    if _has_type(types, inspect.FloatType) and _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _table_of_text(key: str, text: str) -> dict[str, str | bool]:
    """Return the table in a text that has a line for each entry."""
    table = dict[str, str | bool]()
    for line in text.splitlines():
        if not line.strip():
            continue
        name, value = _entry(key, line)
        if name in table:
            raise wrong_text(key, f"{quoted(name)} is there twice. Leave one out.")
        table[name] = value
    return table


def _entry(key: str, line: str) -> tuple[str, str | bool]:
    """Return the name and the value in a line `NAME = VALUE`, or raise Invalid without a name."""
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name:
        raise wrong_text(key, f"Write each on a line, as NAME = VALUE: {quoted(line)}.")
    # quotes tell the text `true` from the boolean, as a claim of the wrong type fails its check
    if len(value) > 1 and value[0] == value[-1] == '"':
        return name, value[1:-1]
    return name, _BOOLEANS.get(value, value)


def text_of_value(value: object) -> str:
    """Return the text that `value_of_text` reads as a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "\n".join(f"{name} = {_entry_text(member)}" for name, member in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _entry_text(value: object) -> str:
    """Return the value of an entry of a table as people write it."""
    if isinstance(value, str) and value in _BOOLEANS:
        return f'"{value}"'
    return text_of_value(value)


def wrong_text(key: str, message: str) -> Invalid:
    """Return the error (code `invalid_field`) about the text of a key."""
    return Invalid(message, code="invalid_field", field=key)
