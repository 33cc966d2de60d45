"""What clients see while the bucket refuses writes, hangs, is gone, or lets nobody in."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpx2 import Response

from tests.bucket_clients.bucket_server import (
    BUCKET,
    Yard,
    as_nobody,
    ask,
    is_whole,
    path_of,
    publish,
    running_yard,
    upload,
)
from tests.fake_gcs.server import BucketServer
from tests.http.packages import wheel
from tests.waiting import until

PIP_GIVES_UP = 15
"""Seconds of silence after which pip takes a server for dead."""
BACK = 12
"""Seconds after which an index whose bucket has come back is well again."""
PROJECTS = [wheel(f"yard-{number}", "1.0+cpu") for number in range(3)]

Outage = Callable[[BucketServer], None]


@pytest.fixture
def cloud(cloud: BucketServer) -> Iterator[BucketServer]:
    """Yield the stand-in, which is well again for the next test."""
    yield cloud
    cloud.permissions.allow()
    cloud.permissions.expired = False
    cloud.revive()


@contextmanager
def filled_yard(folder: Path, cloud: BucketServer) -> Iterator[Yard]:
    """Run an index that has every project in memory, pages and core metadata."""
    with running_yard(folder, cloud, as_nobody(cloud), "--private") as yard:
        publish(yard, *PROJECTS)
        for each in PROJECTS:
            assert ask(yard, f"{path_of(yard, each)}.metadata").status_code == 200
        yield yard


def test_writes_are_denied(cloud: BucketServer, tmp_path: Path) -> None:
    """A bucket that may only be read is read; an upload is refused in a sentence, and retried."""
    with filled_yard(tmp_path / "yard", cloud) as yard:
        path, more = path_of(yard, PROJECTS[0]), wheel("yard-0", "2.0")
        before = cloud.bucket(BUCKET).names()
        cloud.permissions.deny("storage.objects.create", "storage.objects.delete")

        refused = upload(yard, more)

        assert_unavailable(refused)
        assert b"storage.objects.create" in refused.content
        assert cloud.bucket(BUCKET).names() == before
        assert ask(yard, "/simple/yard-1/").status_code == 200
        assert is_whole(ask(yard, path), PROJECTS[0])
        cloud.permissions.allow()
        assert upload(yard, more).status_code == 200
        assert is_whole(ask(yard, path_of(yard, more)), more)


@pytest.mark.slow
@pytest.mark.parametrize("begin", [BucketServer.die, BucketServer.stop], ids=["silent", "refusing"])
def test_bucket_is_gone(cloud: BucketServer, tmp_path: Path, begin: Outage) -> None:
    """While nothing comes from the bucket, clients get 503 before they give up, and come back."""
    with filled_yard(tmp_path / "yard", cloud) as yard, ThreadPoolExecutor(8) as pool:
        path, more = path_of(yard, PROJECTS[0]), wheel("yard-0", "3.0")
        begin(cloud)  # what is fresh is served for a second more
        try:
            until(lambda: ask(yard, "/simple/yard-1/").status_code == 503)
            pending = [
                pool.submit(ask, yard, path),
                pool.submit(ask, yard, "/ready"),
                pool.submit(ask, yard, "/simple/"),
                pool.submit(ask, yard, "/simple/yard-1/"),
                pool.submit(ask, yard, "/simple/never-seen/"),
                pool.submit(upload, yard, more),
            ]
            asked = [each.result() for each in pending]
            asked += [ask(yard, "/simple/yard-2/"), ask(yard, "/ready"), upload(yard, more)]
            assert ask(yard, "/health").status_code == 200
        finally:
            cloud.revive()
            cloud.stop()
            cloud.start()
        for each in asked:
            assert_unavailable(each)

        until_well(yard, ["/ready", "/simple/yard-1/", path])
        until(lambda: upload(yard, more).status_code == 200, patience=BACK)
        assert "Traceback" not in yard.log


def assert_unavailable(answer: Response) -> None:
    """The client was told to come again, in time, and in a sentence."""
    assert answer.status_code == 503, answer
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.startswith(b'{"message":"')
    assert answer.elapsed.total_seconds() < PIP_GIVES_UP


def until_well(yard: Yard, targets: Sequence[str]) -> None:
    """Wait until everything is answered again, which does not take long."""
    until(lambda: all(ask(yard, each).status_code == 200 for each in targets), patience=BACK)
