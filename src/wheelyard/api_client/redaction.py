"""
What of a server's answer may be shown: nothing that has the caller's credential in it.

A server knows the credential, and may repeat it: a proxy that is set up for debugging, or one that
wants it in the log of a CI job, which others read. It may be in another case, percent-encoded, or
with other characters between its own, or a part of it.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from msgspec import DecodeError
from msgspec.json import decode, encode

from wheelyard.model.text import escaped

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
