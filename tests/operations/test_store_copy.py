"""Copies of stores: what arrives, what a later copy adds, and what is refused."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.catalog.invariants import commit_key
from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START
from tests.operations import store_copies
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.operations.old_files import EGG, list_old_file
from tests.refused import refused
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, gzipped
from wheelyard.catalog.removed import CHANGED_PASSWORDS, ChangedPassword, ChangedPasswords
from wheelyard.errors import Conflict, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import MAIN
from wheelyard.model.person import Person, id_of_subject
from wheelyard.operations.copying import store_copy
from wheelyard.operations.copying.store_copy import CopyProgress, CopyReport
from wheelyard.operations.lifecycle import Selection
from wheelyard.storage.base import STORAGE_DENIED, Key, Store, Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.upstream.decisions import Deciding

DEMO, OTHER = NormalizedName("demo"), NormalizedName("other")
FIRST = Selection(parse_version("1.0"))


def stocked(folder: Path) -> IndexHarness:
    """Return an index with two projects: one has a yanked file, and one that was deleted."""
    source = IndexHarness(folder)
    for made in (make_wheel(), make_wheel(version="0.9"), make_sdist(), make_wheel("other")):
        source.upload(made)
    source.index.lifecycle.change("yank", ALICE, DEMO, FIRST, "broken")
    source.index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("0.9")), "")
    source.clock.advance(hours=1)
    return source


def stored(index: IndexHarness) -> dict[str, bytes]:
    """
    Return every object of an index, and of the list of names only the names.

    What is each store's own is left out: the serials of changes, and what a copy has seen.
    """
    names = " ".join(index.opened(9).projects.names.get_current().names)
    bodies = index.snapshot() | {keys.PROJECT_NAMES: names.encode()}
    own = (keys.PENDING, "changes", keys.DERIVED)
    return {key: body for key, body in bodies.items() if not key.startswith(own)}


@pytest.fixture
def source(tmp_path: Path) -> IndexHarness:
    """An index with two projects."""
    return stocked(tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> IndexHarness:
    """An empty index."""
    return IndexHarness(tmp_path)


def remove_all(index: IndexHarness) -> None:
    """Remove all files of demo for good."""
    for file in index.index.projects.get(DEMO).files:
        remove_now(index.index, file.sha256)


def copy(
    source: IndexHarness,
    target: IndexHarness,
    *,
    read_from: Store | None = None,
    write_to: Store | None = None,
    with_credentials: bool = False,
    progress: CopyProgress = lambda _, __: None,
) -> CopyReport:
    """Copy one index into the other."""
    here, there = read_from or source.store, write_to or target.store
    changes = source.opened(seed=6, store=ReadOnlyStore(here)).changes
    index, origin = target.opened(seed=3, store=there), f"memory {id(source.store)}"
    copying = store_copies.store_copy(Stores.of(here), changes, index, origin=origin)
    return copying.run(progress, with_credentials=with_credentials)


def left_out(report: CopyReport) -> list[str]:
    """Return what was not copied."""
    return [problem.partition(":")[0] for problem in report.problems]


def test_everything_arrives(source: IndexHarness, target: IndexHarness) -> None:
    """A copy has every object of the store, byte for byte, and a check finds nothing."""
    copied = copy(source, target)

    assert (copied.projects, copied.changed, copied.objects, copied.problems) == (2, 2, 8, [])
    assert stored(target) == stored(source)
    deleted = Selection(parse_version("0.9"))
    restored = target.index.lifecycle.change("restore", ALICE, DEMO, deleted, "")
    assert len(restored.files) == 1
    found = target.check()
    assert (found.problems, found.notes, found.repaired) == ([], [], [])


def test_a_copy_tells_how_much_it_has_read(source: IndexHarness, target: IndexHarness) -> None:
    """A copy tells of each project how many bytes of its files it has read, and each file once."""
    sizes, told = Counter[str](), Counter[str]()
    for key, body in source.snapshot("files/").items():
        sizes[key.split("/")[1]] += len(body)

    def note(name: str, size: int) -> None:
        told[name] += size

    for _ in range(2):
        copy(source, target, progress=note)

    assert told == sizes


def test_files_of_old_formats_arrive(source: IndexHarness, target: IndexHarness) -> None:
    """A copy has the eggs that only an older version has taken, too."""
    list_old_file(source.index.uploads, EGG, source.folder, source.clock.now)
    report = copy(source, target)

    assert (report.problems, stored(target)) == ([], stored(source))
    assert EGG.body in target.snapshot("files/").values()


@pytest.mark.parametrize("others", [0, 20])
def test_idle_copy_asks_both_feeds(source: IndexHarness, target: IndexHarness, others: int) -> None:
    """A copy that finds nothing new asks both feeds, however many projects there are."""
    for number in range(others):
        source.upload(make_wheel(f"project{number}"))
    source.index.changes.newest()
    copy(source, target)
    here, there = FakeStore(source.store), FakeStore(target.store)

    report = copy(source, target, read_from=here, write_to=there)

    counts = (report.changed, report.objects, report.decisions, report.upstream, report.credentials)
    assert (report.projects, counts) == (2 + others, (0, 0, 0, 0, 0))
    read_once = ("get", keys.PROJECT_NAMES), ("list", keys.PENDING), ("get", keys.CHANGES)
    # a document that is not there may be lost, which its journal says
    decisions_read = ("get", keys.DECISIONS), ("list", keys.DECISIONS_JOURNAL)
    others_read = ("list", keys.DOWNLOADS), *decisions_read, ("list", keys.UPSTREAM)
    lines_read = ("get", CHANGED_PASSWORDS)
    opened = [("get", keys.INDEX_LIST), ("list", keys.INDEX_LIST_JOURNAL)]
    assert here.calls[1:] == [
        *opened,
        *read_once,
        *others_read,
        lines_read,
    ]  # the first one is of the format
    seen = [("get", keys.COPIED), ("list", keys.PENDING), ("get", keys.CHANGES)]
    assert there.calls[1:] == [
        *opened,
        *seen,
        ("get", keys.PROJECT_NAMES),
        ("get", keys.PROJECT_NAMES),
        *seen[1:],
    ]


def test_compared_projects_are_read_once_each(source: IndexHarness, target: IndexHarness) -> None:
    """A copy that compares all projects reads each once on both sides, and lists the files once."""
    source.index.changes.newest()
    copy(source, target)
    target.store.delete(keys.COPIED)
    here, there = (FakeStore(each.store) for each in (source, target))
    copy(source, target, read_from=here, write_to=there)

    for store in (here, there):
        read = [key for verb, key in store.calls if verb == "get" and key.startswith("projects/")]
        assert sorted(read) == [keys.project(DEMO), keys.project(OTHER)]
    assert not [call for call in here.calls if call[1].startswith((keys.JOURNAL, keys.FILES))]
    files = [call for call in there.calls if call[1].startswith(keys.FILES)]
    assert files == [("list", keys.FILES)]


def test_new_projects_are_read_once_and_listed_once(
    source: IndexHarness, target: IndexHarness
) -> None:
    """A first copy reads each project of the source once, and lists the target's files once."""
    source.index.changes.newest()
    here, there = (FakeStore(each.store) for each in (source, target))
    copy(source, target, read_from=here, write_to=there)

    assert here.calls.count(("get", keys.project(DEMO))) == 1
    listed = [key for verb, key in there.calls if verb == "list" and key.startswith(keys.FILES)]
    assert listed == [keys.FILES]


def test_only_what_has_changed_is_compared(source: IndexHarness, target: IndexHarness) -> None:
    """A copy reads the documents of those projects that have changed in either store."""
    source.index.changes.newest()
    copy(source, target)
    source.upload(make_wheel(version="2.0"))
    here, there = FakeStore(source.store), FakeStore(target.store)
    later = copy(source, target, read_from=here, write_to=there)

    assert (later.changed, later.objects) == (1, 2)
    assert stored(target) == stored(source)
    for store in (here, there):
        assert ("get", keys.project(DEMO)) in store.calls
        assert ("get", keys.project(OTHER)) not in store.calls
    entries, _ = target.index.changes.since(0)
    assert {entry.project: entry.revision for entry in entries} == {DEMO: 6, OTHER: 1}

    target.opened(seed=7).lifecycle.change("yank", ALICE, OTHER, FIRST, "")
    assert left_out(copy(source, target)) == [OTHER]
    assert left_out(copy(source, target)) == [OTHER]


def test_another_source_is_compared_whole(source: IndexHarness, target: IndexHarness) -> None:
    """What was copied from one place says nothing of another one, even with equal serials."""
    elsewhere = clone(source)
    elsewhere.clock.now = source.clock.now
    elsewhere.upload(make_wheel(version="2.0"))
    assert source.index.changes.newest() == elsewhere.index.changes.newest()
    copy(source, target)

    assert copy(elsewhere, target).changed == 1
    assert left_out(copy(source, target)) == [DEMO]


@dataclass(frozen=True)
class Change:
    """A change of the source, so many calls of its store after the one before; 0: at once."""

    pause: int
    name: NormalizedName
    deletes: bool


CHANGES = st.builds(
    Change,
    st.sampled_from([0, 0, 1, 2, 3, 5, 8]),
    st.sampled_from([DEMO, OTHER, NormalizedName("third")]),
    st.booleans(),
)


class Changing:
    """Makes the changes of an index, one by one, and notes its documents after each."""

    def __init__(self, source: IndexHarness, changes: list[Change]) -> None:
        self.source = source
        self.states = [source.snapshot(keys.PROJECTS)]
        self._steps = iter(
            [step for change in changes for step in (*([None] * change.pause), change)]
        )
        self._numbers = count(2)

    def go_on(self) -> None:
        """Make the changes that come before this call of the store."""
        while change := next(self._steps, None):
            self._make(change)

    def _make(self, change: Change) -> None:
        self.source.clock.advance(seconds=1)
        index = self.source.opened(seed=next(self._numbers) + 10)
        files = index.projects.get_for_update(change.name).files
        if change.deletes and files:
            chosen = Selection(parse_version(files[-1].version))
            index.lifecycle.change("delete", ALICE, change.name, chosen, "")
        else:
            self.source.upload(make_wheel(change.name, f"{next(self._numbers)}.0"))
        self.states.append(self.source.snapshot(keys.PROJECTS))


@pytest.mark.slow
@settings(max_examples=40)
@given(
    changes=st.lists(CHANGES, max_size=10), is_first=st.booleans(), room=st.sampled_from([0, 8, 99])
)
def test_a_copy_is_the_index_at_one_moment(
    changes: list[Change], *, is_first: bool, room: int
) -> None:
    """Whatever is published, yanked and deleted at any time, the copy is the index at one time."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_copy, "MOST_RECORDS", room)
        source, target = stocked(Path(folder)), IndexHarness(Path(folder))
        if not is_first:
            copy(source, target)
            source.index.changes.newest()
        changing = Changing(source, changes)

        busy = FakeStore(source.store, Before(changing.go_on, times=ALWAYS))
        copied = copy(source, target, read_from=busy)

        if not copied.problems:
            assert target.snapshot(keys.PROJECTS) in changing.states
        assert target.check().problems == target.check().repaired == []
        assert copy(source, target).problems == []
        assert target.snapshot(keys.PROJECTS) == changing.states[-1]


def test_deleted_file_leaves_pages_of_the_copy(source: IndexHarness, target: IndexHarness) -> None:
    """A deleted file disappears from the pages of the copy; its bytes go with a sweep there."""
    copy(source, target)
    remove_all(source)
    copy(source, target)

    assert target.opened(seed=4).projects.get(DEMO).files == ()
    assert target.check().problems == []
    assert target.check(sweep=True).swept == 4
    assert stored(target) == stored(source)


def clone(harness: IndexHarness) -> IndexHarness:
    """Return an index with equal objects."""
    copied = IndexHarness(harness.folder)
    for key, body in harness.snapshot().items():
        copied.store.put(Key(key), body, None)
    return copied


@pytest.mark.parametrize("prefix", [keys.TOKENS, keys.LAST_USES])
def test_two_copies_of_tokens_do_no_harm(
    source: IndexHarness, target: IndexHarness, prefix: str
) -> None:
    """A copy of tokens beside another one does no harm, and what is missing comes later."""
    _, record = source.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    source.store.put(keys.last_use(record.id), b'"2026-03-01"', None)
    reports = list[CopyReport]()

    def copy_at_once() -> None:
        reports.append(copy(source, target, with_credentials=True))

    busy = FakeStore(target.store, Before(copy_at_once, "put*", f"{prefix}*"))
    reports.append(copy(source, target, write_to=busy, with_credentials=True))
    assert len(reports) == 2
    assert target.check().problems == []

    assert copy(source, target, with_credentials=True).problems == []
    assert stored(target) == stored(source)


def damage(harness: IndexHarness, prefix: str, body: bytes | None, ending: str = "") -> None:
    """Overwrite the objects with this prefix and ending, or delete them."""
    for key in harness.snapshot(prefix):
        if key.endswith(ending):
            if body is None:
                harness.store.delete(Key(key))
            else:
                harness.store.put(Key(key), body, None)


@pytest.mark.parametrize("is_first", [True, False], ids=["a new store", "a store"])
@pytest.mark.parametrize("body", [b"?", None], ids=["damaged", "lost"])
@pytest.mark.parametrize(
    ("prefix", "ending"),
    [
        (f"{keys.FILES}{DEMO}/", "demo-2.0-py3-none-any.whl"),
        (f"{keys.FILES}{DEMO}/", "demo-2.0-py3-none-any.whl.metadata"),
        (keys.project(DEMO), ""),
        (commit_key(DEMO, 6), ""),
    ],
)
def test_a_damaged_project_stays_as_it_was(
    source: IndexHarness,
    target: IndexHarness,
    prefix: str,
    ending: str,
    body: bytes | None,
    *,
    is_first: bool,
) -> None:
    """A damaged project stays as it was, which is told; the others arrive."""
    if not is_first:
        copy(source, target)
    before = target.snapshot(keys.project(DEMO))
    source.upload(make_wheel(version="2.0"))
    source.upload(make_wheel(version="3.0"))
    source.upload(make_wheel("other", "2.0"))
    damage(source, prefix, body, ending)

    copied = copy(source, target)

    assert left_out(copied) == [DEMO]
    assert "FROM" in copied.problems[0]
    assert target.snapshot(keys.project(DEMO)) == before
    assert target.bytes_at(keys.project(OTHER)) == source.bytes_at(keys.project(OTHER))
    assert target.check().problems == []


def test_a_contradiction_is_not_copied(source: IndexHarness, target: IndexHarness) -> None:
    """A document that is not what its journal says is told, and not copied."""
    body = source.bytes_at(keys.project(DEMO))
    source.store.put(keys.project(DEMO), body.replace(b'"broken"', b'"intact"'), None)

    assert left_out(copy(source, target)) == [DEMO]
    source.store.put(keys.project(DEMO), body, None)
    copy(source, target)
    source.store.put(keys.project(DEMO), body.replace(b'"broken"', b'"intact"'), None)
    assert left_out(copy(source, target)) == [DEMO]


def test_unknown_fields_arrive_byte_for_byte(source: IndexHarness, target: IndexHarness) -> None:
    """Commits arrive byte for byte, with what this version does not know in them."""
    source.upload(make_wheel(version="2.0"))
    entry = commit_key(DEMO, source.index.projects.get(DEMO).revision)
    for key in (keys.project(DEMO), entry):
        body = source.bytes_at(key).replace(b'"what":', b'"since": "tomorrow","what":')
        source.store.put(key, body, None)

    copied = copy(source, target)

    assert copied.problems == []
    assert stored(target) == stored(source)
    assert b'"since": "tomorrow"' in target.bytes_at(entry)
    assert target.check().problems == []


def test_project_of_a_newer_version_is_left_out(source: IndexHarness, target: IndexHarness) -> None:
    """What a newer version makes of its commits, and this one does not, is left to a newer one."""
    copy(source, target)
    before = stored(target)
    source.upload(make_wheel(version="2.0"))
    body = source.bytes_at(keys.project(DEMO)).replace(b'"revision":', b'"since":[],"revision":')
    source.store.put(keys.project(DEMO), body, None)

    copied = copy(source, target)

    assert left_out(copied) == [DEMO]
    assert "does not know the field 'since'" in copied.problems[0]
    assert target.snapshot(keys.JOURNAL) == {
        key: body for key, body in before.items() if key.startswith(keys.JOURNAL)
    }


@pytest.mark.parametrize("verb", ["read", "get"])
def test_unreadable_ones_are_left_out(
    source: IndexHarness, target: IndexHarness, verb: str
) -> None:
    """What cannot be read, as by a broken disk, is left out; a store that is away ends the copy."""
    broken = FakeStore(source.store, Fault(FaultKind.NOT_DONE, verb, "*/demo*", times=99))
    assert left_out(copy(source, target, read_from=broken)) == [DEMO]

    away = FakeStore(source.store, Fault(FaultKind.NOT_DONE, "get", nth=5, times=99))
    with pytest.raises(Unavailable):
        copy(source, target, read_from=away)
    full = FakeStore(target.store, Fault(FaultKind.NOT_DONE, "put*", times=99))
    with pytest.raises(Unavailable):
        copy(source, target, write_to=full)
    assert copy(source, target).problems == []
    assert stored(target) == stored(source)


@pytest.mark.parametrize("is_ahead", [True, False], ids=["ahead", "diverged"])
def test_a_project_changed_in_the_target_is_left_alone(
    source: IndexHarness, target: IndexHarness, *, is_ahead: bool
) -> None:
    """A project that was changed in the target is named and left alone; the others arrive."""
    copy(source, target)
    target.clock.advance(hours=2)
    target.upload(make_wheel(version="2.0"))
    before = stored(target)
    if not is_ahead:
        source.upload(make_wheel(version="3.0"))
        source.upload(make_wheel(version="4.0"))

    copied = copy(source, target)

    (problem,) = copied.problems
    assert problem.startswith(f"{DEMO}: TO has changes that FROM lacks, so it was left as it is")
    assert copied.projects == 1
    assert stored(target) == before


def test_a_name_without_a_project_changes_no_project_of_the_target(
    source: IndexHarness, target: IndexHarness
) -> None:
    """A name that an upload has only claimed in the source may have a project in the target."""
    name = NormalizedName("claimed")
    source.index.projects.names.claim(name)
    target.upload(make_wheel(name))
    before = target.snapshot(keys.PROJECTS)

    copied = copy(source, target)

    assert (copied.changed, copied.problems) == (2, [])
    assert before.items() <= target.snapshot(keys.PROJECTS).items()


def test_damaged_store_and_backup_complete(source: IndexHarness, target: IndexHarness) -> None:
    """Copies of a damaged store and of its backup give each project as it was last, or before."""
    backup = clone(source)
    for name in ("demo", "other"):
        source.upload(make_wheel(name, "2.0"))
    damage(source, f"{keys.FILES}{DEMO}/", b"?")

    assert left_out(copy(source, target)) == [DEMO]
    assert left_out(copy(backup, target)) == [OTHER]

    assert target.bytes_at(keys.project(DEMO)) == backup.bytes_at(keys.project(DEMO))
    assert target.bytes_at(keys.project(OTHER)) == source.bytes_at(keys.project(OTHER))
    assert target.check().problems == []


def test_a_damaged_target_is_left_alone(source: IndexHarness, target: IndexHarness) -> None:
    """A damaged document in the target is told, and its project is left alone."""
    copy(source, target)
    damage(target, keys.project(DEMO), b"?")

    copied = copy(source, target)

    assert [problem[:14] for problem in copied.problems] == ["demo: in TO: T"]
    assert target.bytes_at(keys.project(DEMO)) == b"?"


def test_lost_document_of_target_is_reported(source: IndexHarness, target: IndexHarness) -> None:
    """A document that is lost in the target beside its journal is told, until it is rebuilt."""
    copy(source, target)
    damage(target, keys.project(DEMO), None)
    for version in ("2.0", "3.0"):
        source.upload(make_wheel(version=version))
    before = target.snapshot(keys.JOURNAL)

    (problem,) = copy(source, target).problems

    assert problem.startswith("demo: in TO: projects/demo.json and its journal disagree")
    assert target.snapshot(keys.JOURNAL) == before
    assert target.snapshot(keys.project(DEMO)) == {}
    assert target.check(rebuild=True).problems == []
    assert copy(source, target).problems == []
    assert stored(target) == stored(source)


def test_damaged_marks_of_a_copy_are_reported(source: IndexHarness, target: IndexHarness) -> None:
    """Unusable commits of an interrupted copy are no commits, and a check names what is lost."""
    copy(source, target)
    source.upload(make_wheel(version="2.0"))
    source.upload(make_wheel(version="3.0"))
    dying = FakeStore(target.store, Fault(FaultKind.CRASH_AFTER, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        copy(source, target, write_to=dying)
    damage(target, keys.PENDING, b"?")

    (problem,) = target.check().problems

    assert commit_key(DEMO, 6) in problem
    assert target.index.projects.get(DEMO).revision == 7


def test_a_lost_commit_of_a_copy_hides_no_change(
    source: IndexHarness, target: IndexHarness
) -> None:
    """If the last commit of an interrupted copy is lost, followers learn of the later ones."""
    copy(source, target)
    _, newest = target.index.changes.since(0)
    source.upload(make_wheel(version="2.0"))
    source.upload(make_wheel(version="3.0"))
    dying = FakeStore(target.store, Fault(FaultKind.CRASH_AFTER, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        copy(source, target, write_to=dying)
    target.upload(make_wheel(version="4.0"))
    damage(target, commit_key(DEMO, 7), None)

    changes, _ = target.opened(seed=8).changes.since(newest)

    assert [(change.project, change.revision) for change in changes] == [(DEMO, 8)]


def test_a_copy_that_died_is_completed_by_the_next(
    source: IndexHarness, target: IndexHarness
) -> None:
    """If a copy dies between a document and the journal, the next one writes the journal."""
    copy(source, target)
    source.upload(make_wheel(version="2.0"))
    dying = FakeStore(target.store, Fault(FaultKind.CRASH_AFTER, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        copy(source, target, write_to=dying)

    copy(source, target)

    assert stored(target) == stored(source)


def bytes_of(harness: IndexHarness) -> Iterator[str]:
    """Yield the keys of all wheels."""
    yield from (key for key in harness.snapshot(keys.FILES) if key.endswith(".whl"))


def test_lost_bytes_of_a_deleted_file_are_no_problem(
    source: IndexHarness, target: IndexHarness
) -> None:
    """A file in the trash, whose bytes are gone already, keeps no project from arriving."""
    (gone,) = source.index.projects.get(DEMO).trash
    source.store.delete(keys.distribution(DEMO, gone.sha256, gone.filename))

    copied = copy(source, target)

    assert (copied.changed, copied.problems) == (2, [])
    assert stored(target) == stored(source)


def test_foreign_objects_of_the_target_stay(source: IndexHarness, target: IndexHarness) -> None:
    """An object of the target that is of no project stays, and keeps nothing from arriving."""
    foreign = Key(f"{keys.FILES}README")
    target.store.put(foreign, b"ours", None)

    assert copy(source, target).problems == []

    assert stored(target) == stored(source) | {foreign: b"ours"}


def test_a_target_that_is_mended_meanwhile(source: IndexHarness, target: IndexHarness) -> None:
    """A copy into a target with a damaged list of changes ends well, also if that is rebuilt."""
    target.upload(make_wheel("third"))
    target.index.changes.newest()
    damage(target, keys.CHANGES, b"?")
    rebuild = Before(lambda: target.check(rebuild=True), "put_file", f"{keys.FILES}*")

    copied = copy(source, target, write_to=FakeStore(target.store, rebuild))

    assert (copied.projects, copied.problems) == (3, [])
    assert copy(source, target).changed == 0


def test_lost_bytes_are_copied_after_a_check(source: IndexHarness, target: IndexHarness) -> None:
    """Bytes that are missing in the target, or have another size, are copied after a check."""
    copy(source, target)
    source.index.changes.newest()
    copy(source, target)
    *_, one, two = bytes_of(target)
    target.store.delete(Key(one))
    target.store.put(Key(two), b"?", None)

    assert copy(source, target).objects == 0
    assert len(target.check().problems) == 2
    assert copy(source, target).objects == 2
    assert stored(target) == stored(source)


def test_tokens_are_copied_only_if_asked_for(source: IndexHarness, target: IndexHarness) -> None:
    """Tokens are copied only if asked for, with later revocations, which nothing takes back."""
    tokens = [
        source.index.tokens.create(TokenRequest(name="ci"), by="local:alice") for _ in range(2)
    ]
    copy(source, target)
    assert target.snapshot(keys.CREDENTIALS) == {}

    first = copy(source, target, with_credentials=True)
    source.index.tokens.revoke(tokens[0][1].id, by="local:alice")
    second = copy(source, target, with_credentials=True)
    assert (first.credentials, second.credentials) == (2, 1)
    assert stored(target) == stored(source)
    assert not any(token.text in str(stored(target)) for token, _ in tokens)

    target.opened(seed=4).tokens.revoke(tokens[1][1].id, by="local:alice")
    assert copy(source, target, with_credentials=True).credentials == 0
    damage(source, keys.TOKENS, b"?")
    assert len(copy(source, target, with_credentials=True).problems) == 2


def test_a_token_that_goes_meanwhile_is_not_copied(
    source: IndexHarness, target: IndexHarness
) -> None:
    """A token that is removed from the source while a copy lists the tokens is no problem."""
    _, record = source.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    key = keys.token(record.id)
    going = FakeStore(source.store, Before(lambda: source.store.delete(key), "get", key))

    copied = copy(source, target, read_from=going, with_credentials=True)

    assert (copied.credentials, copied.problems) == (0, [])
    assert target.snapshot(keys.TOKENS) == {}


def outdated_lines(*names: str) -> bytes:
    """Return the document of outdated lines of people, with the hashes of their passwords."""
    by_line = {
        name * 9: ChangedPassword(name=name, hash="a secret", changed_at=START) for name in names
    }
    return Codec(ChangedPasswords).encode(ChangedPasswords(by_line=by_line))


@pytest.mark.parametrize("with_credentials", [False, True])
def test_outdated_lines_are_always_copied(
    source: IndexHarness, target: IndexHarness, *, with_credentials: bool
) -> None:
    """Outdated lines of htpasswd files are copied in any case, without passwords and tokens."""
    source.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    source.store.put(CHANGED_PASSWORDS, outdated_lines("ana", "bo"), None)
    target.store.put(CHANGED_PASSWORDS, outdated_lines("cy"), None)

    counts = [copy(source, target, with_credentials=with_credentials).credentials for _ in range(2)]

    assert counts == [1 + with_credentials, 0]
    there = target.snapshot(keys.CREDENTIALS)
    assert any(key.startswith(keys.TOKENS) for key in there) == with_credentials
    passwords = Codec(ChangedPasswords).decode(CHANGED_PASSWORDS, there[CHANGED_PASSWORDS])
    assert passwords.revision == 1
    assert passwords.write_id
    lines = {changed.name: changed.hash for changed in passwords.by_line.values()}
    assert lines == {"ana": "", "bo": "", "cy": "a secret"}


@pytest.mark.parametrize("cause", [None, PermissionError()])
def test_a_copy_that_may_not_read_outdated_lines_warns(
    source: IndexHarness, target: IndexHarness, cause: PermissionError | None
) -> None:
    """Who may read packages alone copies them, and is told that old passwords may work there."""

    def refuse() -> None:
        code = None if cause else STORAGE_DENIED
        raise Unavailable("No right.", code=code) from cause

    hiding = FakeStore(source.store, Before(refuse, "get", CHANGED_PASSWORDS))

    report = copy(source, target, read_from=hiding)

    assert (report.problems, report.projects) == ([], 2)
    (warning,) = report.warnings
    assert warning.startswith(f"{CHANGED_PASSWORDS} of FROM may not be read.")
    assert warning.endswith("No right.")


@pytest.mark.parametrize(("body", "failing_reads"), [(b"{", 0), (outdated_lines("ana"), 2)])
def test_unreadable_outdated_lines_fail_the_copy(
    source: IndexHarness, target: IndexHarness, body: bytes, failing_reads: int
) -> None:
    """Outdated lines that cannot be read are a problem, and keep no package from arriving."""
    source.store.put(CHANGED_PASSWORDS, body, None)
    fault = Fault(FaultKind.NOT_DONE, "get", CHANGED_PASSWORDS, times=failing_reads)

    report = copy(source, target, read_from=FakeStore(source.store, fault))

    assert (left_out(report), report.projects) == ([CHANGED_PASSWORDS], 2)


def test_sessions_stay_where_they_are(source: IndexHarness, target: IndexHarness) -> None:
    """The key of sessions, with which one could be anybody, is in no copy."""
    source.index.sessions.records.require_key()

    assert copy(source, target, with_credentials=True).credentials == 0
    assert target.snapshot(keys.CREDENTIALS) == {}


def test_an_old_copy_takes_no_rotation_back(source: IndexHarness, target: IndexHarness) -> None:
    """The end and the last use of a rotated token arrive, and no old copy moves them back."""
    _, record = source.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    source.store.put(keys.last_use(record.id), b'"2026-02-28"', None)
    copy(source, target, with_credentials=True)
    source.index.tokens.rotate(record, timedelta(hours=1), "local:alice")
    source.store.put(keys.last_use(record.id), b'"2026-03-01"', None)
    rotated = stored(source)

    assert copy(target, source, with_credentials=True).credentials == 0
    assert stored(source) == rotated
    assert copy(source, target, with_credentials=True).credentials == 3
    assert stored(target) == rotated


def test_a_revoked_token_is_revoked_in_a_copy_that_has_rotated_it(
    source: IndexHarness, target: IndexHarness
) -> None:
    """A token that was revoked in the source is revoked in the target, which had rotated it."""
    _, record = source.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    copy(source, target, with_credentials=True)
    there = target.opened(seed=4).tokens
    there.rotate(record, timedelta(hours=1), "local:alice")
    source.index.tokens.revoke(record.id, by="local:alice")

    copy(source, target, with_credentials=True)

    key = keys.token(record.id)
    assert target.bytes_at(key) == source.bytes_at(key)
    assert b'"revoked_at"' in target.bytes_at(key)


def test_people_are_copied_and_stay_ended(source: IndexHarness, target: IndexHarness) -> None:
    """A person whose access was ended in one of both is ended in the copy, whatever is newer."""
    ana = Person(provider="acme", subject="ana", name="ana@acme.dev", confirmed_at=START)
    for person in (ana, replace(ana, subject="bo", name="bo@acme.dev")):
        source.index.catalog.person_names.claim("acme", person.name, person.id)
        source.index.server.people.save(
            person, source.index.server.people.get_current("acme", person.id)
        )
    assert copy(source, target, with_credentials=True).credentials == 4
    assert stored(target) == stored(source)

    bo = id_of_subject("bo")
    target.opened(seed=4).server.people_administration.end("acme", ana.id, "local:alice")
    source.index.server.people_administration.end("acme", bo, "local:alice")
    snapshot = source.index.server.people.get_current("acme", ana.id)
    assert snapshot.value is not None
    later = replace(snapshot.value, confirmed_at=START + timedelta(hours=1))
    source.index.server.people.save(later, snapshot)
    assert copy(source, target, with_credentials=True).credentials == 1
    people = target.opened(seed=5).server.people
    ended = [people.get("acme", person_id).value for person_id in (ana.id, bo)]
    assert all(person is not None and person.ended_at is not None for person in ended)


def test_a_refusal_of_a_provider_is_copied(source: IndexHarness, target: IndexHarness) -> None:
    """Whom a provider has refused since the last copy is refused in the copy, too."""
    ana = Person(provider="acme", subject="ana", name="ana@acme.dev", confirmed_at=START)
    people = source.index.server.people
    people.save(ana, people.get_current("acme", ana.id))
    copy(source, target, with_credentials=True)
    refused_at = START + timedelta(hours=1)
    people.save(replace(ana, refused_at=refused_at), people.get_current("acme", ana.id))

    assert copy(source, target, with_credentials=True).credentials == 1
    assert copy(target, source, with_credentials=True).credentials == 0
    assert stored(target) == stored(source)


def test_decisions_are_copied(source: IndexHarness, target: IndexHarness) -> None:
    """Decisions about public packages are in each copy; those that were made there stay."""
    demo = NormalizedName("demo")
    Deciding(source.index.server.decisions, "me").block(demo, None, "taken over")
    copied = copy(source, target)
    assert (copied.decisions, copied.problems) == (1, [])
    assert copy(source, target).decisions == 0
    Deciding(target.opened(seed=5).server.decisions, "me").block(demo, None, "again")
    assert left_out(copy(source, target)) == [keys.DECISIONS]
    assert len(list(target.store.list(keys.DECISIONS_JOURNAL))) == 2


def test_grants_are_copied_with_their_history(source: IndexHarness, target: IndexHarness) -> None:
    """Grants of the store arrive with their history; those that were changed there stay."""
    ids = [
        source.index.server.access.grant(
            GrantFields(who=(f"user:{name}@acme.dev",), projects=("*",), actions=("read",)), "me"
        )
        for name in ("ana", "ben", "eve")
    ]
    copy(source, target)
    assert target.snapshot(keys.CREDENTIALS) == {}
    for nth in count(1):
        faults = (Fault(FaultKind.CRASH_AFTER, "put", f"{keys.CREDENTIALS}*", nth=nth),)
        sound = IndexHarness(target.folder)
        dying = FakeStore(sound.store, *faults)
        try:
            copy(source, sound, write_to=dying, with_credentials=True)
        except ProcessCrash:
            assert sound.check().problems == []
            assert copy(source, sound, with_credentials=True).problems == []
            assert sound.check().problems == sound.check().repaired == []
            assert stored(sound) == stored(source)
        else:
            assert nth == 7
            break

    assert copy(source, target, with_credentials=True).credentials == 3
    source.index.server.access.revoke(ids[1], "me")
    assert copy(source, target, with_credentials=True).credentials == 1
    assert copy(source, target, with_credentials=True).credentials == 0
    assert stored(target) == stored(source)
    target.opened(seed=5).server.access.revoke(ids[0], "me")
    before = stored(target)
    assert left_out(copy(source, target, with_credentials=True)) == [keys.ACCESS]
    assert stored(target) == before


PAGE = Key("upstream/public-12345678/pages/requests.json.gz")
PINS = Key("upstream/public-12345678/digests/requests.json")
PIN = Key("upstream/public-12345678/digests/requests/requests-1.0.tar.gz.json")
USES = keys.UPSTREAM_FIRST_USES


def page(fetched_at: str) -> bytes:
    """Return a stored page of a public project."""
    fields = f'"name":"requests","upstream":"public-12345678","fetched_at":"{fetched_at}"'
    return gzipped(f"{{{fields}}}".encode())


def test_facts_of_public_packages_are_copied(source: IndexHarness, target: IndexHarness) -> None:
    """Owners, pins and first uses arrive; files and damaged pages, fetched again, do not."""
    wanted = {
        PAGE: page("2026-01-01T00:00:00Z"),
        PINS: b'{"files":{"requests-1.0.tar.gz":{"sha256":"aa","size":1}}}\n',
        PIN: b'{"sha256":"aa","size":1}\n',
        USES: b'{"projects":{"requests":{"1":"2026-01-01T00:00:00Z"}}}\n',
        keys.UPSTREAM_LICENCES: b'{"releases":{"requests":{"1.0":"AGPL-3.0-only"}}}\n',
    }
    again = {
        Key("upstream/public-12345678/files/requests/aa/requests-1.0.tar.gz"): b"?",
        Key("upstream/public-12345678/uses/requests/aa/requests-1.0.tar.gz"): b"",
        keys.UPSTREAM_ADVISORIES: b"?",
        Key("upstream/public-12345678/pages/damaged.json.gz"): b"?",
    }
    for key, body in (wanted | again).items():
        source.store.put(key, body, None)

    copied = copy(source, target)

    assert (copied.upstream, copied.problems) == (5, [])
    assert target.snapshot(keys.UPSTREAM) == wanted
    assert copy(source, target).upstream == 0


def test_facts_of_the_target_are_kept(source: IndexHarness, target: IndexHarness) -> None:
    """Of two pages the later one counts, of two digests that of the target; neither loses any."""
    early, late = page("2026-01-01T00:00:00Z"), page("2026-01-02T00:00:00Z")
    source.store.put(PINS, b'{"files":{"a":{"sha256":"aa"},"b":{"sha256":"bb"}}}', None)
    target.store.put(PINS, b'{"files":{"b":{"sha256":"other"},"c":{"sha256":"cc"}}}', None)
    joined = {"a": {"sha256": "aa"}, "b": {"sha256": "other"}, "c": {"sha256": "cc"}}
    for here, there in ((early, late), (late, early), (b"?", early), (late, b"?")):
        source.store.put(PAGE, here, None)
        target.store.put(PAGE, there, None)
        copy(source, target)
        assert target.bytes_at(PAGE) == (early if here == b"?" else late)
    assert json.loads(target.bytes_at(PINS)) == {"files": joined}


@pytest.mark.parametrize("there", [None, b'{"files":{}}'], ids=["none yet", "some"])
def test_damaged_facts_are_not_copied(
    source: IndexHarness, target: IndexHarness, there: bytes | None
) -> None:
    """Damaged facts of public packages are told, and the target keeps what it has of them."""
    source.store.put(PINS, b"?", None)
    if there is not None:
        target.store.put(PINS, there, None)
    before = target.snapshot(keys.UPSTREAM)

    assert left_out(copy(source, target)) == [str(PINS)]
    assert target.snapshot(keys.UPSTREAM) == before


@pytest.mark.parametrize(
    ("key", "body"),
    [
        (PINS, b'{"files":{"a":{"sha256":"aa"}}}'),
        (CHANGED_PASSWORDS, outdated_lines("ana")),
    ],
    ids=["digests", "outdated-lines"],
)
def test_objects_that_servers_of_the_target_keep_changing(
    source: IndexHarness, target: IndexHarness, key: Key, body: bytes
) -> None:
    """A copy that can never write an object, as servers of the target are faster, says so."""
    source.store.put(key, body, None)
    losing = FakeStore(target.store, Fault(FaultKind.LOST_RACE, "put", key, times=ALWAYS))

    with refused(Unavailable, "overloaded", key):
        copy(source, target, write_to=losing)

    assert target.snapshot(key) == {}
    copied = copy(source, target)
    assert copied.upstream + copied.credentials == 1


@pytest.mark.parametrize("is_first", [True, False], ids=["a new store", "a store"])
@pytest.mark.parametrize("body", [b"?", None], ids=["damaged", "lost"])
@pytest.mark.parametrize("key", [keys.CHANGES, keys.PROJECT_NAMES])
def test_a_lost_list_of_the_source_is_reported(
    source: IndexHarness, target: IndexHarness, key: Key, body: bytes | None, *, is_first: bool
) -> None:
    """If the source has lost a list of all projects, these arrive, and that is told each time."""
    source.index.changes.newest()
    if not is_first:
        copy(source, target)
    source.upload(make_wheel(version="2.0"))
    source.index.changes.newest()
    before = stored(source)
    damage(source, key, body)

    problems = [*copy(source, target).problems, *copy(source, target).problems]
    assert [problem.partition(":")[0] for problem in problems] == [key, key]
    assert stored(target) == before
    if key == keys.CHANGES:
        assert "check --rebuild" in problems[0]
        source.check(rebuild=True)
        assert copy(source, target).problems == []


def test_a_restored_source_is_compared_once(source: IndexHarness, target: IndexHarness) -> None:
    """A source whose feed began again is compared whole once, and then by its feed again."""
    source.index.changes.newest()
    copy(source, target)
    source.store.delete(keys.CHANGES)
    source.check(rebuild=True)
    copy(source, target)
    here = FakeStore(source.store)

    copy(source, target, read_from=here)

    assert ("list", keys.PROJECTS) not in here.calls


def test_a_lost_list_releases_no_name(source: IndexHarness, target: IndexHarness) -> None:
    """Without the list of the source, no name of the target stops being private."""
    name = NormalizedName("given")
    source.index.names.reserve(ALICE, name, "")
    copy(source, target)
    source.index.names.release(ALICE, name, "")
    damage(source, keys.PROJECT_NAMES, None)

    copy(source, target)

    assert name in target.opened(seed=5).projects.names.get_current().as_set


def test_the_spool_of_a_killed_copy_is_emptied(source: IndexHarness, target: IndexHarness) -> None:
    """A temporary file of a copy that was killed is removed by the next copy."""
    rest = target.folder / "upload-0"
    rest.touch()

    copy(source, target)

    assert not rest.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [(None, "of FROM is lost, so nobody knows who may read"), (b"{", "FROM"), (b"{}", "FROM")],
)
def test_a_store_that_lost_its_list_of_indexes_is_not_copied(
    source: IndexHarness, target: IndexHarness, body: bytes | None, words: str
) -> None:
    """Where nobody knows any more who may read the packages, the copy begins with none."""
    source.index.server.index_administration.change(MAIN, {"read": "granted"}, "local:bo")
    source.store.delete(keys.INDEX_LIST)
    if body is not None:
        source.store.put(keys.INDEX_LIST, body, None)

    with pytest.raises(WheelyardError, match=words):
        store_copies.copy_whole(source.opened(seed=6), target.opened(seed=7))
    assert not any(key.startswith(("projects", "files")) for key in target.snapshot())


def test_a_target_with_a_damaged_list_of_indexes_gets_nothing(
    source: IndexHarness, target: IndexHarness
) -> None:
    """No package arrives where a damaged list of indexes cannot say who may read it."""
    source.index.server.index_administration.change(MAIN, {"read": "granted"}, "local:bo")
    target.store.put(keys.INDEX_LIST, b"{", None)

    with pytest.raises(Conflict, match="in TO: "):
        store_copies.copy_whole(source.opened(seed=6), target.opened(seed=7))
    assert list(target.snapshot()) == [keys.INDEX_LIST, keys.FORMAT]
