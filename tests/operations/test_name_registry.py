"""The registry of private names: reserving, releasing, and what other commands make of that."""

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_store import After, FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, history
from tests.operations.store_copies import store_copy
from tests.operations.upstream_names import GuardedHarness
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import ProjectCodec, project_journal
from wheelyard.errors import Forbidden, Invalid, NotFound, Unavailable, WheelyardError
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Project, Status
from wheelyard.operations.copying.store_copy import CopyReport
from wheelyard.operations.journal_reader import JournalReader, StoreJournals
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.names import NameState, PrivateName
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
MANAGER = Caller(
    "user:bo@acme.dev", (Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,), (MAIN,)),)
)


@pytest.fixture(params=["local", "remote"])
def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> GuardedHarness:
    """An index in memory beside an upstream index."""
    return GuardedHarness(tmp_path, is_local=request.param == "local")


def delete(index: Index) -> None:
    """Delete all files of the project."""
    index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("1.0")), "")


def reserve(harness: IndexHarness) -> bool:
    """Reserve the name."""
    return harness.index.names.reserve(ALICE, DEMO, "starts in spring")


def release(harness: IndexHarness) -> None:
    """Release the name."""
    harness.index.names.release(ALICE, DEMO, "never started")


def test_a_reserved_name_is_private(guarded: GuardedHarness) -> None:
    """A reserved name is a project without files, and its journal says who reserved it and why."""
    assert reserve(guarded)

    assert guarded.is_private("demo")
    assert guarded.index.projects.get(DEMO).files == ()
    (commit,) = history(guarded.index, DEMO)
    (event,) = commit.events
    assert (event.what, event.by, event.reason) == ("reserved", "local:alice", "starts in spring")
    guarded.upload(make_wheel())
    assert guarded.public.asked == []
    assert not reserve(guarded)


@pytest.mark.parametrize("way", ["reserved", "emptied", "claimed"])
def test_a_released_name_is_unknown(guarded: GuardedHarness, way: str) -> None:
    """A name without files that is released is no project any more, for any process."""
    if way == "reserved":
        reserve(guarded)
    elif way == "emptied":
        guarded.upload(make_wheel())
        delete(guarded.index)
    else:
        guarded.names.claim(DEMO)
    seen = guarded.opened(seed=5)
    seen.projects.get(DEMO)

    release(guarded)
    guarded.clock.advance(seconds=2)  # for which a document of a bucket is cached

    assert not guarded.is_private("demo")
    for index in (guarded.index, seen, guarded.opened(seed=6)):
        with pytest.raises(NotFound):
            index.projects.get(DEMO)
        with pytest.raises(NotFound):
            index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
        with pytest.raises(NotFound):
            index.names.release(ALICE, DEMO, "")


def test_a_name_is_released_again_after_a_vain_claim(guarded: GuardedHarness) -> None:
    """A released name that an upload has claimed in vain is released by no second commit."""
    reserve(guarded)
    release(guarded)
    before = guarded.snapshot("journal/")
    guarded.names.claim(DEMO)

    release(guarded)

    assert not guarded.is_private("demo")
    assert guarded.snapshot("journal/") == before


def test_a_released_name_can_be_taken_again(guarded: GuardedHarness) -> None:
    """After a release the upstream is asked again, and an upload makes the name private again."""
    guarded.upload(make_wheel())
    delete(guarded.index)
    other = guarded.opened(seed=5)
    assert other.projects.get(DEMO).files == ()
    release(guarded)
    guarded.clock.advance(seconds=2)
    guarded.public.asked.clear()

    made = make_wheel(version="2.0")
    other.uploads.authorize(made.filename, ALICE)
    other.uploads.accept(made.arrival(guarded.folder), ALICE)

    assert set(guarded.public.asked) == {"demo"}
    assert guarded.is_private("demo")
    assert DEMO in guarded.opened(seed=6).projects.names.get_current().as_set
    assert len(guarded.opened(seed=7).projects.get(DEMO).files) == 1


def test_a_deleted_file_of_a_released_name_is_not_to_be_restored(harness: IndexHarness) -> None:
    """Who uploads a deleted file after its name was released is not told to restore it."""
    wheel = make_wheel()
    harness.index.uploads.accept(wheel.arrival(harness.folder), ALICE)
    delete(harness.index)
    release(harness)

    with pytest.raises(Invalid, match="Use a new version") as refused:
        harness.index.uploads.accept(wheel.arrival(harness.folder), ALICE)

    assert refused.value.advice is None


@pytest.mark.parametrize("has_upstream", [True, False])
def test_an_old_list_hides_no_new_project(guarded: GuardedHarness, *, has_upstream: bool) -> None:
    """A process that has read the list before a release lists the name again with its upload."""
    reserve(guarded)
    other = guarded.opened(seed=5)
    other.projects.names.get()
    release(guarded)
    guarded.clock.advance(seconds=0 if has_upstream else 2)

    uploads = other.uploads if has_upstream else replace(other.uploads, claims=None)
    uploads.accept(make_wheel().arrival(guarded.folder), ALICE)

    assert DEMO in guarded.opened(seed=6).projects.names.get_current().as_set


def test_what_has_files_is_not_released(guarded: GuardedHarness) -> None:
    """A name with files is not released, and stays as it is."""
    guarded.upload(make_wheel())
    before = guarded.snapshot()

    with pytest.raises(WheelyardError) as caught:
        release(guarded)

    assert code_of(caught.value) == ("Conflict", "conflict")
    assert guarded.snapshot() == before


def test_only_an_administrator_decides(guarded: GuardedHarness) -> None:
    """Who manages a project may neither take its name from the public nor give it to them."""
    with pytest.raises(Forbidden):
        guarded.index.names.reserve(MANAGER, DEMO, "")
    assert not guarded.is_private("demo")
    reserve(guarded)

    with pytest.raises(Forbidden):
        guarded.index.names.release(MANAGER, DEMO, "")
    assert guarded.is_private("demo")


def test_an_upload_begun_before_a_release_is_not_published(guarded: GuardedHarness) -> None:
    """An upload that has begun before the name was released is not published after it."""
    reserve(guarded)
    uploader = guarded.opened(seed=5)
    wheel, before = make_wheel(), uploader.projects.get_for_update(DEMO)
    validated = uploader.uploads.validate(wheel.arrival(guarded.folder), ALICE, before)
    release(guarded)
    guarded.public.names.add("demo")

    intent = uploader.uploads.add_files(before, [validated], ALICE)
    committed = uploader.projects.change(DEMO, intent)

    (decision,) = intent.decide(committed.before)
    assert isinstance(decision.refusal, Unavailable)
    assert not guarded.is_private("demo")
    with pytest.raises(Forbidden):
        guarded.upload(make_wheel())


def test_a_name_that_gets_files_during_its_release_stays_private(guarded: GuardedHarness) -> None:
    """A name that gets files while it is released stays private, and stays listed."""
    reserve(guarded)
    store = guarded.store
    other = guarded.opened(seed=5)

    def publish() -> None:
        other.uploads.accept(make_wheel().arrival(guarded.folder), ALICE)

    # as soon as the name has left the list
    guarded.store = FakeStore(store, After(publish, "put", keys.PROJECT_NAMES))
    with pytest.raises(WheelyardError):
        guarded.opened(seed=6).names.release(ALICE, DEMO, "")

    guarded.store = store
    assert guarded.is_private("demo")
    assert DEMO in other.projects.names.get_current().as_set
    assert len(guarded.opened(seed=7).projects.get(DEMO).files) == 1


@pytest.mark.parametrize("key", ["projects.json", "projects/demo.json"])
@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER, FaultKind.NOT_DONE])
def test_interrupted_release_is_done(guarded: GuardedHarness, key: str, kind: FaultKind) -> None:
    """A release that was interrupted has happened or not, and can be done again."""
    reserve(guarded)
    store = guarded.store
    guarded.store = FakeStore(store, Fault(kind, "put", key))

    with pytest.raises((ProcessCrash, Unavailable)):
        guarded.opened(seed=5).names.release(ALICE, DEMO, "")

    guarded.store = store
    is_done = (key, kind) == ("projects/demo.json", FaultKind.CRASH_AFTER)
    assert guarded.is_private("demo") is not is_done
    if not is_done:
        guarded.opened(seed=6).names.release(ALICE, DEMO, "")
    assert not guarded.is_private("demo")


def test_the_list_has_the_state_of_each_name(guarded: GuardedHarness) -> None:
    """The list has each private name with its state."""
    guarded.upload(make_wheel())
    guarded.upload(make_wheel("emptied"))
    guarded.index.lifecycle.change(
        "delete", ALICE, NormalizedName("emptied"), Selection(parse_version("1.0")), "by mistake"
    )
    guarded.index.names.reserve(ALICE, NormalizedName("later"), "starts in spring")
    guarded.names.claim(NormalizedName("begun"))

    registry = guarded.index.names
    names = [*registry.describe(registry.listed())]

    now = guarded.clock.now
    by = "local:alice"
    assert names == [
        PrivateName(NormalizedName("begun"), NameState.CLAIMED),
        PrivateName(DEMO, NameState.FILES, 1),
        PrivateName(NormalizedName("emptied"), NameState.DELETED, 0, by, now, "by mistake"),
        PrivateName(NormalizedName("later"), NameState.RESERVED, 0, by, now, "starts in spring"),
    ]


def test_the_journal_of_a_released_name_is_kept(guarded: GuardedHarness) -> None:
    """The journal of a released name can be read, and says who released it and why."""
    reserve(guarded)
    release(guarded)

    index = guarded.opened(seed=5)
    journals = StoreJournals(index.projects, index.changes, index.tokens.records)
    entries = JournalReader(journals).read(lambda _count, _name: None).entries

    assert [(entry.what, entry.by, entry.reason) for entry in entries] == [
        ("reserved", "local:alice", "starts in spring"),
        ("released", "local:alice", "never started"),
    ]


def test_a_check_leaves_a_released_name_alone(guarded: GuardedHarness) -> None:
    """A check adds a lost name to the list, and not one that was released."""
    guarded.upload(make_wheel())
    guarded.index.names.reserve(ALICE, NormalizedName("later"), "")
    guarded.index.names.release(ALICE, NormalizedName("later"), "")
    guarded.store.delete(keys.PROJECT_NAMES)

    findings = guarded.check()

    assert (findings.problems, findings.repaired) == ([], ["added to the list of projects: demo"])
    assert guarded.check().repaired == []
    assert not guarded.is_private("later")


def test_older_versions_read_it(guarded: GuardedHarness) -> None:
    """The document that reserving and releasing write is what its journal entries fold to."""
    reserve(guarded)
    release(guarded)

    folded = Project(name=DEMO)
    body = guarded.bytes_at(keys.project(DEMO))
    last = ProjectCodec().decode_whole(keys.project(DEMO), body)
    first = guarded.index.projects.journal(last).find(1)
    assert first is not None
    assert last.commit is not None
    for commit in (first, last.commit):
        folded = project_journal(DEMO).fold(folded, commit)
    assert ProjectCodec().encode(folded) == body


def copied(
    source: IndexHarness, target: Store, *, claims_names: bool = False
) -> tuple[Index, CopyReport]:
    """Copy the store, and return an index over the copy, and the report."""
    there = source.opened(5, target)
    stores, changes = Stores.of(source.store), source.index.changes
    copy = store_copy(stores, changes, there, claims_names=claims_names)
    report = copy.run(lambda _name, _size: None)
    return source.opened(6, target), report


def test_a_copy_lists_the_names_first(guarded: GuardedHarness) -> None:
    """Beside an upstream index, a name is private in the copy before its project arrives."""
    guarded.upload(make_wheel())
    target = FakeStore(
        MemoryStore(guarded.clock.seconds), Fault(FaultKind.NOT_DONE, "put", "pending/*")
    )

    with pytest.raises(Unavailable):
        copied(guarded, target, claims_names=True)

    project = guarded.opened(5, target.inner).projects.get(DEMO)
    assert (project.revision, project.files) == (0, ())


def test_a_copy_has_the_same_private_names(guarded: GuardedHarness) -> None:
    """Reserved, claimed and emptied names are private in a copy, and released ones are not."""
    target = MemoryStore(guarded.clock.seconds)
    guarded.upload(make_wheel())
    delete(guarded.index)
    guarded.index.names.reserve(ALICE, NormalizedName("later"), "")
    guarded.names.claim(NormalizedName("begun"))

    index, report = copied(guarded, target)

    assert report.problems == []
    assert index.projects.names.get_current().names == ("begun", "demo", "later")
    guarded.clock.advance(seconds=timedelta(hours=1).total_seconds())
    for name in ("begun", "demo"):
        guarded.index.names.release(ALICE, NormalizedName(name), "")
    index, report = copied(guarded, target)
    assert report.problems == []
    assert index.projects.names.get_current().names == ("later",)
    assert report.projects == 1
