"""Two stores that look like one: keys with one prefix live in a store of their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from pathlib import Path

from wheelyard.storage.base import Body, Entry, Found, Key, ObjectVersion, Store, WebType


@dataclass(frozen=True, slots=True)
class SplitStore:
    """The `usual` store, and one `apart` for the keys that begin with `prefix`."""

    usual: Store
    apart: Store
    prefix: str

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """Return a small object whole, NOT_MODIFIED if it has that version, None if absent."""
        return self._of(key).get(key, unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream of part of an object."""
        return self._of(key).read(key, start, stop)

    def put(
        self, key: Key, body: Body, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """Store `body` whole and return its version."""
        return self._of(key).put(key, body, expect, kind)

    def create_all(self, objects: Sequence[tuple[Key, Body]]) -> list[Key]:
        """Store objects under keys that must be new; return those keys that are taken."""
        apart = [each for each in objects if each[0].startswith(self.prefix)]
        usual = [each for each in objects if not each[0].startswith(self.prefix)]
        return [*self.usual.create_all(usual), *self.apart.create_all(apart)]

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Remove the object."""
        self._of(key).delete(key, expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key starts with `prefix` and is above `after`, in order."""
        if prefix.startswith(self.prefix):
            return self.apart.list(prefix, after)
        usual = self.usual.list(prefix, after)
        if not self.prefix.startswith(prefix):
            return usual
        # what lies at the wrong one of the two is not ours
        kept = (entry for entry in usual if not entry.key.startswith(self.prefix))
        return merge(kept, self.apart.list(self.prefix, after), key=lambda entry: entry.key)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL that storage itself answers, or None where it has none."""
        return self._of(key).sign(key, lifetime)

    def path_of(self, key: Key) -> Path | None:
        """Return where the object is a file of this machine, or None."""
        return self._of(key).path_of(key)

    def _of(self, key: str) -> Store:
        return self.apart if key.startswith(self.prefix) else self.usual
