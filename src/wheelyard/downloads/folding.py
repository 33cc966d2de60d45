"""Folding: the batches of all processes are added to one document for each month."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.keys import DownloadBatch
from wheelyard.downloads.counts import (
    BATCHES,
    MONTHS,
    NO_COUNTS,
    CountsDocument,
    by_month,
    encode_counts,
    month_of,
)
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

    `now` is in seconds since the epoch, best by the store's clock. Any process may do that at any
    time. Raises Conflict if another one has just done it. Raises Unavailable if the store does not
    answer, or the document of a month is damaged. Then the rest is done by a later call.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    settled = _settled(store, now - SETTLED_SECONDS)
    while batches := list(islice(settled, BATCHES_AT_ONCE)):
        _fold(store, batches, today)
    oldest = month_of(today - timedelta(KEPT_DAYS))
    for entry in list(store.list(keys.MONTHS_OF_DOWNLOADS)):
        month = keys.parse_month_of_downloads(entry.key)
        if month is not None and month < oldest:
            store.delete(entry.key)


def _settled(store: Store, before: float) -> Iterator[DownloadBatch]:
    """Yield the batches that were written before a time, those of each process in their order."""
    for entry in store.list(keys.NEW_DOWNLOADS):
        batch = keys.parse_download_batch(entry.key)
        if batch is not None and entry.modified < before:
            yield batch


def _fold(store: Store, batches: Sequence[DownloadBatch], today: date) -> None:
    months = dict[str, list[tuple[DownloadBatch, _Counts]]]()
    for batch in batches:
        for month, counts in _read(store, batch).items():
            months.setdefault(month, []).append((batch, counts))
    for month, parts in months.items():
        _add(store, month, parts, today)
    for batch in batches:  # all months have them now
        store.delete(batch.key)


def _read(store: Store, batch: DownloadBatch) -> dict[str, _Counts]:
    """Return the counts of a batch by month: none if it is damaged, or another process has it."""
    stored = store.get(batch.key)
    if isinstance(stored, Stored):
        with UnreadableIgnored():
            return by_month(BATCHES.decode(batch.key, stored.body))
        logger.warning("counts of downloads are lost, as %s is damaged", store.whole_key(batch.key))
    return {}


def _add(
    store: Store, month: str, parts: Sequence[tuple[DownloadBatch, _Counts]], today: date
) -> None:
    """Write a month that has these parts of batches, too, unless it has them already."""
    key = keys.downloads_of_month(month)
    stored = store.get(key)
    document, version = NO_COUNTS, ABSENT
    if isinstance(stored, Stored):
        document, version = MONTHS.decode(store.whole_key(key), stored.body), stored.version
    added = _Counts()
    folded = {
        process: last
        for process, last in document.folded.items()
        if last[1] >= today - timedelta(FOLDED_DAYS)
    }
    for batch, counts in parts:
        if not document.has(batch):
            folded[batch.process] = (batch.number, today)
            for name, project in counts.items():
                added.setdefault(name, ProjectCounts()).update(project)
    if added:
        projects = document.folded_projects()
        for name, project in added.items():
            projects[name] = encode_counts(document.counts(name) + project)
        store.put(key, MONTHS.encode(CountsDocument(projects, folded)), version)
