"""Trial writes: whether a store takes what an index does with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import Clock, fake_runtime
from tests.operations.in_memory_index import IndexHarness
from tests.waiting import TIMEOUT_SECONDS, threads_in, until
from wheelyard.catalog.format import ensure_format, rewrite_format
from wheelyard.catalog.keys import FORMAT, probe
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Unavailable
from wheelyard.http.server_process import store_probe
from wheelyard.operations.check_store import (
    NOT_PROBED_YET,
    Step,
    StoreProbe,
    failures_of,
    read_steps,
    recorded_reason,
    scratch_write_steps,
    write_steps,
)
from wheelyard.storage.base import Key, Stored
from wheelyard.storage.memory import MemoryStore

APART = probe("files/", "0123")


@dataclass
class Trial:
    """A probe of a store, its steps and clock, and the state of the probe during each pause."""

    steps: Sequence[Step]
    probe: StoreProbe
    clock: Clock
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock.during_pause = self._record

    def _record(self) -> None:
        self.states.append(self.probe.reason)
        self.clock.during_pause = self._record


def trial_of(store: FakeStore, note: Path | None = None) -> Trial:
    """Return a trial of a store that has a format, and of a place apart."""
    ensure_format(store.inner)
    clock = Clock()
    runtime = replace(fake_runtime(Clock(), 1), pause=clock.pause)
    steps = (
        lambda: rewrite_format(store, ConflictRetries(runtime=runtime)),
        *scratch_write_steps(store, APART),
    )
    return Trial(steps, StoreProbe(steps, runtime, note), clock)


def empty() -> MemoryStore:
    """Return a store that holds nothing."""
    return MemoryStore(lambda: 0.0)


def test_a_server_that_starts_waits_for_the_first_write() -> None:
    """A server that starts waits until its store was written, so that it is ready at once."""

    def write_slowly() -> None:
        until(lambda: threads_in(StoreProbe.wait.__code__) == 1)

    probe = StoreProbe((write_slowly,), fake_runtime(Clock(), 1))
    probe.start()

    probe.wait(TIMEOUT_SECONDS)

    assert probe.reason == ""


def test_one_write_to_each_place() -> None:
    """A store that takes a write is asked for one in each of its places, and is as it was."""
    store = FakeStore(empty())
    trial = trial_of(store)
    before = store.inner.get(FORMAT)
    assert trial.probe.reason

    trial.probe.run()

    trial.probe.wait(0)
    assert (trial.probe.reason, trial.clock.pauses) == ("", [])
    written = [call for call in store.calls if call[0] != "get"]
    assert written == [("put", FORMAT), ("put", APART), ("delete", APART)]
    after = store.inner.get(FORMAT)
    assert isinstance(before, Stored)
    assert isinstance(after, Stored)
    assert (after.body, [each.key for each in store.inner.list("")]) == (before.body, [FORMAT])


def test_a_probe_runs_beside_the_server() -> None:
    """A server that starts its probe goes on, and may wait for the first result."""
    trial = trial_of(FakeStore(empty()))

    trial.probe.start()

    trial.probe.wait(TIMEOUT_SECONDS)
    assert trial.probe.reason == ""


@pytest.mark.parametrize(
    ("verb", "key"), [("get", FORMAT), ("put", FORMAT), ("put", APART), ("delete", APART)]
)
def test_a_store_that_takes_none(verb: str, key: Key, tmp_path: Path) -> None:
    """Until a write has succeeded it is tried again, after pauses that grow and are jittered."""
    store = FakeStore(empty(), Fault(FaultKind.NOT_DONE, verb, key, times=12))
    note = tmp_path / "written"
    trial = trial_of(store, note)
    assert recorded_reason(note) == trial.probe.reason

    trial.probe.run()

    assert (trial.probe.reason, recorded_reason(note)) == ("", "")
    assert len(trial.states) == 12
    assert all(trial.states)
    assert (
        trial.clock.pauses[0]
        <= 1
        < trial.clock.pauses[3]
        < trial.clock.pauses[5]
        < max(trial.clock.pauses)
        <= 60
    )
    assert len(set(trial.clock.pauses)) == 12


def test_servers_that_start_together() -> None:
    """A server whose trial loses a race against another one's has not failed."""
    store = FakeStore(empty(), Fault(FaultKind.LOST_RACE, "put", FORMAT, times=3))
    trial = trial_of(store)

    trial.probe.run()

    assert (trial.probe.reason, trial.states) == ("", [NOT_PROBED_YET] * 3)


def test_what_a_newer_version_demands_stays() -> None:
    """The trial keeps what a newer version, perhaps in another form, has demanded since."""
    store = FakeStore(empty())
    trial = trial_of(store)
    newer = b'{"format":3,"reader":"what comes after numbers","writer":"7.5"}\n'
    store.inner.put(FORMAT, newer, None)

    trial.probe.run()

    stored = store.inner.get(FORMAT)
    assert isinstance(stored, Stored)
    assert (trial.probe.reason, stored.body) == ("", newer)


def test_a_lost_format_is_not_written_anew() -> None:
    """The trial of a store that has lost its `wheelyard.json` says so, and writes nothing."""
    store = FakeStore(empty())
    trial = trial_of(store)
    store.inner.delete(FORMAT)

    (fault,) = failures_of(trial.steps)

    assert (fault.code, fault.message) == (
        "not_found",
        "There is no wheelyard.json in this store.",
    )
    assert list(store.list("")) == []


def test_a_store_with_a_format_is_tried_with_that_alone() -> None:
    """The trial of a store rewrites its format if it has one, else writes an object apart."""
    store, retries = FakeStore(empty()), ConflictRetries(runtime=fake_runtime(Clock(), 1))
    written = list[list[tuple[str, str]]]()
    for _ in range(2):
        store.calls.clear()
        assert list(failures_of(write_steps(store, APART, retries))) == []
        written.append([call for call in store.calls if call[0] != "get"])
        ensure_format(store)

    assert written == [[("put", APART), ("delete", APART)], [("put", FORMAT)]]


@pytest.mark.parametrize("has_format", [True, False])
@pytest.mark.parametrize(
    ("code", "reports"), [("storage_denied", 3), ("storage_unavailable", 1), ("bucket_missing", 1)]
)
def test_every_refusal_is_told(code: str, reports: int, *, has_format: bool) -> None:
    """A right that is missing does not hide another one; whatever else is wrong ends the trial."""

    def refused() -> None:
        raise Unavailable("No.", code=code)

    store, retries = empty(), ConflictRetries(runtime=fake_runtime(Clock(), 1))
    if has_format:
        ensure_format(store)
    writes = write_steps(store, APART, retries)
    steps = (refused, *read_steps(store, APART), refused, *writes, refused)

    failures = list(failures_of(steps))

    assert [fault.code for fault in failures] == [code] * reports
    assert [each.key for each in store.list("")] == [FORMAT] * has_format


@pytest.mark.parametrize(("result", "writes"), [(None, True), (NOT_PROBED_YET, True), ("", False)])
def test_a_server_that_has_written_is_not_tried_again(
    tmp_path: Path, result: str | None, *, writes: bool
) -> None:
    """A worker that leads later tries the store again only if no earlier trial has succeeded."""
    note = None
    if result is not None:
        note = tmp_path / "written"
        note.write_text(result)
    harness = IndexHarness(tmp_path)
    ensure_format(harness.store)
    store = FakeStore(harness.store)

    probe = store_probe(harness.opened(2, store), note)
    probe.run()

    assert probe.reason == ""
    assert (("put", FORMAT) in store.calls) is writes
