"""
The pages of upstream indexes in the store: JSON, compressed with gzip.

A page can be fetched again, so one that is damaged is as good as missing.
"""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import gunzipped, gzipped
from wheelyard.rendering.simple_pages import json_with_list
from wheelyard.storage.base import ABSENT, Key, NotModified, ObjectVersion, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.upstream.file_cache import load_pins
from wheelyard.upstream.page import UpstreamPage

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest page that is read, before compression."""
MAX_LOOKED_AT: Final = 20
"""Stored pages that are looked at for one with files; nearly each has some."""
_PAGES: Final = Decoder(UpstreamPage)

logger = logging.getLogger("wheelyard")


class StoredPages(Struct, frozen=True):
    """Reads and writes pages of upstream indexes in a store."""

    store: Store

    def load(
        self, upstream_id: str, name: NormalizedName, unless: ObjectVersion | None = None
    ) -> tuple[UpstreamPage | None, ObjectVersion] | None:
        """
        Return the page of a project, and the version of its object; None if that is `unless`.

        Instead of the page there is None if there is none, or it is damaged.
        """
        found = self.store.get(keys.upstream_page(upstream_id, name), unless or None)
        if isinstance(found, NotModified):
            return None
        if found is None:
            return None, ABSENT
        page = _decoded(found.body)
        if page is not None and page.name == name and page.upstream == upstream_id:
            return page, found.version
        logger.warning(
            "upstream: the stored page of %s is damaged, so its owner and the known digests of "
            "its files are lost; they are taken from the next answer",
            name,
        )
        return None, found.version

    def has_files(self, upstream_id: str) -> bool:
        """Return whether one of the first pages of an index that are stored has listed a file."""
        entries = self.store.list(f"{keys.upstream(upstream_id)}{keys.UPSTREAM_PAGES}")
        for entry in islice(entries, MAX_LOOKED_AT):
            found = self.store.get(entry.key)
            page = _decoded(found.body) if isinstance(found, Stored) else None
            if page is not None and (page.files or page.removed or page.changed):
                return True
        return False

    def first_fetched(self, page: UpstreamPage) -> Mapping[str, str]:
        """Return the SHA-256 of fetched files of a project whose page said none, by filename."""
        store = PrefixedStore(self.store, keys.upstream(page.upstream))
        return {name: pin.sha256 for name, pin in load_pins(store, page.name)[0].items()}

    def save(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion:
        """Write a page over the version `expect`, and return its version; may raise Conflict."""
        fields = asdict(page)
        files = fields.pop("files")
        body = json_with_list(fields, "files", files)
        return self.store.put(keys.upstream_page(page.upstream, page.name), gzipped(body), expect)

    def delete(self, upstream_id: str, name: NormalizedName) -> None:
        """Delete the page of a project, and the digests that its files had; none is no error."""
        below = keys.upstream(upstream_id)
        self.store.delete(keys.upstream_page(upstream_id, name))
        self.store.delete(Key(f"{below}{keys.upstream_digests(name)}"))
        for entry in list(self.store.list(f"{below}{keys.upstream_digest_folder(name)}")):
            self.store.delete(entry.key)


def _decoded(body: bytes) -> UpstreamPage | None:
    try:
        return _PAGES.decode(gunzipped(body, SIZE_LIMIT) or b"")
    except (DecodeError, UnicodeDecodeError):
        return None
