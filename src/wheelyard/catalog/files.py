"""Storage of distributions and their core metadata, under keys with the distribution's digest."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import NotFound
from wheelyard.model.project import File
from wheelyard.storage.base import Key, Store, Stored

ORPHAN_AGE: Final = timedelta(days=1)
"""The age from which a sweep removes files that no project lists."""
RENEWAL_AGE: Final = ORPHAN_AGE / 2
"""The age from which a copy writes equal bytes again, so that a sweep does not remove them."""


class FileContent(Struct, frozen=True):
    """A distribution to store: its entry, a local file with its bytes, and its core metadata."""

    file: File
    path: Path
    """A file on the local disk with the distribution's bytes."""
    core_metadata: bytes | None
    """None if it has none."""


class Files(Struct, frozen=True):
    """Stores and checks the distributions of an index and their core metadata."""

    store: Store

    def put(self, name: NormalizedName, bodies: Sequence[FileContent]) -> None:
        """Store distributions and their core metadata, over what is at their keys."""
        for body in bodies:
            for key, content in _objects(name, body):
                self.store.put_file(key, content)

    def is_intact(self, name: NormalizedName, file: File) -> bool:
        """Return whether a stored distribution and its sidecars have their listed digests."""
        return all(self._digest(key) == expected for key, expected in listed_objects(name, file))

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


def listed_objects(name: NormalizedName, file: File) -> Iterator[tuple[Key, str]]:
    """Yield the key and listed SHA-256 of a distribution, and of each of its sidecars."""
    yield keys.distribution(name, file.sha256, file.filename), file.sha256
    for suffix, digest in file.sidecars.items():
        yield keys.sidecar(name, file, suffix), digest


def _objects(name: NormalizedName, body: FileContent) -> Iterator[tuple[Key, Path | bytes]]:
    file = body.file
    yield keys.distribution(name, file.sha256, file.filename), body.path
    if body.core_metadata is not None:
        yield keys.core_metadata(name, file.sha256, file.filename), body.core_metadata
