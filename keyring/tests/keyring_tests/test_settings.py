"""The user's settings and the places that they come from."""

from pathlib import Path

import pytest

from keyring_tests.harness import INDEX_TOKEN
from wheelyard_keyring.hosts import AllowedHost
from wheelyard_keyring.settings import FILE, BadSettingError, Settings, load_settings

ACME = frozenset({AllowedHost("pypi.acme.dev", None)})
BOTH = frozenset({AllowedHost("pypi.acme.dev", None), AllowedHost("localhost", 8080)})


def written(home: Path, text: str) -> Path:
    """Write the settings file; returns the home directory."""
    (home / FILE).parent.mkdir(parents=True, exist_ok=True)
    (home / FILE).write_text(text)
    return home


def test_nothing(tmp_path: Path) -> None:
    """Without settings there is no host on the list."""
    assert load_settings({}, tmp_path).hosts == frozenset()


def test_file(tmp_path: Path) -> None:
    """The file has the hosts, a command, which token to take, and for whom it is."""
    home = written(
        tmp_path,
        'hosts = ["pypi.acme.dev", "localhost:8080"]\ncommand = ["vault", "read"]\n'
        'mode = "id_token"\naudience = "https://pypi.acme.dev"\n',
    )

    settings = load_settings({"PATH": "/bin"}, home)

    assert settings == Settings(
        hosts=BOTH,
        command=("vault", "read"),
        mode="id_token",
        audience="https://pypi.acme.dev",
        search_path="/bin",
        credentials_file=home / ".config" / "gcloud" / "application_default_credentials.json",
    )


def test_environment(tmp_path: Path) -> None:
    """The hosts in the environment replace those of the file, even by none at all."""
    home = written(tmp_path, 'hosts = ["old.acme.dev"]')
    variable = "WHEELYARD_KEYRING_HOSTS"

    assert load_settings({variable: " pypi.acme.dev , localhost:8080,"}, home).hosts == BOTH
    assert load_settings({variable: ""}, home).hosts == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "hosts = [",
        'hosts = "pypi.acme.dev"',
        "hosts = [1]",
        'hosts = ["*"]',
        'hosts = ["https://pypi.acme.dev/"]',
        'host = ["pypi.acme.dev"]',
        'command = "vault read"',
        'mode = "downscoped"',
        "mode = 1",
        'audience = ["a"]',
    ],
)
def test_misunderstood(tmp_path: Path, text: str) -> None:
    """A file that cannot be understood is refused as a whole."""
    home = written(tmp_path, text)

    with pytest.raises(BadSettingError):
        load_settings({}, home)


def test_bad_hosts(tmp_path: Path) -> None:
    """A pattern in the environment is refused, and the message tells where it stands."""
    with pytest.raises(BadSettingError, match="WHEELYARD_KEYRING_HOSTS"):
        load_settings({"WHEELYARD_KEYRING_HOSTS": "pypi.acme.dev,*.acme.dev"}, tmp_path)


def test_unreadable(tmp_path: Path) -> None:
    """A file that is not text is refused, not left aside."""
    written(tmp_path, "")
    (tmp_path / FILE).write_bytes(b"\xff\xfe")

    with pytest.raises(BadSettingError, match="cannot be read"):
        load_settings({}, tmp_path)


@pytest.mark.parametrize("home", ["", ".", "~", "relative"])
def test_no_home(home: str) -> None:
    """Without a home directory there is no file: the current folder is never looked at."""
    settings = load_settings({}, Path(home))

    assert settings.hosts == frozenset()
    assert settings.credentials_file is None


@pytest.mark.parametrize("name", ["GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"])
def test_relative_credentials(tmp_path: Path, name: str) -> None:
    """Credentials at a relative path are left aside: in each folder they could be another's."""
    assert load_settings({name: "adc.json"}, tmp_path).credentials_file is None


@pytest.mark.parametrize(
    "token", ["wyd_short", INDEX_TOKEN + "x", INDEX_TOKEN + "\n", INDEX_TOKEN.upper(), "ya29.x"]
)
def test_bad_token(tmp_path: Path, token: str) -> None:
    """WHEELYARD_TOKEN is used only if it has a token's shape."""
    settings = load_settings({"WHEELYARD_TOKEN": token}, tmp_path)

    assert settings.token == ""
    assert settings.has_bad_token


def test_no_secret_shown(tmp_path: Path) -> None:
    """The settings, printed, do not show the token."""
    settings = load_settings({"WHEELYARD_TOKEN": INDEX_TOKEN}, tmp_path)

    assert settings.token == INDEX_TOKEN
    assert INDEX_TOKEN not in repr(settings)
