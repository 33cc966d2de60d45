"""What the store has of the files of one upstream index: bytes, digests, and notes of uses."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.files import FileContent, Files
from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.model.project import METADATA_SUFFIX, File
from wheelyard.storage.base import ABSENT, Entry, Key, NotModified, ObjectVersion, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

COMPLETED_PAGES: Final = 200
"""Pages whose completed form is remembered."""
NOTE_EVERY: Final = timedelta(days=1)
"""The least time from one note of a file's use to the next."""
NOTED_FILES: Final = 100_000
"""Files whose use a process remembers as noted."""
REMEMBERED_SECONDS: Final = 60.0
"""How long a file of a bucket counts as being there without another look."""
REMEMBERED_FILES: Final = 20_000
"""Files of a bucket that are remembered so."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The upload time of a file whose upload time nobody says."""
Sizes = Mapping[Key, int]
"""The sizes in bytes of the stored objects of a project's files, by their keys in the cache."""


class Pin(Struct, frozen=True, gc=False):
    """The digest and the size that a file had when it was fetched first."""

    sha256: str
    size: int


class Pins(Struct, frozen=True):
    """The pins of a project, by filename."""

    files: dict[str, Pin]


_PIN: Final = Codec(Pin)
_PINS: Final = Codec(Pins)


class _Completed(Struct, frozen=True):
    """A page, and the same page with the digests that an object of the store has pinned."""

    page: UpstreamPage
    version: ObjectVersion
    """The version of the object."""
    completed: UpstreamPage


class PinnedDigests:
    """
    The digests of files of one upstream index whose pages do not say them.

    Threads may share it. `store` has what is kept of that index. Every method may raise Unavailable
    if the store does not answer, or a document is damaged.
    """

    def __init__(self, store: Store, retries: ConflictRetries) -> None:
        self._store = store
        self._retries = retries
        self._completed = LruCache[NormalizedName, _Completed](COMPLETED_PAGES)

    def complete(self, page: UpstreamPage) -> UpstreamPage:
        """
        Return a page with the digests and sizes that are pinned.

        For the same page, the result is the same object until another digest is pinned.
        """
        key = keys.upstream_digests(page.name)
        remembered = self._completed.get(page.name)
        version: ObjectVersion | None = None
        if remembered is not None and remembered.page is page:
            version = remembered.version
        stored_object = self._store.get(key, version)
        if remembered is not None and isinstance(stored_object, NotModified):
            return remembered.completed
        # nothing of the project was fetched without a digest
        if not isinstance(stored_object, Stored):
            return page
        pins = _PINS.decode(self._store.whole_key(key), stored_object.body).files
        files = list[UpstreamFile]()
        for file in page.files:
            pin = pins.get(file.filename)
            files.append(_with_pin(file, pin))
        completed_page = replace(page, files=tuple(files))
        self._completed.put(page.name, _Completed(page, stored_object.version, completed_page), 1)
        return completed_page

    def load(self, name: NormalizedName) -> Mapping[str, Pin]:
        """Return the pins of a project's files, by filename."""
        pins, _ = load_pins(self._store, name)
        return pins

    def pin(self, name: NormalizedName, filename: str, received: Pin) -> Pin:
        """Pin the digest and size of a file, unless that was done before, and return the pin."""
        listed_pin = self.load(name).get(filename)
        if listed_pin is not None:
            return listed_pin
        key = keys.upstream_digest(name, filename)
        try:
            # create-only: of several processes that fetch the file first, one decides
            self._store.put(key, _PIN.encode(received), ABSENT)
        except Conflict:
            stored_object = self._store.get(key)
            if not isinstance(stored_object, Stored):
                raise
            return _PIN.decode(self._store.whole_key(key), stored_object.body)
        return received

    def list_on_page(self, name: NormalizedName, filename: str, pin: Pin) -> None:
        """
        Add a pin that the method `pin` has returned to the pins that complete the project's page.

        If the process dies before that, the object of the file still says the digest, and the next
        fetch of the file adds it. Raises Unavailable (code `overloaded`) if too many others add
        pins at once.
        """
        key = keys.upstream_digests(name)
        for _ in self._retries.attempts():
            # what a later version has added must not be lost by writing the object again
            pins, version = load_pins(self._store, name, is_whole=True)
            if filename in pins:
                return
            body = _PINS.encode(Pins(pins | {filename: pin}))
            with suppress(Conflict):  # another process has pinned another file
                self._store.put(key, body, version)
                return
        raise self._retries.exhausted(str(key))


def _with_pin(file: UpstreamFile, pin: Pin | None) -> UpstreamFile:
    """Return a file with the pinned digest and size, unless its page says a digest."""
    if pin is None or file.sha256:
        return file
    return replace(file, sha256=pin.sha256, size=pin.size)


def load_pins(
    store: Store, name: NormalizedName, *, is_whole: bool = False
) -> tuple[dict[str, Pin], ObjectVersion]:
    """
    Return the pins of a project, by filename, and the version of the object that has them.

    Without an object, there are no pins, and the version is ABSENT. Raises Unavailable if the store
    does not answer, or the object is damaged. With `is_whole`, raises Unavailable also if the
    object has parts that this version does not know.
    """
    key = keys.upstream_digests(name)
    stored_object = store.get(key)
    if not isinstance(stored_object, Stored):
        return {}, ABSENT
    decode = _PINS.decode_whole if is_whole else _PINS.decode
    pins = decode(store.whole_key(key), stored_object.body)
    return pins.files, stored_object.version


class FileUses:
    """
    Notes the uses of stored files, each at most once a day.

    Threads may share it. A note is an empty object beside the file, and the time at which it was
    written is that of the use. `submit` writes it in the background. A note that cannot be written
    is left out: the next use after a day is noted again.
    """

    def __init__(self, runtime: Runtime, submit: Callable[[Callable[[], None]], None]) -> None:
        self._runtime = runtime
        self._submit = submit
        self._noted = ExpiringCache[tuple[str, Key], bool](runtime.monotonic, NOTED_FILES)

    def note(self, upstream: str, store: Store, key: Key, modified: float) -> None:
        """Note that the file at `key` in `store`, written at `modified`, is used now."""
        if self._noted.get((upstream, key)):
            return
        # before the note is written: a second request must not write one, too
        self._noted.put((upstream, key), True, NOTE_EVERY.total_seconds())  # noqa: FBT003 - a value
        owner = keys.parse_file_key(key)
        if owner is None or self._is_recent(modified):
            return
        note = keys.upstream_use(NormalizedName(owner.project), owner.sha256, owner.filename)
        self._submit(partial(self._write, store, note))

    def _write(self, store: Store, note: Key) -> None:
        """
        Write a note, unless another process has done so in the last day.

        This runs in a thread of `submit`, after the file was found.
        """
        path = store.path_of(note)
        # on a bucket, to look for the note would cost as much as to write it
        if path is not None and path.exists() and self._is_recent(path.stat().st_mtime):
            return
        with suppress(WheelyardError):  # without its note, the file may only be fetched once more
            store.put(note, b"", None)

    def _is_recent(self, seconds: float) -> bool:
        """Return whether a time since the epoch is less than a day ago."""
        return self._runtime.seconds() - seconds < NOTE_EVERY.total_seconds()


class StoredFile(Struct, frozen=True):
    """A file that the store has, of the size and with the digest that `file` says."""

    name: NormalizedName
    file: File
    files: Files
    """The stored files of the upstream index, which are laid out as private files are."""


class FileCache:
    """
    The stored objects of one upstream index.

    Threads may share it. Every method may raise Unavailable.
    """

    def __init__(
        self, upstream: str, store: Store, retries: ConflictRetries, uses: FileUses
    ) -> None:
        self.upstream = upstream
        self.store = PrefixedStore(store, keys.upstream(upstream))
        self.files = Files(self.store)
        self.digests = PinnedDigests(self.store, retries)
        self._uses = uses
        self._runtime: Runtime = retries.runtime
        self._remembered = ExpiringCache[Key, Entry](self._runtime.monotonic, REMEMBERED_FILES)

    @property
    def is_local(self) -> bool:
        """Whether the files are in a folder, so that it is cheap to look for a file."""
        return self.store.path_of(Key(keys.UPSTREAM_FILES)) is not None

    def find(self, name: NormalizedName, file: UpstreamFile) -> StoredFile | None:
        """
        Return a file with a digest, and note its use, or return None if the store lacks it.

        A stored file of another size does not count.
        """
        key = keys.distribution(name, file.sha256, file.filename)
        entry = self._find_entry(key)
        if entry is None or file.size not in (None, entry.size):
            return None
        self._uses.note(self.upstream, self.store, key, entry.modified)
        return StoredFile(name, as_listed(file, entry.size), self.files)

    def find_again(self, name: NormalizedName, file: UpstreamFile) -> StoredFile | None:
        """
        Return a file if it was stored a moment ago, and note its use, else return None.

        A bucket is not asked.
        """
        if not file.sha256:
            return None
        key = keys.distribution(name, file.sha256, file.filename)
        if self.is_local or self._remembered.get(key):
            return self.find(name, file)
        return None

    def put(self, name: NormalizedName, file: UpstreamFile, path: Path, size: int) -> StoredFile:
        """Store the file at `path`, whose digest has agreed, under its final key."""
        file_record = as_listed(file, size)
        self.files.put(name, [FileContent(file_record, path, None)])
        key = keys.distribution(name, file.sha256, file.filename)
        entry = Entry(key, size, self._runtime.seconds())
        # so that the first readers do not ask the bucket whether it is there
        self._remembered.put(key, entry, REMEMBERED_SECONDS)
        return StoredFile(name, file_record, self.files)

    def sizes(self, name: NormalizedName) -> Sizes:
        """Return the sizes of what the store has of a project's files, by one listing."""
        return {entry.key: entry.size for entry in self.store.list(keys.files_of(name))}

    def _find_entry(self, key: Key) -> Entry | None:
        """Return the listing entry of an object, with its size and time, or None without one."""
        path = self.store.path_of(key)
        if path is not None:
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Entry(key, status.st_size, status.st_mtime)
        entry = self._remembered.get(key)
        if entry is None:
            # a listing also has the time, by which the sweep judges
            for listed_entry in self.store.list(key):
                # other keys may begin with this one, such as that of core metadata
                if listed_entry.key == key:
                    self._remembered.put(key, listed_entry, REMEMBERED_SECONDS)
                    return listed_entry
        return entry


def as_listed(file: UpstreamFile, size: int) -> File:
    """
    Return a file of an upstream page as the record that the delivery of private files takes.

    `size` is the size of the stored bytes, as the page need not have it. The record has no
    uploader. Its `uploaded_at` is the upload time of the page, or else when the file was first
    seen, or else `EPOCH`. It has core metadata only if the page has the digest of it.
    """
    sidecars = dict[str, str]()
    if file.core_metadata:
        sidecars[METADATA_SUFFIX] = file.core_metadata
    return File(
        filename=file.filename,
        version=file.version,
        sha256=file.sha256,
        size=size,
        uploaded_at=file.uploaded_at or file.first_seen or EPOCH,
        uploaded_by="",
        sidecars=sidecars,
        requires_python=file.requires_python,
        yanked=file.yanked,
    )


def as_stored(name: NormalizedName, file: UpstreamFile, sizes: Sizes) -> UpstreamFile | None:
    """
    Return a file without the core metadata and the provenance that the store lacks.

    Return None if the store lacks the file, or has it in another size. `sizes` is what
    `FileCache.sizes` returns for the project.
    """
    size = sizes.get(keys.distribution(name, file.sha256, file.filename))
    # a stored file of another size is not the file that the page has now
    if size is None or file.size not in (None, size):
        return None
    if file.has_metadata and keys.core_metadata(name, file.sha256, file.filename) not in sizes:
        file = replace(file, has_metadata=False, core_metadata="")
    provenance = keys.upstream_provenance(name, file.sha256, file.filename)
    if file.has_provenance and provenance not in sizes:
        file = replace(file, provenance_url="")
    return file
