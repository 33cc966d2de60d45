"""
A probe that uses the store, to find out whether the index may read and write it.

The permissions on a bucket cannot be looked up, as conditions, holds and proxies decide, too. So
the format object is written again with its own bytes, which needs the permissions of a commit;
where there is none, an empty object is created and deleted. A server probes writing when it starts,
unless it is read-only, and retries with backoff until it succeeds.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from wheelyard.catalog.format import rewrite_format
from wheelyard.catalog.keys import FORMAT
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, backoff_pauses
from wheelyard.errors import WheelyardError
from wheelyard.storage.base import STORAGE_DENIED, Key, Store, Stored

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
"""The pause after a failed probe: the first limit, which doubles each time, and the last."""
NOT_PROBED_YET: Final = "The first write has not ended yet."

Reason = Callable[[], str]
"""Returns why no write has succeeded since the server started; empty once one has."""
Step = Callable[[], object]
"""One operation on the store."""

logger = logging.getLogger("wheelyard")


def read_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return the steps that list and read `key`, which may be missing."""
    return (lambda: next(store.list(key), None), lambda: store.get(key))


def write_steps(store: Store, key: Key, retries: ConflictRetries) -> tuple[Step, ...]:
    """Return steps that rewrite the format object; if none can be read, create and delete `key`."""
    with suppress(WheelyardError):
        if isinstance(store.get(FORMAT), Stored):
            return (lambda: rewrite_format(store, retries),)
    return scratch_write_steps(store, key)


def scratch_write_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return the steps that write an empty object at `key`, and delete it."""
    return (lambda: store.put(key, b"", None), lambda: store.delete(key))


def failures_of(steps: Iterable[Step]) -> Iterator[WheelyardError]:
    """Run the steps and yield their errors; stop at the first that is not a missing permission."""
    for step in steps:
        try:
            step()
        except WheelyardError as error:
            yield error
            if error.code != STORAGE_DENIED:
                return


class StoreProbe:
    """Repeats the steps until all succeed; keeps the reason of a failure, also in `status_file`."""

    def __init__(
        self, steps: Sequence[Step], runtime: Runtime, status_file: Path | None = None
    ) -> None:
        self.reason = NOT_PROBED_YET
        """Why the store cannot be written; empty once all steps have succeeded."""
        self._steps = steps
        self._runtime = runtime
        self._status_file = status_file
        self._first_result = Event()

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="store-probe", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` until the first run of the steps has succeeded or failed."""
        self._first_result.wait(seconds)

    def run(self) -> None:
        """Run the steps, with pauses, until all succeed; log new reasons, and success after one."""
        pauses = backoff_pauses(
            self._runtime.random, FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, at_least=0.5
        )
        logged = ""
        while True:
            error = next(failures_of(self._steps), None)
            # whoever asks /ready may not know where the store is
            self._publish("" if error is None else f"The log says why ({error.code}).")
            if error is None:
                if logged:
                    logger.info("the store can be written now, so /ready answers 200")
                return
            if error.message != logged:
                logged = error.message
                logger.warning("the store cannot be written, so /ready answers 503: %s", logged)
            self._runtime.pause(next(pauses))

    def _publish(self, reason: str) -> None:
        self.reason = reason
        if self._status_file is not None:
            with suppress(OSError):  # the next probe writes it again
                new = self._status_file.with_suffix(".new")
                new.write_text(reason)
                new.replace(self._status_file)
        self._first_result.set()


def always_writable() -> str:
    """Return an empty text: the `Reason` of a server that does not probe its store."""
    return ""


def recorded_reason(status_file: Path) -> str:
    """Return the reason in the `status_file` of the server's probe; empty once it has succeeded."""
    try:
        return status_file.read_text()
    except OSError:
        return NOT_PROBED_YET
