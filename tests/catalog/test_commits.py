"""Commits of one writer to a project's document, with other writers and lost replies."""

from contextlib import nullcontext
from typing import Final

import pytest
from msgspec.structs import replace

from tests.catalog.invariants import DEMO, commit_key, document
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START, Clock, fake_runtime
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.catalog.commits import Journal, ProjectCommits, ProjectIntent
from wheelyard.catalog.document_cache import CachePolicy, DocumentCache
from wheelyard.catalog.journaled_documents import ProjectCodec, project_journal
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.project import Event, EventKind, File, Project
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore

DOCUMENT: Final = ("get", keys.project(DEMO))


class CommittingProcess:
    """One process that commits, and what it tells of it."""

    def __init__(self, store: Store, seed: int, *, near: bool = True) -> None:
        self.store = FakeStore(store)
        self.events = list[Event]()
        self.clock = Clock()
        runtime = replace(
            fake_runtime(self.clock, seed),
            pause=lambda seconds: self.clock.advance(seconds=seconds),
        )
        cache_policy = CachePolicy(is_local=near, freshness=1e9, capacity=1 << 20)
        documents = DocumentCache(
            self.store, ProjectCodec(), runtime, cache_policy, is_permanent=True
        )
        self.commits = ProjectCommits(
            self.store,
            documents,
            ConflictRetries(runtime=runtime, max_attempts=5),
        )
        self.commits.listeners = (lambda _, event: self.events.append(event),)

    def submit(self, intent: ProjectIntent) -> Project:
        """Commit an intent to the project."""
        return self.commits.submit(project_journal(DEMO), intent).after


def uploads(version: str) -> ProjectIntent:
    """Return the wish for a release with one file, which may be there already."""
    filename = f"demo-{version}-py3-none-any.whl"
    file = File(
        filename=filename,
        version=version,
        sha256="0" * 64,
        size=1,
        uploaded_at=START,
        uploaded_by="local:alice",
    )
    event = Event.uploaded(file, at=START, by="local:alice")
    return lambda project: () if filename in project.by_filename else (event,)


def deletes_all(project: Project) -> tuple[Event, ...]:
    """Want every file gone."""
    names = tuple(project.by_filename)
    event = Event(what=EventKind.DELETED, at=START, by="local:alice", files=names)
    return (event,) if names else ()


@pytest.fixture
def store() -> MemoryStore:
    """The store that all writers share."""
    return MemoryStore(Clock().seconds)


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("wish", ["upload", "delete"])
def test_lost_reply_counts_once(store: MemoryStore, wish: str, *, near: bool) -> None:
    """A change that was made, though the store's reply was lost, succeeds and is told once."""
    CommittingProcess(store, 1).submit(uploads("1.0"))
    writer = CommittingProcess(store, 2, near=near)
    writer.store.follow(Fault(FaultKind.DONE, "put", keys.project(DEMO)))

    after = writer.submit(uploads("2.0") if wish == "upload" else deletes_all)

    assert [event.what for event in writer.events] == [f"{wish.removesuffix('e')}ed"]
    assert after == document(store)
    assert after.commit is not None
    assert (after.revision, after.commit.events) == (2, tuple(writer.events))


def test_a_writer_remembers_what_it_wrote(store: MemoryStore) -> None:
    """On a bucket, a process that commits again does not read the document a second time."""
    writer = CommittingProcess(store, 1, near=False)
    writer.submit(uploads("1.0"))
    assert writer.store.calls.count(DOCUMENT) == 1

    writer.submit(uploads("2.0"))
    writer.submit(deletes_all)

    assert writer.store.calls.count(DOCUMENT) == 1
    assert document(store).revision == 3


def test_commits_of_a_copy_are_journaled_at_once(store: MemoryStore) -> None:
    """The journal has each commit that a copy adds, before any of them has a serial."""
    source = MemoryStore(Clock().seconds)
    writer = CommittingProcess(source, 1)
    for version in ("1.0", "2.0", "3.0"):
        writer.submit(uploads(version))
    kind = project_journal(DEMO)
    journal = Journal(kind, source, document(source))
    commits = [journal.read(number) for number in (1, 2, 3)]

    CommittingProcess(store, 2).commits.add(kind, commits)

    keys_in_journal = [entry.key for entry in store.list(keys.journal(DEMO))]
    assert keys_in_journal == [commit_key(DEMO, number) for number in (1, 2, 3)]


def test_a_copy_that_always_loses_is_told(store: MemoryStore) -> None:
    """A copy into a project that others change at each attempt fails, and adds nothing."""
    source = MemoryStore(Clock().seconds)
    CommittingProcess(source, 1).submit(uploads("1.0"))
    kind = project_journal(DEMO)
    commit = Journal(kind, source, document(source)).read(1)
    copying = CommittingProcess(store, 2)
    copying.store.follow(Fault(FaultKind.LOST_RACE, "put", keys.project(DEMO), times=5))

    with pytest.raises(Unavailable, match="Too many writers"):
        copying.commits.add(kind, [commit])

    assert not list(store.list(keys.project(DEMO)))
    assert not list(store.list(keys.PENDING))


@pytest.mark.parametrize("further", [(), ("2.0",)], ids=["as long", "longer"])
def test_a_copy_into_other_commits_is_refused(store: MemoryStore, further: tuple[str, ...]) -> None:
    """A copy into a project that has got other commits meanwhile is refused, and adds nothing."""
    source = MemoryStore(Clock().seconds)
    for version in ("1.0", *further):
        CommittingProcess(source, 1).submit(uploads(version))
    kind = project_journal(DEMO)
    journal = Journal(kind, source, document(source))
    commits = [journal.read(number) for number in range(1, document(source).revision + 1)]
    target = CommittingProcess(store, 2)
    before = target.submit(uploads("9.0"))

    with pytest.raises(Conflict, match="TO has changes that FROM lacks"):
        target.commits.add(kind, commits)

    assert document(store) == before


def test_a_copy_of_a_broken_journal_is_refused(store: MemoryStore) -> None:
    """A copy of commits between which one is missing is refused, and adds none of them."""
    source = MemoryStore(Clock().seconds)
    for version in ("1.0", "2.0", "3.0"):
        CommittingProcess(source, 1).submit(uploads(version))
    kind = project_journal(DEMO)
    journal = Journal(kind, source, document(source))

    with refused(Unavailable, "damaged_document", "3.json does not continue the journal"):
        CommittingProcess(store, 2).commits.add(kind, [journal.read(1), journal.read(3)])

    assert list(store.list("")) == []


def test_who_has_nothing_to_do_looks_again(store: MemoryStore) -> None:
    """On a bucket, what an old document already has is done all the same if the store lacks it."""
    writer, other = CommittingProcess(store, 1, near=False), CommittingProcess(store, 2, near=False)
    writer.submit(uploads("1.0"))
    other.submit(deletes_all)
    writer.clock.advance(seconds=1)

    after = writer.submit(uploads("1.0"))

    assert [file.version for file in after.files] == ["1.0"]
    assert after == document(store)


@pytest.mark.parametrize("dies", [False, True])
def test_a_writer_that_lost_reads_again(store: MemoryStore, *, dies: bool) -> None:
    """On a bucket, a process whose document is an old one reads it again, and then commits."""
    writer, other = CommittingProcess(store, 1, near=False), CommittingProcess(store, 2, near=False)
    writer.submit(uploads("1.0"))
    if dies:  # so that only the document tells of its commit, and not the journal
        other.store.follow(Fault(FaultKind.CRASH, "put", commit_key(DEMO, 2)))
    with pytest.raises(ProcessCrash) if dies else nullcontext():
        other.submit(uploads("2.0"))

    after = writer.submit(uploads("3.0"))

    assert [file.version for file in after.files] == ["1.0", "2.0", "3.0"]
    assert after == document(store)
    assert store.get(commit_key(DEMO, 2)) is not None
