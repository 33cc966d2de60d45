"""What comes by an import or a copy: told with `imported` alone, and nothing else with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.in_process_network import NetworkOrPorts
from tests.operations.fake_sources import FakeFiles, taken
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.store_copies import store_copy
from tests.operations.two_indexes import DEMO
from tests.webhooks.harness import BY, WebhookHarness, running_webhooks
from tests.webhooks.receivers import Received
from wheelyard.catalog import keys
from wheelyard.model.webhook_state import PAUSES
from wheelyard.storage.base import ABSENT, Key, Store, Stores
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore

WHEEL, SECOND, THIRD = make_wheel(), make_wheel(version="2.0"), make_wheel(version="3.0")
OTHER = make_wheel("other")


@pytest.fixture
def hooks(tmp_path: Path, network: NetworkOrPorts) -> Iterator[WebhookHarness]:
    """An index with a webhook that is told of imports, and one that is not."""
    with running_webhooks(tmp_path, network) as harness:
        harness.add("own")
        secret = harness.receiver.secret
        harness.add("all", events=["imported"])
        assert secret
        yield harness


@pytest.fixture
def source(tmp_path: Path) -> IndexHarness:
    """Another index, which has demo 1.0."""
    index = IndexHarness(tmp_path)
    index.upload(WHEEL)
    return index


def copy(source: IndexHarness, target: IndexHarness, store: Store | None = None) -> None:
    """Copy the store of one index into that of another, as seen through `store`."""
    changes = source.opened(seed=6, store=ReadOnlyStore(source.store)).changes
    index = target.opened(seed=3, store=store)
    report = store_copy(Stores.of(source.store), changes, index).run(lambda _, __: None)
    assert report.problems == []


def _clone(index: IndexHarness) -> IndexHarness:
    """Return an index over another store with the same objects."""
    store = MemoryStore(index.clock.seconds)
    for key, body in index.snapshot().items():
        store.put(Key(key), body, None)
    return IndexHarness(index.folder, index.clock, store)


def told(hooks: WebhookHarness) -> dict[str, list[tuple[str, str, bool]]]:
    """Deliver, and return what each webhook was told: its event, the release, and `imported`."""
    messages = dict[str, list[tuple[str, str, bool]]]()
    hooks.deliver()
    with hooks.receiver.lock:
        for name in ("own", "all"):
            state = hooks.state(name)
            ids = [attempt.id for attempt in reversed(state.attempts) if attempt.is_delivered]
            by_id = {message.id: message for message in hooks.receiver.taken}
            messages[name] = [_summary(by_id[each]) for each in ids]
    return messages


def _summary(message: Received) -> tuple[str, str, bool]:
    """Return what a test looks at."""
    body = message.json
    return str(body["project"]), str(body["release"]), bool(body["imported"])


def test_an_import_is_told_to_whom_asks_for_it(hooks: WebhookHarness) -> None:
    """What is imported is told with `imported` alone, and an upload beside it to all."""
    files = FakeFiles()
    taken(hooks.index, files.offer(WHEEL), files.offer(OTHER))
    hooks.index.upload(SECOND)

    messages = told(hooks)

    assert messages["own"] == [("demo", "2.0", False)]
    assert sorted(messages["all"]) == [
        ("demo", "1.0", True),
        ("demo", "2.0", False),
        ("other", "1.0", True),
    ]


def test_a_copy_is_told_to_whom_asks_for_it(hooks: WebhookHarness, source: IndexHarness) -> None:
    """What a copy adds is told with `imported` alone, whether it adds one commit or several."""
    source.upload(OTHER)
    source.upload(SECOND)

    copy(source, hooks.index)
    messages = told(hooks)

    assert messages["own"] == []
    assert sorted(messages["all"]) == [
        ("demo", "1.0", True),
        ("demo", "2.0", True),
        ("other", "1.0", True),
    ]


def test_commits_of_ones_own_between_copies_are_told(
    hooks: WebhookHarness, source: IndexHarness
) -> None:
    """What is published in a target between two copies is told, also if nobody looks meanwhile."""
    # nobody gives a serial before the end
    no_serials = Fault(FaultKind.NOT_DONE, "put", "changes.json", times=1_000)
    store = FakeStore(hooks.index.store, no_serials)
    copy(source, hooks.index, store)
    hooks.index.upload(SECOND)
    # the source gets it as well, so that it can go on after it
    copy(_clone(hooks.index), source)
    source.upload(THIRD)
    copy(source, hooks.index, store)
    marks = list(hooks.index.store.list(keys.PENDING))
    assert len(marks) == 3

    messages = told(hooks)

    assert messages["own"] == [("demo", "2.0", False)]
    assert messages["all"] == [("demo", "1.0", True), ("demo", "2.0", False), ("demo", "3.0", True)]


def test_what_waits_behind_a_failure_is_still_told_apart(
    hooks: WebhookHarness, source: IndexHarness
) -> None:
    """A message that is tried again says as before whether it was imported, also much later."""
    copy(source, hooks.index)
    hooks.index.upload(SECOND)
    hooks.receiver.answer = lambda _: 500
    hooks.deliver()
    copy(hooks.index, source)
    source.upload(THIRD)
    copy(source, hooks.index)
    hooks.deliver()
    server = hooks.server()
    for pause in PAUSES:
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()
    assert [letter.is_copied for letter in hooks.state("all").dead] == [True]
    hooks.receiver.answer = lambda _: 200
    hooks.webhooks.send_again("own", None, BY)
    hooks.webhooks.send_again("all", None, BY)
    hooks.index.clock.advance(hours=9)

    messages = told(hooks)

    assert messages["own"] == [("demo", "2.0", False)]
    assert sorted(messages["all"]) == [
        ("demo", "1.0", True),
        ("demo", "2.0", False),
        ("demo", "3.0", True),
    ]
    asked = hooks.receiver.asked
    assert len({(message.id, message.body) for message in asked}) == 3


@pytest.mark.parametrize("several", [False, True])
def test_a_copy_that_loses_hides_no_commit(
    hooks: WebhookHarness, source: IndexHarness, *, several: bool
) -> None:
    """Where an upload is faster than a copy, it is told, even if the copy dies at that moment."""
    if several:
        source.upload(SECOND)
    rival = hooks.index.opened(seed=20)
    # the mark is there, and the document is not yet
    faulty = FakeStore(hooks.index.store, Fault(FaultKind.CRASH, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        copy(source, hooks.index, faulty)
    rival.uploads.accept(THIRD.arrival(hooks.index.folder), ALICE)
    if several:
        hooks.index.upload(make_sdist(version="3.0"))
        hooks.index.upload(make_sdist())
    marks = [entry.key for entry in hooks.index.store.list(keys.PENDING) if entry.size]
    assert len(marks) == 1

    messages = told(hooks)

    assert messages["own"][0] == ("demo", "3.0", False)
    assert {imported for _, _, imported in messages["all"]} == {False}
    assert len(messages["own"]) == len(messages["all"]) == 1 + 2 * several


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize("several", [False, True])
def test_a_copy_that_dies_is_told_as_a_copy(
    hooks: WebhookHarness, source: IndexHarness, kind: FaultKind, *, several: bool
) -> None:
    """Wherever a copy dies, what it has added and what a later one adds is told as imported."""
    if several:
        source.upload(SECOND)
    store = FakeStore(hooks.index.store, Fault(kind, "put", keys.project(DEMO)))
    with pytest.raises(ProcessCrash):
        copy(source, hooks.index, store)
    is_made = hooks.index.store.get(keys.project(DEMO)) is not None
    assert is_made == (kind is FaultKind.CRASH_AFTER)
    wanted_then = [("demo", "1.0", True), ("demo", "2.0", True)][: 1 + several]
    assert told(hooks)["all"] == wanted_then * is_made

    copy(source, hooks.index)
    messages = told(hooks)

    assert messages == {"own": [], "all": wanted_then}


def test_a_mark_that_cannot_be_read_hides_nothing(hooks: WebhookHarness) -> None:
    """A damaged mark does not keep a webhook from the commit of an upload."""
    hooks.index.upload(WHEEL)
    mark = keys.pending_mark(DEMO, 1, "damaged")
    hooks.index.store.put(mark, b"{", ABSENT)

    messages = told(hooks)

    assert messages["own"] == [("demo", "1.0", False)]
