"""Large bodies go up in pieces; what breaks off in between goes on, and a loser learns so."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from tests.bucket.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer
from tests.storage.cloud.opened import EMULATOR, FOR_EVER, A, Opened, Opener
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, CHUNK, ObjectVersion, Stored
from wheelyard.storage.cloud.retrying import READ_PATIENCE, WRITE_PATIENCE
from wheelyard.storage.cloud.store import ONE_REQUEST

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
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 20 MB."""
    path = tmp_path_factory.mktemp("large") / "body"
    path.write_bytes(Random(1).randbytes(SIZE))
    return path


@faults
@pytest.mark.parametrize("at", [0, PIECES // 2, PIECES - 1], ids=["first", "middle", "last"])
def test_a_piece_fails(
    server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path, fault: Fault, at: int
) -> None:
    """An upload goes on over a piece that fails, or whose reply does, and loses no byte."""
    server.faults.add(fault, "resumable-chunk", skip=at)

    version = opened_bucket.store.put(A, large, ABSENT)

    found = bucket.get(A)
    assert found
    assert found.data == large.read_bytes()
    assert version == str(found.generation)
    assert len(opened_bucket.time.pauses) == 1
    kinds = server.log.kinds()
    assert kinds[: PIECES + 2] == ["resumable-start", *["resumable-chunk"] * (PIECES + 1)]
    assert kinds[PIECES + 2 :] == []


@faults
def test_the_beginning_fails(
    server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path, fault: Fault
) -> None:
    """An upload of which the beginning fails begins again."""
    server.faults.add(fault, "resumable-start", count=2)

    version = opened_bucket.store.put(A, large, ABSENT)

    assert server.log.count(kind="resumable-start") == 3
    assert version == generation(bucket)


@pytest.mark.parametrize(
    "size",
    [ONE_REQUEST, ONE_REQUEST + 1, 2 * ONE_REQUEST - 1, 2 * ONE_REQUEST, 2 * ONE_REQUEST + 1],
)
@pytest.mark.parametrize("fault", [None, DropAfter()], ids=["well", "reply lost"])
def test_sizes_around_a_piece(
    server: BucketServer, opened_bucket: Opened, tmp_path: Path, size: int, fault: Fault | None
) -> None:
    """A body may fill its last piece, or just not; the end of it may be said twice."""
    body = Random(size).randbytes(size)
    (tmp_path / "body").write_bytes(body)
    last = size // ONE_REQUEST
    if fault:
        server.faults.add(fault, "resumable-[cs][ht]*", skip=last + 1)
        server.faults.add(fault, "insert")

    version = opened_bucket.store.put(A, tmp_path / "body", ABSENT)

    assert opened_bucket.store.get(A) == Stored(body, version)


@pytest.mark.parametrize("is_creation", [True, False], ids=["creation", "swap"])
def test_who_comes_too_late(
    server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path, *, is_creation: bool
) -> None:
    """Who sends a large body over what is there already is told so with the last piece."""
    old = opened_bucket.store.put(A, b"one", ABSENT)
    newer = opened_bucket.store.put(A, b"two", old)

    with pytest.raises(Conflict):
        opened_bucket.store.put(A, large, ABSENT if is_creation else old)

    assert server.log.records("resumable-*")[-1].status == 412
    assert generation(bucket) == newer


def test_somebody_was_first_meanwhile(
    opener: Opener, server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path
) -> None:
    """A large body that is overtaken while it goes up, with a failure on top, is a Conflict."""
    server.faults.add(StatusBefore(503), "resumable-chunk", skip=2)
    opened_bucket.time.meanwhile = lambda: opener().store.put(A, b"other", ABSENT)

    with pytest.raises(Conflict):
        opened_bucket.store.put(A, large, ABSENT)

    found = bucket.get(A)
    assert found
    assert found.data == b"other"


def test_a_piece_fails_for_ever(
    server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path
) -> None:
    """An upload of which a piece never arrives is given up in bounded time, and leaves nothing."""
    server.faults.add(StatusBefore(503), "resumable-chunk", skip=2, count=FOR_EVER)

    with pytest.raises(Unavailable, match="gs://wheels answers with status 503"):
        opened_bucket.store.put(A, large, ABSENT)

    assert opened_bucket.time.now <= WRITE_PATIENCE + READ_PATIENCE
    assert bucket.names() == []


def test_the_bucket_forgets_an_upload(
    server: BucketServer, bucket: Bucket, opened_bucket: Opened, large: Path
) -> None:
    """An upload of which the bucket knows no more begins anew, and arrives."""
    server.faults.add(StatusBefore(503), "resumable-chunk", skip=2)
    opened_bucket.time.meanwhile = server.expire_uploads

    opened_bucket.store.put(A, large, ABSENT)

    assert bucket.names() == [A]


class Forgetful(BaseHTTPRequestHandler):
    """A bucket that keeps a quarter of a megabyte of each piece."""

    def do_POST(self) -> None:
        """Begin an upload."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(200, "Location", f"http://{self.headers['Host']}{self.path}&upload_id=1")

    def do_PUT(self) -> None:
        """Take a piece, and keep a part of it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(308, "Range", f"bytes=0-{CHUNK - 1}")

    def _reply(self, status: int, name: str, value: str) -> None:
        self.send_response(status)
        self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def test_a_bucket_that_keeps_a_part_of_a_piece(
    opener: Opener, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that takes less of a piece than was sent is Unavailable, and nothing worse."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as forgetful:
        Thread(target=forgetful.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv(EMULATOR, f"http://127.0.0.1:{forgetful.server_port}")
        try:
            with pytest.raises(Unavailable, match="gs://wheels"):
                opener().store.put(A, large, ABSENT)
        finally:
            forgetful.shutdown()


def generation(bucket: Bucket) -> ObjectVersion:
    """Return the version of A, as the bucket itself knows it."""
    found = bucket.get(A)
    assert found
    return ObjectVersion(str(found.generation))
