"""Stores whose objects are in others: a part of one, two as one, and one that is only read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from pathlib import Path
from typing import NoReturn

from wheelyard.errors import Unavailable
from wheelyard.storage.base import Entry, Found, Key, ObjectBody, ObjectVersion, Store, WebType


class ForwardingStore(ABC):
    """A store that passes each call on to the store that has the object."""

    __slots__ = ()

    @abstractmethod
    def _of(self, key: str) -> Store:
        """Return the store that has, or would have, the object at `key`."""

    def _for_write(self, key: str) -> Store:
        """Return the store into which the object at `key` is written."""
        return self._of(key)

    def _full(self, key: Key) -> Key:
        """Return the key that an object has in the other store."""
        return key

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        return self._of(key).get(self._full(key), unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        return self._of(key).read(self._full(key), start, stop)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        store = self._for_write(key)
        return store.put(self._full(key), body, expect, kind)

    def put_unsynced(self, key: Key, body: bytes) -> None:
        """See `Store`."""
        self._for_write(key).put_unsynced(self._full(key), body)

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> list[Key]:
        """See `Store`; all objects are in the store of the first."""
        if not objects:
            return []
        own = {self._full(key): key for key, _ in objects}
        full = [(self._full(key), body) for key, body in objects]
        taken = self._for_write(objects[0][0]).create_all(full, sync_names=sync_names)
        return [own[key] for key in taken]

    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> AbstractContextManager[Sequence[ObjectBody]]:
        """See `Store`; all objects are in the store of the first."""
        store = self._for_write(next(iter(named), ""))
        return store.staged(bodies, [self._full(key) for key in named])

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        self._of(key).delete(self._full(key), expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`; all objects are in the store of the first."""
        return self._of(prefix).list(prefix, after)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        return self._of(key).sign(self._full(key), lifetime)

    def watch(self, key: Key, version: ObjectVersion) -> Callable[[], bool]:
        """See `Store`."""
        return self._of(key).watch(self._full(key), version)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`."""
        return self._of(key).path_of(self._full(key))


@dataclass(frozen=True, slots=True)
class PrefixedStore(ForwardingStore):
    """
    The objects of `inner` whose keys begin with `prefix`; its keys are what follows the prefix.

    Nothing else of `inner` can be read, written or deleted through it.
    """

    inner: Store
    prefix: str
    """Ends with a slash."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        for entry in self.inner.list(self.prefix + prefix, self.prefix + after if after else ""):
            yield entry._replace(key=Key(entry.key[len(self.prefix) :]))

    def _of(self, key: str) -> Store:
        del key
        return self.inner

    def _full(self, key: Key) -> Key:
        return Key(self.prefix + key)


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(ForwardingStore):
    """The objects of `inner`; each attempt to write one raises Unavailable."""

    inner: Store

    def delete(self, key: Key, expect: ObjectVersion | None) -> NoReturn:
        """Raise Unavailable."""
        del expect
        self._for_write(key)

    def _of(self, key: str) -> Store:
        del key
        return self.inner

    def _for_write(self, key: str) -> NoReturn:
        what = key or "an object"
        message = f"{what} is not written: [server] read_only forbids it."
        raise Unavailable(message, code="read_only")


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
