"""The daily run of retention, in one of many servers."""

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Action, Caller, everywhere
from wheelyard.model.decoding import counted
from wheelyard.retention.runs import Retention

EVERY: Final = timedelta(days=1)
FIRST_LOOK_SECONDS: Final = (60.0, 300.0)
"""The range of the pause after a start."""
LOOK_SECONDS: Final = (1800.0, 3600.0)
"""The range of the pause between two looks at the lease."""
DAILY: Final = Caller("local:retention", (everywhere(Action.ADMIN.with_implied),))
"""Who deletes, for the journal."""

logger = logging.getLogger("wheelyard")


class DailyRetention:
    """
    Applies the rules once a day, unless another process or an administrator has.

    Args:
        find: Returns what deletes by the rules that the store has now, or None without rules.
        runtime: That of the process.
    """

    def __init__(self, find: Callable[[], Retention | None], runtime: Runtime) -> None:
        self._find = find
        self._runtime = runtime
        self._logged = ""
        """The last failure that the log has. Each is there once."""

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="retention", daemon=True).start()

    def run(self) -> None:
        """Apply the rules whenever that is due, for ever."""
        self._runtime.pause(self._runtime.random.uniform(*FIRST_LOOK_SECONDS))
        while True:
            self.run_if_due()
            self._runtime.pause(self._runtime.random.uniform(*LOOK_SECONDS))

    def run_if_due(self) -> None:
        """Apply the rules if that is due. A failure of the store is logged, and not raised."""
        report = None
        try:
            retention = self._find()
            if retention is not None:
                report = retention.run(DAILY, every=EVERY)
        except WheelyardError as error:
            self._log(f"no complete run of retention today: {error.message}")
            return
        if report is None:
            return
        hindrances = [
            f"rule {rule.number}: {rule.hindrance}" for rule in report.rules if rule.hindrance
        ]
        skipped = (project.why for project in report.skipped)
        self._log("; ".join([*hindrances, *skipped, *report.warnings]))
        if report.deleted:
            logger.info("retention has deleted %s", counted(len(report.deleted), "release"))

    def _log(self, failure: str) -> None:
        if failure and failure != self._logged:
            logger.warning("retention: %s", failure)
        self._logged = failure
