"""What a token looks like, which is enough to tell it from an error page; and what is answered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

LONGEST: Final = 12_000
"""Characters: what an index takes in one Authorization header, before Base64."""
LONGEST_JWT: Final = 8192

_PRINTABLE: Final = re.compile(r"[!-~]+")
_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


def clean(printed: str) -> str | None:
    """Return the token that a program has printed, None if that is not one line of one word."""
    token = printed.strip()
    return token if len(token) <= LONGEST and _PRINTABLE.fullmatch(token) else None


def clean_jwt(printed: str) -> str | None:
    """Return the JWT that a server has sent, None if it is none."""
    token = printed.strip()
    return token if len(token) <= LONGEST_JWT and _JWT.fullmatch(token) else None
