"""
Digests of files whose page has none: trust on first use.

The first bytes that come for such a file decide: its digest is kept, and other bytes under the same
filename are refused from then on. One object for each file, which is only ever created, says which
bytes came first. The document of a project lists the digests of all its files, for its page.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, NotModified, ObjectVersion, Store, Stored
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

COMPLETED_PAGES: Final = 200
"""Pages whose completed form is remembered."""


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
    """A page, and the same with the digests that were pinned at a version of the object."""

    page: UpstreamPage
    version: ObjectVersion
    completed: UpstreamPage


class PinnedDigests:
    """
    The digests of one upstream index that its pages do not say; safe to share between threads.

    `store` has what is kept of that index.
    """

    def __init__(self, store: Store, retries: ConflictRetries) -> None:
        self._store = store
        self._retries = retries
        self._completed = LruCache[NormalizedName, _Completed](COMPLETED_PAGES)

    def complete(self, page: UpstreamPage) -> UpstreamPage:
        """
        Return a page with the digests and sizes that are pinned.

        For the same page, it is the same object as long as no digest is pinned.
        """
        last = self._completed.get(page.name)
        known = last.version if last is not None and last.page is page else None
        key = keys.upstream_digests(page.name)
        found = self._store.get(key, known)
        if last is not None and isinstance(found, NotModified):
            return last.completed
        if not isinstance(found, Stored):
            return page
        pins = _PINS.decode(key, found.body).files

        def completed(file: UpstreamFile) -> UpstreamFile:
            pin = None if file.sha256 else pins.get(file.filename)
            return replace(file, sha256=pin.sha256, size=pin.size) if pin else file

        result = replace(page, files=tuple(map(completed, page.files)))
        self._completed.put(page.name, _Completed(page, found.version, result), 1)
        return result

    def load(self, name: NormalizedName) -> Mapping[str, Pin]:
        """Return what is known of a project's files, by filename."""
        return load_pins(self._store, name)[0]

    def pin(self, name: NormalizedName, filename: str, received: Pin) -> Pin:
        """Keep the digest of a file unless one is kept already; return the one that is kept."""
        listed = self.load(name).get(filename)
        if listed is not None:
            return listed
        key = keys.upstream_digest(name, filename)
        try:
            self._store.put(key, _PIN.encode(received), ABSENT)
        except Conflict:
            stored = self._store.get(key)
            if not isinstance(stored, Stored):
                raise
            return _PIN.decode(key, stored.body)
        return received

    def list_on_page(self, name: NormalizedName, filename: str, pin: Pin) -> None:
        """Add a digest that `pin` has kept to those of the project's page."""
        key = keys.upstream_digests(name)
        for _ in self._retries.attempts():
            listed, version = load_pins(self._store, name)
            if filename in listed:
                return
            body = _PINS.encode(Pins({**listed, filename: pin}))
            with suppress(Conflict):
                self._store.put(key, body, version)
                return
        raise self._retries.exhausted(str(key))


def load_pins(store: Store, name: NormalizedName) -> tuple[dict[str, Pin], ObjectVersion]:
    """Return the pins of a project, by filename, and the version of the object that has them."""
    key = keys.upstream_digests(name)
    stored = store.get(key)
    if not isinstance(stored, Stored):
        return {}, ABSENT
    return _PINS.decode(key, stored.body).files, stored.version
