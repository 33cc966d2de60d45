"""
On which day each token was last used: an object beside its record, which is left alone.

A request pays for that with a look into a set. What is new is written in the background, once for
each token, day and process, by one thread at a time. It is a service and no promise: a store that
cannot be written loses the note, never the request, and is left alone for an hour.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from threading import Lock, Thread
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.cache import WeighedCache
from wheelyard.catalog.codec import Codec
from wheelyard.errors import Conflict, IndexFault, Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

DAY: Final = timedelta(days=1)
REST: Final = timedelta(hours=1)
"""How long a store is left alone that did not take a note."""
FEW: Final = 10
"""Tokens that are looked at one by one, for which a listing would cost more."""
READ: Final = 1024 * 1024
"""Bytes of memory for days that were read."""
WEIGHT: Final = 256
"""Bytes of memory that one of them takes, about."""

Start = Callable[[Callable[[], None]], None]
"""Begins some work, and does not wait for it."""

logger = logging.getLogger("wheelyard")


class LastUse(Struct, frozen=True):
    """What is stored of a token's uses."""

    day: date
    """UTC."""


def in_background(work: Callable[[], None]) -> None:
    """Do some work in a thread that keeps no process from ending."""
    Thread(target=work, daemon=True).start()


class LastUses:
    """
    The last uses of the tokens in a store; safe to share between threads.

    Args:
        store: Where they are noted.
        start: Begins the writing.
    """

    def __init__(self, store: Store, start: Start = in_background) -> None:
        self._store = store
        self._start = start
        self._codec = Codec(LastUse)
        self._lock = Lock()
        self._day = date.min
        """The day of which uses are noted, UTC."""
        self._noted = set[str]()
        self._again = datetime.min.replace(tzinfo=UTC)
        """When the store has rested."""
        self._is_writing = False
        self._waiting: deque[tuple[str, datetime]] = deque()
        self._read: WeighedCache[Key, tuple[ObjectVersion, date]] = WeighedCache(READ)

    def note(self, token_id: str, now: datetime) -> None:
        """
        Note that a token is used; this waits for nothing, and raises nothing.

        Args:
            token_id: Of a token that was shown to hold.
            now: The time of day, UTC.
        """
        day = now.date()
        if (token_id in self._noted and day == self._day) or now < self._again:
            return
        with self._lock:
            if day != self._day:
                self._noted, self._day = set(), day
            if token_id in self._noted:
                return
            self._noted.add(token_id)
            self._waiting.append((token_id, now))
            if self._is_writing:
                return
            self._is_writing = True
        try:
            self._start(self._write)
        except RuntimeError:  # no more threads
            with self._lock:
                self._is_writing = False

    def days(self, token_ids: frozenset[str]) -> dict[str, date]:
        """
        Return on which days tokens were last used, as far as that was noted.

        A few are asked for one by one. For more it takes a listing of all that is noted, and a read
        for each of these tokens that was used on another day since this process last asked.

        Args:
            token_ids: Whose days are wanted.

        Raises:
            Unavailable: The store does not answer.
        """
        if len(token_ids) <= FEW:
            found = {each: self._day_at(keys.last_use(each))[1] for each in token_ids}
        else:
            found = dict(self._listed(token_ids))
        return {each: day for each, day in found.items() if day is not None}

    def _listed(self, token_ids: frozenset[str]) -> Iterator[tuple[str, date | None]]:
        for entry in self._store.list(keys.USES):
            token_id = keys.user_of(entry.key)
            if token_id is not None and token_id in token_ids:
                held = self._read.get(entry.key)
                is_known = held is not None and held[0] == entry.version
                yield token_id, held[1] if held and is_known else self._day_at(entry.key)[1]

    def _write(self) -> None:
        """Write what waits, until nothing does."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_writing = False
                    return
                token_id, now = self._waiting.popleft()
            try:
                self._put(token_id, now.date())
            except Conflict:
                pass  # another process has noted it just now
            except IndexFault as fault:
                logger.info("it could not be noted when tokens were last used: %s", fault.message)
                with self._lock:  # what waits is lost
                    self._waiting.clear()
                    self._noted.clear()
                    self._again = now + REST

    def _put(self, token_id: str, day: date) -> None:
        key = keys.last_use(token_id)
        version, noted = self._day_at(key)
        # a day more is what a process notes whose day has begun; more than that is a wrong clock
        if noted is None or noted not in (day, day + DAY):
            body = self._codec.encode(LastUse(day))
            self._keep(key, self._store.put(key, body, version), day)

    def _day_at(self, key: Key) -> tuple[ObjectVersion, date | None]:
        """Return what is noted at a key, and its version; of what is damaged, the version alone."""
        found = self._store.get(key)
        if not isinstance(found, Stored):
            return ABSENT, None
        try:
            day = self._codec.decode(key, found.body).day
        except Unavailable:
            return found.version, None
        self._keep(key, found.version, day)
        return found.version, day

    def _keep(self, key: Key, version: ObjectVersion, day: date) -> None:
        self._read.put(key, (version, day), WEIGHT)
