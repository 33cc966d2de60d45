"""The counted operations are those that Google bills: every request that was answered."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.counted_bucket import CountedBucket, Instance
from benchmarks.month import path_of
from benchmarks.stores import Wheel
from tests.fake_gcs.faults import CutAt, DropAfter, DropBefore, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.fake_time import Clock
from tests.metrics import samples
from tests.storage.gcs.opened import FILES, OTHER, A, Opened
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, NOT_MODIFIED, Key, Store
from wheelyard.storage.forwarding import Operation

pytestmark = pytest.mark.integration

COUNTED = {
    "insert": Operation("insert", "A"),
    "resumable-start": Operation("insert", "A"),
    "resumable-chunk": Operation("piece", "free"),
    "resumable-status": Operation("piece", "free"),
    "list": Operation("list", "A"),
    "media": Operation("read", "B"),
    "delete": Operation("delete", "free"),
}
"""The counted operation of each kind of request in the fake server's log."""
LARGE = Key(f"{FILES}large")
SIZE = 20_000_000


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """Return a file of 20 MB."""
    path = tmp_path / "large"
    path.write_bytes(bytes(SIZE))
    return path


def test_all_that_goes_on_in_a_bucket(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path
) -> None:
    """Over good and bad days, the counts are those of the bucket's own books, class by class."""
    bucket.page_size = 3
    for fault, kind, count in (
        (StatusBefore(503), "insert", 2),
        (StatusAfter(503), "insert", 1),
        (StatusBefore(429, "1"), "insert", 1),
        (StatusBefore(500), "media", 2),
        (CutAt(100_000), "media", 3),
        (StatusBefore(503), "list", 1),
        (StatusAfter(503), "delete", 1),
        (StatusBefore(503), "resumable-start", 1),
        (StatusBefore(502), "resumable-chunk", 1),
        (StatusAfter(504), "resumable-chunk", 1),
        (DropBefore(), "*", 1),
        (DropAfter(), "*", 1),
    ):
        server.faults.add(fault, kind, count=count, skip=1 if count == 1 else 2)

    store = opened_bucket.store
    version = store.put(A, b"one", ABSENT)
    for _ in range(3):
        assert store.get(A, version) is NOT_MODIFIED
        assert store.get(OTHER) is None
    with pytest.raises((Conflict, Unavailable)):
        store.put(A, b"two", ABSENT)
    store.put_file(LARGE, large_file)
    assert sum(map(len, store.read(LARGE))) == SIZE
    assert len(b"".join(store.read(LARGE, 5, 500_000))) == 499_995
    with pytest.raises(NotFound):
        store.read(OTHER)
    for number in range(8):
        store.put(Key(f"b/{number}"), b"", None)
    assert len(list(store.list(""))) == 10
    store.delete(A)
    store.delete(LARGE)

    assert counted(opened_bucket) == in_the_log(server)
    assert set(counted(opened_bucket)) == set(COUNTED.values())


def test_what_each_verb_costs(server: FakeGcs, opened_bucket: Opened) -> None:
    """On a good day every verb is one request, and what is known already brings no bytes."""
    store = opened_bucket.store
    version = store.put(A, b"one", ABSENT)
    store.get(A, version)
    store.get(OTHER)
    list(store.read(A))
    list(store.list(""))
    store.delete(A)

    assert server.log.kinds() == ["insert", "media", "media", "media", "list", "delete"]
    statuses = [each.status for each in server.log.records()]
    assert statuses == [200, 304, 404, 200, 200, 204]


def counted(opened_bucket: Opened) -> dict[Operation, int]:
    """Return how often each operation was counted."""
    found = samples(opened_bucket.operation_counter.metric, "wheelyard_storage_operations_total")
    return {Operation(*labels): int(count) for labels, count in found.items()}


def in_the_log(server: FakeGcs) -> dict[Operation, int]:
    """Return the expected counts, from the log of the fake server."""
    records = [each for each in server.log.records() if each.status and each.kind in COUNTED]
    return dict(Counter(COUNTED[each.kind] for each in records))


def test_bucket_in_memory_counts_as_a_bucket(tmp_path: Path, opened_bucket: Opened) -> None:
    """The operations of the simulated month are those that Cloud Storage would bill."""
    clock = Clock()
    # without a description, which would be stored when it is rendered: perhaps after the end
    wheels = [Wheel("demo", version, description="") for version in ("1.0", "1.1")]
    in_memory = CountedBucket(clock)

    def use(store: Store) -> None:
        server = Instance(store, clock, tmp_path, 1)
        with asyncio.Runner() as loop:
            token, _ = server.index().tokens.create(TokenRequest(name="ci"), "local:test")
            login = (("Authorization", f"Bearer {token.text}"),)
            for each in wheels:
                assert server.request(loop, "/legacy/", login, each.form()).status == 200
            for path in ("/simple/demo/", "/simple/absent/", path_of(each)):
                clock.advance(seconds=20)
                server.request(loop, path, login)
                server.request(loop, f"{path_of(each)}.metadata", login)
            server.stop()

    use(opened_bucket.store)
    use(in_memory)

    def of_bucket() -> dict[str, int]:
        operations = counted(opened_bucket).items()
        return {
            price: sum(n for each, n in operations if each.price_class == price) for price in "AB"
        }

    def of_memory() -> dict[str, int]:
        operations = in_memory.operations.items()
        return {price: sum(n for (each, _), n in operations if each == price) for price in "AB"}

    # in memory files are redirected, which costs the server nothing, and the client a read
    in_memory.count("B", "files/")
    until(lambda: of_bucket() == of_memory(), lambda: f"{of_bucket()}, {of_memory()}")
