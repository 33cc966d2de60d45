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
    Return the value of a text for a key of this type, which is not checked further.

    A text that is no number or boolean stays a text, for later checks to refuse. Raises Invalid
    (code `invalid_field`), with the key, if a table has a line without a name and `=`, or a name
    twice.
    """
    types = _member_types(kind)
    if any(isinstance(member, inspect.VarTupleType) for member in types):
        return list(filter(None, map(str.strip, _ELEMENTS.split(text))))
    if any(isinstance(member, inspect.DictType) for member in types):
        return _table(key, text)
    # what is no boolean or number stays a text, for the checks of the key to refuse
    if any(isinstance(member, inspect.BoolType) for member in types):
        return _BOOLEANS.get(text.lower(), text)
    return _number(types, text)


def _member_types(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types that a value may have: a key that may be missing is a union with None."""
    if isinstance(kind, inspect.Metadata):
        return _member_types(kind.type)
    if not isinstance(kind, inspect.UnionType):
        return [kind]
    types = list[inspect.Type]()
    for member in kind.types:
        types += _member_types(member)
    return types


def _number(types: Sequence[inspect.Type], text: str) -> int | float | str:
    """Return the number of a text if a key has one, else the text, for the checks to refuse."""
    if any(isinstance(member, inspect.IntType) for member in types) and _NUMBER.fullmatch(text):
        return int(text)
    is_decimal = any(isinstance(member, inspect.FloatType) for member in types)
    if is_decimal and _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _table(key: str, text: str) -> dict[str, str | bool]:
    """Return the table in a text that has a line for each entry."""
    table = dict[str, str | bool]()
    for line in filter(str.strip, text.splitlines()):
        name, value = _entry(key, line)
        if name in table:
            raise wrong_text(key, f"{quoted(name)} is there twice. Leave one out.")
        table[name] = value
    return table


def _entry(key: str, line: str) -> tuple[str, str | bool]:
    """Return the name and the value on a line."""
    name, equals, value = map(str.strip, line.partition("="))
    if not equals or not name:
        raise wrong_text(key, f"Write each on a line, as NAME = VALUE: {quoted(line)}.")
    # the text `true` is in quotes, as a claim of another type than expected is wrong
    if len(value) > 1 and value[0] == value[-1] == '"':
        return name, value[1:-1]
    return name, _BOOLEANS.get(value, value)


def text_of_value(value: object) -> str:
    """Return the text of a value, for `value_of_text`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "\n".join(f"{name} = {_entry_text(inner)}" for name, inner in value.items())
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
