"""How long a document of a far store is believed, and what it costs to ask for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from packaging.utils import NormalizedName

from tests.operations.world import Clock, ambient_at
from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec
from wheelyard.catalog.documents import Belief, Documents
from wheelyard.catalog.names import NameList
from wheelyard.storage.base import Key, NotModified, ObjectVersion, Stored
from wheelyard.storage.memory import MemoryStore

FRESHNESS = 1.0
FIRST, SECOND = NormalizedName("first"), NormalizedName("second")


class CountingStore(MemoryStore):
    """A store that counts reads, and holds them back until it is told to go on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.reads = 0
        self.asked = Event()
        self.go_on = Event()
        self.go_on.set()

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Count a read; answer when that is allowed, with what was there when it began."""
        self.reads += 1
        found = super().get(key, unless_version)
        self.asked.set()
        self.go_on.wait(timeout=10)
        return found


class Far:
    """A far store with one document in it, and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = CountingStore(self.clock.seconds)
        belief = Belief(near=False, freshness=FRESHNESS, capacity=1 << 20)
        ambient = ambient_at(self.clock, seed=1)
        self.documents = Documents(self.store, Codec(NameList), ambient, belief)
        self.write(FIRST)

    def write(self, *names: NormalizedName) -> ObjectVersion:
        """Put the document, as another process would."""
        return self.store.put(keys.NAMES, Codec(NameList).encode(NameList(names)), None)

    def names(self) -> tuple[NormalizedName, ...]:
        """Return what a reader sees."""
        value = self.documents.current(keys.NAMES).value
        return value.names if value else ()


@pytest.fixture
def far() -> Far:
    """Return a far store."""
    return Far()


def test_a_hot_document_is_read_once_a_second(far: Far) -> None:
    """However often a document is asked for, the store is asked once in a freshness window."""
    for _ in range(100):
        assert far.names() == (FIRST,)
    assert far.store.reads == 1

    far.clock.advance(seconds=FRESHNESS)
    far.names()
    assert far.store.reads == 2


def test_what_others_write_shows_within_the_window(far: Far) -> None:
    """A document may be a second old, and never older."""
    far.names()
    far.write(FIRST, SECOND)
    far.clock.advance(seconds=FRESHNESS / 2)
    assert far.names() == (FIRST,)

    far.clock.advance(seconds=FRESHNESS / 2)
    assert far.names() == (FIRST, SECOND)


def test_all_who_wait_share_one_read(far: Far) -> None:
    """Many readers of a document that is not at hand cost one read."""
    far.store.go_on.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(far.names) for _ in range(8)]
        far.store.asked.wait(timeout=10)
        far.store.go_on.set()
        assert {answer.result(timeout=10) for answer in answers} == {(FIRST,)}

    assert far.store.reads <= 2  # one who came when the first was just done


def test_what_this_process_wrote_shows_at_once(far: Far) -> None:
    """A read that began before this process wrote does not bring the old document back."""
    far.store.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(far.names)
        far.store.asked.wait(timeout=10)
        value = NameList((FIRST, SECOND))
        far.documents.learn(keys.NAMES, value, far.write(FIRST, SECOND), 100)
        far.store.go_on.set()
        assert answer.result(timeout=10) == (FIRST, SECOND)

    assert far.names() == (FIRST, SECOND)
