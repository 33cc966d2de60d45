"""
Whether a store takes what an index does with it, found out by doing it.

Rights on a bucket cannot be looked up: conditions, holds and whatever stands in between decide as
well. So an object that is there is written once more as it is, which takes every right that a
commit takes and leaves nothing behind. A server does that once when it begins, and again after
growing pauses until it has worked.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from wheelyard.catalog.conflict_retries import ConflictRetries
from wheelyard.catalog.format import renew_format
from wheelyard.catalog.keys import FORMAT
from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.errors import WheelyardError
from wheelyard.storage.base import DENIED, Key, Store, Stored

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
"""Seconds from one trial to the next, at most; a limit that doubles each time."""
NOT_TRIED_YET: Final = "The first write has not ended yet."

Reason = Callable[[], str]
"""Tells why a store has taken no write since the server began; nothing, if it has."""
Step = Callable[[], object]
"""Something that an index does with its store."""

logger = logging.getLogger("wheelyard")


def read_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return how a store is read; `key` is one that it may hold nothing at."""
    return (lambda: next(store.list(key), None), lambda: store.get(key))


def write_steps(store: Store, key: Key, retries: ConflictRetries) -> tuple[Step, ...]:
    """Return how a store is written: its own format once more, else something at `key`."""
    found: object = None
    with suppress(WheelyardError):
        found = store.get(FORMAT)
    if isinstance(found, Stored):
        return (lambda: renew_format(store, retries),)
    return scratch_write_steps(store, key)


def scratch_write_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return how a place is written that has no format of its own: nothing stays at `key`."""
    return (lambda: store.put(key, b"", None), lambda: store.delete(key, None))


def failures_of(steps: Iterable[Step]) -> Iterator[WheelyardError]:
    """
    Yield what a store refuses.

    A right that is missing does not keep the rest from being tried; whatever else is wrong does.
    """
    for step in steps:
        try:
            step()
        except WheelyardError as fault:
            yield fault
            if fault.code != DENIED:
                return


class StoreProbe:
    """
    The trial writes of one server: all of the steps have to succeed.

    What has come of them is in `note`, too, a file that all workers of the server read.
    """

    def __init__(self, steps: Sequence[Step], runtime: Runtime, note: Path | None = None) -> None:
        self.reason = NOT_TRIED_YET
        """Why the store cannot be written; empty once it has been."""
        self._steps = steps
        self._runtime = runtime
        self._note = note
        self._first = Event()

    def begin(self) -> None:
        """Try in the background, until a write has succeeded."""
        Thread(target=self.run, name="trial", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait for the end of the first try, but not for longer than that."""
        self._first.wait(seconds)

    def run(self) -> None:
        """Try until a write has succeeded."""
        waits = backoff_pauses(
            self._runtime.random, FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, at_least=0.5
        )
        told = ""
        while True:
            fault = next(failures_of(self._steps), None)
            self._settle("" if fault is None else fault.short)
            if fault is None:
                if told:
                    logger.info("the store can be written now, so /ready answers 200")
                return
            if fault.message != told:
                told = fault.message
                logger.warning("the store cannot be written, so /ready answers 503: %s", told)
            self._runtime.pause(next(waits))

    def _settle(self, reason: str) -> None:
        self.reason = reason
        if self._note is not None:
            with suppress(OSError):  # then the workers see it after the next try, or never
                new = self._note.with_suffix(".new")
                new.write_text(reason)
                new.replace(self._note)
        self._first.set()


def always_writable() -> str:
    """Return no reason at all: for a store of which nobody wants to know."""
    return ""


def recorded_reason(note: Path) -> str:
    """Return the reason that a server's trial has noted in a file; empty once it has worked."""
    try:
        return note.read_text()
    except OSError:
        return NOT_TRIED_YET
