"""Serials of changes: what they cost, what was lost and is found, and what is left behind."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.catalog.invariants import DEMO, changes_in
from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import Clock, fake_runtime
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.catalog import changes as module
from wheelyard.catalog import keys
from wheelyard.catalog.changes import NO_CHANGES, NO_SERIAL, ChangeLog, Changes, ProjectChange
from wheelyard.catalog.document_cache import CachePolicy, Codec
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.opening import Catalog, open_catalog
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.project import Event, Project, Status
from wheelyard.storage.base import ABSENT, Key, Store, Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore

OTHER = NormalizedName("other")
CLOCK = 189_388_800
"""The serial of the moment at which the clocks of tests stand."""


class Process:
    """A process that commits and follows, with a catalog of its own over a shared store."""

    def __init__(self, store: Store, seed: int, clock: Clock | None = None) -> None:
        self.store = FakeStore(store)
        self.clock = clock or Clock()
        self.runtime = fake_runtime(self.clock, seed)
        policy = CachePolicy(is_local=True, freshness=0, capacity=1 << 20)
        self.catalog: Catalog = open_catalog(Stores.of(self.store), self.runtime, policy)
        self.store.calls.clear()

    @property
    def changes(self) -> Changes:
        """Its changes."""
        return self.catalog.changes

    def commit(self, name: NormalizedName) -> int:
        """Make a commit to a project; return its number."""
        event = Event.status_set(Status.ACTIVE, at=self.clock.now, by="local:alice")

        def intent(_: Project) -> tuple[Event, ...]:
            return (event,)

        return self.catalog.projects.commits.submit(project_journal(name), intent).after.revision


@pytest.fixture
def store() -> MemoryStore:
    """The store of all processes."""
    return MemoryStore(Clock().seconds)


@pytest.fixture
def process(store: MemoryStore) -> Process:
    """One process."""
    return Process(store, 1)


def marks_in(store: Store) -> list[str]:
    """Return the keys of all marks."""
    return [entry.key for entry in store.list(keys.PENDING)]


def test_a_commit_costs_one_more_write(process: Process) -> None:
    """A commit costs one write more, of an object that nobody else writes, before its document."""
    process.commit(DEMO)
    process.commit(DEMO)

    writes = [key for verb, key in process.store.calls if verb == "put"]
    marks = [key for key in writes if key.startswith(keys.PENDING)]
    assert len(writes) == 6
    assert writes.index(marks[1]) < len(writes) - 2
    assert len(set(marks)) == 2
    assert keys.CHANGES not in writes


def test_following_nothing_new_costs_a_listing_and_a_read(process: Process) -> None:
    """Following several changes costs one write; following none, one listing and one read."""
    process.commit(DEMO)
    process.commit(OTHER)
    process.commit(OTHER)
    process.store.calls.clear()

    _, newest = process.changes.since(0)

    verbs = [verb for verb, key in process.store.calls if not key.startswith(keys.PENDING)]
    assert verbs.count("put") == 1
    assert marks_in(process.store) == []
    process.store.calls.clear()
    assert process.changes.since(newest) == ([], newest)
    assert process.store.calls == [("list", keys.PENDING), ("get", keys.CHANGES)]


def test_serials_are_one_order_of_all_projects(process: Process) -> None:
    """Serials rise over all projects; several commits of one project may share one."""
    process.commit(DEMO)
    process.commit(OTHER)
    first, newest = process.changes.since(0)
    assert first == [ProjectChange(CLOCK, DEMO, 1), ProjectChange(CLOCK + 1, OTHER, 1)]

    process.commit(DEMO)
    process.commit(DEMO)
    assert process.changes.since(newest) == ([ProjectChange(CLOCK + 2, DEMO, 3)], CLOCK + 2)


def test_all_changes_since_a_time_are_found(process: Process) -> None:
    """All changes since a time are found, also if their serials were given later."""
    process.commit(DEMO)
    process.changes.since(0)
    process.clock.advance(hours=1)
    moment = process.clock.now
    process.commit(OTHER)
    process.clock.advance(hours=1)

    changes, newest = process.changes.made_since(moment)

    assert [change.project for change in changes] == [OTHER]
    assert process.changes.since(newest) == ([], newest)
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    assert len(process.changes.made_since(beginning)[0]) == 2


def test_asking_an_empty_store_writes_nothing(process: Process) -> None:
    """A store without any commit has no changes, and asking writes nothing."""
    assert process.changes.since(0) == ([], 0)
    assert {verb for verb, _ in process.store.calls} == {"list", "get"}


PROJECTS = st.sampled_from([NormalizedName(f"p{number}") for number in range(4)])
STEP = st.tuples(st.sampled_from(["commit", "follow", "die"]), st.integers(0, 2), PROJECTS)


@given(st.lists(STEP, max_size=40), st.integers(1, 3), st.integers(1, 3))
def test_followers_miss_nothing(
    steps: list[tuple[str, int, NormalizedName]], most: int, batch: int
) -> None:
    """Followers of several processes see each project's last commit, however entries are sealed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MOST_ENTRIES", most)
        patched.setattr(module, "SEALED_ENTRIES", most)
        patched.setattr(module, "BATCH", batch)
        store, revisions = MemoryStore(Clock().seconds), dict[NormalizedName, int]()
        processes = [Process(store, seed) for seed in range(3)]
        received = [list[ProjectChange]() for _ in processes]
        for what, number, name in steps:
            process = processes[number]
            if what == "commit":
                revisions[name] = process.commit(name)
                continue
            if what == "die":  # after the serials are written
                process = Process(store, number)
                process.store.follow(Fault(FaultKind.CRASH, "delete"))
            cursor = received[number][-1].serial if received[number] else 0
            try:
                entries, newest = process.changes.since(cursor)
            except ProcessCrash:
                continue
            received[number] += entries
            assert newest == (received[number][-1].serial if received[number] else 0)
            assert {change.project: change.revision for change in received[number]} == revisions
        for followed in received:
            assert followed == list(changes_in(store))[: len(followed)]


def test_a_damaged_document_holds_up_no_other(process: Process, store: MemoryStore) -> None:
    """A damaged document holds up no other project; its change comes until it is sound again."""
    process.commit(DEMO)
    process.commit(OTHER)
    key = keys.project(DEMO)
    (entry,) = (each for each in store.list(key))
    sound = b"".join(store.read(entry.key))
    store.put(key, b"{", None)

    entries, newest = process.changes.since(0)
    assert [(entry.project, entry.revision) for entry in entries] == [(OTHER, 1), (DEMO, 0)]
    assert process.changes.since(newest)[0] == [ProjectChange(NO_SERIAL, DEMO, 0)]

    store.put(key, sound, None)
    assert [change.project for change in process.changes.since(newest)[0]] == [DEMO]


def test_reader_gives_no_serials_and_sees_all_changes(process: Process, store: MemoryStore) -> None:
    """Who may only read gives no serials, and sees changes without one each time."""
    process.commit(DEMO)
    entries, newest = process.changes.since(0)
    process.commit(OTHER)
    reader = Process(ReadOnlyStore(store), 2)

    assert reader.changes.since(0) == ([*entries, ProjectChange(NO_SERIAL, OTHER, 1)], newest)
    assert reader.changes.since(newest) == ([ProjectChange(NO_SERIAL, OTHER, 1)], newest)
    assert len(marks_in(store)) == 1
    later = process.changes.since(newest)
    assert reader.changes.since(newest) == later
    assert later == ([ProjectChange(CLOCK + 1, OTHER, 1)], CLOCK + 1)


def test_others_write_again_and_again(process: Process, store: MemoryStore) -> None:
    """Who always loses the race for the list sees its changes without a serial."""
    other = Process(store, 2)

    def write_first() -> None:
        other.commit(OTHER)
        empty = replace(NO_CHANGES, write_id=str(next(numbers)))
        store.put(keys.CHANGES, Codec(ChangeLog).encode(empty), None)

    numbers = count()
    process.commit(DEMO)
    overtaken = Before(write_first, "put", keys.CHANGES, times=ALWAYS)
    follower = Process(FakeStore(store, overtaken), 3)

    assert follower.changes.since(0)[0] == [ProjectChange(NO_SERIAL, DEMO, 1)]
    assert [change.project for change in process.changes.since(0)[0]] == [DEMO, OTHER]


def test_changes_from_far_behind(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of many changes are read without the rest of the list."""
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    monkeypatch.setattr(module, "SEALED_ENTRIES", 2)
    for _ in range(20):
        process.commit(DEMO)
        process.changes.newest()
    everything, newest = process.changes.since(0)
    received, cursor = list[ProjectChange](), 0
    while cursor < newest:
        process.store.calls.clear()
        part, last = process.changes.since(cursor, 3)
        reads = [key for verb, key in process.store.calls if verb == "get"]
        received, cursor = [*received, *part], part[-1].serial
        assert (len(part) <= 3, last) == (True, newest)
        assert len(reads) <= 1 + 3

    assert received == everything
    assert [change.revision for change in received] == [*range(1, 21)]


def test_a_serial_that_was_never_given(process: Process) -> None:
    """Whoever asks for changes after an unknown serial is told to begin again."""
    process.commit(DEMO)
    with pytest.raises(NotFound, match="begin again with 0") as caught:
        process.changes.since(7)
    assert caught.value.code == "unknown_serial"


def test_a_store_that_was_restored(process: Process, store: MemoryStore) -> None:
    """After a restore, no serial of before the restore is given to another change."""
    process.commit(DEMO)
    process.changes.since(0)
    backup = {entry.key: b"".join(store.read(entry.key)) for entry in store.list("")}
    process.clock.advance(seconds=60)
    process.commit(OTHER)
    _, last_serial = process.changes.since(0)

    restored = MemoryStore(process.clock.seconds)
    for key, body in backup.items():
        restored.put(Key(key), body, ABSENT)
    process.clock.advance(seconds=60)
    later = Process(restored, 3, process.clock)
    later.commit(NormalizedName("third"))

    assert later.changes.since(0)[1] > last_serial
    with pytest.raises(NotFound):
        later.changes.since(last_serial)


def lose_log(store: Store) -> None:
    """Lose the newest changes."""
    store.delete(keys.CHANGES)


def damage_log(store: Store) -> None:
    """Damage the newest changes."""
    store.put(keys.CHANGES, b"{", None)


def lose_sealed(store: Store) -> None:
    """Lose sealed changes."""
    store.delete(next(store.list(keys.SEALED_CHANGES)).key)


def test_a_webhook_begins_no_lost_feed_anew(process: Process, store: MemoryStore) -> None:
    """Telling all servers to look at the webhooks makes no new list of changes for a lost one."""
    process.commit(DEMO)
    process.changes.since(0)
    lose_log(store)

    with pytest.raises(Unavailable) as caught:
        Process(store, 2).changes.touch()

    assert caught.value.code == "damaged_document"
    assert store.get(keys.CHANGES) is None


def test_a_feed_that_is_damaged_while_serials_are_given(
    process: Process, store: MemoryStore
) -> None:
    """Who gives serials while the feed is damaged, and the store fails, is told of the damage."""
    process.commit(DEMO)
    process.store.follow(
        Before(lambda: damage_log(store), "put", keys.CHANGES),
        Fault(FaultKind.NOT_DONE, "put", keys.CHANGES),
    )

    with refused(Unavailable, "damaged_document"):
        process.changes.since(0)

    assert len(marks_in(store)) == 1


def test_who_cannot_tell_all_servers_of_webhooks_learns_it(process: Process) -> None:
    """If others change the feed at each attempt to tell all servers of webhooks, that is said."""
    process.store.follow(Fault(FaultKind.LOST_RACE, "put", keys.CHANGES, times=ALWAYS))

    with refused(Unavailable, "overloaded"):
        process.changes.touch()


@pytest.mark.parametrize("number", [0, 1], ids=["oldest", "last"])
def test_no_lost_part_of_the_feed_is_passed_over(
    process: Process, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whoever asks for changes of which some are lost is told so, and gets none of the others."""
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    monkeypatch.setattr(module, "SEALED_ENTRIES", 2)
    for _ in range(6):
        process.commit(DEMO)
        process.changes.newest()
    sealed = [entry.key for entry in store.list(keys.SEALED_CHANGES)]
    store.delete(sealed[number])

    for ask in (lambda: process.changes.since(0), lambda: [*process.changes.newest_first()]):
        with pytest.raises(Unavailable, match=f"{sealed[number]} is lost"):
            ask()


@pytest.mark.parametrize("harm", [lose_log, damage_log, lose_sealed])
def test_a_lost_feed_is_made_again_with_higher_serials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Store], None]
) -> None:
    """A lost or damaged list is reported, and made again with higher serials on request."""
    monkeypatch.setattr(module, "MOST_ENTRIES", 1)
    monkeypatch.setattr(module, "SEALED_ENTRIES", 1)
    harness, last_serial = IndexHarness(tmp_path), 0
    for name in ("demo", "other"):
        harness.upload(make_wheel(name))
        _, last_serial = harness.index.changes.since(0)
    harness.upload(make_wheel("third"))
    harm(harness.store)

    with pytest.raises(Unavailable) as caught:
        harness.opened(3).changes.since(0)
    assert caught.value.code == "damaged_document"
    assert any("With --rebuild" in problem for problem in harness.check().problems)

    findings = harness.check(rebuild=True)

    assert findings.problems == []
    entries, _ = harness.opened(4).changes.since(0)
    assert [entry.project for entry in entries] == ["demo", "other", "third"]
    assert entries[0].serial > last_serial
    with pytest.raises(NotFound):
        harness.opened(5).changes.since(last_serial)
    assert harness.check().repaired == []


def test_a_check_finds_a_commit_without_mark(tmp_path: Path) -> None:
    """A check marks the last commit of a project again if it has neither mark nor serial."""
    harness = IndexHarness(tmp_path)
    harness.upload(make_wheel())
    harness.index.changes.since(0)
    harness.upload(make_wheel(version="2.0"))
    for key in marks_in(harness.store):
        harness.store.delete(Key(key))

    assert harness.check().repaired == ["demo: its last change will be in the list of changes"]
    assert harness.check().repaired == []
    assert [change.revision for change in harness.index.changes.since(0)[0]] == [1, 2]


def test_a_check_finds_foreign_objects(tmp_path: Path) -> None:
    """A check notes what is no mark and no list of changes, and following passes it over."""
    harness = IndexHarness(tmp_path)
    for key in ("pending/demo", "changes/notes.txt"):
        harness.store.put(Key(key), b"", ABSENT)

    assert len(harness.check().notes) == 2
    assert harness.index.changes.since(0) == ([], 0)


def test_a_mark_without_a_commit_is_deleted_after_a_day(process: Process) -> None:
    """A mark without a commit is deleted after a day; that of a commit gives it a serial."""
    store = MemoryStore(process.clock.seconds)
    writer = Process(store, 2, process.clock)
    writer.store.follow(Fault(FaultKind.CRASH, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        writer.commit(DEMO)
    sweeping = Process(store, 3, process.clock)
    sweeping.commit(OTHER)

    process.clock.advance(hours=24)
    assert sweeping.changes.remove_stale(process.clock.seconds()) == 0
    assert len(marks_in(store)) == 1
    process.clock.advance(seconds=1)
    assert sweeping.changes.remove_stale(process.clock.seconds()) == 1
    assert marks_in(store) == []
    assert [change.project for change in sweeping.changes.since(0)[0]] == [OTHER]


def test_writer_that_stood_still_gives_up_its_commit(process: Process, store: MemoryStore) -> None:
    """A writer that stands still for half a day after its mark gives its commit up."""
    half_a_day = Before(lambda: process.clock.advance(hours=12, seconds=1), "*", f"{keys.PENDING}*")
    writer = Process(FakeStore(store, half_a_day), 2, process.clock)

    with pytest.raises(Unavailable, match="stood still"):
        writer.commit(DEMO)
    assert writer.commit(DEMO) == 1
