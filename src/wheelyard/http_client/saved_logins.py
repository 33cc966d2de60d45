"""
Logins that this machine has for servers: in a netrc file, and in a keyring.

A keyring is asked by its command `keyring`, as uv asks it, which works wherever it is installed:
beside wheelyard, or as a tool of its own.
"""

import subprocess
from collections.abc import Iterator, Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Final

from wheelyard.http_client.urls import Url, UserPassword

TOKEN_USER: Final = "__token__"  # noqa: S105 - the name of a user


def read_netrc(path: Path) -> dict[str, UserPassword]:
    """Return the netrc entries by host, without `default`; empty if missing or invalid."""
    try:
        hosts = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError):
        return {}
    return {
        host.lower(): UserPassword(entry[0], entry[2] or "")
        for host, entry in hosts.items()
        if host != "default"
    }


def ask_keyring(
    program: str, server: Url, environ: Mapping[str, str], seconds: float
) -> UserPassword | None:
    """
    Return what a keyring has for the URL of a server, as pip and twine ask, or for its host.

    Raise OSError if the program cannot be run, or does not answer within `seconds`: it may wait for
    somebody who unlocks it.
    """
    for arguments in _questions(server):
        try:
            asked = subprocess.run(  # noqa: S603 - as pip and uv do
                [program, *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        lines = asked.stdout.decode(errors="replace").splitlines()
        if asked.returncode == 0 and lines and lines[-1]:
            return UserPassword(lines[0] if len(lines) > 1 else TOKEN_USER, lines[-1])
    return None


def _questions(server: Url) -> Iterator[tuple[str, ...]]:
    user = server.login.username if server.login else ""
    yield "--mode", "creds", "get", server.redacted
    yield "get", server.redacted, user or TOKEN_USER
    yield "get", server.authority, user or TOKEN_USER
