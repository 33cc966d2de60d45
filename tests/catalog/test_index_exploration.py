"""Indexes that are made, changed and removed beside uploads and each other, in every order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.catalog.explorer import Explorer, Stop, are_like
from tests.catalog.invariants import committed, document
from tests.catalog.processes import Process, Processes, opened
from tests.catalog.scheduler import Call, OrdinalStore, Work
from tests.distributions import Distribution, make_wheel
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, objects
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_documents import INDEX_LIST
from wheelyard.errors import Conflict, Invalid, NotFound
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexList, IndexMade, IndexRemoved
from wheelyard.operations.index_administration import IndexAdministration
from wheelyard.storage.base import Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.wiring.index import Index

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
    """Yield what of the indexes does not fit: what layers they have, and what was done twice."""
    made = set[str]()
    for event in (event for each in committed(store, INDEX_LIST) for event in each.events):
        before = frozenset(made)
        if isinstance(event, IndexMade):
            made.add(str(event.keys["name"]))
        elif isinstance(event, IndexRemoved):
            made.discard(event.name)
        if isinstance(event, IndexMade | IndexRemoved) and made == before:
            yield f"an index was made or removed twice: {event}"
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
    for folder, name in (("", DEV), (DEV_FOLDER, DEMO)):
        is_there = document(PrefixedStore(store, folder), name).revision > 0
        if any(store.list(f"{folder}{keys.PENDING}")) and not is_there:
            yield f"{name} is no project, and the mark of its upload stays"
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


def explorer(
    folder: Path,
    tables: Sequence[dict[str, Any]],
    changes: Mapping[str, Change],
    faults: int = 0,
    after_a_crash: str = "",
) -> Explorer:
    """
    Return the exploration of changes of a store that has these indexes.

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
    return Explorer(Processes(dict(objects(store)), processes, broken, again), faults)


MAKE = {"make dev": make("dev"), "upload of dev": upload(make_wheel("dev"))}
REMOVE = {"remove dev": remove("dev"), "upload to dev": upload(make_wheel(), "dev")}
TABLE = {"name": "dev"}
DEFINED = Call("put", keys.INDEX_LIST)
"""The call with which an index is made or removed."""
IN_MAIN, IN_DEV = Call("put", keys.PROJECTS), Call("put", f"{DEV_FOLDER}{keys.PROJECTS}")
"""The calls with which a project is made, in main and in another index: its mark is there."""
TAKEN = "Conflict index_exists: *: somebody uploads a project of this name now, *"
IN_USE = "Conflict index_in_use: Somebody uploads demo to the index 'dev' now, *"
SCHEDULES: dict[str, tuple[Callable[[Path], Explorer], tuple[Stop, ...], tuple[str, ...]]] = {
    "an upload begins while an index gets its name": (
        partial(explorer, tables=(), changes=MAKE),
        (("make dev", DEFINED), ("upload of dev", IN_MAIN)),
        (TAKEN, "ok"),
    ),
    "an upload begins, and another one removes the new index": (
        partial(explorer, tables=(), changes={**MAKE, "remove dev": remove("dev")}),
        (
            ("make dev", DEFINED),
            ("upload of dev", IN_MAIN),
            ("make dev", Call("list", keys.PENDING)),
        ),
        (TAKEN, "ok", "ok"),
    ),
    "an upload begins while its index is removed": (
        partial(explorer, tables=(TABLE,), changes=REMOVE),
        (("remove dev", DEFINED), ("upload to dev", IN_DEV)),
        (IN_USE, "ok"),
    ),
    "an upload begins, and another one makes the removed index": (
        partial(explorer, tables=(TABLE,), changes={**REMOVE, "make dev": make("dev")}),
        (
            ("remove dev", DEFINED),
            ("upload to dev", IN_DEV),
            ("remove dev", Call("list", f"{DEV_FOLDER}{keys.PENDING}")),
        ),
        (IN_USE, "ok", "ok"),
    ),
    "an index gets the name of an upload that has begun": (
        partial(explorer, tables=(), changes=MAKE),
        (("upload of dev", Call("put", keys.PENDING)),),
        ("ok", "Invalid invalid_name: *'dev': it is the name of an index of this server. *"),
    ),
    "an index is removed when an upload to it has begun": (
        partial(explorer, tables=(TABLE,), changes=REMOVE),
        (("upload to dev", Call("put", f"{DEV_FOLDER}{keys.PENDING}")),),
        ("ok", "NotFound not_found: *'dev' was removed meanwhile, so nothing was stored. *"),
    ),
}
"""Of which indexes what happens at once, who stops at which calls, and what each is told."""


@pytest.mark.parametrize(
    ("scenario", "stops", "answers"), list(SCHEDULES.values()), ids=list(SCHEDULES)
)
def test_who_comes_in_between_is_noticed(
    tmp_path: Path,
    scenario: Callable[[Path], Explorer],
    stops: tuple[Stop, ...],
    answers: tuple[str, ...],
) -> None:
    """Of an upload and a change of an index that meet anywhere, one is refused and says why."""
    told = scenario(tmp_path).play(*stops)

    assert are_like(told, answers), told


FAULTS = [0, pytest.param(1, marks=pytest.mark.weekly)]


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
def test_an_index_and_a_project_never_have_one_name(tmp_path: Path, faults: int) -> None:
    """Of an index and a project that get one name at once, never both stay without a report."""
    after_a_crash = "a project of main has this name"

    answers = explorer(tmp_path, (), MAKE, faults, after_a_crash).explore().answers

    assert any(made == "ok" and uploaded != "ok" for made, uploaded in answers)
    assert any(made != "ok" and uploaded == "ok" for made, uploaded in answers)


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
def test_an_index_that_gets_a_package_is_not_removed(tmp_path: Path, faults: int) -> None:
    """An upload beside the removal of its index is refused, or keeps the index."""
    answers = explorer(tmp_path, (TABLE,), REMOVE, faults).explore().answers

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


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("name", list(LAYERS))
def test_layers_fit_together(tmp_path: Path, name: str, faults: int) -> None:
    """Of two changes at once after which layers would not fit together, one is refused."""
    tables = [{"name": each, "read": "anyone"} for each in ("dev", "prod")]

    answers = explorer(tmp_path, tables, LAYERS[name], faults).explore().answers

    assert ("ok", "ok") not in answers
    assert {first == "ok" for first, _ in answers} == {True, False}
