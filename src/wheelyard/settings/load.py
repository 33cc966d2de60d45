"""
Reads the settings: the only place that looks at the environment and at `wheelyard.toml`.

What a command line says beats the environment, which beats the file, which beats the defaults. The
files that `wheelyard.toml` names are looked for beside it; what is named elsewhere, from where the
command runs.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

from wheelyard.authentication.verifiers.google_endpoints import (
    GOOGLE,
    GoogleEndpoints,
    endpoints_at,
)
from wheelyard.errors import Invalid
from wheelyard.model.decoding import FieldFault, InvalidField, decode_table
from wheelyard.model.text import escaped
from wheelyard.settings.sections import (
    ARRAY_TABLES,
    COMMAND_LINE_OPTIONS,
    PLATFORM_VARIABLES,
    VARIABLE_PREFIX,
    Setting,
    SettingPath,
    Settings,
    all_settings,
    is_loopback,
    names_in,
)
from wheelyard.settings.validation import (
    MAX_NUMBER_BITS,
    bad_setting,
    quote_unless_secret,
    validate,
)

DEFAULT_FILE: Final = Path("wheelyard.toml")
FILE_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"
"""The variable that names the file."""
TEXT_VARIABLE: Final = f"{VARIABLE_PREFIX}TOML"
"""The variable that holds the text of a whole settings file."""
FAKE_GOOGLE_VARIABLE: Final = f"{VARIABLE_PREFIX}GOOGLE_STAND_IN"
"""The variable by which tests name a server on this machine that stands in for Google."""
NON_SETTING_VARIABLES: Final = frozenset(
    {"CONFIG", "TOML", "TOKEN", "KEYRING_HOSTS", "IMPORT_USERNAME", "IMPORT_PASSWORD"}
    | {FAKE_GOOGLE_VARIABLE.removeprefix(VARIABLE_PREFIX)},
)
"""Variables that are no settings: what finds the file or is one, what the keyring backend, one
command and tests read."""

_Values = dict[str, Any]
_NOTHING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
_KINDS: Final = {bool: "true or false", int: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings in force, and who decided what."""

    settings: Settings
    sources: Mapping[SettingPath, str]
    """Who gave a setting: the file, a variable, an option. What nobody gave is not there."""
    config_source: str
    """Where a whole table of them is read from: a file, `WHEELYARD_TOML`, or nowhere."""


class _SettingValue(NamedTuple):
    path: SettingPath
    value: Any
    source: str


def load_settings(
    *,
    file: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] = _NOTHING,
    environ: Mapping[str, str],
    defaults: Mapping[str, Mapping[str, Any]] = _NOTHING,
    flags: Sequence[str] = (),
) -> LoadedSettings:
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
        Invalid: The file is missing or no TOML, a key is unknown, or a value makes no sense.
    """
    config_source = _config_source(file, environ)
    every = [
        *_of_tables(defaults, "this command"),
        *_of_tables(_file(config_source, environ), config_source),
        *_of_environment(environ),
        *(
            each._replace(source=COMMAND_LINE_OPTIONS.get(each.path, "an option"))
            for each in _of_tables(overrides, "")
            if each.value is not None
        ),
        *map(_of_flag, flags),
    ]
    values, sources = _Values(), dict[SettingPath, str]()
    for each in every:
        _require_text(each)
        _put(values, each)
        sources[each.path] = each.source
    try:
        settings = decode_table(values, Settings, strict=False)
    except InvalidField as wrong:
        raise bad_setting(
            _in_words(wrong, sources.get(wrong.path, config_source), config_source)
        ) from wrong
    return LoadedSettings(validate(settings), sources, config_source)


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def google_endpoints(environ: Mapping[str, str]) -> GoogleEndpoints:
    """
    Return where Google is asked about credentials; tests name a server that stands in for it.

    Raises:
        Invalid: That server is not on this machine (code `bad_setting`).
    """
    url = environ.get(FAKE_GOOGLE_VARIABLE, "")
    if url and not is_loopback(urlsplit(url).hostname or ""):
        raise bad_setting(
            f"{FAKE_GOOGLE_VARIABLE} is for tests, and names no server of this machine"
        )
    return endpoints_at(url) if url else GOOGLE


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the `WHEELYARD_*` variables that are no settings, which are typing errors mostly."""
    settings = all_settings().values()
    known = {VARIABLE_PREFIX + key for key in NON_SETTING_VARIABLES}.union(
        *(each.variables for each in settings)
    )
    return sorted(key for key in environ if key.startswith(VARIABLE_PREFIX) and key not in known)


def ineffective_sources(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the environment, and the folder, say to no effect: in a sentence each."""
    # only for whoever has mistyped something
    from difflib import get_close_matches  # noqa: PLC0415

    known = [each.variable for each in all_settings().values() if each.variable]
    names = [each.removeprefix(VARIABLE_PREFIX) for each in (*known, FILE_VARIABLE, TEXT_VARIABLE)]
    for variable in unknown_variables(environ):
        name = variable.removeprefix(VARIABLE_PREFIX)
        near = ["TOML"] if name.lower() in ARRAY_TABLES else get_close_matches(name, names, 1, 0.7)
        meant = f"; did you mean {VARIABLE_PREFIX}{near[0]}?" if near else ""
        yield f"{variable} is no setting and is ignored{meant}"
    if environ.get(TEXT_VARIABLE) and DEFAULT_FILE.exists():
        yield f"{DEFAULT_FILE} in this folder is not read, because {TEXT_VARIABLE} is set"


def _config_source(file: Path | None, environ: Mapping[str, str]) -> str:
    """Return where a whole table of settings is read from: a file, a variable, or nowhere."""
    named = str(file or "") or environ.get(FILE_VARIABLE, "")
    if not environ.get(TEXT_VARIABLE):
        return named or (str(DEFAULT_FILE) if DEFAULT_FILE.exists() else "")
    if named:
        who = "--config" if file else FILE_VARIABLE
        raise bad_setting(
            f"{TEXT_VARIABLE} and {who} both say where the settings are. Take one away"
        )
    return TEXT_VARIABLE


def _file(config_source: str, environ: Mapping[str, str]) -> _Values:
    """Return the tables of the settings file, or of what stands for one."""
    if not config_source:
        return {}
    try:
        is_file = config_source != TEXT_VARIABLE
        text = (
            Path(config_source).read_text(encoding="utf-8-sig")
            if is_file
            else environ[TEXT_VARIABLE]
        )
        values = _toml_of(text)
    except FileNotFoundError as error:
        raise Invalid(
            f"There is no file {escaped(config_source)}. Give --config one that is there.",
            code="bad_setting",
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Invalid(
            f"{escaped(config_source)} cannot be read: {why}. See docs/settings.md for its form.",
            code="bad_setting",
        ) from error
    for name, value in values.items():
        _require_brackets(name, value)
    if is_file:
        _look_beside(Path(config_source).parent, values.get("access", {}))
    return values


def _require_brackets(name: str, value: object) -> None:
    if isinstance(value, list if name in ARRAY_TABLES else dict):
        return
    if name in ARRAY_TABLES:
        raise bad_setting(f"{quote_unless_secret(name)} is written in double brackets, [[{name}]]")
    if name in Settings.__struct_fields__:
        raise bad_setting(
            f"{quote_unless_secret(name)} is a section, and written in brackets, [{name}]"
        )
    raise bad_setting(f"{quote_unless_secret(name)} stands in no section. These are {_sections()}")


def _toml_of(text: str) -> _Values:
    """Return the tables that a text is, or raise ValueError: it is none that Python can read."""
    if not _is_text(text):
        raise ValueError("there are bytes in it that are no UTF-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python reads 4300 digits at most
        raise ValueError("a number in it has too many digits") from error
    except RecursionError as error:
        raise ValueError("its brackets are too deep in one another") from error


def _look_beside(folder: Path, access: _Values) -> None:
    """Make the files that a settings file names those beside it."""
    if "static_token" in access:
        raise bad_setting(
            "[access] static_token: a token is not for a file that others may read. Set "
            "WHEELYARD_STATIC_TOKEN, or write it into a static_tokens_file"
        )
    for name in ("htpasswd_file", "static_tokens_file"):
        if isinstance(access.get(name), str) and access[name]:
            access[name] = str(folder / access[name])


def _of_tables(
    tables: Mapping[str, Any], source: str, above: SettingPath = ()
) -> Iterator[_SettingValue]:
    """Yield what the sections of a settings file say; what is no section stays as it is."""
    for name, value in tables.items():
        path = (*above, name)
        if isinstance(value, dict) and path not in all_settings() and names_in(path):
            yield from _of_tables(value, source, path)
        else:
            yield _SettingValue(path, value, source)


def _of_environment(environ: Mapping[str, str]) -> Iterator[_SettingValue]:
    """Yield what the variables say; an empty one is how a compose file says "not set"."""
    for path, setting in all_settings().items():
        names = (*setting.variables, PLATFORM_VARIABLES.get(path, ""))
        name = next(filter(environ.get, names), None)
        if name is not None:
            text = environ[name]
            yield _SettingValue(path, _listed(text) if setting.is_list else text, name)


def _of_flag(flag: str) -> _SettingValue:
    """Return what a `--set` says."""
    name, equals, text = flag.partition("=")
    if not equals:  # what was typed is not repeated: it may be a secret
        raise bad_setting(
            "--set: expected SECTION.KEY=VALUE, such as server.port=8080, and found no ="
        )
    path = tuple(part.strip() for part in name.split("."))
    setting = all_settings().get(path)
    if setting is None:
        raise bad_setting(f"--set {quote_unless_secret(name)}: {_no_such(path)}")
    if setting.is_secret:
        raise bad_setting(
            f"--set {name}: a command line can be read by everybody on this machine. Set "
            f"{setting.variable} instead"
        )
    return _SettingValue(path, _value(setting, text), f"--set {'.'.join(path)}")


def _value(setting: Setting, text: str) -> object:
    """Return what was typed as TOML, if it is TOML of the right kind, and else as text."""
    try:
        found = _toml_of(f"value = {text}")
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


def _is_text(text: str) -> bool:
    """Return whether a text has no half characters, which stand for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_text(given: _SettingValue) -> None:
    for each in given.value if isinstance(given.value, list) else [given.value]:
        if isinstance(each, str) and not _is_text(each):
            why = "expected text in UTF-8, and found other bytes"
            raise bad_setting(f"{all_settings()[given.path]}: {why} ({given.source})")


def _put(values: _Values, given: _SettingValue) -> None:
    """Put a value where it belongs among nested tables."""
    *tables, name = given.path
    for table in tables:
        found = values.setdefault(table, {})
        if not isinstance(found, dict):
            return  # what stands there is refused in a moment
        values = found
    values[name] = given.value


def _in_words(wrong: InvalidField, source: str, config_source: str) -> str:
    """Return what is wrong with a value; it is repeated, unless it is a secret."""
    if wrong.why is FieldFault.UNKNOWN:
        return _no_such(wrong.path)
    # who has just typed an option, or wrote the file that is read, needs no telling
    who = (
        "" if source == config_source or source in COMMAND_LINE_OPTIONS.values() else f" ({source})"
    )
    setting = all_settings().get(wrong.path)
    if setting is None:
        return f"[{'.'.join(wrong.path)}]: expected a table{who}"
    given = "" if setting.is_secret else _given(wrong.value)
    return f"{setting}: expected {_expected(setting)}{given}{who}"


def _no_such(path: SettingPath) -> str:
    """Return that there is no such setting or section, with what there is."""
    known = all_settings()
    for depth, name in enumerate(path):
        above = path[:depth]
        if above in known:
            return f"{known[above]} has no settings in it"
        if name not in names_in(above):
            if not above:
                unknown = quote_unless_secret(name)
                return f"there is no section {unknown}. The sections are {_sections()}"
            has = ", ".join(names_in(above))
            return f"[{'.'.join(above)}] has no setting {quote_unless_secret(name)}. It has {has}"
    return (
        f"[{'.'.join(path)}] is a section. Say which of its settings: {', '.join(names_in(path))}"
    )


def _sections() -> str:
    return ", ".join(
        f"[[{name}]]" if name in ARRAY_TABLES else f"[{name}]" for name in names_in(())
    )


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
    if isinstance(value, str):
        return f", and found {quote_unless_secret(value)}"
    is_short = isinstance(value, int | float) and abs(value) < 1 << MAX_NUMBER_BITS
    return f", and found {value}".lower() if is_short else ""
