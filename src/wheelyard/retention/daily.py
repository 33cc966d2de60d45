"""The daily run of retention, in one of many servers."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Action, Caller, everywhere
from wheelyard.model.decoding import counted
from wheelyard.retention.runs import Retention

EVERY: Final = timedelta(days=1)
FIRST_LOOK_SECONDS: Final = (60.0, 300.0)
"""The range of the pause after a start, and between two looks while a first run is to come."""
LOOK_SECONDS: Final = (1800.0, 3600.0)
"""The range of the pause between two looks at the lease."""
DAILY: Final = Caller("local:retention", (everywhere(Action.ADMIN.with_implied),))
"""Who deletes, for the journal."""

logger = logging.getLogger("wheelyard")


def first_run_text(first_run: datetime, deleted: int) -> str:
    """Return when the first daily run comes, and how many releases it would delete, in words."""
    return (
        f"The first daily run by the present rules comes after {first_run:%Y-%m-%d %H:%M} UTC. It "
        f"would delete {counted(deleted, 'release')} now. A dry run of retention lists them."
    )


def next_daily_run(retention: Retention) -> datetime | None:
    """
    Return the earliest time of the next daily run.

    None means that a daily run comes as soon as a server looks whether it is due.

    Raises Unavailable if the store does not answer.
    """
    first_run = retention.rules_record.read_first_run()
    last_run = retention.last_run()
    if last_run is None:
        return first_run
    due = last_run + EVERY
    if first_run is None:
        return due
    return max(due, first_run)


class DailyRetention:
    """
    Applies the rules once a day, unless another process or an administrator has applied them.

    The first run by new rules comes an hour after the store first knew them.

    Args:
        find_retention: Returns what deletes by the rules that the store has now, or None if the
            store has no rules.
        runtime: The clock, the pauses and the randomness of the process.
    """

    def __init__(self, find_retention: Callable[[], Retention | None], runtime: Runtime) -> None:
        self._find_retention = find_retention
        self._runtime = runtime
        self._logged_failure = ""
        """The failure that was logged last, which is not logged again while it lasts."""
        self._is_waiting = False
        """Whether the first run by the present rules is still to come."""
        self._announced_first_run: datetime | None = None
        """The time of the first run that was logged last."""

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="retention", daemon=True).start()

    def run(self) -> None:
        """Apply the rules whenever a run is due, for ever."""
        # at once: if this process ends after some minutes, the hour before the first run goes on
        self.announce()
        # at random, so that servers which were started together do not meet at the lease
        self._runtime.pause(self._runtime.random.uniform(*FIRST_LOOK_SECONDS))
        while True:
            self.run_if_due()
            seconds = LOOK_SECONDS
            if self._is_waiting:
                seconds = FIRST_LOOK_SECONDS
            self._runtime.pause(self._runtime.random.uniform(*seconds))

    def announce(self) -> None:
        """
        Log when the first run by the present rules comes, and what it would delete.

        Logs nothing once the first run may begin. New rules are written down as known from now. A
        failure is logged, and not raised.
        """
        try:
            retention = self._find_retention()
            if retention is not None:
                self._is_known_long_enough(retention)
        except WheelyardError as error:
            self._log_failure(error.message)

    def run_if_due(self) -> None:
        """
        Apply the rules if a run is due. A failure of the store is logged, and not raised.

        New rules are written down as known from now, and are not applied in this call.
        """
        report = None
        try:
            retention = self._find_retention()
            if retention is not None and self._is_known_long_enough(retention):
                report = retention.run(DAILY, every=EVERY)
        # the thread goes on: the next look may find_retention a store that answers
        except WheelyardError as error:
            self._log_failure(f"no complete run of retention today: {error.message}")
            return
        if report is None:
            return
        failures = list[str]()
        for rule in report.rules:
            if rule.hindrance:
                failures.append(f"rule {rule.number}: {rule.hindrance}")
        failures += [project.why for project in report.skipped]
        failures += report.warnings
        self._log_failure("; ".join(failures))
        if report.deleted:
            logger.info("retention has deleted %s", counted(len(report.deleted), "release"))

    def _is_known_long_enough(self, retention: Retention) -> bool:
        """Return whether the store has had the rules for an hour. If not, log the first run."""
        first_run = retention.rules_record.ensure_first_run()
        self._is_waiting = first_run > retention.clock.now()
        if not self._is_waiting:
            return True
        if first_run != self._announced_first_run:
            deleted = retention.preview(DAILY).deleted
            logger.warning("retention: %s", first_run_text(first_run, len(deleted)))
            self._announced_first_run = first_run
        return False

    def _log_failure(self, failure: str) -> None:
        """Log a failure, unless it was logged last. An empty text says that the failure is over."""
        if failure and failure != self._logged_failure:
            logger.warning("retention: %s", failure)
        self._logged_failure = failure
