"""Impossible values of settings, and secrets in wrong places: reported without the secret."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from tests.refused import refused
from tests.settings.written import variables_of
from wheelyard.errors import Invalid
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import all_settings
from wheelyard.settings.value_checks import Bucket, Collector, IndexUrl, Url, WholeBucket

LONG: Final = "1" * 5000
DEEP: Final = "[" * 5000
DOTTED: Final = ".".join("a" * 5000)
NO_UTF8: Final = os.fsdecode(b"caf\xe9")
SECRETIVE: Final = (
    "https://user:hunter2@packages.example.com",
    "https://packages.example.com/?api_key=hunter2",
    "https://packages.example.com#hunter2",
    "user:hunter2@packages.example.com",
    "gs://user:hunter2@acme-packages",
    "gs://acme-packages/index?api_key=hunter2",
    "http://user:hunter2%40packages.example.com",
)
URLS: Final = ("server.public_url", "telemetry.otlp_endpoint", "upstream.url")
PLACES: Final = ("store.files", "google.access_token.resource")
OTHERS: Final = (
    *("server.host", "access.trusted_hosts", "server.port", "server.roots", "log.format"),
    "google.id_token.allowed_domains",
)
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def refusal(*given: str, file: Path | None = None, environ: Mapping[str, str] = NOTHING) -> str:
    """Return why settings are refused: one short line."""
    with refused(Invalid, "bad_setting") as caught:
        load_settings(file=file, environ={**environ, **variables_of(*given)})
    message = caught.value.message
    assert message.isprintable()
    assert "`" not in message
    assert "$" not in message
    return message


@pytest.mark.parametrize(
    "text",
    [
        f"[server]\nport = {LONG}",
        f"[server]\ntrusted_proxies = 0x{LONG}",
        "[server]\ntrusted_proxies = 9223372036854775808",
        f"[server]\nroots = {DEEP}",
        f"[server]\nroots = {'[' * 100}{']' * 100}",
        pytest.param(
            f"[[grant]]\nwho.{DOTTED} = 1\nprojects = []\nactions = []", marks=pytest.mark.slow
        ),
        pytest.param(f"[server]\n{DOTTED} = 1", marks=pytest.mark.slow),
    ],
)
def test_a_value_without_end_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    """A number or a table without end in a file, or in WHEELYARD_TOML, is refused in one line."""
    file = tmp_path / "wheelyard.toml"
    file.write_text(text)

    refusal(file=file)
    refusal(environ={"WHEELYARD_TOML": text})


@pytest.mark.parametrize("number", [LONG[:4000], "9223372036854775808"])
def test_a_variable_without_end(number: str) -> None:
    """A number in a variable that is too large for anything is refused."""
    message = refusal(environ={"WHEELYARD_SERVER_TRUSTED_PROXIES": number})

    assert message.startswith("server.trusted_proxies: expected a number from 0 to ")


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("WHEELYARD_STORE", NO_UTF8, "store.location: expected text in UTF-8"),
        (
            "WHEELYARD_ACCESS_TRUSTED_HOSTS",
            f"a,{NO_UTF8}",
            "access.trusted_hosts: expected text in",
        ),
    ],
)
def test_bytes_that_are_no_text(variable: str, text: str, words: str) -> None:
    """Bytes in a variable that are no UTF-8 are refused in one line that names it."""
    assert words in refusal(environ={variable: text})


def test_every_url_is_tested() -> None:
    """Each setting that holds a URL or a bucket is one that this file tests for a password."""
    hints = (Url, IndexUrl, Collector, Bucket, WholeBucket)
    names = {each.name for each in all_settings().values() if each.hint in hints}

    assert names == {*URLS, *PLACES}


@pytest.mark.parametrize("secretive", SECRETIVE)
def test_a_secret_in_a_url(secretive: str) -> None:
    """A password or a key in a value, or in a name, is refused, and not repeated."""
    flags = ("store.location=gs://acme-packages", "google.id_token.audience=a")
    for key in (*URLS, *PLACES, *OTHERS):
        assert "hunter2" not in refusal(*flags, f"{key}={secretive}")
    for key in ("store.location", "access.credentials_store") if "://" in secretive else ():
        assert "hunter2" not in refusal(f"{key}={secretive}")
    assert "hunter2" not in refusal(environ={"WHEELYARD_TOML": f"[server]\n'{secretive}' = 1"})


@pytest.mark.parametrize("key", ["google.id_token", "iap", "trusted_publishing"])
def test_a_secret_in_an_audience(key: str) -> None:
    """A password in an audience URL is refused, because audiences are public."""
    assert "hunter2" not in refusal(f"{key}.audience={SECRETIVE[0]}")


def test_what_is_no_secret() -> None:
    """An @ in the path of a URL or of a folder is not taken for a password."""
    flags = ("server.public_url=https://a.com:65535/@team", "store.location=./a@b?")

    settings = load_settings(environ=variables_of(*flags)).settings

    assert settings.base_url == "https://a.com:65535/@team"
    assert settings.store.location == "./a@b?"


def test_a_time_outside_of_the_calendar() -> None:
    """A time whose UTC is no time of the years 1 to 9999 is refused as any other wrong value."""
    snapshot = {"WHEELYARD_UPSTREAM_SNAPSHOT": "0001-01-01T00:00:00+23:00"}
    assert "upstream.snapshot" in refusal(environ=snapshot)
