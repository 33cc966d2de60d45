"""Indexes that ask some of the upstream indexes, or all in another order."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urljoin

import pytest
from packaging.utils import canonicalize_name

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.upstream.chains import BACK, FIRST, ONE, OVER, SECOND, chained, page, versions
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import look
from tests.waiting import until
from wheelyard.errors import Forbidden
from wheelyard.storage.base import Store, Stored
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.page_lookup import StoredPages

INDEXES = ("", "one", "back", "over")


@pytest.fixture
def store() -> MemoryStore:
    """A store that several servers use, one after the other."""
    return MemoryStore(Clock().seconds)


def seen_by_all(server: InProcessServer, name: str) -> dict[str, list[str]]:
    """Return the versions of a project in each index."""
    return {index: versions(server, index, name) for index in INDEXES}


def in_all(version: str) -> dict[str, list[str]]:
    """Return one version for each index."""
    return {index: [version] for index in INDEXES}


@pytest.mark.parametrize("order", [INDEXES, INDEXES[::-1]])
def test_each_index_has_the_order_of_its_layers(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, order: tuple[str, ...]
) -> None:
    """The first upstream index of an index owns a name there, whatever others have asked before."""
    upstream.publish(public_wheel("both", "1.0"), public_wheel("only", "1.0"))
    second_upstream.publish(public_wheel("both", "2.0"), public_wheel("rare", "2.0"))
    store = LocalStore(tmp_path / "store", Random(1))
    expected = {"": ["1.0"], "one": ["2.0"], "back": ["2.0"], "over": ["2.0"]}
    for _ in range(2):
        with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, store=store) as server:
            for _ in range(2):
                assert {index: versions(server, index, "both") for index in order} == {
                    index: expected[index] for index in order
                }
                assert seen_by_all(server, "rare") == in_all("2.0")
                assert seen_by_all(server, "only") == {
                    **in_all("1.0"),
                    "one": ["404"],
                }
                server.clock.advance(seconds=601)
            metrics = look(server, "/metrics").body.decode()
            assert "wheelyard_upstream_owner_change_total 0" in metrics


def test_pages_are_shared(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """A page that one index has asked for is asked for by no other one, also after a restart."""
    second_upstream.publish(public_wheel("rare", "2.0"))
    for _ in range(2):
        with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, store=store) as server:
            assert seen_by_all(server, "rare") == in_all("2.0")
            until(lambda: any("/pages/" in entry.key for entry in store.list("upstream/")))
            assert server.index.upstream is not None
            server.index.upstream.pages.flush()
        assert len(second_upstream.asked("rare")) == 1


def test_what_is_contested_in_one_order(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A name that another index gets later is hidden where that comes first, and there alone."""
    second_upstream.publish(public_wheel("late", "2.0"))
    store = LocalStore(tmp_path / "store", Random(1))
    same = {"name": "same", "layers": ["same", "upstream"], "read": "anyone"}
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, same, store=store) as server:
        assert seen_by_all(server, "late") == in_all("2.0")
        upstream.publish(public_wheel("late", "99.0"))
        server.clock.advance(seconds=601)
        after = {**in_all("2.0"), "": ["404"]}
        assert seen_by_all(server, "late") == after
        assert versions(server, "same", "late") == ["404"]  # which was not asked before
        with pytest.raises(Forbidden, match="is the name of a public package"):
            server.publish_to("one", make_wheel("late", "3.0"))
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, store=store) as server:
        assert seen_by_all(server, "late") == after
        asked = server.index.named("one").upstream
        assert asked is not None
        assert asked.pages.forget(canonicalize_name("late")) == SECOND
        server.clock.advance(seconds=6)
        assert seen_by_all(server, "late") == {**after, "": ["99.0"]}


def test_an_owner_of_a_chain_that_loses_a_name(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """A name that its owner gives up is hidden in its chain, and stays what it is elsewhere."""
    upstream.publish(public_wheel("moving", "1.0"))
    second_upstream.publish(public_wheel("moving", "2.0"))
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, store=store) as server:
        assert versions(server, "back", "moving") == ["2.0"]
        assert versions(server, "", "moving") == ["1.0"]
        second_upstream.drop("moving")
        server.clock.advance(seconds=601)
        assert versions(server, "back", "moving") == ["404"]
        assert versions(server, "one", "moving") == ["404"]
        assert versions(server, "", "moving") == ["1.0"]
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, store=store) as server:
        assert versions(server, "back", "moving") == ["404"]


def test_an_upstream_before_the_only_one(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """Names of what was the only upstream index do not move to one that is put before it."""
    second_upstream.publish(public_wheel("both", "2.0"), public_wheel("other", "2.0"))
    upstream.publish(public_wheel("both", "1.0"), public_wheel("other", "1.0"))
    alone: tuple[dict[str, Any], ...] = ({"deny": ["*"]}, {})
    with chained(tmp_path, upstream, second_upstream, ONE, store=store, tables=alone) as server:
        assert versions(server, "", "both") == ["2.0"]
        assert versions(server, "one", "other") == ["2.0"]
    with chained(tmp_path, upstream, second_upstream, ONE, store=store) as server:
        server.clock.advance(seconds=601)
        assert versions(server, "", "both") == ["404"]
        assert versions(server, "one", "both") == ["2.0"]
        assert versions(server, "", "other") == ["1.0"]  # which main had never asked for


def test_what_an_earlier_version_has_hidden(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """A name that was contested before an update stays so, but not where one index is asked."""
    upstream.publish(public_wheel("late", "99.0"))
    second_upstream.publish(public_wheel("late", "2.0"))
    with chained(tmp_path, upstream, second_upstream, store=store) as server:
        assert server.index.upstream is not None
        (_, owner) = (client.server.id for client in server.index.upstream.clients.in_order)
    write_contested(store, owner)

    with chained(tmp_path, upstream, second_upstream, ONE, BACK, store=store) as server:
        for _ in range(2):
            assert versions(server, "one", "late") == ["2.0"]
            assert versions(server, "", "late") == ["404"]
            assert versions(server, "back", "late") == ["2.0"]
            server.clock.advance(seconds=601)


def write_contested(store: Store, owner: str) -> None:
    """Write the page that an earlier version leaves of `late`, which the first index has, too."""
    name = canonicalize_name("late")
    pages = StoredPages(store)
    stored = pages.load(owner, name)
    assert stored is not None
    page = UpstreamPage(
        name=name,
        upstream=owner,
        fetched_at=Clock().now,
        is_gone=True,
        moved_to=FIRST,
        is_contested=True,
    )
    pages.save(page, stored.version)


def test_an_index_follows_the_layers_of_its_layers(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """If a layer gets another upstream index, whoever has that layer shows its packages."""
    upstream.publish(public_wheel("both", "1.0"))
    second_upstream.publish(public_wheel("both", "2.0"))
    with chained(tmp_path, upstream, second_upstream) as server:
        administration = server.index.server.index_administration
        administration.add({"name": "ml", "layers": ["ml"], "read": "anyone"}, "local:bo")
        top = {"name": "top", "layers": ["top", "ml"], "read": "anyone"}
        administration.add(top, "local:bo")
        assert versions(server, "top", "both") == ["404"]
        for layers, shown in (
            (["ml", SECOND], ["2.0"]),
            (["ml", FIRST], ["1.0"]),
            (["ml", SECOND, FIRST], ["2.0"]),
            (["ml", "upstream"], ["1.0"]),
            (["ml"], ["404"]),
        ):
            administration.change("ml", {"layers": layers}, "local:bo")
            server.clock.advance(seconds=20)
            assert versions(server, "top", "both") == shown


@pytest.mark.parametrize("index", ["", "one", "back", "over"])
def test_a_private_name_asks_no_upstream(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, index: str
) -> None:
    """What is private in any layer of an index comes from no upstream index."""
    for each in (upstream, second_upstream):
        each.publish(public_wheel("acme-core", "99.0"))
    place = {"": "main", "over": "one"}.get(index, index)
    more: dict[str, Any] = {"check_upload": False}
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, **more) as server:
        server.publish_to(place, make_wheel("acme_core", "1.0"))
        for _ in range(2):
            assert versions(server, index, "acme-core") == ["1.0"]
            server.clock.advance(seconds=601)
        assert page(server, index, "acme-core").headers["x-wheelyard-source"] == "private"
    assert upstream.asked("acme-core") == second_upstream.asked("acme-core") == []


def test_a_look_in_layers_asks_nobody(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """What an index shows is found without a request, whether the name is private or nobody's."""
    for each in (upstream, second_upstream):
        each.publish(public_wheel("acme-core", "99.0"), public_wheel("both", "1.0"))
    with chained(
        tmp_path, upstream, second_upstream, ONE, BACK, OVER, check_upload=False
    ) as server:
        server.publish_to("one", make_wheel("acme_core", "1.0"))
        for index in ("main", "one", "back", "over"):
            repository = server.index.named(index).repository
            for name in ("acme-core", "both"):
                repository.find(canonicalize_name(name))
            repository.names()
            repository.shown_projects.table()
    assert upstream.requests == second_upstream.requests == []


def test_an_earlier_version_takes_no_page_of_a_stranger(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """What an index before the owner has got is no page for a version that knows no owners."""
    second_upstream.publish(public_wheel("late", "2.0"))
    with chained(tmp_path, upstream, second_upstream, ONE, store=store) as server:
        assert versions(server, "", "late") == ["2.0"]
        upstream.publish(public_wheel("late", "99.0"))
        server.clock.advance(seconds=601)
        assert versions(server, "", "late") == ["404"]
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
    ids = dict[str, str]()
    for entry in store.list("upstream/"):
        stored = store.get(entry.key)
        if "/pages/late" in entry.key and isinstance(stored, Stored):
            ids[entry.key.split("/")[1]] = json.loads(gzip.decompress(stored.body))["upstream"]

    taken = [folder.partition("-")[0] for folder, of_page in ids.items() if of_page == folder]
    assert len(ids) == 2
    assert taken == [SECOND]


def test_offline_an_index_that_was_not_asked_has_not_said_no(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """What only an index with one upstream has asked for is shown in no other one while offline."""
    second_upstream.publish(public_wheel("late", "2.0"))
    upstream.publish(public_wheel("late", "99.0"))
    with chained(tmp_path, upstream, second_upstream, ONE, BACK, OVER, store=store) as server:
        (file,) = page(server, "one", "late").files.values()
        assert look(server, urljoin("/one/simple/late/", file["url"])).status == 200
        until(lambda: any("/files/late/" in entry.key for entry in store.list("upstream/")))
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
    with chained(
        tmp_path, upstream, second_upstream, ONE, BACK, OVER, store=store, offline=True
    ) as server:
        assert seen_by_all(server, "late") == {
            **{index: ["503"] for index in ("", "back", "over")},
            "one": ["2.0"],
        }


def test_one_more_upstream_index_moves_no_owner(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, store: MemoryStore
) -> None:
    """Who owns a name in `upstream` after a label stays known when `upstream` gets one more."""
    third = {
        "label": "third",
        "url": second_upstream.url,
        "file_hosts": [second_upstream.file_host],
    }
    over = {**OVER, "layers": ["over", "low", "upstream"]}
    low = {**ONE, "name": "low", "layers": ["low", SECOND]}
    upstream.publish(public_wheel("late", "1.0"))
    for further in ((), (third,)):
        opened = chained(
            tmp_path, upstream, second_upstream, over, low, store=store, further=further
        )
        with opened as server:
            assert server.index.upstream is not None
            if not further:
                assert versions(server, "over", "late") == ["1.0"]
                second_upstream.publish(public_wheel("late", "66.0"))
            server.index.upstream.pages.flush()
            server.clock.advance(seconds=601)
            assert versions(server, "over", "late") == ["404"]


def test_an_upstream_that_is_silent(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """If the first upstream index of an index is silent, the next one is not asked there."""
    upstream.publish(public_wheel("both", "1.0"))
    second_upstream.behave("both", 503)
    with chained(tmp_path, upstream, second_upstream, ONE, BACK) as server:
        assert versions(server, "back", "both") == ["503"]
        assert versions(server, "one", "both") == ["503"]
        assert upstream.asked("both") == []
        assert versions(server, "", "both") == ["1.0"]


def test_searches_follow_the_chain(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A search in an index finds the public packages of its upstream indexes, as they are there."""
    upstream.publish(public_wheel("both", "1.0"), public_wheel("only", "1.0"))
    second_upstream.publish(public_wheel("both", "2.0"))
    with chained(tmp_path, upstream, second_upstream, ONE, BACK) as server:
        for name in ("both", "only"):
            for index in ("", "one", "back"):
                page(server, index, name)
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
        found = {
            index: {
                facts.name: facts.version
                for facts in server.index.named(index).repository.shown_projects.table().projects
            }
            for index in ("main", "one", "back")
        }
    assert found == {
        "main": {"both": "1.0", "only": "1.0"},
        "one": {"both": "2.0"},
        "back": {"both": "2.0", "only": "1.0"},
    }
