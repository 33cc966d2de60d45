"""What the store has of one upstream index: files, their core metadata, and learned digests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import FileContent, Files
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.model.project import METADATA_SUFFIX, File
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.upstream.file_uses import FileUses
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.pinned_digests import PinnedDigests

REMEMBERED_SECONDS: Final = 60.0
"""How long a file of a bucket is taken as being there without looking again."""
REMEMBERED_FILES: Final = 20_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Sizes = Mapping[Key, int]
"""The objects of a project's files in the store, by their keys in the cache, with their bytes."""


class StoredFile(Struct, frozen=True):
    """A file that the store has, of the size and with the digest that `file` says."""

    name: NormalizedName
    file: File
    files: Files
    """What is kept of its upstream, laid out as private files are."""


class FileCache:
    """The objects of one upstream index in the store; safe to share between threads."""

    def __init__(
        self, upstream: str, store: Store, retries: ConflictRetries, uses: FileUses
    ) -> None:
        self.upstream = upstream
        self.store = PrefixedStore(store, keys.upstream(upstream))
        self.files = Files(self.store)
        self.digests = PinnedDigests(self.store, retries)
        self._uses = uses
        self._runtime: Runtime = retries.runtime
        self._remembered = ExpiringCache[Key, tuple[int, float]](
            self._runtime.monotonic, REMEMBERED_FILES
        )

    @property
    def is_local(self) -> bool:
        """Whether the files are in a folder, so that it is cheap to look for one."""
        return self.store.path_of(Key(keys.UPSTREAM_FILES)) is not None

    def find(self, name: NormalizedName, file: UpstreamFile) -> StoredFile | None:
        """Return a file with a digest if the store has it, and note its use; else None."""
        key = keys.distribution(name, file.sha256, file.filename)
        found = self._look(key)
        if found is None or file.size not in (None, found[0]):
            return None
        self._uses.note(self.upstream, self.store, key, found[1])
        return StoredFile(name, as_listed(file, found[0]), self.files)

    def find_again(self, name: NormalizedName, file: UpstreamFile) -> StoredFile | None:
        """Return a file if it was stored a moment ago; a bucket is not asked."""
        if not file.sha256:
            return None
        key = keys.distribution(name, file.sha256, file.filename)
        return self.find(name, file) if self.is_local or self._remembered.get(key) else None

    def put(self, name: NormalizedName, file: UpstreamFile, path: Path, size: int) -> StoredFile:
        """Store the file at `path`, whose digest has agreed, under its final key."""
        listed = as_listed(file, size)
        self.files.put(name, [FileContent(listed, path, None)])
        key = keys.distribution(name, file.sha256, file.filename)
        self._remembered.put(key, (size, self._runtime.seconds()), REMEMBERED_SECONDS)
        return StoredFile(name, listed, self.files)

    def sizes(self, name: NormalizedName) -> Sizes:
        """Return what the store has of a project's files; one listing."""
        return {each.key: each.size for each in self.store.list(keys.files_of(name))}

    def find_metadata(self, name: NormalizedName, file: UpstreamFile) -> bytes | None:
        """Return a file's core metadata if the store has what its page says, else None."""
        found = self.store.get(keys.core_metadata(name, file.sha256, file.filename))
        if not isinstance(found, Stored) or sha256(found.body).hexdigest() != file.core_metadata:
            return None
        return found.body

    def put_metadata(self, name: NormalizedName, file: UpstreamFile, body: bytes) -> None:
        """Store a file's core metadata, whose digest has agreed, and is compared by each read."""
        key = keys.core_metadata(name, file.sha256, file.filename)
        self.store.put_file(key, body)

    def _look(self, key: Key) -> tuple[int, float] | None:
        """Return the size of an object and when it was written; None if it is not there."""
        path = self.store.path_of(key)
        if path is not None:
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return found.st_size, found.st_mtime
        known = self._remembered.get(key)
        if known is None:
            entry = next((each for each in self.store.list(key) if each.key == key), None)
            if entry is None:
                return None
            known = entry.size, entry.modified
            self._remembered.put(key, known, REMEMBERED_SECONDS)
        return known


def as_listed(file: UpstreamFile, size: int) -> File:
    """Return a file as the record of a private one, which the delivery of files takes."""
    return File(
        filename=file.filename,
        version=file.version,
        sha256=file.sha256,
        size=size,
        uploaded_at=file.uploaded_at or file.first_seen or EPOCH,
        uploaded_by="",
        sidecars={METADATA_SUFFIX: file.core_metadata} if file.core_metadata else {},
        requires_python=file.requires_python,
        yanked=file.yanked,
    )


def as_stored(name: NormalizedName, file: UpstreamFile, sizes: Sizes) -> UpstreamFile | None:
    """Return a file without the core metadata that the store lacks; None if it lacks the file."""
    size = sizes.get(keys.distribution(name, file.sha256, file.filename))
    if size is None or file.size not in (None, size):
        return None
    if file.has_metadata and keys.core_metadata(name, file.sha256, file.filename) not in sizes:
        return replace(file, has_metadata=False, core_metadata="")
    return file
