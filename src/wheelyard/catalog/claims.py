"""
Statements that were used up: one object each, created once, so that only one process ever wins.

They lie under the hour in which the statement expires, so that what is past lies together and comes
first in a listing. Each names the token that it was used for, which is found and removed with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec
from wheelyard.errors import Unavailable
from wheelyard.storage.base import Key, Store, Stored, create

HOUR: Final = timedelta(hours=1)


class UsedStatement(Struct, frozen=True):
    """What is stored of a statement: not the statement."""

    token: str
    """The id of the token that it was used for."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The statements that were used up, in a store."""

    store: Store
    codec: Codec[UsedStatement] = field(default_factory=lambda: Codec(UsedStatement))

    def take(self, issuer: str, mark: str, expires_at: datetime, token_id: str) -> None:
        """
        Use up a statement, for the token with that id.

        Args:
            issuer: Who made it.
            mark: Which of the issuer's it is: its `jti`, any text at all.
            expires_at: When it can be forgotten.
            token_id: What it is used for.

        Raises:
            Conflict: It was used before.
            Unavailable: The store does not answer; it may be used up now, or not.
        """
        key = keys.claim(expires_at, digest_of(issuer, mark))
        create(self.store, key, self.codec.encode(UsedStatement(token_id)))

    def before(self, limit: datetime) -> Iterator[Key]:
        """Yield statements of the hours that ended before `limit`, oldest first."""
        for entry in self.store.list(keys.CLAIMS):
            hour = keys.hour_of(entry.key)
            if hour is None:
                continue
            if hour + HOUR > limit:
                return
            yield entry.key

    def token_of(self, key: Key) -> str | None:
        """
        Return the id of the token that a statement was used for, None if that cannot be read.

        Raises:
            Unavailable: The store does not answer.
        """
        found = self.store.get(key)
        if not isinstance(found, Stored):
            return None
        try:
            return self.codec.decode(key, found.body).token
        except Unavailable:
            return None

    def drop(self, key: Key) -> None:
        """Forget a statement."""
        self.store.delete(key, None)


def digest_of(issuer: str, mark: str) -> str:
    """Return what names a statement: no issuer has a NUL in it, so no two pairs are alike."""
    # JSON can hold half a surrogate pair, and a claim may be any text
    return sha256(f"{issuer}\0{mark}".encode("utf-8", "surrogatepass")).hexdigest()
