"""Servers that deliver and die at a call of their store, and others that go on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from threading import ExceptHookArgs

from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import Clock, fake_runtime
from tests.operations.in_memory_index import objects
from tests.upstream.settings import close
from tests.webhooks.harness import WebhookHarness
from tests.webhooks.receivers import Received, without_repetitions
from wheelyard.api.package_request_operations import find_waiting
from wheelyard.storage.base import Key, Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.webhooks.dispatcher import WebhookDispatcher
from wheelyard.wiring.build import build_index
from wheelyard.wiring.stores import StoreTraits
from wheelyard.wiring.webhook_building import build_dispatcher


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Let threads die with their process, and say nothing of it."""
    hook = threading.excepthook

    def report(args: ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, ProcessCrash):
            hook(args)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = hook


@dataclass
class CrashStage:
    """A store as it was after a history, and the servers that deliver from copies of it."""

    hooks: WebhookHarness
    start: dict[str, bytes]

    @classmethod
    def of(cls, hooks: WebhookHarness) -> "CrashStage":
        """Return a stage that begins with what a harness has now."""
        return cls(hooks, dict(objects(hooks.index.store)))

    @property
    def clock(self) -> Clock:
        """The clock of all servers."""
        return self.hooks.index.clock

    def copy(self) -> MemoryStore:
        """Return another store with what was there at the start."""
        store = MemoryStore(self.clock.seconds)
        for key, body in self.start.items():
            store.put(Key(key), body, None)
        with self.hooks.receiver.lock:
            self.hooks.receiver.asked.clear()
            self.hooks.receiver.taken.clear()
        return store

    @contextmanager
    def server(self, store: Store, seed: int) -> Iterator[WebhookDispatcher]:
        """Run a server over a store, with empty caches."""
        index = build_index(
            Stores.of(store),
            Spool(self.hooks.index.folder),
            self.hooks.settings,
            fake_runtime(self.clock, seed),
            StoreTraits(is_local=False),
        )
        try:
            yield build_dispatcher(index.server, partial(find_waiting, index))
        finally:
            index.server.webhook_sender.close()
            close(index)

    def crash(self, store: Store, kind: FaultKind, nth: int) -> bool:
        """Have a server die at its nth call of the store, and return whether it came to that."""
        faulty = FakeStore(store)
        with quiet_threads(), self.server(faulty, seed=nth) as server:
            faulty.follow(Fault(kind, nth=nth))
            try:
                server.deliver_if_due()
            except ProcessCrash:
                return True
        return False

    def recover(self, store: Store, times: int = 1) -> None:
        """Have another server deliver all that is left, which looks so many times."""
        with self.server(store, seed=9_000) as server:
            server.deliver_if_due()
            for _ in range(times):
                # until the dead one can send nothing any more
                self.clock.advance(seconds=30)
                server.deliver_if_due()

    def play(self, kind: FaultKind, check: Callable[[MemoryStore], None]) -> int:
        """Have a server die at each call of its own, have another go on, and check what came."""
        nth = 0
        has_died = True
        while has_died:
            nth += 1
            store = self.copy()
            has_died = self.crash(store, kind, nth)
            self.recover(store)
            check(store)
        return nth - 1


def told(received: list[Received]) -> dict[str, list[tuple[str, str]]]:
    """Return the types and the releases of messages, without repetitions, for each project."""
    assert len({(message.id, message.body) for message in received}) == len(
        {message.id for message in received}
    ), "a repetition has another body"
    assert all(message.is_signed for message in received)
    by_project = sorted(
        without_repetitions(received), key=lambda message: str(message.json["project"])
    )
    return {
        project: [(message.type, message.json["release"]) for message in messages]
        for project, messages in groupby(by_project, lambda message: str(message.json["project"]))
    }


def assert_in_order(received: list[Received]) -> None:
    """Expect that a repetition never goes back behind more than what was not written down."""
    for project in {message.json["project"] for message in received}:
        ids = [message.id for message in received if message.json["project"] == project]
        order = list(dict.fromkeys(ids))
        places = [order.index(each) for each in ids]
        # a server goes on without gaps from wherever it begins
        assert all(later <= before + 1 for before, later in pairwise(places))
