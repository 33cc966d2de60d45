"""Pages, put over the versions that were seen before their documents were read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from wheelyard.operations.exporting.pages import Page
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

Versions = Mapping[Key, ObjectVersion]
"""Of pages; what is not named is not there."""


@dataclass(slots=True)
class Counts:
    """How many pages were changed so far; shared between threads."""

    written: int = 0
    removed: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, *, written: int = 0, removed: int = 0) -> None:
        """Count some."""
        with self._lock:
            self.written += written
            self.removed += removed


@dataclass(frozen=True, slots=True)
class Writing:
    """Writes pages to a site."""

    site: Store
    counts: Counts

    def seen(self, paths: Iterable[Key]) -> dict[Key, ObjectVersion]:
        """Return the version that each page has now."""
        found = ((path, self.site.get(path)) for path in paths)
        return {path: each.version for path, each in found if isinstance(each, Stored)}

    def put(self, pages: Iterable[Page], seen: Versions) -> dict[Key, ObjectVersion]:
        """
        Put pages over the versions that were seen; return those that they have now.

        Raises:
            Conflict: Somebody else was there, and what comes after that page is not written.
        """
        put = dict[Key, ObjectVersion]()
        for page in pages:
            before = seen.get(page.path, ABSENT)
            if page.body is not None:
                put[page.path] = self.site.put(page.path, page.body, before, page.kind)
                self.counts.add(written=1)
            elif before != ABSENT:
                self.site.delete(page.path, before)
                self.counts.add(removed=1)
        return put
