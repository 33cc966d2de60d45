"""Opens a store to copy from, also one of the format before this one."""

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import format_2
from wheelyard.catalog.changes import ChangeLog, Changes
from wheelyard.catalog.document_cache import Codec, DocumentCache
from wheelyard.catalog.format import ensure_format, read_format
from wheelyard.catalog.format_2 import Format2Documents, Format2Upstream
from wheelyard.concurrency.prefetch import PREFETCH_THREADS
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.wiring.stores import (
    StoreTraits,
    cache_policy_in,
    open_store,
    system_runtime,
    upstream_store,
)


class CopySource(Struct, frozen=True):
    """A store to copy from."""

    stores: Stores
    upstream: Store
    """What is kept of upstream indexes."""
    traits: StoreTraits
    changes: Changes | None
    """Its feed; None for a store of format 2, which has none."""
    old: Format2Upstream | None
    """The same as `upstream` if it is a store of format 2, else None."""

    def stores_for(self, target: Stores) -> Stores:
        """Return the stores as ones of the present format, to copy them into `target`."""
        if self.old is None:
            return self.stores
        documents = Format2Documents(self.stores.documents, self.old, target.documents)
        return replace(self.stores, documents=documents)

    @property
    def notes(self) -> list[str]:
        """What of the objects that were copied could be converted in part only, as sentences."""
        return [] if self.old is None else self.old.notes


def open_copy_source(settings: Settings) -> CopySource:
    """Return the store of the settings; raise Invalid if it is missing, or cannot be copied."""
    runtime = system_runtime()
    opened = open_store(settings, runtime, create=False)
    stores, traits = opened.stores, opened.traits
    upstream = upstream_store(settings, stores, traits.operation_counter)
    found = read_format(stores.documents, format_2.NUMBER)
    if found is not None and found.format == format_2.NUMBER:
        old = Format2Upstream(upstream)
        return CopySource(stores, old, traits, None, old)
    ensure_format(stores.documents)
    # a copy writes nothing there, so it gives no serials
    documents = ReadOnlyStore(stores.documents)
    policy = cache_policy_in(traits, settings.store)
    logs = DocumentCache(documents, Codec(ChangeLog), runtime, policy)
    threads = 1 if traits.is_local else PREFETCH_THREADS
    changes = Changes(documents, logs, runtime, ConflictRetries(runtime=runtime), threads)
    return CopySource(stores, upstream, traits, changes, None)
