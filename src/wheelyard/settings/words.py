"""Says what is wrong with a setting, in the words of whoever wrote it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import fields

from wheelyard.errors import QUOTE_LIMIT, Invalid, quoted
from wheelyard.settings.sections import Settings

_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "int": "a number",
    "object": "a table",
    "str": "text",
}
_TABLES: Final = (tuple[dict[str, Any], ...],)
"""The types of sections that stand in the file any number of times."""
_SECRET: Final = "_token"  # noqa: S105 - how the names of settings end that are secrets
_PLACE: Final = r"`\$((?:\.\w+)+)(\[.*)?`"
_EXPECTED: Final = re.compile(
    rf"(?:Expected `(\w+)`(?: [<>]= -?\d+)?|Invalid enum value).* - at {_PLACE}", re.DOTALL
)
_UNKNOWN: Final = re.compile(
    rf"Object contains unknown field `(.*?)`(?: - at {_PLACE})?", re.DOTALL
)


def in_words(problem: str, values: Mapping[str, Any]) -> str:
    """
    Return what msgspec says of a value, in the words of whoever wrote the value.

    Args:
        problem: What msgspec says.
        values: What it was to read; a value that is wrong is repeated, unless it is a secret.
    """
    if found := _UNKNOWN.fullmatch(problem):
        name, place, _ = found.groups()
        return _unknown(name, place[1:].split(".")) if place else no_section(name)
    if found := _EXPECTED.fullmatch(problem):
        kind, place, within = found.groups()
        keys = place[1:].split(".")
        given = "" if within else _given(keys, values)
        return f"{_shown(keys)}: expected {_expected(keys, kind)}{given}"
    return quoted(problem)


def no_section(name: str) -> str:
    """Return that there is no such section, with those that there are."""
    return f"there is no section {quoted(name)}. The sections are {_sections()}"


def outside(name: str) -> str:
    """Return that a setting stands before the first section, with where it belongs."""
    if name in _names(Settings):
        return f"{quoted(name)} is a section, and is written in brackets, [{name}]"
    places = [
        f"[{section}]"
        for section, hint in get_type_hints(Settings).items()
        if _is_section(hint) and name in _names(hint)
    ]
    where = f"Write it below {' or '.join(places)}" if places else f"These are {_sections()}"
    return f"{quoted(name)} stands in no section. {where}"


def bad_setting(why: str) -> Invalid:
    """Return the fault for a setting that makes no sense."""
    return Invalid(f"A setting is wrong: {why}. See docs/settings.md.", code="bad_setting")


def _unknown(name: str, keys: list[str]) -> str:
    known = ", ".join(_names(_hint(keys)))
    return f"{_shown(keys)} has no setting {quoted(name)}. It has {known}"


def _sections() -> str:
    hints = get_type_hints(Settings)
    return ", ".join(
        f"[[{name}]]" if hints[name] in _TABLES else f"[{name}]" for name in _names(Settings)
    )


def _names(section: type[Struct]) -> list[str]:
    return [each.name for each in fields(section)]


def _is_section(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


def _shown(keys: list[str]) -> str:
    """Return a setting, or a section, as the file has it."""
    if get_type_hints(Settings)[keys[0]] in _TABLES:
        return f"[[{keys[0]}]]"
    if _is_section(_hint(keys)):
        return f"[{'.'.join(keys)}]"
    return f"[{'.'.join(keys[:-1])}] {keys[-1]}"


def _expected(keys: list[str], kind: str) -> str:
    """Return what a setting can be."""
    hint = _hint(keys)
    if get_origin(hint) is Literal:
        *words, last = get_args(hint)
        return f"{', '.join(words)} or {last}"
    if hint == tuple[str, ...]:
        return "a list of texts"
    return f"{_KINDS.get(kind, kind)}{_range(hint)}"


def _range(hint: object) -> str:
    """Return between which numbers a setting has to be, where there are limits."""
    if get_origin(hint) is not Annotated:
        return ""
    limits = next(each for each in get_args(hint) if isinstance(each, Meta))
    least = "" if limits.ge is None else f" from {limits.ge}"
    return least if limits.le is None else f"{least} to {limits.le}"


def _given(keys: list[str], values: Mapping[str, Any]) -> str:
    """Return what was found instead, where that can be shown in a few characters."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    if keys[-1].endswith(_SECRET) or not isinstance(found, str | int | float):
        return ""
    if isinstance(found, bool):
        return f", and found {str(found).lower()}"
    return f", and found {quoted(found) if isinstance(found, str) else str(found)[:QUOTE_LIMIT]}"


def _hint(keys: list[str]) -> Any:  # noqa: ANN401 - a type, or a form of one
    """Return the type of a setting."""
    hint: Any = Settings
    for key in keys:
        hint = get_type_hints(hint, include_extras=True).get(key)
    return hint
