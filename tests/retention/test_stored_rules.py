"""The rules of retention in the store: who replaces them, and who is told of what is wrong."""

from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.distributions import make_wheel
from tests.index_tables import BY, put_rules, put_tables
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import copy_whole
from tests.operations.two_indexes import DEMO
from tests.refused import refused
from wheelyard.api.index_operations import INDEXES
from wheelyard.api.journal_operations import JournalQuery, list_entries
from wheelyard.api.local_api import LocalApi
from wheelyard.api.project_operations import WHOLE_HISTORY
from wheelyard.api.retention_operations import RetentionQuery, preview_retention, run_retention
from wheelyard.catalog import keys
from wheelyard.errors import NEWER_DOCUMENT, Invalid, NotFound, Unavailable
from wheelyard.model.stored_indexes import (
    INDEX_KIND,
    RetentionChanged,
    StoredRetention,
)
from wheelyard.retention.daily import DailyRetention
from wheelyard.settings.load import load_settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import server_warnings

LAST = {"keep_last": 1}
OLD = {"index": "dev", "projects": ["acme-*"], "older_than_days": 30, "note": "nightly"}
RULES = (LAST, OLD)


def stored(harness: IndexHarness) -> StoredRetention | None:
    """Return the rules that the store has."""
    return harness.opened(20).server.definitions.stored().retention


def numbers(index: Index) -> list[str]:
    """Return what the rules that a run has would delete, in words."""
    retention = index.server.retention
    return [rule.description for rule in retention.rules] if retention is not None else []


def test_the_store_knows_who_has_made_the_rules(harness: IndexHarness) -> None:
    """The store has the tables as written, since when, from whom and from which file."""
    made = harness.clock.now
    put_rules(harness.index, RULES, "local:bo", source="index.toml")
    expected = StoredRetention(
        rules=RULES, changed=made, changed_by="local:bo", source="index.toml"
    )
    assert stored(harness) == expected

    harness.clock.advance(days=1)
    put_rules(harness.index, (LAST,), "local:cy", note="TEAM-12")
    assert stored(harness) == StoredRetention(
        rules=(LAST,), changed=harness.clock.now, changed_by="local:cy", source="index.toml"
    )
    put_rules(harness.index, (), "local:cy")
    assert stored(harness) is None


def test_a_change_counts_without_a_restart(harness: IndexHarness) -> None:
    """A server that runs has the rules that another process has put into the store."""
    server = harness.opened(3)
    assert numbers(server) == []

    put_tables(harness.opened(4), "[[retention]]\nkeep_last = 1\n")
    assert numbers(server) == ["releases of every project: not among the last 1"]
    put_tables(harness.opened(4), '[[retention]]\nkeep_last = 2\nonly = "dev"\n')
    assert numbers(server) == ["dev releases of every project: not among the last 2"]
    put_rules(harness.opened(4), ())
    assert numbers(server) == []


def test_a_daily_run_has_the_rules_of_its_day(harness: IndexHarness) -> None:
    """A server that was started without a rule applies those that come later."""
    for version in ("1.0", "2.0"):
        harness.upload(make_wheel(version=version))
    index = harness.opened(3)
    daily = DailyRetention(lambda: index.server.retention, index.server.runtime)
    before = harness.snapshot()

    daily.run_if_due()
    assert harness.snapshot() == before
    put_tables(harness.opened(4), "[[retention]]\nkeep_last = 1\n")
    daily.run_if_due()
    harness.clock.advance(hours=1)
    daily.run_if_due()

    (file,) = harness.opened(5).projects.get(DEMO).files
    assert file.version == "2.0"


def test_without_rules_nothing_is_asked_for(harness: IndexHarness) -> None:
    """Who asks what rules would delete where there is none hears what to do."""
    api = LocalApi(index=harness.index, caller=ALICE)

    for operation in (preview_retention, run_retention):
        with refused(NotFound, "not_found", "Add a \\[\\[retention\\]\\] table to a file"):
            api.call(operation, RetentionQuery())

    put_rules(harness.index, (OLD,))
    with refused(NotFound, "not_found", "No rule of retention is about the index main"):
        api.call(preview_retention, RetentionQuery("main"))
    assert api.call(preview_retention, RetentionQuery()).deleted == ()


def test_rules_without_an_index_are_told_of(harness: IndexHarness) -> None:
    """A rule about an index that does not exist is a warning of each server."""
    server = harness.opened(3)
    warning = (
        "retention rule 2 (nightly) names the index dev, which does not exist: correct the name, "
        "or add the index"
    )

    put_rules(harness.index, RULES)
    assert warning in texts_of(server_warnings(server))
    harness.index.server.index_administration.add({"name": "dev"}, BY)
    assert warning not in texts_of(server_warnings(server))


def test_rules_about_an_index_that_is_made_again(harness: IndexHarness) -> None:
    """Who removes an index, or makes it again, hears how many rules are about it."""
    administration = harness.index.server.index_administration
    administration.add({"name": "dev"}, BY)
    put_rules(harness.index, (LAST, OLD, {**LAST, "index": "dev"}))

    removed = texts_of(administration.remove("dev", BY))
    made = texts_of(administration.add({"name": "dev"}, BY).warnings)

    again = "they hold again if an index of this name is made"
    assert removed == [f"2 retention rules for the index dev: {again}"]
    before = "these named the index dev before it was made, and hold in it now"
    assert made == [f"{before}: 2 retention rules"]


def test_rules_of_a_newer_version_delete_nothing(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A rule with a key that only a newer version knows may spare releases: none is deleted."""
    for version in ("1.0", "2.0"):
        harness.upload(make_wheel(version=version))
    newer = RetentionChanged(at=harness.clock.now, by=BY, rules=(LAST, {**LAST, "spare": "lts"}))
    harness.index.catalog.index_records.change(lambda _: (newer,))
    index = harness.opened(3)

    with refused(Unavailable, NEWER_DOCUMENT, "number 2: spare: there is no such key"):
        _ = index.server.retention
    DailyRetention(lambda: index.server.retention, index.server.runtime).run_if_due()

    said = "this version of wheelyard does not know the rules of retention in the store"
    assert said in caplog.text
    assert said in " ".join(texts_of(server_warnings(index)))
    assert len(index.projects.get(DEMO).files) == 2


def test_a_change_is_in_the_journal(harness: IndexHarness) -> None:
    """Whoever reads the journal sees who has changed the rules, and to what."""
    put_rules(harness.index, RULES, "local:bo", note="TEAM-12")
    harness.clock.advance(days=1)
    put_rules(harness.index, (), "local:cy")
    api = LocalApi(index=harness.index, caller=ALICE)

    gone, made = api.call(list_entries, JournalQuery(what="retention-changed")).entries

    words = (
        "retention: rule 1, keep_last 1; rule 2, index dev, projects acme-*, older_than_days 30, "
        "note nightly (TEAM-12)"
    )
    assert (made.by, made.what, made.reason) == ("local:bo", "retention-changed", words)
    assert (gone.by, gone.reason) == ("local:cy", "retention: no rule any more")
    commits = api.call(INDEXES.history, WHOLE_HISTORY).commits
    words_of = [INDEX_KIND.describe_event(event) for commit in commits for event in commit.events]
    assert words_of == [made.reason, gone.reason]


def test_a_copy_and_a_check_know_the_rules(harness: IndexHarness, tmp_path: Path) -> None:
    """A copy of a store has its rules, and a check makes them again from the journal."""
    put_rules(harness.index, RULES, source="index.toml")
    other = IndexHarness(tmp_path)
    assert copy_whole(harness.index, other.opened(6)).problems == []

    assert stored(other) == stored(harness)
    other.store.put(keys.INDEX_LIST, b"{", None)
    assert other.check().problems != []
    other.check(rebuild=True)
    assert other.check().problems == []
    assert stored(other) == stored(harness)


def test_rules_in_the_settings_stop_the_start(tmp_path: Path) -> None:
    """A settings file with rules, or a variable of such a table, names the command for them."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[server]\ndaily_retention = true\n[[retention]]\nkeep_last = 1\n")

    with refused(Invalid, "bad_setting", "has retention: the store keeps what") as stopped:
        load_settings(file=file, environ={})
    assert stopped.value.advice is not None
    assert stopped.value.advice.subject == str(file)
    with refused(Invalid, "bad_setting", "WHEELYARD_RETENTION_KEEP_LAST: the store keeps what"):
        load_settings(environ={"WHEELYARD_RETENTION_KEEP_LAST": "1"})

    loaded = load_settings(file=file, environ={}, passes_over_index=True).settings
    assert loaded.server.daily_retention
