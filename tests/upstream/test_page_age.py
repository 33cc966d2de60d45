"""When a page in memory or in the store is still good, and what of it stays."""

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import Clock
from tests.http.in_process import in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from tests.upstream.asking import Asking
from tests.upstream.canned_index import URL, CannedIndex
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, page_of
from wheelyard.http_client.urls import parse_url
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.chain import UpstreamChain
from wheelyard.upstream.settings import UpstreamServer

SERVER = UpstreamServer(url=parse_url(URL), label="public")


def test_another_process_uses_a_page_of_the_store(canned_index: CannedIndex) -> None:
    """A page that one process has stored is fresh in another one, too, until it is old."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    first = process.page("requests")

    assert process.again().page("requests").page == first.page
    assert canned_index.asked == ["requests"]
    process.clock.advance(seconds=SERVER.page_ttl)
    assert not process.again().page("requests").is_stale
    assert canned_index.asked == ["requests"] * 2


def test_a_page_of_the_store_that_would_be_read_otherwise(canned_index: CannedIndex) -> None:
    """A page from before another host was set, or of the future, is asked for again at once."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    process.page("requests")

    other = replace(SERVER, file_hosts=("files.example.com",))
    Asking((other,), clock=process.clock, store=process.store).page("requests")
    assert canned_index.asked == ["requests"] * 2
    process.clock.advance(days=-1)
    process.again().page("requests")
    assert canned_index.asked == ["requests"] * 3


def test_a_page_that_comes_again_stays_the_same_object(canned_index: CannedIndex) -> None:
    """A page that an index without ETags sends again is the same one, so nothing is made anew."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    first = process.page("requests").page
    process.clock.advance(seconds=SERVER.page_ttl)

    assert process.page("requests").page is first
    assert canned_index.asked == ["requests"] * 2


def test_a_page_in_memory_is_not_read_again_for_another_index(canned_index: CannedIndex) -> None:
    """A page that one index has just read is in memory for the other indexes of the server."""
    canned_index.publish(public_wheel("requests", "2.0"))
    store = FakeStore(MemoryStore(Clock().seconds))
    process = Asking(
        (SERVER, replace(SERVER, url=parse_url(f"{URL}other/"), label="other")), store=store
    )
    first = process.page("requests")
    store.calls.clear()

    peeked = UpstreamChain(process.of_each, process.clients).read_fresh(
        canonicalize_name("requests")
    )

    assert peeked is not None
    assert peeked.page == first
    assert [key for _, key in store.calls if "/pages/" in key] == []


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_a_page_in_memory_ends_once_its_name_is_private(
    tmp_path: Path, canned_index: CannedIndex, *, near: bool
) -> None:
    """A public page that was sent a moment ago is not sent again once a server has the name."""
    canned_index.publish(public_wheel("requests", "2.0"))
    settings = Settings(upstream=UpstreamSettings(enabled=True, url=URL, file_hosts=()))
    store = MemoryStore(lambda: 0.0)
    with (
        in_process(tmp_path, settings, store=store, near=near) as server,
        in_process(tmp_path, store=store, near=near) as other,
    ):
        sources = [page_of(server, "requests").headers[SOURCE] for _ in range(2)]
        other.publish(make_wheel("requests"))
        sources.append(page_of(server, "requests").headers[SOURCE])

    assert sources == ["upstream", "upstream", "private"]


def test_a_list_reads_each_public_page_once(tmp_path: Path, canned_index: CannedIndex) -> None:
    """The list of an index that merges private names reads a public page from the bucket once."""
    canned_index.publish(public_wheel("requests", "2.0"))
    settings = Settings(upstream=UpstreamSettings(enabled=True, url=URL, file_hosts=()))
    store = FakeStore(MemoryStore(Clock().seconds))
    layers = ["team", "dev", "upstream"]
    team = {"name": "team", "layers": layers, "merge": ["acme-*"], "read": "anyone"}
    tables = toml_of(main=OPEN_MAIN, index=[{"name": "dev"}, team])
    with in_process(tmp_path, settings, store=store, tables=tables, near=False) as server:
        assert page_of(server, "requests").status == 200
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
        store.calls.clear()

        table = server.index.named("team").repository.shown_projects.table()

    assert [facts.name for facts in table.projects] == ["requests"]
    assert len([key for _, key in store.calls if "/pages/requests." in key]) == 1
