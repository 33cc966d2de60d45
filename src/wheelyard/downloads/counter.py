"""Counts the downloads from one process in memory, and writes them as a batch once an hour."""

import logging
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.keys import DownloadBatch
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.timers import StartedTimer, StartTimer, start_timer
from wheelyard.downloads.counts import BATCHES, CountsDocument, document_of
from wheelyard.errors import WheelyardError
from wheelyard.model.downloads import DownloadKey, ProjectCounts
from wheelyard.storage.base import Store

WRITE_SECONDS: Final = 3600.0
"""The time from the first download that is not written to the write, also after a failed one."""
MAX_KEYS: Final = 100_000
"""How many counts may be in memory. Further downloads are counted by project and day alone."""

_Counts = dict[NormalizedName, ProjectCounts]

logger = logging.getLogger("wheelyard")


class DownloadCounter:
    """
    Counts downloads in memory, and writes them as batches.

    Threads may share it. A batch whose write failed is written again, with the same key and the
    same bytes, as it may be in the store all the same. Later downloads are in the next batch.
    """

    def __init__(
        self, store: Store, runtime: Runtime, start_timer: StartTimer = start_timer
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._start_timer = start_timer
        self._process = ""
        """The random id in the keys of all batches, or empty before the first download."""
        self._next_number = 1
        """The number of the next batch."""
        self._counts = _Counts()
        """The counts of downloads that are in no batch yet."""
        self._counts_size = 0
        """How many counts `_counts` has."""
        self._unwritten_batch: tuple[DownloadBatch, _Counts] | None = None
        """The batch that is being written, or whose write failed. Its counts do not change."""
        self._timer: StartedTimer | None = None
        self._is_closed = False
        self._counts_lock = Lock()
        """Held for moments, never while the store is asked."""
        self._write_lock = Lock()
        """Held while a batch is written."""

    def note(self, project: NormalizedName, version: str) -> None:
        """Count one download of a file of a version. This never waits for the store."""
        key = DownloadKey(self._runtime.now().date(), version)
        with self._counts_lock:
            if not self._process:
                self._process = self._runtime.new_id()
            self._add(project, key)
            if self._timer is None and not self._is_closed:
                self._schedule_write()

    def _add(self, project: NormalizedName, key: DownloadKey) -> None:
        """Count one download. The caller holds the lock of the counts."""
        counts = self._counts.setdefault(project, ProjectCounts())
        if key not in counts:
            # memory must stay bounded, however many versions are downloaded
            if self._counts_size >= MAX_KEYS:
                key = DownloadKey(key.day, "")
            self._counts_size += 1
        counts[key] += 1

    def _schedule_write(self) -> None:
        """Start the timer. The caller holds the lock of the counts."""
        try:
            self._timer = self._start_timer(WRITE_SECONDS, self._write_on_timer)
        except RuntimeError:  # no more threads; the next download tries again
            self._timer = None

    def _write_on_timer(self) -> None:
        """Write a batch, in the thread of the timer, and start it again if counts are left."""
        try:
            self._write_batch()
        finally:
            with self._counts_lock:
                self._timer = None
                has_unwritten_counts = bool(self._counts or self._unwritten_batch)
                if has_unwritten_counts and not self._is_closed:
                    self._schedule_write()

    def _write_batch(self) -> None:
        """Write one batch, if there are unwritten counts, or log why the write failed."""
        # the thread of the timer and the one that ends the process may both come here
        with self._write_lock:
            with self._counts_lock:
                # after a failed write, the same batch again: it may be in the store
                if self._unwritten_batch is None and self._counts:
                    self._begin_batch()
                unwritten_batch = self._unwritten_batch
            if unwritten_batch is None:
                return
            batch, counts = unwritten_batch
            body = BATCHES.encode(document_of(counts))
            try:
                # without a condition: an object that has this key already has the same bytes
                self._store.put(batch.key, body, None)
            except WheelyardError as error:
                logger.warning(
                    "downloads of this process are not written yet, but are kept: %s", error.message
                )
                return
            # only now may the next number be written: a month has all numbers up to its last
            with self._counts_lock:
                self._unwritten_batch = None

    def _begin_batch(self) -> None:
        """Move the counts to a new batch. The caller holds the lock of the counts."""
        self._unwritten_batch = (DownloadBatch(self._process, self._next_number), self._counts)
        self._next_number += 1
        self._counts = {}
        self._counts_size = 0

    def unwritten(self) -> list[tuple[DownloadBatch, CountsDocument]]:
        """Return the counts that are not written yet, as the batches that they will be in."""
        with self._counts_lock:
            batches = [self._unwritten_batch] if self._unwritten_batch else []
            if self._counts:
                # copies, as these counts change once the lock is released
                counts = {name: project.copy() for name, project in self._counts.items()}
                batches.append((DownloadBatch(self._process, self._next_number), counts))
        return [(batch, document_of(counts)) for batch, counts in batches]

    def close(self) -> None:
        """
        Write all counts, before the process ends.

        If the store does not take them, they are lost, and the failure is logged.
        """
        with self._counts_lock:
            self._is_closed = True
            timer = self._timer
            self._timer = None
        if timer is not None:
            timer.cancel()
        self._write_batch()  # perhaps a batch whose write failed before
        if self._unwritten_batch is None:
            self._write_batch()
