"""Says what is wrong with a setting, in the words of whoever wrote it."""

from collections.abc import Mapping
from typing import Final, Literal, get_args, get_origin

from wheelyard.errors import Invalid
from wheelyard.model.converting import Why, WrongField
from wheelyard.settings.names import TABLES, Place, Setting, every_setting, names_in, nearest
from wheelyard.settings.urls import veiled

NUMBER_BITS: Final = 63
"""Of a number; a larger one fits nowhere, and may have more digits than Python writes."""
_KINDS: Final = {bool: "true or false", int: "a number", str: "text"}


def in_words(wrong: WrongField, sources: Mapping[Place, str]) -> str:
    """
    Return what is wrong with a value; it is repeated, unless it is a secret.

    Args:
        wrong: Which one, and why.
        sources: Who gave a value, if it is not the file.
    """
    if wrong.why is Why.UNKNOWN:
        return no_such(wrong.place)
    setting = every_setting().get(wrong.place)
    source = f" ({sources[wrong.place]})" if wrong.place in sources else ""
    if setting is None:
        return f"[{'.'.join(wrong.place)}]: expected a table{source}"
    given = "" if setting.is_secret else _given(wrong.value)
    return f"{setting}: expected {_expected(setting)}{given}{source}"


def no_such(place: Place) -> str:
    """Return that there is no such setting or section, with what there is, and what is meant."""
    known = every_setting()
    for depth, name in enumerate(place):
        above = place[:depth]
        if above in known:
            return f"{known[above]} has no settings in it"
        if name not in names_in(above):
            return _no_setting(above, name) if above else _no_section(name)
    return f"[{'.'.join(place)}] is a section. Say which of its settings: {_listed(place)}"


def outside(name: str) -> str:
    """Return that a setting stands before the first section, with where it belongs."""
    if name in names_in(()):
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
    near = nearest(name, names_in(()))
    meant = f"; perhaps [{near}] is meant" if near else ""
    return f"there is no section {veiled(name)}. The sections are {_sections()}{meant}"


def _no_setting(section: Place, name: str) -> str:
    near, homes = nearest(name, names_in(section)), _homes(name)
    meant = f"; perhaps {near} is meant" if near else ""
    if homes and not near:
        meant = f"; {' and '.join(homes)} has one of that name"
    shown = f"[{'.'.join(section)}]"
    return f"{shown} has no setting {veiled(name)}. It has {_listed(section)}{meant}"


def _homes(name: str) -> list[str]:
    """Return the sections that have a setting of this name."""
    return [
        f"[{'.'.join(place[:-1])}]" for place in every_setting() if place[1:] and place[-1] == name
    ]


def _sections() -> str:
    return ", ".join(f"[[{name}]]" if name in TABLES else f"[{name}]" for name in names_in(()))


def _listed(section: Place) -> str:
    return ", ".join(names_in(section))


def _expected(setting: Setting) -> str:
    """Return what a setting can be, and between which numbers, where there are limits."""
    if get_origin(setting.kind) is Literal:
        *words, last = get_args(setting.kind)
        return f"{', '.join(words)} or {last}"
    if setting.is_list:
        return "a list of texts"
    least = "" if setting.meta.ge is None else f" from {setting.meta.ge}"
    most = "" if setting.meta.le is None else f" to {setting.meta.le}"
    return f"{_KINDS.get(setting.kind, 'a table')}{least}{most}"


def _given(value: object) -> str:
    """Return what was found instead, where that can be shown in a few characters."""
    if isinstance(value, bool):
        return f", and found {str(value).lower()}"
    if isinstance(value, str):
        return f", and found {veiled(value)}"
    is_short = isinstance(value, float) or (
        isinstance(value, int) and value.bit_length() <= NUMBER_BITS
    )
    return f", and found {value}" if is_short else ""
