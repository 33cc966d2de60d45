"""Says what is wrong with a setting, in the words of whoever wrote it."""

import re
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from wheelyard.errors import Invalid, quoted
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
_RANGES: Final = {"<=": "up to", ">=": "from"}
_PLACE: Final = r"`\$((?:\.\w+)+)(?:\[.*)?`"
_EXPECTED: Final = re.compile(
    rf"(?:Expected `(\w+)`(?: ([<>]=) (\d+))?|Invalid enum value).* - at {_PLACE}", re.DOTALL
)
_UNKNOWN: Final = re.compile(
    rf"Object contains unknown field `(.*?)`(?: - at {_PLACE})?", re.DOTALL
)


def in_words(problem: str) -> str:
    """Return what msgspec says of a value, in the words of whoever wrote the value."""
    if found := _UNKNOWN.fullmatch(problem):
        name, place = found.groups()
        return (
            f"[{place[1:]}] has no setting {quoted(name)}"
            if place
            else f"there is no section {quoted(name)}"
        )
    if found := _EXPECTED.fullmatch(problem):
        kind, relation, bound, place = found.groups()
        limit = f" {_RANGES[relation]} {bound}" if relation else ""
        keys = place[1:].split(".")
        expected = _choice(keys) or f"{_KINDS.get(kind, kind)}{limit}"
        return f"{_shown(keys)}: expected {expected}"
    return quoted(problem)


def _shown(keys: list[str]) -> str:
    """Return a setting, or a section, as the file has it."""
    if get_type_hints(Settings)[keys[0]] in _TABLES:
        return f"[[{keys[0]}]]"
    if isinstance(_hint(keys), type) and issubclass(_hint(keys), Struct):
        return f"[{'.'.join(keys)}]"
    return f"[{'.'.join(keys[:-1])}] {keys[-1]}"


def _choice(keys: list[str]) -> str | None:
    """Return the words that a setting can be, where there are only some."""
    hint = _hint(keys)
    if get_origin(hint) is not Literal:
        return None
    *words, last = get_args(hint)
    return f"{', '.join(words)} or {last}"


def _hint(keys: list[str]) -> Any:  # noqa: ANN401 - a type, or a form of one
    """Return the type of a setting."""
    hint: Any = Settings
    for key in keys:
        hint = get_type_hints(hint).get(key)
    return hint


def bad_setting(why: str) -> Invalid:
    """Return the fault for a setting that makes no sense."""
    hints = get_type_hints(Settings)
    names = [each.name for each in fields(Settings)]
    known = ", ".join(f"[[{name}]]" if hints[name] in _TABLES else f"[{name}]" for name in names)
    return Invalid(
        f"A setting is wrong: {why}. The sections are {known}; see docs/settings.md.",
        code="bad_setting",
    )
