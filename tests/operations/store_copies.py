"""Copies from a store into an index."""

from collections.abc import Callable

from wheelyard.catalog.changes import Changes
from wheelyard.operations.copying.credential_copy import UpstreamCopy
from wheelyard.operations.copying.store_copy import CopyReport, IndexCopies, StoreCopy
from wheelyard.storage.base import Store, Stores
from wheelyard.wiring.index import Index


def copy_whole(source: Index, target: Index) -> CopyReport:
    """Copy a store with its list of indexes, as the command does."""
    changes_of = source.server.indexes.catalog_of
    copying = store_copy(
        source.stores, source.changes, target, changes_of=lambda name: changes_of(name).changes
    )
    return copying.run(lambda _, __: None)


def store_copy(
    source: Stores,
    changes: Changes,
    target: Index,
    *,
    upstream: Store | None = None,
    origin: str = "FROM",
    claims_names: bool = False,
    changes_of: Callable[[str], Changes] | None = None,
) -> StoreCopy:
    """Return the copy of a store with these changes; `upstream` has its pages if it has not."""
    there, indexes = target.stores, None
    if changes_of is not None:
        indexes = IndexCopies(
            records=target.catalog.index_records,
            source_changes=changes_of,
            target=target.server.indexes.catalog_of,
        )
    return StoreCopy(
        source=source,
        source_changes=changes,
        origin=origin,
        target=there,
        target_clock=target.lifecycle.removal.clock,
        target_changes=target.changes,
        projects=target.projects,
        rights=target.catalog.credential_documents,
        decisions=target.server.decisions,
        upstream=UpstreamCopy(upstream or source.documents, there.documents, target.server.retries),
        spool=target.server.spool,
        threads=1,
        claims_names=claims_names,
        indexes=indexes,
    )
