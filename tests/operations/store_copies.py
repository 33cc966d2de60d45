"""Copies from a store into an index."""

from wheelyard.catalog.changes import Changes
from wheelyard.operations.copying.credential_copy import UpstreamCopy
from wheelyard.operations.copying.store_copy import StoreCopy
from wheelyard.storage.base import Store, Stores
from wheelyard.wiring.build import Index


def store_copy(
    source: Stores,
    changes: Changes | None,
    target: Index,
    *,
    upstream: Store | None = None,
    origin: str = "FROM",
    claims_names: bool = False,
) -> StoreCopy:
    """Return the copy of a store with these changes; `upstream` has its pages if it has not."""
    there = target.stores
    return StoreCopy(
        source=source,
        source_changes=changes,
        origin=origin,
        target=there,
        target_changes=target.changes,
        projects=target.projects,
        rights=target.catalog.rights,
        decisions=target.decisions,
        upstream=UpstreamCopy(upstream or source.documents, there.documents, target.retries),
        spool=target.spool,
        threads=1,
        claims_names=claims_names,
    )
