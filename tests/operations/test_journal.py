"""The journals of all projects, as they are read for people."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from threading import Barrier, get_ident

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.authentication.publishing_fixture import publishing, signed
from tests.catalog.invariants import commit_key
from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.fake_time import START
from tests.model.jobs import GITHUB_SAYS
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.api.journal_operations import JournalQuery, list_entries
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.access import Action, Caller
from wheelyard.model.api_token import NOBODY, TokenOwner, new_token
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import GrantFields, credential_of, is_match
from wheelyard.model.project import Status
from wheelyard.model.project_json import JournalEntry, other_entry_of
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.operations.journal_reader import (
    BEGINNING,
    RESTORED,
    DocumentJournal,
    HistoryReader,
    JournalPart,
    JournalReader,
    StoreJournals,
)
from wheelyard.operations.lifecycle import Selection
from wheelyard.rendering.web.project_overview import changes_of
from wheelyard.storage.base import Store

DEMO, OTHER = NormalizedName("demo"), NormalizedName("other")
RELEASE = Selection(parse_version("1.0"))
TOKEN = new_token(Random(1))


def reader(
    harness: IndexHarness,
    store: Store | None = None,
    only: NormalizedName | None = None,
    **filters: object,
) -> JournalReader:
    """Return a reader with empty caches, perhaps over another store or of one project."""
    whole = IndexHarness(harness.folder, clock=harness.clock)
    whole.store = store or harness.store
    index = whole.opened(seed=7)
    source = StoreJournals(index.projects, index.changes, index.tokens.records, only)
    return replace(JournalReader(source), **filters)


def read(journal: JournalReader) -> JournalPart:
    """Read what is new."""
    return journal.read(lambda *_: None)


def told(part: JournalPart) -> list[tuple[str, str, str]]:
    """Return project, action and name of each entry."""
    return [(str(entry.project), entry.what, entry.by_name or entry.by) for entry in part.entries]


def caller_of(harness: IndexHarness, name: str, owner: TokenOwner = NOBODY) -> Caller:
    """Return the caller of a new API token that may do everything."""
    request = TokenRequest(name=name, actions=Action.MANAGE.with_implied, owner=owner)
    _, record = harness.index.tokens.create(request, by="local:alice")
    return harness.index.authenticator.caller_for_token(record)


def test_all_projects_in_order_of_time(harness: IndexHarness) -> None:
    """The entries of all projects come in order of time, each with the name of its token."""
    ci = caller_of(harness, "ci")
    harness.upload(make_wheel("demo"), ci)
    harness.clock.advance(minutes=1)
    harness.upload(make_wheel("other"))
    harness.clock.advance(minutes=1)
    harness.index.lifecycle.change("yank", ci, DEMO, RELEASE, "see wyd_secret")
    harness.index.lifecycle.set_status(ci, OTHER, Status.ARCHIVED, "")
    harness.store.delete(keys.token(ci.principal[6:]))

    part = read(reader(harness))

    assert told(part) == [
        ("demo", "uploaded", "ci"),
        ("other", "uploaded", "local:alice"),
        ("demo", "yanked", "ci"),
        ("other", "status", "ci"),
    ]
    assert [entry.credential for entry in part.entries[:2]] == ["API token", "command line"]
    assert (part.entries[2].reason, part.entries[3].status) == ("see wyd_***", "archived")
    assert harness.index.projects.get(DEMO).files[0].uploaded_by_name == "ci"
    assert harness.check().problems == []


def test_a_job_is_named_by_its_run(noon: IndexHarness) -> None:
    """An upload by trusted publishing names the run of the CI job."""
    service = publishing(noon.index)
    authenticator = replace(noon.index.authenticator, trusted_publishing=service)
    job = authenticator.caller_for_token(service.mint(signed(GITHUB_SAYS)).record)
    noon.upload(make_wheel("mylib"), job)

    (entry,) = read(reader(noon)).entries

    run = "https://github.com/octo-org/octo-repo/actions/runs/1234567890"
    assert (entry.by, entry.by_name) == ("publisher:gh-mylib", run)
    assert entry.credential == "trusted publisher"


def test_what_tokens_of_a_person_did_is_theirs(harness: IndexHarness) -> None:
    """Who looks for what a person did finds what their tokens did, which name their owner."""
    bob = "user:bob@acme.dev"
    grant = GrantFields(who=(bob,), projects=("*",), actions=("manage",))
    harness.index.server.access.grant(grant, "local:alice")
    harness.upload(make_wheel("demo"), caller_of(harness, "ci", TokenOwner(bob, frozenset({bob}))))
    harness.upload(make_wheel("other"), caller_of(harness, "free"))

    own = read(reader(harness, by="bob@acme.dev")).entries
    listed = list_entries(LocalApi(index=harness.index, caller=ALICE), JournalQuery(by=bob)).entries
    index = harness.index
    history = HistoryReader(index.projects, index.tokens.records).read(index.projects.get(DEMO))

    assert [(entry.project, entry.by_name, entry.owner) for entry in own] == [("demo", "ci", bob)]
    assert [entry.owner for entry in (*listed, *history.entries)] == [bob, bob]
    (change,) = changes_of(history.entries)
    assert change.who == "the API token ci of bob@acme.dev, by Google"


def test_an_old_event_shows_the_name_of_its_token(harness: IndexHarness) -> None:
    """An event without a name shows its token's name as long as the token's record exists."""
    ci = caller_of(harness, "ci")
    harness.upload(make_wheel(), replace(ci, name=""))
    assert [entry.by_name for entry in read(reader(harness)).entries] == ["ci"]
    away = Fault(FaultKind.NOT_DONE, "get", f"{keys.TOKENS}*")
    part = read(reader(harness, FakeStore(harness.store, away)))
    assert told(part) == [("demo", "uploaded", ci.principal)]
    assert [ci.principal in problem for problem in part.problems] == [True]

    harness.store.put(keys.token(ci.principal[6:]), b"?", None)

    part = read(reader(harness))
    assert (told(part), part.problems) == ([("demo", "uploaded", ci.principal)], [])


def test_since_reads_no_more_than_it_needs(harness: IndexHarness) -> None:
    """Only projects that have changed since then are read, each from its end."""
    harness.upload(make_wheel("other"))
    for _ in range(5):
        harness.clock.advance(days=1)
        harness.upload(make_wheel("demo", f"1.{harness.clock.now.day}"))
        harness.index.changes.since(0)
    store = FakeStore(harness.store)
    journal = reader(harness, store, since=harness.clock.now - timedelta(days=1))
    store.calls.clear()

    part = read(journal)

    assert [entry.at.day for entry in part.entries] == [5, 6]
    touched = {key for verb, key in store.calls if verb == "get"}
    entries = {str(commit_key(DEMO, number)) for number in (3, 4)}
    assert touched == {keys.CHANGES, keys.project(DEMO), *entries}


def test_commits_are_read_several_at_a_time(harness: IndexHarness) -> None:
    """The commits of one project are read several at a time, unless all projects are read."""
    for version in ("1.0", "1.1", "1.2"):
        harness.upload(make_wheel("demo", version))
    both, threads = Barrier(2, timeout=TIMEOUT_SECONDS), set[int]()

    def commits(only: NormalizedName | None, action: Callable[[], object]) -> list[int]:
        store = FakeStore(harness.store, Before(action, "get", "journal/demo/*", times=2))
        index = harness.opened(7, store, is_local=False)
        source = StoreJournals(index.projects, index.changes, index.tokens.records, only)
        return [number for number, _ in source.commits(DEMO, 0)]

    assert commits(DEMO, both.wait) == [3, 2, 1]
    assert commits(None, lambda: threads.add(get_ident())) == [3, 2, 1]
    assert threads == {get_ident()}


def test_entries_are_filtered_by_principal_id_or_name(harness: IndexHarness) -> None:
    """A filter takes a principal, a token's id or its name."""
    ci = caller_of(harness, "ci")
    harness.upload(make_wheel("demo"), ci)
    harness.upload(make_wheel("other"))

    for by in ("ci", ci.principal, ci.principal[6:]):
        assert told(read(reader(harness, by=by))) == [("demo", "uploaded", "ci")]
    assert told(read(reader(harness, by="alice"))) == [("other", "uploaded", "local:alice")]


@pytest.mark.parametrize(
    ("wanted", "principal", "matches"),
    [
        ("Ana@Acme.dev", "user:ana@acme.dev", True),
        ("ana@acme.dev", "ana@acme.dev", True),
        ("CI", "static:ci", False),
        ("b", "publisher:a,b", True),
        ("user", "user:ana@acme.dev", False),
        ("", "anonymous", False),
        pytest.param(TOKEN.text, f"token:{TOKEN.id}", True, id="whole token"),
        pytest.param(TOKEN.text, "token:0123456789", False, id="another token"),
    ],
)
def test_case_counts_but_in_addresses(wanted: str, principal: str, *, matches: bool) -> None:
    """
    The case of letters counts except in an e-mail address.

    A job has all its publishers, and a whole token means its id.
    """
    assert is_match(wanted, principal, "") is matches


@pytest.mark.parametrize(
    ("principal", "credential"),
    [
        ("local:ana", "command line"),
        ("ana@acme.dev", "command line, Google account"),
        ("user:ana@acme.dev", "Google account"),
        ("ana", ""),
    ],
    ids=["command line", "command line of a cloud", "server", "unknown"],
)
def test_a_principal_says_its_credential(principal: str, credential: str) -> None:
    """The journal tells who was on the command line from who had sent a credential."""
    assert credential_of(principal) == credential


@given(st.text())
def test_any_principal_has_a_credential(principal: str) -> None:
    """Any text in an old journal has a type of credential, perhaps an unknown one."""
    assert isinstance(credential_of(principal), str)


def test_lost_entries_are_reported(harness: IndexHarness) -> None:
    """Lost entries and documents are problems; everything else is read all the same."""
    for version in ("1.0", "1.1", "1.2"):
        harness.upload(make_wheel("demo", version))
    harness.upload(make_wheel("other"))
    harness.upload(make_wheel("third"))
    harness.index.changes.since(0)
    harness.store.delete(commit_key(DEMO, 1))
    harness.store.put(commit_key(DEMO, 2), b"?", None)
    harness.store.delete(keys.project(OTHER))

    part = read(reader(harness))

    assert [(entry.project, entry.commit) for entry in part.entries] == [("demo", 3), ("third", 1)]
    assert [problem.partition(". ")[0] for problem in part.problems] == [
        "the journal of demo has lost its entries 1, 2",
        "other cannot be read: The document projects/other.json is lost.",
    ]


def test_a_token_that_cannot_be_read_is_a_problem(harness: IndexHarness) -> None:
    """While the store does not give a token, its entries are read without its owner."""
    ci = caller_of(harness, "ci")
    harness.upload(make_wheel("demo"), ci)
    lost = Fault(FaultKind.NOT_DONE, "get", f"{keys.TOKENS}*", times=ALWAYS)

    part = read(reader(harness, FakeStore(harness.store, lost)))

    assert told(part) == [("demo", "uploaded", "ci")]
    assert part.problems == [
        f"the owner of {ci.principal} cannot be read: The store did not answer."
    ]


def test_a_lost_last_entry_is_reported_once(harness: IndexHarness) -> None:
    """A document whose own last commit is another one is a problem, and is followed from there."""
    harness.upload(make_wheel("demo"))
    body = harness.bytes_at(keys.project(DEMO))
    harness.store.put(keys.project(DEMO), body.replace(b'"revision":1', b'"revision":2', 1), None)
    journal = reader(harness)

    first = read(journal)

    assert told(first) == [("demo", "uploaded", "local:alice")]
    assert [problem.partition(". ")[0] for problem in first.problems] == [
        "the journal of demo has lost its entries 2"
    ]
    assert read(journal) == JournalPart([], [])


def test_following_reads_only_what_is_new(harness: IndexHarness) -> None:
    """Each read has what is new, of new projects too; nothing new costs a listing and a read."""
    harness.upload(make_wheel("demo"))
    store = FakeStore(harness.store)
    journal = reader(harness, store)
    assert told(read(journal)) == [("demo", "uploaded", "local:alice")]
    store.calls.clear()
    assert read(journal) == JournalPart([], [])
    assert store.calls == [("list", keys.PENDING), ("get", keys.CHANGES)]

    harness.index.lifecycle.change("yank", ALICE, DEMO, RELEASE, "")
    harness.upload(make_wheel("other"))

    assert told(read(journal)) == [
        ("demo", "yanked", "local:alice"),
        ("other", "uploaded", "local:alice"),
    ]


@pytest.mark.parametrize(("verb", "key"), [("list", "*"), ("get", "journal/demo/*")])
def test_an_outage_loses_and_doubles_no_entry(harness: IndexHarness, verb: str, key: str) -> None:
    """An outage is told, and afterwards no entry is missing and none is doubled."""
    for version in ("1.0", "1.1", "1.2"):
        harness.upload(make_wheel("demo", version))
    harness.upload(make_wheel("other"))
    faults = (Fault(FaultKind.NOT_DONE, verb, key),)
    journal = reader(harness, FakeStore(harness.store, *faults))

    try:
        first = read(journal)
    except Unavailable:
        first = JournalPart([], [])
    second = read(journal)

    commits = [(entry.project, entry.commit) for entry in (*first.entries, *second.entries)]
    assert sorted(commits) == [("demo", 1), ("demo", 2), ("demo", 3), ("other", 1)]
    assert (verb == "list") == (first.problems == [])
    assert second.problems == []


def test_the_journal_of_a_deleted_project_remains(harness: IndexHarness) -> None:
    """The journal of one project remains when all its files are deleted."""
    harness.upload(make_wheel("demo"))
    harness.upload(make_wheel("other"))
    harness.index.lifecycle.change("delete", ALICE, DEMO, RELEASE, "old")

    part = read(reader(harness, only=DEMO, since=BEGINNING))

    assert [(entry.what, entry.reason) for entry in part.entries] == [
        ("uploaded", ""),
        ("deleted", "old"),
    ]
    assert part.entries[0].at == START


@pytest.mark.parametrize("body", [b"?", None], ids=["damaged", "lost"])
def test_without_the_feed_all_journals_are_read(harness: IndexHarness, body: bytes | None) -> None:
    """Without the list of changes all journals are read, which is told; following goes on later."""
    harness.upload(make_wheel("demo"))
    harness.upload(make_wheel("other"))
    harness.index.changes.newest()
    harness.store.delete(keys.CHANGES)
    if body:
        harness.store.put(keys.CHANGES, body, None)
    journal = reader(harness)

    part = read(journal)

    assert told(part) == [("demo", "uploaded", "local:alice"), ("other", "uploaded", "local:alice")]
    assert [problem.partition(" ")[0] for problem in part.problems] in (["changes.json"], ["The"])
    with pytest.raises(Unavailable, match=r"changes\.json"):
        read(journal)
    harness.check(rebuild=True)
    harness.opened(seed=5).lifecycle.change("yank", ALICE, DEMO, RELEASE, "")
    assert told(read(journal)) == [("demo", "yanked", "local:alice")]


@pytest.mark.parametrize("only", [None, DEMO])
@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_restore_is_reported_and_loses_no_entry(
    harness: IndexHarness, only: NormalizedName | None, later: int
) -> None:
    """After a restore to a point in time, which is told, everything that is written then comes."""
    for version in ("1.0", "1.1", "1.2"):
        harness.clock.advance(minutes=1)
        harness.upload(make_wheel("demo", version))
    harness.upload(make_wheel("other"))
    journal = reader(harness, only=only)
    assert len(read(journal).entries) == (3 if only else 4)
    for number in (2, 3):
        harness.store.delete(commit_key(DEMO, number))
    for key in (keys.project(DEMO), keys.PROJECT_NAMES, keys.CHANGES):
        harness.store.delete(key)
    harness.check(rebuild=True)
    harness.clock.advance(minutes=1)
    harness.index = harness.opened(seed=5)
    for number in range(later):
        harness.upload(make_wheel("demo", f"2.{number}"))

    part = read(journal)

    assert [entry.commit for entry in part.entries] == [*range(2, 2 + later)]
    assert set(part.problems) == {RESTORED}
    assert read(journal) == JournalPart([], [])
    harness.upload(make_wheel("demo", "3.0"))
    assert [entry.commit for entry in read(journal).entries] == [2 + later]


@pytest.mark.parametrize("later", [0, 1, 2, 3])
def test_decisions_after_a_restore_are_read(harness: IndexHarness, later: int) -> None:
    """Decisions that are made after a restore come, too, whatever number they get."""
    source = FakeDecisions([(number, decision(number)) for number in (1, 2)])

    journal = reader(harness, documents=(DocumentJournal("the decisions", source),))
    assert read(journal).entries == source.entries()
    assert read(journal).entries == []
    source.events[1:] = [(number + 2, decision(number + 10)) for number in range(later)]

    assert read(journal).entries == source.entries()[1:]
    assert read(journal).entries == []
    source.events.append((later + 2, decision(99)))
    assert read(journal).entries == source.entries()[-1:]


def test_decisions_that_cannot_be_read_are_a_problem(harness: IndexHarness) -> None:
    """While decisions cannot be read, that is a problem, the rest is read, and later they come."""
    harness.upload(make_wheel("demo"))
    source = FakeDecisions([(1, decision(1))], Unavailable("The store did not answer."))
    journal = reader(harness, documents=(DocumentJournal("the decisions", source),))

    part = read(journal)

    assert [entry.project for entry in part.entries] == ["demo"]
    assert part.problems == ["the decisions cannot be read: The store did not answer."]
    source.fault = None
    assert read(journal) == JournalPart(source.entries(), [])


class FakeDecisions(Struct):
    """Decisions with the numbers of their commits."""

    events: list[tuple[int, Decision]]
    fault: Unavailable | None = None
    """What is raised instead."""

    def events_after(self, number: int) -> Iterator[tuple[int, Decision]]:
        """Yield the decisions behind a commit."""
        if self.fault is not None:
            raise self.fault
        yield from (event for event in self.events if event[0] > number)

    def entries(self) -> list[JournalEntry]:
        """Return the entries of all decisions."""
        return [other_entry_of(number, event, "") for number, event in self.events]


def decision(minute: int) -> Decision:
    """Return a decision that was made so many minutes after the start."""
    return Decision(
        at=START + timedelta(minutes=minute),
        by="local:alice",
        verdict=Verdict.BLOCKED,
        project=DEMO,
    )
