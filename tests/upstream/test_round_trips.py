"""How many requests to a bucket a page of an upstream index takes, of which none is asked twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, page_of
from tests.upstream.settings import upstream_section
from wheelyard.settings.sections import ServerSettings, Settings


@pytest.fixture
def store() -> RemoteStore:
    """A remote store."""
    return RemoteStore()


@pytest.fixture
def server(store: RemoteStore, tmp_path: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """A server that has just started on a bucket with a private project and a page."""
    upstream.publish(public_wheel("requests", "2.0"))
    section = upstream_section(upstream)
    with in_process(tmp_path, Settings(upstream=section), store=store, near=False) as other:
        other.publish(make_wheel("acme"))
        assert page_of(other, "requests").status == 200
    settings = Settings(upstream=section, server=ServerSettings(read_only=True))
    with in_process(tmp_path, settings, store=store, near=False) as server:
        assert server.get("/simple/").status == 200
        upstream.requests.clear()
        yield server


def reads(store: RemoteStore) -> set[str]:
    """Return the keys that were read; of a page only its kind."""
    return {key if "/pages/" not in key else "page" for verb, key in store.calls if verb == "get"}


def test_a_public_page_is_read_from_the_bucket_once(
    server: InProcessServer, store: RemoteStore, upstream: FakeUpstream
) -> None:
    """The list, the document, the decisions and the page are read once; later not the page."""
    keys = {"projects.json", "projects/requests.json", "decisions.json"}
    store.calls.clear()
    assert page_of(server, "requests").headers[SOURCE] == "upstream"
    assert reads(store) == {*keys, "page"}

    server.clock.advance(seconds=2)
    store.calls.clear()
    assert page_of(server, "requests").headers[SOURCE] == "upstream"
    assert (reads(store), len(store.calls)) == ({*keys, "index-list.json"}, 4)
    assert upstream.requests == []


def test_a_name_that_another_server_has_made_private_is_private_on_a_bucket(
    server: InProcessServer, store: RemoteStore, tmp_path: Path
) -> None:
    """A page of an upstream index is not repeated once another server has a file of its name."""
    for _ in range(2):
        assert page_of(server, "requests").headers[SOURCE] == "upstream"
    with in_process(tmp_path, store=store, near=False) as other:
        other.publish(make_wheel("requests", "0.1"))

    assert page_of(server, "requests").headers[SOURCE] == "private"


def test_a_page_with_digests_is_renewed_without_those_of_files(
    server: InProcessServer, store: RemoteStore, upstream: FakeUpstream
) -> None:
    """A new page is compared with a last one that says each digest, and not with fetched files."""
    upstream.publish(public_wheel("requests", "3.0"))
    server.clock.advance(seconds=601)
    store.calls.clear()

    assert len(page_of(server, "requests").files) == 2
    assert len(upstream.asked("requests")) == 1
    assert [key for key in reads(store) if "/digests/" in key] == []


def test_a_private_page_takes_one_request(server: InProcessServer, store: RemoteStore) -> None:
    """A private page takes the requests that it takes without an upstream index."""
    server.clock.advance(seconds=2)
    assert page_of(server, "acme").headers[SOURCE] == "private"
    server.clock.advance(seconds=2)
    store.calls.clear()
    assert page_of(server, "acme").headers[SOURCE] == "private"
    # what main is is looked at first, as for each index
    assert store.calls == [("get", "index-list.json"), ("get", "projects/acme.json")]
