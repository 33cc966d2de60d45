"""The sweep of leftovers: what it removes, what it never removes, and on which server it runs."""

import logging
from datetime import timedelta
from itertools import count
from threading import Event

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.distributions import Distribution, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.daily_sweep import EVERY, SPREAD_SECONDS, DailySweep
from wheelyard.operations.lifecycle import Selection
from wheelyard.storage.base import STORAGE_DENIED, Key, Store

DEMO = NormalizedName("demo")
KEPT, LOST, OTHER = make_wheel(), make_wheel(version="9.0"), make_wheel("other")
DEV = "indexes/dev/"


def file_key(made: Distribution) -> Key:
    """Return the key of a distribution."""
    return keys.distribution(DEMO, made.sha256, made.filename)


@pytest.fixture
def stocked_index(harness: IndexHarness) -> IndexHarness:
    """A store with two projects, and with the bytes of an upload that died two days ago."""
    harness.upload(KEPT)
    harness.upload(OTHER)
    leave(harness, LOST)
    harness.clock.advance(days=2)
    return harness


def leave(harness: IndexHarness, made: Distribution) -> None:
    """Leave the objects of an upload that died before its commit."""
    harness.store.put_file(file_key(made), made.body)
    harness.store.put_file(Key(f"{file_key(made)}.metadata"), b"metadata")


def sweep(harness: IndexHarness) -> int:
    """Sweep, as a process that knows nothing yet."""
    return harness.opened(seed=3).server.sweep.run(harness.clock.now)


def daily(harness: IndexHarness, seed: int, store: Store | None = None) -> DailySweep:
    """Return the sweep of another server, perhaps over another store."""
    index = harness.opened(seed, store)
    return DailySweep(index.server.sweep, index.changes, index.server.runtime)


def test_leftovers_go_and_nothing_else(stocked_index: IndexHarness) -> None:
    """Bytes that no project lists are removed when they are a day old."""
    before = stocked_index.snapshot()
    leave(stocked_index, make_wheel(version="8.0"))  # under way
    young = stocked_index.snapshot().keys() - before.keys()

    assert sweep(stocked_index) == 2

    gone = {file_key(LOST), f"{file_key(LOST)}.metadata"}
    assert stocked_index.snapshot().keys() == before.keys() - gone | young
    assert sweep(stocked_index) == 0


def test_an_upload_that_is_under_way_costs_no_check(stocked_index: IndexHarness) -> None:
    """A sweep that has nothing to remove reads no journal, however many uploads are under way."""
    sweep(stocked_index)
    leave(stocked_index, LOST)
    store = FakeStore(stocked_index.store)

    assert stocked_index.opened(seed=3, store=store).server.sweep.run(stocked_index.clock.now) == 0

    assert store.count("get|read|list", "journal/*") == 0


def test_files_of_another_index_are_kept(stocked_index: IndexHarness) -> None:
    """Files are shared by all indexes of a store, also by those that no setting names."""
    elsewhere = IndexHarness(stocked_index.folder)
    elsewhere.upload(LOST)
    for prefix in ("projects", "journal"):
        for key, body in elsewhere.snapshot(prefix).items():
            stocked_index.store.put(Key(f"{DEV}{key}"), body, None)
    metadata = f"{file_key(LOST)}.metadata"
    stocked_index.clock.advance(days=2)
    leave(stocked_index, gone := make_wheel(version="8.0"))
    stocked_index.clock.advance(days=2)

    assert sweep(stocked_index) == 2

    assert {file_key(LOST), metadata} <= stocked_index.snapshot().keys()
    assert file_key(gone) not in stocked_index.snapshot()


def test_a_deleted_file_is_kept_until_its_time(stocked_index: IndexHarness) -> None:
    """A deleted file that is kept until a certain time goes with the first sweep after that."""
    (file,) = stocked_index.index.projects.get_for_update(DEMO).files
    stocked_index.index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("1.0")), "")
    removal = stocked_index.opened(seed=3).server.sweep.removal

    # a restoration that began in the last moment may take a day until its commit
    stocked_index.clock.advance(days=30.9)
    assert removal.remove(DEMO, [file_key(KEPT)]) == 0
    stocked_index.clock.advance(days=0.1)
    assert removal.remove(DEMO, [file_key(KEPT)]) == 1
    assert file.filename in stocked_index.index.projects.get(DEMO).deleted_filenames


def test_a_delete_keeps_what_another_index_lists(stocked_index: IndexHarness) -> None:
    """A deleted file's bytes stay as long as another index lists the file."""
    stocked_index.store.put(
        Key(f"{DEV}{keys.project(DEMO)}"), stocked_index.bytes_at(keys.project(DEMO)), None
    )
    selection = Selection(parse_version("1.0"))

    stocked_index.index.lifecycle.change("delete", ALICE, DEMO, selection, "")
    assert stocked_index.bytes_at(file_key(KEPT)) == KEPT.body
    assert sweep(stocked_index) == 2  # the leftovers
    stocked_index.clock.advance(days=31)
    assert sweep(stocked_index) == 0

    for key in stocked_index.snapshot(DEV):
        stocked_index.store.delete(Key(key))
    assert sweep(stocked_index) == 2
    assert file_key(KEPT) not in stocked_index.snapshot()


def test_each_index_of_a_store_is_found(stocked_index: IndexHarness) -> None:
    """Each index is found by its first key, whatever else is near it."""
    for key in ("indexes/a-b/x", "indexes/a/projects.json", "indexes/a/x/y", "indexes/a0/x"):
        stocked_index.store.put(Key(key), b"", None)
    stocked_index.store.put(Key("indexes/stray"), b"", None)

    prefixes = [*stocked_index.opened(seed=3).server.sweep.removal.indexes()]

    assert prefixes == ["", "indexes/a-b/", "indexes/a/", "indexes/a0/"]


@pytest.mark.parametrize(
    "key",
    [keys.project(NormalizedName("other")), f"{DEV}projects/other.json", f"{DEV}projects/z.json"],
)
@pytest.mark.parametrize(
    "body", [b"{", b'{"name":"somebody"}', b'{"name":"other","needs":{"hidden":"99.0"}}']
)
def test_an_unreadable_document_stops_it(
    stocked_index: IndexHarness, key: str, body: bytes
) -> None:
    """A document that cannot be read, in any index, stops the sweep before anything is removed."""
    stocked_index.store.put(Key(key), body, None)
    before = stocked_index.snapshot()

    with pytest.raises(Unavailable, match=key):
        sweep(stocked_index)

    assert stocked_index.snapshot() == before
    assert any(key in note for note in texts_of(stocked_index.check(sweep=True).notes))


def test_files_that_only_the_journal_lists_are_kept(stocked_index: IndexHarness) -> None:
    """After an older document was restored, what only the journal lists is not removed."""
    old = stocked_index.bytes_at(keys.project(DEMO))
    stocked_index.upload(newer := make_wheel(version="2.0"))
    stocked_index.store.put(keys.project(DEMO), old, None)
    stocked_index.clock.advance(days=2)

    assert sweep(stocked_index) == 0
    assert stocked_index.bytes_at(file_key(newer)) == newer.body


def test_files_without_any_document(stocked_index: IndexHarness) -> None:
    """Files of a project whose documents are lost are kept; those of one that never was go."""
    never, lost = (
        keys.distribution(NormalizedName(name), made.sha256, made.filename)
        for name, made in (("never", make_wheel("never")), ("other", OTHER))
    )
    stocked_index.store.put_file(never, b"an upload that died before its first commit")
    for key in stocked_index.snapshot():
        if "other" in key and key != lost:
            stocked_index.store.delete(Key(key))
    stocked_index.clock.advance(days=2)

    sweep(stocked_index)

    assert stocked_index.snapshot().keys() & {never, lost} == {lost}


@pytest.mark.slow
def test_a_killed_sweep_loses_nothing(stocked_index: IndexHarness) -> None:
    """Wherever a server dies in a sweep, nothing that is listed is gone; another does the rest."""
    for nth in count():
        harness = IndexHarness(stocked_index.folder)
        for key, body in stocked_index.snapshot().items():
            harness.store.put(Key(key), body, None)
        harness.clock.advance(days=2)
        store = FakeStore(harness.store)
        server = daily(harness, 4, store)
        kind = FaultKind.CRASH_AFTER if nth % 2 else FaultKind.CRASH
        store.follow(Fault(kind, nth=nth // 2 + 1))
        try:
            server.sweep_if_due()
        except ProcessCrash:
            assert harness.check().problems == []
            harness.clock.advance(days=1)
            daily(harness, 5).sweep_if_due()
            assert file_key(LOST) not in harness.snapshot()
            assert harness.check().problems == []
        else:
            break
    assert nth > 30


def test_several_servers_sweep_once(stocked_index: IndexHarness) -> None:
    """Of several servers, one sweeps a day, and after a day whichever looks first."""
    servers = [daily(stocked_index, seed) for seed in (5, 6, 7)]
    assert [server.sweep_if_due() for server in servers] == [EVERY] * 3
    assert file_key(LOST) not in stocked_index.snapshot()
    leave(stocked_index, LOST)
    stocked_index.clock.advance(hours=23)

    assert [server.sweep_if_due() for server in servers] == [timedelta(hours=1)] * 3
    stocked_index.clock.advance(hours=2)
    assert servers[1].sweep_if_due() == EVERY
    assert file_key(LOST) not in stocked_index.snapshot()


def test_old_descriptions_of_each_index_go(stocked_index: IndexHarness) -> None:
    """What was rendered long ago is removed from all indexes of the store."""
    for prefix in ("", DEV):
        stocked_index.store.put(Key(f"{prefix}{keys.description('renderer', '0')}"), b"", None)
    stocked_index.clock.advance(days=91)

    daily(stocked_index, 5).sweep_if_due()

    assert not any(keys.DESCRIPTIONS in key for key in stocked_index.snapshot())


def test_a_server_that_lost_its_lease_stops(stocked_index: IndexHarness) -> None:
    """A server that wakes up after its lease was taken stops, and leaves the lease alone."""
    lost = make_wheel("other", "9.0")
    others = keys.distribution(NormalizedName("other"), lost.sha256, lost.filename)
    stocked_index.store.put_file(others, b"")
    stocked_index.clock.advance(days=2)
    taken, leases = list[timedelta](), list[bytes]()

    def sweep_later() -> None:
        stocked_index.clock.advance(hours=1)
        taken.append(daily(stocked_index, 6).sweep_if_due())
        leases.append(stocked_index.bytes_at(keys.lease("sweep")))

    store = FakeStore(stocked_index.store, Before(sweep_later, "delete", file_key(LOST)))
    assert daily(stocked_index, 5, store).sweep_if_due() == EVERY

    assert taken == [EVERY]
    assert leases == [stocked_index.bytes_at(keys.lease("sweep"))]
    assert {file_key(LOST), others}.isdisjoint(stocked_index.snapshot())


def test_a_new_store_stays_untouched(harness: IndexHarness) -> None:
    """A store without files gets no lease: a server that nobody uses writes nothing."""
    before = harness.snapshot()

    assert daily(harness, 5).sweep_if_due() == EVERY
    assert harness.snapshot() == before


def test_a_fast_clock_removes_no_young_upload(stocked_index: IndexHarness) -> None:
    """A server whose clock is days ahead of the store's removes no upload that is under way."""
    leave(stocked_index, new := make_wheel(version="8.0"))
    index = stocked_index.opened(5)
    ahead = replace(index.server.runtime, now=lambda: stocked_index.clock.now + timedelta(days=3))

    DailySweep(index.server.sweep, index.changes, ahead).sweep_if_due()

    assert file_key(LOST) not in stocked_index.snapshot()
    assert file_key(new) in stocked_index.snapshot()


def test_a_sweep_logs_one_line(
    stocked_index: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that has removed something is one line with the count, and any other one is none."""
    caplog.set_level(logging.INFO, "wheelyard")
    server = daily(stocked_index, 5)
    for _ in range(3):
        server.sweep_if_due()
        stocked_index.clock.advance(hours=25)

    assert [record.getMessage() for record in caplog.records] == [
        "swept 2 leftovers of uploads and deletions"
    ]


def test_a_server_that_may_not_delete_says_so_once(
    stocked_index: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A server without the right to delete says so once, and not each day."""
    denied = Unavailable("The account may not delete.", code=STORAGE_DENIED)
    store = FakeStore(stocked_index.store, Fault(denied, "delete", times=ALWAYS))
    server = daily(stocked_index, 5, store)
    for _ in range(3):
        assert server.sweep_if_due() == EVERY
        stocked_index.clock.advance(hours=25)

    (record,) = caplog.records
    assert record.getMessage().startswith("this server may not delete, so leftovers")


def test_a_failed_sweep_is_tried_again(stocked_index: IndexHarness) -> None:
    """A server whose store fails tries again later, and then sweeps."""
    faulty = FakeStore(stocked_index.store)
    server = daily(stocked_index, 5, faulty)
    faulty.follow(Fault(FaultKind.NOT_DONE, times=9999))
    assert server.sweep_if_due() < EVERY
    faulty.follow()

    assert server.sweep_if_due() == EVERY
    assert file_key(LOST) not in stocked_index.snapshot()


class _Ended(Exception):
    """A server was ended."""


def test_servers_do_not_sweep_at_one_time(stocked_index: IndexHarness) -> None:
    """A server first waits a while after its start, and then a day and a random part of an hour."""
    pauses = list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        stocked_index.clock.advance(seconds=seconds)
        if len(pauses) > 3:
            raise _Ended

    index = stocked_index.opened(5)
    runtime = replace(index.server.runtime, pause=pause)
    with pytest.raises(_Ended):
        DailySweep(index.server.sweep, index.changes, runtime).run()

    day = EVERY.total_seconds()
    assert 10 <= pauses[0] <= 60
    assert all(day <= pause <= day + SPREAD_SECONDS for pause in pauses[1:])
    assert len(set(pauses)) == len(pauses)


def test_a_server_sweeps_beside_its_other_work(
    stocked_index: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has started its sweep goes on at once, and leftovers are removed meanwhile."""
    goes_on, swept = Event(), Event()

    def run_once(sweep: DailySweep) -> None:
        if goes_on.wait(10):
            sweep.sweep_if_due()
            swept.set()

    monkeypatch.setattr(DailySweep, "run", run_once)

    daily(stocked_index, 5).start()
    goes_on.set()

    assert swept.wait(10)
    assert file_key(LOST) not in stocked_index.snapshot()


def test_the_lease_is_renewed(stocked_index: IndexHarness) -> None:
    """A sweep that takes long keeps its lease."""
    for number in range(30):
        stocked_index.upload(make_wheel(f"p{number}"))
    leave(stocked_index, LOST)
    stocked_index.clock.advance(days=2)

    def sweep_later() -> None:
        stocked_index.clock.advance(minutes=1)
        with_lease.append(daily(stocked_index, 6).sweep_if_due())

    with_lease = list[timedelta]()
    slow = Before(sweep_later, "get", f"{keys.PROJECTS}*", times=ALWAYS)
    daily(stocked_index, 5, FakeStore(stocked_index.store, slow)).sweep_if_due()

    assert len(with_lease) > 30
    assert all(timedelta() < pause < EVERY for pause in with_lease)
    assert file_key(LOST) not in stocked_index.snapshot()


@pytest.mark.parametrize(
    ("key", "consequence"),
    [
        (keys.PENDING, "marks of commits and what was made of pages stay"),
        (keys.DOWNLOADS, "counts of downloads are not added up today"),
    ],
    ids=["marks", "counts"],
)
def test_what_a_daily_sweep_leaves_to_do_is_logged(
    stocked_index: IndexHarness, caplog: pytest.LogCaptureFixture, key: Key, consequence: str
) -> None:
    """If the store does not answer after a sweep, the log says what stays, and the sweep counts."""
    store = FakeStore(
        stocked_index.store, Fault(FaultKind.NOT_DONE, "list", f"{key}*", times=ALWAYS)
    )

    assert daily(stocked_index, seed=4, store=store).sweep_if_due() == EVERY

    assert f"{consequence}: The store did not answer." in caplog.messages
    assert file_key(LOST) not in stocked_index.snapshot()
