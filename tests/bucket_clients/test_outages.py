"""Responses to clients while the bucket refuses writes, hangs, is gone, or denies access."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpx2 import Response

from tests.bucket_clients.bucket_server import (
    BUCKET,
    BucketIndex,
    as_nobody,
    is_whole,
    path_of,
    publish,
    running_bucket_index,
    send_request,
    upload,
)
from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs
from tests.waiting import until

PIP_GIVES_UP = 15
"""Seconds of silence after which pip takes a server for dead."""
BACK = 12
"""Seconds after which an index whose bucket has come back is well again."""
PROJECTS = [make_wheel(f"yard-{number}", "1.0+cpu") for number in range(3)]

Outage = Callable[[FakeGcs], None]


@pytest.fixture
def cloud(cloud: FakeGcs) -> Iterator[FakeGcs]:
    """Yield the fake server; repair it after the test."""
    yield cloud
    cloud.permissions.allow()
    cloud.permissions.expired = False
    cloud.revive()


@contextmanager
def filled_index(folder: Path, cloud: FakeGcs) -> Iterator[BucketIndex]:
    """Run an index that has every project in memory, pages and core metadata."""
    with running_bucket_index(folder, cloud, as_nobody(cloud), "--private") as index:
        publish(index, *PROJECTS)
        for each in PROJECTS:
            assert send_request(index, f"{path_of(index, each)}.metadata").status_code == 200
        yield index


def test_writes_are_denied(cloud: FakeGcs, tmp_path: Path) -> None:
    """A bucket that denies writes serves files; an upload is refused, and works with rights."""
    with filled_index(tmp_path / "index", cloud) as index:
        path, more = path_of(index, PROJECTS[0]), make_wheel("yard-0", "2.0")
        before = cloud.bucket(BUCKET).names()
        cloud.permissions.deny("storage.objects.create", "storage.objects.delete")

        refused = upload(index, more)

        assert refused.status_code == 503
        assert "retry-after" not in refused.headers  # waiting gives no rights
        assert b"storage.objects.create" in refused.content
        assert cloud.bucket(BUCKET).names() == before
        assert send_request(index, "/simple/yard-1/").status_code == 200
        assert is_whole(send_request(index, path), PROJECTS[0])
        cloud.permissions.allow()
        assert upload(index, more).status_code == 200
        assert is_whole(send_request(index, path_of(index, more)), more)


@pytest.mark.slow
@pytest.mark.parametrize(
    "begin",
    [FakeGcs.die, pytest.param(FakeGcs.stop, marks=pytest.mark.weekly)],
    ids=["silent", "refusing"],
)
def test_bucket_is_gone(cloud: FakeGcs, tmp_path: Path, begin: Outage) -> None:
    """While nothing comes from the bucket, clients get 503; once it is back, all works again."""
    with filled_index(tmp_path / "index", cloud) as index, ThreadPoolExecutor(8) as pool:
        path, more = path_of(index, PROJECTS[0]), make_wheel("yard-0", "3.0")
        begin(cloud)  # what is fresh is served for a second more
        try:
            until(lambda: send_request(index, "/simple/yard-1/").status_code == 503)
            pending = [
                pool.submit(send_request, index, path),
                pool.submit(send_request, index, "/ready"),
                pool.submit(send_request, index, "/simple/"),
                pool.submit(send_request, index, "/simple/yard-1/"),
                pool.submit(send_request, index, "/simple/never-seen/"),
                pool.submit(upload, index, more),
            ]
            answers = [each.result() for each in pending]
            answers += [
                send_request(index, "/simple/yard-2/"),
                send_request(index, "/ready"),
                upload(index, more),
            ]
            assert send_request(index, "/health").status_code == 200
        finally:
            cloud.revive()
            cloud.stop()
            cloud.start()
        for each in answers:
            assert_unavailable(each)

        until_well(index, ["/ready", "/simple/yard-1/", path])
        until(lambda: upload(index, more).status_code == 200, timeout=BACK)
        assert "Traceback" not in index.log


def assert_unavailable(answer: Response) -> None:
    """Assert that a response is a timely 503 with Retry-After and a message."""
    assert answer.status_code == 503, answer
    assert f"Try again in {answer.headers['retry-after']} seconds." in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.startswith(b'{"message":"')
    assert answer.elapsed.total_seconds() < PIP_GIVES_UP


def until_well(index: BucketIndex, targets: Sequence[str]) -> None:
    """Wait until everything is answered again, which does not take long."""
    until(
        lambda: all(send_request(index, each).status_code == 200 for each in targets), timeout=BACK
    )
