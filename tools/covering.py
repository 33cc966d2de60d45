"""
Pytest for `tools/mutants.py`: which test runs which line, and does a test notice a change?

Each run of pytest is in a process forked from this one. This one imports nothing of wheelyard, so
each child imports the code that it tests; it imports the other libraries, so that no child has to.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, ModuleType
from typing import Final

import msgspec
import pytest
from coverage import Coverage

OURS: Final = frozenset({"benchmarks", "conftest", "keyring_tests", "tests", "tools", "wheelyard"})
LONGEST_TEST: Final = 120
LONGEST_RUN: Final = 3600
"""Seconds after which a test, or pytest, hangs."""
HANGS: Final = "a test that hangs"
PASSED: Final = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
OPTIONS: Final = (
    *("-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly"),
    *("-m", "not clients and not downloads and not slow"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
NO_HANGING: Final = (
    *("-o", f"faulthandler_timeout={LONGEST_TEST}", "-o", "faulthandler_exit_on_timeout=true"),
)
FORK: Final = multiprocessing.get_context("fork")


class Measured(msgspec.Struct, frozen=True):
    """The measurements of a test run."""

    seconds: dict[str, float]
    """The duration of each test."""
    failed: list[str]
    libraries: list[str]
    """The modules that were imported, but for ours."""


class _Measuring:
    """A plugin of pytest that notes the lines and the time of each test."""

    def __init__(self, lines: Coverage) -> None:
        self.seconds = dict[str, float]()
        self.failed = list[str]()
        self._lines = lines

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Tell coverage in whose name lines are run from now on, by fixtures too."""
        self._lines.switch_context(item.nodeid)
        began = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that fails."""
        if report.failed:
            self.failed.append(report.nodeid)


class _Chosen:
    """A plugin of pytest that runs some tests, in their order, and notes the first that fails."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.failed = ""
        self._order = {test: number for number, test in enumerate(tests)}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """Deselect all tests but the chosen ones, after all other plugins."""
        yield
        chosen = (item for item in items if item.nodeid in self._order)
        items[:] = sorted(chosen, key=lambda item: self._order[item.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that cannot be imported any more."""
        if report.failed:
            self.failed = self.failed or report.nodeid

    pytest_runtest_logreport = pytest_collectreport


class _Changed(SourceFileLoader):
    """Imports one module with other source than what is in its file."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        super().__init__(module, str(path))
        self._source = source

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say that this is the loader of its module."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, _name: str) -> CodeType:
        """Compile the other source."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


def measured(location: Path, options: Sequence[str]) -> Measured:
    """Return what is in a file, or run tests without any change, and put it there."""

    def child() -> str:
        data(location).unlink(missing_ok=True)  # of a run that was stopped
        lines = Coverage(str(data(location)), source_pkgs=["wheelyard"], config_file=False)
        measuring = _Measuring(lines)
        with lines.collect():
            pytest.main([*OPTIONS, *options], [measuring])
        lines.save()
        libraries = [name for name in sys.modules if name.partition(".")[0] not in OURS]
        found = Measured(measuring.seconds, measuring.failed, libraries)
        location.write_bytes(msgspec.json.encode(found))
        return ""

    if not location.exists() and _forked(child):
        sys.exit(f"{options}: {HANGS} without any change")
    return msgspec.json.decode(location.read_bytes(), type=Measured)


def data(location: Path) -> Path:
    """Return the coverage file, beside that of `measured`, which maps lines to tests."""
    return location.with_suffix(".coverage")


def killer(module: str, path: Path, source: str, tests: Sequence[str]) -> str:
    """Run tests with other source for one module; return the first that fails, or nothing."""

    def child() -> str:
        sys.meta_path.insert(0, _Changed(module, path, source))
        chosen = _Chosen(tests)
        with TemporaryDirectory() as folder:
            options = (*OPTIONS, *NO_HANGING, "-x", f"--basetemp={folder}/tests")
            status = pytest.main([*options, *tests], [chosen])
        return chosen.failed or ("" if status in PASSED else f"pytest's status {status}")

    assert module not in sys.modules, f"a fork would have {module} without the change"  # noqa: S101
    return _forked(child) if tests else ""


def _forked(function: Callable[[], str]) -> str:
    """Run a function in a child that prints nothing; return what it returns."""
    receiver, sender = FORK.Pipe(duplex=False)

    def child() -> None:
        receiver.close()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        sender.send(function())

    process = FORK.Process(target=child)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(LONGEST_RUN) else HANGS
    except EOFError:
        return HANGS
    finally:
        process.kill()
        process.join()
        receiver.close()
