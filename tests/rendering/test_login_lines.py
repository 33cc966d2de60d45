"""The lines after a login; `tests/clients/test_login.py` runs them."""

import re

import pytest

from wheelyard.rendering.login_lines import StoredToken, login_lines

READING = {"pip", "uv", "Poetry"}
"""Clients that install, and do not find a token in a keyring by themselves."""
PUBLISHING = {"twine", "PDM", "Hatch", "Flit"}
"""Clients that publish, and read no netrc file."""


@pytest.mark.parametrize(
    ("netrc", "may_upload", "clients"),
    [
        ("~/.netrc", False, set()),
        ("~/.netrc", True, PUBLISHING),
        ("", False, READING),
        ("", True, {*READING, "Hatch"}),
    ],
)
def test_a_client_that_does_not_find_the_token_has_a_command(
    netrc: str, clients: set[str], *, may_upload: bool
) -> None:
    """Each client that does not find the token by itself has a command, and no other one."""
    host = "packages.acme.dev"
    stored = StoredToken(root=f"https://{host}", host=host, netrc=netrc, may_upload=may_upload)

    lines = "\n".join(login_lines(stored))

    assert set(re.findall(r"^  (\w+) +\S", lines, re.MULTILINE)) == clients
