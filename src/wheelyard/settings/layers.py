"""What each of those who may decide a setting says of it: file, environment, command line."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wheelyard.settings.names import OPTIONS, PLATFORM, Place, Setting, every_setting
from wheelyard.settings.urls import veiled
from wheelyard.settings.words import bad_setting, no_such


@dataclass(frozen=True, slots=True)
class Given:
    """
    A value that somebody has given for a setting.

    Args:
        place: The setting; or what the file has where a setting could be.
        value: As found.
        source: Who gave it, in the words of a message: a variable, an option.

    Raises:
        Invalid: A text in it came as bytes that are no UTF-8 (code `bad_setting`).
    """

    place: Place
    value: Any
    source: str

    def __post_init__(self) -> None:
        for each in self.value if isinstance(self.value, list) else [self.value]:
            if isinstance(each, str) and not is_text(each):
                setting = every_setting()[self.place]
                why = "expected text in UTF-8, and found other bytes"
                raise bad_setting(f"{setting}: {why} ({self.source})")


def is_text(text: str) -> bool:
    """Return whether a text has no half characters, which stand for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def toml_of(text: str) -> dict[str, Any]:
    """
    Return the tables that a text is, read as TOML.

    Raises:
        ValueError: It is no TOML, or has in it what Python does not read; says which.
    """
    if not is_text(text):
        raise ValueError("there are bytes in it that are no UTF-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python reads 4300 digits at most
        raise ValueError("a number in it has too many digits") from error
    except RecursionError as error:
        raise ValueError("its brackets are too deep in one another") from error


def of_tables(tables: Mapping[str, Any], source: str) -> Iterator[Given]:
    """Yield what the sections of a settings file say; what is no section stays as it is."""
    known = every_setting()
    sections = {place[:depth] for place in known for depth in range(1, len(place))}

    def within(table: Mapping[str, Any], above: Place) -> Iterator[Given]:
        for name, value in table.items():
            place = (*above, name)
            if place in sections and isinstance(value, dict):
                yield from within(value, place)
            else:
                yield Given(place, value, source)

    return within(tables, ())


def of_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """
    Yield what the variables say; an empty one is how a compose file says "not set".

    Of the names of a variable, the last one counts: a platform's, the long one, the short one.
    """
    for place, setting in every_setting().items():
        names = (*setting.variables, PLATFORM.get(place, ""))
        name = next(filter(environ.get, names), None)
        if name is not None:
            text = environ[name]
            yield Given(place, _listed(text) if setting.is_list else text, name)


def of_command_line(
    overrides: Mapping[str, Mapping[str, Any]], flags: Sequence[str]
) -> list[Given]:
    """
    Return what the options say; of two that name one setting, the last one counts.

    Args:
        overrides: What options of their own say, by section and key; None stands for "not given".
        flags: What each `--set` says.

    Raises:
        Invalid: A `--set` is none (code `bad_setting`).
    """
    said = [
        Given((section, key), value, OPTIONS.get((section, key), "an option"))
        for section, options in overrides.items()
        for key, value in options.items()
        if value is not None
    ]
    return said + [_of_flag(flag) for flag in flags]


def _of_flag(flag: str) -> Given:
    name, equals, text = flag.partition("=")
    if not equals:  # what was typed is not repeated: it may be a secret
        raise bad_setting(
            "--set: expected SECTION.KEY=VALUE, such as server.port=8080, and found no ="
        )
    place = tuple(part.strip() for part in name.split("."))
    setting = every_setting().get(place)
    if setting is None:
        raise bad_setting(f"--set {veiled(name)}: {no_such(place)}")
    if setting.is_secret:
        raise bad_setting(
            f"--set {name}: a command line can be read by everybody on this machine. Set "
            f"{setting.variable} instead"
        )
    return Given(place, _value(setting, text), f"--set {'.'.join(place)}")


def _value(setting: Setting, text: str) -> object:
    """Return what was typed as TOML, if it is TOML of the right kind, and else as text."""
    try:
        found = toml_of(f"value = {text}")
    except ValueError:
        found = {}
    value = found.get("value", text) if len(found) == 1 else text
    if setting.is_table:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise bad_setting(
                f"--set {setting.key}: expected a list of tables as TOML, such as "
                f"{setting.key}=[{{...}}]"
            )
        return value
    if setting.is_list:
        return value if isinstance(value, list) else _listed(str(found.get("value", text)))
    # a number is a text as well, where a text is what is wanted
    return value if setting.kind in (bool, int) or isinstance(value, str) else text


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
