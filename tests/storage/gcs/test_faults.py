"""Faults between index and bucket: transient ones are retried, and no result is guessed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.refused import refused
from tests.storage.gcs.opened import FOR_EVER, VERBS, A, Opened, Opener
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Store, Stored
from wheelyard.storage.bucket_store import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    READ_RETRY_SECONDS,
    WRITE_RETRY_SECONDS,
)

pytestmark = pytest.mark.integration

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

    assert opened_bucket.time.elapsed <= WRITE_RETRY_SECONDS


def test_a_swap_that_comes_too_often_has_lost(server: FakeGcs, opened_bucket: Opened) -> None:
    """A swap that comes too often is a Conflict without a second try."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.log.clear()
    server.faults.add(StatusBefore(429), "insert")

    with pytest.raises(Conflict):
        opened_bucket.store.put(A, b"two", version)

    assert server.log.kinds() == ["insert"]
    assert opened_bucket.store.get(A) == Stored(b"one", version)


def test_a_swap_that_comes_too_often_after_a_lost_one(
    server: FakeGcs, opened_bucket: Opened
) -> None:
    """A swap of unknown outcome that comes too often is not said to have lost a race."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.faults.add(StatusBefore(503), "insert")
    server.faults.add(StatusBefore(429), "insert")

    with refused(Unavailable, "overloaded"):
        opened_bucket.store.put(A, b"two", version)

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
        READ_RETRY_SECONDS / 2
        < opened_bucket.time.elapsed
        <= WRITE_RETRY_SECONDS + READ_RETRY_SECONDS
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


def test_a_write_to_a_bucket_that_falls_silent(server: FakeGcs, opened_bucket: Opened) -> None:
    """Whether a write that heard nothing has happened is found out, if anything answers at all."""
    server.faults.add(DropAfter(), "insert", count=FOR_EVER)

    version = opened_bucket.store.put(A, b"one", ABSENT)

    assert opened_bucket.store.get(A) == Stored(b"one", version)
    server.faults.add(DropBefore(), "*", count=FOR_EVER)
    with pytest.raises(Unavailable, match="gs://wheels does not answer"):
        opened_bucket.store.put(A, b"two", version)


@pytest.mark.parametrize("fault", [StatusBefore(503), DropBefore()], ids=["status", "drop"])
@pytest.mark.parametrize("is_creation", [True, False], ids=["creation", "swap"])
def test_somebody_writes_before_a_repetition(
    opener: Opener, server: FakeGcs, opened_bucket: Opened, fault: Fault, *, is_creation: bool
) -> None:
    """A write that was overtaken after an unclear try is not called a lost race."""
    store = opened_bucket.store
    expect = ABSENT if is_creation else store.put(A, b"zero", ABSENT)
    server.faults.add(fault, "insert")
    opened_bucket.time.during_pause = partial(opener().store.put, A, b"other", expect)

    with pytest.raises(Unavailable, match="not known"):
        store.put(A, b"one", expect)

    assert stored(store).body == b"other"


def stored(store: Store) -> Stored:
    """Return what is at A."""
    found = store.get(A)
    assert isinstance(found, Stored)
    return found


def test_a_lost_race(server: FakeGcs, bucket: Bucket, opened_bucket: Opened) -> None:
    """Who comes second is told so at the price of the write."""
    store = opened_bucket.store
    old = store.put(A, b"one", ABSENT)
    bucket.put(A, b"of somebody else")
    server.log.clear()

    for expect in (old, ABSENT, old):
        with pytest.raises(Conflict):
            store.put(A, b"two", expect)
    assert server.log.kinds(A) == ["insert"] * 3
    assert opened_bucket.time.pauses == []


@pytest.mark.parametrize("is_path", [True, False], ids=["path", "bytes"])
def test_a_file_whose_answers_are_lost(
    server: FakeGcs, opened_bucket: Opened, tmp_path: Path, *, is_path: bool
) -> None:
    """A file that is there counts as sent if it was written just now, not if it is an old one."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    server.faults.add(DropAfter(), "insert", count=FOR_EVER)
    opened_bucket.store.put_file(A, path if is_path else b"one")

    server.faults.clear()
    server.clock.advance(seconds=-7200)
    server.bucket("wheels").put(A, b"one")
    server.faults.add(DropBefore(), "insert", count=FOR_EVER)

    with pytest.raises(Unavailable, match="gs://wheels does not answer"):
        opened_bucket.store.put_file(A, path if is_path else b"one")
