"""
Documents of one kind, remembered as long as they may be believed.

`fresh` answers without waiting, or says that it cannot; `load` may wait for the store, and all who
wait for one document share one conditional read. On a store that is near (a folder, memory) every
answer is checked by one cheap look at the object's version; on one that is far, a document is
believed for `freshness` seconds, and longer while the store does not answer, if that is wanted.
"""

from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, replace
from threading import Lock
from typing import Final, Generic, TypeVar

from wheelyard.catalog.cache import WeighedCache
from wheelyard.catalog.codec import DAMAGED, Codec
from wheelyard.errors import Unavailable
from wheelyard.model.ambient import Ambient
from wheelyard.storage.base import ABSENT, Key, NotModified, ObjectVersion, Store, Stored

T = TypeVar("T")

WEIGHT_FACTOR: Final = 4
"""Bytes of memory that a decoded byte of JSON costs, about."""
HEAVIEST: Final = 4
"""The part of the memory for documents that one of them counts for at most, however large it is."""
WEIGHT_BASE: Final = 512
"""Bytes of memory that a snapshot costs by itself, about."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """A document as it was read; `value` is None where there was none."""

    value: T | None
    version: ObjectVersion
    checked_at: float
    """When the store said so, on the monotonic clock."""
    asked_at: float
    """When it was last asked, whether it answered or not."""
    size: int
    """Stored bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """How long a document is believed, and how much memory documents may take."""

    near: bool
    """Whether a look at an object's version costs next to nothing."""
    freshness: float
    """Seconds that a document is believed where the store is far."""
    stale_if_error: float = 0.0
    """Seconds that it is believed where the store is far and does not answer."""
    capacity: int
    """Bytes of memory for the documents of one kind."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """A write of this process, once it is known to have happened."""

    version: ObjectVersion
    size: int
    """Stored bytes."""
    _: KW_ONLY
    over: ObjectVersion
    """The version that it replaced."""
    since: float
    """When it began, on the monotonic clock: what others have written since is not in it."""


class Documents(Generic[T]):
    """
    The documents of one kind in a store.

    Args:
        store: Where they are.
        codec: Their form.
        ambient: The clock.
        belief: How long they are believed.
        is_kept: Whether such a document is never removed, so that one which is gone is lost.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec[T],
        ambient: Ambient,
        belief: Belief,
        *,
        is_kept: bool = False,
    ) -> None:
        self.codec = codec
        self._is_kept = is_kept
        self._store = store
        self._ambient = ambient
        self._belief = belief
        self._cache: WeighedCache[Key, Snapshot[T]] = WeighedCache(belief.capacity)
        self._flights: dict[Key, Future[Snapshot[T]]] = {}
        self._lock = Lock()

    def fresh(self, key: Key) -> Snapshot[T] | None:
        """Return the document if that needs no waiting, else None."""
        held = self._cache.get(key)
        if held is None:
            return None
        if self._belief.near:
            current = self._store.get(key, held.version or None)
            unchanged = current is None if held.version == ABSENT else type(current) is NotModified
            return held if unchanged else None
        age = self._ambient.monotonic() - held.asked_at
        return held if age < self._belief.freshness else None

    def excused(self, key: Key) -> Snapshot[T] | None:
        """Return the document if it is not too old for a store that does not answer, else None."""
        held = self._cache.get(key)
        if held is None or self._belief.near:
            return None
        age = self._ambient.monotonic() - held.checked_at
        return held if age < self._belief.stale_if_error else None

    def remembered(self, key: Key) -> Snapshot[T] | None:
        """Return the document as it was last seen, however long ago."""
        return self._cache.get(key)

    def load(self, key: Key) -> Snapshot[T]:
        """
        Return the document, read again if it may have changed.

        Raises:
            Unavailable: The store does not answer, or the document is damaged.
        """
        if self._belief.near:
            # a read that began before this call may miss what was written before it
            return self._refresh(key)
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not leads:
            return self._joined(key, flight)
        try:
            snapshot = self._refreshed_or_excused(key)
        except BaseException as error:
            flight.set_exception(error)
            raise
        else:
            flight.set_result(snapshot)
            return snapshot
        finally:
            with self._lock:
                del self._flights[key]

    def current(self, key: Key) -> Snapshot[T]:
        """Return the document, waiting for the store only if need be."""
        return self.fresh(key) or self.load(key)

    def reload(self, key: Key) -> Snapshot[T]:
        """
        Return the document as the store has it now, whatever is remembered.

        Raises:
            Unavailable: The store does not answer, or the document is damaged.
        """
        return self._refresh(key, is_conditional=False)

    def is_still(self, key: Key, snapshot: Snapshot[T], since: float) -> bool:
        """
        Return whether the document was as in `snapshot` at some time from `since` on.

        Args:
            key: Which document.
            snapshot: As `current` has returned it after `since`.
            since: On the monotonic clock.

        Raises:
            Unavailable: The store does not answer, or the document is damaged.
        """
        if self._belief.near or snapshot.checked_at >= since:
            return True
        return self._refresh(key).version == snapshot.version

    def moment(self) -> float:
        """Return the time by the clock that documents are believed by."""
        return self._ambient.monotonic()

    def learn(self, key: Key, value: T, learnt: Learnt) -> None:
        """Remember a document that this process has just written."""
        held = self._cache.get(key)
        if held is not None and held.version != learnt.over:
            # read while the answer was under way: perhaps what somebody has put on top of ours
            self._cache.forget(key)
            return
        since = learnt.since
        self._remember(key, Snapshot(value, learnt.version, since, since, learnt.size))

    def _joined(self, key: Key, flight: Future[Snapshot[T]]) -> Snapshot[T]:
        """Return what another caller is reading, unless that has begun too long ago by now."""
        now = self._ambient.monotonic()
        snapshot = flight.result()
        is_fresh = now - snapshot.asked_at < self._belief.freshness
        return snapshot if is_fresh else self.load(key)

    def _refreshed_or_excused(self, key: Key) -> Snapshot[T]:
        try:
            return self._refresh(key)
        except Unavailable as fault:
            held = self.excused(key)
            if held is None or fault.code == DAMAGED:
                raise
            # so that the store is asked once a window, and not by everybody
            excused = replace(held, asked_at=self._ambient.monotonic())
            self._remember(key, excused)
            return excused

    def _refresh(self, key: Key, *, is_conditional: bool = True) -> Snapshot[T]:
        held = self._cache.get(key)
        before = held if is_conditional else None
        asked_at = self._ambient.monotonic()
        found = self._store.get(key, (before.version or None) if before else None)
        snapshot: Snapshot[T]
        if found is None and held is not None and held.value is not None and self._is_kept:
            raise _vanished(key)
        if found is None:
            snapshot = Snapshot(None, ABSENT, asked_at, asked_at, 0)
        elif isinstance(found, Stored):
            value = self.codec.decode(key, found.body)
            snapshot = Snapshot(value, found.version, asked_at, asked_at, len(found.body))
        elif before is not None:
            snapshot = replace(before, checked_at=asked_at, asked_at=asked_at)
        else:  # pragma: no cover - a store never says "not modified" unasked
            raise AssertionError(key)
        learnt = self._cache.get(key)
        if learnt is not held and learnt is not None and not self._belief.near:
            # perhaps written by this process while the answer was under way
            return learnt if is_conditional else snapshot
        self._remember(key, snapshot)
        return snapshot

    def _remember(self, key: Key, snapshot: Snapshot[T]) -> None:
        weight = WEIGHT_BASE + WEIGHT_FACTOR * snapshot.size
        # one that is never kept would be read again by every request
        self._cache.put(key, snapshot, min(weight, self._belief.capacity // HEAVIEST))


def _vanished(key: Key) -> Unavailable:
    # not "not found": installers take that for "not here", and go elsewhere
    return Unavailable(
        f"The document {key} was there, and is gone. Run 'wheelyard check', or restore the store "
        "from a backup.",
        code=DAMAGED,
        short="A document of the index is lost.",
    )
