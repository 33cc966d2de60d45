"""The search index of a process: begun, refreshed, stored, and shared with other processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.fake_time import Clock, fake_runtime
from tests.http.servers import memory_index
from tests.operations.in_memory_index import ALICE, objects
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.search import search_index
from wheelyard.operations.search.project_table import FactsReader
from wheelyard.operations.search.search_index import (
    LOCAL_SECONDS,
    READ_ALL_SECONDS,
    REMOTE_SECONDS,
    SAVE_SECONDS,
)
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.base import ABSENT, Key, Store, Stored, Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

Work = Callable[[], None]


@dataclass
class Process:
    """An index as one process has it; its background work waits until a test runs it."""

    index: Index
    store: FakeStore
    folder: Path
    waiting: list[Work] = field(default_factory=list)

    def publish(self, name: str, version: str = "1.0", *lines: str) -> None:
        """Upload a wheel."""
        made = make_wheel(name, version, *lines)
        arrival = made.arrival(self.folder)
        self.index.uploads.accept(arrival, ALICE)

    def work(self) -> None:
        """Do what waits in the background."""
        while self.waiting:
            self.waiting.pop(0)()

    def known(self) -> dict[str, str]:
        """Return the latest versions of all projects, by name, as they are known at once."""
        return {project.name: project.version for project in self.index.search.table().projects}

    def refreshed(self) -> dict[str, str]:
        """Return the same after the work in the background."""
        self.known()
        self.work()
        return self.known()


@dataclass
class Machine:
    """Several processes over one store, with one clock."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    waits: bool = True
    """Whether the work in the background waits until a test runs it; else callers wait for it."""
    seeds: Iterator[int] = field(default_factory=count)
    store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)

    def process(self, settings: Settings | None = None, *, is_local: bool = True) -> Process:
        """Start a process."""
        spool, settings = Spool(self.folder), settings or Settings()
        store = ReadOnlyStore(self.store) if settings.server.read_only else self.store
        watched, runtime = FakeStore(store), fake_runtime(self.clock, next(self.seeds))
        traits = StoreTraits(is_local=is_local)
        index = build_index(Stores.of(watched), spool, settings, runtime, traits)
        process = Process(index, watched, self.folder)
        index.search.start = process.waiting.append if self.waits else lambda work: work()
        return process

    def knowing(self, name: str) -> Process:
        """Return a process that has published a project, and knows it."""
        process = self.process()
        process.publish(name)
        process.refreshed()
        return process

    def stored(self) -> bytes | None:
        """Return the stored table."""
        stored_object = self.store.get(keys.SEARCH)
        return stored_object.body if isinstance(stored_object, Stored) else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Processes that do not wait for a refresh, as if it took long."""
    monkeypatch.setattr(search_index, "WAIT_SECONDS", 0)
    return Machine(tmp_path)


def test_names_are_known_before_the_rest(machine: Machine) -> None:
    """A process without a stored table knows all names at once, and the rest after a refresh."""
    machine.process().publish("a-b", "1.0", "Summary: First", "Requires-Dist: C")
    process = machine.process()

    assert process.known() == {"a-b": ""}
    assert process.refreshed() == {"a-b": "1.0"}
    (facts,) = process.index.search.table().projects
    assert (facts.summary, facts.required_names) == ("First", ("c",))


def test_a_stored_table_comes_first(machine: Machine) -> None:
    """Another process answers from the stored table, without reading a document."""
    machine.process().publish("a")
    machine.process().refreshed()
    process = machine.process()
    process.store.calls.clear()

    assert process.known() == {"a": "1.0"}
    assert process.store.count("get", "projects/*") == process.store.count("list") == 0
    assert process.refreshed() == {"a": "1.0"}
    assert process.store.count("get", "projects/*") == 0
    assert process.store.count("list") == 1


def test_a_server_reads_the_table_ahead(machine: Machine) -> None:
    """What a server has read in the background at its start is not read for the first page."""
    machine.knowing("a")
    process = machine.process()
    process.index.search.read_ahead()
    process.work()
    process.store.calls.clear()

    assert process.known() == {"a": "1.0"}
    assert process.store.calls == []


def test_a_server_reads_the_table_at_its_start(machine: Machine) -> None:
    """The start of a server reads the table in the background, before a page needs it."""
    machine.knowing("a")
    runtime = fake_runtime(machine.clock, next(machine.seeds))
    started = memory_index(machine.folder, runtime=runtime, store=machine.store)

    assert [project.name for project in started.search.in_memory.projects] == ["a"]


def test_a_table_that_cannot_be_read_ahead_is_read_later(machine: Machine) -> None:
    """If the store does not answer at the start, the first page reads the table."""
    machine.knowing("a")
    process = machine.process()
    process.store.follow(Fault(FaultKind.NOT_DONE, "get", times=ALWAYS))
    process.index.search.read_ahead()
    process.work()
    process.store.follow()

    assert process.known() == {"a": "1.0"}


def put_projects(process: Process, number: int) -> None:
    """Put so many projects without files into a store, as commits do."""
    names = [parse_name(f"p{each}") for each in range(number)]
    for name in names:
        body = ProjectCodec().encode(Project(name=name, revision=1))
        process.store.inner.put(keys.project(name), body, ABSENT)
        process.index.changes.mark({name: 1})
    process.index.projects.names.claim(*names)


@pytest.mark.slow
@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
@pytest.mark.parametrize("number", [3, 3_000])
def test_idle_refresh_costs_two_calls(machine: Machine, number: int, *, is_local: bool) -> None:
    """However many projects there are, an idle refresh costs a listing and a conditional read."""
    put_projects(machine.process(), number)
    process = machine.process(is_local=is_local)
    assert len(process.refreshed()) == number
    machine.clock.advance(seconds=REMOTE_SECONDS)
    assert process.index.search.peek() is None
    process.known()
    process.store.calls.clear()

    process.work()

    assert process.store.calls == [("list", "pending/"), ("get", "changes.json")]


def test_only_what_has_changed_is_read(machine: Machine) -> None:
    """A refresh reads the documents that have changed, and the core metadata of those alone."""
    first = machine.process()
    for number in range(5):
        first.publish(f"p{number}")
    machine.process().refreshed()
    first.publish("p3", "2.0")
    process = machine.process()
    process.known()
    process.store.calls.clear()

    assert process.refreshed()["p3"] == "2.0"
    assert process.store.count("get", "projects/*") == 2  # the first one for its serial
    assert process.store.count("get", "files/*") == 1


@pytest.mark.parametrize("body", [b"", b"damaged", None])
def test_a_lost_table_is_made_again(machine: Machine, body: bytes | None) -> None:
    """A stored table that is damaged or was deleted is made again."""
    machine.process().publish("a")
    machine.process().refreshed()
    made = machine.stored()
    if body is None:
        machine.store.delete(keys.SEARCH)
    else:
        machine.store.put(keys.SEARCH, body, None)

    assert machine.process().refreshed() == {"a": "1.0"}
    assert machine.stored() == made


def test_own_commits_are_seen_at_once(machine: Machine) -> None:
    """What a process has committed is in its next answer, before any refresh."""
    process = machine.knowing("a")

    process.publish("a", "2.0")
    process.publish("b")
    assert process.index.search.peek() is None
    assert process.known() == {"a": "2.0", "b": "1.0"}
    life = process.index.lifecycle
    life.change("yank", ALICE, parse_name("a"), Selection(parse_version("2.0")), "")
    life.change("delete", ALICE, parse_name("b"), Selection(parse_version("1.0")), "")
    assert process.known() == {"a": "1.0", "b": ""}
    assert process.index.search.peek() is not None


def test_own_commits_are_not_read_from_a_bucket(machine: Machine) -> None:
    """An answer after a commit of the same process reads no document from a remote store."""
    process = machine.process(is_local=False)
    process.publish("a")
    process.refreshed()
    process.publish("a", "2.0")
    process.store.calls.clear()

    assert process.known() == {"a": "2.0"}
    assert process.store.count("get", "projects/*") == 0


def test_many_commits_are_listed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After very many commits, one listing finds what has changed."""
    monkeypatch.setattr(search_index, "MAX_COMMITS_AT_ONCE", 2)
    process = machine.knowing("a")
    for name in "bcd":
        process.publish(name)

    assert process.known() == {"a": "1.0"}
    assert process.refreshed() == dict.fromkeys("abcd", "1.0")


@contextmanager
def after_reading(act: Work) -> Iterator[None]:
    """Act once between the next reading of documents and the use of what was read."""
    with pytest.MonkeyPatch.context() as patch:
        kind, read = FactsReader, FactsReader.read

        def slow(reader: FactsReader, *names: Any, **how: Any) -> Any:  # noqa: ANN401 - passed on
            facts = read(reader, *names, **how)
            patch.setattr(kind, "read", read)
            act()
            return facts

        patch.setattr(kind, "read", slow)
        yield


def test_a_refresh_takes_no_commit_back(machine: Machine) -> None:
    """A refresh that read a document before a commit does not take the commit back."""
    process = machine.knowing("a")
    machine.process().publish("a", "2.0")
    machine.clock.advance(seconds=60)
    seen = list[dict[str, str]]()

    def commit() -> None:
        process.publish("a", "3.0")
        process.publish("new")
        seen.append(process.known())

    process.known()
    with after_reading(commit):
        process.work()

    assert seen == [{"a": "3.0", "new": "1.0"}]
    assert process.known() == {"a": "3.0", "new": "1.0"}


def test_a_commit_during_an_answer_is_in_the_next_one(machine: Machine) -> None:
    """A commit that comes while the one before it is read is in the answer after that."""
    process = machine.knowing("a")
    process.publish("a", "2.0")

    with after_reading(lambda: process.publish("a", "3.0")):
        assert process.known() == {"a": "2.0"}
    assert process.index.search.peek() is None
    assert process.known() == {"a": "3.0"}


@pytest.mark.parametrize(
    ("is_local", "seconds"),
    [(True, LOCAL_SECONDS), (False, REMOTE_SECONDS)],
    ids=["folder", "bucket"],
)
def test_others_are_found_later(machine: Machine, seconds: float, *, is_local: bool) -> None:
    """Commits of others are known after a second, from a bucket after a minute; else no request."""
    process, other = machine.process(is_local=is_local), machine.process()
    other.publish("a")
    process.refreshed()
    other.publish("a", "2.0")
    machine.clock.advance(seconds=seconds * 0.9)
    process.store.calls.clear()
    assert process.refreshed() == {"a": "1.0"}
    assert process.store.count("list") == process.store.count("get", "projects/*") == 0
    assert is_local or process.store.calls == []

    machine.clock.advance(seconds=seconds * 0.1)
    assert process.known() == {"a": "1.0"}
    assert process.refreshed() == {"a": "2.0"}


def test_one_refresh_at_a_time(machine: Machine) -> None:
    """While a refresh runs, callers get what was known before, and start no other."""
    machine.process().publish("a")
    process = machine.process()

    assert process.known() == process.known() == {"a": ""}
    assert len(process.waiting) == 1
    assert process.index.search.peek() is not None


def test_a_refresh_is_waited_for(machine: Machine) -> None:
    """A caller gets the table of a refresh that takes no longer than a second."""
    machine.process().publish("a")
    process = machine.process()
    process.index.search.start = lambda work: work()

    assert process.known() == {"a": "1.0"}


def test_the_last_table_is_served_during_an_outage(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store does not answer, the last table is served; a later refresh goes on."""
    process = machine.knowing("a")
    machine.process().publish("b")
    machine.clock.advance(seconds=60)
    process.store.follow(Fault(FaultKind.NOT_DONE, "get|list", times=ALWAYS))
    assert process.refreshed() == {"a": "1.0"}

    process.store.follow()
    machine.clock.advance(seconds=60)
    assert process.refreshed() == {"a": "1.0", "b": "1.0"}
    assert "reads all projects" not in caplog.text  # the feed of changes is not damaged


def test_an_outage_without_a_table_is_an_error(machine: Machine) -> None:
    """Without any table, a caller is told that the store does not answer."""
    process = machine.process()
    process.store.follow(Fault(FaultKind.NOT_DONE, "get", times=ALWAYS))

    with pytest.raises(Unavailable):
        process.known()


def test_a_read_only_table_is_kept_in_memory(machine: Machine) -> None:
    """Where nothing may be written, the table is kept in memory, and seldom tried to be stored."""
    machine.process().publish("a")
    denied, configured = (
        machine.process(),
        machine.process(Settings(server=ServerSettings(read_only=True))),
    )
    denied.store.follow(Fault(FaultKind.NOT_DONE, "put|delete", times=ALWAYS))
    for _ in range(3):
        assert denied.refreshed() == configured.refreshed() == {"a": "1.0"}
        machine.clock.advance(seconds=SAVE_SECONDS)

    assert machine.stored() is None
    assert denied.store.count("put", "derived/*") == 1
    assert configured.store.count("put", "derived/*") == 0


def test_a_reader_finds_changes_without_serials(machine: Machine) -> None:
    """Who may only read finds all changes, before somebody has given them serials and after."""
    writer = machine.process()
    writer.publish("a")
    reader = machine.process(Settings(server=ServerSettings(read_only=True)), is_local=False)
    assert reader.refreshed() == {"a": "1.0"}
    for version in ("2.0", "3.0", "4.0"):
        writer.publish("a", version)
        writer.publish(f"b{version[0]}")
        machine.clock.advance(seconds=REMOTE_SECONDS)
        assert reader.refreshed()["a"] == version
        if version == "3.0":
            writer.refreshed()
            machine.clock.advance(seconds=REMOTE_SECONDS)
    assert reader.known() == {"a": "4.0", "b2": "1.0", "b3": "1.0", "b4": "1.0"}
    machine.clock.advance(seconds=REMOTE_SECONDS)
    reader.known()
    reader.store.calls.clear()

    reader.work()

    assert reader.store.count("get", "projects/*") == 2  # those of the last two without a serial
    assert reader.store.count("get", "files/*") == 0


def test_the_table_is_stored_once_a_minute_at_most(machine: Machine) -> None:
    """The table is stored once a minute at most, and only if something has changed."""
    process, other = machine.process(), machine.process()
    for number in range(10):
        other.publish(f"p{number}")
        process.refreshed()
        machine.clock.advance(seconds=10)
    machine.clock.advance(seconds=SAVE_SECONDS)
    process.refreshed()
    machine.clock.advance(seconds=SAVE_SECONDS)
    process.refreshed()

    assert process.store.count("put", "derived/*") == 3
    assert machine.process().known() == dict.fromkeys((f"p{number}" for number in range(10)), "1.0")


def test_nothing_is_stored_for_nothing(machine: Machine) -> None:
    """Looking at an empty index writes nothing."""
    process = machine.process()
    process.store.calls.clear()

    assert process.refreshed() == {}
    assert process.store.count("put*") == 0


def restore(machine: Machine, backup: dict[str, bytes]) -> None:
    """Put back what a store had."""
    for entry in list(machine.store.list("")):
        machine.store.delete(entry.key)
    for key, body in backup.items():
        machine.store.put(Key(key), body, None)


def test_a_project_that_was_lost_by_a_restore_is_forgotten(machine: Machine) -> None:
    """A project that the store no longer has is forgotten, also if the stored table has it."""
    process = machine.process()
    process.publish("a")
    process.refreshed()
    backup = dict(objects(machine.store))
    process.publish("b")
    process.publish("a", "2.0")
    machine.clock.advance(seconds=60)
    process.refreshed()
    stored = machine.stored()
    restore(machine, backup)
    machine.clock.advance(seconds=60)
    machine.process().publish("a", "3.0")  # as revision 2, once more
    assert stored is not None
    machine.store.put(keys.SEARCH, stored, None)

    assert process.refreshed() == machine.process().refreshed() == {"a": "3.0"}
    machine.clock.advance(seconds=60)
    assert machine.process().known() == {"a": "3.0"}


@pytest.mark.parametrize("is_new", [True, False])
def test_all_is_read_while_the_feed_is_damaged(
    machine: Machine, caplog: pytest.LogCaptureFixture, *, is_new: bool
) -> None:
    """While the feed is damaged, all is read every ten minutes, and the log tells why."""
    process, other = machine.knowing("a"), machine.process()
    other.publish("a", "2.0")
    machine.store.put(keys.CHANGES, b"{", None)
    process = machine.process() if is_new else process
    machine.clock.advance(seconds=LOCAL_SECONDS)
    assert process.refreshed() == {"a": "2.0"}
    assert "the search reads all projects" in caplog.text
    other.publish("a", "3.0")
    machine.clock.advance(seconds=READ_ALL_SECONDS / 2)
    assert process.refreshed() == {"a": "2.0"}
    machine.clock.advance(seconds=READ_ALL_SECONDS / 2)
    assert process.refreshed() == {"a": "3.0"}
    other.publish("a", "4.0")
    other.index.server.check.run(rebuild=True)
    machine.clock.advance(seconds=LOCAL_SECONDS)
    assert process.refreshed() == {"a": "4.0"}


@pytest.mark.parametrize(
    "harm",
    [lambda store, key: store.put(key, b"{", None), lambda store, key: store.delete(key)],
    ids=["damaged", "lost"],
)
def test_a_repaired_document_is_found_without_a_commit(
    machine: Machine, harm: Callable[[Store, Key], object]
) -> None:
    """A project is found again as soon as its document was repaired, without a commit."""
    process = machine.knowing("a")
    key = keys.project(parse_name("a"))
    sound = dict(objects(machine.store))[key]
    process.publish("a", "2.0")
    harm(machine.store, key)
    other = machine.process(is_local=False)
    machine.store.delete(keys.SEARCH)
    assert other.refreshed() == {}

    machine.store.put(key, sound, None)
    machine.clock.advance(seconds=REMOTE_SECONDS)
    assert other.refreshed() == {"a": "1.0"}


def test_a_project_is_found_when_it_is_listed(machine: Machine) -> None:
    """A project that is not listed yet when its commit is read is found when it is listed."""
    process = machine.process()
    put_projects(process, 2)
    machine.store.put(keys.PROJECT_NAMES, b'{"names":["p0"]}\n', None)
    reader = machine.process(is_local=False)
    assert reader.refreshed() == {"p0": ""}
    reader.index.projects.names.claim(parse_name("p1"))
    machine.clock.advance(seconds=REMOTE_SECONDS)

    assert reader.refreshed() == {"p0": "", "p1": ""}


def test_another_processs_commit_during_a_refresh_is_not_lost(machine: Machine) -> None:
    """A commit of another process after one of this process is not lost during a refresh."""
    process, other = machine.knowing("a"), machine.process()

    def commit() -> None:
        process.publish("a", "2.0")
        assert process.known() == {"a": "2.0"}
        other.publish("a", "3.0")

    machine.clock.advance(seconds=60)
    process.known()
    process.store.follow(Before(commit, "list", keys.PENDING))
    process.work()
    machine.clock.advance(seconds=60)

    assert process.refreshed() == {"a": "3.0"}


@pytest.mark.parametrize("is_own", [True, False])
def test_a_restored_store_makes_a_process_forget(machine: Machine, *, is_own: bool) -> None:
    """What a process knew of commits after a backup is forgotten when that is restored."""
    process, other = machine.knowing("a"), machine.process()
    backup = dict(objects(machine.store))
    (process if is_own else other).publish("a", "2.0")
    process.index.projects.get(parse_name("a"))
    assert process.known() == {"a": "2.0" if is_own else "1.0"}
    restore(machine, backup)
    machine.process().publish("a", "3.0")  # as revision 2, once more
    machine.clock.advance(seconds=60)

    assert process.refreshed() == {"a": "3.0"}


STEP = st.tuples(
    st.sampled_from(["publish", "publish", "yank", "refresh", "fail", "restart", "save"]),
    st.integers(0, 3),
    st.sampled_from("abc"),
    st.integers(0, 12),
)


@pytest.mark.slow
@given(st.lists(STEP, max_size=30))
def test_every_process_finds_the_last_commits(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str, int]]
) -> None:
    """Whoever commits, fails and begins again meanwhile, each process finds the last commits."""
    machine = Machine(tmp_path_factory.mktemp("processes"), waits=False)
    read_only = Settings(server=ServerSettings(read_only=True))

    def begin(number: int) -> Process:
        settings = read_only if number == 3 else None
        return machine.process(settings, is_local=bool(number % 2))

    processes, versions = [begin(number) for number in range(4)], dict[str, int]()
    for what, number, name, calls in steps:
        process, writer = processes[number], processes[number % 3]
        if what == "publish":
            versions[name] = versions.get(name, 0) + 1
            writer.publish(name, f"{versions[name]}.0")
        elif what == "yank" and name in versions:
            selection = Selection(parse_version(f"{versions[name]}.0"))
            with suppress(NotFound):  # of a bucket, it may have a document of some seconds ago
                writer.index.lifecycle.change(
                    "yank", ALICE, parse_name(name), selection, str(calls)
                )
        elif what == "restart":
            processes[number] = begin(number)
        elif what in {"refresh", "fail", "save"}:
            machine.clock.advance(seconds=1 if what == "fail" else REMOTE_SECONDS)
            if what == "fail":
                process.store.follow(Fault(FaultKind.NOT_DONE, nth=calls + 1, times=ALWAYS))
            with suppress(Unavailable):
                process.refreshed()
            process.store.follow()
    machine.clock.advance(seconds=REMOTE_SECONDS)
    fresh = machine.process()
    machine.store.delete(keys.SEARCH)
    truth = machine.process().refreshed()

    assert truth.keys() == versions.keys()
    for process in (*processes, fresh):
        assert process.refreshed() == truth


def test_check_leaves_it_alone(machine: Machine) -> None:
    """A check of the store finds nothing wrong with the stored table, nor with its absence."""
    process = machine.knowing("a")
    assert machine.stored() is not None

    findings = process.index.server.check.run(rebuild=False, sweep=True)
    assert (findings.problems, findings.notes, findings.swept) == ([], [], 0)
    assert machine.stored() is not None
