"""
Reads the settings: the only place that looks at the environment and at `wheelyard.toml`.

What a command line says beats the environment, which beats the file, which beats the defaults. The
files that `wheelyard.toml` names are looked for beside it; what is named elsewhere, from where the
command runs.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import ValidationError, convert

from wheelyard.errors import Invalid, quoted
from wheelyard.model.text import escaped
from wheelyard.settings.checks import checked
from wheelyard.settings.sections import Settings
from wheelyard.settings.words import bad_setting, in_words, outside

DEFAULT_FILE: Final = Path("wheelyard.toml")
ENVIRONMENT_PREFIX: Final = "WHEELYARD_"
TABLES: Final = frozenset({"grant", "publisher"})
"""What stands in the file as `[[name]]`, any number of times."""
OTHERS: Final = frozenset(
    {"CONFIG", "TOKEN", "KEYRING_HOSTS", "IMPORT_USERNAME", "IMPORT_PASSWORD"},
)
"""Variables that are no settings: what finds the file, what the keyring backend and one command
read."""

_Values = dict[str, Any]

_VARIABLES: Final = {
    "STORE": ("store", "location"),
    "FILES": ("store", "files"),
    "DOWNLOADS": ("store", "downloads"),
    "HOST": ("server", "host"),
    "PORT": ("server", "port"),
    "WORKERS": ("server", "workers"),
    "PUBLIC_URL": ("server", "public_url"),
    "PATH_PREFIX": ("server", "path_prefix"),
    "TRUSTED_PROXIES": ("server", "trusted_proxies"),
    "PRIVATE": ("access", "private"),
    "PRIVATE_NAMES": ("access", "private_names"),
    "METRICS_TOKEN": ("access", "metrics_token"),
    "HTPASSWD_FILE": ("access", "htpasswd_file"),
    "STATIC_TOKENS_FILE": ("access", "static_tokens_file"),
    "STATIC_TOKEN": ("access", "static_token"),
    "CREDENTIALS_STORE": ("access", "credentials_store"),
    "REQUIRE_HTTPS": ("access", "require_https"),
    "TRUSTED_HOSTS": ("access", "trusted_hosts"),
    "ID_TOKEN_AUDIENCE": ("google", "id_token", "audience"),
    "ALLOWED_DOMAINS": ("google", "id_token", "allowed_domains"),
    "ACCESS_TOKEN_RESOURCE": ("google", "access_token", "resource"),
    "IAP_AUDIENCE": ("iap", "audience"),
    "PUBLISHING_AUDIENCE": ("trusted_publishing", "audience"),
}
"""`WHEELYARD_<key>` and the setting that it is."""
_LISTS: Final = frozenset(
    {"private_names", "trusted_hosts", "audience", "allowed_domains"},
)
"""Settings that are lists, which a variable has with commas."""
_BESIDE: Final = ("htpasswd_file", "static_tokens_file")
"""Settings of `[access]` that name a file."""


def read_settings(
    *,
    file: Path | None,
    overrides: Mapping[str, Mapping[str, Any]],
    environ: Mapping[str, str],
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """
    Return the settings in force.

    Args:
        file: What `--config` names; None takes `$WHEELYARD_CONFIG`, else `./wheelyard.toml`.
        overrides: By section and key, from the command line; None stands for "not given".
        environ: The environment.
        defaults: By section and key, what a command has other than the usual defaults.

    Raises:
        Invalid: The file is missing or no TOML, a key is unknown, or a value makes no sense.
    """
    values: _Values = {section: dict(given) for section, given in (defaults or {}).items()}
    for section, given in _from_file(file, environ).items():
        is_table = isinstance(given, dict)
        values[section] = values.get(section, {}) | given if is_table else given
    for key, place in _VARIABLES.items():
        # an empty variable is how a shell or a compose file says "not set"
        if text := environ.get(ENVIRONMENT_PREFIX + key):
            _put(values, place, _listed(text) if place[-1] in _LISTS else text)
    if environ.get("PORT") and not environ.get(ENVIRONMENT_PREFIX + "PORT"):
        _put(values, ("server", "port"), environ["PORT"])
    for section, options in overrides.items():
        chosen = {name: value for name, value in options.items() if value is not None}
        values.setdefault(section, {}).update(chosen)
    try:
        settings = convert(values, Settings, strict=False)
    except ValidationError as error:
        raise bad_setting(in_words(str(error), values)) from error
    return checked(settings)


def settings_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file that settings are read from, None where there is none."""
    named = file or _named(environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"))
    return named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the `WHEELYARD_*` variables that are no settings, which are typing errors mostly."""
    known = {ENVIRONMENT_PREFIX + key for key in (*_VARIABLES, *OTHERS)}
    return sorted(key for key in environ if key.startswith(ENVIRONMENT_PREFIX) and key not in known)


def _from_file(file: Path | None, environ: Mapping[str, str]) -> _Values:
    named = file or _named(environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"))
    path = named or DEFAULT_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return {}
        raise Invalid(
            f"There is no file {escaped(str(path))}. Give --config one that is there.",
            code="bad_setting",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Invalid(
            f"{escaped(str(path))} cannot be read: {why}. See docs/settings.md for its form.",
            code="bad_setting",
        ) from error
    for section, value in values.items():
        if section in TABLES and not isinstance(value, list):
            raise bad_setting(f"{quoted(section)} is written in double brackets, [[{section}]]")
        if section not in TABLES and not isinstance(value, dict):
            raise bad_setting(outside(section))
    _look_beside(path.parent, values.get("access", {}))
    return values


def _look_beside(folder: Path, access: _Values) -> None:
    if "static_token" in access:
        raise bad_setting(
            "[access] static_token: a token is not for a file that others may read. Set "
            "WHEELYARD_STATIC_TOKEN, or write it into a static_tokens_file"
        )
    for name in _BESIDE:
        if isinstance(access.get(name), str) and access[name]:
            access[name] = str(folder / access[name])


def _put(values: _Values, place: tuple[str, ...], value: object) -> None:
    """Put a value where it belongs among nested tables."""
    *tables, name = place
    for table in tables:
        found = values.setdefault(table, {})
        if not isinstance(found, dict):
            return  # what stands there is refused in a moment
        values = found
    values[name] = value


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _named(text: str | None) -> Path | None:
    return Path(text) if text else None
