"""What may stand after `--set` and in WHEELYARD_TOML, and what is said where it makes no sense."""

from pathlib import Path
from typing import Final

import pytest

from wheelyard.errors import Invalid
from wheelyard.settings.reading import Reading, ignored, read_settings

GRANT: Final = 'grant=[{who=["domain:acme.dev"], projects=["*"], actions=["read"]}]'
WHOLE: Final = '[access]\nprivate = true\nstatic_token = "hunter2hunter2"\n'


def flagged(*flags: str, **overrides: object) -> Reading:
    """Read settings of `--set`, and of options for `[server]`."""
    return read_settings(overrides={"server": overrides}, environ={}, flags=flags)


def test_values() -> None:
    """What stands after --set is TOML if it is, and else a text; a list may have commas."""
    settings = flagged(
        "server.public_url=https://packages.example.com",
        "http.page_cache=0x20",
        "access.trusted_hosts=packages.example.com, b",
        'server.roots=["acme"]',
        'server.host="::1"',
        "log.project=123",
        GRANT,
    ).settings

    assert settings.server.public_url == "https://packages.example.com"
    assert settings.http.page_cache == 32
    assert settings.access.trusted_hosts == ("packages.example.com", "b")
    assert (settings.server.roots, settings.server.host) == (("acme",), "::1")
    assert settings.log.project == "123"
    assert str(settings.grants.every[0].number) == "1"


def test_empty_values() -> None:
    """An empty value after --set is the empty one, whatever the environment says."""
    environ = {"WHEELYARD_TRUSTED_HOSTS": "a", "WHEELYARD_PATH_PREFIX": "/a"}
    flags = ("access.trusted_hosts=", "server.path_prefix=")

    settings = read_settings(environ=environ, flags=flags).settings

    assert (settings.access.trusted_hosts, settings.server.path_prefix) == ((), "")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("server.prot=1", "--set 'server.prot': [server] has no setting 'prot'. It has host, port"),
        ("server.prot=1", "; perhaps port is meant."),
        ("servr.port=1", "; perhaps [server] is meant."),
        ("page_cache=1", "'page_cache' is no section. [http] has a setting of that name."),
        ("server.private=1", "; [access] has one of that name."),
        ("server=1", "[server] is a section. Say which of its settings: host, port, workers"),
        ("google.id_token=1", "[google.id_token] is a section. Say which of its settings: audie"),
        ("server.port.x=1", "[server] port has no settings in it."),
        ("server.port=many", "from 0 to 65535, and found 'many' (--set server.port)."),
        ("server.port=", "from 0 to 65535, and found '' (--set server.port)."),
        ("server.roots=[1]", "[server] roots: expected a list of texts (--set server.roots)."),
        ("grant=all", "--set grant: expected a list of tables as TOML, such as grant=[{...}]."),
        ("=1", "there is no section ''."),
        (".=1", "there is no section ''."),
        ("server.\nport=1\n[x]\ny=1", "expected a number from 0 to 65535, and found"),
        ("grant.who=1", "[[grant]] has no settings in it."),
    ],
)
def test_what_is_no_setting(flag: str, words: str) -> None:
    """A --set that names or holds nothing that can be is told in one line, with what there is."""
    with pytest.raises(Invalid) as caught:
        flagged(flag)

    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(
    "flag",
    ["access.metrics_token=hunter2", "access.static_token=hunter2", "hunter2", "access.x=hunter2"],
)
def test_secrets_are_not_for_a_command_line(flag: str) -> None:
    """A secret after --set is refused, and no message repeats it."""
    with pytest.raises(Invalid) as caught:
        flagged(flag)

    assert "hunter2" not in caught.value.message
    if flag.endswith("_token=hunter2"):
        variable = f"WHEELYARD_{flag.partition('.')[2].partition('=')[0].upper()}"
        assert f"Set {variable} instead" in caught.value.message


@pytest.mark.parametrize("flags", [("server.port=82",), ("server.port=81", "server.port=82")])
def test_two_options_for_one_setting(flags: tuple[str, ...]) -> None:
    """Of two options for one setting the last one counts, and --set comes after the others."""
    reading = flagged(*flags, port=80)

    assert reading.settings.server.port == 82
    assert reading.sources["server", "port"] == "--set server.port"


def test_a_file_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WHEELYARD_TOML is read in the file's place, and files that it names from where one is."""
    monkeypatch.chdir(tmp_path)
    Path("wheelyard.toml").write_text("[server]\nport = 1\n")
    environ = {"WHEELYARD_TOML": f'{WHOLE}htpasswd_file = "users"', "WHEELYARD_PRIVATE": "0"}

    reading = read_settings(environ=environ)

    access = reading.settings.access
    assert reading.settings.server.port == 8080
    assert (access.htpasswd_file, access.static_token) == ("users", "hunter2hunter2")
    assert not access.private
    assert reading.sources["access", "htpasswd_file"] == "WHEELYARD_TOML"
    assert list(ignored(environ)) == [
        "wheelyard.toml in this folder is not read, because WHEELYARD_TOML is set"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\nport = 1", "WHEELYARD_TOML cannot be read: "),
        ('[access]\nstatic_token = "hunter2', "WHEELYARD_TOML cannot be read: "),
        ('[access]\nstatic_token = ["hunter2"]', "[access] static_token: expected text."),
        ("[server]\nprot = 1", "[server] has no setting 'prot'."),
        ("[grant]", "'grant' is written in double brackets"),
        ("port = 1", "'port' stands in no section."),
    ],
)
def test_nonsense_in_a_variable(text: str, words: str) -> None:
    """A WHEELYARD_TOML that makes no sense stops the start in one line, without a secret."""
    with pytest.raises(Invalid) as caught:
        read_settings(environ={"WHEELYARD_TOML": text})

    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("file", [None, Path("other.toml")])
def test_two_places_for_a_file(file: Path | None) -> None:
    """WHEELYARD_TOML beside a file that somebody has named is a contradiction, and stops."""
    environ = {"WHEELYARD_TOML": WHOLE, "WHEELYARD_CONFIG": "" if file else "other.toml"}

    with pytest.raises(Invalid, match="both say where the settings are"):
        read_settings(file=file, environ=environ)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WHEELYARD_STOER", "WHEELYARD_STORE"),
        ("WHEELYARD_PRIVAT", "WHEELYARD_PRIVATE"),
        ("WHEELYARD_GRANT", "WHEELYARD_TOML"),
        ("WHEELYARD_CONFG", "WHEELYARD_CONFIG"),
        ("WHEELYARD_UPLOADS_MAX_FILESIZE", "WHEELYARD_UPLOADS_MAX_FILE_SIZE"),
        ("WHEELYARD_QQQQQQQ", ""),
        ("WHEELYARD_FOO", ""),
    ],
)
def test_what_was_meant(name: str, meant: str) -> None:
    """A variable that is no setting is warned about, with the name that is nearest to it."""
    more = f"; did you mean {meant}?" if meant else ""

    assert list(ignored({name: "x"})) == [f"{name} is no setting and is ignored{more}"]


def test_a_variable_that_names_its_section() -> None:
    """A variable with a short name has the long one as well; the short one counts."""
    environ = {"WHEELYARD_ACCESS_PRIVATE": "true"}
    assert read_settings(environ=environ).settings.access.private
    assert list(ignored(environ)) == []

    environ["WHEELYARD_PRIVATE"] = "false"

    assert not read_settings(environ=environ).settings.access.private


def test_variables_of_a_platform() -> None:
    """GOOGLE_CLOUD_PROJECT is the project of the log, unless WHEELYARD_LOG_PROJECT names one."""
    environ = {"GOOGLE_CLOUD_PROJECT": "acme"}
    assert read_settings(environ=environ).settings.log.project == "acme"

    environ["WHEELYARD_LOG_PROJECT"] = "other"

    assert read_settings(environ=environ).settings.log.project == "other"


def test_a_mark_at_the_beginning(tmp_path: Path) -> None:
    """A file as editors on Windows write it, with a byte order mark, is read as any other."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[http]\npage_cache = 7\n", encoding="utf-8-sig")

    assert read_settings(file=file, environ={}).settings.http.page_cache == 7


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics/", "/otlp/v1/traces"])
def test_an_endpoint_of_one_signal(path: str) -> None:
    """A collector's URL with the path of one signal would be asked at that path twice."""
    flag = f"telemetry.otlp_endpoint=http://127.0.0.1:4318{path}"

    with pytest.raises(Invalid, match="without /v1/traces"):
        read_settings(environ={}, flags=[flag])
