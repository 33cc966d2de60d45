"""Downloads that go through the index: when the bucket breaks off, and when somebody is slow."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bucket.faults import CutAt, ResetAt, Slow
from tests.bucket.server import BucketServer
from tests.bucket_clients.asking import ask, asking, is_whole, path_of, publish
from tests.bucket_clients.yard import Yard, as_nobody, running_yard
from tests.clients.harness import Desk, system_program
from tests.http.packages import wheel

FILES = "*/files/*"
LARGE = wheel("yard-large", "1.0+cpu.1", filler=bytes(range(256)) * 65_536)
"""Of 16 MiB: more than sockets and buffers take in on the way."""
SMALL = wheel("yard-small", "1!1.0")
HALF = len(LARGE.data) // 2
FOR_EVER = 1000


@pytest.fixture(scope="module")
def running(cloud: BucketServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Yield an index through which every byte goes, with two packages."""
    folder = tmp_path_factory.mktemp("proxy")
    with running_yard(folder, cloud, as_nobody(cloud), "--private") as yard:
        publish(yard, LARGE, SMALL)
        yield yard


@pytest.fixture
def yard(running: Yard) -> Iterator[Yard]:
    """Yield it where nothing is going wrong yet."""
    running.cloud.log.clear()
    yield running
    running.cloud.faults.clear()


def test_curl_goes_on(yard: Yard, desk: Desk) -> None:
    """`curl -C -` goes on with half a file where it ends."""
    target = desk.folder / "target"
    target.write_bytes(LARGE.data[:HALF])
    url = f"{yard.server.trusted_url}{path_of(yard, LARGE)}"

    desk.run(system_program("curl"), "--silent", "--fail", "-C", "-", "-o", target, url)

    assert target.read_bytes() == LARGE.data


@pytest.mark.parametrize(
    "fault", [CutAt(0), CutAt(HALF), ResetAt(HALF), CutAt(len(LARGE.data) - 1)]
)
def test_bucket_breaks_off(yard: Yard, fault: CutAt | ResetAt) -> None:
    """Where the bucket breaks off, the rest is fetched, and the client notices nothing."""
    yard.cloud.faults.add(fault, "media", FILES)

    assert is_whole(ask(yard, path_of(yard, LARGE)), LARGE)
    assert yard.cloud.log.count(kind="media", name=FILES) == 2


def test_client_goes_away(yard: Yard) -> None:
    """A client that goes away in the middle leaves no connection to the bucket that is busy."""
    yard.cloud.faults.add(Slow(1 << 20), "media", FILES)
    before = connections(yard.cloud)

    with asking(yard, path_of(yard, LARGE)) as answer:
        answer.read(1 << 19)
        during = connections(yard.cloud)

    assert during > 0
    end = time.monotonic() + 10  # the file would take 16 seconds
    while (after := connections(yard.cloud)) >= during and time.monotonic() < end:
        time.sleep(0.05)
    assert after < during
    assert after <= max(before - 1, 0)


@pytest.mark.parametrize("slow", ["client", "bucket"])
def test_slow_downloads(yard: Yard, slow: str) -> None:
    """Forty downloads that hardly move hold up nobody who wants a page, or a file."""
    path, small = path_of(yard, LARGE), path_of(yard, SMALL)
    if slow == "bucket":
        yard.cloud.faults.add(Slow(100_000), "media", "*/yard-large/*", count=FOR_EVER)
    with ExitStack() as stack, ThreadPoolExecutor(40) as pool:
        opened = [asking(yard, path) for _ in range(40)]
        under_way = list(pool.map(stack.enter_context, opened))
        if slow == "client":
            for each in under_way:
                each.read(1 << 18)
        seconds = []
        for number in range(5):
            page = ask(yard, "/simple/yard-small/")
            unseen = ask(yard, f"/simple/never-{number}/")
            file = ask(yard, small)
            assert (page.status, unseen.status) == (200, 404)
            assert is_whole(file, SMALL)
            seconds += [page.seconds, unseen.seconds, file.seconds]
    assert max(seconds) < 8


def connections(cloud: BucketServer) -> int:
    """Return how many connections to the bucket are open."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("only Linux tells which connections there are")
    port = f":{int(cloud.address.split(':')[1]):04X}"
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    established = "01"
    return sum(row[2].endswith(port) and row[3] == established for row in rows)
