"""
The search index: an entry for each listed project, made again only if its document changes.

A refresh of the index costs a request for each thousand projects, and one for each changed project.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Unavailable
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.search_json import SearchEntry, search_entry
from wheelyard.storage.base import Entry, ObjectVersion, Stored

MAX_CONCURRENT_READS: Final = 16
"""Documents that are read at a time from a remote store."""
LOCAL_TTL_SECONDS: Final = 1.0
"""Age at which the index of a local store is refreshed."""
REMOTE_TTL_SECONDS: Final = 60.0
"""Age at which the index of a bucket is refreshed."""

_CachedEntry = tuple[ObjectVersion, SearchEntry]
"""The version of a project's document, and the entry made from it."""


@dataclass(slots=True)
class SearchIndex:
    """The search index, cached for a second, a minute for a bucket; thread-safe."""

    projects: Projects
    is_local: bool
    _cached: dict[NormalizedName, _CachedEntry] = field(default_factory=dict)
    _expires_at: float = -inf
    _lock: Lock = field(default_factory=Lock)

    def entries(self) -> tuple[SearchEntry, ...]:
        """
        Return an entry for each listed project, sorted by name; may read the store.

        A project whose document is damaged has none. Raises Unavailable if the store does not
        answer.
        """
        with self._lock:
            now = self.projects.documents.now_seconds()
            if now >= self._expires_at:
                self._cached = self._refreshed()
                ttl = LOCAL_TTL_SECONDS if self.is_local else REMOTE_TTL_SECONDS
                self._expires_at = now + ttl
            return tuple(entry for _, entry in self._cached.values())

    def _refreshed(self) -> dict[NormalizedName, _CachedEntry]:
        names = self.projects.names.get()
        known = names.value.as_set if names.value else frozenset()
        documents = dict[NormalizedName, Entry]()
        for document in self.projects.store.list(keys.PROJECTS):
            name = keys.project_of(document.key)
            if name in known:
                documents[name] = document
        with ThreadPoolExecutor(1 if self.is_local else MAX_CONCURRENT_READS) as pool:
            entries = pool.map(self._entry, documents, documents.values())
            return {name: entry for name, entry in zip(documents, entries, strict=True) if entry}

    def _entry(self, name: NormalizedName, document: Entry) -> _CachedEntry | None:
        cached = self._cached.get(name)
        if cached is not None and cached[0] == document.version:
            return cached
        stored = self.projects.store.get(document.key)
        if not isinstance(stored, Stored):
            return None
        try:
            project = self.projects.documents.codec.decode(document.key, stored.body)
        except Unavailable:  # damaged: the other projects are found all the same
            return None
        described = latest_release(releases_of(project))
        return stored.version, search_entry(project, described)
