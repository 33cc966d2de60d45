"""Promotion into an index of the store that has rules of an earlier version, and old approvals."""

import pytest
from msgspec import Raw
from msgspec.json import encode

from tests.advice import in_terminal, texts_of
from tests.distributions import make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness, history
from tests.operations.two_indexes import DEMO, ONE
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.errors import Conflict, Forbidden, Invalid
from wheelyard.model.project import Event
from wheelyard.model.project_json import FileJson
from wheelyard.model.stored_indexes import IndexMade, StoredIndex
from wheelyard.operations.journal_reader import JournalReader, StoreJournals
from wheelyard.operations.promotion import IndexSide, Promoted, Promotion
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.project_overview import changes_of
from wheelyard.wiring.index import Index

OLD = {
    "name": "prod",
    "promote_from": ["main"],
    "promote_other_person": False,
    "promote_approvals": 1,
}
"""The keys of an index that an earlier version has made."""
TAKEN_AWAY = "'wheelyard index change prod promote_approvals='"
"""The command that every sentence about it names."""


@pytest.fixture
def index(harness: IndexHarness) -> Index:
    """An index with a release, over a store in which an earlier version has made `prod`."""
    harness.upload(make_wheel())
    made = IndexMade(at=harness.clock.now, by="local:old", keys=dict(OLD))
    harness.index.server.definitions.records.change(lambda _: (made,))
    return harness.opened(3)


def promote(index: Index) -> Promoted:
    """Promote the release to `prod`."""
    source, target = (
        IndexSide(uploads=side.uploads, caller=ALICE) for side in (index, index.named("prod"))
    )
    return Promotion(source, target, index.server.runtime).promote(DEMO, ONE)


def stored(index: Index) -> StoredIndex:
    """Return `prod` as the store has it."""
    found = index.server.definitions.stored().find("prod")
    assert found is not None
    return found


def test_nothing_is_promoted_until_the_rule_is_taken_away(
    harness: IndexHarness, index: Index
) -> None:
    """A promotion is refused by the name of the rule and the command, and works after that."""
    before = harness.snapshot()
    with pytest.raises(Forbidden, match="rules that were removed: promote_approvals") as caught:
        promote(index)
    assert caught.value.code == "removed_rule"
    assert TAKEN_AWAY in in_terminal(caught.value)
    assert error_on_page(caught.value).endswith("Take them away on the page of indexes.")
    assert harness.snapshot() == before

    index.server.index_administration.change("prod", {"promote_approvals": None}, "local:bo")

    assert stored(index).keys == {"name": "prod", "promote_from": ["main"]}
    opened = harness.opened(4)
    assert len(promote(opened).new) == 1
    warnings = show_health(Call(index=opened, caller=ALICE)).warnings
    assert not any("removed" in warning for warning in texts_of(warnings))


def test_the_index_works_apart_from_that(harness: IndexHarness, index: Index) -> None:
    """An index with such a rule is served, and takes uploads; what it has is promoted already."""
    prod = index.named("prod")
    prod.uploads.accept(make_wheel().arrival(harness.folder), ALICE)

    assert [file.filename for file in promote(index).present] == [make_wheel().filename]
    assert index.named("prod").projects.get(DEMO).files


def test_the_rule_is_never_dropped_silently(index: Index) -> None:
    """A change of another key, of such a rule, or of nothing, leaves the rule as it is stored."""
    administration, before = index.server.index_administration, stored(index)

    with pytest.raises(Conflict, match="rules that were removed") as caught:
        administration.change("prod", {"index_files": 5}, "local:bo")
    assert caught.value.code == "removed_rule"
    with pytest.raises(Invalid, match="promote_approvals: there is no such key"):
        administration.change("prod", {"promote_approvals": 2}, "local:bo")
    with pytest.raises(Invalid, match="promote_approvals: there is no such key"):
        administration.add({"name": "new", "promote_approvals": 1}, "local:bo")

    assert stored(index) == before


def test_list_check_start_and_health_name_it(harness: IndexHarness, index: Index) -> None:
    """The list of indexes, a check and the health of a server name the command that helps."""
    _, listed = index.server.index_administration.show()
    findings = harness.check()

    assert (listed.problem, findings.problems) == ("", [])
    for sentences in (
        listed.warnings,
        findings.notes,
        show_health(Call(index=index, caller=ALICE)).warnings,
    ):
        assert any(TAKEN_AWAY in sentence for sentence in texts_of(sentences))


def test_an_old_approval_is_replayed(harness: IndexHarness) -> None:
    """An approval of an earlier version stays in the journal, and is neither copied nor counted."""
    index = harness.index
    harness.upload(make_wheel())
    approval = Event(
        what="promotion-approved",
        at=harness.clock.now,
        by="local:bo",
        files=(make_wheel().filename,),
        data=Raw(encode({"to": "prod", "person": "local:bo"})),
    )
    index.projects.change(DEMO, lambda _: (approval,))
    harness.upload(make_sdist())
    index.server.index_administration.add({"name": "prod"}, "local:bo")

    opened = harness.opened(3)
    promoted = promote(opened)

    records = opened.projects.get(DEMO).by_filename
    assert records[make_wheel().filename].approved_for == {"prod": ("local:bo",)}
    assert {str(file.approved_for) for file in promoted.new} == {"{}"}
    assert not hasattr(FileJson.from_file(records[make_wheel().filename]), "approved_for")
    assert history(opened, DEMO)[1].events == (approval,)
    source = StoreJournals(opened.projects, opened.changes, opened.tokens.records, DEMO)
    entries = JournalReader(source).read(lambda *_: None).entries
    (approved,) = (entry for entry in entries if entry.what == "promotion-approved")
    assert f"{approved.done} {approved.other_index}" == "approved for promotion to prod"
    assert [change.what for change in changes_of([approved])] == [
        "approved the promotion of 1.0 to prod"
    ]
    findings = harness.check(sweep=True)
    assert (findings.problems, findings.notes) == ([], [])
