"""Each store call of each operation fails once in each way: the error, and the store after it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

import pytest
from msgspec.structs import replace

from tests.catalog.invariants import DEMO, WriteIntent, document, violations
from tests.distributions import make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START, Clock, fake_runtime
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.refused import refused
from tests.services.fixtures import ALL, Emulators
from tests.services.stores import store_at
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache
from wheelyard.catalog.format import rewrite_format
from wheelyard.catalog.licence_finder import LICENCES
from wheelyard.catalog.removed import CHANGED_PASSWORDS, ChangedPassword, ChangedPasswords
from wheelyard.catalog.version_notes import VersionNotes
from wheelyard.errors import NotFound, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.package_requests import COOLDOWN, PackageRequest, RequestList
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import ABSENT, Store, Stores
from wheelyard.storage.local import LocalStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

ONE, TWO = make_wheel(), make_wheel(version="2.0")
FIRST = Selection(parse_version("1.0"))
ALWAYS = 1_000

Operation = Callable[[IndexHarness, Index], object]

OPERATIONS: dict[str, Operation] = {
    "upload": lambda harness, index: index.uploads.accept(TWO.arrival(harness.folder), ALICE),
    "yank": lambda _, index: index.lifecycle.change("yank", ALICE, DEMO, FIRST, "bad"),
    "unyank": lambda _, index: index.lifecycle.change("unyank", ALICE, DEMO, FIRST, ""),
    "delete": lambda _, index: index.lifecycle.change("delete", ALICE, DEMO, FIRST, ""),
    "restore": lambda _, index: index.lifecycle.change("restore", ALICE, DEMO, FIRST, ""),
    "remove": lambda _, index: remove_now(index, ONE.sha256),
    "status": lambda _, index: index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, ""),
}


STORES = ["memory", *(pytest.param(name, marks=pytest.mark.services) for name in ("folder", *ALL))]
"""The kinds of stores: that in memory in each run, the others in `nox -s services`."""
NewStore = Callable[[], Store | None]


@pytest.fixture(params=STORES)
def new_store(
    request: pytest.FixtureRequest, tmp_path: Path, emulators: Emulators
) -> Iterator[NewStore]:
    """Return what makes an empty store of each kind; None for one in memory."""
    numbers = count()
    if request.param == "memory":
        yield lambda: None
    elif request.param == "folder":
        yield lambda: LocalStore(tmp_path / f"store-{next(numbers)}", Random())
    else:
        with emulators.serving(request.param, "wheels") as service, ExitStack() as stack:
            yield lambda: stack.enter_context(
                store_at(service, Clock(), f"wheels/{next(numbers)}/")
            )


def faulty_index(
    harness: IndexHarness, *faults: Fault, is_local: bool = True
) -> tuple[Index, FakeStore]:
    """Return an index whose store has faults, once it is open, and whose pauses take time."""
    store = FakeStore(harness.store)
    runtime = replace(
        fake_runtime(harness.clock, 5), pause=lambda seconds: harness.clock.advance(seconds=seconds)
    )
    traits = StoreTraits(is_local=is_local)
    index = build_index(Stores.of(store), Spool(harness.folder), Settings(), runtime, traits)
    store.calls.clear()
    store.follow(*faults)
    return index, store


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "a file"])
@pytest.mark.parametrize("kind", list(FaultKind))
@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_every_call_fails_once(
    tmp_path: Path, new_store: NewStore, operation: str, kind: FaultKind, before: str
) -> None:
    """Whichever call fails in whichever way, nothing is damaged, and a second try succeeds."""
    smooth = _prepared(tmp_path, new_store, operation, before)
    index, store = faulty_index(smooth)
    OPERATIONS[operation](smooth, index)
    assert len(store.calls) > 2

    for nth in range(1, len(store.calls) + 1):
        harness = _prepared(tmp_path, new_store, operation, before)
        index, store = faulty_index(harness, Fault(kind, nth=nth))
        answer = "ok"
        try:
            OPERATIONS[operation](harness, index)
        except (WheelyardError, ProcessCrash) as error:
            answer = type(error).__name__

        intents = {"A": WriteIntent(TWO if operation == "upload" else ONE, operation == "delete")}
        answers = {"A": answer if operation in {"upload", "delete"} else "-"}
        assert list(violations(harness.store, intents, answers)) == []
        with suppress(NotFound):  # what is deleted cannot be deleted again
            OPERATIONS[operation](harness, harness.opened(seed=6))
        assert harness.check().problems == []
        assert _is_done(operation, harness)


@pytest.mark.parametrize("kind", [FaultKind.LOST_RACE, FaultKind.TOO_OFTEN])
@pytest.mark.parametrize("key", ["projects/demo.json", "projects.json"])
def test_lost_races_are_tried_again(tmp_path: Path, key: str, kind: FaultKind) -> None:
    """A document whose write loses ten races is written in the end."""
    harness = IndexHarness(tmp_path)
    index, store = faulty_index(harness, Fault(kind, "put", key, times=10))

    OPERATIONS["upload"](harness, index)

    assert store.calls.count(("put", key)) == 11
    assert harness.check().problems == []


@pytest.mark.parametrize(
    ("is_local", "shortest", "longest"),
    [(True, 0.0, 0.15), (False, 0.15, 4.5)],
    ids=["folder", "bucket"],
)
def test_who_loses_races_waits_longer_for_a_bucket(
    tmp_path: Path, shortest: float, longest: float, *, is_local: bool
) -> None:
    """Who loses races tries again at once in a folder, and later in a bucket, which is slow."""
    harness = IndexHarness(tmp_path)
    four_races = Fault(FaultKind.LOST_RACE, "put", keys.project(DEMO), times=4)
    index, _ = faulty_index(harness, four_races, is_local=is_local)

    OPERATIONS["upload"](harness, index)

    assert shortest < (harness.clock.now - START).total_seconds() <= longest


def test_a_race_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """An upload that loses every race is given up, and publishes nothing."""
    harness = IndexHarness(tmp_path)
    faults = (Fault(FaultKind.LOST_RACE, "put", "projects/*", times=ALWAYS),)
    index, store = faulty_index(harness, *faults)

    with pytest.raises(Unavailable) as caught:
        OPERATIONS["upload"](harness, index)

    assert caught.value.code == "overloaded"
    assert 45 <= (harness.clock.now - START).total_seconds() < 47
    refused = [key for verb, key in store.calls if verb == "put" and key == keys.project(DEMO)]
    assert 30 < len(refused) < 100
    assert harness.snapshot("projects/") == {}


Change = Callable[[Index], object]

ANA: Final = ("acme", "ana", "person:1")
HASHED: Final = "$6$salt$hash"


def nothing(_: Index) -> None:
    """Prepare nothing."""


def request_package(index: Index) -> None:
    """Request a public package."""
    wanted = PackageRequest(
        project=DEMO,
        code=COOLDOWN,
        reason="It is new.",
        who=(ALICE.principal,),
        times=1,
        first=START,
        last=START,
    )
    index.catalog.request_records.change(lambda _: RequestList(requests=(wanted,)))


def create_token(index: Index) -> None:
    """Create an API token."""
    index.tokens.create(TokenRequest(name="ci"), ALICE.principal)


def revoke_token(index: Index) -> None:
    """Revoke the only API token."""
    (record,) = index.tokens.all()
    index.tokens.revoke(record.id, ALICE.principal)


def have_outdated_line(index: Index) -> None:
    """Have a password of Ana that she had changed."""
    changed = ChangedPassword(name="ana", hash=HASHED, changed_at=START)
    body = Codec(ChangedPasswords).encode(ChangedPasswords(by_line={"old line": changed}))
    index.catalog.stores.credentials.put(CHANGED_PASSWORDS, body, ABSENT)


def note_licence(index: Index) -> None:
    """Note the licence of a version of a public package."""
    policy = CachePolicy(is_local=True, freshness=0.0, capacity=0)
    catalog = index.catalog
    documents = DocumentCache(catalog.stores.documents, LICENCES, catalog.retries.runtime, policy)
    notes = VersionNotes(keys.UPSTREAM_LICENCES, "releases", documents, catalog.retries)
    notes.add(DEMO, notes.get(), {"1.0": "MIT"})


RACES: dict[str, tuple[str, Change, Change]] = {
    "format": (
        keys.FORMAT,
        nothing,
        lambda index: rewrite_format(index.stores.documents, index.catalog.retries),
    ),
    "requests": (keys.PACKAGE_REQUESTS, nothing, request_package),
    "name of a person": (
        f"{keys.PERSON_NAMES}*",
        nothing,
        lambda index: index.catalog.person_names.claim(*ANA),
    ),
    "released name of a person": (
        f"{keys.PERSON_NAMES}*",
        lambda index: index.catalog.person_names.claim(*ANA),
        lambda index: index.catalog.person_names.release(*ANA),
    ),
    "list of projects": (
        keys.PROJECT_NAMES,
        nothing,
        lambda index: index.projects.names.claim(DEMO),
    ),
    "name in the list of projects": (
        keys.PROJECT_NAMES,
        lambda index: index.projects.names.claim(DEMO),
        lambda index: index.projects.names.remove(DEMO),
    ),
    "outdated lines": (
        CHANGED_PASSWORDS,
        have_outdated_line,
        lambda index: index.catalog.outdated_lines.drop_replaced(
            lambda _name: "new line", index.catalog.retries
        ),
    ),
    "token": (f"{keys.TOKENS}*", create_token, revoke_token),
    "licences": (keys.UPSTREAM_LICENCES, nothing, note_licence),
}
"""What loses each race: the key of the document, what there is before, and the change."""


@pytest.mark.parametrize(("key", "prepare", "change"), RACES.values(), ids=RACES)
def test_a_change_that_loses_every_race_is_refused(
    tmp_path: Path, key: str, prepare: Change, change: Change
) -> None:
    """A change of a document that others always change first is refused, and changes nothing."""
    harness = IndexHarness(tmp_path)
    prepare(harness.index)
    index, _ = faulty_index(harness, Fault(FaultKind.LOST_RACE, "put", key, times=ALWAYS))
    before = harness.snapshot()

    with refused(Unavailable, "overloaded", "Too many writers are changing .* at once"):
        change(index)

    assert 45 <= harness.clock.elapsed < 47
    assert harness.snapshot() == before
    change(harness.index)


def _prepared(folder: Path, new_store: NewStore, operation: str, before: str) -> IndexHarness:
    harness = IndexHarness(folder, other=new_store())
    if before == "a file" or operation != "upload":
        harness.upload(ONE)
    if operation == "unyank":
        harness.index.lifecycle.change("yank", ALICE, DEMO, FIRST, "")
    if operation == "restore":
        harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")
    return harness


def _is_done(operation: str, harness: IndexHarness) -> bool:
    project = document(harness.store)
    if operation == "upload":
        return TWO.filename in project.by_filename
    if operation == "delete":
        return ONE.filename in project.deleted_filenames
    if operation == "remove":
        return ONE.filename in project.deleted_filenames and harness.snapshot("files/") == {}
    if operation == "status":
        return project.status is Status.ARCHIVED
    return project.by_filename[ONE.filename].yanked == ("bad" if operation == "yank" else None)
