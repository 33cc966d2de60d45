"""
Loading of the settings: the only reader of the environment and of `wheelyard.toml`.

Options beat environment variables, variables beat the file, and the file beats the defaults.
Files that `wheelyard.toml` names are relative to its folder; those named elsewhere, to the working
directory.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import Struct

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
    STORE_VARIABLE,
    VARIABLE_PREFIX,
    Setting,
    SettingPath,
    Settings,
    all_settings,
    is_loopback,
    names_in,
    setting_at,
)
from wheelyard.settings.upstream_section import variable_part
from wheelyard.settings.validation import MAX_NUMBER_BITS, validate
from wheelyard.settings.value_checks import bad_setting, quote_safely

DEFAULT_FILE: Final = Path("wheelyard.toml")
FILE_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"
"""The variable with the path of the settings file."""
TEXT_VARIABLE: Final = f"{VARIABLE_PREFIX}TOML"
"""The variable with the text of a whole settings file."""
FAKE_GOOGLE_VARIABLE: Final = f"{VARIABLE_PREFIX}GOOGLE_STAND_IN"
"""The variable by which tests replace Google with a server on this machine."""
NON_SETTING_VARIABLES: Final = frozenset(
    {FILE_VARIABLE, TEXT_VARIABLE, FAKE_GOOGLE_VARIABLE}
    | {"WHEELYARD_TOKEN", "WHEELYARD_URL", "WHEELYARD_KEYRING_HOSTS"}
)
"""Variables that are not settings: of this module, the keyring backend, commands and CI jobs."""
_MOVED: Final = {
    "SERVER": "HOST PORT WORKERS PUBLIC_URL PATH_PREFIX TRUSTED_PROXIES",
    "STORE": "FILES DOWNLOADS",
    "ACCESS": "PRIVATE PRIVATE_NAMES TRUSTED_HOSTS HTPASSWD_FILE STATIC_TOKENS_FILE METRICS_TOKEN "
    "STATIC_TOKEN CREDENTIALS_STORE REQUIRE_HTTPS COOKIE_LOGIN",
    "TRUSTED": "PUBLISHING_AUDIENCE",
    "GOOGLE": "ID_TOKEN_AUDIENCE ACCESS_TOKEN_RESOURCE",
    "GOOGLE_ID_TOKEN": "ALLOWED_DOMAINS",
}
OLD_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"{VARIABLE_PREFIX}STORE_LOCATION": STORE_VARIABLE,
        **{
            VARIABLE_PREFIX + name: f"{VARIABLE_PREFIX}{section}_{name}"
            for section, names in _MOVED.items()
            for name in names.split()
        },
    }
)
"""The names that variables had, and those that they have."""

_INDEX_CREDENTIAL: Final = re.compile(r"WHEELYARD_UPSTREAM_([A-Z0-9_]+)_(USERNAME|PASSWORD)")
"""A variable for an upstream index, with its label."""
_PASSED_OVER: Final = re.compile(
    rf"WHEELYARD_IMPORT_[A-Z0-9_]+|{_INDEX_CREDENTIAL.pattern}|WHEELYARD_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_[A-Z0-9_]+)"
)
"""
Variables that are not settings.

They are those of `wheelyard import` and of upstream indexes, and those that Kubernetes makes of a
Service whose name begins with `wheelyard`.
"""
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")
"""The beginning of what Kubernetes writes into `WHEELYARD_PORT`, of a Service `wheelyard`."""

_Values = dict[str, Any]
_NOTHING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
_TYPE_NAMES: Final = {bool: "true or false", int: "a number", float: "a number", str: "text"}


class LoadedSettings(Struct, frozen=True):
    """The effective settings, and the source of each value."""

    settings: Settings
    sources: Mapping[SettingPath, str]
    """The file, variable or option that set a value; values that are defaults are missing."""
    config_source: str
    """The settings file, `WHEELYARD_TOML`, or an empty string."""


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
) -> LoadedSettings:
    """
    Return the effective settings, and the source of each value.

    Args:
        file: The value of `--config`; None takes `$WHEELYARD_CONFIG`, else `./wheelyard.toml` if it
            exists. `$WHEELYARD_TOML` has the text of a file instead.
        overrides: Values of options by section and key; None if an option was not given.
        environ: The environment.
        defaults: Defaults of this command, by section and key, that differ from the usual ones.

    Raises:
        Invalid: The file is missing or malformed, or named besides `$WHEELYARD_TOML`; a key or a
            `WHEELYARD_*` variable is unknown, a value is wrong, or settings contradict each other.
    """
    _require_known_variables(environ)
    config_source = _config_source(file, environ)
    given = [
        *_from_tables(defaults, "this command"),
        *_from_tables(_read_file(config_source, environ), config_source),
        *_from_environment(environ),
        *(
            each._replace(source=COMMAND_LINE_OPTIONS.get(each.path, "an option"))
            for each in _from_tables(overrides, "")
            if each.value is not None
        ),
    ]
    values, sources = _Values(), dict[SettingPath, str]()
    for each in given:
        _require_utf8(each)
        _insert(values, each)
        sources[each.path] = each.source
    _insert_index_credentials(values, environ)
    try:
        settings = decode_table(values, Settings, strict=False)
    except InvalidField as wrong:
        source = sources.get(wrong.path, config_source)
        raise bad_setting(_explain(wrong, source, config_source)) from wrong
    return LoadedSettings(validate(settings), sources, config_source)


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def google_endpoints(environ: Mapping[str, str]) -> GoogleEndpoints:
    """Return Google's URLs, or those of a test server on this machine that `environ` names."""
    url = environ.get(FAKE_GOOGLE_VARIABLE, "")
    if url and not is_loopback(urlsplit(url).hostname or ""):
        why = "is for tests, and names no server of this machine"
        raise bad_setting(f"{FAKE_GOOGLE_VARIABLE} {why}")
    return endpoints_at(url) if url else GOOGLE


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the `WHEELYARD_*` variables that this version does not know, sorted."""
    known = {each.variable for each in all_settings().values()} | NON_SETTING_VARIABLES
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith(VARIABLE_PREFIX)
        and value  # an empty one counts as unset
        and name not in known
        and not _PASSED_OVER.fullmatch(name)
        and not _is_service_url(name, value)
    )


def _require_known_variables(environ: Mapping[str, str]) -> None:
    """Raise Invalid for unknown `WHEELYARD_*` variables: a misspelt one might have closed it."""
    for name in unknown_variables(environ):
        if name in OLD_VARIABLES:
            raise bad_setting(f"{name} is now called {OLD_VARIABLES[name]}. Rename it")
        raise bad_setting(
            f"{escaped(name)} is no setting. Correct the name, or remove the variable"
        )


def _is_service_url(variable: str, value: str) -> bool:
    """Return whether a variable has the URL of a Service of Kubernetes, and no port number."""
    return variable.endswith("_PORT") and bool(_SERVICE_URL.match(value))


def _config_source(file: Path | None, environ: Mapping[str, str]) -> str:
    """Return the settings file, `WHEELYARD_TOML` or an empty string; raise Invalid for both."""
    named = str(file or "") or environ.get(FILE_VARIABLE, "")
    if not environ.get(TEXT_VARIABLE):
        return named or (str(DEFAULT_FILE) if DEFAULT_FILE.exists() else "")
    if named:
        both = f"{TEXT_VARIABLE} and {'--config' if file else FILE_VARIABLE}"
        raise bad_setting(f"{both} both say where the settings are. Take one away")
    return TEXT_VARIABLE


def _read_file(config_source: str, environ: Mapping[str, str]) -> _Values:
    if not config_source:
        return {}
    try:
        is_file = config_source != TEXT_VARIABLE
        path = Path(config_source)
        text = path.read_text(encoding="utf-8-sig") if is_file else environ[TEXT_VARIABLE]
        values = _parse_toml(text)
    except FileNotFoundError as error:
        message = f"There is no file {escaped(config_source)}. Give --config one that is there."
        raise Invalid(message, code="bad_setting") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        message = (
            f"{escaped(config_source)} cannot be read: {why}. See docs/settings.md for its form."
        )
        raise Invalid(message, code="bad_setting") from error
    for name, value in values.items():
        _check_brackets(name, value)
    if isinstance(values.get("upstream", {}).get("index"), dict):
        raise bad_setting("'upstream.index' is written in double brackets, [[upstream.index]]")
    if is_file:
        _resolve_file_names(path.parent, values)
    return values


def _check_brackets(name: str, value: object) -> None:
    """Raise Invalid unless a top-level value is a table, or for `[[name]]` an array."""
    if isinstance(value, list if name in ARRAY_TABLES else dict):
        return
    quoted = quote_safely(name)
    if name in ARRAY_TABLES:
        raise bad_setting(f"{quoted} is written in double brackets, [[{name}]]")
    if name in Settings.__struct_fields__:
        raise bad_setting(f"{quoted} is a section, and written in brackets, [{name}]")
    raise bad_setting(f"{quoted} stands in no section. These are {_sections()}")


def _parse_toml(text: str) -> _Values:
    if not _is_utf8(text):
        raise ValueError("there are bytes in it that are no UTF-8")
    import tomllib  # noqa: PLC0415 - only with a settings file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python reads 4300 digits at most
        raise ValueError("a number in it has too many digits") from error
    except RecursionError as error:
        raise ValueError("its brackets are too deep in one another") from error


def _resolve_file_names(folder: Path, values: _Values) -> None:
    """Make file names relative to `folder`; raise Invalid for a secret in the tables."""
    if "static_token" in values.get("access", {}):
        raise bad_setting(
            "[access] static_token: a token is not for a file that others may read. Set "
            "WHEELYARD_ACCESS_STATIC_TOKEN, or write it into a static_tokens_file"
        )
    upstream = values.get("upstream", {})
    if any("password" in each for each in [upstream, *_tables(upstream.get("index"))]):
        raise bad_setting(
            "[upstream] password: a password is not for a file that others may read. Set "
            "WHEELYARD_UPSTREAM_PASSWORD, or WHEELYARD_UPSTREAM_LABEL_PASSWORD for the "
            "[[upstream.index]] with that label"
        )
    for section, name in (path for path, each in all_settings().items() if each.is_file):
        table = values.get(section, {})
        if isinstance(table.get(name), str) and table[name]:
            table[name] = str(folder / table[name])


def _from_tables(
    tables: Mapping[str, Any], source: str, above: SettingPath = ()
) -> Iterator[_SettingValue]:
    """Yield each value in nested tables, with its path; an unknown name is yielded, too."""
    for name, value in tables.items():
        path = (*above, name)
        if isinstance(value, dict) and path not in all_settings() and names_in(path):
            yield from _from_tables(value, source, path)
        else:  # TOML has dates, which are texts in a variable
            text = value.isoformat() if isinstance(value, date) else value
            yield _SettingValue(path, text, source)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_SettingValue]:
    for path, setting in all_settings().items():
        for name in (PLATFORM_VARIABLES.get(path, ""), setting.variable):  # the last one counts
            text = environ.get(name, "")
            if text and not _is_service_url(name, text):
                yield _SettingValue(path, _split(text) if setting.is_list else text, name)


def _insert_index_credentials(values: _Values, environ: Mapping[str, str]) -> None:
    """
    Put the user names and passwords of variables into the `[[upstream.index]]` tables.

    `WHEELYARD_UPSTREAM_LABEL_PASSWORD` is that of the table whose label is `label`. Raise Invalid
    for a variable without a table: its password would be sent nowhere, and nobody would know why.
    """
    upstream = values.get("upstream", {})
    tables = [dict(each) for each in _tables(upstream.get("index"))]
    by_variable = {variable_part(str(each.get("label", ""))): each for each in tables}
    for name in sorted(environ.keys() - {each.variable for each in all_settings().values()}):
        found = _INDEX_CREDENTIAL.fullmatch(name)
        if not found or not environ[name]:
            continue
        if found[1] not in by_variable:
            raise bad_setting(f"{name}: no [[upstream.index]] has a label for it")
        by_variable[found[1]][found[2].lower()] = environ[name]
    if tables:
        upstream["index"] = tables


def _tables(value: object) -> list[dict[str, Any]]:
    """Return an array of tables; empty if it is something else, which is rejected later."""
    is_array = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return value if isinstance(value, list) and is_array else []


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_utf8(text: str) -> bool:
    """Return whether a text has no lone surrogates, which stand for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_utf8(given: _SettingValue) -> None:
    for each in given.value if isinstance(given.value, list) else [given.value]:
        if isinstance(each, str) and not _is_utf8(each):
            why = "expected text in UTF-8, and found other bytes"
            raise bad_setting(f"{setting_at(given.path)}: {why} ({given.source})")


def _insert(values: _Values, given: _SettingValue) -> None:
    """Put a value into nested tables, at its path; an earlier value is replaced."""
    *tables, name = given.path
    for table in tables:
        found = values.setdefault(table, {})
        if not isinstance(found, dict):
            return  # decoding reports the wrong type
        values = found
    values[name] = given.value


def _explain(wrong: InvalidField, source: str, config_source: str) -> str:
    if wrong.why is FieldFault.UNKNOWN:
        return _unknown_setting(wrong.path)
    # the operator knows the options of the command and the settings file
    is_obvious = source == config_source or source in COMMAND_LINE_OPTIONS.values()
    suffix = "" if is_obvious else f" ({source})"
    setting = all_settings().get(wrong.path)
    if setting is None:
        return f"[{'.'.join(wrong.path)}]: expected a table{suffix}"
    found = "" if setting.is_secret else _found(wrong.value)
    return f"{setting}: expected {_expected(setting)}{found}{suffix}"


def _unknown_setting(path: SettingPath) -> str:
    known = all_settings()
    for depth, name in enumerate(path):
        above = path[:depth]
        if above in known:
            return f"{known[above]} has no settings in it"
        if name in names_in(above):
            continue
        unknown = quote_safely(name)
        if not above:
            return f"there is no section {unknown}. The sections are {_sections()}"
        names = ", ".join(names_in(above))
        return f"[{'.'.join(above)}] has no setting {unknown}. It has {names}"
    names = ", ".join(names_in(path))
    return f"[{'.'.join(path)}] is a section. Say which of its settings: {names}"


def _sections() -> str:
    names = names_in(())
    return ", ".join(f"[[{name}]]" if name in ARRAY_TABLES else f"[{name}]" for name in names)


def _expected(setting: Setting) -> str:
    if get_origin(setting.kind) is Literal:
        *words, last = get_args(setting.kind)
        return f"{', '.join(words)} or {last}"
    if setting.is_list:
        return "a list of texts"
    least = "" if setting.meta.ge is None else f" from {setting.meta.ge}"
    most = "" if setting.meta.le is None else f" to {setting.meta.le}"
    return f"{_TYPE_NAMES.get(setting.kind, 'a table')}{least}{most}"


def _found(value: object) -> str:
    """Return `, and found VALUE`; empty if the value is no text or number, or too large."""
    if isinstance(value, str):
        return f", and found {quote_safely(value)}"
    is_short = isinstance(value, int | float) and abs(value) < 1 << MAX_NUMBER_BITS
    return f", and found {value}".lower() if is_short else ""
