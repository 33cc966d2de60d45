"""
Releases of upstream indexes that are known to be under a licence that was blocked.

A page says nothing of licences, and to fetch the metadata of all its files would cost far more than
the page. So the metadata of a release is read when a client asks for one of its files: the client
is refused then, and the release is remembered in the store, so that pages no longer show it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, DocumentCache, MaxAge, Snapshot
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.licences import UNKNOWN, LicencePatterns, licence_of
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

REMEMBERED: Final = 10_000
"""Files whose licence is kept in memory."""

MetadataReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the core metadata of a file, fetched if needed.

Raises NotFound if there is none, and Unavailable if it cannot be had now.
"""


class LicenceList(Struct, frozen=True):
    """The stored form: the licence by project and version; an empty one is not known."""

    releases: dict[NormalizedName, dict[str, str]] = {}


LICENCES: Final = Codec(LicenceList)


class KnownLicences:
    """Finds, remembers and tells which releases are under a blocked licence; thread-safe."""

    def __init__(
        self,
        patterns: LicencePatterns,
        read_metadata: MetadataReader,
        documents: DocumentCache[LicenceList],
        retries: ConflictRetries,
    ) -> None:
        self._patterns = patterns
        self._read_metadata = read_metadata
        self._documents = documents
        self._retries = retries
        self._checked: LruCache[tuple[str, str], str] = LruCache(REMEMBERED)

    def peek(self) -> Snapshot[LicenceList] | None:
        """Return what is remembered, if that needs no read; see DocumentCache."""
        return self._documents.peek(keys.UPSTREAM_LICENCES)

    def get(self) -> Snapshot[LicenceList]:
        """Return what is remembered, from the cache or the store."""
        return self._documents.get(keys.UPSTREAM_LICENCES)

    def blocked(self, page: UpstreamPage, found: LicenceList | None) -> Mapping[str, str]:
        """Return the blocked licences of a page by version, as far as they are known."""
        known = found.releases.get(page.name, {}) if found else {}
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
        self._remember(page.name, file.version, licence)
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

    def _remember(self, name: NormalizedName, version: str, licence: str) -> None:
        """Add a release to the list in the store; if that fails, the next reader of it does."""
        with suppress(Unavailable):
            for attempt in self._retries.attempts():
                max_age: MaxAge = "current" if attempt else "fresh"
                before = self._documents.get(keys.UPSTREAM_LICENCES, max_age)
                releases = before.value.releases if before.value else {}
                known = releases.get(name, {})
                if known.get(version) == licence:
                    return
                after = LicenceList({**releases, name: {**known, version: licence}})
                if self._documents.swap(keys.UPSTREAM_LICENCES, after, before.version):
                    return
