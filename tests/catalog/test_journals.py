"""Reading a journal whose entries may be lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalog.invariants import DEMO, commit_key
from tests.distributions import make_wheel
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.catalog.commits import Journal
from wheelyard.catalog.journaled_documents import ACCESS
from wheelyard.errors import Unavailable
from wheelyard.model.project import Commit, Project
from wheelyard.storage.base import Store, Stored

SECOND = commit_key(DEMO, 2)


def with_three_changes(folder: Path) -> IndexHarness:
    """Return an index with three changes of a project, of which the newest has no entry yet."""
    harness = IndexHarness(folder)
    for version in ("1.0", "2.0", "3.0"):
        harness.upload(make_wheel(version=version))
    harness.store.delete(commit_key(DEMO, 3))
    return harness


def numbers_in(journal: Journal[Project, Commit]) -> list[tuple[int, int | None]]:
    """Return the numbers of three changes, and of what the journal has in their places."""
    found = journal.find_all([3, 2, 1])
    return [(number, commit.number if commit else None) for number, commit in found]


def lose_second(store: Store) -> None:
    """Take the second entry away."""
    store.delete(SECOND)


def damage_second(store: Store) -> None:
    """Put something else in place of the second entry."""
    store.put(SECOND, b"{}", None)


def repeat_first(store: Store) -> None:
    """Put the first entry in place of the second one."""
    first = store.get(commit_key(DEMO, 1))
    assert isinstance(first, Stored)
    store.put(SECOND, first.body, None)


@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
def test_the_newest_change_needs_no_entry(tmp_path: Path, *, is_local: bool) -> None:
    """A journal without the entry of the newest change is whole: the document has that change."""
    harness = with_three_changes(tmp_path)
    projects = harness.opened(seed=2, is_local=is_local).projects
    journal = projects.journal(projects.get(DEMO))

    assert numbers_in(journal) == [(3, 3), (2, 2), (1, 1)]
    assert [commit.number for commit in journal.read_all(range(1, 4))] == [1, 2, 3]


@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
@pytest.mark.parametrize("damage", [lose_second, damage_second, repeat_first])
def test_lost_entry_is_seen_between_others(
    tmp_path: Path, damage: Callable[[Store], None], *, is_local: bool
) -> None:
    """An entry that is lost, damaged or that of another change is missing between the others."""
    harness = with_three_changes(tmp_path)
    damage(harness.store)
    projects = harness.opened(seed=2, is_local=is_local).projects
    journal = projects.journal(projects.get(DEMO))

    assert numbers_in(journal) == [(3, 3), (2, None), (1, 1)]
    with refused(Unavailable, "damaged_document", SECOND):
        list(journal.read_all(range(1, 4)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "is damaged: it has no revision."),
        (b'{"revision":1}', "is damaged: it has not the commit of its revision."),
    ],
    ids=["no revision", "no commit"],
)
def test_a_document_without_its_commit_is_damaged(body: bytes, reason: str) -> None:
    """A document that nobody has committed counts as damaged, and not as one without an entry."""
    with refused(Unavailable, "damaged_document", match=reason):
        ACCESS.documents.decode(ACCESS.key, body)
