"""What was decided about a public package, read for people."""

from datetime import timedelta

import pytest
from packaging.utils import NormalizedName

from tests.fake_store import FakeStore
from tests.fake_time import START, Clock, fake_runtime
from wheelyard.catalog.commits import Commits
from wheelyard.catalog.document_cache import CachePolicy, DocumentCache
from wheelyard.catalog.journaled_documents import DECISIONS, DecisionRecords
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.operations.journal_reader import DECISION_COMMITS, decision_history
from wheelyard.storage.memory import MemoryStore

DEMO, OTHER = NormalizedName("demo"), NormalizedName("other")


@pytest.fixture
def store() -> FakeStore:
    """A store that notes what it is asked."""
    return FakeStore(MemoryStore(Clock().seconds))


@pytest.fixture
def records(store: FakeStore) -> DecisionRecords:
    """The decisions in the store."""
    runtime = fake_runtime(Clock(), 1)
    policy = CachePolicy(is_local=True, freshness=0.0, capacity=1000)
    documents = DocumentCache(store, DECISIONS.documents, runtime, policy)
    retries = ConflictRetries(runtime=runtime)
    return DecisionRecords(DECISIONS, Commits(store, documents, retries))


def decide(
    records: DecisionRecords, name: NormalizedName, verdict: Verdict, version: str = ""
) -> Decision:
    """Make a decision, an hour after the one before."""
    number = (records.get().value or DECISIONS.empty).revision
    at = START + timedelta(hours=number)
    made = Decision(at=at, by="local:ana", verdict=verdict, project=name, version=version)
    records.change(lambda _: (made,))
    return made


def test_all_decisions_are_told_newest_first(records: DecisionRecords) -> None:
    """All decisions about a project are told, also those that others have replaced."""
    assert decision_history(records, DEMO) == ([], True)
    first = decide(records, DEMO, Verdict.APPROVED, "1.0")
    decide(records, OTHER, Verdict.BLOCKED)
    last = decide(records, DEMO, Verdict.BLOCKED)

    assert decision_history(records, DEMO) == ([last, first], True)


def test_reading_is_bounded(records: DecisionRecords, store: FakeStore) -> None:
    """Of a long journal the end is read; decisions in force are told however old they are."""
    decide(records, DEMO, Verdict.APPROVED, "1.0")
    replaced = decide(records, DEMO, Verdict.APPROVED, "2.0")
    in_force = decide(records, DEMO, Verdict.BLOCKED)
    for _ in range(DECISION_COMMITS - 1):
        decide(records, OTHER, Verdict.BLOCKED)
    again = decide(records, DEMO, Verdict.APPROVED, "2.0")
    store.calls.clear()

    history = decision_history(records, DEMO)

    assert history == ([again, in_force], False)
    assert replaced not in history[0]
    assert len(store.calls) <= DECISION_COMMITS + 1
