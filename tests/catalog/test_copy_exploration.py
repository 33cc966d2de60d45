"""Copies of a store beside uploads, deletions, sweeps and other copies, in every order."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.catalog.explorer import Explorer, are_like
from tests.catalog.invariants import broken_journal, committed, document, lost_bytes
from tests.catalog.processes import Process, Processes, opened
from tests.catalog.scheduler import Call, OrdinalStore, Work
from tests.distributions import Distribution, make_wheel
from tests.fake_time import START, Clock
from tests.operations.in_memory_index import ALICE, objects, remove_now
from tests.operations.store_copies import copy_whole
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.model.index_name import MAIN
from wheelyard.operations.copying import store_copy
from wheelyard.storage.base import Store, Stored
from wheelyard.storage.forwarding import PrefixedStore, ReadOnlyStore
from wheelyard.wiring.index import Index

FROM, TO = "from/", "to/"
DEMO, OTHER = NormalizedName("demo"), NormalizedName("other")
NAMES = (DEMO, OTHER)
ONE, TWO, THREE = (make_wheel(version=f"{number}.0") for number in (1, 2, 3))
OTHER_ONE = make_wheel("other")

Change = Callable[[Index], object]


SHARED = (keys.PROJECTS, keys.PROJECT_NAMES, keys.JOURNAL)
"""Beginnings of keys by which writers of packages meet in a store."""
FEED = (keys.PENDING, keys.CHANGES)


def in_source(call: Call) -> bool:
    """Return whether a call is about what uploads change in the store that is copied."""
    return call.key.startswith(tuple(f"{FROM}{key}" for key in (*SHARED, *FEED)))


def with_bytes(call: Call) -> bool:
    """Return whether a call is about what removals change in the store that is copied."""
    return in_source(call) or call.key.startswith(f"{FROM}{keys.FILES}")


def changes_source(call: Call) -> bool:
    """Return whether a call changes what copies read: no new bytes, and no newest entry."""
    is_entry = call.key.startswith(f"{FROM}{keys.JOURNAL}")  # the document has that, too
    return with_bytes(call) and call.verb in {"put", "delete"} and not is_entry


def in_target(call: Call) -> bool:
    """Return whether a call is about packages in the store that is copied into."""
    return call.key.startswith(tuple(f"{TO}{key}" for key in SHARED))


def anywhere_in_target(call: Call) -> bool:
    """Return whether a call is about the store that is copied into."""
    return call.key.startswith(TO)


def anywhere(_: Call) -> bool:
    """Return whether a call of a copy may fail, or meet another one, which each may."""
    return True


@dataclass
class CopyScenario:
    """
    A copy, and what happens beside it.

    Of two who meet in the source alone, or in the target, only the calls there are ordered.
    """

    folder: Path
    before: tuple[Change, ...]
    """What has happened in the source before."""
    copied: int = 0
    """How many of these changes an earlier copy has brought into the target."""
    changes: tuple[Change, ...] = ()
    """What happens in the source meanwhile, one after the other."""
    others: Mapping[str, Change] = field(default_factory=dict)
    """What else is done in the target meanwhile; `copy` is another copy."""
    has_uploads: bool = False
    """Whether there is an upload to the target among this."""
    leftovers: bool = False
    """Whether the target has the bytes of an earlier copy which it lists no more."""
    start: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    """The revision of each project in the source at the start."""

    def __post_init__(self) -> None:
        store = OrdinalStore({})
        here, clock = PrefixedStore(store, FROM), Clock()
        clock.advance(hours=-1)
        index = opened(here, self.folder, 90, clock)
        opened(PrefixedStore(store, TO), self.folder, 89)  # which writes the format of the store
        index.server.index_administration.change(MAIN, {"read": "granted"}, "local:bo")
        for number, change in enumerate(self.before, 1):
            clock.advance(seconds=1)
            change(index)
            if number == self.copied:
                self._copy(store, 91)()
        index.changes.newest()
        self.start.update(objects(store))
        if self.leftovers:
            self._copy(store, 92)()
            files = {key: body for key, body in objects(store) if key.startswith(f"{TO}files/")}
            # without the list of names, a sweep takes nothing, as any project may be lost
            self.start.update(files | {f"{TO}{keys.PROJECT_NAMES}": b'{"names":[]}'})
        self.revisions.update((name, document(here, name).revision) for name in NAMES)

    def explorer(self, faults: int = 0, meets: Callable[[Call], bool] = in_target) -> Explorer:
        """Return the exploration of the calls of all that meet others, with so many faults."""
        processes = {"K": Process(partial(self._copy, seed=1), meets)}
        if self.changes:
            processes["W"] = Process(self._change, changes_source)
        for number, (name, change) in enumerate(self.others.items(), 2):
            processes[name] = Process(partial(self._other, seed=number, change=change), meets)
        return Explorer(Processes(self.start, processes, self.broken, self.again), faults)

    def _copy(self, store: Store, seed: int) -> Work:
        source = opened(ReadOnlyStore(PrefixedStore(store, FROM)), self.folder, 10 + seed)
        target = opened(PrefixedStore(store, TO), self.folder, 20 + seed)

        def work() -> str:
            problems = copy_whole(source, target).problems
            return f"left out {problems}" if problems else "ok"

        return work

    def _change(self, store: Store) -> Work:
        clock = Clock()
        index = opened(PrefixedStore(store, FROM), self.folder, 30, clock)

        def work() -> None:
            for change in self.changes:
                clock.advance(seconds=1)
                change(index)

        return work

    def _other(self, store: Store, seed: int, change: Change) -> Work:
        if change is copy:
            return self._copy(store, seed)
        index = opened(PrefixedStore(store, TO), self.folder, 40 + seed)

        def work() -> None:
            change(index)

        return work

    def broken(self, store: Store, answers: Mapping[str, str]) -> Iterator[str]:
        """Yield every promise that is broken: of journals, bytes, rights, and of one moment."""
        here, there = PrefixedStore(store, FROM), PrefixedStore(store, TO)
        arrived = dict[str, int]()
        for name in NAMES:
            kind, project = project_journal(name), document(there, name)
            arrived[name] = project.revision
            yield from broken_journal(there, kind)
            yield from lost_bytes(there, project, START)
            commits = committed(there, kind)
            if commits != committed(here, kind)[: len(commits)] and not self.has_uploads:
                yield f"{name} has a commit in the target that the source lacks"
            if project.revision and there.get(keys.INDEX_LIST) is None:
                yield f"{name} arrived before it was known who may read it"
        if answers.get("K") == "ok" and not self.has_uploads:
            if arrived not in self._moments(here):
                yield f"{arrived} is the source at no moment: {self._moments(here)}"
            listed = there.get(keys.PROJECT_NAMES)
            names = {name for name, revision in arrived.items() if revision}
            if not isinstance(listed, Stored) or names != names_in(listed):
                yield "the list has other names than those of the projects that were copied"

    def _moments(self, here: Store) -> list[dict[str, int]]:
        """Return the revisions of all projects of the source at the start and after each change."""
        commits = [
            (commit.events[0].at, name, number)
            for name in NAMES
            for number, commit in enumerate(committed(here, project_journal(name)), 1)
            if number > self.revisions[name]
        ]
        moments = [self.revisions]
        for _, name, number in sorted(commits):
            moments.append(moments[-1] | {name: number})
        return moments

    def again(self, store: Store) -> Iterator[str]:
        """Yield what a check finds in the target, and what another copy does not bring."""
        here, there = PrefixedStore(store, FROM), PrefixedStore(store, TO)
        checked = PrefixedStore(OrdinalStore(dict(objects(store))), TO)
        yield from opened(checked, self.folder, 70).server.check.run().problems
        answer = self._copy(store, 71)()
        if self.has_uploads:
            return
        if answer != "ok":
            yield f"the next copy left something out: {answer}"
        for name in NAMES:
            if document(there, name) != document(here, name):
                yield f"the next copy did not bring {name}"
        found = opened(there, self.folder, 72).server.check.run()
        yield from found.problems
        # the newest entry about the indexes comes with their next commit, or with a check
        yield from (line for line in found.repaired if keys.INDEX_LIST not in line)


def names_in(listed: Stored) -> frozenset[NormalizedName]:
    """Return the names in a list of names."""
    return Codec(NameList).decode(keys.PROJECT_NAMES, listed.body).as_set


def upload(made: Distribution) -> Change:
    """Return the upload of a distribution."""

    def change(index: Index) -> None:
        index.uploads.accept(made.arrival(index.server.spool.folder), ALICE)

    return change


def remove(made: Distribution) -> Change:
    """Return the removal of a distribution with its bytes."""
    return lambda index: remove_now(index, made.sha256)


def sweep(index: Index) -> None:
    """Sweep the target."""
    index.server.sweep.run(START)


def copy(_: Index) -> None:
    """Stand for another copy, which is no change of one index."""


BOTH = (upload(ONE), upload(OTHER_ONE))
SCHEDULES: dict[str, tuple[dict[str, Any], dict[str, int], Call, tuple[str, ...]]] = {
    "projects are uploaded while bytes are copied": (
        {"before": BOTH, "changes": (upload(TWO), upload(make_wheel("other", "2.0")))},
        {"MOST_RECORDS": 0},
        Call("read", f"{FROM}{keys.FILES}"),
        ("ok", "ok"),
    ),
    "a project is made after another one was read": (
        {"before": (upload(ONE),), "changes": (upload(OTHER_ONE),)},
        {},
        Call("get", f"{TO}{keys.project(DEMO)}"),
        ("ok", "ok"),
    ),
    "a project is made before another one is read": (
        {"before": (upload(ONE),), "changes": (upload(OTHER_ONE), upload(TWO))},
        {},
        Call("get", f"{FROM}{keys.project(DEMO)}"),
        ("ok", "ok"),
    ),
    "projects are uploaded before one of them is read": (
        {"before": BOTH, "changes": (upload(TWO), upload(make_wheel("other", "2.0")))},
        {},
        Call("get", f"{FROM}{keys.project(OTHER)}"),
        ("ok", "ok"),
    ),
    "a file is removed before its bytes are copied": (
        {"before": BOTH, "changes": (upload(TWO), remove(ONE))},
        {},
        Call("read", f"{FROM}{keys.files_of(DEMO)}"),
        ("ok", "ok"),
    ),
    "a file is removed whenever bytes are copied": (
        {"before": BOTH, "changes": (remove(ONE),)},
        {"MAX_RETRIES": 0},
        Call("read", f"{FROM}{keys.files_of(DEMO)}"),
        ("left out *demo: files were deleted while they were copied. Copy again.*", "ok"),
    ),
    "another copy brings a later moment": (
        {"before": BOTH, "changes": (upload(TWO),), "others": {"L": copy}},
        {"MOST_RECORDS": 0},
        Call("read", f"{FROM}{keys.files_of(OTHER)}"),
        ("ok", "ok", "ok"),
    ),
    **{
        f"another copy comes before {key} are written": (
            {"before": (*BOTH, upload(TWO)), "others": {"L": copy}},
            {},
            Call(verb, f"{TO}{key}"),
            ("ok", "ok"),
        )
        for verb, key in (
            ("put_file", keys.FILES),
            ("put", keys.PENDING),
            ("put", keys.PROJECTS),
            ("put", keys.JOURNAL),
        )
    },
    "an upload to the target comes before the copied one": (
        {
            "before": (upload(ONE), upload(TWO), upload(make_wheel(version="2.1"))),
            "copied": 1,
            "others": {"A": upload(THREE)},
            "has_uploads": True,
        },
        {},
        Call("put", f"{TO}{keys.project(DEMO)}"),
        ("left out *demo: TO has changes that FROM lacks, so it was left *", "ok"),
    ),
}
"""What is copied beside what, with which limits, where the copy stops, and what all are told."""


@pytest.mark.parametrize(
    ("fields", "limits", "call", "answers"), list(SCHEDULES.values()), ids=list(SCHEDULES)
)
def test_a_copy_lets_others_come_in_between(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    limits: dict[str, int],
    call: Call,
    answers: tuple[str, ...],
) -> None:
    """A copy that others come before has one moment of the source, or says what it left out."""
    for name, limit in limits.items():
        monkeypatch.setattr(store_copy, name, limit)

    told = CopyScenario(tmp_path, **fields).explorer(meets=anywhere).play(("K", call))

    assert are_like(told, answers), told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "changes", "has_removals"),
    [
        ((upload(ONE),), (upload(OTHER_ONE), upload(TWO)), False),
        pytest.param(
            (upload(ONE), upload(OTHER_ONE)),
            (upload(TWO), upload(make_wheel("other", "2.0"))),
            False,
            marks=pytest.mark.weekly,
        ),
        pytest.param(
            (upload(ONE), upload(OTHER_ONE)),
            (upload(TWO), remove(ONE)),
            True,
            marks=pytest.mark.weekly,
        ),
    ],
    ids=["a new project", "uploads", "an upload and a removal"],
)
@pytest.mark.parametrize("is_first", [True, pytest.param(False, marks=pytest.mark.weekly)])
def test_a_copy_is_the_source_at_one_moment(
    tmp_path: Path,
    before: tuple[Change, ...],
    changes: tuple[Change, ...],
    *,
    has_removals: bool,
    is_first: bool,
) -> None:
    """A copy beside uploads and removals has all that was there at one moment, and no more."""
    copied = 0 if is_first else 1

    scenario = CopyScenario(tmp_path, before, copied, changes)

    result = scenario.explorer(0, with_bytes if has_removals else in_source).explore()

    assert result.states >= 100
    assert result.answers == {("ok", "ok")}


@pytest.mark.weekly
def test_a_project_that_loses_files_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a project loses files faster than they are copied, it is left out, and that is said."""
    monkeypatch.setattr(store_copy, "MAX_RETRIES", 0)
    scenario = CopyScenario(tmp_path, (upload(ONE), upload(TWO)), changes=(remove(ONE),))

    answers = {copied for copied, _ in scenario.explorer(0, with_bytes).explore().answers}

    assert any("left out ['demo: files were deleted while they were copied" in a for a in answers)
    assert "ok" in answers


@pytest.mark.slow
@pytest.mark.parametrize("copied", [0, 1])
@pytest.mark.parametrize("faults", [1, pytest.param(2, marks=pytest.mark.weekly)])
def test_a_copy_that_fails_anywhere_can_go_on(tmp_path: Path, copied: int, faults: int) -> None:
    """Wherever a copy fails, a check finds the target sound, and the next copy goes on."""
    before = (upload(ONE), upload(OTHER_ONE), remove(ONE), upload(TWO))

    result = CopyScenario(tmp_path, before, copied).explorer(faults, anywhere).explore()

    assert {("ok",), ("crashed",)} < result.answers


WHERE = [in_target, anywhere_in_target]
"""Which calls are ordered of those who meet in the target."""


@pytest.mark.weekly
@pytest.mark.parametrize("meets", WHERE)
def test_two_copies_do_no_harm(tmp_path: Path, meets: Callable[[Call], bool]) -> None:
    """Two copies at once do no harm, and what is missing after them comes later."""
    result = CopyScenario(tmp_path, (upload(ONE),), others={"L": copy}).explorer(0, meets).explore()

    assert ("ok", "ok") in result.answers


@pytest.mark.weekly
@pytest.mark.parametrize("meets", WHERE)
def test_an_upload_to_the_target_is_not_overwritten(
    tmp_path: Path, meets: Callable[[Call], bool]
) -> None:
    """Of an upload to the target and a copy into it one wins, and the copy says so if it lost."""
    before = (upload(ONE), upload(TWO), upload(make_wheel(version="2.1")))
    scenario = CopyScenario(tmp_path, before, 1, others={"A": upload(THREE)}, has_uploads=True)

    answers = scenario.explorer(0, meets).explore().answers

    assert ("ok", "ok") in answers
    assert any("left out" in copied and uploaded == "ok" for copied, uploaded in answers)


@pytest.mark.slow
def test_a_sweep_of_the_target_takes_nothing_needed(tmp_path: Path) -> None:
    """A sweep of the target beside a copy takes no bytes that the copy finds there and lists."""
    scenario = CopyScenario(tmp_path, (upload(ONE),), others={"S": sweep}, leftovers=True)

    assert ("ok", "ok") in scenario.explorer(0, anywhere_in_target).explore().answers
