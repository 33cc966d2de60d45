"""A store around another one, for tests that have every verb pass by them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from wheelyard.storage.base import Entry, FileBody, Found, Key, ObjectVersion, Store, WebType

T = TypeVar("T")


class WrappedStore(Store):
    """Hands each verb, its key and what carries it out to `_call`."""

    store: Store

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """Return an object."""
        return self._call("get", key, lambda: self.store.get(key, unless))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream."""
        return self._call("read", key, lambda: self.store.read(key, start, stop))

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """Write."""
        return self._call("put", key, lambda: self.store.put(key, body, expect, kind))

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """Write a file."""
        self._call("put_file", key, lambda: self.store.put_file(key, body, kind))

    def delete(self, key: Key) -> None:
        """Delete."""
        self._call("delete", key, lambda: self.store.delete(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """List."""
        found = self._call("list", prefix, lambda: [*self.store.list(prefix, after)])
        return iter(found)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL."""
        return self._call("sign", key, lambda: self.store.sign(key, lifetime))

    def time(self, key: Key) -> float:
        """Return the time, at once."""
        return self.store.time(key)

    def path_of(self, key: Key) -> Path | None:
        """Return a path, at once."""
        return self.store.path_of(key)

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        raise NotImplementedError


@dataclass
class ObservedStore(WrappedStore):
    """
    A store that tells of each call before it happens: its verb, and the key.

    What `on_call` raises, the call does.
    """

    store: Store
    on_call: Callable[[str, str], None]

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        self.on_call(verb, key)
        return act()
