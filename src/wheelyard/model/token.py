"""
API tokens: their format, and the record that is stored of a token.

    wyd_ <id: 10> <secret: 32> <check: 6>      52 characters, base62 behind the prefix

The check is the CRC-32 of the first 46 characters: it detects typing errors and the noise of
scanners without a look-up. The secret has 190 bits, so storing its plain SHA-256 is safe.
"""

import re
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
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
EXPIRY_WARNING: Final = timedelta(days=14)
"""How long before its expiry a token is reported."""

_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH}}}")
_TOKEN_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token of the right form; it need not have a record."""

    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """The token's public part, which is the id of its record."""
        return self.text[len(PREFIX) : len(PREFIX) + ID_LENGTH]

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole token, hexadecimal, which its record stores."""
        return sha256(self.text.encode()).hexdigest()


class Rotation(Struct, frozen=True):
    """The stored facts about the rotation of a token: its replacement by a new one."""

    successor: str
    """The id of the new token."""
    expires_at: datetime
    """When the old token would have expired without the rotation."""


class TokenRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored record of an API token; it does not have the token itself."""

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
    """Ids of the publishers that it was minted for; empty for other tokens."""
    owner: str = ""
    """The principal that made it for itself, and limits it; empty for an operator's token."""
    owner_names: tuple[str, ...] = ()
    """All principals of its owner, for grants."""
    rotation: Rotation | None = None
    """Set once a new token has replaced it; it then expires soon."""
    revision: int = 0
    """The number of writes of the record."""
    write_id: str = ""
    """Random; shows whether a write without a reply has succeeded."""

    @property
    def lifetime(self) -> timedelta:
        """The time from its creation to its expiry, as if it had never been rotated."""
        expires_at = self.rotation.expires_at if self.rotation else self.expires_at
        return expires_at - self.created_at

    @property
    def scope(self) -> Scope:
        """The scope of the token, before it is limited to the scopes of its owner."""
        return Scope(Action(self.actions), self.projects)

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`: the state of the token at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"

    def expires_soon(self, now: datetime) -> bool:
        """Return whether it is active, not of a CI job, and expires within `EXPIRY_WARNING`."""
        is_near = self.expires_at - now <= EXPIRY_WARNING
        return is_near and not self.publishers and self.state(now) == "active"

    def is_owned_by(self, principal: str, principals: frozenset[str]) -> bool:
        """
        Return whether the caller `principal`, who has all of `principals`, made it for itself.

        An account that was deleted and created again has its old e-mail address and another unique
        id. If the id of the owner is known, it has to be among the principals.
        """
        numbered = {each for each in self.owner_names if each.startswith(f"{self.owner}#")}
        return bool(self.owner) and self.owner == principal and numbered <= principals

    def matches(self, token: ApiToken) -> bool:
        """Return whether the record has the digest of `token`; takes constant time."""
        return compare_digest(self.sha256, token.digest)


class ListedToken(Struct, frozen=True):
    """A token as a list shows it."""

    record: TokenRecord
    state: str
    """`active`, `expired` or `revoked`."""
    last_used: date | None
    """The last day (UTC) on which it was accepted, if recorded."""


NO_RECORD: Final = TokenRecord(
    id="",
    sha256="0" * 64,
    name="",
    actions=0,
    projects=(),
    created_at=datetime.min.replace(tzinfo=UTC),
    created_by="",
    expires_at=datetime.min.replace(tzinfo=UTC),
)
"""A record that no token matches: an unknown token is compared with it, so takes as long."""


def active_replacement(
    record: TokenRecord, find: Callable[[str], TokenRecord | None], now: datetime
) -> TokenRecord | None:
    """
    Return the last active token that replaces this one, or replaces its successor, and so on.

    Return None if there is none, because the new tokens were revoked, for example. `find` returns
    the record with an id.
    """
    last, seen = None, {record.id}
    while record.rotation and record.rotation.successor not in seen:
        seen.add(record.rotation.successor)
        successor = find(record.rotation.successor)
        if successor is None:
            break
        record = successor
        last = record if record.state(now) == "active" else last
    return last


def has_token_prefix(text: str) -> bool:
    """Return whether a text begins like an API token, well formed or not."""
    return text.startswith(PREFIX)


def parse_token(text: str) -> ApiToken | None:
    """Return `text` as an API token, or None if it is malformed or its check is wrong."""
    if _SHAPE.fullmatch(text) and _check(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]:
        return ApiToken(text)
    return None


def token_id_in(text: str) -> str | None:
    """Return the token id that `text` is, or has if it is a whole API token; else None."""
    if is_token_id(text):
        return text
    token = parse_token(text)
    return token.id if token else None


def is_token_id(text: str) -> bool:
    """Return whether a text has the form of a token id."""
    return _TOKEN_ID.fullmatch(text) is not None


def new_token(random: Random) -> ApiToken:
    """Return a new random API token; nothing is stored."""
    body = PREFIX + "".join(random.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return ApiToken(body + _check(body))


def _check(body: str) -> str:
    """Return the CRC-32 of a text as six digits in base 62."""
    number, text = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text.rjust(CHECK_LENGTH, ALPHABET[0])
