"""
Releases of upstream indexes that are known to be under a licence that was blocked.

A page says nothing of licences, and to fetch the metadata of all its files would cost far more than
the page. So the metadata of a release is read when a client asks for one of its files: the client
is refused then, and the release is remembered in the store, so that pages no longer show it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from wheelyard.catalog.document_cache import Codec, Snapshot
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.licences import UNKNOWN, LicencePatterns, licence_of
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.version_notes import NoteDocument, VersionNotes

REMEMBERED: Final = 10_000
"""Files whose licence is kept in memory."""

MetadataReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the core metadata of a file, fetched if needed.

Raises NotFound if there is none, and Unavailable if it cannot be had now.
"""


LICENCES: Final = Codec(NoteDocument[str])


class KnownLicences:
    """
    Finds, remembers and tells which releases are under a blocked licence; thread-safe.

    Args:
        patterns: The licences that are blocked.
        read_metadata: What reads the metadata of a file.
        notes: The licences that are known; an empty one is not.
    """

    def __init__(
        self, patterns: LicencePatterns, read_metadata: MetadataReader, notes: VersionNotes[str]
    ) -> None:
        self._patterns = patterns
        self._read_metadata = read_metadata
        self.notes = notes
        self._checked: LruCache[tuple[str, str], str] = LruCache(REMEMBERED)

    def blocked(self, page: UpstreamPage, noted: Snapshot[NoteDocument[str]]) -> Mapping[str, str]:
        """Return the blocked licences of a page by version, as far as they are known."""
        known = self.notes.of(page.name, noted)
        blocked = {each: text for each, text in known.items() if self._patterns.blocks(text)}
        if self._patterns.blocks_unknown:
            told = {each.version for each in page.files if each.has_metadata}
            blocked |= {each.version: UNKNOWN for each in page.files if each.version not in told}
        return blocked

    def find(self, page: UpstreamPage, file: UpstreamFile) -> str | None:
        """
        Return the licence of a file if it is blocked, else None; read its metadata if needed.

        A file without metadata has the licence of another one of its release. Raise Unavailable if
        the metadata cannot be had now.
        """
        key = page.name, file.filename
        licence = self._checked.get(key)
        if licence is None:
            licence = self._licence_of(page, file)
            self._checked.put(key, licence, 1)
        if not self._patterns.blocks(licence):
            return None
        with suppress(Unavailable):  # then the next one who asks for the file writes it down
            noted = self.notes.get()
            self.notes.change(page.name, noted, lambda known: {**known, file.version: licence})
        return licence

    def _licence_of(self, page: UpstreamPage, file: UpstreamFile) -> str:
        release = (each for each in page.files if each.version == file.version)
        told = next((each for each in (file, *release) if each.has_metadata), None)
        if told is None:
            return UNKNOWN
        try:
            raw = self._read_metadata(page, told)
        except NotFound:
            return UNKNOWN
        return licence_of(raw, page.name, file.version)
