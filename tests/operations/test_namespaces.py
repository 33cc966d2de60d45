"""Namespaces: who may publish new projects, what overlaps, and what becomes of what was there."""

import tomllib
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import store_copy
from tests.operations.two_indexes import TwoIndexes
from wheelyard.api.access_operations import AccessQuestion, ActionWord, explain_access
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.authentication.rights import AccessExplanation
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, Invalid, Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_file import read_tables
from wheelyard.model.stored_namespaces import Namespace
from wheelyard.operations import namespaces as module
from wheelyard.operations.applying import ApplyOptions, SourcedTables
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.namespaces import Namespaces, namespaces_of_patterns
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.index import Index

BY: Final = "local:bo"
ACME: Final = NormalizedName("acme")
ANYBODY: Final = Caller(
    "htpasswd:cy",
    tuple(replace(scope, actions=scope.actions.UPLOAD) for scope in ALICE.scopes),
    frozenset({"htpasswd:cy"}),
)
"""Who may upload everything, and administers nothing."""
ANA: Final = replace(
    ANYBODY, principal="user:ana@acme.dev", principals=frozenset({"user:ana@acme.dev"})
)
TOKEN_OF_ANA: Final = replace(
    ANYBODY,
    principal="token:0123456789",
    principals=frozenset({"token:0123456789"}),
    owner="user:ana@acme.dev",
)
JOB: Final = replace(ANYBODY, principal="publisher:gh", principals=frozenset({"publisher:gh"}))


def grant(index: Index, name: str = "acme", *owners: str) -> None:
    """Grant a namespace, to Ana where nobody is named."""
    named = list(owners) or ["user:ana@acme.dev"]
    index.server.namespaces.add({"name": name, "owners": named}, BY)


def names_of(namespaces: Namespaces) -> list[str]:
    """Return the names of the namespaces in force."""
    return [namespace.name for namespace in namespaces.load().all]


def test_the_explanation_of_a_right_names_the_namespace(harness: IndexHarness) -> None:
    """Whoever asks who may upload reads that a new project there is for its owners."""
    grant(harness.index)
    rights = GrantFields(who=("htpasswd:cy",), projects=("*",), actions=("read", "upload"))
    harness.index.server.access.grant(rights, BY)
    call = Call(index=harness.index, caller=ALICE)

    def explain(project: str, action: ActionWord) -> AccessExplanation:
        return explain_access(call, AccessQuestion("htpasswd:cy", project, action))

    said = explain("acme-x", "upload")
    assert said.allowed
    only_for = "a new project in the namespace acme is only for: ana@acme.dev, by Google"
    assert said.hints == (only_for,)
    assert not explain("other", "upload").hints
    assert not explain("acme-x", "read").hints


@pytest.mark.parametrize("name", ["acme", "Acme.Core", "acme_x", "ACME--y"])
def test_a_stranger_publishes_nothing_new(harness: IndexHarness, name: str) -> None:
    """Whoever is no owner gets a conflict for a new project, and nothing is stored."""
    grant(harness.index)
    before = harness.snapshot("files/")

    with pytest.raises(Conflict) as refused:
        harness.upload(make_wheel(canonicalize_name(name).replace("-", "_"), "1.0"), ANYBODY)

    assert refused.value.code == "namespace_reserved"
    assert harness.snapshot("files/") == before
    assert harness.index.projects.names.get_current().names == ()


def test_other_names_are_free(harness: IndexHarness) -> None:
    """A name that only begins with the same letters is in no namespace."""
    grant(harness.index)
    for name in ("acmex", "acm", "my_acme"):
        harness.upload(make_wheel(name, "1.0"), ANYBODY)


def test_a_namespace_of_the_settings_is_open_to_uploaders(harness: IndexHarness) -> None:
    """Whoever may upload begins projects in a namespace that only the settings keep private."""
    settings = Settings(access=AccessSettings(private_names=("acme", "acme-*")))
    index = harness.opened(seed=5, settings=settings)
    assert names_of(index.server.namespaces) == ["acme"]

    index.uploads.accept(make_wheel("acme_core", "1.0").arrival(harness.folder), ANYBODY)

    project = index.projects.get(NormalizedName("acme-core"))
    assert [each.owned for each in index.server.namespaces.describe(project)] == [True]


def test_who_has_no_right_is_told_that(harness: IndexHarness) -> None:
    """Who may not upload hears of the right, and not of a namespace."""
    grant(harness.index)
    for caller in (replace(ANYBODY, scopes=()), replace(ANA, scopes=())):
        with pytest.raises(Forbidden):
            harness.upload(make_wheel("acme_core", "1.0"), caller)


@pytest.mark.parametrize("caller", [ANA, TOKEN_OF_ANA, JOB, ALICE])
def test_owners_publish_new_projects(harness: IndexHarness, caller: Caller) -> None:
    """A member of an owning group, its token, a named publisher and administrators are owners."""
    harness.index.server.access.edit_group("set", "team", ["user:ana@acme.dev"], BY)
    grant(harness.index, "acme", "group:team", "publisher:gh")

    harness.upload(make_wheel("acme_core", "1.0"), caller)

    assert harness.index.projects.get(NormalizedName("acme-core")).files


def test_a_member_that_left_is_no_owner(harness: IndexHarness) -> None:
    """Who leaves the owning group publishes nothing new from then on."""
    harness.index.server.access.edit_group("set", "team", ["user:ana@acme.dev"], BY)
    grant(harness.index, "acme", "group:team")
    harness.upload(make_wheel("acme_core", "1.0"), ANA)
    harness.index.server.access.edit_group("remove", "team", ["user:ana@acme.dev"], BY)

    harness.upload(make_wheel("acme_core", "2.0"), ANA)
    with pytest.raises(Conflict):
        harness.upload(make_wheel("acme_other", "1.0"), ANA)


def test_projects_from_before_go_on(harness: IndexHarness) -> None:
    """A project that has, or has had, files takes more of them, and is not `owned`."""
    core, gone = NormalizedName("acme-core"), NormalizedName("acme-gone")
    # by a token of which no record is left
    of_token = NormalizedName("acme-token")
    harness.upload(make_wheel("acme_token", "1.0"), TOKEN_OF_ANA)
    harness.upload(make_wheel("acme_core", "1.0"), ANYBODY)
    harness.upload(make_wheel("acme_gone", "1.0"), ANYBODY)
    harness.index.lifecycle.change("delete", ALICE, gone, Selection(Version("1.0")), "old")
    harness.clock.advance(seconds=60)
    grant(harness.index)
    harness.clock.advance(seconds=60)

    harness.upload(make_wheel("acme_core", "2.0"), ANYBODY)
    harness.upload(make_wheel("acme_gone", "2.0"), ANYBODY)
    harness.upload(make_wheel("acme_new", "1.0"), ANA)

    describe = harness.index.server.namespaces.describe
    owned = {
        name: [namespace.owned for namespace in describe(harness.index.projects.get(name))]
        for name in (core, gone, of_token, NormalizedName("acme-new"))
    }
    assert owned == {core: [False], gone: [False], of_token: [False], "acme-new": [True]}
    harness.index.server.namespaces.change("acme", {"owners": ["htpasswd:cy"]}, BY)
    assert [each.owned for each in describe(harness.index.projects.get(core))] == [True]


def test_the_uploader_of_a_project_in_a_namespace_may_have_any_name(tmp_path: Path) -> None:
    """The namespaces of a project are found, also if no file could have its uploader's name."""
    harness = IndexHarness(tmp_path, other=LocalStore(tmp_path / "store", Random(1)))
    harness.upload(make_wheel("acme_core", "1.0"), replace(ANYBODY, principal="static:ci//deploy"))
    harness.clock.advance(seconds=60)
    grant(harness.index)

    project = harness.index.projects.get(NormalizedName("acme-core"))
    assert [each.owned for each in harness.index.server.namespaces.describe(project)] == [False]


def test_a_reserved_name_is_new(harness: IndexHarness) -> None:
    """A name that an administrator has reserved is as new as any other one."""
    harness.index.names.reserve(ALICE, NormalizedName("acme-core"), "soon")
    grant(harness.index)
    with pytest.raises(Conflict):
        harness.upload(make_wheel("acme_core", "1.0"), ANYBODY)


def test_pages_of_a_new_process_know_the_namespaces(harness: IndexHarness) -> None:
    """A page of a process that has read nothing yet shows the namespaces that there are."""
    grant(harness.index)

    shown = harness.opened(seed=5).server.namespaces.for_pages()

    assert [str(namespace.name) for namespace in shown.all] == ["acme"]


def test_pages_have_the_namespaces_of_the_start_while_the_store_is_away(
    harness: IndexHarness,
) -> None:
    """Where the store falls silent behind the start, pages show what was read at the start."""
    grant(harness.index)
    away = Fault(FaultKind.NOT_DONE, "get", keys.NAMESPACES, nth=2, times=ALWAYS)
    namespaces = harness.opened(5, FakeStore(harness.store, away), is_local=False).server.namespaces
    namespaces.read_ahead()

    shown = namespaces.for_pages()

    assert [str(namespace.name) for namespace in shown.all] == ["acme"]
    with pytest.raises(Unavailable, match="did not answer"):
        namespaces.load()


def test_pages_of_other_servers_have_new_namespaces_after_an_old_page(
    harness: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page after 15 seconds shows what was, and later pages what was read in its background."""
    monkeypatch.setattr(module, "in_background", lambda work: work())
    namespaces = harness.opened(seed=5, is_local=False).server.namespaces
    namespaces.load()
    grant(harness.index)
    harness.clock.advance(seconds=16)

    shown = [namespaces.for_pages() for _ in range(2)]

    assert [[str(each.name) for each in page.all] for page in shown] == [[], ["acme"]]


def test_the_end_is_known_everywhere(harness: IndexHarness) -> None:
    """What one server grants or revokes, another one obeys within 15 seconds."""
    other = harness.opened(seed=5, is_local=False)
    assert names_of(other.server.namespaces) == []
    grant(harness.index)
    harness.clock.advance(seconds=15)
    arrival = make_wheel("acme_core", "1.0").arrival(harness.folder)
    with pytest.raises(Conflict):
        other.uploads.accept(arrival, ANYBODY)

    harness.index.server.namespaces.remove("acme", BY)
    harness.clock.advance(seconds=15)

    other.uploads.accept(make_wheel("acme_core", "1.0").arrival(harness.folder), ANYBODY)


@pytest.mark.parametrize(("first", "second"), [("acme", "acme-lab"), ("acme-lab", "acme")])
def test_nested_namespaces_have_one_owner(harness: IndexHarness, first: str, second: str) -> None:
    """A namespace in or around another one has the same owners, and names them once each."""
    grant(harness.index, first)
    with pytest.raises(Conflict) as refused:
        grant(harness.index, second, "user:bob@acme.dev")
    assert refused.value.code == "namespace_overlaps"
    grant(harness.index, second)

    in_force = harness.index.server.namespaces.load()
    inner, outer = in_force.find(NormalizedName("acme-lab")), in_force.find(ACME)
    assert inner is not None
    assert outer is not None
    assert (in_force.parent_of(inner), in_force.parent_of(outer)) == (outer, None)
    assert (in_force.children_of(outer), in_force.children_of(inner)) == ((inner,), ())
    with pytest.raises(Conflict):
        harness.index.server.namespaces.change("acme", {"owners": ["htpasswd:cy"]}, BY)


def test_groups_that_own_a_namespace(harness: IndexHarness) -> None:
    """An owning group has to exist, and stays as long as it owns something."""
    with pytest.raises(Conflict) as refused:
        grant(harness.index, "acme", "group:team")
    assert refused.value.code == "unknown_group"
    harness.index.server.access.edit_group("set", "team", [], BY)
    grant(harness.index, "acme", "group:team")
    with pytest.raises(Conflict):
        harness.index.server.namespaces.require_no_owner("team")


def test_a_promotion_brings_a_project(harness: IndexHarness) -> None:
    """Whoever may promote brings a project into another index, also one who is no owner."""
    indexes = TwoIndexes(harness)
    grant(indexes.dev)
    indexes.upload(make_wheel("acme_core", "1.0"), caller=replace(ANA, scopes=ALICE.scopes))
    promoter = replace(ALICE, principal="htpasswd:cy", principals=frozenset())

    indexes.promotion(promoter).promote(NormalizedName("acme-core"), Version("1.0"))

    assert indexes.prod.projects.get(NormalizedName("acme-core")).files


def test_an_import_is_an_upload(harness: IndexHarness) -> None:
    """An import brings no new project into a namespace of others, and says so for each file."""
    grant(harness.index)
    made = (make_wheel("acme_core", "1.0"), make_wheel("other", "1.0"))
    source = FakeSource([FakeFiles().offer(wheel) for wheel in made])
    report = Importer(harness.index.uploads).run(source, ANYBODY)
    assert {refusal.code for refusal in report.refused} == {"namespace_reserved"}
    assert [str(name) for name in harness.index.projects.names.get_current().names] == ["other"]


def test_a_copy_has_the_namespaces(harness: IndexHarness, tmp_path: Path) -> None:
    """A copy with credentials has the namespaces with their journal, and takes later changes."""
    target = IndexHarness(tmp_path / "other")
    grant(harness.index)
    copying = store_copy(harness.index.stores, harness.index.changes, target.index)
    copying.run(lambda _, __: None, with_credentials=True)
    harness.index.server.namespaces.change("acme", {"owners": ["htpasswd:cy"]}, BY, "T-1")
    copying.run(lambda _, __: None, with_credentials=True)

    copied = target.opened(seed=9).server.namespaces
    assert names_of(copied) == ["acme"]
    assert [commit.number for commit in copied.history(0, None)] == [1, 2]


def test_a_copy_of_a_lost_document(harness: IndexHarness, tmp_path: Path) -> None:
    """A copy says that the source has lost its namespaces, and does not pass over them."""
    target = IndexHarness(tmp_path / "other")
    grant(harness.index)
    harness.store.delete(keys.NAMESPACES)
    copying = store_copy(harness.index.stores, harness.index.changes, target.index)
    report = copying.run(lambda _, __: None, with_credentials=True)
    assert "namespaces.json is lost" in str(report.problems)


def test_a_change_in_another_spelling(harness: IndexHarness) -> None:
    """A namespace is changed and revoked by any spelling of its name."""
    grant(harness.index, "Acme.Core")
    namespaces = harness.index.server.namespaces
    assert namespaces.change("ACME_core", {"owners": ["htpasswd:cy"]}, BY).name == "acme-core"
    namespaces.remove("acme.CORE", BY)
    assert names_of(namespaces) == []


def test_a_lost_document_opens_nothing(harness: IndexHarness) -> None:
    """Without the document whose journal is there, nobody publishes, and a rebuild mends it."""
    grant(harness.index)
    harness.store.delete(keys.NAMESPACES)
    other = harness.opened(seed=6)
    with pytest.raises(Unavailable):
        other.uploads.accept(make_wheel("acme_x", "1.0").arrival(harness.folder), ANYBODY)
    for look in (other.server.namespaces.show, other.server.applying.show):
        with pytest.raises(Unavailable):
            look()
    parts = show_health(Call(index=other, caller=ALICE)).parts
    assert [part.state for part in parts if part.name == "namespaces"] == ["failed"]

    harness.check(rebuild=True)

    assert names_of(harness.opened(seed=7).server.namespaces) == ["acme"]


def test_keys_of_a_newer_version(harness: IndexHarness) -> None:
    """Of a namespace with unknown keys the names stay private, and administrators own it."""
    grant(harness.index)
    body = decode(harness.bytes_at(keys.NAMESPACES))
    body["tables"][0]["keys"]["open"] = True
    harness.store.put(keys.NAMESPACES, encode(body), None)
    other = harness.opened(seed=6)
    assert other.server.namespaces.has(NormalizedName("acme-x"))
    assert other.server.namespaces.show()[0].problem
    with pytest.raises(Conflict):
        other.uploads.accept(make_wheel("acme_x", "1.0").arrival(harness.folder), ANA)


FILE: Final = """
[groups]
team = ["user:ana@acme.dev"]
[[namespace]]
name = "Acme"
owners = ["group:team"]
"""


def test_a_file_grants_and_revokes(harness: IndexHarness) -> None:
    """A file that is applied grants namespaces, shows them again, and with `--prune` revokes."""
    applying = harness.index.server.applying
    file = SourcedTables("acme.toml", read_tables(tomllib.loads(FILE), ()))
    (report,) = applying.apply([file], BY, ApplyOptions())
    assert ("namespace", "acme", "added") in {
        (change.kind, change.name, change.outcome) for change in report.changes
    }
    assert applying.show().namespace == ({"name": "acme", "owners": ["group:team"]},)
    without_group = SourcedTables(
        "acme.toml", read_tables(tomllib.loads(FILE.partition("[[")[0].replace("team", "t2")), ())
    )
    empty = SourcedTables("acme.toml", read_tables({}, ()))
    other = SourcedTables(
        "other.toml",
        read_tables({"namespace": [{"name": "acme-x", "owners": ["user:bob@acme.dev"]}]}, ()),
    )
    with pytest.raises(Conflict):
        applying.apply([other], BY, ApplyOptions())
    applying.apply([without_group], BY, ApplyOptions(prune=True))
    assert applying.show().namespace == ()
    applying.apply([empty], BY, ApplyOptions(prune=True))


def test_a_file_with_an_unknown_owner(harness: IndexHarness) -> None:
    """A file whose namespace names a group that there is not is refused as a whole."""
    tables = {"namespace": [{"name": "acme", "owners": ["group:nobody"]}]}
    file = SourcedTables("acme.toml", read_tables(tables, ()))
    with pytest.raises(Invalid):
        harness.index.server.applying.apply([file], BY, ApplyOptions())
    assert names_of(harness.index.server.namespaces) == []


NAMES: Final = st.from_regex(r"[a-c]([.\-_]?[a-c]){0,5}", fullmatch=True).map(canonicalize_name)


@given(NAMES, NAMES)
def test_what_is_in_a_namespace(namespace: NormalizedName, project: NormalizedName) -> None:
    """A project is in a namespace if the parts of its name begin with those of the namespace."""
    parts = namespace.split("-")
    is_in = Namespace(namespace, frozenset()).has(project)
    assert is_in == (project.split("-")[: len(parts)] == parts)


@pytest.mark.slow
@given(st.sets(NAMES), st.sets(NAMES))
def test_patterns_that_are_a_namespace(
    names: set[NormalizedName], prefixes: set[NormalizedName]
) -> None:
    """A name and the pattern of its prefix are a namespace that the index owns, and no other."""
    patterns = {*names, *(f"{prefix}-*" for prefix in prefixes), "x?", "x?-*"}
    found = namespaces_of_patterns(patterns)
    assert {namespace.name for namespace in found} == names & prefixes
