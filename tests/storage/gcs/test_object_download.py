"""Reads that break off or are spoilt: whole and of one write, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from random import Random

import pytest

from tests.fake_gcs.faults import (
    CutAt,
    FlipByte,
    OtherRange,
    ResetAt,
    Stall,
)
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.http_server import serving
from tests.storage.gcs.opened import EMULATOR, FOR_EVER, VERBS, A, Opened, Opener
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, CHUNK_BYTES, NOT_MODIFIED, Stored
from wheelyard.storage.gcs import store as gcs

pytestmark = pytest.mark.integration

SIZE = 1_000_000
BODY = Random(1).randbytes(SIZE)
POSITIONS = [0, 1, SIZE // 2, SIZE - 1]
breaks = pytest.mark.parametrize("broken", [CutAt, ResetAt], ids=["cut", "reset"])


@breaks
@pytest.mark.parametrize("position", POSITIONS)
def test_a_stream_that_breaks_off(
    server: FakeGcs, opened_bucket: Opened, position: int, broken: type[CutAt | ResetAt]
) -> None:
    """A stream that breaks off goes on where it was, with the same write."""
    version = opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(broken(position), "media")

    assert b"".join(opened_bucket.store.read(A)) == BODY

    first, second = server.log.records("media")
    assert (first.status, second.status) in {(200, 206), (200, 200)}  # nothing may have come
    assert "generation=" not in first.target
    assert f"generation={version}" in second.target


def test_a_stream_that_breaks_off_again_and_again(server: FakeGcs, opened_bucket: Opened) -> None:
    """A stream goes on as often as it must while bytes come, and is given up when none do."""
    body = BODY * 3
    opened_bucket.store.put(A, body, ABSENT)
    planned = server.faults.add(CutAt(CHUNK_BYTES + 1), "media", count=FOR_EVER)
    assert b"".join(opened_bucket.store.read(A)) == body
    assert planned.taken > 2 * gcs.MAX_FRUITLESS_RESUMES

    server.faults.clear()
    planned = server.faults.add(CutAt(0), "media", count=FOR_EVER)
    with pytest.raises(Unavailable, match="gs://wheels does not answer"):
        b"".join(opened_bucket.store.read(A))
    assert planned.taken == 1 + gcs.MAX_FRUITLESS_RESUMES


@pytest.mark.parametrize(("start", "stop"), [(5, None), (5, 8), (0, 8)])
def test_another_range_than_was_asked_for(
    server: FakeGcs, opened_bucket: Opened, start: int, stop: int | None
) -> None:
    """If a proxy ignores the range of a request, its bytes are not passed on."""
    opened_bucket.store.put(A, b"0123456789", ABSENT)
    server.faults.add(OtherRange(""), "media", count=FOR_EVER)

    with pytest.raises(Unavailable, match=r"gs://wheels answers .* other bytes"):
        opened_bucket.store.read(A, start, stop)


def test_a_stream_that_goes_on_elsewhere(server: FakeGcs, opened_bucket: Opened) -> None:
    """A range that breaks off, and whose rest is answered with other bytes, ends with a fault."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(CutAt(400_000), "media")
    server.faults.add(OtherRange("bytes=300000-"), "media", count=FOR_EVER)
    stream = opened_bucket.store.read(A, 1)
    received: list[bytes] = []

    with pytest.raises(Unavailable, match=r"gs://wheels answers .* other bytes"):
        received.extend(stream)

    assert received
    assert BODY[1:].startswith(b"".join(received))


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "replaced"])
def test_a_stream_never_mixes_two_writes(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, *, is_deleted: bool
) -> None:
    """A stream that breaks off after its object was changed ends with a fault, not with others."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(CutAt(2 * CHUNK_BYTES), "media")
    stream = opened_bucket.store.read(A)
    received = [next(stream)]
    if is_deleted:
        bucket.remove(A)
    else:
        bucket.put(A, BODY[::-1])

    with pytest.raises(Unavailable, match=r"gs://wheels answers with status 404"):
        received.extend(stream)

    assert BODY.startswith(b"".join(received))


@breaks
@pytest.mark.parametrize("position", POSITIONS)
def test_a_whole_read_that_breaks_off(
    server: FakeGcs, opened_bucket: Opened, position: int, broken: type[CutAt | ResetAt]
) -> None:
    """A document whose connection breaks off is read again, and comes whole."""
    version = opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(broken(position), "media", count=2)

    assert opened_bucket.store.get(A) == Stored(BODY, version)

    assert len(opened_bucket.time.pauses) == 2


@pytest.mark.parametrize("position", [0, 1, SIZE - 1])
def test_a_document_is_replaced_while_it_is_read(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, position: int
) -> None:
    """A document that is replaced after its connection broke off is read as what it is then."""
    known = opened_bucket.store.put(A, b"known", ABSENT)
    bucket.put(A, BODY)
    server.faults.add(CutAt(position), "media")
    opened_bucket.time.during_pause = lambda: bucket.put(A, b"newer")

    found = opened_bucket.store.get(A, known)

    assert isinstance(found, Stored)
    assert found.body == b"newer"
    assert opened_bucket.store.get(A, found.version) is NOT_MODIFIED


def test_a_spoilt_document(server: FakeGcs, opened_bucket: Opened) -> None:
    """A document of which a bit is wrong is read again, and never given away."""
    version = opened_bucket.store.put(A, b"0123456789", ABSENT)
    server.faults.add(FlipByte(3), "media")
    assert opened_bucket.store.get(A) == Stored(b"0123456789", version)

    server.faults.add(FlipByte(3), "media", count=FOR_EVER)
    with pytest.raises(Unavailable, match=r"gs://wheels answers .* damaged bytes"):
        opened_bucket.store.get(A)


@pytest.mark.slow
def test_a_stream_that_stalls(
    server: FakeGcs, opened_bucket: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of which nothing is heard for some seconds is asked for again."""
    monkeypatch.setattr(gcs, "READ_TIMEOUTS", (3.0, 2.0))
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(Stall(gcs.READ_TIMEOUTS[1] + 5), "media")

    assert b"".join(opened_bucket.store.read(A)) == BODY

    assert len(opened_bucket.time.pauses) == 1


@pytest.mark.parametrize("answer", ["<html>Please log in</html>", "[]", "{}", "null"])
def test_something_else_answers(
    answer: str, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another program answers for the bucket, each verb fails with an error of a store."""
    with another_server(answer) as url:
        monkeypatch.setenv(EMULATOR, url)
        store = opener("gs://wheels").store
        for ask in VERBS.values():
            with pytest.raises((Unavailable, Conflict), match=r"gs://wheels|changed"):
                ask(store)


def test_something_else_is_not_called_silent(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something else answers, the calls that fail at once afterwards say so as well."""
    with another_server("<html>Please log in</html>") as url:
        monkeypatch.setenv(EMULATOR, url)
        store = opener("gs://wheels").store
        for _ in range(2):
            with pytest.raises(Unavailable, match="status 200 as Cloud Storage never does"):
                store.get(A)


@contextmanager
def another_server(answer: str) -> Iterator[str]:
    """Serve one answer to everything; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_POST = do_GET  # noqa: N815 - the names that http.server looks for
        do_DELETE = do_GET  # noqa: N815

    with serving(Handler) as url:
        yield url
