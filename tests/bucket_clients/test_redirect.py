"""Downloads that the bucket serves itself: what the index says, and what clients make of it."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.bucket.clients import ask as ask_bucket
from tests.bucket.server import BucketServer
from tests.bucket_clients.asking import Answer, ask, is_whole, path_of, publish
from tests.bucket_clients.yard import (
    BUCKET,
    Yard,
    as_account,
    as_machine,
    running_yard,
    silent_address,
)
from tests.clients.harness import Desk, program, system_program
from tests.http.packages import wheel
from wheelyard.stores import real_ambient

HARD = wheel("yard-hard", "1!2.0+cpu.1", filler=bytes(range(256)) * 8192)
LONG = "[store]\nsigned_url_minutes = 600\n"
WINDOW = 300 * 60
"""Seconds after which URLs change: half of their life, counted from the epoch."""
SOON = 60
"""Seconds that a test may take."""
UNCHANGING = "private, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def yard(cloud: BucketServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Yield a private index that redirects to signed URLs, with one package."""
    folder = tmp_path_factory.mktemp("redirect")
    cloud.permissions.token_required = True
    environment = as_account(cloud, folder)
    with running_yard(folder, cloud, environment, "--private", config=LONG) as running:
        publish(running, HARD)
        yield running


@pytest.fixture
def steady(yard: Yard) -> Yard:
    """Return it at a time when its URLs are not about to change."""
    left = WINDOW - real_ambient().now().timestamp() % WINDOW
    if left < SOON:
        time.sleep(left + 1)
    return yard


def test_one_url_for_everybody(steady: Yard) -> None:
    """Whoever asks within the same minutes is sent to the same URL, which no cache may keep."""
    yard = steady
    first = ask(yard, path_of(yard, HARD))
    second = ask(yard, path_of(yard, HARD))

    assert (first.status, second.status) == (302, 302)
    assert first.headers["location"] == second.headers["location"]
    assert signed_at(first).timestamp() % WINDOW == 0  # not at the second when it was asked for
    assert first.headers["cache-control"] == "private, no-store"
    taken = from_bucket(yard, first)
    assert taken.status == 200
    assert taken.headers["cache-control"] == UNCHANGING
    assert taken.body == HARD.data


@pytest.mark.clients
def test_pip_cache(steady: Yard, desk: Desk) -> None:
    """What pip has in its cache it does not fetch from the bucket again."""
    yard = steady
    yard.cloud.log.clear()
    for name in ("once", "twice"):
        desk.run(
            *(program("pip"), "download", "--no-deps", "--dest", name),
            *("--trusted-host", "localhost", "--trusted-host", "127.0.0.1"),  # else no cache
            *("--index-url", yard.server.index_url, "yard-hard"),
        )

    downloaded = [(desk.folder / name / HARD.filename) for name in ("once", "twice")]
    assert [each.read_bytes() == HARD.data for each in downloaded] == [True, True]
    statuses = [each.status for each in yard.cloud.log.records("signed")]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 304}


@pytest.mark.clients
def test_curl_goes_on(yard: Yard, desk: Desk) -> None:
    """`curl -L -C -` goes on with half a file where it ends, with a token from `~/.netrc`."""
    curl = system_program("curl")
    (desk.home / ".netrc").write_text(f"machine localhost login x password {yard.server.token}\n")
    target = desk.folder / "target"
    target.write_bytes(HARD.data[:100_000])
    yard.cloud.log.clear()

    url = f"{yard.server.url}{path_of(yard, HARD)}"
    desk.run(curl, "--silent", "--fail", "--location", "--netrc", "-C", "-", "-o", target, url)

    assert target.read_bytes() == HARD.data
    assert [each.status for each in yard.cloud.log.records("signed")] == [206]
    assert not any(each.authorization for each in yard.cloud.log.records("signed"))


def test_url_expires(yard: Yard) -> None:
    """A URL is good for as long as was set, and not for longer."""
    sent = ask(yard, path_of(yard, HARD))
    clock = yard.cloud.clock
    try:
        clock.advance(299 * 60)  # half of its life is left whenever it is handed out
        assert from_bucket(yard, sent).status == 200
        clock.advance(302 * 60)
        assert from_bucket(yard, sent).status == 400
    finally:
        clock.advance(-601 * 60)


def test_nobody_signs(cloud: BucketServer, tmp_path: Path) -> None:
    """Where nothing can sign, files go through the index at once, and the log says so once."""
    cloud.permissions.token_required = True
    with (
        silent_address(accepts=False) as iam,
        running_yard(tmp_path / "yard", cloud, as_machine(cloud, iam), "--private") as yard,
    ):
        publish(yard, HARD)
        path = path_of(yard, HARD)
        begun = time.monotonic()

        answers = [ask(yard, path) for _ in range(5)]

        assert time.monotonic() - begun < 5
        assert all(is_whole(each, HARD) for each in answers)
        assert yard.warnings("WARNING .*downloads go through the index itself") == 1
        assert yard.warnings("warning: .* every download goes through here") == 1


def test_signing_hangs(cloud: BucketServer, tmp_path: Path) -> None:
    """A service that signs and does not answer costs the start, and one download, few seconds."""
    cloud.permissions.token_required = True
    with (
        silent_address(accepts=True) as iam,
        running_yard(tmp_path / "yard", cloud, as_machine(cloud, iam), "--private") as yard,
    ):
        publish(yard, HARD)
        path = path_of(yard, HARD)

        answers = [ask(yard, path) for _ in range(5)]

        assert all(is_whole(each, HARD) for each in answers)
        seconds = [each.seconds for each in answers]
        assert max(seconds) < 8.5
        assert sum(seconds) - max(seconds) < 3


def from_bucket(yard: Yard, sent: Answer, **headers: str) -> Answer:
    """Follow a redirect as a client does: without the index's token."""
    location = sent.headers["location"]
    assert location.startswith(f"{yard.cloud.url}/{BUCKET}/")
    answer = ask_bucket(yard.cloud.address, "GET", bucket_target(location), None, **headers)
    return Answer(answer.status, answer.headers, answer.body, 0)


def signed_at(sent: Answer) -> datetime:
    """Return the time that a signed URL has in it."""
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    return datetime.strptime(query["X-Goog-Date"][0], "%Y%m%dT%H%M%S%z")


def bucket_target(location: str) -> str:
    """Return path and query of a URL, as they are."""
    return "/" + location.split("/", 3)[3]
