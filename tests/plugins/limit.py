"""
The limit of time of a test, which leaves out what is made once for many tests.

The limit is pytest's `faulthandler_timeout`: the process of a test that hangs says where, and ends.
What `made_once` makes is mostly fetched, and a slow network is no fault of the test that happens to
come first. So it has a limit of its own, and that of the test begins anew afterwards.
"""

import faulthandler
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

import pytest

MAKING_SECONDS: Final = 1800.0
"""How long what is made once may take, all waiting for other workers included."""


class Limit:
    """The limit of the test that runs in this process, if one does."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._output = -1
        self._is_running = False
        self._makers = 0
        self._lock = Lock()
        """Held while the limit is set, as threads of a test may make something, too."""

    def configure(self, seconds: float) -> None:
        """Set the limit of each test, and say on today's standard error where one hangs."""
        self._seconds = seconds
        self._output = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ is not None else 2

    @contextmanager
    def of_a_test(self) -> Iterator[None]:
        """Note that a test runs, whose limit pytest has set."""
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False

    @contextmanager
    def of_making(self) -> Iterator[None]:
        """Give what is made here `MAKING_SECONDS`, and then the running test all of its own."""
        if not (self._is_running and self._seconds):  # outside of pytest, or of any test
            yield
            return
        with self._lock:
            self._makers += 1
            self._set(MAKING_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._makers -= 1
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Set the limit of the test unless something is still made, or the test has ended."""
        if self._is_running and not self._makers:
            self._set(self._seconds)

    def _set(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, file=self._output, exit=True)


LIMIT: Final = Limit()


def pytest_configure(config: pytest.Config) -> None:
    """Learn the limit."""
    LIMIT.configure(float(config.getini("faulthandler_timeout") or 0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Note that a test runs, its fixtures included."""
    with LIMIT.of_a_test():
        return (yield)
