"""
The sweep of leftovers that a server runs once a day: one of all servers of a store.

The lease in the store says who sweeps, and when a sweep was completed last. So a server that has
just started sweeps only if none has for a day. A server that dies leaves the rest to another one.
"""

import logging
from datetime import timedelta
from threading import Thread
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.leases import JobLease
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.model.text import counted
from wheelyard.operations.descriptions.descriptions import remove_old
from wheelyard.operations.sweep import Sweep
from wheelyard.storage.base import STORAGE_DENIED

JOB: Final = "sweep"
EVERY: Final = timedelta(days=1)
FIRST_LOOK_SECONDS: Final = (10.0, 60.0)
"""The range of the pause after a start, which leaves the machine to the first requests."""
SPREAD_SECONDS: Final = 3600.0
"""The longest random pause before a later look at the lease: servers take turns, and time moves."""

logger = logging.getLogger("wheelyard")


class DailySweep:
    """Sweeps each day, unless another process does; also gives serials to all changes."""

    def __init__(self, sweep: Sweep, changes: Changes, runtime: Runtime) -> None:
        self._sweep = sweep
        self._changes = changes
        self._runtime = runtime
        self._lease = JobLease(sweep.stores.documents, JOB, runtime)
        self._logged = ""
        """The last failure that the log has; each is there once."""

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
        """Sweep if that is due; return after how long to try again."""
        try:
            if next(self._sweep.stores.files.list(keys.FILES), None) is None:
                return EVERY  # perhaps a store that the first upload makes
            wait = self._lease.take(EVERY)
            if wait:
                return wait
            # a machine whose clock is ahead must not take uploads that are under way for old
            now = self._lease.written_at()
            self._run_sweep(now)
            self._lease.complete()
            self._remove_old(now)  # without the lease: any process may do that at any time
        except Conflict:  # this process was stopped, and another one has taken the lease
            return EVERY
        except WheelyardError as error:
            self._log_failure("no sweep today, so leftovers of uploads stay in the store", error)
            return timedelta()
        return EVERY

    def _run_sweep(self, now: float) -> None:
        try:
            count = self._sweep.run(now, self._lease.renew)
        except Conflict:
            raise
        except WheelyardError as error:
            why = "this server may not delete" if error.code == STORAGE_DENIED else "no sweep today"
            self._log_failure(f"{why}, so leftovers of uploads stay in the store", error)
        else:
            self._logged = ""
            if count:
                logger.info("swept %s of uploads and deletions", counted(count, "leftover"))

    def _remove_old(self, now: float) -> None:
        try:
            self._changes.remove_stale(now)
            remove_old(self._sweep.stores.documents, now)
        except WheelyardError as error:
            self._log_failure("marks of commits and old descriptions stay in the store", error)

    def _log_failure(self, what: str, error: WheelyardError) -> None:
        if error.message != self._logged:
            self._logged = error.message
            logger.warning("%s: %s", what, error.message)
