"""
A web server that speaks TLS itself, and takes a changed certificate without losing a request.

Granian reads a certificate once, when it begins to serve. So each certificate gets a Granian server
of its own in this process, and all of them serve the same application. The listening socket stays
open. When the certificate has changed, the next server accepts all new connections. The last one
keeps those that it has, closes each after its next response, and then ends.

Each response tells browsers to come by https only (HSTS, RFC 6797), unless it is for this machine
alone, where other programs speak plain HTTP under the same name.
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
from typing import Final

from wheelyard.authentication.verifiers.reloading_file import CHECK_INTERVAL_SECONDS
from wheelyard.errors import Invalid
from wheelyard.http.granian_worker import HEADER_TIMEOUT_SECONDS, Application, GranianWorker
from wheelyard.http.protocol.messages import AsgiScope, Header, Message, Receive, Send
from wheelyard.http.security.csrf import header_text, strip_port
from wheelyard.http.tls_certificate import TlsCertificate, TlsFiles
from wheelyard.settings.sections import is_loopback

RETIREMENT_SECONDS: Final = 30.0
"""
How long a server without new connections goes on.

In that time handshakes end (10 s), requests begin (10 s), and connections without a request are
closed (10 s).
"""
HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""For a year. Other names of the domain are not this server's to decide about."""

logger = logging.getLogger("wheelyard")


class TlsServer:
    """Serves an application over TLS on a listening socket, with the current certificate."""

    def __init__(
        self,
        application: Application,
        files: TlsFiles,
        listener: socket.socket,
        now: Callable[[], datetime],
        check_seconds: float = CHECK_INTERVAL_SECONDS,
        header_timeout_seconds: float = HEADER_TIMEOUT_SECONDS,
    ) -> None:
        self._application = application
        self._files = files
        self._listener = listener
        self._now = now
        self._check_seconds = check_seconds
        self._header_timeout_seconds = header_timeout_seconds
        self._warned_on = ""

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping`; raise Invalid if the TLS library refuses the certificate."""
        certificate = self._files.value
        current = self._start(certificate)
        retiring = set[asyncio.Task[None]]()
        while not await _happens_within(self._check_seconds, stopping):
            found = await asyncio.to_thread(self._files.current)
            self._warn_before_expiry(found)
            if found == certificate:
                continue
            certificate = found  # one that is refused is not tried again
            try:
                following = self._start(found)
            except (Invalid, OSError) as error:
                logger.error("%s The certificate before stays in force.", error)  # noqa: TRY400
                continue
            retiring = {each for each in retiring if not each.done()}
            retiring.add(asyncio.create_task(self._retire(current, stopping)))
            current = following
            logger.warning("a changed certificate is in force, until %s", found.until)
        await asyncio.gather(current.stop(), *retiring)

    def _start(self, certificate: TlsCertificate) -> "_CertificateServer":
        descriptor = os.dup(self._listener.fileno())
        # Granian takes names of files, and those of the settings may have changed again
        with TemporaryDirectory(prefix="wheelyard-tls-") as folder:
            pem, seconds = certificate.write_to(folder), self._header_timeout_seconds
            return _CertificateServer(self._application, descriptor, pem, seconds)

    @staticmethod
    async def _retire(server: "_CertificateServer", stopping: asyncio.Event) -> None:
        server.accept_no_more()
        await _happens_within(RETIREMENT_SECONDS, stopping)
        await server.stop()

    def _warn_before_expiry(self, certificate: TlsCertificate) -> None:
        """Log once a day that the certificate expires soon."""
        today, warning = f"{self._now():%F}", certificate.expiry_warning(self._now())
        if warning and today != self._warned_on:
            logger.warning("%s", warning)
            self._warned_on = today


class _CertificateServer:
    """Granian for one certificate, on a file descriptor of the listening socket that it closes."""

    def __init__(
        self, application: Application, descriptor: int, pem: Path, header_timeout_seconds: float
    ) -> None:
        self._application = application
        self._descriptor = descriptor
        self._is_retiring = False
        self._worker = GranianWorker(self, descriptor, pem, header_timeout_seconds)
        try:
            self._worker.start()
        except Exception:
            raise
        except BaseException as panic:  # of Rust, which is no Exception
            message = "The TLS library refuses the certificate or its key. Make new ones."
            raise Invalid(message) from panic
        self.stop = self._worker.stop

    def accept_no_more(self) -> None:
        """Leave new connections to another server, and close each one after its next response."""
        self._is_retiring = True
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            unused.listen()
            unused.setblocking(False)  # noqa: FBT003
            # from now on Granian accepts from a socket that nobody connects to
            os.dup2(unused.fileno(), self._descriptor, inheritable=False)

    def answer_at_once(self, scope: AsgiScope, send: Send) -> bool:
        """Answer as the application does."""
        return self._application.answer_at_once(scope, self._with_headers(scope, send))

    async def answer(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        await self._application.answer(scope, receive, self._with_headers(scope, send))

    def _with_headers(self, scope: AsgiScope, send: Send) -> Send:
        """Return `send` that adds the headers of this server to a response."""
        added = list[Header]()
        if _is_for_other_machines(scope):
            added.append(HTTPS_ONLY)
        if self._is_retiring:
            added.append((b"connection", b"close"))  # RFC 9112, 9.6

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            return send(message)

        return send_with_headers


def _is_for_other_machines(scope: AsgiScope) -> bool:
    """Return whether a request names a host that is not, or not always, a client's own machine."""
    host = strip_port(header_text(dict(scope["headers"]), b"host")).strip("[]").removesuffix(".")
    return bool(host) and not (is_loopback(host) or host.endswith(".localhost"))


async def _happens_within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
