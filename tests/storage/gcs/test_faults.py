"""Faults between index and bucket: transient ones are retried, and no result is guessed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.refused import refused
from tests.storage.gcs.opened import FOR_EVER, OTHER, VERBS, A, Opened, Opener, generation
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Store, Stored, create
from wheelyard.storage.gcs.retry import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    READ_RETRY_SECONDS,
    WRITE_RETRY_SECONDS,
)
from wheelyard.storage.gcs.store import UPLOAD_CHUNK_BYTES

pytestmark = pytest.mark.integration

LOST: list[Fault] = [StatusAfter(503), DropAfter()]
lost = pytest.mark.parametrize("fault", LOST, ids=["status", "drop"])
verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


def test_too_often_is_waited_out(server: FakeGcs, opened_bucket: Opened) -> None:
    """A creation that comes too often waits as long as it is told to, and a little more."""
    server.faults.add(StatusBefore(429, retry_after="3"), "insert", count=3)

    version = opened_bucket.store.put(A, b"one", ABSENT)

    assert opened_bucket.store.get(A) == Stored(b"one", version)
    pauses = opened_bucket.time.pauses
    assert [3 <= each <= 3 + 2**turn * FIRST_PAUSE_SECONDS for turn, each in enumerate(pauses)] == [
        True
    ] * 3
    assert len(set(pauses)) == 3


def test_too_often_for_ever(server: FakeGcs, opened_bucket: Opened) -> None:
    """Who comes too often for too long is told to try again later."""
    server.faults.add(StatusBefore(429), "insert", count=FOR_EVER)

    with refused(Unavailable, "overloaded"):
        opened_bucket.store.put(A, b"one", ABSENT)

    assert opened_bucket.time.now <= WRITE_RETRY_SECONDS


@pytest.mark.parametrize(("asked", "waited"), [("", 0.0), ("2", 2.0), ("600", MAX_PAUSE_SECONDS)])
def test_a_swap_that_comes_too_often_has_lost(
    server: FakeGcs, opened_bucket: Opened, asked: str, waited: float
) -> None:
    """A swap that comes too often is a Conflict without a second try, after a bounded pause."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.log.clear()
    server.faults.add(StatusBefore(429, retry_after=asked), "insert")

    with pytest.raises(Conflict):
        opened_bucket.store.put(A, b"two", version)

    assert server.log.kinds() == ["insert"]
    assert opened_bucket.time.pauses == [waited]
    assert opened_bucket.store.get(A) == Stored(b"one", version)


@verbs
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure(
    server: FakeGcs,
    bucket: Bucket,
    opened_bucket: Opened,
    status: int,
    verb: Callable[[Store], object],
) -> None:
    """Every verb is tried again where the bucket says that a failure will pass."""
    bucket.put(A, b"old")
    planned = server.faults.add(StatusBefore(status), count=2)

    verb(opened_bucket.store)

    assert planned.taken == 2
    assert len(opened_bucket.time.pauses) == 2


@verbs
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_for_ever(
    server: FakeGcs,
    bucket: Bucket,
    opened_bucket: Opened,
    status: int,
    verb: Callable[[Store], object],
) -> None:
    """A failure that does not pass is Unavailable in bounded time, and names bucket and status."""
    bucket.put(A, b"old")
    server.faults.add(StatusBefore(status), count=FOR_EVER)

    with refused(Unavailable, "storage_unavailable", match=rf"gs://wheels .* {status}"):
        verb(opened_bucket.store)

    pauses = opened_bucket.time.pauses
    assert 5 <= len(pauses) <= 40
    assert max(pauses) <= MAX_PAUSE_SECONDS
    # a write that is given up is looked for
    assert (
        READ_RETRY_SECONDS / 2 < opened_bucket.time.now <= WRITE_RETRY_SECONDS + READ_RETRY_SECONDS
    )


REFUSED = dict.fromkeys((400, 405, 411, 413), "storage_refused")
REFUSED |= {401: "storage_credentials", 403: "storage_denied"}


@pytest.mark.parametrize(("status", "code"), REFUSED.items())
def test_a_swap_that_is_refused(
    server: FakeGcs, opened_bucket: Opened, status: int, code: str
) -> None:
    """A swap that the bucket refuses is no lost race: why it refused is said, after one request."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    planned = server.faults.add(StatusBefore(status), "insert", count=FOR_EVER)

    with refused(Unavailable, code) as caught:
        opened_bucket.store.put(A, b"two", version)

    assert "Try again" not in caught.value.message
    assert code != "storage_refused" or f"status {status}" in caught.value.message
    assert (planned.taken, opened_bucket.time.pauses) == (1, [])
    assert opened_bucket.store.get(A) == Stored(b"one", version)


@lost
@pytest.mark.parametrize("is_creation", [True, False], ids=["creation", "swap"])
def test_a_write_whose_answer_is_lost(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, fault: Fault, *, is_creation: bool
) -> None:
    """A write whose response was lost succeeds with its true version."""
    expect = ABSENT if is_creation else opened_bucket.store.put(A, b"zero", ABSENT)
    server.log.clear()
    server.faults.add(fault, "insert")

    version = opened_bucket.store.put(A, b"one", expect)

    assert server.log.kinds() == ["insert", "insert", "get"]
    assert opened_bucket.store.get(A) == Stored(b"one", version)
    assert generation(bucket) == version


def test_a_write_to_a_bucket_that_falls_silent(server: FakeGcs, opened_bucket: Opened) -> None:
    """Whether a write that heard nothing has happened is found out, if anything answers at all."""
    server.faults.add(DropAfter(), "insert", count=FOR_EVER)

    version = opened_bucket.store.put(A, b"one", ABSENT)

    assert opened_bucket.store.get(A) == Stored(b"one", version)
    server.faults.add(DropBefore(), "*", count=FOR_EVER)
    with pytest.raises(Unavailable, match="gs://wheels does not answer"):
        opened_bucket.store.put(A, b"two", version)


@lost
@pytest.mark.parametrize("is_creation", [True, False], ids=["creation", "swap"])
def test_somebody_writes_after_a_lost_answer(
    opener: Opener, server: FakeGcs, opened_bucket: Opened, fault: Fault, *, is_creation: bool
) -> None:
    """A write that was carried out and then overwritten is neither a success nor a Conflict."""
    store = opened_bucket.store
    expect = ABSENT if is_creation else store.put(A, b"zero", ABSENT)
    server.faults.add(fault, "insert")
    opened_bucket.time.meanwhile = partial(replaced, opener, b"one", b"other")

    with pytest.raises(Unavailable, match="not known"):
        store.put(A, b"one", expect)

    assert stored(store).body == b"other"


@pytest.mark.parametrize("fault", [StatusBefore(503), DropBefore()], ids=["status", "drop"])
@pytest.mark.parametrize("is_creation", [True, False], ids=["creation", "swap"])
def test_somebody_writes_before_a_repetition(
    opener: Opener, server: FakeGcs, opened_bucket: Opened, fault: Fault, *, is_creation: bool
) -> None:
    """A write that was not carried out, and then was overtaken, is known to be a Conflict."""
    store = opened_bucket.store
    expect = ABSENT if is_creation else store.put(A, b"zero", ABSENT)
    server.faults.add(fault, "insert")
    opened_bucket.time.meanwhile = partial(opener().store.put, A, b"other", expect)

    with pytest.raises(Conflict):
        store.put(A, b"one", expect)

    assert stored(store).body == b"other"


@lost
@pytest.mark.parametrize("names_version", [True, False])
def test_a_deletion_whose_answer_is_lost(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, fault: Fault, *, names_version: bool
) -> None:
    """A deletion whose response was lost succeeds."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.faults.add(fault, "delete")

    opened_bucket.store.delete(A, version if names_version else None)

    assert bucket.names() == []


@lost
def test_somebody_creates_after_a_lost_deletion(
    opener: Opener, server: FakeGcs, bucket: Bucket, opened_bucket: Opened, fault: Fault
) -> None:
    """A lost deletion followed by another writer's creation is no Conflict."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.faults.add(fault, "delete")
    opened_bucket.time.meanwhile = partial(opener().store.put, A, b"other", ABSENT)

    with pytest.raises(Unavailable, match="not known"):
        opened_bucket.store.delete(A)

    assert stored(opened_bucket.store).body == b"other"
    assert bucket.names() == [A]


def replaced(opener: Opener, before: bytes, after: bytes) -> None:
    """Let another writer read A and overwrite it."""
    store = opener().store
    assert stored(store).body == before
    store.put(A, after, stored(store).version)


def stored(store: Store) -> Stored:
    """Return what is at A."""
    found = store.get(A)
    assert isinstance(found, Stored)
    return found


WRITES: dict[str, Callable[[Store, Path], object]] = {
    "create": lambda store, _: store.put(OTHER, b"new", ABSENT),
    "create a large one": lambda store, large: store.put_file(OTHER, large),
    "replace": lambda store, _: store.put(A, b"new", stored(store).version),
    "delete": lambda store, _: store.delete(A, stored(store).version),
}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a file that goes up in pieces."""
    path = tmp_path / "large"
    path.write_bytes(bytes(UPLOAD_CHUNK_BYTES + 1))
    return path


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_precondition_that_keeps_failing(
    server: FakeGcs,
    bucket: Bucket,
    opened_bucket: Opened,
    large: Path,
    write: Callable[[Store, Path], object],
) -> None:
    """A 412 is a lost race; a repeated one for an unchanged object is an error."""
    bucket.put(A, b"old")
    for kind in ("insert", "resumable-start", "delete"):
        server.faults.add(StatusBefore(412), kind, count=FOR_EVER)

    with pytest.raises(Conflict):
        write(opened_bucket.store, large)
    with pytest.raises(Unavailable) as caught:
        write(opened_bucket.store, large)

    fault = caught.value
    assert (fault.code, fault.message.count(". ")) == ("precondition_failed", 0)
    assert "412" in fault.message
    assert "check whether a proxy" in fault.message
    assert len(opened_bucket.time.pauses) == 1
    assert bucket.names() == [A]


@pytest.mark.parametrize("first", [StatusBefore(503), StatusAfter(503), DropAfter()])
def test_a_precondition_that_fails_after_a_lost_answer(
    server: FakeGcs, opened_bucket: Opened, first: StatusBefore | StatusAfter | DropAfter
) -> None:
    """Whether a try landed is found out, and what cannot land is not called a lost race."""
    server.faults.add(first, "insert")
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    if isinstance(first, StatusBefore):
        with refused(Unavailable, "precondition_failed"):
            opened_bucket.store.put(A, b"new", ABSENT)
    else:
        version = opened_bucket.store.put(A, b"new", ABSENT)
        assert opened_bucket.store.get(A) == Stored(b"new", version)


def test_a_write_that_expects_nothing(server: FakeGcs, opened_bucket: Opened) -> None:
    """A 412 to a write without a precondition can be no lost race."""
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    with refused(Unavailable, "precondition_failed"):
        opened_bucket.store.put(A, b"new", None)


def test_what_is_new(server: FakeGcs, bucket: Bucket, opened_bucket: Opened) -> None:
    """What has to be new counts as taken only if it is seen to be there."""
    bucket.put(OTHER, b"there")
    with pytest.raises(Conflict):
        create(opened_bucket.store, OTHER, b"new")
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    with refused(Unavailable, "precondition_failed"):
        create(opened_bucket.store, A, b"new")


def test_a_lost_race(server: FakeGcs, bucket: Bucket, opened_bucket: Opened) -> None:
    """Who comes second is told so at the price of the write; who comes so again, after a look."""
    store = opened_bucket.store
    old = store.put(A, b"one", ABSENT)
    bucket.put(A, b"of somebody else")
    server.log.clear()

    for expect in (old, ABSENT, old):
        with pytest.raises(Conflict):
            store.put(A, b"two", expect)
    assert server.log.kinds(A) == ["insert"] * 3
    with pytest.raises(Conflict):
        store.put(A, b"two", old)
    assert server.log.kinds(A) == [*["insert"] * 4, "get"]
    assert opened_bucket.time.pauses == []
