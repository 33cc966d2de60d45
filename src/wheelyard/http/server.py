"""
The web server (Granian): listening, limits, worker processes, signals and graceful shutdown.

A single worker runs in this process, which starts faster and takes less memory. Several workers are
processes that Granian's manager forks, or starts anew on macOS. A process that has used a store
must not be forked: the libraries of buckets have threads and connections. So the manager opens no
store, and the first worker does what one process does for all: it makes a new store, prints the
start message, probes writes, sweeps and watches. When it has died, another worker goes on with it.

At SIGTERM or SIGINT the server accepts no more requests and finishes the running ones, for 60
seconds at most; at a second signal it exits at once. At SIGHUP it takes a changed certificate: new
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
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Thread, Timer
from time import sleep
from typing import Any, Final, NoReturn, Protocol

import uvloop
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server as EmbeddedServer
from msgspec.structs import replace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wheelyard.catalog import keys
from wheelyard.catalog.format import rewrite_format
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.app import App
from wheelyard.http.forms import HttpsOnly
from wheelyard.http.instrumentation import share_metrics
from wheelyard.http.logs import configure_logging
from wheelyard.http.requests import HEADERS_LIMIT_BYTES
from wheelyard.http.server_process import return_freed_memory
from wheelyard.model.decoding import escaped
from wheelyard.operations import check_store
from wheelyard.operations.sweep import DailySweep
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.spool import try_lock
from wheelyard.wiring.build import Index, open_index
from wheelyard.wiring.stores import system_runtime

LISTEN_BACKLOG: Final = 1024
HTTP2_MAX_STREAMS: Final = 512
"""So many requests of one connection, which may be that of a proxy for all clients."""
HTTP2_STREAM_WINDOW_BYTES: Final = 256 * 1024
"""How much of an HTTP/2 request body a client may send before the server reads it."""
HEADER_TIMEOUT_SECONDS: Final = 10
BUFFER_BYTES: Final = 64 * 1024
"""The longest head of an HTTP/1 request, and how much of a response waits for its client."""
MAX_FILE_DESCRIPTORS: Final = 65_536
"""The highest file descriptor limit that a process sets for itself."""
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
GRACEFUL_SHUTDOWN_SECONDS: Final = 60
"""How long running requests may take to finish at a graceful shutdown."""
SHUTDOWN_NOTICE_SECONDS: Final = 1.0
"""How long a graceful shutdown takes before the server prints a notice."""
FIRST_WRITE_TIMEOUT_SECONDS: Final = 5.0
"""How long a server waits for the first write of its store probe before it listens."""
SWITCH_SECONDS: Final = 0.0005
"""How long a thread may compute while others wait for the interpreter; Python's default is 5 ms."""
POLL_SECONDS: Final = 0.01
WORKER_START_SECONDS: Final = 0.3
"""How long Granian may take to serve after the lifespan has started."""

logger = logging.getLogger("wheelyard")


class ServerCommand(Protocol):
    """What a command does in one process of its server; it is pickled for worker processes."""

    def open_index(self) -> Index:
        """Open the index, make a missing store, and print the start message."""
        ...

    def start_watching(self, index: Index) -> None:
        """Start threads that watch for files to import; may raise WheelyardError later on."""
        ...

    def stop_watching(self) -> None:
        """End these threads, if there are some; wait for them, for a limited time."""
        ...


class RunFolder:
    """The folder that the processes of one run of a server share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics"
        self.tls = path / "server.pem"
        """The key and the certificate in use: those of the settings may be half replaced."""
        self.lead = path / "lead"
        """Locked by the worker that does what one process does for all."""
        self.is_open = path / "open"
        """Exists once the first worker has opened the store."""
        self.probe = path / "probe"
        """The result of the probe of writes."""
        self.failure = path / "failure"
        """Why the first worker could not open the store."""


def resolve_bind_address(server: ServerSettings) -> ServerSettings:
    """Return `server` with an IP address and a free port; raise Invalid if neither is to be had."""
    try:
        found = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # localhost is IPv4 and IPv6, and every client knows IPv4
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
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
    """Serve an index until SIGTERM or SIGINT, then exit with status 0; may raise WheelyardError."""
    _prepare_process()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))  # until requests are served
    is_single, has_tls = settings.server.workers == 1, bool(settings.server.certificate)
    try:
        if is_single and not has_tls:
            _serve_in_process(settings, command, None)
        else:
            with TemporaryDirectory(prefix="wheelyard-server-") as path:
                folder = RunFolder(Path(path))
                _write_certificate(settings, folder)
                (_serve_in_process if is_single else _serve_in_workers)(settings, command, folder)
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
    """Return a server in this process for an application whose lifespan is run elsewhere."""
    return EmbeddedServer(app, interface=Interfaces.ASGINL, **_options(server, tls) | options)


def _options(server: ServerSettings, tls: Path | None) -> dict[str, Any]:
    return {
        "address": server.host,
        "port": server.port,
        "backlog": LISTEN_BACKLOG,
        # by default, Granian accepts only as many connections as the backlog
        "backpressure": _max_connections(),
        "websockets": False,
        # nothing in front of a server that speaks TLS closes idle connections of HTTP/2
        "http": HTTPModes.auto if tls is None else HTTPModes.http1,
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
    """Raise the limit of file descriptors; return the limit of connections, about half of it."""
    limits, most = resource.getrlimit(resource.RLIMIT_NOFILE), MAX_FILE_DESCRIPTORS
    soft, hard = (most if limit == resource.RLIM_INFINITY else limit for limit in limits)
    if soft < min(hard, most):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, most), limits[1]))
            soft = min(hard, most)
    return max(LISTEN_BACKLOG, soft // 2)


def _prepare_process() -> None:
    return_freed_memory()  # before the first thread, which would get a heap
    sys.setswitchinterval(SWITCH_SECONDS)  # so that pages do not wait for the threads of uploads


def _write_certificate(settings: Settings, folder: RunFolder | None) -> None:
    """Read the certificate, if there is one, for workers to come; raise Invalid if it is bad."""
    if folder is None or not settings.server.certificate:
        return
    from wheelyard.http.server_process import open_tls_files  # noqa: PLC0415 - only for TLS

    new = folder.tls.with_suffix(".new")
    new.write_bytes(open_tls_files(settings, system_runtime()).value.pem)
    new.replace(folder.tls)


class _Signals:
    """
    Answers the signals of a server process.

    Args:
        settings: Of the server.
        folder: That of this run; None if it needs none.
        stop: Begins the graceful shutdown.
        reload: Has workers started that read the certificate again, and ends the others.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder | None,
        stop: Callable[[], object],
        reload: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._stop = stop
        self._reload = reload
        self._pid = os.getpid()
        self._ends_with_terminal = os.isatty(0)
        self.is_stopping = False

    def stop(self, *_: object) -> None:
        """Stop the server: at the first signal in good order, at the second at once."""
        if os.getpid() != self._pid:  # a worker that was just forked
            os._exit(0)
        if self.is_stopping:
            for worker in multiprocessing.active_children():
                worker.kill()
            if self._folder is not None:
                rmtree(self._folder.path, ignore_errors=True)
            os._exit(1)  # the store survives an exit at any time
        self.is_stopping = True
        notice = Timer(SHUTDOWN_NOTICE_SECONDS, _print_shutdown_notice)
        notice.daemon = True
        notice.start()
        self._stop()

    def reload(self, *_: object) -> None:
        """Take a changed certificate, if it is good; stop if the terminal has been closed."""
        if self._ends_with_terminal:
            self.stop()
            return
        try:
            _write_certificate(self._settings, self._folder)
        except Invalid as error:
            logger.error("%s The certificate before stays in force.", error.message)  # noqa: TRY400
        else:
            self._reload()


def _print_shutdown_notice() -> None:
    message = "stopping after the running requests; press Ctrl-C again to stop now"
    print(f"wheelyard: {message}", file=sys.stderr, flush=True)  # noqa: T201 - at the terminal


def _serve_in_process(settings: Settings, command: ServerCommand, folder: RunFolder | None) -> None:
    index = command.open_index()
    configure_logging(settings.log)
    probe = _store_probe(index)
    app = App(index, write_failure=lambda: probe.reason)
    _lead(index, command, probe)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = embedded_server(_served(app, settings), settings.server, _tls(settings, folder))

        def stop() -> None:
            server.stop()  # type: ignore[no-untyped-call]  # it says nothing of its types
            loop.call_later(GRACEFUL_SHUTDOWN_SECONDS, os._exit, 0)

        signals = _Signals(settings, folder, stop, server.reload)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, signals.stop)
        loop.add_signal_handler(signal.SIGHUP, signals.reload)
        async with app.running():
            await server.serve()
        # requests whose clients have gone are cancelled now, which Granian takes for errors
        logging.getLogger("_granian").setLevel(logging.CRITICAL)

    try:
        uvloop.run(serve())
    finally:
        command.stop_watching()


def _serve_in_workers(settings: Settings, command: ServerCommand, folder: RunFolder) -> None:
    folder.metrics.mkdir()
    server = Granian(
        "wheelyard",
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.server.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACEFUL_SHUTDOWN_SECONDS,
        **_options(settings.server, _tls(settings, folder)),
    )
    signals = _Signals(
        settings, folder, server.signal_handler_interrupt, server.signal_handler_reload
    )

    def handle_signals() -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signals.stop)
        signal.signal(signal.SIGHUP, signals.reload)

    configure_logging(settings.log)
    if settings.log.format == "text":
        logger.setLevel(logging.WARNING)  # workers log the rest, once they have started
    server.on_startup(handle_signals)  # called after Granian has set its own handlers
    # a signal to all processes may end a worker before Granian stops it, which counts as a failure
    logging.getLogger("_granian").addFilter(lambda _: not signals.is_stopping)
    try:
        load = partial(load_worker, settings, command, folder, os.getpid())
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        if not signals.is_stopping:
            raise
    if folder.failure.exists():
        raise Invalid(folder.failure.read_text())


def load_worker(
    settings: Settings, command: ServerCommand, folder: RunFolder, manager: int
) -> ASGIApp:
    """Return the application of this worker process; called by Granian."""
    try:
        return _load_worker(settings, command, folder, manager)
    except FileNotFoundError:
        if folder.path.exists():
            raise
        os._exit(1)  # the manager was killed, and another worker has removed the folder


def _load_worker(
    settings: Settings, command: ServerCommand, folder: RunFolder, manager: int
) -> ASGIApp:
    _prepare_process()
    share_metrics(folder.metrics)
    worker = _Worker(command)
    Thread(target=_exit_with_manager, args=(manager, folder), daemon=True).start()
    lead = os.open(folder.lead, os.O_RDWR | os.O_CREAT, 0o600)
    while not (is_lead := try_lock(lead)) and not folder.is_open.exists():
        sleep(POLL_SECONDS)
    index, app = _open_in_worker(settings, command, folder, manager)
    configure_logging(settings.log)
    folder.is_open.touch()
    if is_lead:
        _lead(index, command, _store_probe(index, folder.probe))
    else:
        Thread(target=_lead_later, args=(lead, index, command, folder), daemon=True).start()
    worker.app = _served(app, settings)
    return worker


def _open_in_worker(
    settings: Settings, command: ServerCommand, folder: RunFolder, manager: int
) -> tuple[Index, App]:
    """Open the index; if that fails, stop a server that starts, and try again in one that runs."""
    is_first = not folder.is_open.exists()
    if not is_first:  # the start message of the first has what the log would repeat
        configure_logging(settings.log)
    write_failure = partial(check_store.recorded_reason, folder.probe)
    while True:
        try:
            index = command.open_index() if is_first else open_index(settings, create=False)
            return index, App(index, write_failure=write_failure)
        except WheelyardError as error:
            if is_first:
                folder.failure.write_text(error.message)
                os.kill(manager, signal.SIGTERM)
                sleep(GRACEFUL_SHUTDOWN_SECONDS)  # until the manager ends this worker
            # if it exited, the manager would soon give up, and stop the other workers, too
            logger.critical("a worker cannot start, and tries again: %s", error.message)
            sleep(5)


class _Worker:
    """
    The application of a worker process; Granian says when it starts and ends.

    A worker of Granian loses a signal while it starts, and hangs at a second one; but all processes
    may get the signals of the manager. So Ctrl-C reaches no worker, SIGTERM is blocked in all
    threads, and a thread of its own that waits for it passes the first on, as SIGINT.
    """

    def __init__(self, command: ServerCommand) -> None:
        self.app: ASGIApp
        self._command = command
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serves_at = 0.0
        os.setpgrp()  # the signals of a terminal are the manager's
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        Thread(target=self._pass_on_stop, daemon=True).start()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer as the application does."""

        async def receive_lifespan() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                loop = asyncio.get_running_loop()
                self._serves_at, self._loop = loop.time() + WORKER_START_SECONDS, loop
            else:
                self._command.stop_watching()
            return message

        return self.app(scope, receive_lifespan if scope["type"] == "lifespan" else receive, send)

    def _pass_on_stop(self) -> None:
        signal.sigwait([signal.SIGTERM])
        if self._loop is None:
            os._exit(0)  # it does not serve yet
        pass_on = partial(signal.raise_signal, signal.SIGINT)
        self._loop.call_soon_threadsafe(self._loop.call_at, self._serves_at, pass_on)


def _lead_later(lead: int, index: Index, command: ServerCommand, folder: RunFolder) -> None:
    flock(lead, LOCK_EX)  # until the worker that leads has died
    _lead(index, command, _store_probe(index, folder.probe))


def _lead(index: Index, command: ServerCommand, probe: check_store.StoreProbe) -> None:
    """Begin what one process does for all; wait for the probe."""
    if not index.settings.server.read_only:
        index.spool.remove_abandoned(index.runtime.seconds())
        DailySweep(index.sweep, index.changes, index.runtime).start()
    try:
        command.start_watching(index)
    except WheelyardError as error:  # a folder that was there at the start
        logger.error("%s", error.message)  # noqa: TRY400 - it is no fault of ours
    probe.start()
    probe.wait(FIRST_WRITE_TIMEOUT_SECONDS)


def _store_probe(index: Index, result: Path | None = None) -> check_store.StoreProbe:
    """Return the probe of the writes that must succeed; `result` is its file for all workers."""
    steps, traits, new_id = list[check_store.Step](), index.traits, index.runtime.new_id
    # a server that could write once must not become unready by another probe
    is_writable = result is not None and not check_store.recorded_reason(result)
    if not is_writable and not index.settings.server.read_only:
        steps.append(partial(rewrite_format, index.stores.documents, index.retries))
        if traits.files:
            key = keys.probe(keys.FILES, new_id())
            steps += check_store.scratch_write_steps(index.stores.files, key)
        if traits.credentials:
            key = keys.probe(keys.CREDENTIALS, new_id())
            steps += check_store.scratch_write_steps(index.stores.credentials, key)
    return check_store.StoreProbe(steps, index.runtime, result)


def _tls(settings: Settings, folder: RunFolder | None) -> Path | None:
    return folder.tls if folder is not None and settings.server.certificate else None


def _served(app: App, settings: Settings) -> ASGIApp:
    return HttpsOnly(app) if settings.server.certificate else app


def _exit_with_manager(manager: int, folder: RunFolder) -> None:
    """Wait until the manager is killed, then stop this worker: a new server may need the port."""
    while os.getppid() == manager:
        sleep(1)
    logger.error("the manager process was killed, so this worker stops")
    rmtree(folder.path, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACEFUL_SHUTDOWN_SECONDS)
    os._exit(1)
