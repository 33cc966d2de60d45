"""Two stores that look like one: keys with one prefix live in a store of their own."""

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True, slots=True)
class SplitStore:
    """The `usual` store, and one `apart` for the keys that begin with `prefix`."""

    usual: Store
    apart: Store
    prefix: str

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        return self._of(key).get(key, unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        return self._of(key).read(key, start, stop)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        return self._of(key).put(key, body, expect, kind)

    def create_all(self, objects: Sequence[tuple[Key, ObjectBody]]) -> list[Key]:
        """See `Store`."""
        apart = [each for each in objects if each[0].startswith(self.prefix)]
        usual = [each for each in objects if not each[0].startswith(self.prefix)]
        return [*self.usual.create_all(usual), *self.apart.create_all(apart)]

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        self._of(key).delete(key, expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        if prefix.startswith(self.prefix):
            return self.apart.list(prefix, after)
        usual = self.usual.list(prefix, after)
        if not self.prefix.startswith(prefix):
            return usual
        # what lies at the wrong one of the two is not ours
        kept = (entry for entry in usual if not entry.key.startswith(self.prefix))
        return merge(kept, self.apart.list(self.prefix, after), key=lambda entry: entry.key)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        return self._of(key).sign(key, lifetime)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`."""
        return self._of(key).path_of(key)

    def _of(self, key: str) -> Store:
        return self.apart if key.startswith(self.prefix) else self.usual
