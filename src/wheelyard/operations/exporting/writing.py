"""Pages, put over the versions that were seen before their documents were read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from wheelyard.catalog.races import Retries
from wheelyard.errors import Conflict
from wheelyard.operations.exporting.pages import Page
from wheelyard.storage.base import ABSENT, ObjectVersion
from wheelyard.storage.site.base import Site

T = TypeVar("T")


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

    site: Site
    retries: Retries
    counts: Counts

    def renew(
        self,
        paths: Iterable[str],
        make: Callable[[], tuple[Iterable[Page], T]],
        what: str,
    ) -> T:
        """
        Put pages whose content is read only after it is known which versions they have.

        Args:
            paths: Of all of them.
            make: Reads what they show, and makes them, with what is to be returned.
            what: They are, for a fault.

        Raises:
            Unavailable: A place does not answer, or others export all the time.
        """
        every = tuple(paths)
        for _ in self.retries.attempts():
            seen = {path: self.site.version(path) for path in every}
            try:
                pages, outcome = make()
                self._put_all(pages, seen)
            except Conflict:
                continue  # somebody else exports, too, and perhaps something later
            return outcome
        raise self.retries.exhausted(what)

    def _put_all(self, pages: Iterable[Page], seen: Mapping[str, ObjectVersion]) -> None:
        for page in pages:
            before = seen[page.path]
            if page.body is not None:
                self.site.put(page.path, page.body, page.kind, before)
                self.counts.add(written=1)
            elif before != ABSENT:
                self.site.delete(page.path, before)
                self.counts.add(removed=1)
