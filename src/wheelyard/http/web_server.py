"""
The web server (Granian): listening, limits, worker processes, signals and graceful shutdown.

A single worker runs in this process, which starts faster and takes less memory. Several workers are
processes that Granian's manager forks, or starts anew on macOS. A process that has used a store
must not be forked: the libraries of buckets have threads and connections. So the manager opens no
store, and the first worker does what one process does for all: it makes a new store, prints the
start message, probes writes, sweeps and watches. When it has died, another worker does this work.

At SIGTERM or SIGINT the server accepts no more requests and finishes the running ones, for 60
seconds at most. At a second signal it exits at once. At SIGHUP it takes a changed certificate: new
connections go to workers that have read it, and the old workers finish their requests.
"""

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any, Final, NoReturn

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.common import AbstractServer
from granian.server.embed import Server as EmbeddedServer
from msgspec.structs import replace
from starlette.types import ASGIApp

from wheelyard.errors import Invalid
from wheelyard.http.app import App
from wheelyard.http.logs import configure_logging
from wheelyard.http.requests import HEADERS_LIMIT_BYTES
from wheelyard.http.server_process import (
    GRACEFUL_SHUTDOWN_SECONDS,
    RunFolder,
    ServerCommand,
    WorkerProcess,
    lead,
    prepare_process,
    served_app,
    store_probe,
)
from wheelyard.model.decoding import escaped
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.stores import system_runtime

LISTEN_BACKLOG: Final = 1024
HTTP2_MAX_STREAMS: Final = 512
"""The most requests of one connection at a time. A proxy may use one for all clients."""
HTTP2_STREAM_WINDOW_BYTES: Final = 256 * 1024
"""How much of an HTTP/2 request body a client may send before the server reads it."""
HEADER_TIMEOUT_SECONDS: Final = 10
BUFFER_BYTES: Final = 64 * 1024
"""The longest head of an HTTP/1 request, and how much of a response waits for its client."""
MAX_FILE_DESCRIPTORS: Final = 65_536
"""The highest file descriptor limit that a process sets for itself."""
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SHUTDOWN_NOTICE_SECONDS: Final = 1.0
"""How long a graceful shutdown takes before the server prints a notice."""

logger = logging.getLogger("wheelyard")


def resolve_bind_address(server: ServerSettings) -> ServerSettings:
    """
    Return `server` with an IP address and a port that is free now.

    Raises Invalid if nobody can listen on the address.
    """
    try:
        candidates = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # localhost is an address of IPv4 and of IPv6, and every client knows IPv4
        ipv4_candidates = [entry for entry in candidates if entry[0] == socket.AF_INET]
        family, kind, protocol, _, address = (ipv4_candidates or candidates)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            host, port, *_ = probe.getsockname()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no address"
        raise Invalid(
            f"Cannot listen on {escaped(server.host)}, port {server.port}: {why}. "
            "Choose another with --host or --port.",
            code="bad_setting",
        ) from error
    return replace(server, host=host, port=port)


def run_server(settings: Settings, command: ServerCommand) -> NoReturn:
    """
    Serve an index until SIGTERM or SIGINT, then exit with status 0.

    Raises Invalid if the certificate or its key cannot be read, if they do not belong together, or
    if the certificate is not valid now. Raises Invalid, too, if the first of several workers cannot
    open the index. With one worker, raises what `command` raises if that cannot open the index.
    """
    prepare_process()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))  # until requests are served
    is_single = settings.server.workers == 1
    has_tls = bool(settings.server.certificate)
    try:
        if is_single and not has_tls:
            _serve_in_process(settings, command, None)
        else:
            with TemporaryDirectory(prefix="wheelyard-server-") as path:
                folder = RunFolder(Path(path))
                _write_certificate(settings, folder)
                if is_single:
                    _serve_in_process(settings, command, folder)
                else:
                    _serve_in_workers(settings, command, folder)
    except SystemExit as end:
        if end.code:
            raise

    # Granian's threads may still run, and crash while an interpreter ends
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()
    os._exit(0)


def embedded_server(
    app: ASGIApp, server: ServerSettings, tls: Path | None = None, **options: object
) -> EmbeddedServer:
    """
    Return a server in this process, for an application whose lifespan the caller runs.

    The server speaks TLS with `tls`, the file of key and certificate. `options` are further options
    of Granian. The limit of file descriptors of this process is raised as far as it may be.
    """
    all_options = _granian_options(server, tls) | options
    return EmbeddedServer(app, interface=Interfaces.ASGINL, **all_options)


def _granian_options(server: ServerSettings, tls: Path | None) -> dict[str, Any]:
    """
    Return the options of Granian, for TLS if `tls` is the file of key and certificate.

    The limit of file descriptors of this process is raised.
    """
    # nothing in front of a server that speaks TLS closes idle connections of HTTP/2
    http_mode = HTTPModes.auto if tls is None else HTTPModes.http1
    return {
        "address": server.host,
        "port": server.port,
        "backlog": LISTEN_BACKLOG,
        # by default, Granian accepts only as many connections as the backlog
        "backpressure": _max_connections(),
        "websockets": False,
        "http": http_mode,
        "http1_settings": HTTP1Settings(
            header_read_timeout=HEADER_TIMEOUT_SECONDS * 1000, max_buffer_size=BUFFER_BYTES
        ),
        "http2_settings": HTTP2Settings(
            max_concurrent_streams=HTTP2_MAX_STREAMS,
            max_headers_size=HEADERS_LIMIT_BYTES,
            initial_stream_window_size=HTTP2_STREAM_WINDOW_BYTES,
            # a proxy sends the requests of all clients over one connection: a body that waits
            # for its slot must not use up the window of the others
            initial_connection_window_size=HTTP2_MAX_STREAMS * HTTP2_STREAM_WINDOW_BYTES,
            max_send_buffer_size=BUFFER_BYTES,
        ),
        "ssl_cert": tls,
        "ssl_key": tls,
        "ssl_protocol_min": SSLProtocols.tls12,
        "log_level": LogLevels.error,
        # makes Granian log by the handlers of the root logger
        "log_dictconfig": {
            "handlers": {},
            "formatters": {},
            "loggers": {"_granian": {"propagate": True}},
        },
    }


def _max_connections() -> int:
    """Raise the limit of file descriptors, and return half of it: the limit of connections."""
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest_limit = MAX_FILE_DESCRIPTORS
    if hard_limit != resource.RLIM_INFINITY:
        highest_limit = min(hard_limit, MAX_FILE_DESCRIPTORS)
    limit = MAX_FILE_DESCRIPTORS if soft_limit == resource.RLIM_INFINITY else soft_limit
    if limit < highest_limit:
        # a sandbox may forbid a higher limit: then there are fewer connections
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest_limit, hard_limit))
            limit = highest_limit
    # a connection may have a file open as well
    return max(LISTEN_BACKLOG, limit // 2)


def _write_certificate(settings: Settings, folder: RunFolder | None) -> None:
    """
    Copy the certificate, if the settings have one, for workers that start from now on.

    Raises Invalid if the certificate cannot be used.
    """
    if folder is None or not settings.server.certificate:
        return
    # imported only if needed: cryptography takes a while to import
    from wheelyard.wiring.tls_files import open_tls_files  # noqa: PLC0415

    tls_files = open_tls_files(settings, system_runtime())
    new_file = folder.tls.with_suffix(".new")
    new_file.write_bytes(tls_files.value.pem)
    new_file.replace(folder.tls)  # atomically: Granian may start a worker at this moment


def _tls_file(settings: Settings, folder: RunFolder | None) -> Path | None:
    """Return the file of key and certificate, or None for a server without TLS."""
    if folder is None or not settings.server.certificate:
        return None
    return folder.tls


class _Signals(ABC):
    """
    Answers the signals of a server process.

    Args:
        settings: The settings of the server.
        folder: The folder of this run, or None if the server needs no folder.
    """

    def __init__(self, settings: Settings, folder: RunFolder | None) -> None:
        self._settings = settings
        self._folder = folder
        self._pid = os.getpid()
        self._ends_with_terminal = os.isatty(0)
        """Whether the server has a terminal, and so stops when that is closed."""
        self.is_stopping = False

    @abstractmethod
    def handle(self) -> None:
        """Let this object handle signals from now on."""

    @abstractmethod
    def _begin_shutdown(self) -> None:
        """Begin the graceful shutdown."""

    @abstractmethod
    def _replace_workers(self) -> None:
        """Start workers that read the certificate again, and end the earlier workers."""

    def stop(self, *_: object) -> None:
        """Stop the server: at the first signal gracefully, at the second one at once."""
        if os.getpid() != self._pid:  # a worker that was just forked
            os._exit(0)
        if self.is_stopping:
            # after an exit, nobody would end the workers, or remove the folder
            for worker in multiprocessing.active_children():
                worker.kill()
            if self._folder is not None:
                rmtree(self._folder.path, ignore_errors=True)
            os._exit(1)  # the store survives an exit at any time
        self.is_stopping = True
        notice = Timer(SHUTDOWN_NOTICE_SECONDS, _print_shutdown_notice)
        notice.daemon = True
        notice.start()
        self._begin_shutdown()

    def reload(self, *_: object) -> None:
        """Take a changed certificate if it can be used, or stop if the terminal was closed."""
        if self._ends_with_terminal:
            self.stop()
            return
        try:
            _write_certificate(self._settings, self._folder)
        except Invalid as error:
            logger.error("%s The certificate before stays in force.", error.message)  # noqa: TRY400 - no fault of ours
        else:
            self._replace_workers()


class _ProcessSignals(_Signals):
    """Answers the signals of a server in this process, in its event loop."""

    def __init__(
        self, settings: Settings, folder: RunFolder | None, server: EmbeddedServer
    ) -> None:
        super().__init__(settings, folder)
        self._server = server

    def handle(self) -> None:
        """Let the running event loop handle signals by this object."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _begin_shutdown(self) -> None:
        self._server.stop()  # type: ignore[no-untyped-call]  # Granian declares no types here
        asyncio.get_running_loop().call_later(GRACEFUL_SHUTDOWN_SECONDS, os._exit, 0)

    def _replace_workers(self) -> None:
        self._server.reload()  # type: ignore[no-untyped-call]  # as above


class _ManagerSignals(_Signals):
    """Answers the signals of the manager of several workers."""

    def __init__(self, settings: Settings, folder: RunFolder, server: AbstractServer[Any]) -> None:
        super().__init__(settings, folder)
        self._server = server

    def handle(self) -> None:
        """Handle signals by this object."""
        for number in STOP_SIGNALS:
            signal.signal(number, self.stop)
        signal.signal(signal.SIGHUP, self.reload)

    def _begin_shutdown(self) -> None:
        self._server.signal_handler_interrupt()  # type: ignore[no-untyped-call]  # as above

    def _replace_workers(self) -> None:
        self._server.signal_handler_reload()  # type: ignore[no-untyped-call]  # as above


def _print_shutdown_notice() -> None:
    """Tell the person at the terminal that running requests are waited for."""
    message = "stopping after the running requests; press Ctrl-C again to stop now"
    print(f"wheelyard: {message}", file=sys.stderr, flush=True)  # noqa: T201 - at the terminal


def _serve_in_process(settings: Settings, command: ServerCommand, folder: RunFolder | None) -> None:
    """Open the index, and serve it in this process until a signal stops the server."""
    index = command.open_index()
    configure_logging(settings.log)
    probe = store_probe(index)
    app = App(index, write_failure=lambda: probe.reason)
    lead(index, command, probe)
    try:
        asyncio.run(_serve(app, settings, folder))
    finally:
        command.stop_watching()


async def _serve(app: App, settings: Settings, folder: RunFolder | None) -> None:
    """Serve an application in the running event loop, until a signal stops the server."""
    asgi_app = served_app(app, settings)
    server = embedded_server(asgi_app, settings.server, _tls_file(settings, folder))
    _ProcessSignals(settings, folder, server).handle()
    async with app.running():
        await server.serve()
    # now requests whose clients have gone are cancelled, and Granian would log these as errors
    logging.getLogger("_granian").setLevel(logging.CRITICAL)


def _serve_in_workers(settings: Settings, command: ServerCommand, folder: RunFolder) -> None:
    """
    Serve the index in several processes, of which this one is the manager.

    Raises Invalid if the first worker could not open the index.
    """
    folder.metrics.mkdir()
    server = Granian(
        "wheelyard",
        interface=Interfaces.ASGI,
        loop=Loops.asyncio,
        workers=settings.server.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACEFUL_SHUTDOWN_SECONDS,
        **_granian_options(settings.server, _tls_file(settings, folder)),
    )
    signals = _ManagerSignals(settings, folder, server)
    configure_logging(settings.log)
    if settings.log.format == "text":
        logger.setLevel(logging.WARNING)  # the workers log with INFO, once they have started
    server.on_startup(signals.handle)  # called after Granian has set its own handlers

    # a signal to all processes may end a worker before Granian stops it, which Granian then reports
    logging.getLogger("_granian").addFilter(lambda _: not signals.is_stopping)
    try:
        worker = WorkerProcess(settings, command, folder, os.getpid())
        server.serve(target_loader=worker.load, wrap_loader=False)
    except SystemExit:
        if not signals.is_stopping:
            raise
    if folder.failure.exists():
        raise Invalid(folder.failure.read_text())
