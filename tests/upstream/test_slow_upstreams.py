"""Upstream indexes that take long are waited for, and nobody else waits for them."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from packaging.utils import NormalizedName

from tests.fake_time import Clock
from tests.http.in_process import InProcessResponse
from tests.http.raw_client import raw_connection
from tests.http.servers import RunningServer
from tests.upstream.asking import Asking, server_of
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, link_of, look, page_of
from tests.upstream.settings import front, serving
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.errors import Unavailable
from wheelyard.http import work_limits
from wheelyard.http.upstream_reader import UPSTREAM_THREADS
from wheelyard.http_client.client import at_minimum_rate
from wheelyard.http_client.hosts import FetchError
from wheelyard.upstream.observation import Kind
from wheelyard.upstream.upstream_files import FETCH_THREADS

PACKAGE = public_wheel("slow", "1.0")
PACKAGE_NAME = NormalizedName("slow")
QUICK = public_wheel("quick", "1.0")


def test_a_page_that_begins_late(upstream: FakeUpstream) -> None:
    """A page that begins late is used, redirects included."""
    upstream.publish(PACKAGE)
    upstream.behave("slow", Fault.REDIRECT_SAME)
    gate = upstream.hold("slow")
    with closing(Asking((server_of(upstream),))) as asking, ThreadPoolExecutor(1) as pool:
        later = pool.submit(asking.filenames, "slow")
        until(lambda: upstream.asked_pages("slow") != [])
        asking.clock.advance(seconds=45)
        gate.set()
        assert later.result() == [PACKAGE.filename]


def test_the_known_page_is_served_while_an_upstream_is_slow(
    upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an upstream takes long to confirm a page, clients get the one that is known."""
    monkeypatch.setattr(work_limits, "STALE_AFTER_SECONDS", 0.0)
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream) as server:
        assert page_of(server, "slow").headers[SOURCE] == "upstream"
        server.clock.advance(seconds=601)
        gate = upstream.hold("slow")

        async def ask() -> InProcessResponse:
            asking = asyncio.create_task(server.ask("/simple/slow/"))
            await asyncio.wait((asking,), timeout=TIMEOUT_SECONDS)
            gate.set()
            return await asking

        assert server.runner.run(ask()).headers[SOURCE] == "upstream-stale"
        until(lambda: page_of(server, "slow").headers[SOURCE] == "upstream")


def test_a_file_that_is_silent(upstream: FakeUpstream) -> None:
    """A file may be silent for the `timeout` of its index, and then has to come at some speed."""
    clock, patience = Clock(), server_of(upstream).patience

    def chunks(silences: int) -> Iterator[bytes]:
        yield b"x"
        for _ in range(silences):
            clock.advance(seconds=60)
            yield bytes(1000)

    for silences in (1, 2):
        received = at_minimum_rate(chunks(silences), clock.seconds, patience)
        with pytest.raises(FetchError, match="slowly") if silences > 1 else nullcontext():
            assert len(b"".join(received)) == 1001


@pytest.mark.integration
def test_an_answer_that_does_not_come_in_time(upstream: FakeUpstream) -> None:
    """After the `timeout` of an index its page is given up, and so is a file that is silent."""
    upstream.publish(PACKAGE)
    server = replace(server_of(upstream), timeout=1)
    with closing(Asking((server,))) as asking:
        (file,) = asking.page("slow").page.files
        upstream.hold_files("slow")
        opened = asking.clients.open_file(server.id, PACKAGE_NAME, file.url, Kind.FILE)
        with closing(opened), pytest.raises(Unavailable, match="does not answer in time"):
            b"".join(opened.chunks())
        upstream.behave("other", Fault.HANG)
        with pytest.raises(Unavailable, match="does not answer in time"):
            asking.found("other")


@pytest.mark.integration
def test_a_client_that_has_left_finds_the_page(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A page goes on being fetched when its client has left, so that the retry finds it."""
    upstream.publish(PACKAGE)
    gate = upstream.hold("slow")
    with serving(tmp_path, upstream) as index:
        with raw_connection(index) as line:
            line.ask("GET /simple/slow/ HTTP/1.1")
            until(lambda: len(upstream.asked_pages("slow")) == 1)
        gate.set()
        assert list(page_of(index, "slow").files) == [PACKAGE.filename]
    assert len(upstream.asked_pages("slow")) == 1


@pytest.mark.integration
def test_a_client_that_has_left_finds_the_metadata(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Core metadata without a digest is fetched on when its client has left, for the retry."""
    upstream.publish(PACKAGE)
    upstream.behave("slow", Fault.UNHASHED_METADATA)
    gate = upstream.hold_metadata("slow")
    with serving(tmp_path, upstream) as index:
        path = f"{link_of(index, 'slow', PACKAGE.filename)}.metadata"
        with raw_connection(index) as line:
            line.ask(f"GET {path} HTTP/1.1")
            until(lambda: _asked_metadata(upstream) == 1)
        gate.set()
        for _ in range(2):
            assert index.client.get(path).content == PACKAGE.metadata
    assert _asked_metadata(upstream) == 1


def _asked_metadata(upstream: FakeUpstream) -> int:
    return sum(request.path.endswith(".metadata") for request in upstream.asked("slow"))


@contextmanager
def slow_and_quick(
    folder: Path,
    upstream: FakeUpstream,
    **more: Any,  # noqa: ANN401, network: Network
) -> Iterator[RunningServer]:
    """Run a server before an index of names that begin with `slow`, and one that has `quick`."""
    with running_fake_upstream() as other:
        other.publish(QUICK)
        tables = (_table(upstream, "slow", allow=["slow*"]), _table(other, "quick"))
        own: dict[str, Any] = {"url": "", "label": "", "file_hosts": (), "index": tables}
        with serving(folder, upstream, **own, **more) as index:
            yield index


def _table(upstream: FakeUpstream, label: str, **more: object) -> dict[str, Any]:
    return {"url": upstream.url, "label": label, "file_hosts": [upstream.file_host], **more}


@pytest.mark.integration
def test_names_of_another_index_do_not_wait(upstream: FakeUpstream, tmp_path: Path) -> None:
    """However many names one index does not answer for, those of another one are looked up."""
    number = UPSTREAM_THREADS // 2 + 6
    names = [f"slow-{each}" for each in range(number)]
    for name in names:
        upstream.publish(public_wheel(name, "1.0"))
    gates = [upstream.hold(name) for name in names]
    with slow_and_quick(tmp_path, upstream) as index, ThreadPoolExecutor(number) as pool:
        pages = [_begin(pool, index, name) for name in names]
        until(lambda: index.under_way() >= number)
        until(lambda: len(upstream.requests) == UPSTREAM_THREADS // 4)  # it is one client
        assert page_of(index, "quick").status == 200
        assert len(upstream.requests) == UPSTREAM_THREADS // 4
        # what does not wait for a thread is told when there is one
        why = index.client.get("/api/v1/upstream/why", params={"project": "slow-more"}).json()
        assert [reason["code"] for reason in why["reasons"]] == ["upstream_busy"]
        assert "Try again in 60 seconds." in why["reasons"][0]["text"]
        for gate in gates:
            gate.set()
        assert {page.result().status for page in pages} == {200}
    assert len(upstream.requests) == number


def _begin(pool: ThreadPoolExecutor, index: RunningServer, name: str) -> "Future[Any]":
    return pool.submit(page_of, index, name)


@pytest.mark.integration
def test_files_of_another_index_do_not_wait(upstream: FakeUpstream, tmp_path: Path) -> None:
    """However many files of one index a client waits for, it gets those of another one."""
    number = FETCH_THREADS // 4 + 6
    wheels = [public_wheel("slow", f"1.{each}") for each in range(number)]
    upstream.publish(*wheels)
    with slow_and_quick(tmp_path, upstream) as index, ThreadPoolExecutor(number) as pool:
        listed = page_of(index, "slow").files
        gate = upstream.hold_files("slow")
        links = [urljoin("/simple/slow/", listed[each.filename]["url"]) for each in wheels]
        answers = [pool.submit(look, index, link) for link in links]
        until(lambda: len(upstream.asked_files("slow")) == FETCH_THREADS // 4)
        assert look(index, link_of(index, "quick", QUICK.filename)).body == QUICK.body
        assert not any(answer.done() for answer in answers)
        gate.set()
        assert {answer.result().status for answer in answers} == {200}


@pytest.mark.integration
def test_names_do_not_wait_for_licences(upstream: FakeUpstream, tmp_path: Path) -> None:
    """However many licences one index does not tell, names and files of others are answered."""
    number = UPSTREAM_THREADS // 2 + 6
    wheels = [public_wheel("slow", f"1.{each}") for each in range(number)]
    upstream.publish(*wheels)
    blocked = ("AGPL-*",)
    serving_both = slow_and_quick(tmp_path, upstream, blocked_licenses=blocked)
    with serving_both as index, ThreadPoolExecutor(number) as pool:
        listed = page_of(index, "slow").files
        gate = upstream.hold_metadata("slow")
        links = [urljoin("/simple/slow/", listed[each.filename]["url"]) for each in wheels]
        answers = [pool.submit(look, index, link) for link in links]
        until(lambda: index.under_way() >= number)
        assert look(index, link_of(index, "quick", QUICK.filename)).body == QUICK.body
        assert not any(answer.done() for answer in answers)
        gate.set()
        assert {answer.result().status for answer in answers} == {200}
