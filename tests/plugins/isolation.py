"""
Keeps apart the tests that need this machine and those that need only Python.

A test that starts a process or opens a socket has the marker `integration`. `--fast` leaves out the
tests with that marker, and the slow ones; `--rest` runs only these. With `--fast`, a test that
nevertheless starts a process or opens a socket fails, which an audit hook of the interpreter
(PEP 578) tells.
"""

import platform
import re
import sys
from collections.abc import Generator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

FOLDERS = frozenset(
    {
        "browser",
        "bucket_clients",
        "clients",
        "deploy",
        "downloads",
        "durability",
        "fake_gcs",
        "instances",
        "keyring_tests",
        "migration",
        "services",
    }
)
"""Folders in which every test is an integration test."""
LEFT_OUT = frozenset({"integration", "clients", "downloads", "services", "slow", "weekly"})
"""Markers of the tests that `--fast` leaves out."""
_MARKER = rf"mark\.({'|'.join(sorted(LEFT_OUT))})\b"
_LEFT_OUT = re.compile(_MARKER)
_LEFT_OUT_AS_A_WHOLE = re.compile(rf"^pytestmark = \[?pytest\.{_MARKER}", re.MULTILINE)
FORBIDDEN = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.system",
        "socket.bind",
        "socket.connect",
        "socket.sendto",
        "subprocess.Popen",
    }
)
"""Audit events of Python that only an integration test may cause."""


class Isolation:
    """Notes which forbidden events happen while one test runs, its fixtures included."""

    def __init__(self) -> None:
        self._seen: set[str] | None = None
        # each is done once, by any library: a program is started, and a socket is bound
        platform.processor()
        import_module("urllib3.util.connection")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _arguments: object) -> None:
        if self._seen is not None and event in FORBIDDEN:
            self._seen.add(event)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Listen while a test runs."""
        self._seen = set()
        try:
            return (yield)
        finally:
            self._seen = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test that needs the marker and lacks it."""
        result = yield
        if self._seen:
            events = ", ".join(sorted(self._seen))
            pytest.fail(f"{item.name} causes {events}: mark it with pytest.mark.integration")
        return result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--fast` and `--rest`."""
    text = "run only the tests that start no process and open no socket"
    parser.addoption("--fast", action="store_true", help=text)
    parser.addoption(
        "--rest", action="store_true", help="run only the tests that --fast leaves out"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen."""
    if config.getoption("fast"):  # else threads of other tests would be heard, too
        config.pluginmanager.register(Isolation())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the folders and files that a run leaves out as a whole."""
    is_test_file = collection_path.name.startswith("test_")
    if config.getoption("rest") and is_test_file:
        return None if _may_be_left_out(collection_path) else True
    if config.getoption("fast"):
        return (
            collection_path.name in FOLDERS
            or (is_test_file and _is_left_out_as_a_whole(collection_path))
            or None
        )
    return None


@cache
def _may_be_left_out(file: Path) -> bool:
    """Return whether a test of a file may be one that `--fast` leaves out."""
    return not FOLDERS.isdisjoint(file.parts) or bool(_LEFT_OUT.search(file.read_text("utf-8")))


@cache
def _is_left_out_as_a_whole(file: Path) -> bool:
    """Return whether a file seems to give all its tests a marker that `--fast` leaves out."""
    return bool(_LEFT_OUT_AS_A_WHOLE.search(file.read_text("utf-8")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of the integration folders; `--fast` and `--rest` choose by the markers."""
    for item in items:
        if FOLDERS.intersection(item.path.relative_to(config.rootpath).parts):
            item.add_marker(pytest.mark.integration)
    if config.getoption("fast"):
        left_out = [item for item in items if _is_left_out(item)]
        for file in {item.path for item in left_out}:
            if not _may_be_left_out(file):  # else nobody would run it
                raise pytest.UsageError(f"{file}: write the marker of its tests as mark.NAME")
        items[:] = [item for item in items if not _is_left_out(item)]
        config.hook.pytest_deselected(items=left_out)
    if config.getoption("rest"):
        for file in {item.path for item in items if not _is_left_out(item)}:
            if _is_left_out_as_a_whole(file):  # else nobody would run it
                raise pytest.UsageError(f"{file}: begin no line of a text with pytestmark")
        items[:] = [item for item in items if _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    return any(mark.name in LEFT_OUT for mark in item.iter_markers())
