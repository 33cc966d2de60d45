"""
Reads the settings: the only place that looks at the environment and at `wheelyard.toml`.

What a command line says beats the environment, which beats the file, which beats the defaults. The
files that `wheelyard.toml` names are looked for beside it; what is named elsewhere, from where the
command runs.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from wheelyard.errors import Invalid
from wheelyard.model.converting import WrongField, converted
from wheelyard.model.text import escaped
from wheelyard.settings.checks import checked
from wheelyard.settings.layers import Given, of_command_line, of_environment, of_tables, toml_of
from wheelyard.settings.names import OPTIONS, PREFIX, TABLES, WHOLE, Place, every_setting, meant_by
from wheelyard.settings.sections import Settings
from wheelyard.settings.urls import veiled
from wheelyard.settings.words import bad_setting, in_words, outside
from wheelyard.trust.endpoints import GOOGLE, GoogleEndpoints, stand_in_at

DEFAULT_FILE: Final = Path("wheelyard.toml")
CONFIG: Final = f"{PREFIX}CONFIG"
"""The variable that names the file."""
OTHERS: Final = frozenset(
    {"CONFIG", "TOML", "TOKEN", "KEYRING_HOSTS", "IMPORT_USERNAME", "IMPORT_PASSWORD"}
    | {"GOOGLE_STAND_IN"},
)
"""Variables that are no settings: what finds the file or is one, what the keyring backend, one
command and tests read."""

_Values = dict[str, Any]
_NOTHING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
_BESIDE: Final = ("htpasswd_file", "static_tokens_file")
"""Settings of `[access]` that name a file."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    The settings in force, and who decided what.

    Args:
        settings: Those in force.
        sources: Who gave a setting: the file, a variable, an option. What nobody gave is not there.
        home: Where a whole table of them is read from: a file, `WHEELYARD_TOML`, or nowhere.
    """

    settings: Settings
    sources: Mapping[Place, str]
    home: str


def read_settings(
    *,
    file: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] = _NOTHING,
    environ: Mapping[str, str],
    defaults: Mapping[str, Mapping[str, Any]] = _NOTHING,
    flags: Sequence[str] = (),
) -> Reading:
    """
    Return the settings in force, and who decided what.

    Args:
        file: What `--config` names; None takes `$WHEELYARD_TOML`, else `$WHEELYARD_CONFIG`, else
            `./wheelyard.toml`.
        overrides: By section and key, from the command line; None stands for "not given".
        environ: The environment.
        defaults: By section and key, what a command has other than the usual defaults.
        flags: What each `--set` says.

    Raises:
        Invalid: The file is missing or no TOML, a key is unknown, or a value makes no sense, by
            itself or beside the others.
    """
    home = _home(file, environ)
    outside_of_files = [*of_environment(environ), *of_command_line(overrides, flags)]
    every = [
        *of_tables(defaults, "this command"),
        *_of_file(home, environ),
        *outside_of_files,
    ]
    values: _Values = {}
    for each in every:
        _put(values, each)
    try:
        settings = converted(values, Settings, strict=False)
    except WrongField as wrong:
        options = OPTIONS.values()  # who has just typed one needs no telling
        told = {each.place: each.source for each in outside_of_files if each.source not in options}
        raise bad_setting(in_words(wrong, told)) from wrong
    return Reading(checked(settings), {each.place: each.source for each in every}, home)


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def google_endpoints(environ: Mapping[str, str]) -> GoogleEndpoints:
    """
    Return where Google is asked about credentials.

    Tests name a server that stands in for Google in a variable, which every process that they start
    inherits. As with Google, a private address is asked only if `[google] allow_private` is set.
    """
    url = environ.get(f"{PREFIX}GOOGLE_STAND_IN", "")
    return stand_in_at(url) if url else GOOGLE


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the `WHEELYARD_*` variables that are no settings, which are typing errors mostly."""
    settings = every_setting().values()
    known = {PREFIX + key for key in OTHERS}.union(*(each.variables for each in settings))
    return sorted(key for key in environ if key.startswith(PREFIX) and key not in known)


def ignored(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the environment, and the folder, say to no effect: in a sentence each."""
    for name in unknown_variables(environ):
        meant = meant_by(name)
        yield f"{name} is no setting and is ignored" + (f"; did you mean {meant}?" if meant else "")
    if environ.get(WHOLE) and DEFAULT_FILE.exists():
        yield f"{DEFAULT_FILE} in this folder is not read, because {WHOLE} is set"


def _home(file: Path | None, environ: Mapping[str, str]) -> str:
    """
    Return where a whole table of settings is read from: a file, or a variable.

    Raises:
        Invalid: There are two, both of which somebody has named.
    """
    named = str(file or "") or environ.get(CONFIG, "")
    if not environ.get(WHOLE):
        return named or (str(DEFAULT_FILE) if DEFAULT_FILE.exists() else "")
    if named:
        who = "--config" if file else CONFIG
        raise bad_setting(f"{WHOLE} and {who} both say where the settings are. Take one away")
    return WHOLE


def _of_file(home: str, environ: Mapping[str, str]) -> Iterator[Given]:
    if home == WHOLE:
        return of_tables(_parsed(environ[WHOLE], WHOLE), WHOLE)
    if not home:
        return iter(())
    try:
        text = Path(home).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise Invalid(
            f"There is no file {escaped(home)}. Give --config one that is there.",
            code="bad_setting",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(home, error) from error
    values = _parsed(text, home)
    _look_beside(Path(home).parent, values.get("access", {}))
    return of_tables(values, home)


def _parsed(text: str, home: str) -> _Values:
    try:
        values = toml_of(text)
    except ValueError as error:
        raise _unreadable(home, error) from error
    for section, value in values.items():
        if section in TABLES and not isinstance(value, list):
            raise bad_setting(f"{veiled(section)} is written in double brackets, [[{section}]]")
        if section not in TABLES and not isinstance(value, dict):
            raise bad_setting(outside(section))
    return values


def _unreadable(home: str, error: Exception) -> Invalid:
    why = getattr(error, "strerror", None) or error
    return Invalid(
        f"{escaped(home)} cannot be read: {why}. See docs/settings.md for its form.",
        code="bad_setting",
    )


def _look_beside(folder: Path, access: _Values) -> None:
    if "static_token" in access:
        raise bad_setting(
            "[access] static_token: a token is not for a file that others may read. Set "
            "WHEELYARD_STATIC_TOKEN, or write it into a static_tokens_file"
        )
    for name in _BESIDE:
        if isinstance(access.get(name), str) and access[name]:
            access[name] = str(folder / access[name])


def _put(values: _Values, given: Given) -> None:
    """Put a value where it belongs among nested tables."""
    *tables, name = given.place
    for table in tables:
        found = values.setdefault(table, {})
        if not isinstance(found, dict):
            return  # what stands there is refused in a moment
        values = found
    values[name] = given.value
