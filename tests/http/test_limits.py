"""What one client may take from the others: time, threads, slots."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.http.apps import running_app
from tests.http.packages import form, post, publish, wheel
from tests.http.raw import basic, wire
from tests.http.servers import Site
from wheelyard.cli.common import local_caller
from wheelyard.errors import Unavailable
from wheelyard.http.app import App
from wheelyard.http.incoming import Pace
from wheelyard.http.slots import Slots
from wheelyard.index import open_index
from wheelyard.model.distribution import parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import HttpSettings, Settings, StoreSettings

pytestmark = pytest.mark.integration

PATIENCE = 0.8
LONG_PATIENCE = 5.0
"""Where an upload has to be taken although this machine may be busy for a while."""
SLOWEST = 2000
POST = "POST /legacy/ HTTP/1.1"
KIND = "Content-Type: multipart/form-data; boundary=frontier"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that takes two uploads at a time, and is soon out of patience with a slow one."""
    with patient_for(PATIENCE, tmp_path_factory.mktemp("hasty")) as site:
        yield site


@contextmanager
def patient_for(seconds: float, folder: Path) -> Iterator[Site]:
    """Run such a server, whose patience lasts so long."""
    settings = Settings(
        store=StoreSettings(location=str(folder / "store")), http=HttpSettings(concurrent_uploads=2)
    )
    index = open_index(settings)
    with running_app(App(index, Pace(seconds, SLOWEST)), index, folder) as site:
        yield site


def sent(site: Site, size: int, pause: float, count: int) -> int | None:
    """Send an upload in pieces, with pauses, until there is an answer; return its status."""
    body = form(wheel("slow", filler=bytes(size * count)))
    with wire(site) as line:
        line.ask(POST, basic("u", site.token), KIND, f"Content-Length: {len(body)}")
        for at in range(0, len(body), size):
            line.connection.settimeout(pause)
            try:
                line.connection.recv(1, 2)  # only a look
                break
            except TimeoutError:
                line.send(body[at : at + size])
        line.connection.settimeout(30)
        reply = line.reply()
        return None if reply is None else reply.status


def test_trickling_upload_is_given_up(site: Site) -> None:
    """An upload that never stops and never gets anywhere is refused with 408 (H45)."""
    start = time.monotonic()
    assert sent(site, 10, 0.05, 100) == 408
    assert PATIENCE < time.monotonic() - start < 10 * PATIENCE  # all of it takes longer to send


def test_slow_upload_is_taken(tmp_path: Path) -> None:
    """An upload that takes its time, but keeps a pace, is taken however long it lasts."""
    with patient_for(LONG_PATIENCE, tmp_path) as site:
        start = time.monotonic()
        assert sent(site, 500, 0.1, 60) == 200
        assert time.monotonic() - start > LONG_PATIENCE


def test_trickling_uploads_block_nobody_for_long(site: Site) -> None:
    """Where slow uploads hold every slot, another is taken as soon as they are given up."""
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(sent, site, 10, 0.05, 100) for _ in range(4)]
        time.sleep(0.2)
        assert post(site, wheel("prompt")).status_code == 200
        assert {each.result() for each in slow} == {408}


def test_long_journal_comes_in_pages(tmp_path: Path) -> None:
    """A journal comes a thousand commits at a time, in order, each of them once."""
    index = open_index(Settings(store=StoreSettings(location="memory:")))
    with running_app(App(index), index, tmp_path) as site:
        publish(site, wheel("long"))
        caller, name = local_caller(index), NormalizedName("long")
        selection = Selection(parse_version("1.0"))
        for number in range(2100):
            index.lifecycle.yank(caller, name, selection, f"reason {number}")
        path = "/api/v1/projects/long/journal"
        pages = [site.get(path).json()]
        while "next" in pages[-1]:
            pages.append(site.get(f"{path}?after={pages[-1]['next']}").json())
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: site.get(path), range(24)))
    numbers = [[commit["number"] for commit in page["commits"]] for page in pages]
    assert [len(page) for page in numbers] == [1000, 1000, 101]
    assert [number for page in numbers for number in page] == list(range(1, 2102))
    assert {answer.json()["next"] for answer in answers} == {1000}


def test_nobody_waits_for_ever() -> None:
    """Who waits too long for others to end is told to try again."""

    async def crowd() -> None:
        slots = Slots(1, "tests", patience=0.01)
        async with slots.one("ci"):
            with pytest.raises(Unavailable) as caught:
                await slots.one("ci").__aenter__()
        assert caught.value.code == "overloaded"
        async with slots.one("ci"):
            pass

    asyncio.run(crowd())
