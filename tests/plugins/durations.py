"""
Says at the end how long the tests of each folder took, summed over all workers.

After a run of all tests it says, too, which folders were slower than they were, and whether the
run took longer than it may. `recorded_seconds.json` has the seconds of a run before, which
`--record-seconds` replaces.
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Final

import pytest

from wheelyard.wiring.stores import system_runtime

RECORDED: Final = Path(__file__).with_name("recorded_seconds.json")
LIMIT_SECONDS: Final = {"fast": 90, "rest": 510}
"""How long each of the two runs of `dev.py test` may take on two processors: ten minutes both."""
SLOWER: Final = 1.5
"""How much longer than before the tests of a folder take if they are told of."""
NOTICED_SECONDS: Final = 5.0
"""How many seconds longer, beside that."""
SHOWN_MODULES: Final = 60
"""The number of modules in the list of the slowest."""


def slower_folders(seconds: Mapping[str, float], recorded: Mapping[str, float]) -> Iterator[str]:
    """
    Yield a line for each folder that was slower than it was.

    The machine may be another one: its pace is the median of the folders that are in both.
    """
    common = [name for name in seconds if recorded.get(name, 0) > 1]
    if not common:
        return
    pace = statistics.median(seconds[name] / recorded[name] for name in common)
    for name in sorted(common):
        expected = pace * recorded[name]
        if seconds[name] > SLOWER * expected and seconds[name] - expected > NOTICED_SECONDS:
            yield f"{name} took {seconds[name]:.0f} s, and {expected:.0f} s at the pace before"


class DurationReport:
    """Adds up what tests and their fixtures took."""

    def __init__(self, run: str, *, is_recorded: bool) -> None:
        self._run = run
        self._is_recorded = is_recorded
        self._seconds = defaultdict[str, float](float)
        self._tests = Counter[str]()
        self._modules = defaultdict[str, float](float)
        self._monotonic = system_runtime().monotonic
        self._started = self._monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of one test."""
        module = report.nodeid.partition("::")[0]
        self._modules[module] += report.duration
        folder = "/".join(module.split("/")[:2])
        self._seconds[folder] += report.duration
        self._tests[folder] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, the longest first, and what was slower."""
        terminalreporter.section("seconds by folder, all workers together")
        for folder, seconds in sorted(self._seconds.items(), key=itemgetter(1), reverse=True):
            terminalreporter.write_line(f"{seconds:8.1f} s {self._tests[folder]:6} tests  {folder}")
        if not self._run:
            return
        terminalreporter.section("the slowest modules, which one worker runs each")
        for module, seconds in sorted(self._modules.items(), key=itemgetter(1))[-SHOWN_MODULES:]:
            terminalreporter.write_line(f"{seconds:8.1f} s  {module}")
        recorded: dict[str, dict[str, float]] = json.loads(RECORDED.read_text())
        for line in slower_folders(self._seconds, recorded.get(self._run, {})):
            terminalreporter.write_line(f"slower than before: {line}")
        took = self._monotonic() - self._started
        limit = LIMIT_SECONDS[self._run]
        if took > limit:
            terminalreporter.write_line(f"too slow: {took:.0f} s, where {limit} s are the limit")
        if self._is_recorded:
            recorded[self._run] = {
                name: round(self._seconds[name], 1) for name in sorted(self._seconds)
            }
            RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--record-seconds`."""
    text = "keep how long the tests of each folder took, for later runs to compare with"
    parser.addoption("--record-seconds", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Add up in the process that sees the reports of all workers."""
    if hasattr(config, "workerinput"):
        return
    run = ""
    # a choice of tests says nothing about the whole
    if config.args == config.getini("testpaths") and config.getoption("fast"):
        run = "fast"
    elif config.args == config.getini("testpaths") and config.getoption("rest"):
        run = "rest"
    is_recorded = config.getoption("record_seconds")
    config.pluginmanager.register(DurationReport(run, is_recorded=is_recorded))
