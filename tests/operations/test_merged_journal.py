"""The journals of everything as one, from the newest entry back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.fake_time import START, Clock
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import store_copy
from wheelyard.api import journal_operations
from wheelyard.api.journal_operations import (
    JournalEntries,
    JournalQuery,
    list_entries,
)
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import changes, keys
from wheelyard.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Status
from wheelyard.model.project_json import JournalEntry
from wheelyard.operations.merged_journal import READ_AHEAD
from wheelyard.upstream.decisions import Deciding
from wheelyard.wiring.index import Index

NAMES = ("alpha", "beta", "gamma")
NUMPY = NormalizedName("numpy")

Step = tuple[str, int]
"""Which document gets a commit, and how many minutes after the one before."""
STEPS = st.lists(
    st.tuples(st.sampled_from([*NAMES, "grant", "decision"]), st.integers(0, 200)), max_size=25
)


def make_history(harness: IndexHarness, steps: list[Step], *, given_at: int = 0) -> None:
    """Make commits; all of them get serials after that many, and later ones when asked for."""
    statuses = [Status.ARCHIVED, Status.DEPRECATED]
    uploaded = set[str]()
    for number, (what, minutes) in enumerate(steps):
        harness.clock.advance(minutes=minutes)
        if what == "grant":
            fields = GrantFields(who=("user:a@b.dev",), projects=(f"p{number}",), actions=("read",))
            harness.index.server.access.grant(fields, "local:bo")
        elif what == "decision":
            Deciding(harness.index.server.decisions, "local:cy").block(NUMPY, None, str(number))
        elif what not in uploaded:
            harness.upload(make_wheel(what))
            uploaded.add(what)
        else:
            reason = str(number)
            name = NormalizedName(what)
            harness.index.lifecycle.set_status(ALICE, name, statuses[number % 2], reason)
        if number == given_at:
            harness.index.changes.newest()


def pages(index: Index, /, **query: object) -> Iterator[JournalEntries]:
    """Yield all pages of a query."""
    before = ""
    while True:
        page = LocalApi(index=index, caller=ALICE).call(
            list_entries,
            JournalQuery(before=before, **query),  # type: ignore[arg-type]
        )
        yield page
        before = page.next
        if not before:
            return


def entries(index: Index, /, **query: object) -> list[JournalEntry]:
    """Return the entries of all pages."""
    return [entry for page in pages(index, **query) for entry in page.entries]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    steps=STEPS,
    given_at=st.integers(0, 25),
    limit=st.integers(1, 4),
    commits=st.sampled_from([1, 2, 5000]),
    is_local=st.booleans(),
    minutes=st.integers(0, 3000),
)
def test_every_entry_is_on_one_page(
    steps: list[Step], given_at: int, limit: int, commits: int, *, is_local: bool, minutes: int
) -> None:
    """Each commit is on one page, the newest first, whatever was when."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_operations, "LOCAL_COMMITS", commits)
        patch.setattr(journal_operations, "REMOTE_COMMITS", commits)
        harness = IndexHarness(Path(folder))
        make_history(harness, steps, given_at=given_at)
        index = harness.opened(3, is_local=is_local)

        listed = entries(index, limit=limit)
        moment = START + timedelta(minutes=minutes)
        later = entries(index, limit=limit, since=moment)
        earlier = entries(index, limit=limit, until=moment)

        assert len(listed) == len(steps)
        assert len({(entry.project, entry.commit, entry.by) for entry in listed}) == len(steps)
        times = [entry.at for entry in listed]
        assert times == sorted(times, reverse=True)
        assert later == [entry for entry in listed if entry.at >= moment]
        assert earlier == [entry for entry in listed if entry.at < moment]


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["as it grew", "copied", "made again"])
def test_newest_page_costs_what_is_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feed: str
) -> None:
    """The newest page reads the projects that are on it, also if all got their serials just now."""
    monkeypatch.setattr(changes, "MOST_ENTRIES", 10)
    monkeypatch.setattr(changes, "SEALED_ENTRIES", 5)
    monkeypatch.setattr(changes, "BATCH", 5)
    harness = IndexHarness(tmp_path)
    for number in range(40):
        harness.clock.advance(hours=2)
        harness.upload(make_wheel(f"p{number * 7 % 40}"))
        if feed == "as it grew":
            harness.index.changes.newest()
    harness.clock.advance(days=1)
    if feed == "made again":
        harness.index.changes.newest()
        harness.store.delete(keys.CHANGES)
        harness.check(rebuild=True)
    elif feed == "copied":
        target = IndexHarness(tmp_path, Clock(harness.clock.now))
        store_copy(harness.index.stores, harness.index.changes, target.index).run(lambda *_: None)
        harness = target
    harness.opened(2).changes.newest()
    store = FakeStore(harness.store)

    page = next(pages(harness.opened(3, store=store), limit=4))

    assert [entry.project for entry in page.entries] == ["p33", "p26", "p19", "p12"]
    read = {key for _, key in store.calls if key.startswith((keys.PROJECTS, keys.JOURNAL))}
    assert read == {f"{keys.PROJECTS}{entry.project}.json" for entry in page.entries}


def test_each_further_page_costs_what_is_on_it(tmp_path: Path) -> None:
    """Who goes from page to page causes as few reads on each, however many projects are newer."""
    harness = IndexHarness(tmp_path)
    names = [f"p{number}" for number in range(12)]
    for turn in range(4):
        for name in names:
            harness.clock.advance(hours=2)
            if turn:
                status = (Status.ARCHIVED, Status.DEPRECATED)[turn % 2]
                harness.index.lifecycle.set_status(ALICE, NormalizedName(name), status, "")
            else:
                harness.upload(make_wheel(name))
    store = FakeStore(harness.store)
    reads, listed = list[int](), list[str | None]()
    for page in pages(harness.opened(3, store=store), limit=4):
        reads.append(sum(key.startswith((keys.PROJECTS, keys.JOURNAL)) for _, key in store.calls))
        store.calls.clear()
        listed += [entry.project for entry in page.entries]

    assert listed == [*reversed(names * 4)]
    assert max(reads[1:]) <= 13  # the first page also gives serials


def test_a_bucket_is_read_ahead_once(harness: IndexHarness) -> None:
    """A page of a long journal in a bucket reads ahead, and again only when that was shown."""
    make_history(harness, [("alpha", 1)] * 60)
    store = FakeStore(harness.store)

    page = next(pages(harness.opened(3, store=store, is_local=False), limit=10))

    assert [entry.commit for entry in page.entries] == [*range(60, 50, -1)]
    read = [key for verb, key in store.calls if verb == "get" and key.startswith(keys.JOURNAL)]
    assert len(read) <= READ_AHEAD


def test_filters(harness: IndexHarness) -> None:
    """Entries are found by project, by who, and by what has happened."""
    make_history(harness, [("alpha", 1), ("grant", 1), ("beta", 1), ("decision", 1), ("alpha", 1)])
    index = harness.index

    assert [entry.what for entry in entries(index, project="Alpha")] == ["status", "uploaded"]
    assert [entry.what for entry in entries(index, project="numpy")] == ["blocked"]
    assert entries(index, project="missing") == []
    assert {entry.what for entry in entries(index, by="local:bo")} == {"granted"}
    assert [entry.project for entry in entries(index, what="uploaded")] == ["beta", "alpha"]
    assert len(entries(index, by="alice", what="status", limit=1)) == 1
    shown = [f"status {entry.status}" for entry in entries(index, what="status")]
    assert len(entries(index, what=shown[0])) == shown.count(shown[0])
    with pytest.raises(Invalid, match="Choose one of: uploaded"):
        entries(index, what="renamed")
    both = entries(index, by="alice", project="alpha", what="uploaded")
    assert [entry.commit for entry in both] == [1]


def test_entries_of_a_machine_that_does_not_know_the_time(tmp_path: Path) -> None:
    """What a machine does whose clock begins in 1970 at each start is in the journal as well."""
    harness = IndexHarness(tmp_path, Clock(datetime(1970, 1, 1, 0, 10, tzinfo=UTC)))
    make_history(harness, [("alpha", 1), ("grant", 1)])

    assert [entry.what for entry in entries(harness.index)] == ["granted", "uploaded"]


def test_since_allows_for_a_clock_that_is_behind(harness: IndexHarness) -> None:
    """An entry is found by its time, also before one of a server whose clock is an hour behind."""
    make_history(harness, [("alpha", 200), ("alpha", -60)])

    found = entries(harness.index, since=START + timedelta(minutes=200))

    assert [entry.what for entry in found] == ["uploaded"]


def test_entries_of_one_index(harness: IndexHarness) -> None:
    """Entries are found by index; changes of rights and decisions are in none of them."""
    index = harness.opened(3, tables=toml_of(index=({"name": "dev"}, {"name": "prod"})))
    for name in ("dev", "prod"):
        index.named(name).uploads.accept(make_wheel("alpha").arrival(harness.folder), ALICE)
    Deciding(index.server.decisions, "local:cy").block(NUMPY, None, "")

    for name in ("dev", "prod"):
        found = [(entry.what, entry.in_index) for entry in entries(index, index=name)]
        assert found == [("uploaded", name)]


def test_search_that_finds_little_goes_on(
    harness: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer looks at some commits only, says how far it has come, and leads on."""
    make_history(harness, [("alpha", 10)] * 7)
    monkeypatch.setattr(journal_operations, "LOCAL_COMMITS", 3)

    found = list(pages(harness.index, what="uploaded"))

    assert [len(page.entries) for page in found] == [0, 0, 1]
    assert found[0].looked_back_to == START + timedelta(minutes=50)


def test_unreadable_parts_are_named(harness: IndexHarness) -> None:
    """A lost entry and a damaged document are named, and everything else is there."""
    make_history(harness, [("alpha", 1), ("beta", 1), ("alpha", 1), ("grant", 1), ("alpha", 1)])
    harness.store.delete(keys.commit(NormalizedName("alpha"), 2))
    harness.store.put(keys.project(NormalizedName("beta")), b"{", None)
    harness.store.put(keys.ACCESS, b"{", None)

    (page,) = pages(harness.opened(3))

    assert [entry.commit for entry in page.entries] == [3, 1]
    access, beta, alpha = page.problems
    assert access.startswith("the grants and groups cannot be read: ")
    assert beta.startswith("beta cannot be read: ")
    assert alpha.startswith("the journal of the project alpha has lost its entries 2.")
    # rights are about no project
    (page_of_beta,) = pages(harness.opened(3), project="beta")
    assert page_of_beta.problems == (beta,)


@pytest.mark.parametrize(
    "key",
    [keys.CHANGES, keys.project(NormalizedName("beta")), keys.ACCESS],
    ids=["changes", "project", "rights"],
)
def test_a_store_that_does_not_answer_gives_no_page(harness: IndexHarness, key: str) -> None:
    """While the store does not answer, a page is refused, and not shown without some entries."""
    make_history(harness, [("alpha", 1), ("beta", 1), ("grant", 1)])
    harness.index.changes.newest()
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, "get", key, times=ALWAYS))

    with pytest.raises(Unavailable, match="The store did not answer"):
        entries(harness.opened(3, store=store))


def test_a_journal_without_its_first_entries(harness: IndexHarness) -> None:
    """A page of the time before the first entry that is left of a project names the lost ones."""
    make_history(harness, [("beta", 1), ("alpha", 1), ("alpha", 60), ("alpha", 60)])
    for number in (1, 2):
        harness.store.delete(keys.commit(NormalizedName("alpha"), number))

    (page,) = pages(harness.opened(3), until=START + timedelta(minutes=30))

    assert [entry.project for entry in page.entries] == ["beta"]
    (problem,) = page.problems
    assert problem.startswith("the journal of the project alpha has lost its entries 1, 2.")


def test_lost_feed_is_named(harness: IndexHarness) -> None:
    """Without the list of changes the journals are read all the same."""
    make_history(harness, [("alpha", 1), ("beta", 400), ("alpha", 1)])
    harness.index.changes.newest()
    harness.store.delete(keys.CHANGES)

    (page,) = pages(harness.opened(3))

    assert [entry.project for entry in page.entries] == ["alpha", "beta", "alpha"]
    (problem,) = page.problems
    assert "is lost" in problem


@pytest.mark.parametrize("before", ["x", "2026-01-01T00:00:00.000000Z/alpha", "..\n"])
def test_place_has_to_be_one(harness: IndexHarness, before: str) -> None:
    """A text that no answer has had as its place is refused."""
    api = LocalApi(index=harness.index, caller=ALICE)
    with pytest.raises(Invalid):
        api.call(list_entries, JournalQuery(before=before))
    with pytest.raises(Invalid):
        api.call(list_entries, JournalQuery(before="2026-13-01T00:00:00.000000Z/alpha/1"))


def test_only_administrators_read_it(harness: IndexHarness) -> None:
    """The journals of everything are for administrators alone."""
    for caller, error in (
        (Caller("htpasswd:bo", ()), Forbidden),
        (Caller(ANONYMOUS, ()), Unauthenticated),
    ):
        api = LocalApi(index=harness.index, caller=caller)
        with pytest.raises(error):
            api.call(list_entries, JournalQuery())
