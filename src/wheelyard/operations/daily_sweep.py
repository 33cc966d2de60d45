"""The sweep of each day in a server, and what else is deleted once a day."""

import logging
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.concurrency.runtime import Runtime
from wheelyard.downloads.folding import fold
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.model.decoding import counted
from wheelyard.operations.descriptions.descriptions import remove_old
from wheelyard.operations.job_lease import JobLease
from wheelyard.operations.sweep import Sweep
from wheelyard.storage.base import STORAGE_DENIED, Store
from wheelyard.storage.forwarding import PrefixedStore

JOB: Final = "sweep"
EVERY: Final = timedelta(days=1)
FIRST_LOOK_SECONDS: Final = (10.0, 60.0)
"""The range of the pause after a start, which leaves the machine to the first requests."""
SPREAD_SECONDS: Final = 3600.0
"""
The longest random pause before a later look at the lease, so that servers take turns, and the hour
of the sweep changes.
"""
KEPT_VARIANTS_AGE: Final = timedelta(days=3)
"""
The age from which a document about wheel variants of an older page is deleted (`http/variants.py`).

A page writes its document on each day on which it is shown, and the document is served for a day
after that.
"""

logger = logging.getLogger("wheelyard")


class DailySweep:
    """
    Sweeps each day, unless another process does.

    After a sweep it deletes other objects that have become too old, and adds up the counts of
    downloads.

    Args:
        sweep: Finds and deletes leftovers in all indexes.
        changes: The feed of main, whose stale marks of commits are deleted.
        runtime: The clock, the pauses and the randomness of the process.
    """

    def __init__(self, sweep: Sweep, changes: Changes, runtime: Runtime) -> None:
        self._sweep = sweep
        self._changes = changes
        self._runtime = runtime
        self._clock = sweep.removal.clock
        self._lease = JobLease(sweep.stores.documents, JOB, self._clock)
        self._logged_failure = ""
        """The failure that was logged last, which is not logged again while it lasts."""

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="sweep", daemon=True).start()

    def run(self) -> None:
        """Sweep whenever it is due, for ever."""
        self._runtime.pause(self._runtime.random.uniform(*FIRST_LOOK_SECONDS))
        while True:
            wait = self.sweep_if_due().total_seconds()
            self._runtime.pause(wait + self._runtime.random.uniform(0.0, SPREAD_SECONDS))

    def sweep_if_due(self) -> timedelta:
        """
        Sweep if a sweep is due, and return after how long to try again.

        After a sweep, other objects that are too old are deleted, and counts of downloads are added
        up. A failure of the store is logged, and not raised.

        Returns a day after a sweep, also after one that failed, if the store has no files, or if
        another process has taken the lease meanwhile. If another process has the lease, or has
        swept within a day, returns the time that is left. Returns zero if the clock or the lease
        could not be read or written.
        """
        try:
            if next(self._sweep.stores.files.list(keys.FILES), None) is None:
                # nothing to sweep, and perhaps a store that only the first upload makes
                return EVERY
            now = self._clock.require_agreement()
            wait = self._lease.take(EVERY)
            if wait:
                return wait
            self._run_sweep(now)
            # also after a sweep that failed: else each server would try it again at once
            self._lease.complete()
            # without the lease, as any process may remove old objects at any time
            self._remove_old(now.timestamp())
        except Conflict:
            # this process was stopped for minutes, and another one has taken the lease
            return EVERY
        except WheelyardError as error:
            self._log_failure("no sweep today, so leftovers of uploads stay in the store", error)
            return timedelta()
        return EVERY

    def _run_sweep(self, now: datetime) -> None:
        """Sweep with the lease. Raises Conflict if another process has taken it meanwhile."""
        try:
            count = self._sweep.run(now, self._lease)
        except Conflict:
            raise
        except WheelyardError as error:
            cause = "no sweep today"
            if error.code == STORAGE_DENIED:
                cause = "this server may not delete"
            self._log_failure(f"{cause}, so leftovers of uploads stay in the store", error)
        else:
            self._logged_failure = ""
            if count:
                logger.info("swept %s of uploads and deletions", counted(count, "leftover"))

    def _remove_old(self, now: float) -> None:
        """
        Delete objects that have become too old, and add up counts of downloads.

        `now` is the time in seconds, by the store's clock. A failure is logged, and not raised.
        """
        try:
            # with the reserve, as this makes room on a full disk
            remove_stale_marks = partial(self._changes.remove_stale, now)
            self._sweep.stores.documents.with_reserve(remove_stale_marks)
            for prefix in self._sweep.removal.indexes():
                store = PrefixedStore(self._sweep.stores.documents, prefix)
                remove_old(store, now)
                _remove_kept_variants(store, now)
        except WheelyardError as error:
            self._log_failure("marks of commits and what was made of pages stay", error)
        # apart from the above, so that counts are added up also after a failure there
        try:
            for prefix in self._sweep.removal.indexes():
                fold(PrefixedStore(self._sweep.stores.documents, prefix), now)
        except WheelyardError as error:
            self._log_failure("counts of downloads are not added up today", error)

    def _log_failure(self, consequence: str, error: WheelyardError) -> None:
        """Log an error with its consequence, unless the error was logged last."""
        if error.message != self._logged_failure:
            self._logged_failure = error.message
            logger.warning("%s: %s", consequence, error.message)


def _remove_kept_variants(store: Store, now: float) -> None:
    """
    Delete the documents about wheel variants of pages that were not shown for days.

    `now` is the time in seconds, by the store's clock.
    """
    for entry in store.list(keys.KEPT_VARIANTS):
        if entry.modified < now - KEPT_VARIANTS_AGE.total_seconds():
            store.delete(entry.key)
