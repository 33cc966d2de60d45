"""
Loading of the settings: the only reader of the environment and of `wheelyard.toml`.

Options beat environment variables, variables beat the file, and the file beats the defaults.
Files that `wheelyard.toml` names are relative to its folder. Those named elsewhere, to the working
directory.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct, convert
from msgspec.structs import replace

from wheelyard.authentication.verifiers.google_endpoints import (
    GOOGLE,
    GoogleEndpoints,
    endpoints_at,
)
from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped
from wheelyard.model.index_file import ALL_TABLES
from wheelyard.model.stored_webhooks import WebhookVariables
from wheelyard.model.variable_names import variable_part
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import (
    PLATFORM_VARIABLES,
    VARIABLE_PREFIX,
    SettingPath,
    Settings,
    all_settings,
    is_loopback,
    names_in,
)
from wheelyard.settings.sign_in_section import SIGN_IN_TABLES, SignInSettings
from wheelyard.settings.upstream_section import (
    INDEX_TABLES,
    OF_ONE_INDEX,
    UPSTREAM_URL,
    UpstreamIndexSettings,
)
from wheelyard.settings.validation import validate
from wheelyard.settings.value_checks import (
    Moment,
    bad_setting,
    problem,
    quote_safely,
    table_problems,
)

DEFAULT_FILE: Final = Path("wheelyard.toml")
FILE_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"
"""The variable with the path of the settings file."""
TEXT_VARIABLE: Final = f"{VARIABLE_PREFIX}TOML"
"""The variable with the text of a whole settings file."""
COMMAND_SOURCE: Final = "this command"
OPTION_SOURCE: Final = "an option"
FAKE_GOOGLE_VARIABLE: Final = f"{VARIABLE_PREFIX}GOOGLE_STAND_IN"
"""The variable by which tests replace Google with a server on this machine."""
NON_SETTING_VARIABLES: Final = frozenset(
    {FILE_VARIABLE, TEXT_VARIABLE, FAKE_GOOGLE_VARIABLE}
    | {"WHEELYARD_TOKEN", "WHEELYARD_URL", "WHEELYARD_INDEX", "WHEELYARD_KEYRING_HOSTS"}
)
"""Variables that are not settings: of this module, the keyring backend, commands and CI jobs."""
_UPSTREAM_VARIABLE: Final = re.compile(r"WHEELYARD_UPSTREAM_([A-Z0-9_]+)_(USERNAME|PASSWORD)")
"""The variable of an upstream index, with the label of the index in it."""
_SIGN_IN_VARIABLE: Final = re.compile(r"WHEELYARD_SIGN_IN_([A-Z0-9_]+)_(SECRET)")
"""The variable of a provider of `[[sign_in]]`, with the name of the provider in it."""
_WEBHOOK_VARIABLE: Final = re.compile(r"WHEELYARD_WEBHOOK_([A-Z0-9_]+)_(SECRET|URL)")
"""The variable of a `[[webhook]]` of the store, with the name of the webhook in it."""
_NON_SETTING_PATTERN: Final = re.compile(
    rf"WHEELYARD_IMPORT_[A-Z0-9_]+|{_UPSTREAM_VARIABLE.pattern}|{_SIGN_IN_VARIABLE.pattern}|"
    rf"{_WEBHOOK_VARIABLE.pattern}|"
    r"WHEELYARD_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_[A-Z0-9_]+)"
)
"""
Names of variables that are not settings, beside those of `NON_SETTING_VARIABLES`.

They are the variables of `wheelyard import`, of upstream indexes, of providers and of webhooks, and
those that Kubernetes makes of a Service whose name begins with `wheelyard`.
"""
_VARIABLES_OF_TABLES: Final = (
    (INDEX_TABLES, "label", _UPSTREAM_VARIABLE),
    (SIGN_IN_TABLES, "name", _SIGN_IN_VARIABLE),
)
"""The path of an array of tables, the key that names a table, and the variables of a table."""
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")
"""The beginning of what Kubernetes writes into `WHEELYARD_PORT`, of a Service `wheelyard`."""

_VARIABLE_OF_SECRET: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("access", "static_token"): "WHEELYARD_ACCESS_STATIC_TOKEN, or name a static_tokens_file",
        ("upstream", "password"): "WHEELYARD_UPSTREAM_PASSWORD",
    }
)
"""The secrets that a file must not have, and for each the variable to set instead."""
_REMOVED_AS_UNUSED: Final = "it was removed: nobody but our tests has changed it. Take it away"
_WEBHOOK_INSTEAD: Final = 'a [[webhook]] with events = ["package_requested"] (docs/webhooks.md)'
"""The table that tells of waiting requests for public packages, as mail once did."""
_REMOVED_MAIL: Final = f"it was removed: nobody gets mail. Make {_WEBHOOK_INSTEAD}, or take it away"
_MAIL_SETTINGS: Final = (
    "mail_to",
    "mail_from",
    "smtp_host",
    "smtp_security",
    "smtp_username",
    "smtp_password",
)
"""The settings that notifications by mail had."""
_APPLY_FILE: Final = Advice(Remedy.APPLY_FILE, "FILE")
"""How to apply a file that a person has to write first."""
COOKIE_LOGIN: Final = ("access", "cookie_login")
_REMOVED_SETTINGS: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("google", "id_token", "keys_url"): _REMOVED_AS_UNUSED,
        ("google", "access_token", "storage_url"): _REMOVED_AS_UNUSED,
        ("google", "access_token", "tokeninfo_url"): _REMOVED_AS_UNUSED,
        ("iap", "keys_url"): _REMOVED_AS_UNUSED,
        ("access", "htpasswd_may_manage"): (
            'it is access.htpasswd_may now, such as ["read", "upload", "manage"]'
        ),
        ("web", "remote_images"): (
            "it was removed: other servers learnt who reads a page. Take it away"
        ),
        **{("notifications", key): _REMOVED_MAIL for key in _MAIL_SETTINGS},
        ("notifications", "webhook"): f"it was removed. Make {_WEBHOOK_INSTEAD}, and take it away",
        ("notifications", "allow_private_networks"): "it is webhooks.allow_private_networks now",
        ("web", "pictures"): "it was removed: pictures of other servers are links. Take it away",
        ("upstream", "mode"): (
            "it was removed. Without it, upstream.allow is the list of the only names that are "
            'looked up, and without allow all are. Take mode away; for mode = "open", allow as well'
        ),
    }
)
"""Settings that earlier versions had, and the end of a sentence about what replaces each."""
_IGNORED_SETTINGS: Final = frozenset(
    [("web", "pictures")] + [("notifications", key) for key in _MAIL_SETTINGS]
)
"""
Removed settings that are ignored, where other removed settings stop the program.

Nobody gets a right because an ignored setting is not read.
"""
_NO_VALUES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


class LoadedSettings(Struct, frozen=True):
    """The effective settings, and the source of each value."""

    settings: Settings
    sources: Mapping[SettingPath, str]
    """The file, variable or option that set each value. A default has no source."""
    config_source: str
    """The settings file, `WHEELYARD_TOML`, or an empty string."""


class _SettingValue(NamedTuple):
    """A value of a setting, and the file, variable or option that it is from."""

    path: SettingPath
    value: Any
    source: str


def load_settings(
    *,
    file: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] = _NO_VALUES,
    environ: Mapping[str, str],
    defaults: Mapping[str, Mapping[str, Any]] = _NO_VALUES,
    passes_over_index: bool = False,
) -> LoadedSettings:
    """
    Return the effective settings, and the source of each value.

    Args:
        file: The value of `--config`. None takes `$WHEELYARD_CONFIG`, else `./wheelyard.toml` if it
            exists. `$WHEELYARD_TOML` has the text of a file instead.
        overrides: Values of options by section and key. A value is None if the option was not set.
        environ: The environment.
        defaults: Defaults of this command, by section and key, that differ from the usual ones.
        passes_over_index: Whether the file and the environment may describe the index, as in an
            earlier version. Such a description is not read.

    Raises Invalid (code `bad_setting`) if the file is missing or malformed, is named beside
    `$WHEELYARD_TOML`, has a secret, or describes the index without `passes_over_index`. Also raises
    Invalid if a key or a `WHEELYARD_*` variable is unknown, a value is wrong, or settings
    contradict each other.
    """
    _require_known_variables(environ, passes_over_index=passes_over_index)
    config_source, tables_in_file = _read_settings_file(file, environ)
    tables = _tables_of_process(tables_in_file, config_source, is_allowed=passes_over_index)

    # of several values of a setting the last one counts
    values = list(_values_in_tables(defaults, COMMAND_SOURCE))
    values += _values_in_tables(tables, config_source)
    values += _values_in_environment(environ)
    values += _values_in_tables(overrides, OPTION_SOURCE)

    # an option that was not set has the value None
    value_by_path = {value.path: value for value in values if value.value is not None}
    unplaced_variables = list[str]()
    for path, key, variables in _VARIABLES_OF_TABLES:
        array = value_by_path[path].value if path in value_by_path else ()
        unplaced_variables += _insert_credentials(path, array, key, variables, environ)
    webhook_variables, webhook_problems = _webhook_variables(environ)
    _drop_other_indexes(value_by_path, tables, environ)
    effective = [value for path, value in value_by_path.items() if path not in _IGNORED_SETTINGS]
    problems = list(_value_problems(effective, config_source))
    problems += webhook_problems

    # a variable may lack its table because the table is wrong, which is then the only problem told
    if not problems:
        problems = unplaced_variables
    if problems:
        raise bad_setting(". ".join(problems))

    # the types were checked above, by messages that name the setting
    settings = convert(_nested(effective), Settings, strict=False)
    _require_no_contradiction(settings, value_by_path)
    settings = validate(replace(settings, webhook_variables=webhook_variables))
    sources = {path: value.source for path, value in value_by_path.items()}
    return LoadedSettings(settings, sources, config_source)


def _nested(values: Iterable[_SettingValue]) -> dict[str, Any]:
    """Return the tables of all sections, with the values of their settings."""
    nested: dict[str, Any] = {}
    for path, value, _ in values:
        table = nested
        for section in path[:-1]:
            table = table.setdefault(section, {})
        # an empty text is the default of the setting, or was refused before
        if value != "":
            table[path[-1]] = value
    return nested


def _require_no_contradiction(
    settings: Settings, value_by_path: Mapping[SettingPath, _SettingValue]
) -> None:
    """Raise Invalid if `access.cookie_login` is set to off, and there is a `[[sign_in]]`."""
    is_set_to_off = COOKIE_LOGIN in value_by_path and not settings.access.cookie_login
    if is_set_to_off and settings.sign_in:
        why = "who signs in with a provider of [[sign_in]] has a session. Leave one of the two out"
        raise bad_setting(f"access.cookie_login: it is off, and {why}")


def settings_without_effect(sources: Mapping[SettingPath, str]) -> Iterator[str]:
    """Yield a sentence for each setting in `sources` that was removed, and is not read."""
    for path in sorted(_IGNORED_SETTINGS & sources.keys()):
        yield f"{'.'.join(path)}, from {sources[path]}: {_REMOVED_SETTINGS[path]}."


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def google_endpoints(environ: Mapping[str, str]) -> GoogleEndpoints:
    """
    Return Google's URLs, or those of a test server on this machine that `environ` names.

    Raises Invalid (code `bad_setting`) if `environ` names a server of another machine.
    """
    url = environ.get(FAKE_GOOGLE_VARIABLE, "")
    if not url:
        return GOOGLE
    # whoever answers in place of Google decides who a caller is
    if not is_loopback(urlsplit(url).hostname or ""):
        why = "is for tests, and names no server of this machine"
        raise bad_setting(f"{FAKE_GOOGLE_VARIABLE} {why}")
    return endpoints_at(url)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """
    Return the names of the `WHEELYARD_*` variables that this version does not know, sorted.

    The variables of removed settings are among them. An empty variable counts as unset.
    """
    variables = {setting.variable for setting in all_settings().values()} | NON_SETTING_VARIABLES
    unknown = list[str]()
    for name, value in environ.items():
        if not name.startswith(VARIABLE_PREFIX) or not value:
            continue
        is_passed_over = _NON_SETTING_PATTERN.fullmatch(name) or _is_service_url(name, value)
        if name not in variables and not is_passed_over:
            unknown.append(name)
    return sorted(unknown)


def _require_known_variables(environ: Mapping[str, str], *, passes_over_index: bool) -> None:
    """
    Raise Invalid (code `bad_setting`) for the first unknown `WHEELYARD_*` variable.

    A misspelt variable may have been meant to close the index. With `passes_over_index`, variables
    that describe the index are no error.
    """
    why_removed = {_variable_of(path): why for path, why in _REMOVED_SETTINGS.items()}
    ignored_variables = {_variable_of(path) for path in _IGNORED_SETTINGS}
    for name in unknown_variables(environ):
        if name in ignored_variables:
            continue
        table = name.removeprefix(VARIABLE_PREFIX).partition("_")[0].lower()
        if passes_over_index and table in ALL_TABLES:
            continue
        if name in why_removed:
            raise bad_setting(f"{name}: {why_removed[name]}")
        raise _unknown_variable_error(name, table)


def _unknown_variable_error(name: str, table: str) -> Invalid:
    """Return the error about an unknown variable. `table` is the first word of its name."""
    if table == "webhook":
        return bad_setting(
            f"{name} is no setting: the variables of a webhook are "
            f"{VARIABLE_PREFIX}WEBHOOK_<NAME>_SECRET and {VARIABLE_PREFIX}WEBHOOK_<NAME>_URL. "
            "Correct the name, or remove the variable"
        )
    if table in ALL_TABLES:
        return bad_setting(
            f"{name}: the store keeps what describes the index. Write it into a file",
            _APPLY_FILE,
        )
    why = f"{escaped(name)} is no setting"
    similar_variable = _similar_variable(name)
    if similar_variable:
        why += f"; there is {similar_variable}"
    return bad_setting(f"{why}. Correct the name, or remove the variable")


def _similar_variable(name: str) -> str:
    """Return the variable of a setting whose path ends as an unknown one does, or an empty text."""
    # variables of earlier versions lacked the section, or a part of it
    end = name.removeprefix(VARIABLE_PREFIX.removesuffix("_"))
    for setting in all_settings().values():
        words = "_".join(setting.path).upper()
        if f"_{words}".endswith(end) and setting.variable:
            return setting.variable
    return ""


def _variable_of(path: SettingPath) -> str:
    """Return the name of the `WHEELYARD_` variable of a setting, also of a removed one."""
    return f"{VARIABLE_PREFIX}{'_'.join(path).upper()}"


def _is_service_url(variable: str, value: str) -> bool:
    """Return whether a variable has the URL of a Service of Kubernetes, and no port number."""
    return variable.endswith("_PORT") and bool(_SERVICE_URL.match(value))


def _read_settings_file(
    file: Path | None, environ: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """
    Return where the settings file is, as in `LoadedSettings.config_source`, and its tables.

    Without a settings file, both are empty. Raises Invalid (code `bad_setting`) if two files are
    named, or the file cannot be read, is no TOML, or has a secret.
    """
    file_name = str(file or "") or environ.get(FILE_VARIABLE, "")
    text = environ.get(TEXT_VARIABLE, "")
    if text and file_name:
        named_by = "--config" if file else FILE_VARIABLE
        raise bad_setting(
            f"{TEXT_VARIABLE} and {named_by} both say where the settings are. Take one away"
        )
    if not (text or file_name or DEFAULT_FILE.exists()):
        return "", {}
    import tomllib  # noqa: PLC0415 - only with a settings file

    source = TEXT_VARIABLE if text else file_name or str(DEFAULT_FILE)

    try:
        # editors of Windows begin a file with a mark of its encoding, which is no TOML
        toml = text or Path(source).read_text(encoding="utf-8-sig")
        tables = tomllib.loads(toml)
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise bad_setting(f"{escaped(source)} cannot be read: {why}") from error
    # a text in a variable may have secrets, and its file names stay as they are
    if not text:
        _require_no_secret(tables)
        _resolve_file_names(Path(source).parent, tables)
    return source, tables


def _tables_of_process(
    tables: Mapping[str, Any], config_source: str, *, is_allowed: bool
) -> dict[str, Any]:
    """
    Return the tables that describe the process, without those that describe the index.

    Raises Invalid (code `bad_setting`) if a table describes the index, unless `is_allowed` is set.
    """
    index_tables = [name for name in ALL_TABLES if name in tables]
    if index_tables and not is_allowed:
        names = ", ".join(index_tables)
        path = config_source
        if config_source == TEXT_VARIABLE:
            # the text has to be written into a file first
            path = "FILE"
        raise bad_setting(
            f"{escaped(config_source)} has {names}: the store keeps what describes the index",
            Advice(Remedy.APPLY_FILE, path),
        )
    return {name: table for name, table in tables.items() if name not in ALL_TABLES}


def _require_no_secret(tables: Mapping[str, Any]) -> None:
    """Raise Invalid (code `bad_setting`) for the first secret in the tables of a file."""
    for path, value, _ in _values_in_tables(tables, ""):
        if path in _VARIABLE_OF_SECRET:
            raise _secret_in_file_error(".".join(path), _VARIABLE_OF_SECRET[path])
        if path == INDEX_TABLES:
            _require_no_password(_tables_in_array(value))
        if path == SIGN_IN_TABLES:
            _require_no_client_secret(_tables_in_array(value))


def _resolve_file_names(folder: Path, tables: dict[str, Any]) -> None:
    """Replace each file name in the tables by that name in `folder`."""
    # a list, as the tables are changed below
    for path, value, _ in list(_values_in_tables(tables, "")):
        setting = all_settings().get(path)
        if setting and setting.is_file and isinstance(value, str) and value:
            tables[path[0]][path[1]] = str(folder / value)


def _require_no_password(entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid if an `[[upstream.index]]` of a file has a password."""
    for entry in entries:
        if "password" in entry:
            label = variable_part(str(entry.get("label", "LABEL")))
            variable = f"{VARIABLE_PREFIX}UPSTREAM_{label}_PASSWORD"
            raise _secret_in_file_error("upstream.index.password", variable)


def _require_no_client_secret(entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid if a `[[sign_in]]` of a file has the secret of the client."""
    for entry in entries:
        # OpenID Connect calls the secret `client_secret`, so people write that
        for key in ("secret", "client_secret"):
            if key in entry:
                name = variable_part(str(entry.get("name", "NAME")))
                raise _secret_in_file_error(
                    f"sign_in.{key}", f"{VARIABLE_PREFIX}SIGN_IN_{name}_SECRET"
                )


def _secret_in_file_error(name: str, variable: str) -> Invalid:
    why = f"a secret is not for a file that others may read. Set {variable}"
    return bad_setting(f"{name}: {why}")


def _values_in_tables(
    tables: Mapping[str, Any], source: str, above: SettingPath = ()
) -> Iterator[_SettingValue]:
    """Yield each value in nested tables with its path, which may be that of no setting."""
    for name, value in tables.items():
        path = (*above, name)
        setting = all_settings().get(path)
        if isinstance(value, dict) and setting is None and _is_section(path):
            yield from _values_in_tables(value, source, path)
        elif setting is not None and setting.hint == Moment and isinstance(value, date):
            # TOML has dates, which are texts in a variable
            yield _SettingValue(path, value.isoformat(), source)
        else:
            yield _SettingValue(path, value, source)


def _is_section(path: SettingPath) -> bool:
    """Return whether a path is that of a section, in this version or in an earlier one."""
    if names_in(path):
        return True
    depth = len(path)
    return any(removed[:depth] == path for removed in _REMOVED_SETTINGS)


def _values_in_environment(environ: Mapping[str, str]) -> Iterator[_SettingValue]:
    """Yield the value of each variable that is set, of settings and of ignored settings."""
    for path, setting in all_settings().items():
        # both may be set, and the last one counts: our own variable beats that of the platform
        for name in (PLATFORM_VARIABLES.get(path, ""), setting.variable):
            text = environ.get(name, "")
            if not text or _is_service_url(name, text):
                continue
            if setting.is_list:
                words = [word.strip() for word in text.split(",") if word.strip()]
                yield _SettingValue(path, words, name)
            else:
                yield _SettingValue(path, text, name)
    for path in _IGNORED_SETTINGS:
        text = environ.get(_variable_of(path), "")
        if text:
            yield _SettingValue(path, text, _variable_of(path))


def _tables_in_array(tables: object) -> list[dict[str, Any]]:
    """Return the tables in an array. Anything else in the array is refused later."""
    if not isinstance(tables, list):
        return []
    return [table for table in tables if isinstance(table, dict)]


def _insert_credentials(
    path: SettingPath,
    array: object,
    key: str,
    variables: re.Pattern[str],
    environ: Mapping[str, str],
) -> list[str]:
    """
    Put the user names and secrets of variables into the tables of an array, in place.

    `WHEELYARD_UPSTREAM_TEAM_PASSWORD` belongs to the table that has `team` under `key`. Returns a
    sentence for each variable without a table: its password would be sent nowhere, and nobody would
    know why.
    """
    table_by_name = dict[str, dict[str, Any]]()
    for table in _tables_in_array(array):
        table_by_name[variable_part(str(table.get(key, "")))] = table
    problems = list[str]()
    for name in sorted(environ):
        match = variables.fullmatch(name)
        if not match or not environ[name]:
            continue
        table_name, table_key = match.groups()
        if table_name in table_by_name:
            table_by_name[table_name][table_key.lower()] = environ[name]
        else:
            problems.append(f"{name}: no [[{'.'.join(path)}]] has a {key} for it")
    return problems


def _webhook_variables(environ: Mapping[str, str]) -> tuple[WebhookVariables, list[str]]:
    """
    Return the secrets and URLs of webhooks in variables, and a sentence for each wrong variable.

    The store has the webhooks, so a variable may belong to a webhook that is not there yet.
    """
    values: dict[str, dict[str, str]] = {"SECRET": {}, "URL": {}}
    problems = list[str]()
    for variable in sorted(environ):
        match = _WEBHOOK_VARIABLE.fullmatch(variable)
        text = environ[variable]
        if not match or not text:
            continue
        name, kind = match.groups()
        values[kind][name] = text
        why = problem(text, str, strict=True, is_secret=True)
        if why:
            problems.append(f"{variable}: {why}")
    return WebhookVariables(secrets=values["SECRET"], urls=values["URL"]), problems


def _drop_other_indexes(
    value_by_path: dict[SettingPath, _SettingValue],
    tables: Mapping[str, Any],
    environ: Mapping[str, str],
) -> None:
    """
    Drop the settings of other upstream indexes if an option names the upstream index.

    The URL of the option must not get the password of another upstream index.
    """
    url = value_by_path.get(UPSTREAM_URL)
    if url is None or url.source != OPTION_SOURCE:
        return
    url_without_option: str | None = None
    for value in [*_values_in_tables(tables, ""), *_values_in_environment(environ)]:
        if value.path == UPSTREAM_URL:
            url_without_option = str(value.value)
    is_other_url = False
    if url_without_option is not None:
        is_other_url = url_without_option.rstrip("/") != str(url.value).rstrip("/")
    has_tables = value_by_path.pop(INDEX_TABLES, None) is not None
    if has_tables or is_other_url:
        section = UPSTREAM_URL[:-1]
        for name in OF_ONE_INDEX:
            path = (*section, name)
            if path in value_by_path and value_by_path[path].source != OPTION_SOURCE:
                del value_by_path[path]


def _value_problems(values: Iterable[_SettingValue], config_source: str) -> Iterator[str]:
    """Yield a sentence for each value of an unknown setting, or that is none of its type."""
    for path, value, source in values:
        setting = all_settings().get(path)
        if setting is None:
            yield _unknown_setting_problem(path)
        elif value != "" or setting.default != "":
            # a file has types; variables and options are texts
            strict = source == config_source
            why = problem(value, setting.hint, strict=strict, is_secret=setting.is_secret)
            # the operator knows the options of the command and the settings file
            if why and source not in (config_source, OPTION_SOURCE):
                why += f" ({source})"
            if why:
                yield f"{setting.name}: {why}"
            elif path == INDEX_TABLES:
                yield from table_problems("upstream.index", value, UpstreamIndexSettings)
            elif path == SIGN_IN_TABLES:
                yield from table_problems("sign_in", value, SignInSettings)


def _unknown_setting_problem(path: SettingPath) -> str:
    """Return a sentence about a path that is no setting, with what there is instead."""
    if path in _REMOVED_SETTINGS:
        return f"{'.'.join(path)}: {_REMOVED_SETTINGS[path]}"
    if names_in(path):
        return f"{'.'.join(path)}: expected a table, in single brackets"
    # the innermost section that contains the path
    section = path[:-1]
    while not names_in(section):
        section = section[:-1]
    unknown_name = path[len(section)]
    # a misspelt key may have a secret in it
    sentence = f"there is no {quote_safely(unknown_name)}, but {', '.join(names_in(section))}"
    if section:
        return f"{'.'.join(section)}: {sentence}"
    return sentence
