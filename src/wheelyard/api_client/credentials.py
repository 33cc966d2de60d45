"""The credential for a server: where it is from, and what of an answer may be shown beside it."""

import re
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import pathsep
from pathlib import Path
from shutil import which
from typing import Final
from urllib.parse import unquote

from msgspec import DecodeError
from msgspec.json import decode, encode

from wheelyard.errors import Invalid
from wheelyard.http_client.saved_logins import ask_keyring, read_netrc
from wheelyard.http_client.urls import Url, UserPassword
from wheelyard.model.decoding import escaped

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


HIDDEN: Final = "(not shown: it has your credential in it)"
MIN_FOLDED_CHARS: Final = 8
"""Secrets of so many letters and digits are found in any spelling; shorter ones may be words."""
PART_CHARS: Final = 16
"""So many letters and digits in a row of a secret are not shown; the id of a token has fewer."""
MIN_SHORT_CHARS: Final = 4
"""Shorter secrets are not looked for: they are in nearly every text."""

_OTHER: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[^A-Za-z0-9]+")
"""What is not compared: control sequences of terminals, and all but letters and digits."""


class SecretFilter:
    """Hides the texts of answers that have the credential of an Authorization header in them."""

    def __init__(self, header: str = "") -> None:
        secrets = set(_secrets_in(header))
        self._folded = {
            folded for folded in map(_folded, secrets) if len(folded) >= MIN_FOLDED_CHARS
        }
        self._parts = {part for folded in map(_folded, secrets) for part in _parts_of(folded)}
        # a user name is no secret, and may be long
        self._folded |= {_folded(pair) for pair in _pairs_in(header)}
        self._short = {
            secret
            for secret in secrets
            if len(secret) >= MIN_SHORT_CHARS and len(_folded(secret)) < MIN_FOLDED_CHARS
        }

    def message(self, text: str) -> str:
        """Return a text for people, safe for a terminal."""
        return HIDDEN if any(short in text for short in self._short) else self._text(text)

    def json(self, body: bytes) -> bytes:
        """Return a JSON document with each of its texts safe to show; any other body as it is."""
        try:
            return encode(self._value(decode(body)))
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return body

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {self._text(name): self._value(item) for name, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        for spelling in {_folded(text), _folded(unquote(text))}:
            has_secret = any(secret in spelling for secret in self._folded)
            if has_secret or not self._parts.isdisjoint(_parts_of(spelling)):
                return HIDDEN
        return escaped(text)


def _secrets_in(header: str) -> Iterator[str]:
    """Yield what is secret in an Authorization header: its value, and of Basic the password."""
    yield header.partition(" ")[2]
    for pair in _pairs_in(header):
        yield pair.partition(":")[2]


def _pairs_in(header: str) -> Iterator[str]:
    """Yield the user name and the password of a header for Basic authentication (RFC 7617)."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        yield b64decode(value).decode("utf-8", "replace")


def _parts_of(folded: str) -> Iterator[str]:
    for start in range(len(folded) - PART_CHARS + 1):
        yield folded[start : start + PART_CHARS]


def _folded(text: str) -> str:
    return _OTHER.sub("", text).lower()
