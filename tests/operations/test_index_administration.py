"""Indexes in the store: changes, refusals, names that are taken, definitions that do not fit."""

from collections.abc import Callable
from functools import partial
from re import findall
from typing import Any, Final

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import in_terminal, texts_of
from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.index_tables import toml_of
from tests.model.jobs import GITHUB, GITLAB, OIDC
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, IndexHarness
from wheelyard.api.health_operations import show_health
from wheelyard.api.index_operations import INDEXES
from wheelyard.api.local_api import LocalApi
from wheelyard.api.operation import Call
from wheelyard.api.people_operations import PersonQuestion, show_person
from wheelyard.api.project_operations import WHOLE_HISTORY, ClientProjectsQuery, client_projects
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.model.distribution_filename import parse_version_set
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import INDEX_KIND, IndexList
from wheelyard.operations.lifecycle import Selection
from wheelyard.remedies import ALL_VERSIONS
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings, StoreSettings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Key, Stores
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits
from wheelyard.wiring.warnings import index_warnings, server_warnings

DEV: Final = {"name": "dev"}
LABELLED: Final = UpstreamSettings(index=({"label": "dev", "url": "https://dev.example/simple/"},))
PROD: Final = {"name": "prod", "layers": ["prod", ""]}
UPLOAD_MARK: Final = keys.pending_mark(NormalizedName("demo"), 1, "0123456789abcdef")


def opened(harness: IndexHarness, *tables: dict[str, Any], seed: int = 3) -> Index:
    """Return the index as another process has it, once the store has these indexes."""
    return harness.opened(seed, tables=toml_of(index=tables) if tables else "")


def names_of(index: Index) -> list[str]:
    """Return the names of the indexes that are served."""
    return [served.name for served in index.server.indexes.all()]


def test_an_index_is_made_changed_and_removed(harness: IndexHarness) -> None:
    """What one process changes, another one serves, and the history says who did it and why."""
    here, there = opened(harness, PROD), opened(harness, PROD, seed=4)

    here.server.index_administration.add(DEV, "user:ana@acme.dev", "TEAM-1")

    assert names_of(there) == [MAIN, "dev", "prod"]
    layers = ["dev", "prod"]
    there.server.index_administration.change("dev", {"layers": layers}, "local:bo", "sees prod")
    changed = here.server.index_administration.show()[2]
    assert (changed.source, changed.keys, changed.created_by, changed.changed_by) == (
        *("", {"name": "dev", "layers": layers}, "user:ana@acme.dev", "local:bo"),
    )
    assert here.named("dev").definition.layers == ("dev", "prod")
    here.server.index_administration.change("dev", {"layers": layers}, "local:bo")  # nothing to do
    assert here.server.index_administration.remove("dev", "local:bo") == ()
    assert names_of(there) == [MAIN, "prod"]
    events = [commit.event for commit in there.server.definitions.records.history()]
    assert [
        text for text in map(INDEX_KIND.describe_event, events) if text.startswith("index ")
    ] == [
        "index prod: made, layers prod main",
        "index dev: made, its own packages (TEAM-1)",
        "index dev: changed, layers dev prod (sees prod)",
        "index dev: removed",
    ]
    assert (harness.check().problems, harness.check().notes) == ([], [])


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (PROD, "index_exists"),
        (DEV, "index_exists"),
        ({"name": "acme"}, "index_exists"),
        ({"name": "Dev"}, "invalid_index"),
        ({"name": "simple"}, "invalid_index"),
        ({"name": "as-of-2026-01-01"}, "invalid_index"),
        ({"name": "qa", "layers": ["dev", "upstream", "pypi"]}, "invalid_index"),
        ({"name": "qa", "layers": ["upstream"]}, "invalid_index"),
        ({"name": "qa", "layers": []}, "invalid_index"),
        ({"name": "qa", "layers": "dev"}, "invalid_field"),
        ({"name": "qa", "colour": "red"}, "invalid_field"),
        ({}, "invalid_field"),
    ],
)
def test_what_cannot_be_made(harness: IndexHarness, table: dict[str, Any], code: str) -> None:
    """A name that is taken, and a definition that is wrong, are not stored."""
    settings, tables = (
        Settings(server=ServerSettings(roots=("acme",))),
        toml_of(index=(PROD, DEV)),
    )
    administration = harness.opened(3, settings=settings, tables=tables).server.index_administration
    before = harness.bytes_at(keys.INDEX_LIST)

    with pytest.raises((Invalid, Conflict)) as refused:
        administration.add(table, "local:bo")

    assert refused.value.code == code
    assert harness.bytes_at(keys.INDEX_LIST) == before


def test_a_source_of_promotions_that_does_not_exist(harness: IndexHarness) -> None:
    """Whoever names an index in promote_from that there is not hears it at once."""
    administration = opened(
        harness, {**PROD, "promote_from": ["main", "dve"]}
    ).server.index_administration
    administration.add(DEV, "local:bo")

    made = administration.add({"name": "qa", "promote_from": ["dev", "dve"]}, "local:bo")
    changed = administration.change("qa", {"promote_from": ["dev"]}, "local:bo")

    (warning,) = texts_of(made.warnings)
    assert warning.startswith("promote_from of the index qa names the index dve, which does not")
    assert changed.warnings == ()
    assert [len(index.warnings) for index in administration.show()] == [0, 1, 0, 0]


def test_a_circle_is_refused(harness: IndexHarness) -> None:
    """An index cannot get a layer that leads back to it."""
    administration = opened(harness).server.index_administration
    administration.add(DEV, "local:bo")
    administration.add({"name": "prod", "layers": ["dev"]}, "local:bo")

    with pytest.raises(Invalid, match="lead back"):
        administration.change("dev", {"layers": ["dev", "prod"]}, "local:bo")


def test_what_cannot_be_changed(harness: IndexHarness) -> None:
    """Names stay, and what is gone can neither be changed nor removed."""
    administration = opened(harness, PROD).server.index_administration
    administration.add(DEV, "local:bo")

    with pytest.raises(Invalid, match="stays as it is"):
        administration.change("dev", {"name": "qa"}, "local:bo")
    for name in ("nobody", "../dev"):
        with pytest.raises(NotFound):
            administration.change(name, {"layers": None}, "local:bo")
        with pytest.raises(NotFound):
            administration.remove(name, "local:bo")


def test_an_index_that_is_in_use_stays(harness: IndexHarness) -> None:
    """An index with packages, and a layer of another one, is not removed."""
    index = opened(harness)
    administration = index.server.index_administration
    administration.add(DEV, "local:bo")
    administration.add({"name": "team"}, "local:bo")
    dev = index.named("dev")
    dev.uploads.accept(make_wheel().arrival(harness.folder), ALICE)

    with pytest.raises(Conflict, match="has packages, such as demo"):
        administration.remove("dev", "local:bo")
    administration.add({"name": "qa", "layers": ["team"]}, "local:bo")
    with pytest.raises(Conflict, match="is a layer of the index 'qa'"):
        administration.remove("team", "local:bo")


@pytest.mark.parametrize("layers", [["main"], ["team", "main"]])
def test_packages_that_an_index_does_not_show_are_said(
    harness: IndexHarness, layers: list[str]
) -> None:
    """Who takes the name of an index out of its layers hears that its packages are hidden now."""
    index = opened(harness)
    administration = index.server.index_administration
    administration.add({"name": "team"}, "local:bo")
    administration.add(DEV, "local:bo")
    assert administration.change("dev", {"layers": layers}, "local:bo").warnings == ()
    administration.change("dev", {"layers": None}, "local:bo")
    index.named("dev").uploads.accept(make_wheel().arrival(harness.folder), ALICE)

    (warning,) = administration.change("dev", {"layers": layers}, "local:bo").warnings

    assert warning.message.startswith("The index dev has packages that it does not show")
    assert [row.warnings for row in administration.show()] == [(), (), (warning,)]
    assert administration.change("dev", {"layers": ["dev"]}, "local:bo").warnings == ()


def test_an_index_is_emptied_before_it_is_removed(harness: IndexHarness) -> None:
    """Who follows the advice deletes also dev releases, and waits until nothing can be restored."""
    index = opened(harness)
    administration = index.server.index_administration
    administration.add(DEV, "local:bo")
    dev = index.named("dev")
    dev.uploads.accept(make_wheel(version="0.dev1").arrival(harness.folder), ALICE)

    with pytest.raises(Conflict, match="has packages") as refused:
        administration.remove("dev", "local:bo")
    (advised,) = findall(r"--versions '(.*)' --index dev", in_terminal(refused.value))
    selection = Selection(parse_version_set(advised))
    dev.lifecycle.change("delete", ALICE, NormalizedName("demo"), selection, "")

    with pytest.raises(Conflict, match="Try again 31 days after their deletion"):
        administration.remove("dev", "local:bo")
    harness.clock.advance(days=31)
    administration.remove("dev", "local:bo")
    assert names_of(opened(harness)) == [MAIN]


def test_the_advice_of_deleted_files_names_their_digest(harness: IndexHarness) -> None:
    """Who cannot remove an index, as a file can be restored, can paste the command of that file."""
    index = opened(harness)
    index.server.index_administration.add(DEV, "local:bo")
    dev = index.named("dev")
    wheel = make_wheel()
    dev.uploads.accept(wheel.arrival(harness.folder), ALICE)
    every = Selection(parse_version_set(ALL_VERSIONS))
    dev.lifecycle.change("delete", ALICE, NormalizedName("demo"), every, "")

    with pytest.raises(Conflict) as refused:
        index.server.index_administration.remove("dev", "local:bo")

    command = f"delete demo sha256:{wheel.sha256} --now --index dev"
    assert command in in_terminal(refused.value)


def test_rights_for_an_index_that_is_removed(harness: IndexHarness) -> None:
    """Whoever removes an index hears how many grants and publishers still name it."""
    index = opened(harness)
    index.server.index_administration.add(DEV, "local:bo")
    fields = GrantFields(who=("user:ana@acme.dev",), projects=("*",), actions=("read",))
    index.server.access.grant(replace(fields, index="dev"), "local:bo")
    for table in (GITHUB, {**GITLAB, "index": "dev"}, {**OIDC, "index": "dev,main"}):
        index.server.publishers.add(table, "local:bo")

    (warning,) = texts_of(index.server.index_administration.remove("dev", "local:bo"))

    assert warning.startswith("1 grant and 2 publishers for the index dev")


def test_no_index_has_the_name_of_a_project(harness: IndexHarness) -> None:
    """A project and an index of one name never exist together, whoever comes first."""
    index = opened(harness)
    harness.upload(make_wheel())
    with pytest.raises(Conflict, match="the name of a project"):
        index.server.index_administration.add({"name": "demo"}, "local:bo")
    index.server.index_administration.add(DEV, "local:bo")
    index.projects.names.claim(NormalizedName("lab"))  # by an upload that has died
    with pytest.raises(Conflict, match=r"is a private name of main\. If nobody needs it"):
        index.server.index_administration.add({"name": "lab"}, "local:bo")

    with pytest.raises(Invalid, match="the name of an index"):
        harness.upload(make_wheel("dev"))
    with pytest.raises(Invalid, match="the name of an index"):
        index.names.reserve(ALICE, NormalizedName("dev"), "")


def test_no_index_has_the_name_of_a_project_that_is_being_uploaded(harness: IndexHarness) -> None:
    """While a first upload has put its mark, and no project yet, its name is taken for indexes."""
    administration = opened(harness).server.index_administration
    harness.store.put(UPLOAD_MARK, b"", None)

    with pytest.raises(Conflict, match="somebody uploads a project of this name now"):
        administration.add({"name": "demo"}, "local:bo")

    harness.store.delete(UPLOAD_MARK)
    administration.add({"name": "demo"}, "local:bo")


def test_an_index_whose_projects_vanish_is_removed(harness: IndexHarness) -> None:
    """An index is removed, also if a document of its projects goes while it is looked at."""
    document = Key(f"{keys.index_folder('dev')}{keys.project(NormalizedName('demo'))}")
    store = FakeStore(harness.store)
    index = harness.opened(3, store, tables=toml_of(index=[DEV]))
    index.named("dev").names.reserve(ALICE, NormalizedName("demo"), "")
    index.named("dev").changes.newest()
    assert document in harness.snapshot()
    store.follow(Before(lambda: harness.store.delete(document), "get", document))

    index.server.index_administration.remove("dev", "local:bo")

    assert names_of(opened(harness, seed=4)) == [MAIN]


def test_an_index_of_the_store_that_does_not_fit(harness: IndexHarness) -> None:
    """An index whose layer does not exist any more is not served, and all others are."""
    before = opened(harness, PROD).server.index_administration
    before.add({"name": "dev", "layers": ["dev", "prod"]}, "local:bo")
    before.add({"name": "team", "layers": ["dev"]}, "local:bo")
    before.add({"name": "qa"}, "local:bo")
    harness.lose("prod")

    index = opened(harness)

    assert names_of(index) == [MAIN, "qa"]
    assert set(index.server.definitions.names()) == {"dev", "qa", "team"}
    with pytest.raises(Unavailable, match="'prod' is no index of this store") as refused:
        index.named("dev")
    assert refused.value.code == "wrong_index"
    with pytest.raises(NotFound):
        index.named("nobody")
    problems = {row.name: row.problem for row in index.server.index_administration.show()}
    assert "has to be the label of an [[upstream.index]]" in problems["dev"]
    assert "its layer 'dev' is wrong" in problems["team"]
    index.server.index_administration.change("dev", {"layers": None}, "local:bo")
    assert names_of(index) == [MAIN, "dev", "qa", "team"]


def test_a_definition_of_a_newer_version(harness: IndexHarness) -> None:
    """An index with a key that this version does not know is not served as if it had none."""
    opened(harness).server.index_administration.add(DEV, "local:bo")
    document = decode(harness.bytes_at(keys.INDEX_LIST), type=IndexList)
    newer = replace(document.tables[0], keys={**DEV, "mirror": True})
    harness.store.put(keys.INDEX_LIST, encode(replace(document, tables=(newer,))) + b"\n", None)

    index = opened(harness, seed=7)

    assert names_of(index) == [MAIN]
    assert "mirror" in index.server.index_administration.show()[1].problem


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(server=ServerSettings(roots=("dev",))), "the name of an index in the store"),
        (Settings(upstream=LABELLED), "'dev' is the name of an index, and nobody could tell"),
    ],
)
def test_what_stops_the_start(harness: IndexHarness, settings: Settings, words: str) -> None:
    """A server does not start if its settings and the store contradict each other."""
    opened(harness).server.index_administration.add(DEV, "local:bo")
    index = harness.opened(4, settings=settings)

    with pytest.raises(Invalid, match=words) as refused:
        index.server.definitions.require_start()

    assert refused.value.code == "bad_setting"


def test_a_store_that_does_not_answer_stops_the_start(harness: IndexHarness) -> None:
    """A server does not start while nobody knows which indexes there are."""
    opened(harness, DEV)
    fault = Fault(FaultKind.NOT_DONE, "get", keys.INDEX_LIST, times=ALWAYS)
    index = harness.opened(4, FakeStore(harness.store, fault))

    with pytest.raises(Unavailable, match="The store did not answer"):
        index.server.definitions.require_start()


def test_a_damaged_list_of_indexes_stops_no_start(harness: IndexHarness) -> None:
    """A server starts and opens nothing, and its warnings say what is damaged."""
    harness.upload(make_wheel("demo", "1.0"))
    harness.store.put(keys.INDEX_LIST, b"?", None)
    settings, spool, runtime = (
        Settings(),
        Spool(harness.folder),
        harness.index.server.runtime,
    )

    index = build_index(
        Stores.of(harness.store), spool, settings, runtime, StoreTraits(), is_server=True
    )

    with pytest.raises(Unavailable, match=r"index-list\.json is damaged"):
        index.uploads.accept(make_wheel("demo", "2.0").arrival(harness.folder), ALICE)
    assert not index.read_policy.is_public()
    assert any("index-list.json is damaged" in line for line in texts_of(server_warnings(index)))


@pytest.mark.parametrize("ask", [INDEXES.list, partial(INDEXES.history, body=WHOLE_HISTORY)])
def test_a_lost_list_of_indexes_is_not_taken_for_an_empty_one(
    harness: IndexHarness, ask: Callable[[Call], object]
) -> None:
    """Without the list, nobody can say which indexes there are, and it is said what mends that."""
    harness.upload(make_wheel("demo", "1.0"))
    opened(harness, DEV, PROD)
    harness.store.delete(keys.INDEX_LIST)
    index = harness.opened(3)

    for question in (ask, lambda call: call.index.named("dev")):
        with pytest.raises(Unavailable, match=r"index-list\.json is lost"):
            question(Call(index=index, caller=ALICE))

    with pytest.raises(Unavailable, match=r"index-list\.json is lost"):
        index.uploads.accept(make_wheel("demo", "2.0").arrival(harness.folder), ALICE)
    assert any("index-list.json is lost" in line for line in texts_of(server_warnings(index)))
    assert harness.check(rebuild=True).repaired
    assert names_of(index) == [MAIN, "dev", "prod"]


def test_check_mends_the_list_of_indexes(harness: IndexHarness) -> None:
    """The check mends document and journal of the indexes, as those of a project."""
    opened(harness).server.index_administration.add(DEV, "local:bo")
    whole = harness.bytes_at(keys.INDEX_LIST)
    harness.store.put(keys.INDEX_LIST, b"?", None)
    (problem,) = harness.check().problems
    assert "fold it again with --rebuild" in problem

    assert harness.check(rebuild=True).repaired

    assert harness.bytes_at(keys.INDEX_LIST) == whole


def test_health_says_which_index_is_not_served(harness: IndexHarness) -> None:
    """The health page has a line for each index, and why one is not served."""
    opened(harness, PROD, {"name": "dev", "layers": ["dev", "prod"]})
    harness.lose("prod")
    index = opened(harness)
    index.server.index_administration.add({"name": "qa"}, "local:bo")

    parts = LocalApi(index=index, caller=ALICE).call(show_health).parts

    states = {part.name: part.state for part in parts if part.name.startswith("index ")}
    assert states == {"index dev": "failed", "index qa": "ok"}


def test_an_open_index_shows_a_closed_one_only_if_that_is_meant(harness: IndexHarness) -> None:
    """Whoever opens an index that shows packages of one that is not open has to confirm it."""
    index = opened(harness, PROD)
    administration = index.server.index_administration
    administration.add({"name": "qa", "layers": ["prod"]}, "local:bo")
    administration.add({"name": "dev", "layers": ["main"], "read": "anyone"}, "local:bo")
    before = administration.show()
    leak = {"name": "leak", "layers": ["qa", "dev"], "read": "anyone"}
    changes = (
        partial(administration.add, leak, "local:bo"),
        partial(administration.change, "qa", {"read": "anyone"}, "local:bo"),
        partial(administration.change, "dev", {"layers": ["qa"]}, "local:bo"),
    )
    for change in changes:
        with pytest.raises(Conflict, match="would show the packages of the index prod,") as caught:
            change()
        assert caught.value.code == "opens_index"
        assert "--even-if-open" in in_terminal(caught.value)
    assert administration.show() == before

    for change in changes:
        (said,) = texts_of(change(even_if_open=True).warnings)
        assert "which shows packages of the index prod, where a right is needed" in said
    listed = {row.name: texts_of(row.warnings) for row in administration.show()}
    assert {name for name, warnings in listed.items() if warnings} == {"qa", "dev", "leak"}


def test_rights_of_an_index_that_is_made_again(harness: IndexHarness) -> None:
    """Whoever makes an index hears that rights of an earlier one of its name hold in it."""
    index = opened(harness)
    administration = index.server.index_administration
    assert administration.add(DEV, "local:bo").warnings == ()
    grant = GrantFields(who=("htpasswd:ana",), projects=("*",), actions=("read",), index="dev")
    index.server.access.grant(grant, "local:bo")
    administration.remove("dev", "local:bo")

    (warning,) = texts_of(administration.add(DEV, "local:bo").warnings)

    assert warning == ("these named the index dev before it was made, and hold in it now: 1 grant")


def test_an_index_is_closed_below_an_open_one(harness: IndexHarness) -> None:
    """Whoever closes an index that an open one shows has to say that it may go on showing it."""
    administration = opened(harness).server.index_administration
    administration.add({**DEV, "read": "anyone"}, "local:bo")
    administration.add({"name": "top", "layers": ["dev"], "read": "anyone"}, "local:bo")
    close = partial(administration.change, "dev", {"read": "granted"}, "local:bo")

    with pytest.raises(Conflict, match="may read the index top, which would show the packages of"):
        close()

    (warning,) = texts_of(close(even_if_open=True).warnings)
    assert warning.startswith("Anybody may read the index top, which shows packages of the index")
    # what is so already is no hindrance to another change
    administration.change("top", {"layers": ["dev", "main"]}, "local:bo")
    administration.add({"name": "other", "layers": ["dev"]}, "local:bo")
    with pytest.raises(Conflict):
        administration.change("other", {"read": "anyone"}, "local:bo")


def test_a_private_server_warns_of_no_open_index(harness: IndexHarness) -> None:
    """Where the settings close all indexes, no warning says that anybody may read one."""
    tables = {**DEV, "read": "anyone"}, {"name": "top", "layers": ["dev"], "read": "anyone"}
    administration = harness.index.server.index_administration
    for table in tables:
        administration.add(table, "local:bo")
    administration.change("dev", {"read": None}, "local:bo", even_if_open=True)
    assert [len(row.warnings) for row in administration.show()] == [0, 0, 1]
    settings = Settings(access=AccessSettings(private=True))

    private = harness.opened(5, settings=settings).server.index_administration

    assert [row.warnings for row in private.show()] == [(), (), ()]


def test_null_leaves_a_key_out(harness: IndexHarness) -> None:
    """A key without a value is not stored with an index that is made."""
    administration = opened(harness).server.index_administration

    made = administration.add({**DEV, "read": None, "layers": None, "merge": None}, "local:bo")

    assert made.keys == DEV


@pytest.mark.parametrize(
    ("upstream", "is_warned"),
    [
        (UpstreamSettings(), False),
        (UpstreamSettings(enabled=True), True),
        (UpstreamSettings(enabled=True, osv="osv.json"), False),
    ],
    ids=["no public packages", "no database", "a database"],
)
def test_a_missing_database_of_vulnerabilities_is_warned_of(
    harness: IndexHarness, upstream: UpstreamSettings, *, is_warned: bool
) -> None:
    """A rule about vulnerabilities needs a database only if there are public packages."""
    tables = toml_of(index=({**DEV, "min_cvss": 9},))
    index = harness.opened(3, settings=Settings(upstream=upstream), tables=tables)

    lines = texts_of(index_warnings(index))

    assert any("set upstream.osv" in line for line in lines) == is_warned


def test_a_name_of_no_index_is_warned_of(harness: IndexHarness) -> None:
    """A server warns of a grant, a static token and a rule for an index that does not exist."""
    grant = {"who": ["group:all"], "projects": ["*"], "actions": ["read"], "index": "prod,prdo"}
    tokens = harness.folder / "tokens.toml"
    tokens.write_text(
        '[[token]]\nname = "ci"\nvalue = "a text of many letters"\nprojects = ["*"]\n'
        'index = "prod,pord"\n'
    )
    settings = Settings(
        access=AccessSettings(static_tokens_file=str(tokens)),
    )
    tables = toml_of(
        index=({"name": "prod", "promote_from": ["main", "dve"]},),
        grant=[grant],
        groups={"all": []},
    )
    index = harness.opened(3, settings=settings, tables=tables)

    lines = [line for line in texts_of(server_warnings(index)) if "does not exist" in line]

    assert [line.partition(",")[0] for line in lines] == [
        f"grant {index.server.access.show().grants[0].id} names the index prdo",
        "static token ci names the index pord",
        "promote_from of the index prod names the index dve",
    ]


@pytest.mark.parametrize(
    ("read", "private", "places"),
    [
        ("granted", False, ["the index dev"]),
        ("anyone", False, []),
        ("anyone", True, ["the indexes main and dev"]),
    ],
)
def test_files_of_a_closed_index_in_a_public_bucket_are_told(
    harness: IndexHarness, read: str, places: list[str], *, private: bool
) -> None:
    """Where one index is closed, the start says that everybody gets its files by their URLs."""
    settings = Settings(
        store=StoreSettings(downloads="public"), access=AccessSettings(private=private)
    )
    index = harness.opened(5, settings=settings, tables=toml_of(index=({**DEV, "read": read},)))

    told = [text for text in texts_of(index_warnings(index)) if "the public bucket" in text]

    assert [text.partition(" needs a credential")[0] for text in told] == [
        f"reading {place}" for place in places
    ]


def test_clients_of_an_index_hear_of_its_layers(harness: IndexHarness) -> None:
    """The settings of a client name the projects that a layer has, and what these need."""
    index = harness.opened(3, tables=toml_of(main=OPEN_MAIN, index=(PROD,)))
    harness.index = index
    lines = b"Metadata-Version: 2.1\nName: core\nVersion: 1.0\nRequires-Dist: needed\n"
    harness.upload(make_wheel("core", metadata=lines))
    harness.upload(make_wheel("needed"))
    api = LocalApi(index=index.named("prod"), caller=ALICE)

    answer = api.call(client_projects, ClientProjectsQuery("core"))

    assert (answer.projects, answer.takes_uploads) == (("core", "needed"), True)


def test_clients_of_a_view_hear_that_it_takes_no_uploads(harness: IndexHarness) -> None:
    """A server tells clients that nothing can be published to an index without own packages."""
    index = opened(harness, {"name": "stable", "layers": ["main"]})
    api = LocalApi(index=index.named("stable"), caller=ALICE)

    assert not api.call(client_projects, ClientProjectsQuery()).takes_uploads


def test_rights_of_a_person_in_all_indexes(harness: IndexHarness) -> None:
    """What a person may do in an index is among their rights, with its name."""
    index = opened(harness, PROD)
    fields = GrantFields(
        who=("user:ana@acme.dev",), projects=("*",), actions=("upload",), index="prod"
    )
    index.server.access.grant(fields, "local:bo")

    api = LocalApi(index=index, caller=ALICE)
    rights = api.call(show_person, PersonQuestion("user:ana@acme.dev")).rights

    assert [right.index for right in rights if "upload" in right.can] == ["prod"]


def test_a_key_that_no_index_has_is_not_left_out(harness: IndexHarness) -> None:
    """Who misspells a key that is to be left out hears it, for main as well."""
    administration = harness.index.server.index_administration
    administration.add({"name": "dev", "layers": None}, "local:bo")

    for name in (MAIN, "dev"):
        with pytest.raises(Invalid, match="'marge' is no key of an index"):
            administration.change(name, {"marge": None}, "local:bo")
