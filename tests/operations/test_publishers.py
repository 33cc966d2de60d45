"""Trusted publishers in the store: changes, refusals, what is in force, history, copies."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace

from tests.fake_time import START
from tests.model.jobs import BUILDKITE, GITHUB, GITLAB, OIDC, Table
from tests.operations.in_memory_index import IndexHarness
from tests.operations.store_copies import store_copy
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, WheelyardError
from wheelyard.model.stored_publishers import PUBLISHER_KIND, PublisherAdded, PublisherList
from wheelyard.operations.publishers import Publishers
from wheelyard.settings.sections import PublishingSettings, Settings

PRIVATE: Table = {**OIDC, "id": "private", "issuer": "http://127.0.0.1:9"}
EARLIER: Table = {**OIDC, "issuer": "https://ci.acme.dev", "allow_private_issuer": True}
"""As an earlier version may have kept it."""


@pytest.fixture
def other_index(tmp_path: Path) -> IndexHarness:
    """Another index."""
    return IndexHarness(tmp_path / "other")


def publishers_of(harness: IndexHarness, *private_issuers: str, seed: int = 3) -> Publishers:
    """Return the publishers as another process has them, which may ask these private issuers."""
    section = PublishingSettings(private_issuers=private_issuers)
    return harness.opened(seed, settings=Settings(trusted_publishing=section)).server.publishers


def keep_earlier(publishers: Publishers, table: Table = EARLIER) -> None:
    """Put a publisher into the store as an earlier version has done it."""
    added = PublisherAdded(at=START, by="local:bo", keys=dict(table))
    publishers.records.change(lambda _: (added,))


def in_force(publishers: Publishers) -> list[str]:
    """Return the ids of the publishers that give tokens."""
    return [publisher.id for publisher in publishers.load().all]


def test_a_publisher_is_added_changed_and_removed(harness: IndexHarness) -> None:
    """What one process changes, another one has, and the history says who did it and why."""
    here, there = publishers_of(harness), publishers_of(harness, seed=4)
    here.add(GITLAB, "local:bo")

    here.add(GITHUB, "user:ana@acme.dev", "TEAM-1")

    assert in_force(there) == ["gl-tools", "gh-mylib"]
    there.change("gh-mylib", {"environment": None, "ref": "refs/tags/v*"}, "local:bo", "by tag")
    changed = here.show()[1]
    assert (changed.source, changed.created_by, changed.changed_by, changed.note) == (
        *("", "user:ana@acme.dev", "local:bo", "by tag"),
    )
    assert "environment" not in changed.keys
    (publisher,) = here.load().all[1:]
    assert publisher.table.ref == "refs/tags/v*"  # type: ignore[union-attr]
    here.change("gh-mylib", {"ref": "refs/tags/v*"}, "local:bo")  # nothing to do
    here.remove("gh-mylib", "local:bo")
    assert in_force(there) == ["gl-tools"]
    events = [commit.event for commit in there.records.history()][1:]
    assert [PUBLISHER_KIND.describe_event(event).partition(",")[0] for event in events] == [
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
        ({"id": "new", "provider": "bitbucket", "environment": None}, Invalid, "environment"),
        (PRIVATE, Invalid, "issuer"),
        ({**OIDC, "issuer": "https://10.0.0.1"}, Invalid, "issuer"),
        ({**OIDC, "issuer": "http://a.example"}, Invalid, "issuer"),
        ({**OIDC, "jwks_url": "https://[fd00::1]/keys"}, Invalid, "issuer"),
        ({**GITLAB, "id": "new", "allow_private_issuer": True}, Invalid, "allow_private_issuer"),
    ],
)
def test_a_wrong_publisher_is_refused(
    harness: IndexHarness, table: Table, kind: type[WheelyardError], field: str
) -> None:
    """A wrong publisher is refused, with the key, and is not stored."""
    publishers = publishers_of(harness)
    publishers.add(GITLAB, "local:bo")
    publishers.add(GITHUB, "local:bo")
    before = harness.bytes_at(keys.PUBLISHERS)

    with pytest.raises(kind) as refused:
        publishers.add(table, "local:bo")

    assert (type(refused.value), refused.value.field) == (kind, field)
    assert refused.value.code == ("publisher_exists" if kind is Conflict else "invalid_field")
    assert harness.bytes_at(keys.PUBLISHERS) == before


def test_what_cannot_be_changed(harness: IndexHarness) -> None:
    """The id and the provider of a publisher cannot be changed, and other changes are checked."""
    publishers = publishers_of(harness)
    publishers.add(GITHUB, "local:bo")
    cases: tuple[tuple[str, Mapping[str, object], type[WheelyardError]], ...] = (
        ("gh-mylib", {"id": "other"}, Invalid),
        ("gh-mylib", {"provider": "gitlab"}, Invalid),
        ("gh-mylib", {"workflow": None}, Invalid),
        ("nobody", {"environment": "x"}, NotFound),
    )
    for publisher_id, changes, kind in cases:
        with pytest.raises(kind):
            publishers.change(publisher_id, changes, "local:bo")
    with pytest.raises(NotFound):
        publishers.remove("nobody", "local:bo")
    with pytest.raises(Invalid):
        publishers.add({**GITHUB, "id": "two"}, "local:bo", "two\nlines")


def test_a_private_issuer_is_for_the_settings_to_allow(harness: IndexHarness) -> None:
    """An issuer with a private address gives tokens where the settings name it, and only there."""
    publishers = publishers_of(harness, "http://127.0.0.1:9/")

    publishers.add(PRIVATE, "local:bo")
    publishers.add({**PRIVATE, "id": "another"}, "local:bo")

    assert in_force(publishers) == ["private", "another"]
    assert in_force(publishers_of(harness)) == []
    problems = [row.problem for row in publishers_of(harness).show()]
    assert all("private_issuers of [trusted_publishing]" in problem for problem in problems)
    with pytest.raises(Invalid, match="same host"):
        publishers.add({**PRIVATE, "id": "k", "jwks_url": "http://127.0.0.1:8/keys"}, "local:bo")


def test_what_an_earlier_version_has_allowed_is_for_the_settings(harness: IndexHarness) -> None:
    """A key of an earlier version opens no network: the issuer has to be in the settings."""
    keep_earlier(publishers_of(harness))

    (listed,) = publishers_of(harness).show()
    with pytest.raises(Invalid, match=r"private_issuers of \[trusted_publishing\]"):
        publishers_of(harness).change("k8s-batch", {"max_lifetime": 60}, "local:bo")
    allowing = publishers_of(harness, "https://ci.acme.dev")
    is_in_force = in_force(allowing)
    changed = allowing.change("k8s-batch", {"max_lifetime": 60}, "local:bo")

    assert "allow_private_issuer: take it out, and write 'https://ci.acme.dev'" in listed.problem
    assert is_in_force == ["k8s-batch"]
    assert "allow_private_issuer" not in changed.keys


def test_an_issuer_has_one_set_of_keys(harness: IndexHarness) -> None:
    """Of two publishers that say other things of the keys of an issuer the first is in force."""
    publishers = publishers_of(harness)
    publishers.add(OIDC, "local:bo")
    keep_earlier(publishers, {**OIDC, "id": "other", "algorithms": ["ES256"]})

    problems = {row.name: row.problem for row in publishers.show()}

    assert in_force(publishers) == ["k8s-batch"]
    assert problems["k8s-batch"] == ""
    assert "says other things of its keys" in problems["other"]
    publishers.remove("other", "local:bo")  # what is not in force can be removed


def test_a_condition_of_a_newer_version_is_not_ignored(harness: IndexHarness) -> None:
    """A publisher with a key that this version does not know gives no job a token."""
    publishers = publishers_of(harness)
    publishers.add(GITHUB, "local:bo")
    publishers.add(GITLAB, "local:bo")
    document = decode(harness.bytes_at(keys.PUBLISHERS), type=PublisherList)
    newer = replace(document.tables[0], keys={**GITHUB, "only_on_full_moon": True})
    changed = replace(document, tables=(newer, document.tables[1]))
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


def test_a_copy_takes_publishers_along(harness: IndexHarness, other_index: IndexHarness) -> None:
    """A copy with credentials adds the commits that the target lacks, and refuses to lose some."""
    here = publishers_of(harness)
    here.add(GITHUB, "local:bo")

    def copy() -> tuple[int, list[str]]:
        source = harness.opened(9)
        copying = store_copy(source.stores, source.changes, other_index.index)
        report = copying.run(lambda _, __: None, with_credentials=True)
        return report.credentials, report.problems

    assert copy() == (1, [])
    here.add(GITLAB, "local:bo")
    assert copy() == (1, [])
    assert copy() == (0, [])
    assert in_force(publishers_of(other_index)) == ["gh-mylib", "gl-tools"]
    assert (other_index.check().problems, other_index.check().notes) == ([], [])
    publishers_of(other_index).remove("gl-tools", "local:eve")
    count, problems = copy()
    assert (count, [keys.PUBLISHERS in problem for problem in problems]) == (0, [True])


def test_projects_are_normalised(harness: IndexHarness) -> None:
    """Names of projects are kept and shown as they count, each once."""
    names = ["My_Lib", "my-lib", "Other"]
    publishers = publishers_of(harness)
    publishers.add({**GITLAB, "projects": names}, "local:bo")
    publishers.add({**GITHUB, "projects": names}, "local:bo")
    publishers.change("gh-mylib", {"projects": [*names, "New.One"]}, "local:bo")

    shown = [row.keys["projects"] for row in publishers.show()]

    assert shown == [["my-lib", "other"], ["my-lib", "other", "new-one"]]


def test_a_key_that_no_publisher_has_is_not_left_out(harness: IndexHarness) -> None:
    """Who misspells a key that is to be left out hears it."""
    publishers = publishers_of(harness)
    publishers.add(GITHUB, "local:bo")

    with pytest.raises(Invalid, match="'enviroment' is no key of a publisher"):
        publishers.change("gh-mylib", {"enviroment": None}, "local:bo")
    with pytest.raises(Invalid, match="'enviroment' is no key of a publisher"):
        publishers.add({**GITLAB, "enviroment": None}, "local:bo")
    publishers.change("gh-mylib", {"environment": None, "ref": None}, "local:bo")
    assert "environment" not in publishers.show()[0].keys
