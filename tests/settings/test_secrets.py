"""A secret that somebody has written into a URL, or by mistake where a place belongs."""

from typing import Final

import pytest

from tests.settings.test_commands import Typed, desk, typed
from wheelyard.errors import Invalid
from wheelyard.settings.names import every_setting
from wheelyard.settings.reading import read_settings

__all__ = ["desk", "typed"]

SECRETIVE: Final = (
    "https://user:hunter2@packages.example.com",
    "https://hunter2@packages.example.com/",
    "https://packages.example.com/?api_key=hunter2",
    "https://packages.example.com#hunter2",
    "user:hunter2@packages.example.com",
    "gs://user:hunter2@acme-packages",
    "gs://acme-packages/index?api_key=hunter2",
    "http://user:hunter2%40packages.example.com",
)
URLS: Final = (
    "server.public_url",
    "telemetry.otlp_endpoint",
)
PLACES: Final = ("store.files", "google.access_token.resource")
FOLDERS: Final = ("store.location", "access.credentials_store")


def refusal(*flags: str) -> str:
    """Return why settings that come by `--set` are refused."""
    with pytest.raises(Invalid) as caught:
        read_settings(environ={}, flags=flags)
    assert caught.value.code == "bad_setting"
    return caught.value.message


def test_every_url_is_tested() -> None:
    """Each setting that holds a URL or a bucket is one of these here."""
    titles = {"URL": URLS, "`gs://BUCKET/PREFIX`": PLACES, "`gs://BUCKET`": PLACES}

    for place, setting in every_setting().items():
        assert ".".join(place) in titles.get(setting.meta.title or "", (".".join(place),))


@pytest.mark.parametrize("secretive", SECRETIVE)
@pytest.mark.parametrize("key", [*URLS, *PLACES, "server.host", "access.trusted_hosts"])
def test_a_secret_in_a_url(key: str, secretive: str) -> None:
    """A URL or a place with a password or a key in it is refused, and not repeated."""
    bucket = "store.location=gs://acme-packages"

    assert "hunter2" not in refusal(bucket, f"{key}={secretive}")


@pytest.mark.parametrize("secretive", [each for each in SECRETIVE if "://" in each])
@pytest.mark.parametrize("key", FOLDERS)
def test_a_secret_in_a_place(key: str, secretive: str) -> None:
    """A place for packages or tokens is no URL of another kind, and is not repeated if it is."""
    assert "hunter2" not in refusal(f"{key}={secretive}")


@pytest.mark.parametrize("secretive", SECRETIVE)
@pytest.mark.parametrize(
    "key", ["server.port", "server.roots", "log.format", "google.id_token.allowed_domains"]
)
def test_a_secret_elsewhere(key: str, secretive: str) -> None:
    """A URL with a secret in it that stands in a wrong setting is not repeated, either."""
    assert "hunter2" not in refusal("google.id_token.audience=a", f"{key}={secretive}")


@pytest.mark.parametrize("secretive", SECRETIVE)
def test_a_secret_for_a_name(secretive: str) -> None:
    """A URL with a secret in it that stands for the name of a setting is not repeated."""
    assert "hunter2" not in refusal(f"{secretive}=hunter2")


@pytest.mark.parametrize("key", ["google.id_token", "iap", "trusted_publishing"])
def test_a_secret_in_an_audience(key: str) -> None:
    """An audience that is a URL has no password in it, because it is told to everybody."""
    assert "hunter2" not in refusal(f"{key}.audience={SECRETIVE[0]}")


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
@pytest.mark.parametrize("key", URLS)
def test_a_port_that_cannot_be(key: str, port: str) -> None:
    """A URL with a port that no host has is refused, and said."""
    told = refusal(f"{key}=http://127.0.0.1:{port}")

    assert f"'http://127.0.0.1:{port}'" in told


def test_a_trusted_host_with_such_a_port() -> None:
    """A trusted host with a port that no host has would never be asked for, and is refused."""
    assert "'a.com:65536' is no host" in refusal("access.trusted_hosts=a.com:65536")


def test_what_is_no_secret() -> None:
    """An @ in the path of a URL, or in a folder, is nobody's password."""
    flags = ("server.public_url=https://a.com:65535/@team", "store.location=./a@b?")

    settings = read_settings(environ={}, flags=flags).settings

    assert settings.base_url == "https://a.com:65535/@team"
    assert settings.store.location == "./a@b?"


@pytest.mark.integration
@pytest.mark.parametrize("command", [["config", "check"], ["serve", "--port", "0"]])
def test_no_command_shows_it(typed: Typed, command: list[str]) -> None:
    """Neither a check of the settings nor a server prints the password of a public URL."""
    done = typed(*command, WHEELYARD_PUBLIC_URL=SECRETIVE[0])

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "[server] public_url: expected no name and no password before the host" in line
    assert "hunter2" not in line
