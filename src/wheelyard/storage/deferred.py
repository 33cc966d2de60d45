"""A store in a folder that its first write makes, so that a refused upload leaves no folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from wheelyard.storage.base import (
    Entry,
    Key,
    ObjectBody,
    ObjectVersion,
    Store,
    WebType,
)
from wheelyard.storage.local import LocalStore
from wheelyard.storage.split import ForwardingStore
from wheelyard.storage.spool import Spool


@dataclass(slots=True)
class DeferredStore(ForwardingStore):
    """
    The store that `make` returns, which is called by the first write; until then it is `before`.

    `make` is called again by the next write if it raises.
    """

    before: Store
    make: Callable[[], LocalStore]
    made: LocalStore | None = None
    _lock: Lock = field(default_factory=Lock)

    def ensure_made(self) -> LocalStore:
        """Make the store if it is not there yet, and return it."""
        with self._lock:
            if self.made is None:
                self.made = self.make()
            return self.made

    def put(
        self,
        key: Key,
        body: ObjectBody,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
        *,
        is_durable: bool = True,
    ) -> ObjectVersion:
        """See `Store`."""
        return self.ensure_made().put(key, body, expect, kind, is_durable=is_durable)

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> list[Key]:
        """See `Store`; to create nothing makes nothing."""
        return self.ensure_made().create_all(objects, sync_names=sync_names) if objects else []

    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> AbstractContextManager[Sequence[ObjectBody]]:
        """See `Store`."""
        return self.ensure_made().staged(bodies, named)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        return self._of(prefix).list(prefix, after)

    def _of(self, key: str) -> Store:
        del key
        return self.made or self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredSpool(Spool):
    """The spool of a deferred store, and another one until that is made."""

    store: DeferredStore

    def create(self) -> tuple[Path, BinaryIO]:
        """See `Spool`."""
        made = self.store.made
        return Spool.create(self) if made is None else made.spool.create()

    def require_room(self, size: int) -> None:
        """See `Spool`."""
        made = self.store.made
        Spool.require_room(self if made is None else made.spool, size)

    def open_shared(self, name: str) -> tuple[Path, int, bool]:
        """See `Spool`."""
        made = self.store.made
        return Spool.open_shared(self, name) if made is None else made.spool.open_shared(name)
