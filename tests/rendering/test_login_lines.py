"""The lines after a login; `tests/clients/test_login.py` runs them."""

import re

import pytest

from wheelyard.rendering.login_lines import StoredToken, login_lines

READING = {"pip", "uv", "Poetry"}
"""Clients that install, and do not find a token in a keyring by themselves."""
PUBLISHING = {"twine", "PDM", "Hatch", "Flit"}
"""Clients that publish, and read no netrc file."""

NOTHING = set[str]()
FROM_KEYRING = {"keyring get https://packages.acme.dev/simple/ __token__"}
FROM_NETRC = {"sed -n 's/^machine packages.acme.dev login __token__ password //p' ~/.netrc"}


@pytest.mark.parametrize(
    ("netrc", "may_upload", "clients", "token"),
    [
        ("~/.netrc", False, set(), NOTHING),
        ("~/.netrc", True, PUBLISHING, FROM_NETRC),
        ("", False, READING, FROM_KEYRING),
        ("", True, {*READING, "Hatch"}, FROM_KEYRING),
    ],
)
def test_a_client_that_does_not_find_the_token_has_a_command(
    netrc: str, clients: set[str], token: set[str], *, may_upload: bool
) -> None:
    """A client that does not find the token has a command that reads it, and no other one has."""
    host = "packages.acme.dev"
    stored = StoredToken(root=f"https://{host}", host=host, netrc=netrc, may_upload=may_upload)

    lines = "\n".join(login_lines(stored))

    assert set(re.findall(r"^  (\w+) +\S", lines, re.MULTILINE)) == clients
    assert set(re.findall(r"keyring get \S+ __token__|sed -n .* ~/\S+?(?=\))", lines)) == token
