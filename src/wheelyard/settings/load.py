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
_INDEX_CREDENTIAL: Final = re.compile(r"WHEELYARD_UPSTREAM_([A-Z0-9_]+)_(USERNAME|PASSWORD)")
"""A variable for an upstream index, with its label."""
_SIGN_IN_SECRET: Final = re.compile(r"WHEELYARD_SIGN_IN_([A-Z0-9_]+)_(SECRET)")
"""A variable for a provider of `[[sign_in]]`, with its name."""
_OF_WEBHOOK: Final = re.compile(r"WHEELYARD_WEBHOOK_([A-Z0-9_]+)_(SECRET|URL)")
"""A variable for a `[[webhook]]` of the store, with its name."""
_PASSED_OVER: Final = re.compile(
    rf"WHEELYARD_IMPORT_[A-Z0-9_]+|{_INDEX_CREDENTIAL.pattern}|{_SIGN_IN_SECRET.pattern}|"
    rf"{_OF_WEBHOOK.pattern}|"
    r"WHEELYARD_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_[A-Z0-9_]+)"
)
"""
Variables that are not settings.

They are those of `wheelyard import`, of upstream indexes, of providers and of webhooks, and those
that Kubernetes makes of a Service whose name begins with `wheelyard`.
"""
_TABLE_SECRETS: Final = (
    (INDEX_TABLES, "label", _INDEX_CREDENTIAL),
    (SIGN_IN_TABLES, "name", _SIGN_IN_SECRET),
)
"""Arrays of tables, the key whose value is in the names of their variables, and these."""
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")
"""The beginning of what Kubernetes writes into `WHEELYARD_PORT`, of a Service `wheelyard`."""

_FROM_ENVIRONMENT: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("access", "static_token"): "WHEELYARD_ACCESS_STATIC_TOKEN, or name a static_tokens_file",
        ("upstream", "password"): "WHEELYARD_UPSTREAM_PASSWORD",
    }
)
"""Secrets that a file must not have, and what to set instead."""
_NEVER_CHANGED: Final = "it was removed: nobody but our tests has changed it. Take it away"
_WEBHOOK: Final = 'a [[webhook]] with events = ["package_requested"] (docs/webhooks.md)'
"""What says now that requests for public packages wait."""
_NO_MAIL: Final = f"it was removed: nobody gets mail. Make {_WEBHOOK}, or take it away"
_MAIL_SETTINGS: Final = (
    "mail_to",
    "mail_from",
    "smtp_host",
    "smtp_security",
    "smtp_username",
    "smtp_password",
)
"""The settings of notifications by mail."""
_APPLY_FILE: Final = Advice(Remedy.APPLY_FILE, "FILE")
"""How a file comes into force that has to be written first."""
COOKIE_LOGIN: Final = ("access", "cookie_login")
_EARLIER: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("google", "id_token", "keys_url"): _NEVER_CHANGED,
        ("google", "access_token", "storage_url"): _NEVER_CHANGED,
        ("google", "access_token", "tokeninfo_url"): _NEVER_CHANGED,
        ("iap", "keys_url"): _NEVER_CHANGED,
        ("access", "htpasswd_may_manage"): (
            'it is access.htpasswd_may now, such as ["read", "upload", "manage"]'
        ),
        ("web", "remote_images"): (
            "it was removed: other servers learnt who reads a page. Take it away"
        ),
        **{("notifications", key): _NO_MAIL for key in _MAIL_SETTINGS},
        ("notifications", "webhook"): f"it was removed. Make {_WEBHOOK}, and take it away",
        ("notifications", "allow_private_networks"): "it is webhooks.allow_private_networks now",
        ("web", "pictures"): "it was removed: pictures of other servers are links. Take it away",
        ("upstream", "mode"): (
            "it was removed. Without it, upstream.allow is the list of the only names that are "
            'looked up, and without allow all are. Take mode away; for mode = "open", allow as well'
        ),
    }
)
"""Settings that earlier versions had, and what became of them."""
_WITHOUT_EFFECT: Final = frozenset(
    [("web", "pictures")] + [("notifications", key) for key in _MAIL_SETTINGS]
)
"""
Those of `_EARLIER` that stop nothing.

Nobody may do more where they are not read, or what they were about is refused.
"""
_NOTHING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


class LoadedSettings(Struct, frozen=True):
    """The effective settings, and the source of each value."""

    settings: Settings
    sources: Mapping[SettingPath, str]
    """The file, variable or option that set a value, without those that are defaults."""
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
    passes_over_index: bool = False,
) -> LoadedSettings:
    """
    Return the effective settings, and the source of each value.

    Args:
        file: The value of `--config`. None takes `$WHEELYARD_CONFIG`, else `./wheelyard.toml` if it
            exists. `$WHEELYARD_TOML` has the text of a file instead.
        overrides: Values of options by section and key. None if an option was not given.
        environ: The environment.
        defaults: Defaults of this command, by section and key, that differ from the usual ones.
        passes_over_index: Whether the file and the environment may describe the index, as in an
            earlier version. That has no effect.

    Raises Invalid (code `bad_setting`) if the file is missing or malformed, or named besides
    `$WHEELYARD_TOML`, if it has a secret, or if it describes the index without
    `passes_over_index`. Raises it, too, if a key or a `WHEELYARD_*` variable is unknown, a value is
    wrong, or settings contradict each other.
    """
    _require_known_variables(environ, passes_over_index=passes_over_index)
    config_source, in_file = _read_file(file, environ)
    tables = _without_index(in_file, config_source, is_allowed=passes_over_index)

    # the last one of a path wins: an option, then the environment, the file, and the command
    values = list(_from_tables(defaults, COMMAND_SOURCE))
    values += _from_tables(tables, config_source)
    values += _from_environment(environ)
    values += _from_tables(overrides, OPTION_SOURCE)

    # None is an option that was not given
    given = {value.path: value for value in values if value.value is not None}
    unplaced = list[str]()
    for path, key, variables in _TABLE_SECRETS:
        entries = given[path].value if path in given else ()
        unplaced.extend(_insert_credentials(path, entries, key, variables, environ))
    webhook_variables, problems_of_webhooks = _webhook_variables(environ)
    _drop_other_indexes(given, tables, environ)
    effective = [value for path, value in given.items() if path not in _WITHOUT_EFFECT]
    problems = list(_problems(effective, config_source))
    problems += problems_of_webhooks

    # only without other problems: a table that is wrong may be why a variable has none
    problems = problems or unplaced
    if problems:
        raise bad_setting(". ".join(problems))

    # the types were checked above, by messages that name the setting
    settings = convert(_nested(effective), Settings, strict=False)
    _check_given(settings, given)
    settings = validate(replace(settings, webhook_variables=webhook_variables))
    sources = {path: value.source for path, value in given.items()}
    return LoadedSettings(settings, sources, config_source)


def _nested(values: Iterable[_SettingValue]) -> dict[str, Any]:
    """Return values in the tables of their sections."""
    nested: dict[str, Any] = {}
    for path, value, _ in values:
        table = nested
        for section in path[:-1]:
            table = table.setdefault(section, {})
        # an empty text is the default, or was refused before
        if value != "":
            table[path[-1]] = value
    return nested


def _check_given(settings: Settings, given: Mapping[SettingPath, _SettingValue]) -> None:
    """Raise Invalid if a setting was given that another one contradicts."""
    if COOKIE_LOGIN in given and settings.sign_in and not settings.access.cookie_login:
        why = "who signs in with a provider of [[sign_in]] has a session. Leave one of the two out"
        raise bad_setting(f"access.cookie_login: it is off, and {why}")


def settings_without_effect(sources: Mapping[SettingPath, str]) -> Iterator[str]:
    """Yield a sentence for each of these settings that was removed, and is not read."""
    for path in sorted(_WITHOUT_EFFECT & sources.keys()):
        yield f"{'.'.join(path)}, from {sources[path]}: {_EARLIER[path]}."


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def google_endpoints(environ: Mapping[str, str]) -> GoogleEndpoints:
    """
    Return Google's URLs, or those of a test server on this machine that `environ` names.

    Raises Invalid (code `bad_setting`) if it names a server of another machine.
    """
    url = environ.get(FAKE_GOOGLE_VARIABLE, "")
    if not url:
        return GOOGLE
    # whoever answers in place of Google says who anybody is
    if not is_loopback(urlsplit(url).hostname or ""):
        why = "is for tests, and names no server of this machine"
        raise bad_setting(f"{FAKE_GOOGLE_VARIABLE} {why}")
    return endpoints_at(url)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """
    Return the names of the `WHEELYARD_*` variables that this version does not know, sorted.

    Empty ones are passed over. Those of settings that were removed are among them.
    """
    variables = {setting.variable for setting in all_settings().values()} | NON_SETTING_VARIABLES
    unknown = list[str]()
    for name, value in environ.items():
        # an empty one counts as unset
        if not name.startswith(VARIABLE_PREFIX) or not value:
            continue
        is_passed_over = _PASSED_OVER.fullmatch(name) or _is_service_url(name, value)
        if name not in variables and not is_passed_over:
            unknown.append(name)
    return sorted(unknown)


def _require_known_variables(environ: Mapping[str, str], *, passes_over_index: bool) -> None:
    """Raise Invalid for unknown `WHEELYARD_*` variables: a misspelt one might have closed it."""
    earlier = {_variable(path): why for path, why in _EARLIER.items()}
    unread = {_variable(path) for path in _WITHOUT_EFFECT}
    for name in unknown_variables(environ):
        if name in unread:
            continue
        table = name.removeprefix(VARIABLE_PREFIX).partition("_")[0].lower()
        if passes_over_index and table in ALL_TABLES:
            continue
        if name in earlier:
            raise bad_setting(f"{name}: {earlier[name]}")
        if table == "webhook":
            raise bad_setting(
                f"{name} is no setting: the variables of a webhook are "
                f"{VARIABLE_PREFIX}WEBHOOK_<NAME>_SECRET and {VARIABLE_PREFIX}WEBHOOK_<NAME>_URL. "
                "Correct the name, or remove the variable"
            )
        if table in ALL_TABLES:
            raise bad_setting(
                f"{name}: the store keeps what describes the index. Write it into a file",
                _APPLY_FILE,
            )
        why = f"{escaped(name)} is no setting"
        similar = _similar_variable(name)
        if similar:
            why += f"; there is {similar}"
        raise bad_setting(f"{why}. Correct the name, or remove the variable")


def _similar_variable(name: str) -> str:
    """Return the variable of a setting whose path ends as an unknown one does, or an empty text."""
    # variables of earlier versions lacked the section, or a part of it
    end = name.removeprefix(VARIABLE_PREFIX.removesuffix("_"))
    for setting in all_settings().values():
        words = "_".join(setting.path).upper()
        if f"_{words}".endswith(end) and setting.variable:
            return setting.variable
    return ""


def _variable(path: SettingPath) -> str:
    return f"{VARIABLE_PREFIX}{'_'.join(path).upper()}"


def _is_service_url(variable: str, value: str) -> bool:
    """Return whether a variable has the URL of a Service of Kubernetes, and no port number."""
    return variable.endswith("_PORT") and bool(_SERVICE_URL.match(value))


def _read_file(file: Path | None, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """
    Return `LoadedSettings.config_source` and its tables.

    Raises Invalid if two files are there, or one cannot be read.
    """
    named = str(file or "") or environ.get(FILE_VARIABLE, "")
    text = environ.get(TEXT_VARIABLE, "")
    if text and named:
        named_by = "--config" if file else FILE_VARIABLE
        both = f"{TEXT_VARIABLE} and {named_by}"
        raise bad_setting(f"{both} both say where the settings are. Take one away")
    if not (text or named or DEFAULT_FILE.exists()):
        return "", {}
    import tomllib  # noqa: PLC0415 - only with a settings file

    source = TEXT_VARIABLE if text else named or str(DEFAULT_FILE)

    # editors of Windows begin a file with a mark of its encoding, which is no TOML
    try:
        tables = tomllib.loads(text or Path(source).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise bad_setting(f"{escaped(source)} cannot be read: {why}") from error
    if not text:
        _resolve_file_names(Path(source).parent, tables)
    return source, tables


def _without_index(
    tables: Mapping[str, Any], config_source: str, *, is_allowed: bool
) -> dict[str, Any]:
    """
    Return the tables that describe the process.

    Raises Invalid if others describe the index, unless that `is_allowed`.
    """
    moved = [name for name in ALL_TABLES if name in tables]
    if moved and not is_allowed:
        names = ", ".join(moved)
        path = config_source
        if config_source == TEXT_VARIABLE:
            # the text has to be written into a file first
            path = "FILE"
        raise bad_setting(
            f"{escaped(config_source)} has {names}: the store keeps what describes the index",
            Advice(Remedy.APPLY_FILE, path),
        )
    return {name: table for name, table in tables.items() if name not in ALL_TABLES}


def _resolve_file_names(folder: Path, tables: dict[str, Any]) -> None:
    """
    Make file names relative to `folder`.

    Raises Invalid for a secret in the tables.
    """
    # a list, as the tables are changed below
    for path, value, _ in list(_from_tables(tables, "")):
        if path in _FROM_ENVIRONMENT:
            raise _secret_in_file(".".join(path), _FROM_ENVIRONMENT[path])
        if path == INDEX_TABLES:
            _require_no_password(_entries(value))
        if path == SIGN_IN_TABLES:
            _require_no_client_secret(_entries(value))
        setting = all_settings().get(path)
        if setting and setting.is_file and isinstance(value, str) and value:
            tables[path[0]][path[1]] = str(folder / value)


def _require_no_password(entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid if an `[[upstream.index]]` of a file has a password."""
    for entry in entries:
        if "password" in entry:
            label = variable_part(str(entry.get("label", "LABEL")))
            variable = f"{VARIABLE_PREFIX}UPSTREAM_{label}_PASSWORD"
            raise _secret_in_file("upstream.index.password", variable)


def _require_no_client_secret(entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid if a `[[sign_in]]` of a file has the secret of the client."""
    for entry in entries:
        # the second is how OpenID Connect calls it, and so what people try
        for key in ("secret", "client_secret"):
            if key in entry:
                name = variable_part(str(entry.get("name", "NAME")))
                raise _secret_in_file(f"sign_in.{key}", f"{VARIABLE_PREFIX}SIGN_IN_{name}_SECRET")


def _secret_in_file(name: str, variable: str) -> Invalid:
    why = f"a secret is not for a file that others may read. Set {variable}"
    return bad_setting(f"{name}: {why}")


def _from_tables(
    tables: Mapping[str, Any], source: str, above: SettingPath = ()
) -> Iterator[_SettingValue]:
    """Yield each value in nested tables with its path, which may be unknown."""
    for name, value in tables.items():
        path = (*above, name)
        setting = all_settings().get(path)
        if isinstance(value, dict) and setting is None and _is_section(path):
            yield from _from_tables(value, source, path)
        elif setting is not None and setting.hint == Moment and isinstance(value, date):
            # TOML has dates, which are texts in a variable
            yield _SettingValue(path, value.isoformat(), source)
        else:
            yield _SettingValue(path, value, source)


def _is_section(path: SettingPath) -> bool:
    """Return whether a path is that of a section now, or was that of one in an earlier version."""
    depth = len(path)
    return bool(names_in(path)) or any(earlier[:depth] == path for earlier in _EARLIER)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_SettingValue]:
    """Yield each value of a variable, also of settings that were removed, and are not read."""
    for path, setting in all_settings().items():
        # both may be set, and the last one counts: ours, and before it that of the platform
        for name in (PLATFORM_VARIABLES.get(path, ""), setting.variable):
            text = environ.get(name, "")
            if not text or _is_service_url(name, text):
                continue
            if setting.is_list:
                words = [word.strip() for word in text.split(",") if word.strip()]
                yield _SettingValue(path, words, name)
            else:
                yield _SettingValue(path, text, name)
    for path in _WITHOUT_EFFECT:
        text = environ.get(_variable(path), "")
        if text:
            yield _SettingValue(path, text, _variable(path))


def _entries(tables: object) -> list[dict[str, Any]]:
    """Return the tables of an array, without what is none, which is refused later."""
    if not isinstance(tables, list):
        return []
    return [table for table in tables if isinstance(table, dict)]


def _insert_credentials(
    path: SettingPath,
    tables: object,
    key: str,
    variables: re.Pattern[str],
    environ: Mapping[str, str],
) -> Iterator[str]:
    """
    Put the user names and secrets of variables into the tables of an array.

    `WHEELYARD_UPSTREAM_TEAM_PASSWORD` is that of the table whose label, which is its `key`, is
    `team`. Yields a sentence for a variable without a table: its password would be sent nowhere,
    and nobody would know why.
    """
    # the tables are changed in place, before their values are checked
    by_name = {variable_part(str(entry.get(key, ""))): entry for entry in _entries(tables)}
    for name in sorted(environ):
        match = variables.fullmatch(name)
        if not match or not environ[name]:
            continue
        if match[1] in by_name:
            by_name[match[1]][match[2].lower()] = environ[name]
        else:
            yield f"{name}: no [[{'.'.join(path)}]] has a {key} for it"


def _webhook_variables(environ: Mapping[str, str]) -> tuple[WebhookVariables, list[str]]:
    """
    Return what variables have for webhooks, and a sentence for each of them that is unusable.

    The store has the webhooks, so a variable may be of one that is not there yet.
    """
    values: dict[str, dict[str, str]] = {"SECRET": {}, "URL": {}}
    unusable = list[str]()
    for variable in sorted(environ):
        match = _OF_WEBHOOK.fullmatch(variable)
        text = environ[variable]
        if not match or not text:
            continue
        name, kind = match.groups()
        values[kind][name] = text
        why = problem(text, str, strict=True, is_secret=True)
        if why:
            unusable.append(f"{variable}: {why}")
    return WebhookVariables(secrets=values["SECRET"], urls=values["URL"]), unusable


def _drop_other_indexes(
    given: dict[SettingPath, _SettingValue], tables: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    """
    Leave out what is said about other upstream indexes than the one that an option names.

    Its URL must not get the password of another one.
    """
    url = given.get(UPSTREAM_URL)
    if url is None or url.source != OPTION_SOURCE:
        return
    # which index would count without the option
    values = list(_from_tables(tables, ""))
    values += _from_environment(environ)
    urls = [value.value for value in values if value.path == UPSTREAM_URL]
    is_other = bool(urls) and str(urls[-1]).rstrip("/") != str(url.value).rstrip("/")
    if given.pop(INDEX_TABLES, None) is not None or is_other:
        section = UPSTREAM_URL[:-1]
        for name in OF_ONE_INDEX:
            path = (*section, name)
            if path in given and given[path].source != OPTION_SOURCE:
                del given[path]


def _problems(given: Iterable[_SettingValue], config_source: str) -> Iterator[str]:
    """Yield a sentence for each value that is unknown, or none of its type."""
    for path, value, source in given:
        setting = all_settings().get(path)
        if setting is None:
            yield _unknown(path)
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


def _unknown(path: SettingPath) -> str:
    """Return a sentence about a path that is no setting: what there is instead."""
    if path in _EARLIER:
        return f"{'.'.join(path)}: {_EARLIER[path]}"
    if names_in(path):
        return f"{'.'.join(path)}: expected a table, in single brackets"
    # the innermost table above it that is a section
    depth = max(depth for depth in range(len(path)) if names_in(path[:depth]))
    section = path[:depth]
    # a misspelt key may have a secret in it
    sentence = f"there is no {quote_safely(path[depth])}, but {', '.join(names_in(section))}"
    if section:
        return f"{'.'.join(section)}: {sentence}"
    return sentence
