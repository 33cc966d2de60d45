"""An application that is asked in this thread, without a server or a socket."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tests.distributions import Distribution
from tests.fake_time import Clock, fake_runtime
from tests.http.servers import memory_index, token_of
from tests.operations.in_memory_index import ALICE
from wheelyard.http.app import App
from wheelyard.http.logs import CURRENT_REQUEST
from wheelyard.http.messages import PATHSEND, Header, Message
from wheelyard.settings.sections import SettingPath, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

Piece = bytes | Literal["is silent", "leaves"]
"""A piece of a request's body, or what its client does, which is silent until it is given up."""


@dataclass(frozen=True)
class InProcessResponse:
    """A response."""

    status: int
    headers: dict[str, str]
    """Header names are in lower case."""
    body: bytes
    was_quick: bool
    """Whether the fast path answered, which skips request records."""
    unread: int
    """The number of unread chunks of the request's body."""
    lines: tuple[tuple[str, str], ...]
    """Each header, also one that comes twice."""

    def header(self, name: str) -> str:
        """Return the value of a header that has to be there once."""
        (value,) = (value for each, value in self.lines if each == name)
        return value

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> dict[str, Any]:
        """Return the object that the body is as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class InProcessServer:
    """
    An application and its index.

    Args:
        app: What is asked.
        index: What it serves.
        folder: Where scratch files are.
        clock: Stands still until a test moves it.
        runner: Has its event loop.
    """

    app: App
    index: Index
    folder: Path
    clock: Clock
    runner: asyncio.Runner = field(repr=False)

    def publish(self, *distributions: Distribution) -> None:
        """Upload distributions."""
        for distribution in distributions:
            self.index.uploads.accept(distribution.arrival(self.folder), ALICE)

    def publish_to(self, name: str, *distributions: Distribution) -> None:
        """Upload distributions to the index of this name, as its handler does."""
        uploads = self.index.named(name).uploads
        for made in distributions:
            uploads.authorize(made.filename, ALICE)
            uploads.accept(made.arrival(self.folder), ALICE)

    def get(
        self,
        target: str,
        *headers: tuple[str, str],
        method: str = "GET",
        host: str = "index",
        body: Sequence[Piece] = (),
    ) -> InProcessResponse:
        """Send a request for a path and query, with these headers, a Host and a body."""
        asking = self.ask(target, *headers, method=method, host=host, body=body)
        return self.runner.get_loop().run_until_complete(asking)

    def send(
        self,
        path: str,
        body: bytes,
        *headers: tuple[str, str],
        method: str = "POST",
        kind: str = "application/json",
        host: str = "index",
    ) -> InProcessResponse:
        """Send a body of a kind, with its length."""
        about = (("Content-Type", kind), ("Content-Length", str(len(body))))
        pieces = [body] if body else ()
        return self.get(path, *about, *headers, method=method, host=host, body=pieces)

    def change(self, name: str, verb: str, **body: str | bool) -> InProcessResponse:
        """Change a project by the API."""
        path = f"/api/v1/projects/{name}/{verb}"
        answer = self.send(path, json.dumps(body).encode(), self.bearer())
        assert answer.status == 200, answer.text
        return answer

    def bearer(self, *projects: str, can: str = "read,upload,manage") -> tuple[str, str]:
        """Make a token, and return the header with it."""
        return ("Authorization", f"Bearer {token_of(self.index, *projects, can=can)}")

    def raw(
        self, line: str, *fields: str, body: bytes = b"", pieces: Sequence[Piece] = ()
    ) -> InProcessResponse:
        """
        Send a request by its method and target, with header lines as a wire has them.

        A body has its length there; `pieces` come as they are.
        """
        method, target, *_ = line.split(" ")
        length = [f"Content-Length: {len(body)}"] if body else []
        pairs = (each.partition(":") for each in (*fields, *length))
        headers = [(name, value.strip(" ")) for name, _, value in pairs]
        return self.get(target, *headers, method=method, body=[body] if body else pieces)

    async def ask(
        self,
        target: str,
        *headers: tuple[str, str],
        method: str = "GET",
        host: str = "index",
        body: Sequence[Piece] = (),
        client: str = "127.0.0.1",
    ) -> InProcessResponse:
        """Send a request as `get` does, beside others, from an address."""
        path, _, query = target.partition("?")
        named: list[Header] = [(b"host", host.encode())]
        named += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        scope: dict[str, object] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "server": ("127.0.0.1", "80"),
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": named,
            "client": (client, 50_000),
            "extensions": {PATHSEND: {}},
        }
        return await self._answer(scope, body)

    def tell(self, kind: str, *events: str) -> list[str]:
        """Open another type of ASGI connection, send events; return the types of the replies."""
        coming, sent = [{"type": event} for event in events], list[str]()

        async def receive() -> Message:
            return coming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message["type"])

        async def connect() -> None:
            await self.app({"type": kind}, receive, send)

        self.runner.run(connect(), context=copy_context())
        return sent

    async def _answer(self, scope: dict[str, object], pieces: Sequence[Piece]) -> InProcessResponse:
        sent, quick = list[Message](), list[bool]()
        coming: list[Piece] = [*pieces, b""]

        async def receive() -> Message:
            piece = coming.pop(0) if coming else "is silent"
            if piece == "is silent":
                await asyncio.Future()  # the client stays
            if piece == "leaves":
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": bool(coming)}

        async def send(message: Message) -> None:
            sent.append(message)
            quick.append(CURRENT_REQUEST.get() is None)

        await self.app(scope, receive, send)
        start, *rest = sent
        lines = tuple((name.decode(), value.decode()) for name, value in start["headers"])
        body = b"".join(map(_bytes_of, rest))
        unread = len(coming) if pieces else 0
        return InProcessResponse(start["status"], dict(lines), body, quick[0], unread, lines)


def _bytes_of(message: Message) -> bytes:
    body: bytes = message.get("body", b"")
    return Path(message["path"]).read_bytes() if message["type"] == PATHSEND else body


@contextmanager
def in_process(
    folder: Path,
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    near: bool = True,
    clock: Clock | None = None,
    sources: Mapping[SettingPath, str] = MappingProxyType({}),
    tables: str = "",
) -> Iterator[InProcessServer]:
    """
    Yield an application over a store in memory, or another one.

    `sources` is of the settings. The store has these `tables`.
    """
    clock = clock or Clock()
    store = store or MemoryStore(clock.seconds)
    traits = StoreTraits(is_local=near)
    index = memory_index(
        folder, settings, fake_runtime(clock, 1), store=store, traits=traits, tables=tables
    )
    index.server.sources = sources
    with asyncio.Runner() as runner:
        opened = InProcessServer(App(index), index, folder, clock, runner)
        yield opened
        opened.tell("lifespan", "lifespan.shutdown")
