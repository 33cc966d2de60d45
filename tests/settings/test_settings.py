"""Where settings come from, and what follows from them."""

import re
from pathlib import Path

import pytest

from tests.settings.written import settings_of
from wheelyard.errors import Invalid
from wheelyard.settings.reading import google_endpoints, read_settings, unknown_variables
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.trust.endpoints import GoogleEndpoints


def test_defaults() -> None:
    """Without any configuration the index is on loopback, open to readers, in one folder."""
    settings = read_settings(environ={}).settings

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.store.location == "./wheelyard-data"
    assert not settings.access.private
    assert settings.index_url == "http://127.0.0.1:8080/simple/"


def test_port_of_the_platform() -> None:
    """`$PORT` sets the port, and leaves the host as it is."""
    server = read_settings(environ={"PORT": "3333"}).settings.server

    assert (server.host, server.port) == ("127.0.0.1", 3333)


def test_tokens_are_not_shown() -> None:
    """Whoever prints the settings does not print the tokens in them."""
    environ = {"WHEELYARD_METRICS_TOKEN": "open-sesame", "WHEELYARD_STATIC_TOKEN": "sesame-" * 3}

    settings = read_settings(environ=environ).settings

    assert settings.access.metrics_token == "open-sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - what is being tested
        ("::", False),
        ("192.0.2.1", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, *, is_loopback: bool) -> None:
    """Only an address of the machine itself counts as one that nobody else can reach."""
    assert ServerSettings(host=host).is_loopback is is_loopback


def test_empty_variables() -> None:
    """A variable that is there and empty is as good as none."""
    names = ("PORT", "HOST", "WORKERS", "STORE", "PRIVATE", "PUBLIC_URL", "PATH_PREFIX", "CONFIG")
    of_buckets = ("FILES", "DOWNLOADS", "METRICS_TOKEN")
    of_access = ("TRUSTED_HOSTS", "HTPASSWD_FILE", "ID_TOKEN_AUDIENCE", "CREDENTIALS_STORE")
    every = (*names, *of_buckets, *of_access)
    environ = {"PORT": "", **{f"WHEELYARD_{name}": "" for name in every}}

    assert read_settings(environ=environ).settings == Settings()
    environ["PORT"] = "3333"
    assert read_settings(environ=environ).settings.server.port == 3333


def test_public_url_with_more_than_the_prefix(tmp_path: Path) -> None:
    """A proxy may put more before the path than it passes on."""
    text = '[server]\npath_prefix = "team"\npublic_url = "https://example.com/a/team/"'

    assert settings_of(text, tmp_path).base_url == "https://example.com/a/team"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - what is being tested
def test_urls_for_every_address(host: str) -> None:
    """A server on every address of the machine prints one of them in its URLs."""
    settings = Settings(server=ServerSettings(host=host))

    assert settings.index_url == "http://127.0.0.1:8080/simple/"


def test_a_named_file_is_there(tmp_path: Path) -> None:
    """A file that was asked for by name has to be there."""
    with pytest.raises(Invalid):
        read_settings(file=tmp_path / "none.toml", environ={})


def test_prefix_and_public_url(tmp_path: Path) -> None:
    """The install commands name the public URL where there is one."""
    text = '[server]\npath_prefix = "packages/"\npublic_url = "https://example.com/packages/"'

    settings = settings_of(text, tmp_path)

    assert settings.server.path_prefix == "/packages"
    assert settings.index_url == "https://example.com/packages/simple/"


def test_typing_errors_in_variables() -> None:
    """A `WHEELYARD_` variable that is no setting is found out."""
    assert unknown_variables({"WHEELYARD_STOER": "x", "WHEELYARD_STORE": "y"}) == [
        "WHEELYARD_STOER"
    ]


def test_where_google_is() -> None:
    """Google is asked at Google's own URLs, and only a test puts a server in its place."""
    stand_in = {"WHEELYARD_GOOGLE_STAND_IN": "http://127.0.0.1:1"}

    assert google_endpoints({}) == GoogleEndpoints()
    assert google_endpoints(stand_in).tokeninfo == "http://127.0.0.1:1/tokeninfo"
    assert unknown_variables(stand_in) == []


def test_files_beside_the_file(tmp_path: Path) -> None:
    """A file that the settings name is looked for beside them, one on the command line is not."""
    text = '[access]\nhtpasswd_file = "users"\nstatic_tokens_file = "/etc/tokens.toml"'
    access = settings_of(text, tmp_path).access
    assert access.htpasswd_file == str(tmp_path / "users")
    assert access.static_tokens_file == "/etc/tokens.toml"

    file, overrides = tmp_path / "wheelyard.toml", {"access": {"htpasswd_file": "users"}}
    settings = read_settings(file=file, overrides=overrides, environ={}).settings

    assert settings.access.htpasswd_file == "users"


def test_defaults_of_a_command(tmp_path: Path) -> None:
    """What a command has for defaults is beaten by the file, and by everything that beats it."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[server]\nport = 1\n")
    defaults = {"server": {"port": 2, "host": "::1"}}

    server = read_settings(file=file, environ={}, defaults=defaults).settings.server

    assert (server.port, server.host) == (1, "::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what is being tested
def test_uploads_by_anybody(tmp_path: Path, host: str) -> None:
    """Anybody may publish on this machine, and beyond it where that is said a second time."""
    more = "" if host == "127.0.0.1" else "anonymous_uploads_anywhere = true\n"
    text = f'[access]\nanonymous_uploads = true\n{more}[server]\nhost = "{host}"'

    assert settings_of(text, tmp_path).access.anonymous_uploads


@pytest.mark.parametrize("host", ["packages.example.com", "Packages.example.com:8443"])
def test_trusted_hosts_and_public_url(tmp_path: Path, host: str) -> None:
    """The host of the public URL is among the trusted ones, with its port or without."""
    url = "https://packages.example.com:8443/team"
    text = f'[access]\ntrusted_hosts = ["{host}"]\n[server]\npublic_url = "{url}"'

    assert settings_of(text, tmp_path).access.trusted_hosts == (host,)


def test_documented_examples(tmp_path: Path) -> None:
    """Every example of docs/settings.md is one that a server starts with."""
    page = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)

    assert len(examples) > 3
    for example in examples:
        settings_of(example, tmp_path)
