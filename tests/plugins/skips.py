"""
Lists the skipped tests, and fails CI for one that is not allowed.

`tests/allowed_skips.txt` holds a line for each skip that is allowed: patterns, as `fnmatch` has
them, of the test's name and of what it says, and why it is allowed, with ` : ` between.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parents[1] / "allowed_skips.txt"


class Skips:
    """Remembers what was skipped, and why."""

    def __init__(self, allowed: list[list[str]]) -> None:
        self._allowed = allowed
        self._skipped: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a module that is skipped as a whole."""
        self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Remember a skipped test; one that fails as expected is none."""
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self._skipped[report.nodeid] = reason.removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, on CI, for a skip that is not allowed."""
        if "CI" in os.environ and self._surprises() and session.exitstatus == pytest.ExitCode.OK:  # noqa: TID251
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print each skipped test with its reason."""
        if self._skipped:
            terminalreporter.section(f"{len(self._skipped)} skipped")
        for test, reason in sorted(self._skipped.items()):
            terminalreporter.write_line(f"{test}: {reason}")
        surprises = self._surprises()
        if surprises:
            terminalreporter.section("skipped, and not in tests/allowed_skips.txt: CI fails")
            terminalreporter.write_line("\n".join(surprises))

    def _surprises(self) -> list[str]:
        return [
            test
            for test, reason in sorted(self._skipped.items())
            if not any(fnmatchcase(test, a) and fnmatchcase(reason, b) for a, b, _ in self._allowed)
        ]


def pytest_configure(config: pytest.Config) -> None:
    """Watch in the process that sees the reports of all workers."""
    if not hasattr(config, "workerinput"):
        lines = ALLOWED.read_text().splitlines()
        allowed = [line.split(" : ") for line in lines if line[:1] not in {"", "#"}]
        config.pluginmanager.register(Skips(allowed))
