"""Says at the end how long the tests of each folder took, summed over all workers."""

from collections import Counter, defaultdict
from operator import itemgetter

import pytest


class DurationReport:
    """Adds up what tests and their fixtures took."""

    def __init__(self) -> None:
        self._seconds = defaultdict[str, float](float)
        self._tests = Counter[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of one test."""
        folder = "/".join(report.nodeid.partition("::")[0].split("/")[:2])
        self._seconds[folder] += report.duration
        self._tests[folder] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, the longest first."""
        terminalreporter.section("seconds by folder, all workers together")
        for folder, seconds in sorted(self._seconds.items(), key=itemgetter(1), reverse=True):
            terminalreporter.write_line(f"{seconds:8.1f} s {self._tests[folder]:6} tests  {folder}")


def pytest_configure(config: pytest.Config) -> None:
    """Add up in the process that sees the reports of all workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(DurationReport())
