"""Indexes that are made, changed and removed beside uploads and each other, in every order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.catalog.explorer import ExplorationResult, Explorer
from tests.catalog.invariants import document
from tests.catalog.processes import Process, Processes, opened
from tests.catalog.scheduler import Call, OrdinalStore, Work
from tests.distributions import Distribution, make_wheel
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, objects
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.errors import Conflict, Invalid, NotFound
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexList
from wheelyard.operations.index_administration import IndexAdministration
from wheelyard.storage.base import Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.wiring.index import Index

pytestmark = pytest.mark.slow

Change = Callable[[Index], object]
DEV, DEMO = NormalizedName("dev"), NormalizedName("demo")
DEV_FOLDER = keys.index_folder("dev")


def administered(change: Callable[[IndexAdministration], object]) -> Change:
    """Return a change of the indexes of a store."""
    return lambda index: change(index.server.index_administration)


def make(name: str, **fields: Any) -> Change:  # noqa: ANN401 - the keys of an index
    """Return the making of an index."""
    return administered(lambda administration: administration.add({"name": name, **fields}, "me"))


def change(name: str, **fields: Any) -> Change:  # noqa: ANN401 - the keys of an index
    """Return the change of an index."""
    return administered(lambda administration: administration.change(name, fields, "me"))


def remove(name: str) -> Change:
    """Return the removal of an index."""
    return administered(lambda administration: administration.remove(name, "me"))


def upload(made: Distribution, name: str = MAIN) -> Change:
    """Return the upload of a wheel to an index."""

    def accept(index: Index) -> None:
        index.named(name).uploads.accept(made.arrival(index.server.spool.folder), ALICE)

    return accept


def listed(store: Store) -> IndexList:
    """Return the list of indexes in a store."""
    stored = store.get(keys.INDEX_LIST)
    assert isinstance(stored, Stored)
    return Codec(IndexList).decode(keys.INDEX_LIST, stored.body)


def unfit(store: Store) -> Iterator[str]:
    """Yield what of the indexes does not fit: layers that are missing, in a circle, or closed."""
    tables = {str(table.keys["name"]): table.keys for table in listed(store).tables}
    layers = {name: {*table.get("layers", ())} - {name, MAIN} for name, table in tables.items()}
    for name, table in tables.items():
        below, found = set[str](), {name}
        while found - below:
            below |= found
            found = {layer for upper in found for layer in layers.get(upper, ())}
            if name in found:
                yield f"the layers of {name} lead back to it"
        if not below <= {*tables}:
            yield f"{name} has a layer that is gone: {below - {*tables}}"
        readers = {tables[each].get("read") for each in below & {*tables}}
        if table.get("read") == "anyone" and readers != {"anyone"}:
            yield f"anyone may read by {name} what is closed"


def unmet(store: Store, answers: Mapping[str, str], number: int) -> Iterator[str]:
    """Yield what is wrong once all have an answer: about the names, and about accepted uploads."""
    if len(answers) < number or "crashed" in answers.values():
        return
    names = {table.keys["name"] for table in listed(store).tables}
    has_project = document(store, DEV).revision > 0
    if has_project and DEV in names:
        yield "an index and a project have one name"
    if answers.get("upload of dev") == "ok" and not has_project:
        yield "an upload was answered and is not there"
    if answers.get("make dev") == "ok" and "remove dev" not in answers and DEV not in names:
        yield "it was said that an index is made, and there is none"
    files = document(PrefixedStore(store, DEV_FOLDER), DEMO).files
    if answers.get("upload to dev") == "ok" and not (files and DEV in names):
        yield "an upload to an index was answered, and the index does not list it"
    if answers.get("remove dev") == "ok" and files:
        yield "it was said that an index is removed, and it has a package"


def explore(
    folder: Path,
    tables: Sequence[dict[str, Any]],
    changes: Mapping[str, Change],
    faults: int = 0,
    after_a_crash: str = "",
) -> ExplorationResult:
    """
    Play every order of changes of a store that has these indexes.

    A crash may leave a problem that has the words `after_a_crash`, if there are any.
    """
    store = OrdinalStore({})
    put_tables(opened(store, folder, 90), toml_of(main=OPEN_MAIN, index=tuple(tables)))

    def begun(store: Store, seed: int, change: Change) -> Work:
        index = opened(store, folder, seed, is_server=True)

        def work() -> None:
            change(index)

        return work

    def meets(call: Call) -> bool:
        return bool(faults) or not call.key.startswith((keys.CREDENTIALS, keys.FILES))

    def broken(store: Store, answers: Mapping[str, str]) -> Iterator[str]:
        yield from unfit(store)
        if not faults:
            yield from unmet(store, answers, len(changes))

    def again(store: Store) -> Iterator[str]:
        index = opened(store, folder, 91, is_server=True)
        for change in changes.values():
            # whoever was told that it is done may be refused now
            with suppress(Conflict, Invalid, NotFound):
                change(index)
        yield from unfit(store)
        for problem in index.server.check.run().problems:
            if not (faults and after_a_crash and after_a_crash in problem):
                yield problem

    processes = {
        name: Process(partial(begun, seed=number, change=change), meets)
        for number, (name, change) in enumerate(changes.items(), 1)
    }
    return Explorer(Processes(dict(objects(store)), processes, broken, again), faults).explore()


FAULTS = [0, pytest.param(1, marks=pytest.mark.weekly)]


@pytest.mark.parametrize("faults", FAULTS)
def test_an_index_and_a_project_never_have_one_name(tmp_path: Path, faults: int) -> None:
    """Of an index and a project that get one name at once, never both stay without a report."""
    changes = {"make dev": make("dev"), "upload of dev": upload(make_wheel("dev"))}

    answers = explore(tmp_path, (), changes, faults, "a project of main has this name").answers

    assert any(made == "ok" and uploaded != "ok" for made, uploaded in answers)
    assert any(made != "ok" and uploaded == "ok" for made, uploaded in answers)


@pytest.mark.parametrize("faults", FAULTS)
def test_an_index_that_gets_a_package_is_not_removed(tmp_path: Path, faults: int) -> None:
    """An upload beside the removal of its index is refused, or keeps the index."""
    changes = {"remove dev": remove("dev"), "upload to dev": upload(make_wheel(), "dev")}

    answers = explore(tmp_path, ({"name": "dev"},), changes, faults).answers

    assert {("ok", "NotFound not_found"), ("Conflict index_in_use", "ok")} <= answers


LAYERS: dict[str, dict[str, Change]] = {
    "a layer that is removed": {
        "use": change("dev", layers=["dev", "prod"]),
        "remove": remove("prod"),
    },
    "a new index over a layer that is removed": {
        "use": make("qa", layers=["prod"]),
        "remove": remove("prod"),
    },
    "two layers in a circle": {
        "dev": change("dev", layers=["dev", "prod"]),
        "prod": change("prod", layers=["prod", "dev"]),
    },
    "a layer that is closed": {
        "use": change("dev", layers=["dev", "prod"]),
        "close": change("prod", read="granted"),
    },
}
"""Two who change indexes at once, of which one change alone is allowed."""


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("name", list(LAYERS))
def test_layers_fit_together(tmp_path: Path, name: str, faults: int) -> None:
    """Of two changes at once after which layers would not fit together, one is refused."""
    tables = [{"name": each, "read": "anyone"} for each in ("dev", "prod")]

    answers = explore(tmp_path, tables, LAYERS[name], faults).answers

    assert ("ok", "ok") not in answers
    assert {first == "ok" for first, _ in answers} == {True, False}
