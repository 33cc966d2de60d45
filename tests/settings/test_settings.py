"""The sources of settings, and settings derived from others."""

import re
import tomllib
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from tests.index_tables import split
from tests.settings.written import settings_of, variables_of
from wheelyard.authentication.verifiers.google_endpoints import GoogleEndpoints
from wheelyard.errors import Invalid
from wheelyard.model.index_file import read_tables
from wheelyard.settings.load import (
    google_endpoints,
    load_settings,
    settings_without_effect,
    unknown_variables,
)
from wheelyard.settings.sections import ServerSettings, Settings

WHOLE: Final = '[access]\nprivate = true\nstatic_token = "hunter2hunter2"\n'
ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - what is being tested


def read(*given: str, **environ: str) -> Settings:
    """Return the settings of variables, some of them given as `section.key=value`."""
    return load_settings(environ=variables_of(*given) | environ).settings


def test_the_default_is_loopback_and_open_to_readers() -> None:
    """Without any configuration the index is on loopback, open to readers, in one folder."""
    settings = read()

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.store.location == "./wheelyard-data"
    assert not settings.access.private
    assert settings.index_url == "http://127.0.0.1:8080/simple/"
    for host in ANYWHERE:  # one of the machine's addresses is in URLs
        assert read(f"server.host={host}").index_url == settings.index_url


def test_tokens_are_not_shown() -> None:
    """The printed settings do not contain tokens."""
    settings = read(
        WHEELYARD_ACCESS_METRICS_TOKEN="open-sesame", WHEELYARD_ACCESS_STATIC_TOKEN="sesame-" * 3
    )

    assert settings.access.metrics_token == "open-sesame"
    assert "sesame" not in repr(settings)


def test_only_loopback_addresses_are_local() -> None:
    """Only loopback addresses count as local."""
    assert all(ServerSettings(host=host).is_loopback for host in ("127.1.2.3", "::1", "localhost"))
    others = (*ANYWHERE, "192.0.2.1", "example.com")
    assert not any(ServerSettings(host=other).is_loopback for other in others)


def test_an_empty_variable_is_none() -> None:
    """A variable that is there and empty is as good as none."""
    names = ("SERVER_HOST", "STORE", "ACCESS_PRIVATE", "CONFIG", "ACCESS_TRUSTED_HOSTS")
    environ = {"PORT": "", **{f"WHEELYARD_{name}": "" for name in names}}

    assert read(**environ) == Settings()
    assert read(**environ | {"PORT": "3333"}).server.port == 3333


def test_variables_of_platforms_are_defaults() -> None:
    """A platform's variable counts where the server's own is not set."""
    environ = {"PORT": "80", "GOOGLE_CLOUD_PROJECT": "acme"}
    settings = read(**environ)
    assert (settings.server.port, settings.log.project) == (80, "acme")

    settings = read(**environ, WHEELYARD_SERVER_PORT="81", WHEELYARD_LOG_PROJECT="other")

    assert (settings.server.port, settings.log.project) == (81, "other")


@pytest.mark.parametrize(
    ("names", "section"),
    [
        ("HOST PORT WORKERS PUBLIC_URL PATH_PREFIX TRUSTED_PROXIES", "SERVER"),
        ("FILES DOWNLOADS", "STORE"),
        ("PRIVATE PRIVATE_NAMES TRUSTED_HOSTS HTPASSWD_FILE STATIC_TOKENS_FILE", "ACCESS"),
        ("METRICS_TOKEN STATIC_TOKEN CREDENTIALS_STORE REQUIRE_HTTPS COOKIE_LOGIN", "ACCESS"),
        ("PUBLISHING_AUDIENCE", "TRUSTED"),
        ("ID_TOKEN_AUDIENCE ACCESS_TOKEN_RESOURCE", "GOOGLE"),
        ("ALLOWED_DOMAINS", "GOOGLE_ID_TOKEN"),
        ("STORE_LOCATION", ""),
    ],
)
def test_an_earlier_name_of_a_variable_stops_the_start(names: str, section: str) -> None:
    """An earlier name stops the start, and the message has the name of today; no value is shown."""
    for name in names.split():
        new = f"WHEELYARD_{section}_{name}" if section else "WHEELYARD_STORE"
        words = f"WHEELYARD_{name} is no setting; there is {new}. Correct the name"
        with pytest.raises(Invalid, match=words) as caught:
            read(**{f"WHEELYARD_{name}": "hunter2"})
        assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("google.id_token", "keys_url"),
        ("google.access_token", "storage_url"),
        ("google.access_token", "tokeninfo_url"),
        ("iap", "keys_url"),
        ("web", "remote_images"),
        ("notifications", "webhook"),
    ],
)
def test_a_removed_setting_says_so(section: str, key: str) -> None:
    """A setting that a version has removed stops the start, and the message says that it was."""
    with pytest.raises(Invalid, match=f"{section}.{key}: it was removed"):
        read(WHEELYARD_TOML=f'[{section}]\n{key} = "hunter2"')
    variable = f"WHEELYARD_{section}_{key}".replace(".", "_").upper()
    with pytest.raises(Invalid, match=f"{variable}: it was removed") as caught:
        read(**{variable: "hunter2"})
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("web", "pictures"),
        ("notifications", "mail_to"),
        ("notifications", "mail_from"),
        ("notifications", "smtp_host"),
        ("notifications", "smtp_security"),
        ("notifications", "smtp_username"),
        ("notifications", "smtp_password"),
    ],
)
def test_a_removed_setting_that_protected_nobody_has_no_effect(section: str, key: str) -> None:
    """A removed setting without which nobody may do more is not read, and a sentence says so."""
    variable = f"WHEELYARD_{section}_{key}".upper()
    for source, text in (("WHEELYARD_TOML", f'[{section}]\n{key} = "hunter2"'), (variable, "x")):
        loaded = load_settings(environ={source: text})
        assert loaded.settings == Settings()
        (said,) = settings_without_effect(loaded.sources)
        assert said.startswith(f"{section}.{key}, from {source}: it was removed")


def test_settings_of_messages_name_what_takes_their_place() -> None:
    """Who had messages sent to a webhook, or by mail, is told to make a `[[webhook]]`."""
    words = r'a \[\[webhook\]\] with events = \["package_requested"\] \(docs/webhooks.md\)'
    with pytest.raises(Invalid, match=words):
        read(WHEELYARD_NOTIFICATIONS_WEBHOOK="https://a.example/hunter2")
    loaded = load_settings(environ={"WHEELYARD_NOTIFICATIONS_MAIL_TO": "ana@acme.dev"})
    (said,) = settings_without_effect(loaded.sources)
    assert re.search(words, said)
    words = "notifications.allow_private_networks: it is webhooks.allow_private_networks now"
    with pytest.raises(Invalid, match=words):
        read(WHEELYARD_TOML='[notifications]\nallow_private_networks = ["10.0.0.0/8"]')


def test_the_earlier_setting_of_passwords_names_the_new_one() -> None:
    """Who has `htpasswd_may_manage` is told what to write now."""
    with pytest.raises(Invalid, match=r'it is access.htpasswd_may now, such as \["read", "upload"'):
        read(WHEELYARD_TOML="[access]\nhtpasswd_may_manage = true")
    with pytest.raises(Invalid, match="WHEELYARD_ACCESS_HTPASSWD_MAY_MANAGE: it is access"):
        read(WHEELYARD_ACCESS_HTPASSWD_MAY_MANAGE="1")


def test_variables_of_others_stop_no_server() -> None:
    """Variables of clients, of commands and of Kubernetes' Services stop no server."""
    names = "TOKEN URL KEYRING_HOSTS IMPORT_USERNAME SERVICE_HOST SERVICE_PORT SERVICE_PORT_HTTP "
    names += "PORT_80_TCP PORT_80_TCP_ADDR WEB_SERVICE_HOST WEB_PORT_80_TCP_PROTO"
    for name in names.split():
        assert read(**{f"WHEELYARD_{name}": "80"}) == Settings()
    for name in ("PORT", "WEB_PORT"):
        assert read(**{f"WHEELYARD_{name}": "tcp://10.0.0.1:80"}) == Settings()


@pytest.mark.parametrize(
    "name",
    ["PRIVAT", "WEB_PORT", "SERVICE", "SERVICE_HOSTS", "PORT_TCP", "UPSTREAM_PASSWORT", "TOKENS"],
)
def test_a_misspelt_variable_stops_a_server(name: str) -> None:
    """A variable that nobody but a misspelling makes stops a server, with its name."""
    with pytest.raises(Invalid, match=f"WHEELYARD_{name} is no setting"):
        read(**{f"WHEELYARD_{name}": "1"})
    assert read(**{f"WHEELYARD_{name}": ""}) == Settings()  # counts as unset


def test_the_port_of_a_kubernetes_service_is_ignored() -> None:
    """Beside a Service that is called wheelyard, the port is that of the platform or the usual."""
    url = "tcp://10.0.0.1:80"

    assert read(WHEELYARD_SERVER_PORT=url).server.port == 8080
    assert read(WHEELYARD_SERVER_PORT=url, PORT="3333").server.port == 3333


def test_only_a_test_replaces_google() -> None:
    """Google is asked at Google's own URLs, and only a test puts a server in its place."""
    stand_in = {"WHEELYARD_GOOGLE_STAND_IN": "http://127.0.0.1:1"}

    assert google_endpoints({}) == GoogleEndpoints()
    assert google_endpoints(stand_in).tokeninfo == "http://127.0.0.1:1/tokeninfo"
    assert unknown_variables(stand_in) == []
    with pytest.raises(Invalid, match="is for tests"):
        google_endpoints({"WHEELYARD_GOOGLE_STAND_IN": "https://google.example"})


def test_the_public_url_is_in_install_commands() -> None:
    """The public URL is the one of the install commands; a proxy may put more before the path."""
    flags = ("server.path_prefix=packages/", "server.public_url=https://example.com/a/packages/")

    settings = read(*flags)

    assert settings.server.path_prefix == "/packages"
    assert settings.index_url == "https://example.com/a/packages/simple/"
    url = "server.public_url=https://packages.example.com:8443/team"
    for host in ("packages.example.com", "Packages.example.com:8443"):  # a trusted host
        assert read(url, f"access.trusted_hosts={host}").access.trusted_hosts == (host,)


def test_files_are_looked_for_beside_the_settings(tmp_path: Path) -> None:
    """A file that the settings name is looked for beside them, one on the command line is not."""
    text = '[access]\nhtpasswd_file = "users"\nstatic_tokens_file = "/etc/tokens.toml"\n'
    loaded = settings_of(text + '[server]\ncertificate = "a.pem"\nkey = "b.pem"', tmp_path)
    access = loaded.access
    assert (loaded.server.certificate, loaded.server.key) == (
        str(tmp_path / "a.pem"),
        str(tmp_path / "b.pem"),
    )
    assert access.htpasswd_file == str(tmp_path / "users")
    assert access.static_tokens_file == "/etc/tokens.toml"

    file, overrides = tmp_path / "wheelyard.toml", {"access": {"htpasswd_file": "users"}}
    settings = load_settings(file=file, overrides=overrides, environ={}).settings

    assert settings.access.htpasswd_file == "users"


def test_defaults_of_a_command_are_beaten_by_the_file(tmp_path: Path) -> None:
    """What a command has for defaults is beaten by the file, and by everything that beats it."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[server]\nport = 1\n", encoding="utf-8-sig")  # as editors on Windows do
    defaults = {"server": {"port": 2, "host": "::1"}}

    server = load_settings(file=file, environ={}, defaults=defaults).settings.server

    assert (server.port, server.host) == (1, "::1")


def test_uploads_by_anybody() -> None:
    """Anybody may publish on this machine, and beyond it where that is said a second time."""
    more = (f"server.host={ANYWHERE[0]}", "access.anonymous_uploads_anywhere=true")

    assert read("access.anonymous_uploads=true").access.anonymous_uploads
    assert read("access.anonymous_uploads=true", *more).access.anonymous_uploads


def test_every_documented_example_is_valid(tmp_path: Path) -> None:
    """Every example of the pages about settings and providers is one that a server takes."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    for page in (docs / "settings.md", *docs.glob("providers/*.md")):
        examples = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)

        assert examples
        for example in examples:
            settings, index = split(dedent(example))
            settings_of(settings, tmp_path)
            read_tables(tomllib.loads(index), ())


def test_a_file_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WHEELYARD_TOML is read in the file's place, and files that it names from where one is."""
    monkeypatch.chdir(tmp_path)
    Path("wheelyard.toml").write_text("[server]\nport = 1\n")
    environ = {"WHEELYARD_TOML": f'{WHOLE}htpasswd_file = "users"', "WHEELYARD_ACCESS_PRIVATE": "0"}

    reading = load_settings(environ=environ)

    access = reading.settings.access
    assert reading.settings.server.port == 8080
    assert (access.htpasswd_file, access.static_token) == ("users", "hunter2hunter2")
    assert not access.private
    assert reading.sources["access", "htpasswd_file"] == "WHEELYARD_TOML"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[access]\nstatic_token = "hunter2', "WHEELYARD_TOML cannot be read: "),
        ('[access]\nstatic_token = ["hunter2"]', "access.static_token: expected text."),
        ("port = 1", "there is no 'port', but server, "),
    ],
)
def test_nonsense_in_a_variable(text: str, words: str) -> None:
    """A WHEELYARD_TOML that makes no sense stops the start in one line, without a secret."""
    with pytest.raises(Invalid) as caught:
        load_settings(environ={"WHEELYARD_TOML": text})

    assert words in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("file", [None, Path("none.toml")])
def test_two_places_for_a_file(file: Path | None) -> None:
    """WHEELYARD_TOML together with the path of a settings file stops the start."""
    environ = {"WHEELYARD_TOML": WHOLE, "WHEELYARD_CONFIG": "" if file else "none.toml"}

    with pytest.raises(Invalid, match="both say where the settings are"):
        load_settings(file=file, environ=environ)
    with pytest.raises(Invalid, match=r"none\.toml cannot be read: No such file"):
        load_settings(file=Path("none.toml"), environ={})
