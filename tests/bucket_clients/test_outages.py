"""What clients see while the bucket refuses writes, hangs, is gone, or lets nobody in."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.bucket.server import BucketServer
from tests.bucket_clients.asking import Answer, ask, is_whole, path_of, publish, upload
from tests.bucket_clients.yard import (
    BUCKET,
    STORE,
    Yard,
    as_nobody,
    running_yard,
    serving,
)
from tests.clients.harness import new_desk
from tests.http.packages import wheel
from tests.waiting import until

PIP_GIVES_UP = 15
"""Seconds of silence after which pip takes a server for dead."""
AT_ONCE = 4
"""Seconds in which whatever does not wait for the bucket is answered; what does takes longer."""
BACK = 12
"""Seconds after which an index whose bucket has come back is well again."""
PROJECTS = [wheel(f"yard-{number}", "1.0+cpu") for number in range(10)]
CLIENTS = 50

Outage = Callable[[BucketServer], None]


@pytest.fixture
def cloud(cloud: BucketServer) -> Iterator[BucketServer]:
    """Yield the stand-in, which is well again for the next test."""
    yield cloud
    cloud.permissions.allow()
    cloud.permissions.expired = False
    cloud.revive()


@contextmanager
def filled_yard(folder: Path, cloud: BucketServer, config: str = "") -> Iterator[Yard]:
    """Run an index that has every project in memory, pages and core metadata."""
    with running_yard(folder, cloud, as_nobody(cloud), "--private", config=config) as yard:
        publish(yard, *PROJECTS)
        for each in PROJECTS:
            assert ask(yard, f"{path_of(yard, each)}.metadata").status == 200
        yield yard


def test_writes_are_denied(cloud: BucketServer, tmp_path: Path) -> None:
    """A bucket that may only be read is read; an upload is refused in a sentence, and retried."""
    with filled_yard(tmp_path / "yard", cloud) as yard:
        path, more = path_of(yard, PROJECTS[0]), wheel("yard-0", "2.0")
        before = cloud.bucket(BUCKET).names()
        cloud.permissions.deny("storage.objects.create", "storage.objects.delete")

        refused = upload(yard, more)

        assert_unavailable(refused)
        assert b"storage.objects.create" in refused.body
        assert cloud.bucket(BUCKET).names() == before
        assert ask(yard, "/simple/yard-1/").status == 200
        assert is_whole(ask(yard, path), PROJECTS[0])
        with serving(new_desk(tmp_path / "other"), as_nobody(cloud), "--store", STORE) as (
            _,
            other,
        ):
            assert other.poll() is None
        cloud.permissions.allow()
        assert upload(yard, more).status == 200
        assert is_whole(ask(yard, path_of(yard, more)), more)


@pytest.mark.slow
@pytest.mark.parametrize("begin", [BucketServer.die, BucketServer.stop], ids=["silent", "refusing"])
def test_bucket_is_gone(cloud: BucketServer, tmp_path: Path, begin: Outage) -> None:
    """While nothing comes from the bucket, clients get 503 before they give up, and come back."""
    with filled_yard(tmp_path / "yard", cloud) as yard, ThreadPoolExecutor(8) as pool:
        path, more = path_of(yard, PROJECTS[0]), wheel("yard-0", "3.0")
        time.sleep(1.5)  # what is fresh would be served, and whoever asks makes it fresh again
        begin(cloud)
        try:
            healthy = pool.submit(for_some_seconds, 8.0, lambda: ask(yard, "/health"))
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
            health = healthy.result()
        finally:
            begun_again(cloud)
        for each in asked:
            assert_unavailable(each)
        assert all(each.status == 200 for each in health)
        assert max(each.seconds for each in health) < AT_ONCE

        until_well(yard, ["/ready", "/simple/yard-1/", path])
        until(lambda: upload(yard, more).status == 200, patience=BACK)
        assert "Traceback" not in yard.log


@pytest.mark.slow
def test_stale_if_error(cloud: BucketServer, tmp_path: Path) -> None:
    """Where stale pages are wanted, fifty clients get them all through a long silence."""
    config = "[store]\nstale_if_error = 600\n"
    with filled_yard(tmp_path / "yard", cloud, config) as yard, ThreadPoolExecutor(CLIENTS) as pool:
        pages = [f"/simple/yard-{number}/" for number in range(10)]
        paths = [*pages, *(f"{path_of(yard, each)}.metadata" for each in PROJECTS), "/simple/"]
        assert all(ask(yard, each).status == 200 for each in paths)
        cloud.die()
        turns = count()

        def one(_: int) -> Sequence[Answer]:
            # a token is believed for 15 seconds, and is asked for after that
            return for_some_seconds(17.0, lambda: ask(yard, paths[next(turns) % len(paths)]))

        answers = [each for sequence in pool.map(one, range(CLIENTS)) for each in sequence]
        refused = upload(yard, wheel("yard-0", "4.0"))
        cloud.revive()

        assert {each.status for each in answers} == {200}
        assert max(each.seconds for each in answers) < 5
        assert_unavailable(refused)
        until(lambda: upload(yard, wheel("yard-0", "4.0")).status == 200, patience=BACK)
        until_well(yard, [path_of(yard, wheel("yard-0", "4.0"))])


def assert_unavailable(answer: Answer) -> None:
    """The client was told to come again, in time, and in a sentence."""
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.startswith(b'{"message":"')
    assert answer.seconds < PIP_GIVES_UP


def for_some_seconds(seconds: float, question: Callable[[], Answer]) -> Sequence[Answer]:
    """Ask again and again, not too often."""
    end, answers = time.monotonic() + seconds, list[Answer]()
    while time.monotonic() < end:
        answers.append(question())
        time.sleep(0.25)
    return answers


def begun_again(cloud: BucketServer) -> None:
    """End an outage, whichever it was."""
    cloud.revive()
    cloud.stop()
    cloud.start()


def until_well(yard: Yard, targets: Sequence[str]) -> None:
    """Wait until everything is answered again, which does not take long."""
    until(lambda: all(ask(yard, each).status == 200 for each in targets), patience=BACK)
