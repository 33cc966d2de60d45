"""Stores of format 2: a copy has all that they have, and nothing else touches them."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.catalog.invariants import commit_key
from tests.migration.format_2_stores import KINDS, copy, objects_of, store_of
from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import keys
from wheelyard.catalog.commits import Journal
from wheelyard.catalog.journaled_documents import DECISIONS, project_journal
from wheelyard.model.project import Commit
from wheelyard.model.public_packages import DecisionList
from wheelyard.storage.base import Key
from wheelyard.wiring.index import Index

OTHER = "acme-core"
LISTS = (keys.PROJECT_NAMES, keys.FORMAT)
UNSEEN = (
    "The approval of unseen 1.0 is about no file: it has no digests, and no page of it was stored. "
    "Approve it again."
)


@pytest.fixture
def target(tmp_path: Path) -> IndexHarness:
    """An empty index of the present format."""
    return IndexHarness(tmp_path)


def documents(harness: IndexHarness) -> dict[str, bytes]:
    """Return what a store has beside bytes of distributions, lists, and serials of changes."""
    left_out = (keys.FILES, "pending/", "changes", *LISTS)
    return {key: body for key, body in harness.snapshot().items() if not key.startswith(left_out)}


def decisions(harness: IndexHarness) -> DecisionList:
    """Return the decisions in a store."""
    return DECISIONS.read(harness.store)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_arrives(kind: str, target: IndexHarness) -> None:
    """Every object of the store is in the copy, but for what is made or fetched again."""
    objects = objects_of(kind)

    report = copy(store_of(objects), target)

    assert (report.problems, report.notes) == ([], [UNSEEN])
    again = ("derived/", "incoming/", "credentials/sessions/", "upstream/osv.json.zst")
    wanted = {key.replace(".json.zst", ".json.gz") for key in objects if not key.startswith(again)}
    # what the deaths of processes have left to do is done
    revision = json.loads(objects["projects/arriving.json"])["revision"]
    wanted |= {f"journal/arriving/{number:010}.json" for number in range(1, revision + 1)}
    wanted |= {"journal/dying/0000000003.json"}
    # the bytes of what is listed are checked below
    assert {key for key in wanted if "files/" not in key} == {*documents(target), *LISTS}
    checked = target.check()
    assert (checked.problems, checked.repaired) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
def test_commits_keep_numbers_ids_and_times(kind: str, target: IndexHarness) -> None:
    """Commits keep their numbers, ids, times and principals; each names the one before."""
    objects = objects_of(kind)
    copy(store_of(objects), target)

    index = target.opened(seed=4)
    for key, body in objects.items():
        name = keys.project_of(Key(key))
        if name is None:
            continue
        old = json.loads(body)
        commits = history_of(index, name)
        assert len(commits) == old["revision"]
        for commit in commits[:-1]:
            entry = objects.get(commit_key(name, commit.number))
            if entry is not None:
                assert_same(json.loads(entry), json.loads(commit.stored))
        assert_same(old["commit"], json.loads(commits[-1].stored))


def history_of(index: Index, name: NormalizedName) -> list[Commit]:
    """Return every commit of a project, whose name may be released."""
    journal = project_journal(name)
    project, _ = journal.read(index.stores.documents)
    commits = Journal(journal, index.stores.documents, project)
    return [*commits.read_all(range(1, project.revision + 1))]


def assert_same(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Expect that two commits differ in words of their format alone."""
    assert [old[text] for text in ("number", "id")] == [new[text] for text in ("number", "id")]
    for before, after in zip(old["events"], new["events"], strict=True):
        for text in ("at", "by", "by_name"):
            assert before.get(text) == after.get(text)
        if "filenames" in before:
            assert before["filenames"] == after["files"]
        if "file" in before:
            file, shown = before["file"], after["data"]["file"]
            assert file.pop("core_metadata") == shown.pop("sidecars")["metadata"]
            assert file == shown


def test_names_that_were_reserved(target: IndexHarness) -> None:
    """Words in the reason of a status are events of their own; the reason stays what was given."""
    copy(store_of(objects_of("folder")), target)

    index = target.opened(seed=4)
    events = {
        name: [
            (event.what, event.reason)
            for event in history_of(index, NormalizedName(name))[0].events
        ]
        for name in ("acme-next", "acme-plain")
    }
    assert events == {
        "acme-next": [("reserved", "starts in spring")],
        "acme-plain": [("reserved", "")],
    }
    names = index.projects.names.get_current().as_set
    assert {"acme-next", "acme-taken", "team-claimed", "team-emptied"} <= names
    assert names.isdisjoint({"acme-given-up", "acme-plain"})


def test_approvals_without_digests(target: IndexHarness) -> None:
    """They are about the files that a later decision, or the page in the store, says."""
    copy(store_of(objects_of("folder")), target)

    decided = decisions(target)
    digests = {
        decision.project: decision.sha256
        for decision in decided.decisions
        if decision.version == "1.0"
    }
    assert [len(digests[NormalizedName(name)] or ()) for name in ("bound", "approved")] == [1, 1]
    assert digests[NormalizedName("unseen")] == ()
    assert decided.revision == json.loads(objects_of("folder")["decisions.json"])["revision"]


def test_a_later_copy(tmp_path: Path, target: IndexHarness) -> None:
    """A copy while the old server runs, and another one at its end, are as good as one."""
    at_once = IndexHarness(tmp_path)
    earlier, old = store_of(objects_of("earlier")), store_of(objects_of("folder"))
    copy(old, at_once)

    first = copy(earlier, target)
    assert first.problems == []
    assert copy(old, target).problems == []
    journal = keys.DECISIONS_JOURNAL
    assert {key for key, body in documents(target).items() if documents(at_once)[key] != body} == {
        # there was no page when the approval was copied; the old server found one later
        *(f"{journal}{number:010}.json" for number in (4, 5, 6, 7, 8)),
        keys.DECISIONS,
    }
    assert decisions(target).decisions == decisions(at_once).decisions
    before = target.snapshot()
    last = copy(old, target)

    assert (last.changed, last.objects, last.decisions, last.upstream) == (0, 0, 0, 0)
    assert target.snapshot() == before
    assert target.check().problems == []


DAMAGE = {
    "projects/demo.json": b'{"name":"demo"',
    "journal/demo/0000000002.json": None,
    "journal/demo/0000000003.json": b"?",
    "journal/demo/0000000004.json": b'{"number":4,"id":"x","previous":"","events":[]}\n',
}


@pytest.mark.parametrize("key", DAMAGE)
def test_a_damaged_project(target: IndexHarness, key: str) -> None:
    """It is left out with a sentence that says what to do, and the others arrive."""
    objects, body = objects_of("folder"), DAMAGE[key]
    objects = {**objects, key: body} if body is not None else objects
    if body is None:
        del objects[key]

    report = copy(store_of(objects), target)

    (problem,) = report.problems
    assert problem.startswith("demo: in FROM: ")
    assert key in problem
    assert problem.endswith("Run 'wheelyard check' there, of the version that wrote it.")
    assert f"projects/{OTHER}.json" in target.snapshot(keys.PROJECTS)
    assert target.check().problems == []


def test_a_document_that_differs_from_its_journal(target: IndexHarness) -> None:
    """What nobody has committed is not copied."""
    objects = objects_of("folder")
    edited = objects["projects/demo.json"].replace(b'"summary":"A demo', b'"summary":"Another')
    assert edited != objects["projects/demo.json"]

    report = copy(store_of(objects | {"projects/demo.json": edited}), target)

    (problem,) = report.problems
    assert "projects/demo.json is damaged: it is not what its journal says" in problem


@pytest.mark.parametrize("key", ["decisions.json", "decisions/0000000002.json"])
def test_damaged_decisions_are_left_out_and_reported(target: IndexHarness, key: str) -> None:
    """They are left out as a whole, and that is said."""
    report = copy(store_of(objects_of("folder") | {key: b"?"}), target)

    assert [problem.partition(" is damaged")[0] for problem in report.problems] == [
        f"decisions.json: in FROM: {key}"
    ]
    assert decisions(target).revision == 0


def page_of(harness: IndexHarness, upstream: str, name: str) -> dict[str, Any]:
    """Return the stored page of a public project."""
    for key in harness.snapshot(f"upstream/{upstream}-"):
        if key.endswith(f"/pages/{name}.json.gz"):
            page: dict[str, Any] = json.loads(gzip.decompress(harness.bytes_at(Key(key))))
            return page
    raise AssertionError(name)


def test_without_a_module_for_zstandard(
    target: IndexHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Owners of names arrive, and the command says what is missing; with one, the rest follows."""
    old, whole = store_of(objects_of("folder")), IndexHarness(tmp_path)
    copy(old, whole)
    with monkeypatch.context() as patch:
        for module in ("compression.zstd", "zstandard"):
            patch.setitem(sys.modules, module, None)
        report = copy(old, target)

    (note,) = report.notes
    assert note.startswith("12 pages of upstream indexes could not be read, so only the owner of")
    (problem,) = report.problems
    assert problem.startswith(
        "decisions.json: the approval of approved 1.0 has no digests of files"
    )
    assert "Install the package zstandard beside wheelyard, or approve it again" in problem
    assert set(documents(whole)) - set(documents(target)) == {
        key for key in documents(whole) if key.startswith("decisions")
    }
    assert page_of(target, "first", "shared").get("files") is None
    again = copy(old, target)
    assert (again.problems, again.upstream) == ([], 12)
    assert documents(target) == documents(whole)


def test_a_damaged_page(target: IndexHarness) -> None:
    """Its owner is known by its key, and stays the owner."""
    objects = objects_of("folder")
    (key,) = (key for key in objects if key.endswith("/pages/shared.json.zst"))

    report = copy(store_of(objects | {key: b"?"}), target)

    assert report.notes[1].startswith("1 page of upstream indexes could not be read")
    page = page_of(target, "first", "shared")
    assert page == {
        "name": "shared",
        "upstream": key.split("/")[1],
        "fetched_at": "1970-01-01T00:00:00Z",
    }
