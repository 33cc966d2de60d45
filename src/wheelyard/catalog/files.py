"""Storage of distributions and their core metadata, under keys with the distribution's digest."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, NotFound
from wheelyard.model.project import File
from wheelyard.storage.base import ABSENT, Key, Store, Stored

ORPHAN_AGE: Final = timedelta(days=1)
"""The age from which `wheelyard check --sweep` removes files that no project lists."""
RENEWAL_AGE: Final = ORPHAN_AGE / 2
"""The age from which an upload rewrites equal bytes, so that a sweep does not remove them."""


class FileContent(Struct, frozen=True):
    """A distribution to store: its entry, a local file with its bytes, and its core metadata."""

    file: File
    path: Path
    """A file on the local disk with the distribution's bytes."""
    core_metadata: bytes | None
    """None if it has none."""


class Files(Struct, frozen=True):
    """Stores, checks, repairs and removes the distributions of an index and their core metadata."""

    store: Store
    retries: ConflictRetries

    def put(self, name: NormalizedName, bodies: Sequence[FileContent]) -> None:
        """
        Store distributions and their core metadata; the commit that lists them syncs their keys.

        An existing object stays if it has the right size and is younger than `RENEWAL_AGE`; else it
        is written again.
        """
        objects = dict(each for body in bodies for each in _objects(name, body))
        for key in self.store.create_all(list(objects.items()), sync_names=False):
            self._create(key, objects[key])

    def is_intact(self, name: NormalizedName, file: File) -> bool:
        """Return whether a stored distribution and its core metadata have their listed digests."""
        return all(self._digest(key) == expected for key, expected in listed_objects(name, file))

    def repair(self, name: NormalizedName, body: FileContent) -> None:
        """Write a distribution and its core metadata over whatever is stored at their keys."""
        for key, content in _objects(name, body):
            self.store.put(key, content, None)

    def remove(self, name: NormalizedName, file: File) -> None:
        """Delete a distribution and its core metadata; a missing object is no error."""
        for key, _ in listed_objects(name, file):
            self.store.delete(key, None)

    def core_metadata(self, name: NormalizedName, file: File) -> bytes:
        """Return the bytes of a distribution's core metadata; raise NotFound if missing."""
        key = keys.core_metadata(name, file.sha256, file.filename)
        found = self.store.get(key)
        if not isinstance(found, Stored):
            raise NotFound(f"The store holds nothing at {key}.")
        return found.body

    def _digest(self, key: Key) -> str | None:
        digest = sha256()
        try:
            for chunk in self.store.read(key):
                digest.update(chunk)
        except NotFound:
            return None
        return digest.hexdigest()

    def _create(self, key: Key, body: Path | bytes) -> None:
        expect, size = ABSENT, len(body) if isinstance(body, bytes) else body.stat().st_size
        for _ in self.retries.attempts():
            try:
                self.store.put(key, body, expect)
            except Conflict:
                entry = next((each for each in self.store.list(key) if each.key == key), None)
                expect = entry.version if entry else ABSENT
                if entry is not None and entry.size == size:
                    age = self.retries.runtime.seconds() - entry.modified
                    if age < RENEWAL_AGE.total_seconds():
                        return
            else:
                return
        raise self.retries.exhausted(str(key))


def listed_objects(name: NormalizedName, file: File) -> Iterator[tuple[Key, str]]:
    """Yield the key and listed SHA-256 of a distribution, and of its core metadata, if any."""
    yield keys.distribution(name, file.sha256, file.filename), file.sha256
    if file.has_metadata:
        yield keys.core_metadata(name, file.sha256, file.filename), file.core_metadata


def _objects(name: NormalizedName, body: FileContent) -> Iterator[tuple[Key, Path | bytes]]:
    file = body.file
    yield keys.distribution(name, file.sha256, file.filename), body.path
    if body.core_metadata is not None:
        yield keys.core_metadata(name, file.sha256, file.filename), body.core_metadata
