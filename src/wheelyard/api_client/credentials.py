"""The credential for a server: from `WHEELYARD_TOKEN`, else a keyring, else a netrc file."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import pathsep
from pathlib import Path
from shutil import which
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.http_client.saved_logins import ask_keyring, read_netrc
from wheelyard.http_client.urls import Url, UserPassword

TOKEN_VARIABLE: Final = "WHEELYARD_TOKEN"  # noqa: S105 - the name of a variable
KEYRING_SECONDS: Final = 60.0
"""How long one question to a keyring may take, which may ask a person to unlock it."""


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """The value of an Authorization header, and where it was found."""

    header: str = field(repr=False)
    source: str
    """For messages: `WHEELYARD_TOKEN`, `the keyring`, or the path of a netrc file."""


def find_credential(server: Url, environ: Mapping[str, str]) -> ServerCredential | None:
    """Return the credential for a server, or None; raise Invalid for one that cannot be used."""
    token = environ.get(TOKEN_VARIABLE, "").strip()
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            message = f"{TOKEN_VARIABLE} has characters that no token has. Copy the token again."
            raise Invalid(message, code="bad_setting")
        return ServerCredential(f"Bearer {token}", TOKEN_VARIABLE)
    login = _from_keyring(server, environ)
    if login is not None:
        return ServerCredential(login.authorization, "the keyring")
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    login = read_netrc(path).get(server.host.strip("[]"))
    return None if login is None else ServerCredential(login.authorization, str(path))


def _from_keyring(server: Url, environ: Mapping[str, str]) -> UserPassword | None:
    beside = Path(sys.executable).parent
    program = which("keyring", path=f"{environ.get('PATH', '')}{pathsep}{beside}")
    if program is None:
        return None
    try:
        return ask_keyring(program, server, environ, KEYRING_SECONDS)
    except TimeoutError:
        raise Invalid(
            f"{program} does not answer within {KEYRING_SECONDS:.0f} seconds. Unlock your keyring, "
            f"or put a token into {TOKEN_VARIABLE}.",
            code="bad_setting",
        ) from None
