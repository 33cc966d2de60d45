"""Reading a journal whose entries may be lost."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.catalog.invariants import DEMO, commit_key
from tests.distributions import make_wheel
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.catalog.journaled_documents import ACCESS
from wheelyard.errors import Unavailable
from wheelyard.storage.base import Stored

SECOND = commit_key(DEMO, 2)


@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
@pytest.mark.parametrize("state", ["there", "missing", "damaged", "that of another number"])
def test_lost_entry_is_seen_between_others(tmp_path: Path, state: str, *, is_local: bool) -> None:
    """A lost entry of a journal is missing between the others; the newest needs no entry."""
    harness = IndexHarness(tmp_path)
    for version in ("1.0", "2.0", "3.0"):
        harness.upload(make_wheel(version=version))
    first = harness.store.get(commit_key(DEMO, 1))
    assert isinstance(first, Stored)
    harness.store.delete(commit_key(DEMO, 3))
    if state == "missing":
        harness.store.delete(SECOND)
    elif state != "there":
        harness.store.put(SECOND, b"{}" if state == "damaged" else first.body, None)
    projects = harness.opened(seed=2, is_local=is_local).projects
    journal = projects.journal(projects.get(DEMO))

    numbers = [(number, commit and commit.number) for number, commit in journal.find_all([3, 2, 1])]
    assert numbers == [(3, 3), (2, 2 if state == "there" else None), (1, 1)]
    with nullcontext() if state == "there" else pytest.raises(Unavailable, match=SECOND) as caught:
        assert [commit.number for commit in journal.read_all(range(1, 4))] == [1, 2, 3]
    assert caught is None or caught.value.code == "damaged_document"


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
