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
"""The longest random pause before a later look at the lease: servers take turns, and time moves."""
KEPT_VARIANTS_AGE: Final = timedelta(days=3)
"""
The age from which a document of an older page is deleted (`http/variants.py`).

A page writes it on the day on which it is shown, and it is served for a day after that.
"""

logger = logging.getLogger("wheelyard")


class DailySweep:
    """
    Sweeps each day, unless another process does, and gives serials to all changes.

    It also deletes what else has become too old.

    Args:
        sweep: What finds and deletes leftovers in all indexes.
        changes: The feed of main, whose stale marks of commits are deleted.
        runtime: That of the process.
    """

    def __init__(self, sweep: Sweep, changes: Changes, runtime: Runtime) -> None:
        self._sweep = sweep
        self._changes = changes
        self._runtime = runtime
        self._clock = sweep.removal.clock
        self._lease = JobLease(sweep.stores.documents, JOB, self._clock)
        self._logged = ""
        """The last failure that the log has. Each is there once."""

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
        Sweep if that is due, and return after how long to try again.

        After a sweep, what else is too old is deleted, and counts of downloads are added up. A
        failure of the store is logged, and not raised. The result is a day after a sweep, also one
        that failed, if there are no files at all, or if another process has taken the lease
        meanwhile. It is zero if the clock or the lease could not be read or written.
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
            # without the lease: any process may do that at any time
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
            why = "no sweep today"
            if error.code == STORAGE_DENIED:
                why = "this server may not delete"
            self._log_failure(f"{why}, so leftovers of uploads stay in the store", error)
        else:
            self._logged = ""
            if count:
                logger.info("swept %s of uploads and deletions", counted(count, "leftover"))

    def _remove_old(self, now: float) -> None:
        """Delete what has become too old, and add up counts of downloads, at a time in seconds."""
        try:
            # on a full disk, too, as it makes room
            self._sweep.stores.documents.with_reserve(partial(self._changes.remove_stale, now))
            for prefix in self._sweep.removal.indexes():
                store = PrefixedStore(self._sweep.stores.documents, prefix)
                remove_old(store, now)
                _remove_kept_variants(store, now)
        except WheelyardError as error:
            self._log_failure("marks of commits and what was made of pages stay", error)
        # by itself, so that a failure above does not keep it from being done
        try:
            for prefix in self._sweep.removal.indexes():
                fold(PrefixedStore(self._sweep.stores.documents, prefix), now)
        except WheelyardError as error:
            self._log_failure("counts of downloads are not added up today", error)

    def _log_failure(self, what: str, error: WheelyardError) -> None:
        """Log a failure, unless it is the one that was logged last."""
        if error.message != self._logged:
            self._logged = error.message
            logger.warning("%s: %s", what, error.message)


def _remove_kept_variants(store: Store, now: float) -> None:
    """Delete what pages have linked to that nobody shows any more, at a time in seconds."""
    for entry in store.list(keys.KEPT_VARIANTS):
        if entry.modified < now - KEPT_VARIANTS_AGE.total_seconds():
            store.delete(entry.key)
