"""
Stores whose objects are in other stores.

A `SplitStore` is two stores that act as one: the keys with a certain prefix are in the second one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from pathlib import Path

from wheelyard.storage.base import (
    Entry,
    Found,
    Key,
    ObjectBody,
    ObjectVersion,
    Store,
    WebType,
)


class ForwardingStore(ABC):
    """A store that passes each call on to the store that has the object."""

    __slots__ = ()

    @abstractmethod
    def _of(self, key: str) -> Store:
        """Return the store that has, or would have, the object at `key`."""

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        return self._of(key).get(key, unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        return self._of(key).read(key, start, stop)

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
        return self._of(key).put(key, body, expect, kind, is_durable=is_durable)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        self._of(key).delete(key, expect)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        return self._of(key).sign(key, lifetime)

    def watch(self, key: Key, version: ObjectVersion) -> Callable[[], bool]:
        """See `Store`."""
        return self._of(key).watch(key, version)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`."""
        return self._of(key).path_of(key)


@dataclass(frozen=True, slots=True)
class SplitStore(ForwardingStore):
    """A store with the keys that begin with `prefix` in `separate`, and all others in `main`."""

    main: Store
    separate: Store
    prefix: str

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> list[Key]:
        """See `Store`."""
        separate = [each for each in objects if each[0].startswith(self.prefix)]
        main = [each for each in objects if not each[0].startswith(self.prefix)]
        taken = self.main.create_all(main, sync_names=sync_names)
        return [*taken, *self.separate.create_all(separate, sync_names=sync_names)]

    @contextmanager
    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> Iterator[Sequence[ObjectBody]]:
        """See `Store`; the bodies are for keys without the prefix."""
        separate = [key for key in named if key.startswith(self.prefix)]
        main = [key for key in named if not key.startswith(self.prefix)]
        with self.separate.staged((), separate), self.main.staged(bodies, main) as staged:
            yield staged

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        if prefix.startswith(self.prefix):
            return self.separate.list(prefix, after)
        main = self.main.list(prefix, after)
        if not self.prefix.startswith(prefix):
            return main
        # objects with the prefix in the main store are ignored
        entries = (entry for entry in main if not entry.key.startswith(self.prefix))
        return merge(entries, self.separate.list(self.prefix, after), key=lambda entry: entry.key)

    def _of(self, key: str) -> Store:
        return self.separate if key.startswith(self.prefix) else self.main
