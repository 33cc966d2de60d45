"""The hour between the rules that a store has got and the first daily run by them."""

import pytest

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.index_tables import BY, put_rules
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import copy_whole
from tests.operations.two_indexes import DEMO
from wheelyard.api.health_operations import show_health
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import keys
from wheelyard.retention.daily import DailyRetention
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.base import Stored
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.index import Index

RULE = {"keep_last": 1}
OTHER = {"keep_last": 1, "only": "dev"}


def look(index: Index) -> None:
    """Look once, as each server does."""
    DailyRetention(lambda: index.server.retention, index.server.runtime).run_if_due()


def count(harness: IndexHarness) -> int:
    """Return how many files the project demo has."""
    return len(harness.opened(50).projects.read_for_update(DEMO).files)


@pytest.fixture
def filled_index(harness: IndexHarness) -> IndexHarness:
    """Return a store with two releases and a rule by which one of them goes."""
    for version in ("1.0", "2.0"):
        harness.upload(make_wheel(version=version))
    put_rules(harness.index, (RULE,))
    return harness


def test_servers_that_live_for_minutes_share_the_hour(filled_index: IndexHarness) -> None:
    """Whichever process is there an hour after the first one has seen the rules deletes by them."""
    for seed in (3, 4, 5):
        look(filled_index.opened(seed))
        assert count(filled_index) == 2
        filled_index.clock.advance(minutes=20)
    look(filled_index.opened(6))
    assert count(filled_index) == 1


def test_a_change_of_the_rules_starts_the_hour_anew(filled_index: IndexHarness) -> None:
    """Nothing is deleted by rules that were changed, or taken away and put back, within an hour."""
    look(filled_index.opened(3))
    filled_index.clock.advance(hours=2)
    put_rules(filled_index.index, (OTHER,))
    put_rules(filled_index.index, (RULE,))
    look(filled_index.opened(4))
    assert count(filled_index) == 2

    filled_index.clock.advance(hours=2)
    put_rules(filled_index.index, ())
    filled_index.clock.advance(minutes=1)
    put_rules(filled_index.index, (RULE,))
    look(filled_index.opened(5))
    assert count(filled_index) == 2

    filled_index.clock.advance(hours=1)
    look(filled_index.opened(6))
    assert count(filled_index) == 1


def test_another_change_of_the_indexes_does_not(filled_index: IndexHarness) -> None:
    """A new index does not start the hour before the first deletion anew."""
    look(filled_index.opened(3))
    filled_index.clock.advance(minutes=30)
    filled_index.index.server.index_administration.add({"name": "dev"}, BY)
    look(filled_index.opened(4))
    filled_index.clock.advance(minutes=30)
    look(filled_index.opened(5))
    assert count(filled_index) == 1


def test_a_store_that_was_put_back_waits_again(filled_index: IndexHarness) -> None:
    """A store whose files were put back waits for an hour from then on."""
    look(filled_index.opened(3))
    filled_index.clock.advance(days=3)
    key = keys.INDEX_LIST
    body = filled_index.bytes_at(key)
    filled_index.store.delete(key)
    filled_index.store.put(key, body, None)

    look(filled_index.opened(4))
    assert count(filled_index) == 2
    filled_index.clock.advance(hours=1)
    look(filled_index.opened(5))
    assert count(filled_index) == 1


def test_a_copy_waits_again(filled_index: IndexHarness) -> None:
    """A backup that is served waits for an hour, however long the store has had the rules."""
    look(filled_index.opened(3))
    filled_index.clock.advance(hours=1)
    backup = filled_index.opened(4, store=MemoryStore(filled_index.clock.seconds))
    assert copy_whole(filled_index.index, backup).problems == []
    look(backup)
    assert len(backup.projects.read_for_update(DEMO).files) == 2
    look(filled_index.opened(5))
    assert count(filled_index) == 1


def test_rules_that_cannot_be_noted_delete_nothing(
    filled_index: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Rules that cannot be noted delete nothing, as the log says, and noted ones are not again."""
    lost_races = Fault(FaultKind.LOST_RACE, "put", keys.lease("retention-rules"), times=ALWAYS)

    look(filled_index.opened(3, FakeStore(filled_index.store, lost_races)))

    why = "Too many writers are changing since when the rules of retention are known at once."
    assert f"retention: no complete run of retention today: {why}" in caplog.text
    assert count(filled_index) == 2

    look(filled_index.opened(4))
    filled_index.clock.advance(hours=1)
    look(filled_index.opened(5, FakeStore(filled_index.store, lost_races)))
    assert count(filled_index) == 1


def test_a_damaged_document_starts_the_hour_anew(filled_index: IndexHarness) -> None:
    """If the store does not say since when the rules are known, their hour starts anew."""
    look(filled_index.opened(3))
    filled_index.clock.advance(days=3)
    key = keys.lease("retention-rules")
    assert isinstance(filled_index.store.get(key), Stored)
    filled_index.store.put(key, b"{", None)
    look(filled_index.opened(4))
    assert count(filled_index) == 2


def test_the_log_and_health_say_what_comes(
    filled_index: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first run the log and Health say when it comes, and how much it deletes."""
    index = filled_index.opened(3, settings=Settings(server=ServerSettings(daily_retention=True)))
    DailyRetention(lambda: index.server.retention, index.server.runtime).announce()
    until = filled_index.clock.now.replace(hour=filled_index.clock.now.hour + 1)
    text = (
        f"The first daily run by the present rules comes after {until:%Y-%m-%d %H:%M} UTC. It "
        "would delete 1 release now. A dry run of retention lists them."
    )
    assert f"retention: {text}" in caplog.messages
    api = LocalApi(index=index, caller=ALICE)

    def told() -> list[tuple[str, str]]:
        parts = api.call(show_health).parts
        return [(part.state, part.text) for part in parts if part.name == "retention"]

    assert told() == [("warning", text)]
    filled_index.clock.advance(hours=1)
    assert told() == [("ok", "No run yet.")]
    look(index)
    when = f"{filled_index.clock.now:%Y-%m-%d %H:%M}"
    assert told() == [("ok", f"The last run was complete on {when} UTC.")]
    put_rules(index, ())
    assert told() == []
