"""Counts of downloads in the sweep, in checks, and in copies of a store."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.json import Decoder, encode
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.download_counts.processes import DEMO, CountedStore, Process
from tests.fake_store import Before, FakeStore
from tests.http.in_process import in_process
from tests.http.remote_store import RemoteStore
from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import keys
from wheelyard.downloads.counts import BATCHES, MONTHS, CountsDocument
from wheelyard.downloads.folding import SETTLED_SECONDS, fold
from wheelyard.downloads.upkeep import copy_counts, counts_faults
from wheelyard.operations.daily_sweep import DailySweep
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory."""
    return IndexHarness(tmp_path)


def count_one(harness: IndexHarness, prefix: str = "") -> None:
    """Count a download in an index of a store, as a process that ends at once."""
    process = Process(PrefixedStore(harness.store, prefix), harness.clock)
    process.note()
    process.counter.close()


def test_the_daily_sweep_adds_up(harness: IndexHarness) -> None:
    """The sweep of one server adds up the counts of all indexes, also of those it does not know."""
    harness.upload(make_wheel())
    count_one(harness)
    count_one(harness, "indexes/dev/")
    harness.clock.advance(hours=2)

    DailySweep(
        harness.index.server.sweep, harness.index.changes, harness.index.server.runtime
    ).sweep_if_due()

    month = keys.downloads_of_month("2026-01")
    assert list(harness.snapshot(keys.DOWNLOADS)) == [month]
    assert list(harness.snapshot(f"indexes/dev/{keys.DOWNLOADS}")) == [f"indexes/dev/{month}"]


def test_check_finds_damage(harness: IndexHarness) -> None:
    """A check of the store finds damaged counts of any index, and what is no object of counts."""
    count_one(harness)
    assert harness.check().problems == []
    month, batch = keys.downloads_of_month("2026-01"), keys.DownloadBatch("0" * 16, 1).key
    harness.store.put(Key(f"indexes/dev/{month}"), b"no gzip", None)
    harness.store.put(batch, b'{"projects":{"demo":[]}}', None)
    harness.store.put(Key(f"{keys.DOWNLOADS}notes.txt"), b"", None)

    found = harness.check()

    assert [problem.split()[0] for problem in found.problems] == [batch, f"indexes/dev/{month}"]
    assert all("delete it" in problem for problem in found.problems)
    assert "notes.txt" in str(found.notes)


def versions_in(store: Store, counted: CountedStore) -> dict[str, int]:
    """Return how often each version was downloaded by the counts of a store."""
    report, _ = counted.process(50, store).downloads.report(DEMO, 90)
    return {count.version: count.downloads for count in report.versions}


@pytest.mark.parametrize("order", ["", "s", "t", "st", "ts"])
def test_a_copy_has_the_counts(order: str) -> None:
    """Copies bring all counts once, whenever source and copy add them up in between."""
    source, target = CountedStore(), CountedStore()
    target.clock = source.clock
    for number, version in enumerate(("1.0", "2.0", "1.0")):
        process = source.process(number)
        process.note(version)
        process.counter.close()
        copy_counts(source.memory, target.memory)
        source.clock.advance(seconds=SETTLED_SECONDS + 1)
        for side in order:
            store = source.memory if side == "s" else target.memory
            fold(store, source.clock.seconds() + SETTLED_SECONDS + 1)
    copy_counts(source.memory, target.memory)
    observed = FakeStore(target.memory)
    copy_counts(source.memory, observed)

    assert versions_in(target.memory, source) == {"1.0": 2, "2.0": 1}
    changed = [key for verb, key in observed.calls if verb == "put"]
    assert [key for key in changed if not key.startswith(keys.NEW_DOWNLOADS)] == []


@pytest.mark.parametrize(
    "read",
    [lambda source, _: list(counts_faults(source, "")), copy_counts],
    ids=["checked", "copied"],
)
def test_counts_may_be_deleted_meanwhile(read: Callable[[Store, Store], object]) -> None:
    """A month that is deleted while it is being read is neither damaged nor copied."""
    source, target = CountedStore(), CountedStore()
    add_old_counts(source.memory)
    source.memory.delete(keys.DownloadBatch("0" * 16, 1).key)
    month = keys.downloads_of_month("2026-01")
    store = FakeStore(source.memory, Before(lambda: source.memory.delete(month), "get", month))

    assert not read(store, target.memory)

    assert store.count("get", month) == 1
    assert target.listed() == []


Days = dict[date, int]
OLD: dict[str, dict[str, dict[str, Days]]] = {
    "1.0": {
        "demo-1.0.tar.gz": {"pip 26.3": {date(2026, 1, 1): 2}},
        "demo-1.0-py3-none-any.whl": {
            "pip 26.3": {date(2026, 1, 1): 4, date(2026, 1, 2): 1},
            "uv 0.9": {date(2026, 1, 1): 3},
        },
    },
    "": {"": {"other": {date(2026, 1, 2): 5}}},
}
"""What an earlier version has stored of a project: files, installers, and some of neither."""
NEW: dict[str, dict[str, dict[str, Days]]] = {
    "": {"": {"other": {date(2026, 1, 2): 5}}},
    "1.0": {"": {"other": {date(2026, 1, 1): 9, date(2026, 1, 2): 1}}},
}
"""What this version stores of that project, in the form of the earlier version."""


def add_old_counts(store: Store) -> None:
    """Add a month and a batch as an earlier version writes them."""
    projects = {name: Raw(encode(OLD)) for name in (DEMO, NormalizedName("idle"))}
    document = CountsDocument(projects)
    store.put(keys.downloads_of_month("2026-01"), MONTHS.encode(document), None)
    batch = CountsDocument({DEMO: Raw(encode(OLD))})
    store.put(keys.DownloadBatch("0" * 16, 1).key, BATCHES.encode(batch), None)


def stored_in(store: Store) -> dict[str, dict[str, dict[str, dict[str, Days]]]]:
    """Return the counts of the month, as an earlier version reads them."""
    key = keys.downloads_of_month("2026-01")
    stored = store.get(key)
    assert isinstance(stored, Stored)
    document = MONTHS.decode(key, stored.body)
    as_before = Decoder(dict[str, dict[str, dict[str, Days]]])
    return {name: as_before.decode(raw) for name, raw in document.projects.items()}


def test_counts_of_earlier_versions_are_folded() -> None:
    """Counts by file and installer are read as counts by version, and written so by the next."""
    counted = CountedStore()
    add_old_counts(counted.memory)
    process = counted.process()
    process.note()
    process.counter.close()

    last = process.downloads.last_downloads(1)

    assert counted.versions() == {"1.0": 21, "": 10}
    assert last.of(DEMO, "1.0") == last.of(DEMO, "7") == date(2026, 1, 2)
    counted.fold()
    assert counted.versions() == {"1.0": 21, "": 10}
    stored = stored_in(counted.memory)
    assert stored["idle"] == NEW
    doubled = {"": {"other": {date(2026, 1, 1): 19, date(2026, 1, 2): 2}}}
    assert stored["demo"]["1.0"] == doubled


def test_a_copy_folds_counts_of_earlier_versions() -> None:
    """A copy has the counts of an earlier version once, without files and installers."""
    source, target = CountedStore(), CountedStore()
    add_old_counts(source.memory)
    of_target = CountsDocument({NormalizedName("away"): Raw(encode(OLD))})
    target.memory.put(keys.downloads_of_month("2026-01"), MONTHS.encode(of_target), None)

    copy_counts(source.memory, target.memory)
    observed = FakeStore(target.memory)
    copy_counts(source.memory, observed)

    assert target.versions() == source.versions() == {"1.0": 20, "": 10}
    assert stored_in(target.memory) == {"away": NEW, "demo": NEW, "idle": NEW}
    written = [key for verb, key in observed.calls if verb == "put"]
    assert [key for key in written if not key.startswith(keys.NEW_DOWNLOADS)] == []


def test_redirects_count(tmp_path: Path) -> None:
    """A file that the bucket sends counts when the client is redirected to it."""
    package = make_wheel("demo")
    path = f"/files/demo/{package.sha256}/{package.filename}"
    bucket = RemoteStore("https://bucket.example/demo")
    with in_process(tmp_path, store=bucket, near=False) as server:
        server.publish(package)
        answers = [
            server.get(path),
            server.get(path, ("range", "bytes=0-")),
            server.get(path, ("range", "bytes=9-")),
        ]

        assert [answer.status for answer in answers] == [302, 302, 302]
        assert server.index.downloads is not None
        report, _ = server.index.downloads.report(DEMO, 30)
        assert report.downloads == 2
