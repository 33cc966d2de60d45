"""What the settings of pip and uv say, without a request."""

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
