"""Yank, unyank, delete and status, and what the journal tells of them."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.operations.in_memory_index import ALICE, IndexHarness, history
from tests.refused import refused
from wheelyard.errors import STORAGE_FULL, Forbidden, Invalid, NotFound, Unavailable
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.distribution_filename import parse_version, parse_version_set
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Project, Status
from wheelyard.operations.lifecycle import KEPT_FOR, Lifecycle, ReleaseAction, Selection
from wheelyard.upstream.decisions import Deciding

DEMO = NormalizedName("demo")
WHEEL, SDIST, TWO = make_wheel(), make_sdist(), make_wheel(version="2.0")
FIRST = Selection(parse_version("1.0"))
RELEASE_ACTIONS: tuple[ReleaseAction, ...] = ("yank", "unyank", "delete")

T = TypeVar("T")
Change = Callable[..., Project]
CHANGES: dict[str, Change] = {
    "yank": lambda life, who, why="broken": life.change("yank", who, DEMO, FIRST, why).project,
    "unyank": lambda life, who, why="": life.change("unyank", who, DEMO, FIRST, why).project,
    "delete": lambda life, who, why="": life.change("delete", who, DEMO, FIRST, why).project,
    "dry run": lambda life, who, why="": (
        life.change("delete", who, DEMO, FIRST, why, dry_run=True).project
    ),
    "status": lambda life, who, why="done": life.set_status(who, DEMO, Status.ARCHIVED, why),
}


@pytest.fixture
def life(harness: IndexHarness) -> Lifecycle:
    """Two files of one release, and one of another."""
    for made in (WHEEL, SDIST, TWO):
        harness.upload(made)
    return harness.index.lifecycle


def yanked(project: Project) -> dict[str, str | None]:
    """Return the marks by filename."""
    return {file.filename: file.yanked for file in project.files}


def test_some_files_of_a_release(harness: IndexHarness, life: Lifecycle) -> None:
    """Files that are chosen by name change in one commit, also if one of them is gone already."""
    harness.upload(make_wheel(version="1.0", tag="py2-none-any"))
    chosen = Selection(parse_version("1"), frozenset({WHEEL.filename, SDIST.filename}))
    before = life.projects.get(DEMO).revision

    marked = life.change("yank", ALICE, DEMO, chosen, "broken")
    life.change(
        "delete", ALICE, DEMO, Selection(parse_version("1"), frozenset({SDIST.filename})), ""
    )
    gone = life.change("delete", ALICE, DEMO, chosen, "")

    assert marked.project.revision == before + 1
    assert frozenset(file.filename for file in marked.files) == chosen.filenames
    assert [file.filename for file in gone.files] == [WHEEL.filename]


def test_deleted_files_lose_their_bytes(harness: IndexHarness, life: Lifecycle) -> None:
    """Where everybody can read the bucket, bytes and metadata of a deleted file go at once."""
    life = replace(life, removal=replace(life.removal, keeps_deleted=False))
    changed = life.change("delete", ALICE, DEMO, FIRST, "leaked")
    after = changed.project

    assert (changed.keep_until, after.trash) == (None, ())
    assert [file.filename for file in after.files] == [TWO.filename]
    assert after.deleted_filenames == tuple(sorted((WHEEL.filename, SDIST.filename)))
    with pytest.raises(NotFound, match="everybody can read the bucket"):
        life.change("restore", ALICE, DEMO, FIRST, "")
    left = harness.snapshot("files/")
    assert sorted(key.split("/")[-1] for key in left) == [TWO.filename, f"{TWO.filename}.metadata"]
    assert harness.check().notes == []


VERSIONS = ("1.9rc1", "1.9", "2.0rc1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<2", ["1.0", "1.9", "1.9rc1"]),
        ("==1.*", ["1.0", "1.9", "1.9rc1"]),
        (">=1.9rc1,!=1.9", ["1.9rc1", "2.0", "2.0rc1"]),
        ("~=2.0rc1", ["2.0", "2.0rc1"]),
    ],
)
def test_a_set_changes(
    harness: IndexHarness, life: Lifecycle, text: str, expected: list[str]
) -> None:
    """A set of versions has pre-releases, too, and all its files change in one commit."""
    for version in VERSIONS:
        harness.upload(make_wheel(version=version))
    before = life.projects.get(DEMO)
    selection = Selection(parse_version_set(text))

    trial = life.change("delete", ALICE, DEMO, selection, "", dry_run=True)
    marked = life.change("yank", ALICE, DEMO, selection, "old")
    gone = life.change("delete", ALICE, DEMO, selection, "old")

    assert sorted({file.version for file in gone.files}) == expected
    assert [file.filename for file in trial.files] == [file.filename for file in gone.files]
    assert (trial.project, trial.files) == (before, marked.files)
    assert trial.keep_until is not None
    assert gone.project.revision == before.revision + 2
    kept = [file.filename for file in gone.project.files]
    assert sorted([*kept, *gone.project.deleted_filenames]) == sorted(before.by_filename)
    again = life.change("delete", ALICE, DEMO, selection, "old")
    assert (again.project, again.files) == (gone.project, ())


def test_a_reason_stays(life: Lifecycle) -> None:
    """A yank without a reason, as of many releases, keeps the reason that a file has."""
    life.change(
        "yank", ALICE, DEMO, Selection(FIRST.versions, frozenset({SDIST.filename})), "broken"
    )

    rest = life.change("yank", ALICE, DEMO, FIRST, "")
    changed = life.change("yank", ALICE, DEMO, FIRST, "worse")

    assert [file.filename for file in rest.files] == [WHEEL.filename]
    assert yanked(rest.project)[SDIST.filename] == "broken"
    assert yanked(changed.project)[SDIST.filename] == "worse"


@pytest.mark.parametrize("action", RELEASE_ACTIONS)
def test_a_project_that_is_not_there(harness: IndexHarness, action: ReleaseAction) -> None:
    """Who misspells a project is told that there is none, and not that it lacks a version."""
    with pytest.raises(NotFound, match="no project named 'demo' in this index"):
        harness.index.lifecycle.change(action, ALICE, DEMO, FIRST, "")


@pytest.mark.parametrize(
    "selection",
    [
        Selection(parse_version("2.0"), frozenset({WHEEL.filename})),
        Selection(parse_version("1.0"), frozenset()),
    ],
)
def test_nothing_is_selected(life: Lifecycle, selection: Selection) -> None:
    """A version or a file that is not there is NotFound, and nothing is committed."""
    before = life.projects.get(DEMO)
    for action in RELEASE_ACTIONS:
        with pytest.raises(NotFound):
            life.change(action, ALICE, DEMO, selection, "")

    assert life.projects.get(DEMO) == before


ODD = "\x00\n\r\x1b\x7f\x80\x85\x9b\u2028\u2029\u202a\u202e\u2066\u2069\ud800\udfff"


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_reason_is_one_line_of_text(life: Lifecycle, change: str) -> None:
    """A reason has no control characters, no line breaks, nothing that turns it, and an end."""
    before = life.projects.get(DEMO)
    for reason in (*(f"a{each}b" for each in ODD), "x" * 1025):
        with pytest.raises(Invalid) as caught:
            CHANGES[change](life, ALICE, reason)
        assert caught.value.code == "invalid_field"
        assert caught.value.message.isascii()
        assert caught.value.message.isprintable()

    assert life.projects.get(DEMO) == before


@pytest.mark.parametrize("reason", ["x" * 1024, "l\u00f6scht \u6570\u636e \U0001f600 'x' \\"])
def test_a_reason_in_any_script(life: Lifecycle, reason: str) -> None:
    """Whatever can be read in one line is a reason, and is kept as it was written."""
    assert yanked(life.change("yank", ALICE, DEMO, FIRST, reason).project)[WHEEL.filename] == reason


@pytest.mark.parametrize("change", list(CHANGES))
def test_changes_need_the_right_to_manage(life: Lifecycle, change: str) -> None:
    """A caller with the right to upload alone changes no release and no status, and tries none."""
    before = life.projects.get(DEMO)
    uploader = Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,), (MAIN,))
    for scopes in ((), (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),), (uploader,)):
        with pytest.raises(Forbidden):
            CHANGES[change](life, Caller("token:bob", scopes))

    assert life.projects.get(DEMO) == before


class FullStore(FakeStore):
    """A store on a full disk, which has room for what may use its reserve alone."""

    def with_reserve(self, action: Callable[[], T]) -> T:
        """Let an action write."""
        self.follow()
        return action()


def full_store(harness: IndexHarness) -> FullStore:
    """Return the store of an index as it is on a full disk."""
    full = Unavailable("The disk is full.", code=STORAGE_FULL)
    return FullStore(harness.store, Fault(full, "put*", times=ALWAYS))


STOPPING: dict[str, Change] = {
    "yank": CHANGES["yank"],
    "delete": CHANGES["delete"],
    "quarantine": lambda life, who: life.set_status(who, DEMO, Status.QUARANTINED, "bad"),
}


@pytest.mark.parametrize("change", STOPPING)
def test_what_stops_installations_works_on_a_full_disk(harness: IndexHarness, change: str) -> None:
    """On a full disk, a bad release can be yanked or deleted, and a project put in quarantine."""
    harness.upload(WHEEL)
    revision = harness.index.projects.get(DEMO).revision
    life = harness.opened(seed=3, store=full_store(harness)).lifecycle

    assert STOPPING[change](life, ALICE).revision == revision + 1
    assert harness.opened(seed=4).projects.get(DEMO).revision == revision + 1


def test_a_public_package_is_blocked_on_a_full_disk(harness: IndexHarness) -> None:
    """On a full disk a public package can be blocked, and none be approved."""
    evil = NormalizedName("evil")
    decisions = harness.opened(seed=3, store=full_store(harness)).server.decisions
    deciding = Deciding(decisions, ALICE.principal)

    with refused(Unavailable, STORAGE_FULL):
        deciding.approve(NormalizedName("good"), Version("1.0"), "", sha256=["0" * 64])
    deciding.block(evil, None, "it is malware")

    decided = harness.opened(seed=4).server.decisions.get("current").value
    assert decided is not None
    assert [(each.target, each.verdict) for each in decided.decisions] == [("evil", "blocked")]


@pytest.mark.parametrize("change", ["unyank", "status"])
def test_what_stops_no_installation_leaves_the_reserve(harness: IndexHarness, change: str) -> None:
    """A change that can wait is refused on a full disk, and changes nothing."""
    harness.upload(WHEEL)
    CHANGES["yank"](harness.index.lifecycle, ALICE)
    before = harness.snapshot()
    life = harness.opened(seed=3, store=full_store(harness)).lifecycle

    with refused(Unavailable, STORAGE_FULL):
        CHANGES[change](life, ALICE)

    assert harness.snapshot() == before


def test_a_dry_run_needs_no_time_of_the_store(harness: IndexHarness) -> None:
    """What a deletion would do is told also while the store cannot say what time it is."""
    harness.upload(WHEEL)
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, "time", times=ALWAYS))
    life = harness.opened(seed=3, store=store).lifecycle

    told = life.change("delete", ALICE, DEMO, FIRST, "", dry_run=True)

    assert [file.filename for file in told.files] == [WHEEL.filename]
    assert told.keep_until == harness.clock.now + KEPT_FOR
    with pytest.raises(Unavailable):
        life.change("delete", ALICE, DEMO, FIRST, "")


def test_the_journal_tells_who_did_what_when(harness: IndexHarness, life: Lifecycle) -> None:
    """Every change is in the journal with its author, its time and its reason, in order."""
    manager = Caller("token:carol", (Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,), (MAIN,)),))
    expected = [("local:alice", harness.clock.now, "uploaded")] * 3
    kinds = ("yanked", "unyanked", "status", "deleted")
    for change, kind in zip(("yank", "unyank", "status", "delete"), kinds, strict=True):
        harness.clock.advance(hours=1)
        CHANGES[change](life, manager)
        expected.append(("token:carol", harness.clock.now, kind))

    commits = history(harness.opened(3), DEMO)
    recorded = [(e.by, e.at, e.what) for commit in commits for e in commit.events]

    assert recorded == expected
    assert [commit.number for commit in commits] == list(range(1, 8))
