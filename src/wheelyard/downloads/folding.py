"""Folds batches: adds their counts to one document for each month, and deletes them."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.downloads import counts as stored_counts
from wheelyard.downloads.counts import BATCHES, MONTHS, CountsDocument
from wheelyard.model.downloads import KEPT_DAYS, ProjectCounts
from wheelyard.storage.base import ABSENT, Store, Stored

SETTLED_SECONDS: Final = 3600.0
"""
The age from which a batch is added to a month.

A listing with a batch of this age also has the batch that its process wrote before.
"""
FOLDED_DAYS: Final = 30
"""
How long a month knows up to which batch of a process it has the counts.

A process that repeats a failed write for longer may count downloads twice.
"""
BATCHES_AT_ONCE: Final = 500
"""How many batches are read into memory before the months are written."""

logger = logging.getLogger("wheelyard")

_Counts = dict[NormalizedName, ProjectCounts]


def fold(store: Store, now: float) -> None:
    """
    Add the batches to the months, delete them, and delete the months that are too old.

    A batch of the last hour stays. A damaged batch is logged and deleted. `now` is in seconds since
    the epoch, best by the store's clock. Any process may call this at any time. Raises Conflict if
    another process has written a month meanwhile. Raises Unavailable if the store does not answer,
    or the document of a month is damaged. After an error, a later call does the work that is left.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    settled_batches = _list_settled_batches(store, now - SETTLED_SECONDS)
    while batches := list(islice(settled_batches, BATCHES_AT_ONCE)):
        _fold_batches(store, batches, today)
    oldest_month = stored_counts.month_of(today - timedelta(KEPT_DAYS))
    # listed to the end first, as months are deleted in the loop
    for entry in list(store.list(keys.MONTHS_OF_DOWNLOADS)):
        month = keys.parse_month_of_downloads(entry.key)
        if month is not None and month < oldest_month:
            store.delete(entry.key)


def _list_settled_batches(store: Store, before: float) -> Iterator[keys.DownloadBatch]:
    """Yield the batches that were written before a time, those of each process in their order."""
    for entry in store.list(keys.NEW_DOWNLOADS):
        batch = keys.parse_download_batch(entry.key)
        if batch is not None and entry.modified < before:
            yield batch


def _fold_batches(store: Store, batches: Sequence[keys.DownloadBatch], today: date) -> None:
    """Add batches to the months of their days, and delete them."""
    batches_by_month = dict[str, list[tuple[keys.DownloadBatch, _Counts]]]()
    for batch in batches:
        for month, counts in _read_batch(store, batch).items():
            batches_by_month.setdefault(month, []).append((batch, counts))
    # a process that dies before the deletes leaves batches, but the month knows that it has them
    for month, batches_of_month in batches_by_month.items():
        _add_to_month(store, month, batches_of_month, today)
    for batch in batches:
        store.delete(batch.key)


def _read_batch(store: Store, batch: keys.DownloadBatch) -> dict[str, _Counts]:
    """Return the counts of a batch by month, which are empty if it is damaged or was deleted."""
    stored = store.get(batch.key)
    if isinstance(stored, Stored):
        with UnreadableIgnored():
            document = BATCHES.decode(batch.key, stored.body)
            return stored_counts.by_month(document)
        # a damaged batch is deleted with the others, or each later call would come here again
        logger.warning("counts of downloads are lost, as %s is damaged", store.whole_key(batch.key))
    return {}


def _add_to_month(
    store: Store, month: str, batches: Sequence[tuple[keys.DownloadBatch, _Counts]], today: date
) -> None:
    """Add the counts of batches to the document of a month, without batches that it has."""
    key = keys.downloads_of_month(month)
    stored = store.get(key)
    document = stored_counts.NO_COUNTS
    version = ABSENT
    if isinstance(stored, Stored):
        document = MONTHS.decode(store.whole_key(key), stored.body)
        version = stored.version

    # processes come and go, so a month forgets those that have long written nothing
    folded = dict[str, tuple[int, date]]()
    oldest_day = today - timedelta(FOLDED_DAYS)
    for process, (number, day) in document.folded.items():
        if day >= oldest_day:
            folded[process] = (number, day)
    new_counts = _Counts()
    for batch, counts in batches:
        if not document.has(batch):
            folded[batch.process] = (batch.number, today)
            for name, project_counts in counts.items():
                new_counts.setdefault(name, ProjectCounts()).update(project_counts)
    if new_counts:
        projects = document.folded_projects()
        for name, project_counts in new_counts.items():
            sum_of_counts = document.counts(name) + project_counts
            projects[name] = stored_counts.encode_counts(sum_of_counts)
        # one write has the counts and the numbers of their batches, so no batch counts twice
        store.put(key, MONTHS.encode(CountsDocument(projects, folded)), version)
