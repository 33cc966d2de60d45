"""Caching of documents of a remote store, and the reads that it costs."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.utils import NormalizedName

from tests.fake_store import ALWAYS, After, FakeStore, Fault, FaultKind, Pause
from tests.fake_time import Clock, fake_runtime
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache, MaxAge, Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.errors import DAMAGED, Unavailable
from wheelyard.storage.base import ObjectVersion
from wheelyard.storage.memory import MemoryStore

FRESHNESS = 1.0
FIRST, SECOND = NormalizedName("first"), NormalizedName("second")


OUTAGE = Fault(FaultKind.NOT_DONE, "get", times=ALWAYS)


class DocumentHarness:
    """A document cache over a store with one document, and a clock."""

    def __init__(
        self, stale_if_error: float = 0.0, *, near: bool = False, is_permanent: bool = False
    ) -> None:
        self.clock = Clock()
        self.store = FakeStore(MemoryStore(self.clock.seconds))
        cache_policy = CachePolicy(
            is_local=near, freshness=FRESHNESS, stale_if_error=stale_if_error, capacity=1 << 20
        )
        runtime = fake_runtime(self.clock, seed=1)
        self.documents = DocumentCache(
            self.store, Codec(NameList), runtime, cache_policy, is_permanent=is_permanent
        )
        self.first = self.write(FIRST)

    def write(self, *names: NormalizedName) -> ObjectVersion:
        """Put the document, as another process would."""
        return self.store.put(keys.PROJECT_NAMES, Codec(NameList).encode(NameList(names)), None)

    def cache_written(self, value: NameList, version: ObjectVersion) -> None:
        """Tell that this process has just written over what was there first."""
        since = self.clock.seconds()
        written = Snapshot(value, version, since, since, 100)
        self.documents.cache_written(keys.PROJECT_NAMES, written, over=self.first)

    def names(self) -> tuple[NormalizedName, ...]:
        """Return what a reader sees."""
        value = self.documents.get(keys.PROJECT_NAMES).value
        return value.names if value else ()


@pytest.fixture
def harness() -> DocumentHarness:
    """Return a harness with a remote store."""
    return DocumentHarness()


def test_what_others_write_shows_within_the_window(harness: DocumentHarness) -> None:
    """A document that others have written shows a second later."""
    harness.names()
    harness.write(FIRST, SECOND)
    harness.clock.advance(seconds=FRESHNESS / 2)
    assert harness.names() == (FIRST,)

    harness.clock.advance(seconds=FRESHNESS / 2)
    assert harness.names() == (FIRST, SECOND)


@pytest.mark.parametrize("max_age", ["fresh", "current"])
def test_what_this_process_wrote_shows_at_once(harness: DocumentHarness, max_age: MaxAge) -> None:
    """A read that began before this process wrote does not bring the old document back."""
    if max_age == "current":
        harness.names()
    pause = Pause()
    harness.store.follow(After(pause, "get"))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(harness.documents.get, keys.PROJECT_NAMES, max_age)
        pause.wait_for_call()
        value = NameList((FIRST, SECOND))
        harness.cache_written(value, harness.write(FIRST, SECOND))
        pause.go_on.set()
        names = answer.result(TIMEOUT_SECONDS).value
    # who asks for the current document may get what was there when it was asked for
    assert names == (value if max_age == "fresh" else NameList((FIRST,)))

    assert harness.names() == (FIRST, SECOND)


def test_an_outage_is_an_error_once_the_cache_is_old(harness: DocumentHarness) -> None:
    """An outage is an error once the remembered document has grown old."""
    harness.names()
    harness.store.follow(OUTAGE)
    assert harness.names() == (FIRST,)

    harness.clock.advance(seconds=FRESHNESS)
    with pytest.raises(Unavailable):
        harness.names()
    harness.store.follow()
    assert harness.names() == (FIRST,)


def test_stale_documents_are_served_during_an_outage() -> None:
    """With stale_if_error, a remembered document is shown for that time of an outage."""
    harness = DocumentHarness(stale_if_error=60)
    harness.names()
    harness.store.follow(OUTAGE)
    for _ in range(59):
        harness.clock.advance(seconds=FRESHNESS)
        assert harness.names() == (FIRST,)
        assert harness.names() == (FIRST,)
    assert harness.store.count("get") == 60  # one in a window, however many ask

    harness.clock.advance(seconds=FRESHNESS)
    with pytest.raises(Unavailable):
        harness.names()


@pytest.mark.parametrize("near", [True, False])
def test_a_damaged_document_is_no_outage(*, near: bool) -> None:
    """A document that cannot be read is an error at once, also with stale_if_error."""
    harness = DocumentHarness(stale_if_error=60, near=near)
    harness.names()
    harness.store.put(keys.PROJECT_NAMES, b"{", None)
    harness.clock.advance(seconds=FRESHNESS)

    with pytest.raises(Unavailable) as caught:
        harness.names()
    assert caught.value.code == DAMAGED


@pytest.mark.parametrize("near", [True, False])
def test_a_permanent_document_that_is_gone(*, near: bool) -> None:
    """A permanent document that was there and is gone is an error."""
    harness = DocumentHarness(near=near, is_permanent=True)
    harness.names()
    harness.store.delete(keys.PROJECT_NAMES)
    harness.clock.advance(seconds=FRESHNESS)

    with pytest.raises(Unavailable, match="was there, and is gone"):
        harness.names()


@pytest.mark.parametrize("near", [True, False])
def test_another_document_that_is_gone(*, near: bool) -> None:
    """A document that may be absent, and is gone, is absent."""
    harness = DocumentHarness(near=near, is_permanent=False)
    harness.names()
    harness.store.delete(keys.PROJECT_NAMES)
    harness.clock.advance(seconds=FRESHNESS)

    assert harness.names() == ()


def test_in_a_folder_nobody_shares_an_earlier_read() -> None:
    """On a local store, a read sees earlier writes even while an older read is running."""
    near = DocumentHarness(near=True)
    first, second = Pause(), Pause()
    near.store.follow(After(first, "get"), After(second, "get", nth=2))
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(near.documents.get, keys.PROJECT_NAMES)
        first.wait_for_call()
        near.write(FIRST, SECOND)
        late = pool.submit(near.documents.get, keys.PROJECT_NAMES)
        second.wait_for_call()
        first.go_on.set()
        second.go_on.set()
        assert early.result(TIMEOUT_SECONDS).value == NameList((FIRST,))
        assert late.result(TIMEOUT_SECONDS).value == NameList((FIRST, SECOND))


def test_on_a_bucket_all_who_want_a_document_share_a_read(harness: DocumentHarness) -> None:
    """While a document of a bucket is read, all who want the document share that read."""
    pause = Pause()
    harness.store.follow(After(pause, "get"))
    with ThreadPoolExecutor(9) as pool:
        readers = [pool.submit(harness.names) for _ in range(9)]
        pause.wait_for_call()
        pause.go_on.set()
        assert {reader.result(TIMEOUT_SECONDS) for reader in readers} == {(FIRST,)}
    assert harness.store.count("get") == 1

    harness.clock.advance(seconds=FRESHNESS)
    assert harness.names() == (FIRST,)
    assert harness.store.count("get") == 2


def test_a_late_reply_does_not_bring_back_what_was_written_over(harness: DocumentHarness) -> None:
    """A late reply to a write does not bring back what others have written over."""
    third = NormalizedName("third")
    harness.names()
    version = harness.write(FIRST, SECOND)
    harness.write(FIRST, SECOND, third)
    harness.clock.advance(seconds=FRESHNESS)
    assert harness.names() == (FIRST, SECOND, third)

    harness.cache_written(NameList((FIRST, SECOND)), version)

    assert harness.names() == (FIRST, SECOND, third)


def test_a_large_document_is_remembered_too(harness: DocumentHarness) -> None:
    """A document that alone would fill the memory is remembered, too."""
    many = tuple(NormalizedName(f"name-{number}") for number in range(30_000))
    harness.write(*many)

    for _ in range(10):
        assert harness.names() == many

    assert harness.store.count("get") == 1
