"""Servers over a bucket that tell webhooks, and receivers on sockets that answer as a test says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

from tests.fake_time import Clock
from tests.instances.bucket_cluster import contents, put_all
from tests.operations.in_memory_index import IndexHarness
from tests.services.service import BucketView
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore


def add_webhooks(
    bucket: BucketView, folder: Path, tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Add webhooks to the store in a bucket, and return their secrets."""
    clock = Clock()
    store = MemoryStore(clock.seconds)
    for name, body in contents(bucket).items():
        store.put(Key(name), body, None)
    index = IndexHarness(folder, clock, store)
    webhooks = index.index.server.webhooks
    secrets = {
        name: webhooks.add({"name": name, **keys}, "local:alice").secret
        for name, keys in tables.items()
    }
    put_all(bucket, index.snapshot())
    return secrets


@dataclass
class SocketReceiver:
    """A receiver that answers by hand, and what it was sent."""

    answer: Callable[["SocketReceiver", BaseRequestHandler], None]
    port: int = 0
    is_asked: Event = field(default_factory=Event)
    is_over: Event = field(default_factory=Event)
    has_ended: Event = field(default_factory=Event)
    """Set when the sender has closed the connection."""

    @property
    def url(self) -> str:
        """Where messages go."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def running_socket(
    answer: Callable[[SocketReceiver, BaseRequestHandler], None],
) -> Iterator[SocketReceiver]:
    """Run a receiver that answers by hand."""
    receiver = SocketReceiver(answer)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            receiver.is_asked.set()
            with suppress(OSError):
                receiver.answer(receiver, self)
            receiver.has_ended.set()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.is_over.set()
            server.shutdown()


def hang(receiver: SocketReceiver, _: BaseRequestHandler) -> None:
    """Answer nothing."""
    receiver.is_over.wait(TIMEOUT_SECONDS)


def drip(receiver: SocketReceiver, handler: BaseRequestHandler) -> None:
    """Answer byte by byte, and never end."""
    handler.request.sendall(b"HTTP/1.1 200 OK\r\n")
    while not receiver.is_over.wait(0.01):
        handler.request.sendall(b"X")


def flood(receiver: SocketReceiver, handler: BaseRequestHandler) -> None:
    """Send 10 GB, or until nobody reads them any more."""
    handler.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    for _ in range(10_000):
        if receiver.is_over.is_set():
            return
        handler.request.sendall(b"x" * 1_000_000)
