"""Each setting means the same in a file, in a variable and in WHEELYARD_TOML; their precedence."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import pytest

from tests.settings.written import as_toml
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Setting, all_settings
from wheelyard.settings.value_checks import unpack

EVERY: Final = [each for each in all_settings().values() if each.variable]
BASE: Final[Mapping[str, Mapping[str, Any]]] = {
    "server": {"certificate": "/etc/chain.pem", "key": "/etc/key.pem"},
    "attestations": {"accept": True},
    "store": {"location": "gs://kept", "files": "gs://open"},
    "google": {"id_token": {"audience": ["https://packages.example.com"]}},
    "upstream": {"url": "https://index.example.com/simple/", "enabled": False},
}
"""Low-precedence values that make every single setting valid."""
VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "server.path_prefix": ("/a", "/b/c"),
    "server.public_url": ("https://a.example", "https://b.example:8443/c"),
    "store.location": ("gs://kept-a/index", "s3://kept-b"),
    "store.files": ("gs://open-a/files", "gs://open-b"),
    "access.htpasswd_may": ("read", "upload"),
    "access.credentials_store": ("gs://credentials-a", "folder"),
    "google.id_token.allowed_domains": ("a.dev", "b.c.dev"),
    "google.access_token.resource": ("gs://rights-a", "gs://rights-b"),
    "trusted_publishing.private_issuers": ("https://a.example", "http://127.0.0.1:8123"),
    "web.accent": ("#1b62b5", "#AABBCC"),
    "telemetry.otlp_endpoint": ("http://a:4318", "https://b"),
    "upstream.url": ("https://a.example/simple/", "https://b.example"),
    "upstream.bucket": ("gs://pages-a", "folder"),
    "main.snapshot": ("2026-10-31", "2026-10-31T12:00:00Z"),
    "main.allowed_licenses": ("MIT", "BSD-*"),
    "main.blocked_licenses": ("GPL-3.0-only", "AGPL-*"),
    "upstream.snapshot": ("2026-10-31", "2026-10-31T12:00:00Z"),
    "upstream.allowed_licenses": ("MIT", "BSD-*"),
    "upstream.allow_private_networks": ("10.0.0.0/8", "::1/128"),
    "webhooks.allow_private_networks": ("10.0.0.0/8", "::1/128"),
    "upstream.blocked_licenses": ("GPL-3.0-only", "AGPL-*"),
}
"""Two values of settings for which not every word is one."""


def values_of(setting: Setting) -> tuple[Any, Any]:
    """Return two values that a setting may have."""
    kind, meta = unpack(setting.hint)
    first, second = VALUES.get(setting.name, (f"own{setting.path[-1][0]}", "other"))
    if kind is bool:
        return True, False
    if meta.ge is not None:
        return kind(meta.ge), kind(meta.ge + 1)
    if get_origin(kind) is Literal:
        words = [word for word in get_args(kind) if word]
        return words[0], words[-1]
    return ([first], [second, first]) if setting.is_list else (first, second)


def as_tables(setting: Setting, value: object) -> str:
    """Return a settings file with only this setting."""
    return f"[{'.'.join(setting.path[:-1])}]\n{setting.path[-1]} = {as_toml(value)}\n"


def as_variable(value: object) -> str:
    """Return the text of a variable."""
    return ", ".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.name)
def test_a_value_means_the_same_in_every_way(setting: Setting) -> None:
    """A value means the same in tables and in a variable, which beats them; they beat a default."""
    first, second = values_of(setting)
    tables, variable = {"WHEELYARD_TOML": as_tables(setting, first)}, setting.variable

    by_tables = load_settings(environ=tables, defaults=BASE)
    by_variable = load_settings(environ={variable: as_variable(first)}, defaults=BASE)
    assert by_tables.settings == by_variable.settings
    assert by_tables.sources[setting.path] == "WHEELYARD_TOML"

    both = load_settings(environ={**tables, variable: as_variable(second)}, defaults=BASE)
    alone = load_settings(environ={variable: as_variable(second)}, defaults=BASE)
    assert by_tables.settings != both.settings == alone.settings
    assert both.sources[setting.path] == variable


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "false", "0", "False"])
def test_a_switch_is_true_or_false(text: str) -> None:
    """A switch is true or 1, or false or 0, in letters of either size."""
    settings = load_settings(environ={"WHEELYARD_ACCESS_PRIVATE": text}).settings

    assert settings.access.private is (text.lower() in ("true", "1"))
