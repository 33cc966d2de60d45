"""Stores whose objects are in another one: a part of it, or one that is only read."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from wheelyard.errors import Unavailable
from wheelyard.storage.base import Entry, FileBody, Found, Key, ObjectVersion, Store, WebType
from wheelyard.storage.location import BucketLocation

READ_ONLY: Final = "read_only"
"""The error code of each write to a store that is only read."""


class ForwardingStore:
    """A store that passes each call on to another one."""

    __slots__ = ()

    inner: Store
    """The store that has the objects."""

    def _for_write(self, key: Key) -> Store:
        """Return the store into which the object at `key` is written."""
        del key
        return self.inner

    def _full(self, key: Key) -> Key:
        """Return the key that an object has in the other store."""
        return key

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        return self.inner.get(self._full(key), unless)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        return self.inner.read(self._full(key), start, stop)

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        return self._for_write(key).put(self._full(key), body, expect, kind)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        self._for_write(key).put_file(self._full(key), body, kind)

    def delete(self, key: Key) -> None:
        """See `Store`."""
        self.inner.delete(self._full(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        return self.inner.list(prefix, after)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        return self.inner.sign(self._full(key), lifetime)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`."""
        return self.inner.path_of(self._full(key))

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str] | None:
        """See `Store`."""
        return self.inner.bucket_object(self._full(key))


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

    def _full(self, key: Key) -> Key:
        return Key(self.prefix + key)


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(ForwardingStore):
    """The objects of `inner`; each attempt to write one raises Unavailable, and says why."""

    inner: Store
    why: str = "server.read_only forbids it."
    code: str = READ_ONLY

    def delete(self, key: Key) -> NoReturn:
        """Raise Unavailable."""
        self._for_write(key)

    def _for_write(self, key: Key) -> NoReturn:
        raise Unavailable(f"{key} is not written: {self.why}", code=self.code)
