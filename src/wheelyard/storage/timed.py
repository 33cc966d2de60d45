"""A store whose every verb is timed: what it was asked, how that ended, and how long it took."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from wheelyard.errors import Conflict, NotFound
from wheelyard.storage.base import (
    Entry,
    Key,
    NotModified,
    ObjectVersion,
    Store,
    Stored,
    WebType,
)
from wheelyard.storage.timings import Timings

T = TypeVar("T")

Follower = Callable[[str, str, float], None]
"""Is told a verb, its outcome and its seconds, in the thread that waited for it, right after."""


@dataclass(slots=True)
class Stopwatch:
    """
    What was timed, by verb and outcome.

    Args:
        monotonic: Seconds that never jump.
        timings: Kinds are pairs of verb and outcome: `ok`, `absent`, `unchanged`, `conflict` (a
            lost race), `error`.
        follower: Who else is told.
    """

    monotonic: Callable[[], float]
    timings: Timings = field(default_factory=Timings)
    follower: Follower | None = None

    def note(self, verb: str, outcome: str, began: float) -> None:
        """Count a verb that has just ended."""
        seconds = self.monotonic() - began
        self.timings.add((verb, outcome), seconds)
        if self.follower is not None:
            self.follower(verb, outcome, seconds)

    def note_fault(self, verb: str, fault: Exception, began: float) -> None:
        """Count a verb that has just failed."""
        outcome = "conflict" if isinstance(fault, Conflict) else "error"
        self.note(verb, "absent" if isinstance(fault, NotFound) else outcome, began)


@dataclass(frozen=True, slots=True)
class TimedStore:
    """
    A store that is just as the one behind it.

    A stream is timed until its first bytes can be had: how long the rest of it takes says how fast
    its reader is. A listing is timed as a whole.

    Args:
        inner: The one behind it.
        watch: What is told of every verb.
    """

    inner: Store
    watch: Stopwatch

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Return a small object whole, NOT_MODIFIED if it has that version, None if absent."""
        watch = self.watch
        began = watch.monotonic()
        try:
            found = self.inner.get(key, unless_version)
        except Exception as fault:
            watch.note_fault("get", fault, began)
            raise
        is_there = "ok" if isinstance(found, Stored) else "unchanged"
        outcome = "absent" if found is None else is_there
        watch.note("get", outcome, began)
        return found

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream of part of an object."""
        return self._timed("read", lambda: self.inner.read(key, start, stop))

    def put(
        self,
        key: Key,
        body: bytes | Path,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
    ) -> ObjectVersion:
        """Store `body` whole and return its version."""
        return self._timed("put", lambda: self.inner.put(key, body, expect, kind))

    def create_all(self, objects: Sequence[tuple[Key, bytes | Path]]) -> list[Key]:
        """Store objects under keys that must be new; return those keys that are taken."""
        return self._timed("create_all", lambda: self.inner.create_all(objects))

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Remove the object."""
        self._timed("delete", lambda: self.inner.delete(key, expect))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key starts with `prefix` and is above `after`, in order."""
        watch = self.watch
        began = watch.monotonic()
        try:
            yield from self.inner.list(prefix, after)
        except Exception as fault:
            watch.note_fault("list", fault, began)
            raise
        except GeneratorExit:  # whoever asked has seen enough
            watch.note("list", "ok", began)
            raise
        watch.note("list", "ok", began)

    def sign(self, key: Key, method: str, lifetime: timedelta) -> str | None:
        """Return a URL that storage itself answers, or None where it has none."""
        return self._timed("sign", lambda: self.inner.sign(key, method, lifetime))

    def path_of(self, key: Key) -> Path | None:
        """Return where the object is a file of this machine, or None; nothing is asked for that."""
        return self.inner.path_of(key)

    def _timed(self, verb: str, work: Callable[[], T]) -> T:
        began = self.watch.monotonic()
        try:
            done = work()
        except Exception as fault:
            self.watch.note_fault(verb, fault, began)
            raise
        self.watch.note(verb, "ok", began)
        return done
