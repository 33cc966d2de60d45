"""What the settings of pip and uv say, without a request."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from wheelyard.doctor.installed_clients import ConfiguredClients, Machine
from wheelyard.http_client.urls import UserPassword


@pytest.mark.parametrize(("user", "sent"), [("ana", "ana"), ("", "__token__")])
def test_the_user_of_a_password_in_a_variable(tmp_path: Path, user: str, sent: str) -> None:
    """The password of an index of uv in a variable is sent with the user beside it, if any."""
    environ = {"UV_INDEX": "acme=https://packages.acme.dev/simple/"}
    environ |= {"UV_INDEX_ACME_PASSWORD": "secret", "UV_INDEX_ACME_USERNAME": user}

    (index,) = ConfiguredClients(Machine(environ, tmp_path, tmp_path, tmp_path)).indexes

    assert index.login == UserPassword(sent, "secret")


def test_uv_toml_of_a_project_counts_before_its_pyproject(tmp_path: Path) -> None:
    """Beside a uv.toml, uv asks no index of pyproject.toml, and of no folder further up."""
    project = tmp_path / "project"
    project.mkdir()
    tables = '[[tool.uv.index]]\nurl = "https://pyproject.acme.dev/"\n'
    for folder in (project, tmp_path):
        (folder / "pyproject.toml").write_text(tables)
    (project / "uv.toml").write_text('[[index]]\nurl = "https://uv.acme.dev/"\n')

    (index,) = ConfiguredClients(Machine({}, tmp_path, project, tmp_path)).indexes

    assert index.url is not None
    assert index.url.host == "uv.acme.dev"


def test_a_pyproject_without_uv_hides_none_further_up(tmp_path: Path) -> None:
    """A pyproject.toml that says nothing of uv leaves the one of a folder further up to count."""
    member = tmp_path / "member"
    member.mkdir()
    (member / "pyproject.toml").write_text('[project]\nname = "member"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nindex-url = "https://up.acme.dev/"\n')

    (index,) = ConfiguredClients(Machine({}, tmp_path / "home", member, tmp_path)).indexes

    assert index.source == str(tmp_path / "pyproject.toml")


@pytest.mark.parametrize(
    ("environ", "sources"),
    [({}, ["pip.conf"]), ({"PIP_CONFIG_FILE": "/dev/null"}, [])],
    ids=["its file", "no file"],
)
def test_pip_can_be_told_to_read_no_file(
    tmp_path: Path, environ: Mapping[str, str], sources: list[str]
) -> None:
    """Where a variable tells pip to read no file, the index of a file is not one that it asks."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://packages.acme.dev/\n")

    indexes = ConfiguredClients(Machine(environ, tmp_path, tmp_path, tmp_path)).indexes

    assert [Path(index.source).name for index in indexes] == sources


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("", "")),
        ({"SSL_CERT_FILE": "/ssl.pem"}, ("/ssl.pem", "$SSL_CERT_FILE")),
        (
            {"SSL_CERT_FILE": "/ssl.pem", "REQUESTS_CA_BUNDLE": "/requests.pem"},
            ("/requests.pem", "$REQUESTS_CA_BUNDLE"),
        ),
        (
            {"REQUESTS_CA_BUNDLE": "/requests.pem", "PIP_CERT": "/pip.pem"},
            ("/pip.pem", "$PIP_CERT"),
        ),
    ],
    ids=["none", "a variable", "two variables", "a setting of pip"],
)
def test_the_strongest_setting_has_the_authorities(
    tmp_path: Path, environ: Mapping[str, str], expected: tuple[str, str]
) -> None:
    """The file of authorities is the one that pip takes, with the setting that names it."""
    clients = ConfiguredClients(Machine(environ, tmp_path, tmp_path, tmp_path))

    assert clients.authorities() == expected


@pytest.mark.parametrize("name", ["pip.conf", "project/pyproject.toml", "uv/uv.toml"])
def test_settings_that_nobody_can_read_are_told(tmp_path: Path, name: str) -> None:
    """Settings of pip or uv that are a folder, or malformed, are told, and the others are read."""
    project = tmp_path / "project"
    (project / "pip").mkdir(parents=True)
    machine = Machine({}, tmp_path / "home", project, tmp_path)
    (tmp_path / name).mkdir(parents=True)
    of_folder = ConfiguredClients(machine)
    (tmp_path / name).rmdir()
    (tmp_path / name).write_text("[secret")
    malformed = ConfiguredClients(machine)

    assert of_folder.problems == [f"{tmp_path / name} cannot be read: Is a directory"]
    assert malformed.problems == [f"{tmp_path / name} is malformed"]
