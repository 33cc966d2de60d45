"""Says what is wrong with a setting, in the words of whoever wrote it."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import fields

from wheelyard.errors import Invalid, quoted
from wheelyard.settings.names import TABLES, Place, every_setting, is_secret, is_section
from wheelyard.settings.sections import Settings
from wheelyard.settings.urls import veiled

_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "int": "a number",
    "object": "a table",
    "str": "text",
}
_PLACE: Final = r"`\$((?:\.\w+)+)(\[.*)?`"
_EXPECTED: Final = re.compile(
    r"(?:Expected `(\w+)`(?: [<>]= -?\d+)?|Invalid enum value|Integer value out of range)"
    rf".* - at {_PLACE}",
    re.DOTALL,
)
_UNKNOWN: Final = re.compile(
    rf"Object contains unknown field `(.*?)`(?: - at {_PLACE})?", re.DOTALL
)


def in_words(problem: str, values: Mapping[str, Any], sources: Mapping[Place, str]) -> str:
    """
    Return what msgspec says of a value, in the words of whoever wrote the value.

    Args:
        problem: What msgspec says.
        values: What it was to read; a value that is wrong is repeated, unless it is a secret.
        sources: Who gave a value, if it is not the file.
    """
    if found := _UNKNOWN.fullmatch(problem):
        name, place, _ = found.groups()
        return no_such((*(place[1:].split(".") if place else ()), name))
    if found := _EXPECTED.fullmatch(problem):
        kind, place, within = found.groups()
        keys = place[1:].split(".")
        given = "" if within else _given(keys, values)
        source = f" ({sources[tuple(keys)]})" if tuple(keys) in sources else ""
        return f"{_shown(keys)}: expected {_expected(keys, kind)}{given}{source}"
    return quoted(problem)


def no_such(place: Place) -> str:
    """Return that there is no such setting or section, with what there is, and what is meant."""
    *above, name = place
    if not above:
        return _no_section(name) if name not in _names(Settings) else _is_one(name)
    hint: Any = Settings
    for depth, key in enumerate(above):
        hints = get_type_hints(hint)
        if key not in hints:
            return _no_section(key) if not depth else _no_setting(above[:depth], key)
        hint = hints[key]
        if not is_section(hint):
            return f"{_shown(above[: depth + 1])} has no settings in it"
    return _is_one(".".join(place)) if name in _names(hint) else _no_setting(above, name)


def outside(name: str) -> str:
    """Return that a setting stands before the first section, with where it belongs."""
    if name in _names(Settings):
        return f"{veiled(name)} is a section, and is written in brackets, [{name}]"
    places = _homes(name)
    where = f"Write it below {' or '.join(places)}" if places else f"These are {_sections()}"
    return f"{veiled(name)} stands in no section. {where}"


def bad_setting(why: str) -> Invalid:
    """Return the fault for a setting that makes no sense."""
    return Invalid(f"A setting is wrong: {why}. See docs/settings.md.", code="bad_setting")


def _no_section(name: str) -> str:
    if homes := _homes(name):
        return f"{veiled(name)} is no section. {' and '.join(homes)} has a setting of that name"
    near = _nearest(name, _names(Settings))
    meant = f"; perhaps [{near}] is meant" if near else ""
    return f"there is no section {veiled(name)}. The sections are {_sections()}{meant}"


def _no_setting(keys: Sequence[str], name: str) -> str:
    names = _names(_hint(keys))
    near, homes = _nearest(name, names), _homes(name)
    meant = f"; perhaps {near} is meant" if near else ""
    if homes and not near:
        meant = f"; {' and '.join(homes)} has one of that name"
    return f"{_shown(keys)} has no setting {veiled(name)}. It has {', '.join(names)}{meant}"


def _is_one(section: str) -> str:
    """Return that something is a section, and no setting."""
    names = ", ".join(_names(_hint(section.split("."))))
    return f"[{section}] is a section. Say which of its settings: {names}"


def _homes(name: str) -> list[str]:
    """Return the sections that have a setting of this name."""
    return [
        f"[{'.'.join(place[:-1])}]" for place in every_setting() if place[1:] and place[-1] == name
    ]


def _nearest(name: str, known: Sequence[str]) -> str:
    # only for whoever has mistyped something
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(name, known, 1)), "")


def _sections() -> str:
    return ", ".join(f"[[{name}]]" if name in TABLES else f"[{name}]" for name in _names(Settings))


def _names(section: type[Struct]) -> list[str]:
    return [each.name for each in fields(section)]


def _shown(keys: Sequence[str]) -> str:
    """Return a setting, or a section, as the file has it."""
    if keys[0] in TABLES:
        return f"[[{keys[0]}]]"
    if is_section(_hint(keys)):
        return f"[{'.'.join(keys)}]"
    return f"[{'.'.join(keys[:-1])}] {keys[-1]}"


def _expected(keys: Sequence[str], kind: str | None) -> str:
    """Return what a setting can be."""
    hint = _hint(keys)
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is Literal:
        *words, last = get_args(bare)
        return f"{', '.join(words)} or {last}"
    if bare == tuple[str, ...]:
        return "a list of texts"
    return f"{_KINDS.get(kind or 'int', kind)}{_range(hint)}"


def _range(hint: object) -> str:
    """Return between which numbers a setting has to be, where there are limits."""
    if get_origin(hint) is not Annotated:
        return ""
    limits = next(each for each in get_args(hint) if isinstance(each, Meta))
    least = "" if limits.ge is None else f" from {limits.ge}"
    return least if limits.le is None else f"{least} to {limits.le}"


def _given(keys: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return what was found instead, where that can be shown in a few characters."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    if is_secret(keys[-1]) or not isinstance(found, str | int | float):
        return ""
    if isinstance(found, bool):
        return f", and found {str(found).lower()}"
    return f", and found {veiled(found) if isinstance(found, str) else found}"


def _hint(keys: Sequence[str]) -> Any:  # noqa: ANN401 - a type, or a form of one
    """Return the type of a setting."""
    hint: Any = Settings
    for key in keys:
        hint = get_type_hints(hint, include_extras=True).get(key)
    return hint
