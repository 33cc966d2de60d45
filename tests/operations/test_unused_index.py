"""Uploads to main while nothing was ever published there, beside other indexes."""

from typing import Any

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.errors import Forbidden
from wheelyard.model.index_name import MAIN
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
DEV = {"name": "dev"}
VIEW = {"name": "view", "layers": ["dev"]}


def opened(harness: IndexHarness, *tables: dict[str, Any], only: bool | None = None) -> Index:
    """Return an index over the store, with these indexes and `promote_only` of main."""
    main = {} if only is None else {"promote_only": only}
    return harness.opened(4, tables=toml_of(main=main, index=tables))


def upload(harness: IndexHarness, index: Index, name: str = "demo") -> None:
    """Upload a wheel, as a client and `wheelyard upload` do."""
    made = make_wheel(name)
    index.uploads.authorize(made.filename, ALICE)
    index.uploads.accept(made.arrival(harness.folder), ALICE)


def test_main_is_closed_while_it_is_empty_beside_others(harness: IndexHarness) -> None:
    """An upload that names no index is refused, and the message names those that take it."""
    index = opened(harness, DEV, VIEW)

    with pytest.raises(Forbidden, match=r"upload to one of the indexes: dev\. To") as caught:
        upload(harness, index)
    with pytest.raises(Forbidden, match="promote_only=false"):
        index.uploads.accept(make_wheel().arrival(harness.folder), ALICE)

    assert caught.value.code == "index_not_named"
    assert not index.takes_uploads
    upload(harness, index.named("dev"))
    assert index.projects.names.get_current().names == ()


@pytest.mark.parametrize(
    ("tables", "only"), [((), None), ((DEV,), False)], ids=["no other index", "it is said"]
)
def test_main_is_open_alone_or_if_that_is_said(
    harness: IndexHarness, tables: tuple[dict[str, str], ...], *, only: bool | None
) -> None:
    """Without other indexes, or with `promote_only = false`, the first upload goes to main."""
    index = opened(harness, *tables, only=only)

    assert index.takes_uploads
    upload(harness, index)


def test_main_stays_open_once_it_was_used(harness: IndexHarness) -> None:
    """What was published in main, also if it was deleted and its name released, keeps it open."""
    upload(harness, harness.index)
    harness.index.lifecycle.change("delete", ALICE, DEMO, Selection(Version("1.0")), "")
    harness.index.names.release(ALICE, DEMO, "")

    upload(harness, opened(harness, DEV), "third")


@pytest.mark.parametrize("is_released", [False, True])
def test_a_reserved_name_is_no_use(harness: IndexHarness, *, is_released: bool) -> None:
    """A name that was reserved in main, and perhaps released, opens main for no upload."""
    harness.index.names.reserve(ALICE, DEMO, "")
    if is_released:
        harness.index.names.release(ALICE, DEMO, "")

    assert not opened(harness, DEV).takes_uploads
    with pytest.raises(Forbidden, match="Nothing was ever published in main"):
        upload(harness, opened(harness, DEV))


def test_main_beside_an_index_of_promotions_alone(harness: IndexHarness) -> None:
    """Where no index takes uploads, the refusal names the setting that opens main."""
    index = opened(harness, {**DEV, "promote_only": True})

    with pytest.raises(Forbidden, match="none of them takes any either"):
        upload(harness, index)


def test_pages_look_seldom_whether_main_was_used(harness: IndexHarness) -> None:
    """Pages ask the store once in 15 seconds while main is unused, and never once it was used."""
    store = FakeStore(harness.store)
    tables = toml_of(index=(DEV,))
    index = harness.opened(5, store, Settings(), tables=tables, is_local=False)
    assert index.server.definitions.served().keys() == {"dev"}

    def lists_of_pages() -> int:
        before = store.count("list")
        for _ in range(5):
            assert index.takes_uploads == is_used
        return store.count("list") - before

    is_used = False
    assert (lists_of_pages(), lists_of_pages()) == (1, 0)
    harness.clock.advance(seconds=15)
    assert lists_of_pages() == 1
    upload(harness, opened(harness, only=False))
    harness.clock.advance(seconds=15)
    is_used = True
    assert (lists_of_pages(), lists_of_pages()) == (1, 0)
    index.uploads.require_uploads()
    assert lists_of_pages() == 0


def test_pages_say_how_to_upload_while_the_store_is_down(harness: IndexHarness) -> None:
    """While the store does not say whether main was used, pages still tell how to publish to it."""
    store = FakeStore(harness.store)
    index = harness.opened(5, store, Settings(), tables=toml_of(index=(DEV,)), is_local=False)
    index.server.definitions.served()

    store.follow(Fault(FaultKind.NOT_DONE, "list", times=ALWAYS))
    assert index.takes_uploads

    store.follow()
    assert not index.takes_uploads


def test_an_upload_to_a_project_with_files_looks_at_no_other(harness: IndexHarness) -> None:
    """An upload to a project that has a file does not ask the store whether main was used."""
    upload(harness, harness.index)
    store = FakeStore(harness.store)
    tables = toml_of(index=(DEV,))
    index = harness.opened(5, store, Settings(), tables=tables, is_local=False)
    index.server.definitions.served()
    store.calls.clear()

    index.uploads.accept(make_wheel(version="2.0").arrival(harness.folder), ALICE)
    assert index.takes_uploads

    lists_of_lost_bytes = 1
    assert store.count("list") == lists_of_lost_bytes


def test_other_indexes_are_not_closed(harness: IndexHarness) -> None:
    """An empty index that has another name takes uploads."""
    definitions = opened(harness, DEV).server.definitions

    assert definitions.get(MAIN).is_closed_while_unused
    assert not definitions.get("dev").is_closed_while_unused
    assert opened(harness, DEV, only=True).named("dev").takes_uploads
