"""Writes that a bucket refuses for no reason of ours, and what is said of each object."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bucket.faults import DropAfter, StatusAfter, StatusBefore
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer
from tests.storage.cloud.opened import FOR_EVER, OTHER, A, Opened
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored, create
from wheelyard.storage.cloud.store import ONE_REQUEST

pytestmark = pytest.mark.integration

WRITES: dict[str, Callable[[Store, Path], object]] = {
    "create": lambda store, _: store.put(OTHER, b"new", ABSENT),
    "create a large one": lambda store, large: store.put(OTHER, large, ABSENT),
    "replace": lambda store, _: store.put(A, b"new", _version(store)),
    "delete": lambda store, _: store.delete(A, _version(store)),
}


def _version(store: Store) -> ObjectVersion:
    found = store.get(A)
    assert isinstance(found, Stored)
    return found.version


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a file that goes up in pieces."""
    path = tmp_path / "large"
    path.write_bytes(bytes(ONE_REQUEST + 1))
    return path


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_precondition_that_keeps_failing(
    server: BucketServer,
    bucket: Bucket,
    opened_bucket: Opened,
    large: Path,
    write: Callable[[Store, Path], object],
) -> None:
    """A 412 is a lost race; one that comes again, though nobody has changed the object, is not."""
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
    server: BucketServer, opened_bucket: Opened, first: StatusBefore | StatusAfter | DropAfter
) -> None:
    """Whether a try landed is found out, and what cannot land is not called a lost race."""
    server.faults.add(first, "insert")
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    if isinstance(first, StatusBefore):
        with pytest.raises(Unavailable) as caught:
            opened_bucket.store.put(A, b"new", ABSENT)
        assert caught.value.code == "precondition_failed"
    else:
        version = opened_bucket.store.put(A, b"new", ABSENT)
        assert opened_bucket.store.get(A) == Stored(b"new", version)


def test_a_write_that_expects_nothing(server: BucketServer, opened_bucket: Opened) -> None:
    """A 412 to a write without a precondition can be no lost race."""
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    with pytest.raises(Unavailable) as caught:
        opened_bucket.store.put(A, b"new", None)

    assert caught.value.code == "precondition_failed"


def test_what_is_new(server: BucketServer, bucket: Bucket, opened_bucket: Opened) -> None:
    """What has to be new counts as taken only if it is seen to be there."""
    bucket.put(OTHER, b"there")
    with pytest.raises(Conflict):
        create(opened_bucket.store, OTHER, b"new")
    server.faults.add(StatusBefore(412), "insert", count=FOR_EVER)

    with pytest.raises(Unavailable) as caught:
        create(opened_bucket.store, A, b"new")

    assert caught.value.code == "precondition_failed"


def test_a_lost_race(server: BucketServer, bucket: Bucket, opened_bucket: Opened) -> None:
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


@pytest.mark.parametrize("status", [400, 405, 411, 413])
def test_a_request_that_is_refused(
    server: BucketServer, opened_bucket: Opened, status: int
) -> None:
    """What the bucket calls a wrong request is sent once, and nobody is told to try it again."""
    server.faults.add(StatusBefore(status), "insert", count=FOR_EVER)

    with pytest.raises(Unavailable) as caught:
        opened_bucket.store.put(A, b"new", ABSENT)

    assert caught.value.code == "storage_refused"
    assert f"status {status}" in caught.value.message
    assert "Try again" not in caught.value.message
    assert server.log.kinds(A) == ["insert"]
