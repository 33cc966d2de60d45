"""Machines whose clock is wrong: what they delete, keep and show goes by the clock of the store."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.fake_time import fake_runtime
from tests.index_tables import put_tables
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.operations.store_copies import store_copy
from tests.operations.test_sweep import KEPT, LOST, file_key, leave
from tests.refused import refused
from wheelyard.catalog.store_clock import CLOCK_DIFFERS, MEASURED_SECONDS, StoreClock
from wheelyard.errors import Unavailable
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.daily_sweep import DailySweep
from wheelyard.operations.lifecycle import KEPT_FOR, ReleaseAction, Selection
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
FIRST, SECOND = Selection(parse_version("1.0")), Selection(parse_version("2.0"))


def wrong(harness: IndexHarness, **ahead: float) -> Index:
    """Return the index as a machine has it whose clock is ahead of the store's, or behind it."""
    runtime = fake_runtime(harness.clock, seed=9)
    runtime = replace(runtime, now=lambda: harness.clock.now + timedelta(**ahead))
    index = harness.index
    return build_index(Stores.of(harness.store), index.server.spool, Settings(), runtime)


@pytest.mark.parametrize("days", [40, -40])
def test_a_daily_sweep_refuses(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture, days: int
) -> None:
    """A server whose clock is wrong sweeps nothing, and says so; what is kept can be restored."""
    harness.upload(KEPT)
    harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")
    leave(harness, LOST)
    harness.clock.advance(days=2)
    before, index = harness.snapshot("files/"), wrong(harness, days=days)

    DailySweep(index.server.sweep, index.changes, index.server.runtime).sweep_if_due()

    assert harness.snapshot("files/") == before
    (record,) = caplog.records
    assert "about 40 days" in record.getMessage()
    harness.index.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    assert harness.check().problems == []


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(days=2), "about 2 days ahead of the clock of the store"),
        (timedelta(days=-2), "about 2 days behind the clock of the store"),
        (timedelta(minutes=61), "about 1 hour ahead of the clock of the store"),
    ],
)
def test_a_check_refuses_to_sweep(harness: IndexHarness, ahead: timedelta, words: str) -> None:
    """`check --sweep` on a machine whose clock is wrong leaves the bytes of uploads under way."""
    harness.upload(KEPT)
    leave(harness, LOST)
    path, sink = harness.index.server.spool.create()
    sink.close()
    before, index = harness.snapshot(), wrong(harness, seconds=ahead.total_seconds())

    with refused(Unavailable, CLOCK_DIFFERS, words):
        index.server.check.run(sweep=True)

    assert harness.snapshot() == before
    assert path.exists()
    assert index.server.check.run().problems == []
    assert wrong(harness, minutes=59).server.check.run(sweep=True).swept == 0


@pytest.mark.parametrize("days", [40, -40])
def test_a_delete_keeps_files_by_the_clock_of_the_store(harness: IndexHarness, days: int) -> None:
    """A file that a wrong machine deletes is kept for 30 days, as is what is in the trash."""
    harness.upload(KEPT)
    harness.upload(make_wheel(version="2.0"))
    harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")
    index = wrong(harness, days=days)

    changed = index.lifecycle.change("delete", ALICE, DEMO, SECOND, "")

    assert changed.keep_until == harness.clock.now + KEPT_FOR
    assert len(index.lifecycle.kept_files(changed.project)) == 2
    index.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    harness.index.lifecycle.change("restore", ALICE, DEMO, SECOND, "")
    assert len(harness.index.projects.get(DEMO).files) == 2


@pytest.mark.parametrize("action", ["yank", "unyank"])
def test_what_keeps_no_bytes_needs_no_clock_of_the_store(
    harness: IndexHarness, action: ReleaseAction
) -> None:
    """A release is yanked, and not any more, without a write that asks the store for the time."""
    harness.upload(KEPT)
    if action == "unyank":
        harness.index.lifecycle.change("yank", ALICE, DEMO, FIRST, "")
    store = FakeStore(harness.store)

    changed = harness.opened(5, store).lifecycle.change(action, ALICE, DEMO, FIRST, "")

    assert (changed.project.files[0].yanked is not None) == (action == "yank")
    assert store.count("time") == 0


def test_a_removal_keeps_the_trash(harness: IndexHarness) -> None:
    """A removal at once by a machine whose clock is ahead drops nothing else from the trash."""
    harness.upload(KEPT)
    harness.upload(make_wheel(version="2.0"))
    harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")

    remove_now(wrong(harness, days=40), make_wheel(version="2.0").sha256)

    harness.index.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    assert harness.check().problems == []


def test_retention_refuses(harness: IndexHarness) -> None:
    """Rules find no release old because the clock of the machine is ahead, and delete nothing."""
    harness.upload(KEPT)
    harness.upload(make_wheel(version="2.0"))
    put_tables(harness.index, "[[retention]]\nolder_than_days = 30\n")
    retention = wrong(harness, days=40).server.retention
    assert retention is not None

    assert retention.preview(ALICE).deleted == ()
    with refused(Unavailable, CLOCK_DIFFERS):
        retention.run(ALICE)

    assert len(harness.index.projects.get(DEMO).files) == 2


@pytest.mark.parametrize("days", [40, -40])
def test_a_copy_goes_by_the_clock_of_its_target(harness: IndexHarness, days: int) -> None:
    """A copy by a wrong machine brings deleted files, and writes old bytes of a dead one again."""
    harness.upload(KEPT)
    harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")
    harness.upload(LOST)
    there = IndexHarness(harness.folder, harness.clock)
    leave(there, LOST)
    harness.clock.advance(days=2)

    source = harness.index
    store_copy(source.stores, source.changes, wrong(there, days=days)).run(lambda *_: None)

    there.index.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    assert there.check().problems == []
    entries = {entry.key: entry for entry in there.store.list("files/")}
    assert entries[file_key(LOST)].modified == harness.clock.seconds()


class Machine:
    """A machine whose clocks are set by a test, and its view of the clock of a store."""

    def __init__(self, harness: IndexHarness) -> None:
        self.store = FakeStore(MemoryStore(harness.clock.seconds))
        self.ahead = timedelta(days=40)
        self.stood_still = timedelta()
        self.time = harness.clock
        runtime = replace(
            fake_runtime(harness.clock, seed=1),
            now=lambda: self.time.now + self.ahead,
            monotonic=self._monotonic,
        )
        self.clock = StoreClock(self.store, runtime)

    def _monotonic(self) -> float:
        return (self.time.now - self.stood_still).timestamp()

    @property
    def difference(self) -> timedelta:
        """How far its view is ahead of the store's clock."""
        return self.clock.now() - self.time.now


@pytest.fixture
def machine(harness: IndexHarness) -> Machine:
    """A machine whose clock is 40 days ahead."""
    return Machine(harness)


def test_the_store_is_asked_seldom(machine: Machine) -> None:
    """A process asks the store for its time every ten minutes, and follows it in between."""
    for _ in range(10):
        assert machine.difference == timedelta()
        machine.time.advance(seconds=MEASURED_SECONDS / 10)
    assert machine.store.count("time") == 1
    machine.time.advance(seconds=1)
    assert machine.clock.estimate() == machine.time.now
    assert machine.store.count("time") == 1
    assert (machine.difference, machine.store.count("time")) == (timedelta(), 2)


def set_clock(machine: Machine) -> None:
    """Set the clock of the machine."""
    machine.ahead = timedelta(days=-3)


def suspend(machine: Machine) -> None:
    """Let the machine sleep, in which its monotonic clock stands still."""
    machine.stood_still += timedelta(days=20)
    machine.time.advance(days=20)


@pytest.mark.parametrize("jump", [set_clock, suspend])
def test_a_jump_is_noticed(machine: Machine, jump: Callable[[Machine], None]) -> None:
    """After the clock of a machine was set, or it has slept, the store is asked at once."""
    assert machine.difference == timedelta()
    jump(machine)
    assert (machine.difference, machine.store.count("time")) == (timedelta(), 2)


def test_a_right_clock_counts_itself(machine: Machine) -> None:
    """While both clocks agree, times have the microseconds of the machine's."""
    machine.ahead = timedelta(seconds=5, microseconds=7)
    assert machine.clock.now() == machine.time.now + machine.ahead
    assert machine.clock.require_agreement() == machine.time.now


def test_a_store_that_cannot_be_written(machine: Machine) -> None:
    """Without the store's time nothing is decided, and what is shown goes by the machine's."""
    machine.store.follow(Fault(FaultKind.NOT_DONE, "time", times=ALWAYS))
    with pytest.raises(Unavailable):
        machine.clock.now()
    for _ in range(3):
        assert machine.clock.estimate() == machine.time.now + machine.ahead
    assert machine.store.count("time") == 2
    read_only = StoreClock(ReadOnlyStore(machine.store), machine.clock.runtime)
    assert read_only.estimate() == machine.time.now + machine.ahead
    assert machine.store.count("time") == 2
    machine.store.follow()
    machine.time.advance(seconds=MEASURED_SECONDS + 1)
    assert machine.clock.estimate() == machine.time.now
