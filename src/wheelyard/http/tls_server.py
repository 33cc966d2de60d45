"""
A web server that speaks TLS itself, and takes a changed certificate without losing a request.

Granian reads a certificate once, when it begins to serve. So each certificate gets a Granian server
of its own in this process, and all of them serve the same application. The listening socket stays
open. When the certificate has changed, the next server accepts all new connections. The last one
keeps those that it has, closes each after its next response, and then ends.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from granian.asgi import LifespanProtocol
from granian.constants import Interfaces, SSLProtocols
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from wheelyard.authentication.verifiers.reloading_file import CHECK_INTERVAL_SECONDS
from wheelyard.errors import Invalid
from wheelyard.http.protocol.messages import AsgiScope, Message, Receive, Send
from wheelyard.http.tls_certificate import TlsCertificate, TlsFiles

RETIREMENT_SECONDS: Final = 30.0
"""
How long a server without new connections goes on.

In that time handshakes end (10 s), requests begin (10 s), and connections without a request are
closed (10 s).
"""

logger = logging.getLogger("wheelyard")

App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]


class TlsServer:
    """Serves an application over TLS on a listening socket, with the current certificate."""

    def __init__(
        self,
        app: App,
        files: TlsFiles,
        listener: socket.socket,
        options: dict[str, Any],
        now: Callable[[], datetime],
        check_seconds: float = CHECK_INTERVAL_SECONDS,
    ) -> None:
        self._app = app
        self._files = files
        self._listener = listener
        self._options = options
        self._now = now
        self._check_seconds = check_seconds
        self._stopping = asyncio.Event()
        self._warned_on = ""

    @property
    def interrupt_signal(self) -> bool:
        """Whether the server was told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Accept no more requests, and let `serve` return after the running ones."""
        self._stopping.set()

    async def serve(self) -> None:
        """Serve until `stop`. Raise Invalid if the TLS library refuses the certificate."""
        lifespan = LifespanProtocol(self._app)  # type: ignore[no-untyped-call]
        await lifespan.startup()  # type: ignore[no-untyped-call]
        certificate = self._files.value
        current = await self._start(certificate)
        retiring = set[asyncio.Task[None]]()
        while not await self._stops_within(self._check_seconds):
            found = await asyncio.to_thread(self._files.current)
            self._warn_before_expiry(found)
            if found == certificate:
                continue
            certificate = found  # one that is refused is not tried again
            try:
                following = await self._start(found)
            except (Invalid, OSError) as error:
                logger.error("%s The certificate before stays in force.", error)  # noqa: TRY400
                continue
            retiring = {each for each in retiring if not each.done()}
            retiring.add(asyncio.create_task(self._retire(current)))
            current = following
            logger.warning("a changed certificate is in force, until %s", found.until)
        await asyncio.gather(current.end(), *retiring)
        await lifespan.shutdown()  # type: ignore[no-untyped-call]

    async def _start(self, certificate: TlsCertificate) -> "_Server":
        descriptor = os.dup(self._listener.fileno())
        # Granian takes names of files, and those of the settings may have changed again
        with TemporaryDirectory(prefix="wheelyard-tls-") as folder:
            server = _Server(self._app, descriptor, self._options, certificate.write_to(folder))
            await server.start()
        return server

    async def _retire(self, server: "_Server") -> None:
        server.accept_no_more()
        await self._stops_within(RETIREMENT_SECONDS)
        await server.end()

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _warn_before_expiry(self, certificate: TlsCertificate) -> None:
        """Log once a day that the certificate expires soon."""
        today, warning = f"{self._now():%F}", certificate.expiry_warning(self._now())
        if warning and today != self._warned_on:
            logger.warning("%s", warning)
            self._warned_on = today


class _Server(Server):
    """Granian for one certificate, on a file descriptor of the listening socket that it closes."""

    def __init__(self, app: App, descriptor: int, options: dict[str, Any], pem: Path) -> None:
        self._descriptor = descriptor
        self._is_retiring = False
        self._inner = app
        self._task: asyncio.Task[None] | None = None
        super().__init__(
            self._answer,
            **options | {"interface": Interfaces.ASGINL},
            ssl_cert=pem,
            ssl_key=pem,
            ssl_protocol_min=SSLProtocols.tls12,
        )

    async def start(self) -> None:
        """Begin to accept connections; raise Invalid if the TLS library refuses the certificate."""
        self._task = asyncio.create_task(self.serve())
        for _ in range(2):  # its first step begins a worker, whose first step reads the files
            await asyncio.sleep(0)
        if self.wrks[0].is_alive():  # type: ignore[no-untyped-call]
            return
        with suppress(BaseException):  # a panic of Rust is no Exception
            await self._task
        raise Invalid("The TLS library refuses the certificate or its key. Make new ones.")

    def accept_no_more(self) -> None:
        """Leave new connections to another server, and close each one after its next response."""
        self._is_retiring = True
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            unused.listen()
            unused.setblocking(False)  # noqa: FBT003
            # from now on Granian accepts from a socket that nobody connects to
            os.dup2(unused.fileno(), self._descriptor, inheritable=False)

    async def end(self) -> None:
        """Close the connections without a request, and wait until the requests are answered."""
        self.stop()  # type: ignore[no-untyped-call]
        if self._task is not None:
            await self._task

    def _init_shared_socket(self) -> None:
        # Granian's own would be another socket, whose queue of connections is lost at its end
        self._shd = SocketHolder(self._descriptor, False, self.backlog)  # type: ignore[assignment,call-arg]  # noqa: FBT003

    def _answer(self, scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._is_retiring and not scope["http_version"].startswith("2"):
            send = _closing(send)
        return self._inner(scope, receive, send)


def _closing(send: Send) -> Send:
    """Return `send` with `Connection: close` in the response (RFC 9112, 9.6)."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_closing
