"""Trusted publishers in the store: changes, refusals, what is in force, history, copies."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace

from tests.model.jobs import BUILDKITE, GITHUB, GITLAB, OIDC, Table
from tests.operations.in_memory_index import IndexHarness
from tests.operations.store_copies import store_copy
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, WheelyardError
from wheelyard.model.stored_publishers import PublisherList, describe_event
from wheelyard.operations.publishers import Publishers
from wheelyard.settings.sections import Settings

PRIVATE: Table = {**OIDC, "id": "private", "allow_private_issuer": True}


@pytest.fixture
def other(tmp_path: Path) -> IndexHarness:
    """Another index."""
    return IndexHarness(tmp_path / "other")


def publishers_of(harness: IndexHarness, *configured: Table, seed: int = 3) -> Publishers:
    """Return the publishers as another process has them, with these tables in its settings."""
    return harness.opened(seed, settings=Settings(publisher=configured)).server.publishers


def in_force(publishers: Publishers) -> list[str]:
    """Return the ids of the publishers that give tokens."""
    return [publisher.id for publisher in publishers.load().all]


def test_a_publisher_is_added_changed_and_removed(harness: IndexHarness) -> None:
    """What one process changes, another one has, and the history says who did it and why."""
    here, there = publishers_of(harness, GITLAB), publishers_of(harness, GITLAB, seed=4)

    here.add(GITHUB, "user:ana@acme.dev", "TEAM-1")

    assert in_force(there) == ["gl-tools", "gh-mylib"]
    there.change("gh-mylib", {"environment": None, "ref": "refs/tags/v*"}, "local:bo", "by tag")
    changed = here.show()[1]
    assert (changed.source, changed.created_by, changed.changed_by, changed.note) == (
        *("store", "user:ana@acme.dev", "local:bo", "by tag"),
    )
    assert "environment" not in changed.publisher
    (publisher,) = here.load().all[1:]
    assert publisher.table.ref == "refs/tags/v*"  # type: ignore[union-attr]
    here.change("gh-mylib", {"ref": "refs/tags/v*"}, "local:bo")  # nothing to do
    here.remove("gh-mylib", "local:bo")
    assert in_force(there) == ["gl-tools"]
    events = [commit.event for commit in there.records.history()]
    assert [describe_event(event).partition(",")[0] for event in events] == [
        "publisher gh-mylib: added",
        "publisher gh-mylib: changed",
        "publisher gh-mylib: removed",
    ]
    assert (harness.check().problems, harness.check().notes) == ([], [])


@pytest.mark.parametrize(
    ("table", "kind", "field"),
    [
        (GITHUB, Conflict, "id"),
        ({**GITHUB, "id": "gl-tools"}, Conflict, "id"),
        ({**GITHUB, "id": "A"}, Invalid, "id"),
        ({**GITHUB, "id": "new", "repository": "octo"}, Invalid, "repository"),
        ({**GITHUB, "id": "new", "organization": "x"}, Invalid, "organization"),
        ({**GITHUB, "id": "new", "projects": ["mylib*"]}, Invalid, "projects"),
        ({**BUILDKITE, "build_branch": ""}, Invalid, "build_branch"),
        ({**OIDC, "match": {"iss": "x"}}, Invalid, "match"),
        ({**OIDC, "issuer": "https://gitlab.com"}, Invalid, "issuer"),
        ({"id": "new"}, Invalid, "provider"),
        (PRIVATE, Invalid, "allow_private_issuer"),
        ({**OIDC, "issuer": "http://127.0.0.1"}, Invalid, "issuer"),
        ({**GITLAB, "id": "new", "allow_private_issuer": True}, Invalid, "allow_private_issuer"),
    ],
)
def test_what_the_settings_would_refuse(
    harness: IndexHarness, table: Table, kind: type[WheelyardError], field: str
) -> None:
    """A publisher is refused as the settings would refuse it, with the key, and is not stored."""
    publishers = publishers_of(harness, GITLAB)
    publishers.add(GITHUB, "local:bo")
    before = harness.bytes_at(keys.PUBLISHERS)

    with pytest.raises(kind) as refused:
        publishers.add(table, "local:bo")

    assert (type(refused.value), refused.value.field) == (kind, field)
    assert refused.value.code == ("publisher_exists" if kind is Conflict else "invalid_field")
    assert harness.bytes_at(keys.PUBLISHERS) == before


def test_what_cannot_be_changed(harness: IndexHarness) -> None:
    """Ids and providers stay, what the settings have is changed there, and the rest is checked."""
    publishers = publishers_of(harness, GITLAB)
    publishers.add(GITHUB, "local:bo")
    cases: tuple[tuple[str, Mapping[str, object], type[WheelyardError]], ...] = (
        ("gh-mylib", {"id": "other"}, Invalid),
        ("gh-mylib", {"provider": "gitlab"}, Invalid),
        ("gh-mylib", {"workflow": None}, Invalid),
        ("gl-tools", {"environment": "x"}, Invalid),
        ("nobody", {"environment": "x"}, NotFound),
    )
    for publisher_id, changes, kind in cases:
        with pytest.raises(kind):
            publishers.change(publisher_id, changes, "local:bo")
    for publisher_id, kind in (("gl-tools", Invalid), ("nobody", NotFound)):
        with pytest.raises(kind):
            publishers.remove(publisher_id, "local:bo")
    with pytest.raises(Invalid):
        publishers.add({**GITHUB, "id": "two"}, "local:bo", "two\nlines")


def test_a_private_issuer_of_the_settings_is_for_others_too(harness: IndexHarness) -> None:
    """Once the settings name an issuer with a private address, others may name it in the store."""
    publishers = publishers_of(harness, PRIVATE)

    publishers.add({**PRIVATE, "id": "another"}, "local:bo")

    assert in_force(publishers) == ["private", "another"]
    assert in_force(publishers_of(harness)) == []
    (listed,) = publishers_of(harness).show()
    assert "private address" in listed.problem


def test_the_settings_win(harness: IndexHarness) -> None:
    """If the settings get the id or the issuer of a stored publisher, theirs is in force alone."""
    before = publishers_of(harness)
    before.add(GITHUB, "local:bo")
    before.add(OIDC, "local:bo")
    same_id = {**GITLAB, "id": "gh-mylib"}
    same_issuer = {**OIDC, "id": "other", "algorithms": ["ES256"]}

    after = publishers_of(harness, same_id, same_issuer)

    assert in_force(after) == ["gh-mylib", "other"]
    problems = {row.id: row.problem for row in after.show() if row.source == "store"}
    assert "another publisher has the same" in problems["gh-mylib"]
    assert "says other things of its keys" in problems["k8s-batch"]
    after.remove("k8s-batch", "local:bo")  # what is not in force can be removed


def test_a_condition_of_a_newer_version_is_not_ignored(harness: IndexHarness) -> None:
    """A publisher with a key that this version does not know gives no job a token."""
    publishers = publishers_of(harness)
    publishers.add(GITHUB, "local:bo")
    publishers.add(GITLAB, "local:bo")
    document = decode(harness.bytes_at(keys.PUBLISHERS), type=PublisherList)
    newer = replace(document.publishers[0], publisher={**GITHUB, "only_on_full_moon": True})
    changed = replace(document, publishers=(newer, document.publishers[1]))
    harness.store.put(keys.PUBLISHERS, encode(changed) + b"\n", None)

    other = publishers_of(harness, seed=7)

    assert in_force(other) == ["gl-tools"]
    assert "there is no such key" in other.show()[0].problem


def test_check_mends_publishers_and_their_journal(harness: IndexHarness) -> None:
    """The check mends document and journal of the publishers, as those of a project."""
    publishers = publishers_of(harness)
    publishers.add(GITHUB, "local:bo")
    publishers.add(GITLAB, "local:bo")
    whole = harness.bytes_at(keys.PUBLISHERS)
    harness.store.delete(keys.numbered_entry(keys.PUBLISHERS_JOURNAL, 2))
    assert harness.check().repaired == [f"{keys.PUBLISHERS}: journal entry 2 written"]
    harness.store.put(keys.PUBLISHERS, b"?", None)
    (problem,) = harness.check().problems
    assert "CI jobs may get no token; fold it again with --rebuild" in problem

    assert harness.check(rebuild=True).repaired

    assert harness.bytes_at(keys.PUBLISHERS) == whole


def test_a_copy_takes_publishers_along(harness: IndexHarness, other: IndexHarness) -> None:
    """A copy with credentials adds the commits that the target lacks, and refuses to lose some."""
    here = publishers_of(harness)
    here.add(GITHUB, "local:bo")

    def copy() -> tuple[int, list[str]]:
        source = harness.opened(9)
        copying = store_copy(source.stores, source.changes, other.index)
        report = copying.run(lambda _, __: None, with_credentials=True)
        return report.credentials, report.problems

    assert copy() == (1, [])
    here.add(GITLAB, "local:bo")
    assert copy() == (1, [])
    assert copy() == (0, [])
    assert in_force(publishers_of(other)) == ["gh-mylib", "gl-tools"]
    assert (other.check().problems, other.check().notes) == ([], [])
    publishers_of(other).remove("gl-tools", "local:eve")
    count, problems = copy()
    assert (count, [keys.PUBLISHERS in problem for problem in problems]) == (0, [True])


def test_projects_are_normalised(harness: IndexHarness) -> None:
    """Names of projects are kept and shown as they count, each once, also those of settings."""
    names = ["My_Lib", "my-lib", "Other"]
    publishers = publishers_of(harness, {**GITLAB, "projects": names})
    publishers.add({**GITHUB, "projects": names}, "local:bo")
    publishers.change("gh-mylib", {"projects": [*names, "New.One"]}, "local:bo")

    shown = [row.publisher["projects"] for row in publishers.show()]

    assert shown == [["my-lib", "other"], ["my-lib", "other", "new-one"]]
