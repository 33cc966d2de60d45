"""
What a search finds: a line about each project, read again only where the project has changed.

Looking anew costs a request for each thousand projects, and one for each that has changed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.search_json import SearchEntry, search_entry
from wheelyard.storage.base import Entry, ObjectVersion, Stored

MAX_CONCURRENT_READS: Final = 16
"""Documents that are read at a time where the store is far."""
LOCAL_TTL_SECONDS: Final = 1.0
REMOTE_TTL_SECONDS: Final = 60.0
"""Seconds that what was found is not looked at again."""


@dataclass(frozen=True, slots=True)
class _CachedEntry:
    version: ObjectVersion
    search_entry: SearchEntry


@dataclass(slots=True)
class SearchIndex:
    """Lines about every project; safe to share between threads."""

    projects: Projects
    is_local: bool
    _lines: dict[NormalizedName, _CachedEntry] = field(default_factory=dict)
    _until: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def entries(self) -> tuple[SearchEntry, ...]:
        """Return a line about each project, in the order of their names."""
        with self._lock:
            now = self.projects.documents.now_seconds()
            if now >= self._until or not self._lines:
                self._lines = self._looked()
                self._until = now + (LOCAL_TTL_SECONDS if self.is_local else REMOTE_TTL_SECONDS)
            return tuple(line.search_entry for line in self._lines.values())

    def _looked(self) -> dict[NormalizedName, _CachedEntry]:
        listed = self.projects.names.get()
        known = listed.value.known if listed.value else frozenset()
        entries = dict[NormalizedName, Entry]()
        for entry in self.projects.store.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name in known:
                entries[name] = entry
        with ThreadPoolExecutor(1 if self.is_local else MAX_CONCURRENT_READS) as pool:
            lines = pool.map(self._line, entries, entries.values())
            return {name: line for name, line in zip(entries, lines, strict=True) if line}

    def _line(self, name: NormalizedName, entry: Entry) -> _CachedEntry | None:
        held = self._lines.get(name)
        if held is not None and held.version == entry.version:
            return held
        stored = self.projects.store.get(entry.key)
        if not isinstance(stored, Stored):
            return None
        project = self.projects.documents.codec.decode(entry.key, stored.body)
        return _CachedEntry(
            stored.version, search_entry(project, latest_release(releases_of(project)))
        )
