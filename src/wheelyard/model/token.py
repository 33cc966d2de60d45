"""
API tokens: their text, and what is stored of one.

    wyd_ <id: 10> <secret: 32> <check: 6>      52 characters, base62 behind the prefix

The check is the CRC-32 of the first 46 characters: it tells typing errors and scanners' noise from
tokens before anything is looked up. The secret has 190 bits, so a plain SHA-256 is enough to keep.
"""

import re
import string
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from random import Random
from typing import Final

from msgspec import Struct

from wheelyard.model.access import Action, Pattern, Scope

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX: Final = "wyd_"
ID_LENGTH: Final = 10
SECRET_LENGTH: Final = 32
CHECK_LENGTH: Final = 6

_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH}}}")
_TOKEN_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as its bearer presents it: well formed, though perhaps unknown."""

    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """The public part, which names the record."""
        return self.text[len(PREFIX) : len(PREFIX) + ID_LENGTH]

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole text, hexadecimal."""
        return sha256(self.text.encode()).hexdigest()


class TokenRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored of a token: never the token itself."""

    id: str
    sha256: str
    name: str
    actions: int
    projects: tuple[Pattern, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    publishers: tuple[str, ...] = ()
    """Ids of the publishers that it was minted for; none for a token that somebody made."""
    owner: str = ""
    """Who made it for themselves, and may do no less than it; empty for an operator's token."""
    owner_names: tuple[str, ...] = ()
    """Every name that grants call its owner by."""

    @property
    def scope(self) -> Scope:
        """What a bearer may do."""
        return Scope(Action(self.actions), self.projects)

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"

    def is_owned_by(self, principal: str, names: frozenset[str]) -> bool:
        """
        Return whether somebody, whom grants call by these names, made this token for themselves.

        An account that was deleted and made anew has the same e-mail, and another number: where the
        owner's number is known, it has to be among the names.
        """
        numbered = {each for each in self.owner_names if each.startswith(f"{self.owner}#")}
        return bool(self.owner) and self.owner == principal and numbered <= names

    def matches(self, token: ApiToken) -> bool:
        """Return whether `token` is the one that this record was made for."""
        return compare_digest(self.sha256, token.digest)


def has_token_prefix(text: str) -> bool:
    """Return whether `text` is meant to be one of our tokens, well formed or not."""
    return text.startswith(PREFIX)


def parse_token(text: str) -> ApiToken | None:
    """Return the token, or None where shape or check say that it is none."""
    if _SHAPE.fullmatch(text) and _check(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]:
        return ApiToken(text)
    return None


def token_id_in(text: str) -> str | None:
    """Return the id that `text` is, or that it holds as a whole token; None for anything else."""
    if is_token_id(text):
        return text
    token = parse_token(text)
    return None if token is None else token.id


def is_token_id(text: str) -> bool:
    """Return whether `text` has the form of a token's id."""
    return _TOKEN_ID.fullmatch(text) is not None


def new_token(random: Random) -> ApiToken:
    """Return a token that nobody has seen yet."""
    body = PREFIX + "".join(random.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return ApiToken(body + _check(body))


def _check(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text.rjust(CHECK_LENGTH, ALPHABET[0])
