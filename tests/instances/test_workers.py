"""Servers of one and of several processes on each kind of store, which is new, and their deaths."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.durability.serving import get
from tests.http_server import workers_of
from tests.instances.bucket_cluster import BucketCluster, Instance, cluster_at
from tests.services.fixtures import RARELY, Emulators
from tests.waiting import until

pytestmark = pytest.mark.integration

CHANCES = 12
"""Requests by new connections, of which each of three workers gets one, but for one of 40 times."""


@pytest.fixture(params=["folder", *RARELY])
def cluster(
    request: pytest.FixtureRequest, emulators: Emulators, tmp_path: Path
) -> Iterator[BucketCluster]:
    """A store that is not there yet, in a folder or a bucket."""
    if request.param == "folder":
        yield BucketCluster(str(tmp_path / "store"), {}, tmp_path)
    else:
        with emulators.serving(request.param, "wheels") as service:
            yield cluster_at(service, tmp_path)


@pytest.mark.parametrize("workers", [1, 3])
def test_server_makes_its_store_once(cluster: BucketCluster, workers: int) -> None:
    """A server makes its store, says so once, and each process is ready and takes part."""
    made = make_wheel("first")
    with cluster.serving("", "--workers", str(workers)) as instance:
        until(lambda: all_ready(instance), instance.log.read_text)
        instance.token = cluster.make_token()
        assert instance.post(made) == 200
        # each process of a bucket looks again within a second
        until(lambda: all(instance.shows(made) for _ in range(CHANCES)))
        said = instance.log.read_text()

    assert said.count(" serves ") == 1
    assert said.count("made a new store") == 1
    assert cluster.check()


def test_killed_workers_are_started_again(cluster: BucketCluster) -> None:
    """Workers that are killed, the first one too, are started again, and the server stays ready."""
    made = make_wheel("first")
    with cluster.serving("", "--workers", "3") as instance:
        until(lambda: all_ready(instance), instance.log.read_text)
        first = workers_of(instance.server.pid)
        for number, pid in enumerate(first, start=1):
            os.kill(pid, signal.SIGKILL)
            until(partial(has_lost, instance, number))
            until(lambda: len(workers_of(instance.server.pid)) == 3)
            assert 503 not in readiness(instance)
        instance.token = cluster.make_token()
        until(lambda: instance.post(made) == 200)
        assert set(first).isdisjoint(workers_of(instance.server.pid))
        assert instance.log.read_text().count(" serves ") == 1


def test_workers_end_with_their_manager(cluster: BucketCluster) -> None:
    """Workers whose manager is killed end, so that a new server gets their port."""
    with cluster.serving("", "--workers", "3") as instance:
        until(lambda: len(workers_of(instance.server.pid)) == 3)
        workers = workers_of(instance.server.pid)
        os.kill(instance.server.pid, signal.SIGKILL)
        instance.server.join()
        until(lambda: not any(map(is_running, workers)))


def test_unusable_store_ends_with_one_line(cluster: BucketCluster) -> None:
    """A server of several processes on a store that cannot be used ends with one line."""
    broken = BucketCluster("/dev/null/store", cluster.variables, cluster.folder)

    done = broken.run("serve", "--port", "0", "--workers", "3")

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def readiness(instance: Instance) -> set[int]:
    """Return the statuses that many connections get."""
    return {get(instance.port, "/ready")[0] for _ in range(CHANCES)}


def all_ready(instance: Instance) -> bool:
    """Return whether each of many connections gets that the server is ready."""
    return readiness(instance) == {200}


def has_lost(instance: Instance, number: int) -> bool:
    """Return whether the log speaks of so many deaths."""
    return instance.log.read_text().count("Unexpected exit") == number


def is_running(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
