"""
Which of several upstream indexes owns a name, as the store remembers it.

The order of the upstream indexes decides that, and two indexes of a server may ask the same
upstream indexes in another order. So the owner is kept for each such chain, and not on the pages,
which all chains share. Without a stored owner, a name would silently move to a stranger who
registers it at an index that comes first.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Entry, NotModified, ObjectVersion, Store

logger = logging.getLogger("wheelyard")


class Ownership(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which upstream index of a chain owns a name."""

    owner: str
    """The id of the index."""
    asked_at: datetime
    """UTC: when the owner, and the indexes that come before it, were asked last."""
    moved_to: str = ""
    """The label of another index that has the name now, or empty if no other index has it."""
    is_contested: bool = False
    """Whether `moved_to` comes before the owner, which only an operator's `forget` ends."""


class StoredOwner(Struct, frozen=True):
    """What the store has of the owner of a name."""

    ownership: Ownership | None
    """The owner, or None if the store has none, or the object is damaged."""
    version: ObjectVersion
    """The version of the object, or ABSENT without one."""


_OWNERSHIP: Final = Codec(Ownership)


class StoredOwners(Struct, frozen=True):
    """
    Reads and writes the owners of names in one chain of upstream indexes.

    Every method may raise Unavailable.
    """

    store: Store
    chain: str
    """The key of the chain: letters and digits that no other chain has."""

    def load(self, name: NormalizedName, unless: ObjectVersion | None = None) -> StoredOwner | None:
        """
        Return what the store has of the owner, or None if its version is still `unless`.

        The result has no ownership if the store has no owner, and then its version is ABSENT. It
        has none, too, if the object is damaged, which is logged and no error.
        """
        key = keys.upstream_owner(name, self.chain)
        stored_object = self.store.get(key, unless or None)
        if isinstance(stored_object, NotModified):
            return None
        if stored_object is None:
            return StoredOwner(None, ABSENT)
        try:
            return StoredOwner(_OWNERSHIP.decode(key, stored_object.body), stored_object.version)
        except Unavailable as fault:
            # no error: whoever asks next finds the owner again, and writes over this version
            logger.warning("upstream: %s It is found out anew.", fault.message)
            return StoredOwner(None, stored_object.version)

    def list(self) -> Iterator[tuple[NormalizedName, Entry]]:
        """Yield the names whose owner is stored, each with the object that says it."""
        for entry in self.store.list(keys.UPSTREAM_OWNERS):
            parsed = keys.parse_upstream_owner(entry.key)
            if parsed is None:
                continue
            name, chain = parsed
            if chain == self.chain:
                yield name, entry

    def save(
        self, name: NormalizedName, ownership: Ownership, expect: ObjectVersion
    ) -> ObjectVersion | None:
        """
        Write the owner of a name over the version `expect`, and return the new version.

        Return None if what another process has written stays. A contest that another process has
        not seen is written over it.
        """
        key = keys.upstream_owner(name, self.chain)
        body = _OWNERSHIP.encode(ownership)
        with suppress(Conflict):
            return self.store.put(key, body, expect)
        # another process has asked the same indexes, so either answer may stay; but a contest that
        # only this process has seen has to reach all other processes
        stored_owner = self.load(name)
        if stored_owner is None or _stays(stored_owner.ownership, ownership):
            return None
        with suppress(Conflict):
            return self.store.put(key, body, stored_owner.version)
        return None


def _stays(stored_ownership: Ownership | None, ownership: Ownership) -> bool:
    """Return whether the ownership that another process has stored stays: not if it is damaged."""
    if stored_ownership is None:
        return False
    return stored_ownership.is_contested or not ownership.is_contested


def forget_owners(store: Store, name: NormalizedName) -> None:
    """
    Delete the owners of a name in all chains.

    Raises Unavailable if the store does not answer.
    """
    # listed to its end before the first deletion, which a listing need not cope with
    for entry in list(store.list(keys.upstream_owners(name))):
        store.delete(entry.key)
