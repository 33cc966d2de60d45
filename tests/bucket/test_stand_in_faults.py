"""What goes wrong on demand, as Google's own client meets it."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket
from google.cloud.storage.exceptions import DataCorruption
from requests.exceptions import ConnectionError as RequestsConnectionError

from tests.bucket.clients import PATIENCE, ask, quick_retry, storage_client
from tests.bucket.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    FlipByte,
    Hold,
    OtherRange,
    ResetAt,
    Slow,
    Stall,
    StatusAfter,
    StatusBefore,
    When,
    WrongHash,
)
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer

MEDIA = "/storage/v1/b/wheels/o/a?alt=media"
INSERT = "/upload/storage/v1/b/wheels/o?uploadType=media&name="

WRITER = """
import sys, urllib.request
for number in range(int(sys.argv[2])):
    url = f"{sys.argv[1]}/upload/storage/v1/b/wheels/o?uploadType=media&name={number}"
    urllib.request.urlopen(urllib.request.Request(url, b"body", method="POST")).read()
"""
"""A process that stores objects one after the other."""


@pytest.mark.parametrize("fault", [StatusBefore(503), DropBefore()], ids=["status", "drop"])
def test_nothing_was_done(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, fault: Fault
) -> None:
    """What fails before it is carried out has changed nothing, and succeeds when repeated."""
    planned = server.faults.add(fault, "insert", "a", count=2)

    with pytest.raises((gexc.ServiceUnavailable, RequestsConnectionError)):
        remote.blob("a").upload_from_string(b"1", if_generation_match=0, retry=None)
    assert bucket.names() == []
    remote.blob("a").upload_from_string(b"1", if_generation_match=0, retry=quick_retry())

    assert planned.taken == 2
    status = 503 if isinstance(fault, StatusBefore) else 0
    assert [each.status for each in server.log.records("insert")] == [status, status, 200]


@pytest.mark.parametrize("fault", [StatusAfter(503), DropAfter()], ids=["status", "drop"])
def test_it_was_done(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, fault: Fault
) -> None:
    """What fails after it was carried out is done: who repeats it meets their own work."""
    server.faults.add(fault, "insert")
    with pytest.raises(gexc.PreconditionFailed):
        remote.blob("a").upload_from_string(b"1", if_generation_match=0, retry=quick_retry())
    found = bucket.get("a")
    assert found
    assert found.data == b"1"

    server.faults.add(fault, "delete")
    with pytest.raises(gexc.NotFound):
        remote.blob("a").delete(if_generation_match=found.generation, retry=quick_retry())
    assert bucket.names() == []


@pytest.mark.parametrize(
    "fault",
    [StatusAfter(503), DropAfter(), StatusBefore(500), DropBefore()],
    ids=["done", "done, dropped", "not done", "not done, dropped"],
)
def test_a_chunk_is_sent_again(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, fault: Fault
) -> None:
    """An upload in chunks goes on over an answer that is lost, in the middle and at the end."""
    body = bytes(range(256)) * 4096 * 9
    blob = remote.blob("a")
    blob.chunk_size = 1 << 20
    server.faults.add(fault, "resumable-chunk", "a", skip=1)
    server.faults.add(fault, "resumable-chunk", "a", skip=9)

    with blob.open("wb", chunk_size=1 << 20, ignore_flush=True, retry=quick_retry()) as stream:
        stream.write(body)

    found = bucket.get("a")
    assert found
    assert found.data == body


def test_retry_after(server: BucketServer) -> None:
    """A refusal may say when to come back."""
    server.faults.add(StatusBefore(429, retry_after="7"), "list")

    answer = ask(server.address, "GET", "/storage/v1/b/wheels/o?prefix=a")

    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.json["error"]["errors"][0]["reason"] == "rateLimitExceeded"


def test_a_connection_survives_a_refusal(server: BucketServer, bucket: Bucket) -> None:
    """After a refusal that has read nothing, the same connection carries the next request."""
    server.faults.add(StatusBefore(503), "insert")
    with closing(HTTPConnection(server.address, timeout=PATIENCE)) as connection:
        statuses = []
        for _ in range(2):
            connection.request("POST", f"{INSERT}a", bytes(3 << 20))
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)

    assert statuses == [503, 200]
    assert bucket.names() == ["a"]


@pytest.mark.parametrize("fault", [CutAt(700_000), ResetAt(700_000)], ids=["cut", "reset"])
def test_a_download_breaks_off(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, fault: Fault
) -> None:
    """A download that breaks off is resumed, of the same generation."""
    body = bytes(range(256)) * 8192
    generation = bucket.put("a", body).generation
    planned = server.faults.add(fault, "media")

    assert remote.blob("a").download_as_bytes(retry=quick_retry()) == body

    assert planned.taken == 1
    last = server.log.records("media")[-1]
    assert (last.status, f"generation={generation}" in last.target) == (206, True)


def test_how_a_download_breaks_off(server: BucketServer, bucket: Bucket) -> None:
    """A body that is cut ends too early after just those bytes; a reset is an error."""
    bucket.put("a", bytes(range(100)))
    server.faults.add(CutAt(40), "media")
    server.faults.add(ResetAt(40), "media")

    with pytest.raises(IncompleteRead) as cut:
        ask(server.address, "GET", MEDIA)
    with pytest.raises(ConnectionResetError):
        ask(server.address, "GET", MEDIA)

    assert cut.value.partial == bytes(range(40))
    assert ask(server.address, "GET", MEDIA).status == 200


@pytest.mark.parametrize("fault", [FlipByte(3), WrongHash()], ids=["byte", "hash"])
def test_a_download_is_spoilt(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, fault: Fault
) -> None:
    """A byte or a checksum that is wrong is found out by the client."""
    bucket.put("a", b"0123456789")
    server.faults.add(fault, "media", count=2)

    with pytest.raises(DataCorruption):
        remote.blob("a").download_as_bytes()

    answer = ask(server.address, "GET", MEDIA)
    assert answer.body == (b"0122456789" if isinstance(fault, FlipByte) else b"0123456789")


@pytest.mark.parametrize(
    ("asked", "status", "body"), [("", 200, b"0123456789"), ("bytes=1-2", 206, b"12")]
)
def test_another_range_is_answered(
    server: BucketServer, bucket: Bucket, asked: str, status: int, body: bytes
) -> None:
    """An answer may be about another range than the one that was asked for, and says so."""
    bucket.put("a", b"0123456789")
    server.faults.add(OtherRange(asked), "media")

    answer = ask(server.address, "GET", MEDIA, Range="bytes=5-")

    assert (answer.status, answer.body) == (status, body)
    assert ask(server.address, "GET", MEDIA, Range="bytes=5-").body == b"56789"


def test_a_stall(server: BucketServer, bucket: Bucket) -> None:
    """A client that loses patience is gone, and what it asked for is done all the same."""
    server.faults.add(Stall(1, "before"), "insert", "a")
    server.faults.add(Stall(1000, "after"), "insert", "b")
    with closing(HTTPConnection(server.address, timeout=0.1)) as impatient:
        impatient.request("POST", f"{INSERT}b", b"1")
        with pytest.raises(TimeoutError):
            impatient.getresponse()
    eventually(lambda: bucket.names() == ["b"])

    begun = time.monotonic()
    with closing(HTTPConnection(server.address, timeout=PATIENCE)) as hasty:
        hasty.request("POST", f"{INSERT}a", b"1")
    eventually(lambda: bucket.names() == ["a", "b"])
    assert time.monotonic() - begun >= 1


def test_slow_bytes(server: BucketServer, bucket: Bucket) -> None:
    """Uploads and downloads take as long as their pace wants."""
    begun = time.monotonic()
    server.faults.add(Slow(10_000), count=2)

    ask(server.address, "POST", f"{INSERT}a", bytes(2000))
    answer = ask(server.address, "GET", MEDIA)

    assert answer.body == bytes(2000)
    assert time.monotonic() - begun >= 0.4
    assert bucket.names() == ["a"]


@pytest.mark.parametrize(
    ("when", "names"), [("before", ["0", "1"]), ("after", ["0", "1", "2"])], ids=["before", "after"]
)
def test_a_process_is_killed_in_a_write(
    server: BucketServer, bucket: Bucket, when: When, names: list[str]
) -> None:
    """A writer can be killed when its third write has arrived, or just when it is stored."""
    hold = Hold(when)
    server.faults.add(hold, "insert", skip=2)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, server.url, "5"])

    hold.wait()
    writer.kill()
    writer.wait()
    hold.abandon()

    eventually(lambda: server.log.count("A") == 3)
    assert bucket.names() == names


def test_a_write_arrives_after_its_writer_is_gone(server: BucketServer, bucket: Bucket) -> None:
    """A write that is let go after its writer was killed is carried out."""
    hold = Hold("before")
    server.faults.add(hold, "insert")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, server.url, "5"])
    hold.wait()
    writer.kill()
    writer.wait()

    hold.release()

    eventually(lambda: bucket.names() == ["0"])


def test_several_are_held(server: BucketServer, bucket: Bucket) -> None:
    """Several requests can be held, and go on together; others pass."""
    hold = Hold("before")
    server.faults.add(hold, "insert", "held/*", count=3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(ask, server.address, "POST", f"{INSERT}held/{each}", b"1")
            for each in range(3)
        ]
        hold.wait(3)
        assert ask(server.address, "POST", f"{INSERT}free", b"1").status == 200
        assert bucket.names() == ["free"]

        hold.release()

        assert [each.result().status for each in waiting] == [200] * 3
    with pytest.raises(TimeoutError):
        hold.wait(4, timeout=0)


def test_which_requests_meet_a_fault(server: BucketServer, bucket: Bucket) -> None:
    """A fault waits for its kind and its name, lets some by, and is used up."""
    bucket.put("a", b"1")
    planned = server.faults.add(StatusBefore(503), "*", "a*", count=2, skip=1)
    targets = ["?prefix=b", "/b", "/a", "/a?alt=media", "?prefix=ab", "/a"]

    ask(server.address, "GET", "/storage/v1/b/wheels")
    statuses = [
        ask(server.address, "GET", f"/storage/v1/b/wheels/o{each}").status for each in targets
    ]

    assert statuses == [200, 404, 200, 503, 503, 200]
    assert planned.taken == 2
    anything = server.faults.add(StatusBefore(503))
    assert ask(server.address, "GET", "/storage/v1/b/wheels").status == 200
    assert ask(server.address, "GET", "/storage/v1/b/wheels/o").status == 503
    assert anything.taken == 1
    server.faults.add(StatusBefore(503), "bucket")
    server.faults.clear()
    assert ask(server.address, "GET", "/storage/v1/b/wheels").status == 200


def test_a_server_that_is_gone(server: BucketServer, remote: RemoteBucket, bucket: Bucket) -> None:
    """A stopped server refuses connections, old ones too, and comes back where it was."""
    bucket.put("a", b"1")
    assert remote.blob("a").download_as_bytes() == b"1"
    address = server.address

    server.stop()

    with pytest.raises(RequestsConnectionError):
        remote.blob("a").download_as_bytes(retry=None)
    with pytest.raises(ConnectionRefusedError):
        ask(address, "GET", MEDIA)
    server.start()
    assert server.address == address
    assert remote.blob("a").download_as_bytes(retry=None) == b"1"


def test_a_server_that_is_dead(server: BucketServer, bucket: Bucket) -> None:
    """A dead server takes connections and answers none of them, not even later."""
    bucket.put("a", b"1")
    server.die()
    with closing(HTTPConnection(server.address, timeout=PATIENCE)) as connection:
        connection.request("POST", f"{INSERT}b", b"1")
        eventually(lambda: server.ignored == 1)
        assert connection.sock
        connection.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1, socket.MSG_PEEK)
        connection.sock.settimeout(PATIENCE)

        server.revive()

        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
    assert ask(server.address, "GET", MEDIA).body == b"1"
    assert bucket.names() == ["a"]


def test_a_stop_ends_what_waits() -> None:
    """A server that is stopped lets go of all that it holds."""
    server = BucketServer()
    server.bucket("wheels")
    server.start()
    hold = Hold("before")
    server.faults.add(hold, "list")
    stall = server.faults.add(Stall(1000), "get")
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(ask, server.address, "GET", f"/storage/v1/b/wheels/o{each}")
            for each in ("", "/a")
        ]
        hold.wait()
        eventually(lambda: stall.taken == 1)

        server.stop()

        failed = [each.exception() for each in waiting]
    assert all(isinstance(each, OSError | RemoteDisconnected) for each in failed)


def test_many_clients(server: BucketServer) -> None:
    """Many clients at once are served, each with what is its own."""

    def work(number: int) -> bool:
        with storage_client(server.url) as client:
            blob = client.bucket("wheels").blob(f"{number}")
            for turn in range(10):
                blob.upload_from_string(f"{number}.{turn}")
            return bool(blob.download_as_bytes() == f"{number}.9".encode())

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(32)))
    assert server.log.count("A") == 320


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)
