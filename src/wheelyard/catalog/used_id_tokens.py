"""Used OIDC ID tokens and used states of sign-ins at providers, which are accepted only once."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, UnreadableIgnored
from wheelyard.storage.base import ABSENT, Key, Store, Stored

HOUR: Final = timedelta(hours=1)


class UsedIdToken(Struct, frozen=True):
    """The stored document of a used ID token. It does not have the ID token itself."""

    token: str
    """The id of the API token that the ID token was exchanged for, or empty for a sign-in."""


_USED_ID_TOKENS: Final = Codec(UsedIdToken)


class UsedIdTokens(Struct, frozen=True):
    """
    The records of used OIDC ID tokens. Each is created once, so that only one process can use it.

    The keys of the records begin with the hour in which the ID token expires, so that a listing has
    the expired ones first. A record has the id of the API token that the ID token was exchanged
    for, so that a cleanup can remove both. Every method raises Unavailable if the store does not
    answer.
    """

    store: Store

    def consume(self, issuer: str, jti: str, expires_at: datetime, token_id: str) -> None:
        """
        Record that an ID token, or the state of a sign-in, is used.

        `issuer` and `jti` are claims of the ID token, or a provider and a state. The record is not
        needed after `expires_at`. `token_id` is the id of the API token that the ID token is
        exchanged for, or empty for a sign-in at a provider.

        Raises Conflict if the ID token was used before.
        """
        key = self._key(issuer, jti, expires_at)
        # create-only: of two processes that get the same ID token, one gets the Conflict
        self.store.put(key, _USED_ID_TOKENS.encode(UsedIdToken(token_id)), ABSENT)

    def is_used(self, issuer: str, jti: str, expires_at: datetime) -> bool:
        """Return whether `consume` has recorded a use with these arguments."""
        key = self._key(issuer, jti, expires_at)
        return isinstance(self.store.get(key), Stored)

    @staticmethod
    def _key(issuer: str, jti: str, expires_at: datetime) -> Key:
        """Return the key of the record of an ID token or a state."""
        return keys.used_id_token(expires_at, digest_of(issuer, jti))

    def expired_before(self, limit: datetime) -> Iterator[Key]:
        """Yield the keys of the records whose expiry hour has ended by `limit`, oldest first."""
        return expired_keys(self.store, keys.USED_ID_TOKENS, limit)

    def token_of(self, key: Key) -> str | None:
        """
        Return the id of the API token in a record, or None if the record is missing or damaged.

        The id is empty for a sign-in at a provider.
        """
        stored = self.store.get(key)
        with UnreadableIgnored():
            if isinstance(stored, Stored):
                return _USED_ID_TOKENS.decode(key, stored.body).token
        return None


def expired_keys(store: Store, prefix: str, limit: datetime) -> Iterator[Key]:
    """
    Yield the keys below a prefix whose expiry hour has ended by `limit`, oldest first.

    Raises Unavailable if the store does not answer.
    """
    for entry in store.list(prefix):
        hour = keys.expiry_hour(entry.key)
        if hour is None:
            continue
        # keys are sorted by hour, so all following keys are of later hours
        if hour + HOUR > limit:
            return
        yield entry.key


def digest_of(issuer: str, jti: str) -> str:
    """Return the hexadecimal SHA-256 of issuer and `jti`, which no two ID tokens share."""
    # a NUL separates both, as no issuer has one
    identity = f"{issuer}\0{jti}"
    # a JSON string can have a lone surrogate
    return sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
