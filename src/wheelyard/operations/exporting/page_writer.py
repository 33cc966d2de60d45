"""Pages of a site: their paths, and writing them with compare-and-swap."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from msgspec import Struct

from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored, WebType

PAGE_CACHE_CONTROL: Final = "no-cache"
"""Clients revalidate each page; a bucket would otherwise cache it for an hour."""
INDEX: Final = "index.html"

_GZIP: Final = WebType("application/gzip", PAGE_CACHE_CONTROL)

Versions = Mapping[Key, ObjectVersion]
"""The versions of existing objects of a site."""


class SitePage(Struct, frozen=True):
    """A page of a site, which is rendered only if it has to be written."""

    path: str
    """`project/demo/index.html`; a bucket has such a page at `project/demo/`, too."""
    kind: WebType
    render: Callable[[], bytes]
    made_from: str = ""
    """
    Equal for two pages at one path that have the same bytes, as far as that is known.

    Empty if the page has to be written in any case.
    """


class PagePaths(Struct, frozen=True):
    """At which paths a page is in a site."""

    serves_index: bool
    """Whether web servers answer `simple/` with `simple/index.html`."""
    is_gzipped: bool

    def of(self, path: str) -> Iterator[Key]:
        """Yield the path of a page, of its compressed form, and of its folder."""
        yield Key(path)
        if self.is_gzipped:
            yield Key(f"{path}.gz")
        if not self.serves_index and path.endswith(f"/{INDEX}"):
            yield Key(path.removesuffix(INDEX))


@dataclass(slots=True)
class PageWriter:
    """Writes and deletes pages of a site, and counts the written ones; thread-safe."""

    site: Store
    paths: PagePaths
    written: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def count(self, written: int) -> None:
        """Add `written` to the number of written pages."""
        with self._lock:
            self.written += written

    def current_versions(self, pages: Iterable[str]) -> dict[Key, ObjectVersion]:
        """Return the versions, read now, of those of these pages that exist."""
        return self.versions_of(key for path in pages for key in self.paths.of(path))

    def versions_of(self, objects: Iterable[Key]) -> dict[Key, ObjectVersion]:
        """Return the versions, read now, of those of these objects that exist."""
        stored = ((key, self.site.get(key)) for key in objects)
        return {key: each.version for key, each in stored if isinstance(each, Stored)}

    def listed_versions(self, prefixes: Iterable[str]) -> dict[Key, ObjectVersion]:
        """Return the versions, read now, of all objects below some prefixes."""
        found = (entry for prefix in prefixes for entry in self.site.list(prefix))
        return {entry.key: entry.version for entry in found}

    def write(self, page: SitePage, expected: Versions) -> dict[Key, ObjectVersion]:
        """
        Write a page over the expected versions; return its new versions.

        Without an expected version, a page must not exist yet. Raise Conflict if the page, or one
        of its other forms, has another version; those that are written stay written.
        """
        written, body = dict[Key, ObjectVersion](), page.render()
        for key in self.paths.of(page.path):
            form, kind = body, page.kind
            if key.endswith(".gz"):
                # without mtime=0, equal pages would get different bytes
                form, kind = gzip.compress(body, mtime=0), _GZIP
            written[key] = self.site.put(key, form, expected.get(key, ABSENT), kind)
            self.count(1)
        return written

    def delete(self, pages: Versions) -> None:
        """Delete objects, except those that have another version by now."""
        for key, version in pages.items():
            with suppress(Conflict):  # another export has written or deleted it
                self.site.delete(key, version)
