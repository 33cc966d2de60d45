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
