"""The circuit breaker: while a bucket does not answer, only some calls wait for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fake_gcs.faults import DropBefore, Fault, Hold, StatusBefore
from tests.fake_gcs.server import FakeGcs
from tests.fake_time import RunningClock
from tests.storage.gcs.opened import FOR_EVER, OTHER, VERBS, A, Opened, Opener
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Stored
from wheelyard.storage.bucket_store import COOL_DOWN_SECONDS, READ_RETRY_SECONDS
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.gcs import store as gcs_store

pytestmark = pytest.mark.integration

LONG = 3600.0
AWAY: list[Fault] = [DropBefore(), *(StatusBefore(status) for status in (500, 502, 503, 504))]
away = pytest.mark.parametrize("fault", AWAY, ids=["drop", "500", "502", "503", "504"])


@away
def test_a_silent_bucket_is_left_alone(
    server: FakeGcs, opened_bucket: Opened, fault: Fault
) -> None:
    """After a call has timed out, the next calls fail without a request to the bucket."""
    store = opened_bucket.store
    clock = opened_bucket.time
    silence = server.faults.add(fault, count=FOR_EVER)
    with pytest.raises(Unavailable, match=r"gs://wheels (does not answer|answers with status 50)"):
        store.get(A)
    assert clock.elapsed <= READ_RETRY_SECONDS
    asked, waited = silence.taken, len(clock.pauses)

    for verb in VERBS.values():
        with pytest.raises(Unavailable, match=r"does not answer|answers with status 50"):
            verb(store)

    assert (silence.taken, len(clock.pauses)) == (asked, waited)


def test_one_asks_for_all(server: FakeGcs, opened_bucket: Opened, pool: ThreadPoolExecutor) -> None:
    """When a silent bucket has rested, one caller asks it, and the others wait for no answer."""
    store = opened_bucket.store
    silenced(server, opened_bucket)
    hold = Hold("before")
    server.faults.add(hold, "media", OTHER)
    opened_bucket.time.advance(seconds=COOL_DOWN_SECONDS)
    one = pool.submit(store.get, OTHER)
    hold.wait()
    asked = server.log.count()

    for verb in VERBS.values():
        with pytest.raises(Unavailable):
            verb(store)

    assert server.log.count() == asked
    hold.release()
    assert one.result() is None
    assert store.put(A, b"one", ABSENT)


@away
def test_one_asks_once(server: FakeGcs, opened_bucket: Opened, fault: Fault) -> None:
    """Two requests after the pause ask a bucket that is still unavailable once, and do not wait."""
    silenced(server, opened_bucket, fault)
    opened_bucket.time.advance(seconds=COOL_DOWN_SECONDS)
    silence = server.faults.add(fault, count=FOR_EVER)
    waited = len(opened_bucket.time.pauses)

    for _ in range(2):
        with pytest.raises(Unavailable):
            opened_bucket.store.get(A)

    assert (silence.taken, len(opened_bucket.time.pauses)) == (1, waited)


@away
def test_a_bucket_that_takes_no_writes_is_read(
    server: FakeGcs, opened_bucket: Opened, fault: Fault
) -> None:
    """After a write has timed out in a bucket that answers reads, the next reads are answered."""
    store = opened_bucket.store
    store.put(A, b"one", ABSENT)
    server.faults.add(fault, "insert", count=FOR_EVER)

    with pytest.raises(Unavailable, match=r"gs://wheels (does not answer|answers with status 50)"):
        store.put(A, b"two", None)

    found = store.get(A)
    assert isinstance(found, Stored)
    assert found.body == b"one"
    assert [entry.key for entry in store.list("")] == [A]


def test_a_bucket_that_refuses_connections(server: FakeGcs, opened_bucket: Opened) -> None:
    """A bucket that takes no connections is Unavailable, and is found again when it does."""
    version = opened_bucket.store.put(A, b"one", ABSENT)
    server.stop()
    for verb in VERBS.values():
        opened_bucket.time.advance(seconds=COOL_DOWN_SECONDS)
        with pytest.raises(Unavailable, match="gs://wheels does not answer"):
            verb(opened_bucket.store)
    server.start()
    opened_bucket.time.advance(seconds=COOL_DOWN_SECONDS)

    assert opened_bucket.store.get(A) == Stored(b"one", version)


@pytest.mark.slow
def test_a_bucket_that_is_dead(
    opener: Opener, server: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a call to a silent bucket has timed out, the next one fails, and later ones work."""
    bucket = opener(clock=RunningClock())
    server.die()
    with monkeypatch.context() as hasty:
        hasty.setattr(gcs_store, "READ_TIMEOUTS", (3.0, 0.5))
        with pytest.raises(Unavailable, match="gs://wheels does not answer"):
            bucket.store.get(A)
    # however long a slow machine takes from here to the next line, the rest is not over
    bucket.time.advance(seconds=-LONG)

    with pytest.raises(Unavailable, match="gs://wheels does not answer") as fault:
        bucket.store.get(A)

    assert isinstance(fault.value.__cause__, Failure)
    assert fault.value.__cause__.kind is FailureKind.OUTAGE
    server.revive()
    bucket.time.advance(seconds=LONG + COOL_DOWN_SECONDS)
    assert bucket.store.get(A) is None


def silenced(server: FakeGcs, bucket: Opened, fault: Fault | None = None) -> None:
    """Let one call fail, which opens the circuit; from then on the bucket would answer."""
    server.faults.add(fault or DropBefore(), count=FOR_EVER)
    with pytest.raises(Unavailable):
        bucket.store.get(A)
    server.faults.clear()
