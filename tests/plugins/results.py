"""
Adds up the two runs of `dev.py test`: the fast tests, and all others.

With `--fast --results FILE` the results are kept in a file, and with `--rest --results FILE` they
count in the summary that ends the run.
"""

import json
from pathlib import Path

import pytest

COUNTED = ("error", "failed", "passed", "skipped", "xfailed", "xpassed")
"""The categories of pytest's summary that are results of tests."""


class Results:
    """Keeps the results of one run in a file, or adds them to those of another one."""

    def __init__(self, file: Path, *, is_second: bool) -> None:
        self._file = file
        self._is_second = is_second

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Add the results after those of this run are shown, and before they are counted."""
        stats, hook = terminalreporter.stats, config.hook
        if not self._is_second:
            reports = {
                category: [
                    hook.pytest_report_to_serializable(config=config, report=report)
                    for report in stats.get(category, ())
                ]
                for category in COUNTED
            }
            self._file.write_text(json.dumps(reports, default=repr))  # xdist adds its own objects
        elif self._file.exists():
            for category, reports in json.loads(self._file.read_text()).items():
                stats.setdefault(category, []).extend(
                    hook.pytest_report_from_serializable(config=config, data=report)
                    for report in reports
                )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--results`."""
    text = "where --fast keeps its results, and --rest finds them"
    parser.addoption("--results", type=Path, metavar="FILE", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Add up in the process that sees the reports of all workers."""
    file = config.getoption("results")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(file, is_second=config.getoption("rest")))
