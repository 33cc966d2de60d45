"""The journal of a project in pages, as people read it."""

from itertools import chain

import pytest
from msgspec.structs import replace

from tests.catalog.invariants import commit_key
from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.model.jobs import GITHUB
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.errors import NotFound
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import GrantFields, PersonEnded
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.model.stored_publishers import PublisherAdded
from wheelyard.operations.journal_reader import PAGE_COMMITS, HistoryReader, older_pages

DEMO = parse_name("demo")


def reader(harness: IndexHarness) -> HistoryReader:
    """Return a reader over the store of an index."""
    return HistoryReader(harness.index.projects, harness.index.tokens.records)


def with_commits(harness: IndexHarness, count: int) -> None:
    """Give the project demo so many commits."""
    harness.upload(make_wheel("demo"))
    for number in range(1, count):
        harness.clock.advance(minutes=1)
        harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, f"reason {number}")


@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
def test_all_pages_have_each_commit_once(harness: IndexHarness, *, is_local: bool) -> None:
    """All pages together have every commit once, and each reads no commit but its own."""
    with_commits(harness, 3 * PAGE_COMMITS + 7)
    faulty = FakeStore(harness.store)
    harness.store = faulty
    harness.index = harness.opened(seed=3, is_local=is_local)
    project = harness.index.projects.get(DEMO)
    faulty.calls.clear()

    count, history = older_pages(project.revision), reader(harness)
    newest = history.read(project)
    asked = len(faulty.calls)
    older = [history.read(project, number) for number in range(1, count + 1)]

    numbers = [[entry.commit for entry in part.entries] for part in (*older, newest)]
    assert list(chain(*numbers)) == list(range(1, project.revision + 1))
    assert [len(number) for number in numbers] == [PAGE_COMMITS, PAGE_COMMITS, PAGE_COMMITS + 7]
    assert asked == PAGE_COMMITS + 6  # the newest commit is in the document
    assert len(faulty.calls) == project.revision - 1
    for absent in (0, count + 1):
        with pytest.raises(NotFound, match="no page"):
            history.read(project, absent)


def test_an_older_page_stays(harness: IndexHarness) -> None:
    """What an older page has does not change with later commits."""
    with_commits(harness, 2 * PAGE_COMMITS + 1)
    before = reader(harness).read(harness.index.projects.get(DEMO), 1)

    for _ in range(PAGE_COMMITS):
        harness.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")
        harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")

    assert reader(harness).read(harness.index.projects.get(DEMO), 1) == before


def test_what_is_lost_and_what_is_secret(harness: IndexHarness) -> None:
    """A lost commit is told by its number, and a token in a reason is never shown."""
    with_commits(harness, 3)
    harness.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "see wyd_abcdef")
    harness.store.delete(commit_key(DEMO, 2))

    part = reader(harness).read(harness.index.projects.get(DEMO))

    assert part.lost == (2,)
    assert [entry.commit for entry in part.entries] == [1, 3, 4]
    assert part.entries[-1].reason == "see wyd_***"


def test_changes_of_rights(harness: IndexHarness) -> None:
    """Grants for the project, their groups and what all grants mean are entries, others are not."""
    access = harness.index.server.access
    access.edit_group("set", "ours", ("user:ana@acme.dev",), "local:root")
    mine = GrantFields(who=("group:ours",), projects=("de*",), actions=("upload",))
    theirs = GrantFields(who=("user:bob@acme.dev",), projects=("other",), actions=("upload",))
    elsewhere = replace(mine, index="dev")
    first, second = access.grant(mine, "local:root"), access.grant(theirs, "local:root")
    access.revoke(access.grant(elsewhere, "local:root"), "local:root")
    harness.clock.advance(minutes=1)
    harness.upload(make_wheel("demo"))
    harness.clock.advance(minutes=1)
    access.edit_group("add", "ours", ("user:cy@acme.dev",), "local:root")
    access.revoke(first, "local:root")
    access.revoke(second, "local:root")
    ended = PersonEnded(at=harness.clock.now, by="local:root", who="oidc:acme:ana@acme.dev#0")
    access.records.change(lambda _: (ended,))
    access.mark()
    project, history = harness.index.projects.get(DEMO), reader(harness)
    newest, rights = history.read(project), harness.index.catalog.rights

    entries = history.with_rights(newest, project, MAIN, *rights)

    *of_project, mark = entries
    assert [entry.what for entry in of_project] == ["granted", "uploaded", "group", "revoked"]
    assert "one that names none is about main" in mark.reason
    assert "other" not in " ".join(entry.reason for entry in entries)


def test_changes_of_publishers(harness: IndexHarness) -> None:
    """Publishers of the project are entries; one that an older version kept malformed is none."""
    harness.upload(make_wheel("demo"))
    malformed = {"id": "odd", "projects": ["*"], "index": ","}
    good, odd = (
        PublisherAdded(at=harness.clock.now, by="local:root", keys=table)
        for table in ({**GITHUB, "id": "good", "projects": ["de*"]}, malformed)
    )
    harness.index.server.publishers.records.change(lambda _: (good, odd))
    project, history = harness.index.projects.get(DEMO), reader(harness)

    entries = history.with_rights(
        history.read(project), project, MAIN, *harness.index.catalog.rights
    )

    assert ["good" in entry.reason for entry in entries if entry.what != "uploaded"] == [True]
