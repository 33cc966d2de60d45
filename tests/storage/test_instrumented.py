"""TimedStore is a Store, and tells how each verb ended and how long it took."""

import pytest

from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from tests.metrics import samples
from tests.storage.conformance import StoreConformance
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.forwarding import InstrumentedStore, StoreMetrics
from wheelyard.storage.memory import MemoryStore

KEY = Key("a/b")


class TestTimedStore(StoreConformance):
    """A store in memory, timed."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return InstrumentedStore(memory(), StoreMetrics(Clock(tick=1.0).seconds))


def memory() -> MemoryStore:
    """Return an empty store in memory."""
    return MemoryStore(lambda: 0.0)


@pytest.fixture
def watch() -> StoreMetrics:
    """The metrics of the store below."""
    return StoreMetrics(Clock(tick=1.0).seconds)


@pytest.fixture
def store(watch: StoreMetrics) -> InstrumentedStore:
    """Return an empty store that is timed by `watch`."""
    return InstrumentedStore(memory(), watch)


def counted(watch: StoreMetrics) -> dict[tuple[str, ...], float]:
    """Return how often each verb had each outcome."""
    return samples(watch.durations, "wheelyard_store_duration_seconds_count")


def test_each_verb_is_counted_by_how_it_ended(
    store: InstrumentedStore, watch: StoreMetrics
) -> None:
    """Each verb is counted by how it ended."""
    version = store.put(KEY, b"body", ABSENT)
    store.get(KEY)
    store.get(KEY, version)
    store.get(Key("nothing"))
    b"".join(store.read(KEY))
    list(store.list(""))
    next(store.list(""), None)
    for work, fault in (
        (lambda: store.put(KEY, b"other", ABSENT), Conflict),
        (lambda: store.read(Key("nothing")), NotFound),
    ):
        with pytest.raises(fault):
            work()
    store.put_file(KEY, b"body")
    store.delete(KEY)

    assert counted(watch) == {
        ("put", "ok"): 1,
        ("put", "conflict"): 1,
        ("get", "ok"): 1,
        ("get", "unchanged"): 1,
        ("get", "absent"): 1,
        ("read", "ok"): 1,
        ("read", "absent"): 1,
        ("list", "ok"): 2,
        ("put_file", "ok"): 1,
        ("delete", "ok"): 1,
    }
    assert samples(watch.durations, "wheelyard_store_duration_seconds_sum") == counted(watch)


def test_a_store_that_does_not_answer(watch: StoreMetrics) -> None:
    """A failed call is counted as an error."""
    broken = FakeStore(memory(), Fault(FaultKind.NOT_DONE))
    store = InstrumentedStore(broken, watch)
    with pytest.raises(Unavailable):
        store.get(KEY)

    assert counted(watch) == {("get", "error"): 1}
