"""
Licences of files, found in core metadata, and remembered.

Metadata with a digest never changes, so neither does what was found in it. What a rule hides is
noted in the store as well, so that no server shows it again after a restart.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Codec, Snapshot
from wheelyard.catalog.version_notes import NoteDocument, VersionNotes
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.licences import LOOKED_UP_LATER, UNKNOWN, licence_of
from wheelyard.storage.base import ABSENT

REMEMBERED: Final = 50_000
"""Files whose licence is kept in memory."""
LICENCES: Final = Codec(NoteDocument[str])
NOTHING_NOTED: Final = Snapshot[NoteDocument[str]](None, ABSENT, 0.0, 0.0, 0)

D = TypeVar("D", bound="FileOfRelease")


class FileOfRelease(Protocol):
    """A file that may have core metadata."""

    @property
    def filename(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """The version of its release."""

    @property
    def sha256(self) -> str:
        """Its SHA-256, or empty if that is not known."""

    @property
    def core_metadata(self) -> str:
        """SHA-256 of its core metadata, or empty if that is not known."""

    @property
    def has_metadata(self) -> bool:
        """Whether there is core metadata."""


class LicenceFinder:
    """
    Finds the licences of files. Threads may share it.

    A file without metadata has the licence of another one of its release.

    Args:
        notes: Those of the store about public packages, or None without an upstream index.
    """

    def __init__(self, notes: VersionNotes[str] | None = None) -> None:
        self.notes = notes
        self._licences: LruCache[str, str] = LruCache(REMEMBERED)
        """Licences by the digest of the core metadata in which they were found."""
        self.count = 0
        """How many were found so far: whoever has judged a page by less judges it again."""

    def read_notes(self) -> Snapshot[NoteDocument[str]]:
        """
        Return the notes of the store, from its cache if that is fresh.

        They are `NOTHING_NOTED` without an upstream index. Raises Unavailable if the store does not
        answer, or if they are damaged.
        """
        if self.notes is None:
            return NOTHING_NOTED
        return self.notes.get()

    def remembered_licences(
        self,
        name: NormalizedName,
        files: Iterable[D],
        noted: Snapshot[NoteDocument[str]],
        *,
        is_of_store: bool = False,
    ) -> dict[str, str]:
        """
        Return the licences of all files of a project as far as they were found, by filename.

        Another one is `LOOKED_UP_LATER`, or `UNKNOWN` if no file of its release has metadata.
        `noted` is what `read_notes` has returned. With `is_of_store` it alone counts, and not what
        only this process has found. Fetches and reads nothing.
        """
        listed = tuple(files)
        by_version: Mapping[str, str] = {}
        if self.notes is not None:
            by_version = self.notes.of_project(name, noted)
        described = _described(listed)
        licences = dict[str, str]()
        for file in listed:
            # an sdist often has no metadata beside it, and a wheel of its release has
            source = file if file.has_metadata else described.get(file.version)
            licence = None
            if source is not None and not is_of_store:
                licence = self._licences.get(_key(name, source))
            if licence is None and source is None:
                licence = by_version.get(file.version, UNKNOWN)
            elif licence is None:
                licence = by_version.get(file.version, LOOKED_UP_LATER)
            licences[file.filename] = licence
        return licences

    def find(
        self, name: NormalizedName, file: D, files: Iterable[D], read: Callable[[D], bytes]
    ) -> str:
        """
        Return the licence of a file of a public project, whose files are `files`.

        It is `UNKNOWN` if neither it nor another file of its release has metadata. What was found
        is remembered, also that there is none. `read` returns the core metadata of one, fetched if
        needed. It raises NotFound if there is none. Raises Unavailable if that does.
        """
        # its own metadata, if it has any, comes before that of its release
        release = [file]
        release += [listed for listed in files if listed.version == file.version]
        source = _described(release).get(file.version)
        if source is None:
            return UNKNOWN
        try:
            return self._read(name, source, read)
        except NotFound:
            # the page says that there is metadata, and the index has none: not asked again
            return self._remember(_key(name, source), UNKNOWN)

    def note(self, name: NormalizedName, version: str, licence: str) -> None:
        """
        Note the licence of a version of a public project in the store, over one that is there.

        Does nothing without an upstream index, or if the notes cannot be read or written.
        """
        if self.notes is None:
            return
        with suppress(Unavailable):  # then the next one who asks for the file writes it down
            self.notes.add(name, self.notes.get(), {version: licence}, replaces=True)

    def of_private(self, name: NormalizedName, file: D, read: Callable[[D], bytes]) -> str:
        """
        Return the licence of a private file, whose core metadata may be read for it.

        It is `UNKNOWN` without metadata, and then not remembered. `read` returns the core metadata,
        or raises NotFound. Raises Unavailable if that does.
        """
        if not file.has_metadata:
            return UNKNOWN
        # what the store has lost may come back, so that it is not remembered
        with suppress(NotFound):
            return self._read(name, file, read)
        return UNKNOWN

    def _read(self, name: NormalizedName, file: D, read: Callable[[D], bytes]) -> str:
        key = _key(name, file)
        licence = self._licences.get(key)
        if licence is None:
            licence = self._remember(key, licence_of(read(file), name, file.version))
        return licence

    def _remember(self, key: str, licence: str) -> str:
        self._licences.put(key, licence, 1)
        # not by a lock: two threads that count one licence only make pages be judged once more
        self.count += 1
        return licence


def _described(files: Iterable[D]) -> dict[str, D]:
    """Return the first file of each version that has core metadata."""
    described = dict[str, D]()
    for file in files:
        if file.has_metadata:
            described.setdefault(file.version, file)
    return described


def _key(name: NormalizedName, file: FileOfRelease) -> str:
    """Return by what the licence of a file is remembered."""
    # without the digest of the metadata, that of the file says that both are the same as before
    return file.core_metadata or f"{name} {file.filename} {file.sha256}"
