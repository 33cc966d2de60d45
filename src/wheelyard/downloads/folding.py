"""Folding: the batches of all processes are added to one document for each month."""

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
The age from which a batch is added.

Whoever lists batches and finds one so old also finds the one that its process wrote before it.
"""
FOLDED_DAYS: Final = 30
"""How long a month knows the batches that it has. A process repeats a failed write until then."""
BATCHES_AT_ONCE: Final = 500

logger = logging.getLogger("wheelyard")

_Counts = dict[NormalizedName, ProjectCounts]


def fold(store: Store, now: float) -> None:
    """
    Add the batches to the months, and delete them, and the months that are too old.

    A batch of the last hour stays. One that is damaged is logged and deleted. `now` is in seconds
    since the epoch, best by the store's clock. Any process may do that at any time. Raises Conflict
    if another one has just done it. Raises Unavailable if the store does not answer, or the
    document of a month is damaged. Then the rest is done by a later call.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    settled = _settled(store, now - SETTLED_SECONDS)
    while batches := list(islice(settled, BATCHES_AT_ONCE)):
        _fold(store, batches, today)
    oldest = stored_counts.month_of(today - timedelta(KEPT_DAYS))
    # listed to the end first, as the months are deleted under the listing
    for entry in list(store.list(keys.MONTHS_OF_DOWNLOADS)):
        month = keys.parse_month_of_downloads(entry.key)
        if month is not None and month < oldest:
            store.delete(entry.key)


def _settled(store: Store, before: float) -> Iterator[keys.DownloadBatch]:
    """Yield the batches that were written before a time, those of each process in their order."""
    for entry in store.list(keys.NEW_DOWNLOADS):
        batch = keys.parse_download_batch(entry.key)
        if batch is not None and entry.modified < before:
            yield batch


def _fold(store: Store, batches: Sequence[keys.DownloadBatch], today: date) -> None:
    """Add batches to the months of their days, and delete them."""
    batches_by_month = dict[str, list[tuple[keys.DownloadBatch, _Counts]]]()
    for batch in batches:
        for month, counts in _read(store, batch).items():
            batches_by_month.setdefault(month, []).append((batch, counts))
    # a process that dies in between leaves batches, which their month knows it has
    for month, batches_of_month in batches_by_month.items():
        _add(store, month, batches_of_month, today)
    for batch in batches:  # all months have them now
        store.delete(batch.key)


def _read(store: Store, batch: keys.DownloadBatch) -> dict[str, _Counts]:
    """Return the counts of a batch by month: none if it is damaged, or another process has it."""
    stored = store.get(batch.key)
    if isinstance(stored, Stored):
        with UnreadableIgnored():
            return stored_counts.by_month(BATCHES.decode(batch.key, stored.body))
        # it is deleted with the others, or each later call would come here again
        logger.warning("counts of downloads are lost, as %s is damaged", store.whole_key(batch.key))
    return {}


def _add(
    store: Store, month: str, batches: Sequence[tuple[keys.DownloadBatch, _Counts]], today: date
) -> None:
    """Write a month that has the counts of these batches, too, unless it has them already."""
    key = keys.downloads_of_month(month)
    stored = store.get(key)
    document = stored_counts.NO_COUNTS
    version = ABSENT
    if isinstance(stored, Stored):
        document = MONTHS.decode(store.whole_key(key), stored.body)
        version = stored.version
    folded = dict[str, tuple[int, date]]()

    # processes come and go, so a month forgets those that have long written nothing
    oldest_day = today - timedelta(FOLDED_DAYS)
    for process, (number, day) in document.folded.items():
        if day >= oldest_day:
            folded[process] = (number, day)
    added = _Counts()
    for batch, counts in batches:
        if not document.has(batch):
            folded[batch.process] = (batch.number, today)
            for name, project in counts.items():
                added.setdefault(name, ProjectCounts()).update(project)
    if added:
        projects = document.folded_projects()
        for name, project in added.items():
            projects[name] = stored_counts.encode_counts(document.counts(name) + project)
        # the counts and what says that they are there are one write, so nothing counts twice
        store.put(key, MONTHS.encode(CountsDocument(projects, folded)), version)
