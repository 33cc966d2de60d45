"""An index that an earlier version has made as main: it is closed, and gets another name."""

from itertools import count

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.distributions import make_wheel
from tests.fake_store import WRITES, After, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, IndexHarness
from tests.operations.store_copies import copy_whole
from tests.refused import refused
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.api.usage_operations import show_usage
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.catalog.removed import RENAME_MAIN
from wheelyard.errors import Conflict, Invalid, NotFound
from wheelyard.model.access import EVERY_PROJECT, Action, Identity
from wheelyard.model.grants import Granted, GrantFields
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexMade, IndexRemoved
from wheelyard.operations.index_rename import IndexRename
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key, Store
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import index_warnings

DEMO = NormalizedName("demo")
ANA, BO = "user:ana@acme.dev", "user:bo@acme.dev"
GRANT = GrantFields(who=(ANA,), projects=("*",), actions=("upload",), index="team")
PUBLISHER = {
    "id": "gh-demo",
    "provider": "github",
    "projects": ["demo"],
    "repository": "acme/demo",
    "repository_id": 1,
    "owner_id": 2,
    "workflow": "publish.yml",
    "environment": "pypi",
    "index": "team",
}


def opened(harness: IndexHarness, store: Store | None = None) -> Index:
    """Return an index over the store with empty caches."""
    return harness.opened(9, store, Settings())


@pytest.fixture
def older_store(harness: IndexHarness) -> IndexHarness:
    """
    A store of an earlier version with an index `main`, in which `dev` shows it.

    It has a package, and so has the index at the root. A grant, a publisher and a token name it,
    and a grant names no index.
    """
    index = harness.opened(9, tables=toml_of(main=OPEN_MAIN))
    administration = index.server.index_administration
    administration.add({"name": "team"}, "local:bo")
    administration.add({"name": "dev", "layers": ["dev", "team"]}, "local:bo")
    for name, version in (("team", "1.0"), (MAIN, "9.0")):
        uploads = index.named(name).uploads
        uploads.accept(make_wheel("demo", version).arrival(harness.folder), ALICE)
    index.server.access.grant(GRANT, "local:bo")
    unnamed = replace(GRANT, who=(BO,), index="")
    granted = Granted(at=harness.clock.now, by="local:bo", id="g0", grant=unnamed)
    index.server.access.records.change(lambda _: (granted,))
    index.server.publishers.add(PUBLISHER, "local:bo")
    index.tokens.create(TokenRequest(name="ci", indexes=("team",)), "local:bo")
    # by the names that the earlier version has given
    at, folder = harness.clock.now, keys.index_folder("team")
    for entry in list(harness.store.list(folder)):
        body = harness.store.get(entry.key).body  # type: ignore[union-attr]
        place = Key(f"{keys.FORMER_MAIN_FOLDER}{entry.key.removeprefix(folder)}")
        harness.store.put(place, body, None)
        harness.store.delete(entry.key)
    index.server.access.rename_index("team", MAIN, "local:bo", "")
    index.server.publishers.rename_index("team", MAIN, "local:bo", "")
    (record,) = index.tokens.records.all()
    snapshot = index.tokens.records.get_for_update(record.id)
    scope = replace(record.in_index, index=MAIN)  # type: ignore[type-var]
    index.tokens.records.replace(replace(record, in_index=scope), snapshot)
    events = (
        IndexRemoved(at=at, by="local:bo", name="team"),
        IndexRemoved(at=at, by="local:bo", name="dev"),
        IndexMade(at=at, by="local:bo", keys={"name": MAIN}),
        IndexMade(at=at, by="local:bo", keys={"name": "dev", "layers": ["dev", MAIN]}),
        IndexMade(at=at, by="local:bo", keys={"name": "root", "layers": [""]}),
    )
    index.server.definitions.records.change(lambda _: events)
    return harness


def rename(index: Index, name: str = "team") -> str:
    """Rename the index, and return its new name."""
    renaming = IndexRename(index.server.index_administration, index.stores.documents)
    return renaming.rename(name, "local:bo", "two of one name").name


def where(index: Index, who: str) -> set[str]:
    """Return the names of the served indexes that somebody may upload to."""
    (record,) = index.tokens.records.all()
    own = (record.scope,) if who == "token" else ()
    identity = Identity(who, frozenset({who}), own)
    callers = {one.name: one.authenticator.policy.authorize(identity) for one in served(index)}
    return {name for name, caller in callers.items() if caller.may(Action.UPLOAD, DEMO)}


def served(index: Index) -> list[Index]:
    """Return all indexes that are served."""
    return index.server.indexes.all()


def versions(index: Index) -> dict[str, list[str]]:
    """Return the versions of the project in each served index that has it, of its own."""
    found = {one.name: one.projects.load(DEMO).value for one in served(index)}
    return {name: [file.version for file in one.files] for name, one in found.items() if one}


def test_the_index_is_closed_until_it_is_renamed(older_store: IndexHarness) -> None:
    """An index that was made as main gives nothing until it is renamed, and `check` says so."""
    index = opened(older_store)

    assert [one.name for one in served(index)] == [MAIN, "root"]
    assert versions(index) == {MAIN: ["9.0"]}
    assert where(index, ANA) == where(index, "token") == set()
    assert MAIN in where(index, BO)
    listed = {row.name: row.problem for row in index.server.index_administration.show()}
    assert "by the command index rename" in listed[MAIN]
    assert "former-main-" in listed["dev"]
    (warning,) = (each for each in index_warnings(index) if "command index rename" in each.message)
    assert warning.advice == RENAME_MAIN
    said = [*texts_of(index_warnings(index)), *older_store.check().problems]
    said += [part.text for part in show_health(Call(index=index, caller=ALICE)).parts]
    assert sum("by the command index rename" in text for text in said) == 3


def test_the_closed_index_is_counted_and_checked(older_store: IndexHarness) -> None:
    """What an index that was made as main stores is counted as its own, and damage is found."""
    usage = show_usage(Call(index=opened(older_store), caller=ALICE))
    assert [(each.index, each.files) for each in usage.indexes or ()] == [("former-main-", 1)]
    assert usage.stored_files == 2

    place = Key(f"{keys.FORMER_MAIN_FOLDER}{keys.project(DEMO)}")
    older_store.store.put(place, b"?", None)

    damage = f"index former-main-: {place} is missing or damaged"
    assert any(text.startswith(damage) for text in older_store.check().problems)


def test_nothing_new_names_main_meanwhile(older_store: IndexHarness) -> None:
    """No layer and no right can name main while nobody could tell which one it means."""
    administration = opened(older_store).server.index_administration

    with refused(Conflict, "index_in_use", "command index rename"):
        administration.add({"name": "new", "layers": ["new", MAIN]}, "local:bo")
    with refused(Conflict, "index_in_use", "command index rename"):
        administration.require_known(MAIN)
    for change in (administration.remove, lambda name, by: administration.change(name, {}, by)):
        with refused(Conflict, "index_in_use", "command index rename"):
            change(MAIN, "local:bo")


def require_renamed(index: Index) -> None:
    """Check that nothing was lost, and that all that named the index names it still."""
    assert versions(index) == {MAIN: ["9.0"], "team": ["1.0"]}
    assert index.server.definitions.get("dev").layers == ("dev", "team")
    assert index.server.definitions.get("root").layers == (MAIN,)
    assert where(index, ANA) == where(index, "token") == {"team"}
    (publisher,) = index.server.publishers.show()
    assert publisher.keys["index"] == "team"
    assert list(index.stores.documents.list(keys.FORMER_MAIN_FOLDER)) == []


def test_the_index_is_renamed_with_all_that_it_has(older_store: IndexHarness) -> None:
    """A renamed index has its packages, layers, grants, publishers and tokens as before."""
    assert rename(opened(older_store)) == "team"

    require_renamed(opened(older_store))
    assert older_store.check().problems == []
    with pytest.raises(NotFound, match="but the one at its root"):
        rename(opened(older_store), "other")


def test_a_renaming_that_dies_is_repeated(older_store: IndexHarness) -> None:
    """Wherever a process dies, main gets no right, and the same command goes on."""
    dies_at_its_second_write = Fault(FaultKind.CRASH, WRITES, nth=2)
    for deaths in count():
        try:
            rename(opened(older_store, FakeStore(older_store.store, dies_at_its_second_write)))
        except ProcessCrash:
            assert MAIN not in where(opened(older_store), ANA) | where(opened(older_store), "token")
            assert deaths < 50
        else:
            break

    require_renamed(opened(older_store))
    assert deaths > 5


def test_two_processes_rename_the_index(older_store: IndexHarness) -> None:
    """If another process has renamed the index meanwhile, the same command ends as it did."""
    other = Before(lambda: rename(opened(older_store)), "put", keys.INDEX_LIST)

    assert rename(opened(older_store, FakeStore(older_store.store, other))) == "team"

    require_renamed(opened(older_store))


def test_what_an_earlier_version_writes_meanwhile_is_not_deleted(
    older_store: IndexHarness,
) -> None:
    """A document that changes at its old place after it was copied stays there, and is named."""
    place = Key(f"{keys.FORMER_MAIN_FOLDER}{keys.project(DEMO)}")
    write = After(lambda: older_store.store.put(place, b"{}", None), "put", keys.INDEX_LIST)
    index = opened(older_store, FakeStore(older_store.store, write))

    with refused(Conflict, "index_in_use", f"called team now, and something still writes {place}"):
        rename(index)

    assert older_store.bytes_at(place) == b"{}"
    assert versions(opened(older_store)) == {MAIN: ["9.0"], "team": ["1.0"]}


def test_a_copy_made_before_has_the_index_too(older_store: IndexHarness) -> None:
    """A copy of a store whose index is not renamed yet has its packages, to be renamed there."""
    target = IndexHarness(older_store.folder)
    copied = copy_whole(opened(older_store), opened(target))

    assert copied.problems == []
    assert rename(opened(target)) == "team"
    assert versions(opened(target)) == {MAIN: ["9.0"], "team": ["1.0"]}
    assert target.check().problems == []


@pytest.mark.parametrize("name", ["dev", "demo", MAIN, "Team"])
def test_the_new_name_has_to_be_free(older_store: IndexHarness, name: str) -> None:
    """A renaming to a name that is taken, or that no index can have, changes nothing."""
    with pytest.raises((Conflict, Invalid)):
        rename(opened(older_store), name)

    assert rename(opened(older_store)) == "team"


def test_documents_of_another_index_stay(older_store: IndexHarness) -> None:
    """An index cannot get the name of one whose journals are still in the store."""
    older_store.store.put(Key("indexes/lab/projects/demo.json"), b"{}", None)

    with refused(Conflict, "index_exists", "had documents before"):
        rename(opened(older_store), "lab")

    assert rename(opened(older_store)) == "team"


def test_a_token_that_names_no_index_stays_as_it_is(older_store: IndexHarness) -> None:
    """A token of an earlier version that names no index is not changed by a renaming."""
    tokens = opened(older_store).tokens.records
    (record,) = tokens.all()
    unnamed = replace(record, in_index=None, actions=15, projects=(EVERY_PROJECT,))
    tokens.replace(unnamed, tokens.get_for_update(record.id))
    before = older_store.snapshot(keys.TOKENS)

    assert rename(opened(older_store)) == "team"

    assert before
    assert older_store.snapshot(keys.TOKENS) == before


def test_an_index_that_lists_itself_among_its_layers(harness: IndexHarness) -> None:
    """A renamed index shows its own packages by its new name; the journal has no change of main."""
    index = harness.index
    keys_of_index = {"name": MAIN, "layers": [MAIN, ""]}
    made = IndexMade(at=harness.clock.now, by="local:bo", keys=keys_of_index)
    index.server.definitions.records.change(lambda _: (made,))

    assert rename(index, "stable") == "stable"

    assert index.server.definitions.get("stable").layers == ("stable", MAIN)
    commit = index.server.definitions.stored().commit
    assert commit is not None
    assert [type(event) for event in commit.events] == [IndexRemoved, IndexMade]


def test_an_index_with_a_filter_gets_another_name(harness: IndexHarness) -> None:
    """An index that has a filter is renamed, and says under its new name what takes its place."""
    index = harness.index
    keys_of_index = {"name": MAIN, "layers": [""], "filter": "not yanked"}
    made = IndexMade(at=harness.clock.now, by="local:bo", keys=keys_of_index)
    index.server.definitions.records.change(lambda _: (made,))

    assert rename(index, "stable") == "stable"

    definition = index.server.definitions.get("stable")
    assert definition.removed_filter == "not yanked"
    assert any("yanked = false" in text for text in texts_of(index_warnings(index)))
