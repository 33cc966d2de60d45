"""A part of a store as a store of its own: all keys below one prefix."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from wheelyard.storage.base import Entry, Found, Key, ObjectBody, ObjectVersion, Store, WebType


@dataclass(frozen=True, slots=True)
class PrefixedStore(Store):
    """
    The objects of `inner` whose keys begin with `prefix`; its keys are what follows the prefix.

    Nothing else of `inner` can be read, written or deleted through it.
    """

    inner: Store
    prefix: str
    """Ends with a slash."""

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        return self.inner.get(self._full(key), unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        return self.inner.read(self._full(key), start, stop)

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
        return self.inner.put(self._full(key), body, expect, kind, is_durable=is_durable)

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> list[Key]:
        """See `Store`."""
        full = [(self._full(key), body) for key, body in objects]
        return [self._own(key) for key in self.inner.create_all(full, sync_names=sync_names)]

    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> AbstractContextManager[Sequence[ObjectBody]]:
        """See `Store`."""
        return self.inner.staged(bodies, [self._full(key) for key in named])

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        self.inner.delete(self._full(key), expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        for entry in self.inner.list(self.prefix + prefix, self.prefix + after if after else ""):
            yield entry._replace(key=self._own(entry.key))

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        return self.inner.sign(self._full(key), lifetime)

    def watch(self, key: Key, version: ObjectVersion) -> Callable[[], bool]:
        """See `Store`."""
        return self.inner.watch(self._full(key), version)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`."""
        return self.inner.path_of(self._full(key))

    def _full(self, key: Key) -> Key:
        return Key(self.prefix + key)

    def _own(self, key: Key) -> Key:
        return Key(key[len(self.prefix) :])
