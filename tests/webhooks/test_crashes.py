"""Servers that die, or stand still, while they deliver: nothing is lost, and nothing is made up."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE
from tests.operations.two_indexes import DEMO, TwoIndexes
from tests.webhooks.crashing import CrashStage, assert_in_order, told
from tests.webhooks.harness import WebhookHarness, running_webhooks
from tests.webhooks.receivers import Received
from wheelyard.catalog import keys
from wheelyard.operations.lifecycle import Selection
from wheelyard.storage.base import Key, Stored
from wheelyard.webhooks import delivery

pytestmark = pytest.mark.integration

FIRST, SECOND = Selection(Version("1.0")), Selection(Version("2.0"))
OTHER = NormalizedName("other")
CRASHES = [FaultKind.CRASH, FaultKind.CRASH_AFTER]
HISTORY = {
    "demo": [
        ("project.released", "1.0"),
        ("project.file_added", "1.0"),
        ("project.yanked", "1.0"),
        ("project.released", "2.0"),
        ("project.deleted", "2.0"),
    ],
    "other": [("project.released", "1.0"), ("project.yanked", "1.0")],
    "third": [("project.released", "1.0")],
}


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[WebhookHarness]:
    """An index with a webhook."""
    with running_webhooks(tmp_path) as harness:
        harness.add()
        yield harness


@pytest.fixture
def stage(hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch) -> CrashStage:
    """A history of three projects that no server has told of, in small batches."""
    monkeypatch.setattr(delivery, "BATCH_MESSAGES", 3)
    index = hooks.index
    lifecycle = index.index.lifecycle
    index.upload(make_wheel())
    index.clock.advance(seconds=1)
    index.upload(make_wheel("other"))
    index.upload(make_sdist())
    lifecycle.change("yank", ALICE, DEMO, FIRST, "broken")
    index.upload(make_wheel(version="2.0"))
    index.upload(make_wheel("third"))
    lifecycle.change("yank", ALICE, OTHER, FIRST, "")
    lifecycle.change("delete", ALICE, DEMO, SECOND, "")
    return CrashStage.of(hooks)


@pytest.mark.parametrize("kind", CRASHES)
def test_everything_arrives_wherever_a_server_dies(stage: CrashStage, kind: FaultKind) -> None:
    """Wherever a server dies, another one delivers the rest, in order, with the same bodies."""

    def check(_: object) -> None:
        receiver = stage.hooks.receiver
        assert told(receiver.taken) == HISTORY
        assert_in_order(receiver.taken)

    assert stage.play(kind, check) > 20


@pytest.mark.parametrize(
    "kind", [FaultKind.CRASH, pytest.param(FaultKind.CRASH_AFTER, marks=pytest.mark.weekly)]
)
def test_what_has_failed_arrives_wherever_a_server_dies(stage: CrashStage, kind: FaultKind) -> None:
    """While messages fail, a server that dies anywhere loses none, and changes no order."""
    receiver = stage.hooks.receiver
    failed = set[str]()

    def answer(received: Received) -> int:
        # each second message fails at its first try
        if received.id not in failed and len(failed) * 2 < len(receiver.asked):
            failed.add(received.id)
            return 500
        return 200

    def check(store: object) -> None:
        del store
        assert told(receiver.taken) == HISTORY

    receiver.answer = answer
    nth = 0
    has_died = True
    while has_died:
        nth += 1
        failed.clear()
        store = stage.copy()
        has_died = stage.crash(store, kind, nth)
        stage.recover(store, times=6)
        check(store)
    assert nth > 20


@pytest.mark.parametrize("kind", CRASHES)
def test_nothing_is_told_that_was_never_committed(hooks: WebhookHarness, kind: FaultKind) -> None:
    """Of an upload that dies, a webhook is told if it was made, and else never."""
    start = CrashStage.of(hooks)
    nth = 0
    has_died = True
    answers = set[bool]()
    while has_died:
        nth += 1
        store = start.copy()
        faulty = FakeStore(store)
        index = hooks.index.opened(seed=nth, store=faulty)
        faulty.follow(Fault(kind, nth=nth))
        arrival = make_wheel().arrival(hooks.index.folder)
        try:
            index.uploads.accept(arrival, ALICE)
            has_died = False
        except ProcessCrash:
            has_died = True
        document = store.get(keys.project(DEMO))
        start.recover(store)
        is_made = isinstance(document, Stored)
        answers.add(is_made)
        assert [message.type for message in hooks.receiver.taken] == ["project.released"] * is_made
        if not has_died:
            assert is_made
    assert answers == {True, False}


@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.DONE])
def test_what_the_store_did_not_take_is_delivered_by_the_next_look(
    stage: CrashStage, kind: FaultKind
) -> None:
    """A server whose store fails once, at any call, delivers all by itself at its next looks."""
    nth = 0
    is_over = False
    while not is_over:
        nth += 1
        store = stage.copy()
        faulty = FakeStore(store)
        with stage.server(faulty, seed=nth) as server:
            faulty.calls.clear()
            faulty.follow(Fault(kind, nth=nth))
            for _ in range(4):
                server.deliver_if_due()
                stage.clock.advance(seconds=10)
        assert told(stage.hooks.receiver.taken) == HISTORY
        is_over = len(faulty.calls) < nth
    assert nth > 20


def test_a_server_that_has_stood_still_sends_nothing_more(
    stage: CrashStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a process stands still, another one delivers; it sends nothing when it goes on."""
    # the lease alone has to keep it from that, and not that the batch is over
    monkeypatch.setattr(delivery, "BATCH_SECONDS", 1_000.0)
    monkeypatch.setattr(delivery, "BATCH_MESSAGES", 100)
    store = stage.copy()
    receiver = stage.hooks.receiver
    came_first = list[int]()
    is_asleep, is_over = Event(), Event()

    def sleep_on() -> None:
        if is_asleep.is_set():
            is_over.wait(60)

    with (
        stage.server(FakeStore(store, Before(sleep_on, times=ALWAYS)), 1) as asleep,
        stage.server(store, 2) as awake,
    ):

        def answer(_: Received) -> int:
            if not came_first:
                is_asleep.set()
                came_first.append(1)
                awake.deliver_if_due()
                stage.clock.advance(seconds=31)
                awake.deliver_if_due()
                came_first.append(len(receiver.asked))
                is_over.set()
            return 200

        receiver.answer = answer
        asleep.deliver_if_due()

    assert came_first == [1, 1 + sum(map(len, HISTORY.values()))]
    assert len(receiver.asked) == came_first[1]
    assert told(receiver.taken) == HISTORY


def test_no_other_server_sends_while_a_thread_still_does(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose store fails while a receiver hangs leaves no message to another one."""
    monkeypatch.setattr("wheelyard.webhooks.dispatcher.TICK_SECONDS", 0.01)
    hooks.index.upload(make_wheel())
    store = FakeStore(hooks.index.store)
    is_asked, is_over = Event(), Event()
    receiver = hooks.receiver

    def answer(_: Received) -> int:
        if not is_asked.is_set():
            # from now on, no call of the first server is answered
            store.follow(Fault(FaultKind.NOT_DONE, "list", times=1))
            is_asked.set()
            is_over.wait(60)
        return 200

    receiver.answer = answer
    stage = CrashStage.of(hooks)
    with stage.server(store, 1) as first, stage.server(hooks.index.store, 2) as second:
        first.deliver_if_due()

        assert is_asked.is_set()
        second.deliver_if_due()
        assert len(receiver.asked) == 1

        is_over.set()
        first.deliver_if_due()
        second.deliver_if_due()
        assert len(receiver.asked) == 1
        hooks.index.upload(make_wheel("other"))
        first.deliver_if_due()
    assert [message.json["project"] for message in receiver.taken] == ["demo", "other"]


def test_a_damaged_feed_holds_up_no_other(hooks: WebhookHarness) -> None:
    """While the feed of one index is damaged, webhooks are told of what happens in others."""
    hooks.add("everything", indexes=["*"])
    hooks.index.upload(make_wheel("third"))
    indexes = TwoIndexes(hooks.index)
    indexes.upload(make_wheel())
    server = hooks.server()
    server.deliver()
    [key] = [
        entry.key for entry in hooks.index.store.list("") if entry.key.endswith("dev/changes.json")
    ]
    body = hooks.index.bytes_at(key)
    hooks.index.store.put(key, b"{", None)
    hooks.index.upload(make_wheel("other"))
    server.deliver()
    assert {str(message.json["project"]) for message in hooks.receiver.taken} == {
        "demo",
        "other",
        "third",
    }

    hooks.index.store.put(Key(key), body, None)
    indexes.upload(make_sdist())
    server.deliver()
    assert hooks.receiver.types[-1] == "project.file_added"
