"""A store in a folder that its first write makes, so that a refused upload leaves no folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from wheelyard.storage.base import Key, Store
from wheelyard.storage.forwarding import ForwardingStore
from wheelyard.storage.local import LocalStore
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

    def _store(self) -> Store:
        return self.made or self.before

    def _for_write(self, key: Key) -> Store:
        del key
        return self.ensure_made()


class DeferredSpool(Spool):
    """The spool of a deferred store, and another one until that is made."""

    def __init__(self, folder: Path, store: DeferredStore) -> None:
        super().__init__(folder)
        self._store = store

    @property
    def folder(self) -> Path:
        """See `Spool`."""
        made = self._store.made
        return super().folder if made is None else made.spool.folder
