"""What goes wrong on demand, as Google's own client meets it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket
from requests.exceptions import ConnectionError as RequestsConnectionError

from tests.bucket.clients import ask, quick_retry
from tests.bucket.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    Hold,
    ResetAt,
    StatusAfter,
    StatusBefore,
    When,
)
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer
from tests.waiting import until

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

    until(lambda: server.log.count("A") == 3)
    assert bucket.names() == names


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
