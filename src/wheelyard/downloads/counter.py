"""The counter of one process, which writes a batch at most once an hour."""

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
"""How many counts there may be in memory. Further downloads are counted by project alone."""

_Counts = dict[NormalizedName, ProjectCounts]

logger = logging.getLogger("wheelyard")


class DownloadCounter:
    """
    Counts downloads in memory, and writes them as batches.

    Threads may share it. A batch whose write failed is written again, with the same key and the
    same bytes: perhaps it is there. What is counted meanwhile is in the next one.
    """

    def __init__(
        self, store: Store, runtime: Runtime, start_timer: StartTimer = start_timer
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._start_timer = start_timer
        self._process = ""
        """In the keys of its batches: random digits, once there is a download."""
        self._number = 1
        """Of the next batch."""
        self._counts = _Counts()
        self._size = 0
        """How many counts there are."""
        self._batch: tuple[DownloadBatch, _Counts] | None = None
        """What is being written, or was not written. It does not change any more."""
        self._timer: StartedTimer | None = None
        self._is_closed = False
        self._lock = Lock()
        """Held for moments, never while the store is asked."""
        self._writing = Lock()
        """Held while a batch is written."""

    def note(self, project: NormalizedName, version: str) -> None:
        """Count one download of a file of a version. This never waits for the store."""
        key = DownloadKey(self._runtime.now().date(), version)
        with self._lock:
            if not self._process:
                self._process = self._runtime.new_id()
            self._add(project, key)
            if self._timer is None and not self._is_closed:
                self._schedule()

    def _add(self, project: NormalizedName, key: DownloadKey) -> None:
        """Add one to the counts, of which the caller holds the lock."""
        counts = self._counts.setdefault(project, ProjectCounts())
        if key not in counts:
            # memory must stay bounded, however many versions are downloaded
            if self._size >= MAX_KEYS:
                key = DownloadKey(key.day, "")
            self._size += 1
        counts[key] += 1

    def _schedule(self) -> None:
        try:
            self._timer = self._start_timer(WRITE_SECONDS, self._write_later)
        except RuntimeError:  # no more threads; the next download tries again
            self._timer = None

    def _write_later(self) -> None:
        """Write a batch, in the thread of the timer, and set the timer again if any is left."""
        try:
            self._write()
        finally:
            with self._lock:
                self._timer = None
                if (self._counts or self._batch) and not self._is_closed:
                    self._schedule()

    def _write(self) -> None:
        """Write one batch, if there is anything to write, or log why that failed."""
        # the thread of the timer and the one that ends the process may both come here
        with self._writing:
            with self._lock:
                # after a failed write, the same batch again: it may be in the store
                if self._batch is None and self._counts:
                    self._begin_batch()
                pending = self._batch
            if pending is None:
                return
            batch, counts = pending
            body = BATCHES.encode(document_of(counts))
            try:
                # without a condition: who finds this key there finds the same bytes
                self._store.put(batch.key, body, None)
            except WheelyardError as error:
                logger.warning(
                    "downloads of this process are not written yet, but are kept: %s", error.message
                )
                return
            # only now may the next number be written: a month has all numbers up to its last
            with self._lock:
                self._batch = None

    def _begin_batch(self) -> None:
        self._batch = (DownloadBatch(self._process, self._number), self._counts)
        self._number += 1
        self._counts = {}
        self._size = 0

    def unwritten(self) -> list[tuple[DownloadBatch, CountsDocument]]:
        """Return what is not written yet, as the batches that it will be in."""
        with self._lock:
            batches = [self._batch] if self._batch else []
            if self._counts:
                # copies, as these counts change once the lock is released
                counts = {name: project.copy() for name, project in self._counts.items()}
                batches.append((DownloadBatch(self._process, self._number), counts))
        return [(batch, document_of(counts)) for batch, counts in batches]

    def close(self) -> None:
        """
        Write what was counted, before the process ends.

        What the store does not take is lost, which is logged.
        """
        with self._lock:
            self._is_closed = True
            timer = self._timer
            self._timer = None
        if timer is not None:
            timer.cancel()
        self._write()  # perhaps one that failed before
        if self._batch is None:
            self._write()
