"""Reads that break off or are spoilt: whole and of one write, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from random import Random
from typing import Literal

import pytest

from tests.fake_gcs.faults import (
    CutAt,
    Fault,
    FlipByte,
    OtherRange,
    ResetAt,
    Slow,
    Stall,
    StatusBefore,
    WrongHash,
)
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.http_server import serving
from tests.storage.gcs.opened import EMULATOR, FOR_EVER, VERBS, A, Opened, Opener, SkippedPauses
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, CHUNK_BYTES, NOT_MODIFIED, Key, Stored
from wheelyard.storage.gcs import object_download

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
    assert (first.status, second.status) == (200, 206)
    assert "generation=" not in first.target
    assert f"generation={version}" in second.target


def test_a_stream_that_breaks_off_again_and_again(server: FakeGcs, opened_bucket: Opened) -> None:
    """A stream goes on as often as it must while bytes come, and is given up when none do."""
    body = BODY * 3
    opened_bucket.store.put(A, body, ABSENT)
    planned = server.faults.add(CutAt(CHUNK_BYTES + 1), "media", count=FOR_EVER)
    assert b"".join(opened_bucket.store.read(A)) == body
    assert planned.taken > 2 * object_download.MAX_FRUITLESS_RESUMES

    server.faults.clear()
    planned = server.faults.add(CutAt(0), "media", count=FOR_EVER)
    with pytest.raises(Unavailable, match="gs://wheels does not answer"):
        b"".join(opened_bucket.store.read(A))
    assert planned.taken == 1 + object_download.MAX_FRUITLESS_RESUMES


@pytest.mark.parametrize(
    ("start", "stop", "answered"),
    [(5, None, ""), (5, 8, ""), (0, 8, ""), (5, None, "bytes=3-"), (5, 8, "bytes=5-9")],
)
def test_another_range_than_was_asked_for(
    server: FakeGcs, opened_bucket: Opened, start: int, stop: int | None, answered: str
) -> None:
    """If a proxy answers with another range, its bytes are not passed on."""
    opened_bucket.store.put(A, b"0123456789", ABSENT)
    server.faults.add(OtherRange(answered), "media")

    with pytest.raises(Unavailable, match="gs://wheels, or went there, was damaged"):
        opened_bucket.store.read(A, start, stop)


@pytest.mark.parametrize("answered", ["", "bytes=300000-"])
def test_a_stream_that_goes_on_elsewhere(
    server: FakeGcs, opened_bucket: Opened, answered: str
) -> None:
    """A range that breaks off, and whose rest is answered with other bytes, ends with a fault."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(CutAt(400_000), "media")
    server.faults.add(OtherRange(answered), "media")
    stream = opened_bucket.store.read(A, 1)
    received: list[bytes] = []

    with pytest.raises(Unavailable, match="gs://wheels, or went there, was damaged"):
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

    with pytest.raises(Unavailable, match="gs://wheels answers with status 404"):
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
    opened_bucket.time.meanwhile = lambda: bucket.put(A, b"newer")

    found = opened_bucket.store.get(A, known)

    assert isinstance(found, Stored)
    assert found.body == b"newer"
    assert opened_bucket.store.get(A, found.version) is NOT_MODIFIED


@pytest.mark.parametrize("fault", [FlipByte(3), WrongHash()], ids=["byte", "hash"])
def test_a_spoilt_document(server: FakeGcs, opened_bucket: Opened, fault: Fault) -> None:
    """A document of which a bit is wrong is read again, and never given away."""
    version = opened_bucket.store.put(A, b"0123456789", ABSENT)
    server.faults.add(fault, "media")
    assert opened_bucket.store.get(A) == Stored(b"0123456789", version)

    server.faults.add(fault, "media", count=FOR_EVER)
    with pytest.raises(Unavailable, match="gs://wheels, or went there, was damaged"):
        opened_bucket.store.get(A)


@pytest.mark.parametrize("position", [0, CHUNK_BYTES, SIZE - 1])
def test_a_spoilt_stream(server: FakeGcs, opened_bucket: Opened, position: int) -> None:
    """A download with a wrong bit is aborted before its end."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(FlipByte(position), "media")
    stream = opened_bucket.store.read(A)
    received: list[bytes] = []

    with pytest.raises(Unavailable, match="gs://wheels, or went there, was damaged"):
        received.extend(stream)

    assert SIZE - CHUNK_BYTES <= sum(map(len, received)) < SIZE


def test_the_beginning_of_a_stream_is_tried_again(server: FakeGcs, opened_bucket: Opened) -> None:
    """A stream that cannot begin just now begins a little later, or tells that nothing is there."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(StatusBefore(503), "media", count=2)
    assert b"".join(opened_bucket.store.read(A)) == BODY

    server.faults.add(StatusBefore(503), "media", count=2)
    with pytest.raises(NotFound):
        opened_bucket.store.read(Key("a/2.json"))


@pytest.mark.slow
def test_a_stream_that_stalls(server: FakeGcs, opened_bucket: Opened) -> None:
    """A stream of which nothing is heard for some seconds is asked for again."""
    opened_bucket.store.put(A, BODY, ABSENT)
    server.faults.add(Stall(object_download.STREAM_TIMEOUTS[1] + 5), "media")

    assert b"".join(opened_bucket.store.read(A)) == BODY

    assert len(opened_bucket.time.pauses) == 1


@pytest.mark.slow
def test_a_document_that_trickles(server: FakeGcs, opener: Opener) -> None:
    """A document that comes a few bytes a second is given up, and not waited for."""
    store = opener("gs://wheels", still=SkippedPauses()).store
    store.put(A, b"x" * 800, ABSENT)
    server.faults.add(Slow(8), "media", count=FOR_EVER)

    with pytest.raises(Unavailable):
        store.get(A)


@pytest.mark.parametrize("answer", ["<html>Please log in</html>", "[]", "{}", "null"])
def test_something_else_answers(
    answer: str, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a log-in page or another program answers in place of the bucket, it is one sentence."""
    with another_server(answer) as url:
        monkeypatch.setenv(EMULATOR, url)
        store = opener("gs://wheels").store
        for ask in VERBS.values():
            with pytest.raises((Unavailable, Conflict), match=r"gs://wheels|changed"):
                ask(store)


def test_an_answer_that_does_not_say_its_length(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not said how long an object is, it is not taken for an empty one."""
    with another_server("not empty", says_length=False) as url:
        monkeypatch.setenv(EMULATOR, url)
        store = opener("gs://wheels").store

        with pytest.raises(Unavailable, match="gs://wheels, or went there, was damaged"):
            b"".join(store.read(A))


@contextmanager
def another_server(answer: str, *, says_length: bool = True) -> Iterator[str]:
    """Serve one answer to everything; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if says_length:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_POST = do_GET  # noqa: N815 - the names that http.server looks for
        do_DELETE = do_GET  # noqa: N815

    with serving(Handler) as url:
        yield url


@pytest.mark.parametrize("page", ["first", "empty"])
def test_a_listing_that_never_ends(
    bucket: Bucket, opened_bucket: Opened, page: Literal["first", "empty"]
) -> None:
    """A listing that gives one page again and again ends with a refusal."""
    for name in ("a", "b", "c"):
        opened_bucket.store.put(Key(name), b"", ABSENT)
    bucket.page_size, bucket.endless = 2, page

    with pytest.raises(Unavailable):
        list(opened_bucket.store.list(""))
