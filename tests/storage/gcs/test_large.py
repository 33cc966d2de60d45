"""Large bodies go up in pieces; what breaks off in between goes on, and a loser learns so."""

import json
import subprocess
import sys
from hashlib import file_digest
from pathlib import Path
from random import Random

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.storage.gcs.opened import EMULATOR, FOR_EVER, A, Opened
from wheelyard.errors import Unavailable
from wheelyard.storage.bucket_store import READ_RETRY_SECONDS, WRITE_RETRY_SECONDS
from wheelyard.storage.gcs.store import UPLOAD_CHUNK_BYTES

pytestmark = pytest.mark.integration

SIZE = 20_000_000
PIECES = 5
FAULTS: list[Fault] = [
    StatusBefore(503),
    StatusAfter(503),
    DropBefore(),
    DropAfter(),
    StatusBefore(429, "1"),
]
faults = pytest.mark.parametrize(
    "fault", FAULTS, ids=["not done", "done", "reset", "reply lost", "too often"]
)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 20 MB."""
    path = tmp_path_factory.mktemp("large") / "body"
    path.write_bytes(Random(1).randbytes(SIZE))
    return path


@faults
def test_pieces_fail(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path, fault: Fault
) -> None:
    """An upload goes on over pieces that fail, or whose replies do, and loses no byte."""
    planned = [
        server.faults.add(fault, "resumable-chunk", skip=at) for at in (0, PIECES // 2, PIECES - 1)
    ]

    opened_bucket.store.put_file(A, large_file)

    assert bucket.find(A).data == large_file.read_bytes()
    assert [each.taken for each in planned] == [1, 1, 1]
    assert len(opened_bucket.time.pauses) == 3
    assert server.log.kinds() == ["resumable-start", *["resumable-chunk"] * (PIECES + 3)]


@faults
def test_the_beginning_fails(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path, fault: Fault
) -> None:
    """An upload of which the beginning fails begins again."""
    server.faults.add(fault, "resumable-start", count=2)

    opened_bucket.store.put_file(A, large_file)

    assert server.log.count(kind="resumable-start") == 3
    assert bucket.find(A).data == large_file.read_bytes()


@pytest.mark.parametrize(
    "size",
    [
        UPLOAD_CHUNK_BYTES,
        UPLOAD_CHUNK_BYTES + 1,
        2 * UPLOAD_CHUNK_BYTES - 1,
        2 * UPLOAD_CHUNK_BYTES,
        2 * UPLOAD_CHUNK_BYTES + 1,
    ],
)
@pytest.mark.parametrize("fault", [None, DropAfter()], ids=["well", "reply lost"])
def test_sizes_around_a_piece(
    server: FakeGcs, opened_bucket: Opened, tmp_path: Path, size: int, fault: Fault | None
) -> None:
    """A body may fill its last piece, or just not; the end of it may be said twice."""
    body = Random(size).randbytes(size)
    (tmp_path / "body").write_bytes(body)
    last = size // UPLOAD_CHUNK_BYTES
    if fault:
        server.faults.add(fault, "resumable-[cs][ht]*", skip=last + 1)
        server.faults.add(fault, "insert")

    opened_bucket.store.put_file(A, tmp_path / "body")

    assert b"".join(opened_bucket.store.read(A)) == body


def test_all_replies_to_the_end_are_lost(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path
) -> None:
    """An upload that never hears that it has ended has succeeded if its object is there."""
    server.faults.add(StatusAfter(503), "resumable-chunk", skip=PIECES - 1, count=FOR_EVER)

    opened_bucket.store.put_file(A, large_file)

    assert bucket.find(A).data == large_file.read_bytes()


def test_a_piece_fails_for_ever(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path
) -> None:
    """An upload of which a piece never arrives is given up in bounded time, and leaves nothing."""
    server.faults.add(StatusBefore(503), "resumable-chunk", skip=2, count=FOR_EVER)

    with pytest.raises(Unavailable, match="gs://wheels answers with status 503"):
        opened_bucket.store.put_file(A, large_file)

    assert opened_bucket.time.elapsed <= WRITE_RETRY_SECONDS + READ_RETRY_SECONDS
    assert bucket.names() == []


def test_the_bucket_forgets_an_upload(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, large_file: Path
) -> None:
    """An upload of which the bucket knows no more begins anew, and arrives."""
    server.faults.add(StatusBefore(503), "resumable-chunk", skip=2)
    opened_bucket.time.during_pause = server.expire_uploads

    opened_bucket.store.put_file(A, large_file)

    assert bucket.names() == [A]


REPOSITORY = Path(__file__).parents[3]
WHOLE = 150_000_000
ALLOWED = 60_000
"""Kilobytes above what the process had when it had opened the bucket."""
MOVING = """
import json, resource, sys
from hashlib import sha256
from pathlib import Path
from tests.storage.gcs.opened import FILES, Opener
from wheelyard.storage.base import ABSENT, Key

def most():
    # elsewhere than on a Mac, what the operating system says begins with what the parent had
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

store, key = Opener()().store, Key(FILES + "large")
store.put(Key("small"), b"1", ABSENT)
assert store.get(Key("small"))
found = {"start": most()}
store.put_file(key, Path(sys.argv[1]))
found["up"] = most()
digest, size = sha256(), 0
for chunk in store.read(key):
    digest.update(chunk)
    size += len(chunk)
found |= {"down": most(), "size": size, "digest": digest.hexdigest()}
print(json.dumps(found))
"""
"""A process that sends a file and reads it again."""


@pytest.mark.slow
def test_a_large_file_is_never_in_memory(server: FakeGcs, tmp_path: Path) -> None:
    """A file of 150 MB goes up and comes down within 60 MB of memory."""
    file = tmp_path / "large"
    with file.open("wb") as sink:
        sink.truncate(WHOLE)

    done = subprocess.run(
        [sys.executable, "-c", MOVING, file],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "src", EMULATOR: server.url},
    )

    found = json.loads(done.stdout)
    with file.open("rb") as source:
        assert found["digest"] == file_digest(source, "sha256").hexdigest()
    assert found["size"] == WHOLE
    assert server.log.count("A") == 2
    assert found["down"] - found["start"] < ALLOWED
