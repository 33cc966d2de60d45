"""What becomes of calls whose answers are lost, late or refused."""

from pathlib import Path

import pytest

from tests.fake_gcs.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    ResetAt,
    StatusAfter,
    StatusBefore,
)
from tests.fake_time import RunningClock
from tests.refused import refused
from tests.services.dialect import PART
from tests.services.service import ProxiedService
from tests.storage.conformance import LARGE_BYTES
from tests.storage.gcs.opened import VERBS
from tests.storage.objects.conftest import Open
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, Key, Store, Stored
from wheelyard.storage.objects.store import ObjectStore

pytestmark = pytest.mark.integration

A, FILE = Key("a/1.json"), Key("files/demo/abc/demo-1.0.tar.gz")
FOR_EVER = 100


def put_file(store: Store) -> None:
    """Store a file."""
    store.put_file(FILE, b"")


ACTS = (*VERBS.values(), put_file)
"""Every way to ask a bucket for something."""


def test_a_lost_race(store: ObjectStore, service: ProxiedService) -> None:
    """A write that lost a race is a Conflict, even if it was throttled before."""
    store.put(A, b"one", ABSENT)
    service.faults.add(StatusBefore(429), "insert", A)

    with pytest.raises(Conflict):
        store.put(A, b"two", ABSENT)


@pytest.mark.parametrize("service", ["s3"], indirect=True)
def test_a_service_that_answers_409_for_what_exists(
    store: ObjectStore, service: ProxiedService
) -> None:
    """A service may refuse the creation of what exists by 409, and not by 412."""
    store.put(A, b"one", ABSENT)
    service.faults.add(StatusBefore(409), "insert", A, count=FOR_EVER)

    with pytest.raises(Conflict):
        store.put(A, b"two", ABSENT)


@pytest.mark.parametrize(
    ("status", "code"), [(503, "overloaded"), (429, "overloaded"), (500, "storage_unavailable")]
)
def test_a_service_that_never_answers_well(
    store: ObjectStore, service: ProxiedService, status: int, code: str
) -> None:
    """A write that fails again and again is given up, with a code and when to try again."""
    service.faults.add(StatusBefore(status), "insert", A, count=FOR_EVER)

    with pytest.raises(Unavailable) as caught:
        store.put(A, b"one", ABSENT)

    assert caught.value.code == code
    assert caught.value.retry_after
    assert service.bucket("wheels").get(A) is None


@pytest.mark.parametrize(
    "faults",
    [(DropBefore(), DropAfter()), (StatusBefore(503), StatusAfter(500))],
    ids=["without an answer", "with an error"],
)
def test_a_large_file_with_lost_answers(
    store: ObjectStore, service: ProxiedService, tmp_path: Path, faults: tuple[Fault, ...]
) -> None:
    """A file of several parts is stored whole, though requests of each kind are not answered."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * (LARGE_BYTES // 10))
    # Azure has no request that begins a file
    kinds = ["resumable-start"] if service.environment().get("AWS_REGION") else []
    planned = [
        service.faults.add(fault, kind)
        for kind in (*kinds, PART, "resumable-end")
        for fault in faults
    ]

    store.put_file(FILE, path)

    assert b"".join(store.read(FILE)) == path.read_bytes()
    assert [each.taken for each in planned] == [1] * len(planned)


def test_a_file_that_vanishes(
    store: ObjectStore, service: ProxiedService, patience: RunningClock, tmp_path: Path
) -> None:
    """Where the file to send was removed, the message says that, and not that nobody answers."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    service.faults.add(StatusBefore(500), "insert", count=FOR_EVER)
    patience.during_pause = path.unlink

    with pytest.raises(Unavailable, match="could not use the upload: No such file"):
        store.put_file(FILE, path)


@pytest.mark.parametrize("fault", [CutAt(100_000), ResetAt(100_000)])
def test_a_broken_stream_goes_on(store: ObjectStore, service: ProxiedService, fault: Fault) -> None:
    """A download that breaks off goes on where it was."""
    body = bytes(range(256)) * 4000
    store.put_file(FILE, body)
    service.faults.add(fault, "media")

    assert b"".join(store.read(FILE)) == body


def test_a_broken_document(store: ObjectStore, service: ProxiedService) -> None:
    """A document whose answer breaks off is read again, also if it has changed meanwhile."""
    version = store.put(A, b"x" * 5000, ABSENT)
    service.faults.add(CutAt(10), "media", A)

    assert store.get(A) == Stored(b"x" * 5000, version)


def test_a_broken_listing(store: ObjectStore, service: ProxiedService) -> None:
    """A listing whose answers break off goes on, and names each object once."""
    store.put(A, b"one", ABSENT)
    planned = service.faults.add(CutAt(10), "list", count=3)

    assert [entry.key for entry in store.list("")] == [A]
    assert planned.taken == 3


def test_an_error_is_no_absence(store: ObjectStore, service: ProxiedService) -> None:
    """Whoever may not read learns that, and not that there is nothing."""
    service.faults.add(StatusBefore(403, reason="AccessDenied"), "*", count=FOR_EVER)

    for act in ACTS:
        with refused(Unavailable, "storage_denied"):
            act(store)


def test_a_missing_bucket(open_place: Open) -> None:
    """A bucket that does not exist is never taken for an empty one."""
    store = open_place("absent").documents

    for act in ACTS:
        with refused(Unavailable, "bucket_missing", match="does not exist"):
            act(store)


def test_a_service_that_is_gone(store: ObjectStore, service: ProxiedService) -> None:
    """Without an answer, the message says so, and holds nothing of the request."""
    service.stop()

    with pytest.raises(Unavailable, match="does not answer") as caught:
        store.put(A, b"secret", None)

    fault: BaseException | None = caught.value
    while fault is not None:
        assert "127.0.0.1" not in str(fault)
        fault = fault.__cause__ or fault.__context__


def test_no_request_while_a_service_is_gone(
    store: ObjectStore, service: ProxiedService, patience: RunningClock
) -> None:
    """While a service fails, calls fail at once and say why; a little later one asks again."""
    service.faults.add(StatusBefore(500), count=FOR_EVER)
    with pytest.raises(Unavailable):
        store.put(A, b"one", None)
    asked = service.log.count()

    for act in ACTS:
        with pytest.raises(Unavailable, match="answers with status 500"):
            act(store)
    assert service.log.count() == asked

    service.faults.clear()
    patience.pause(5)
    assert store.get(A) is None
    assert list(store.list("")) == []


def test_reading_what_is_absent(store: ObjectStore) -> None:
    """An absent object is NotFound, for an empty range, too."""
    for start, stop in ((0, None), (3, 3), (2, 9)):
        with pytest.raises(NotFound):
            store.read(A, start, stop)
