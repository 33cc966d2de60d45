"""
Licences of files, found in core metadata, and remembered.

Metadata with a digest never changes, and neither does the licence in it. Licences that a rule hides
are noted in the store as well, so that no server shows their files again after a restart.
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
"""The most files whose licence is kept in memory."""
LICENCES: Final = Codec(NoteDocument[str])
NOTHING_NOTED: Final = Snapshot[NoteDocument[str]](None, ABSENT, 0.0, 0.0, 0)

D = TypeVar("D", bound="FileOfRelease")


class FileOfRelease(Protocol):
    """A file that may have core metadata."""

    @property
    def filename(self) -> str:
        """The filename."""

    @property
    def version(self) -> str:
        """The version of its release."""

    @property
    def sha256(self) -> str:
        """Its SHA-256, or empty if that is not known."""

    @property
    def core_metadata(self) -> str:
        """The SHA-256 of its core metadata, or empty if that is not known."""

    @property
    def has_metadata(self) -> bool:
        """Whether the file has core metadata."""


class LicenceFinder:
    """
    Finds the licences of files. Threads may share an object.

    A file without metadata has the licence of another file of its release.

    Args:
        notes: The notes in the store about public packages, or None without an upstream index.
    """

    def __init__(self, notes: VersionNotes[str] | None = None) -> None:
        self.notes = notes
        self._licences: LruCache[str, str] = LruCache(REMEMBERED)
        """Licences by the digest of the core metadata in which they were found."""
        self.count = 0
        """The number of licences found so far. A page that was judged by fewer is judged again."""

    def read_notes(self) -> Snapshot[NoteDocument[str]]:
        """
        Return the notes of the store, from its cache if that is fresh.

        Without an upstream index, return `NOTHING_NOTED`. Raises Unavailable if the store does not
        answer, or if the notes are damaged.
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
        stored_only: bool = False,
    ) -> dict[str, str]:
        """
        Return the licences of all files of a project as far as they were found, by filename.

        A licence that was not found is `LOOKED_UP_LATER`, or `UNKNOWN` if no file of its release
        has metadata. `noted` has the notes that `read_notes` has returned. With `stored_only` only
        these count, and not the licences that only this process has found. Nothing is fetched or
        read.
        """
        all_files = tuple(files)
        noted_by_version: Mapping[str, str] = {}
        if self.notes is not None:
            noted_by_version = self.notes.of_project(name, noted)
        file_with_metadata = _first_with_metadata(all_files)
        licences = dict[str, str]()
        for file in all_files:
            # an sdist often has no metadata beside it, and a wheel of its release has
            source = file if file.has_metadata else file_with_metadata.get(file.version)
            licence: str | None = None
            if source is not None and not stored_only:
                licence = self._licences.get(_cache_key(name, source))
            if licence is None:
                missing_licence = UNKNOWN if source is None else LOOKED_UP_LATER
                licence = noted_by_version.get(file.version, missing_licence)
            licences[file.filename] = licence
        return licences

    def find(
        self, name: NormalizedName, file: D, files: Iterable[D], read: Callable[[D], bytes]
    ) -> str:
        """
        Return the licence of a file of a public project, whose files are `files`.

        The licence is `UNKNOWN` if neither this file nor another one of its release has metadata.
        It is remembered, even if it is unknown. `read` returns the core metadata of a file, which
        it fetches if needed, or raises NotFound if there is none. Raises Unavailable if `read`
        does.
        """
        # the file itself is first, as its own metadata comes before that of its release
        release = [file]
        release += [listed for listed in files if listed.version == file.version]
        source = _first_with_metadata(release).get(file.version)
        if source is None:
            return UNKNOWN
        try:
            return self._find_in_metadata(name, source, read)
        except NotFound:
            # the page names metadata that the index does not have: it is not asked again
            return self._remember(_cache_key(name, source), UNKNOWN)

    def note(self, name: NormalizedName, version: str, licence: str) -> None:
        """
        Note the licence of a version of a public project in the store, in place of an older note.

        Nothing is noted without an upstream index, or if the notes cannot be read or written.
        """
        if self.notes is None:
            return
        with suppress(Unavailable):  # then the next request for the file notes it
            self.notes.add(name, self.notes.get(), {version: licence}, replaces=True)

    def of_private(self, name: NormalizedName, file: D, read: Callable[[D], bytes]) -> str:
        """
        Return the licence of a private file, whose core metadata may be read for it.

        Without metadata it is `UNKNOWN`, and not remembered. `read` returns the core metadata, or
        raises NotFound. Raises Unavailable if `read` does.
        """
        if not file.has_metadata:
            return UNKNOWN
        # not remembered, as metadata that the store has lost may be restored
        with suppress(NotFound):
            return self._find_in_metadata(name, file, read)
        return UNKNOWN

    def _find_in_metadata(self, name: NormalizedName, file: D, read: Callable[[D], bytes]) -> str:
        """Return the licence in the core metadata of a file, which are read unless it is known."""
        key = _cache_key(name, file)
        licence = self._licences.get(key)
        if licence is None:
            licence = self._remember(key, licence_of(read(file), name, file.version))
        return licence

    def _remember(self, key: str, licence: str) -> str:
        """Keep a licence in memory, and return it."""
        self._licences.put(key, licence, 1)
        # without a lock: if two threads find one licence at once, pages are judged once more
        self.count += 1
        return licence


def _first_with_metadata(files: Iterable[D]) -> dict[str, D]:
    """Return the first file with core metadata of each version, by version."""
    file_by_version = dict[str, D]()
    for file in files:
        if file.has_metadata:
            file_by_version.setdefault(file.version, file)
    return file_by_version


def _cache_key(name: NormalizedName, file: FileOfRelease) -> str:
    """Return the key by which the licence of a file is remembered."""
    # if the digest of the metadata is not known, the digest of the file stands for it
    return file.core_metadata or f"{name} {file.filename} {file.sha256}"
