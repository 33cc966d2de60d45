"""
The web server (Granian): listening, HTTP/2 limits, worker processes and graceful shutdown.

A single worker runs in this process, which starts faster and takes less memory; several workers are
processes of their own. At SIGTERM or SIGINT the server accepts no more requests and finishes the
running ones, for 60 seconds at most; at a second signal it exits at once.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any, Final, NoReturn, TypeVar

import uvloop
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.format import rewrite_format
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.app import App
from wheelyard.http.granian_worker import LISTEN_BACKLOG, GranianWorker
from wheelyard.http.memory_allocator import return_freed_memory
from wheelyard.http.observability.log_formatters import configure_logging
from wheelyard.http.observability.metrics import share_metrics
from wheelyard.model.text import escaped
from wheelyard.operations import store_probe
from wheelyard.operations.daily_sweep import DailySweep
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.stores import system_runtime

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
GRACEFUL_SHUTDOWN_SECONDS: Final = 60
"""How long running requests may take to finish at a graceful shutdown."""
SHUTDOWN_NOTICE_SECONDS: Final = 0.5
"""How long a graceful shutdown takes before the server prints a notice."""
SIGNAL_DELIVERY_SECONDS: Final = 0.3
"""How much later than a worker the manager may get the same signal."""
FIRST_WRITE_TIMEOUT_SECONDS: Final = 5.0
"""How long a server waits for the first write of its store probe before it listens."""
SWITCH_SECONDS: Final = 0.0005
"""How long a thread may compute while others wait for the interpreter; Python's default is 5 ms."""
PROBE_FILE: Final = "written"
"""The file in which the manager tells its workers the result of the store probe."""

logger = logging.getLogger("wheelyard")

T = TypeVar("T")
Serve = Callable[[asyncio.Event], Awaitable[None]]


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


def run_server(
    settings: Settings, index: Index, on_shutdown: Callable[[], None] = lambda: None
) -> None:
    """Serve an index until SIGTERM or SIGINT; then call `on_shutdown`, and exit with status 0."""
    configure_logging(settings.log)
    for each in STOP_SIGNALS:
        signal.signal(each, lambda *_: sys.exit(0))  # until requests are served
    is_single = settings.server.workers == 1
    try:
        # a signal between the folder and its `with` would leave it behind
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        shared = nullcontext() if is_single else TemporaryDirectory(prefix="wheelyard-figures-")
        with shared as folder:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            if not settings.server.read_only:
                index.spool.remove_abandoned(index.runtime.seconds())
            # only in this process: a restarted worker must not become unready by a new probe
            probe = _start_store_probe(index, Path(folder, PROBE_FILE) if folder else None)
            if folder:
                serve = partial(_serve_in_workers, settings, Path(folder))
            else:
                app = App(index, write_failure=lambda: probe.reason)
                serve = partial(_serve_in_process, app, _prepare(settings, app, index.runtime))
            if not settings.server.read_only:
                DailySweep(index.sweep, index.changes, index.runtime).start()
            probe.wait(FIRST_WRITE_TIMEOUT_SECONDS)
            serve()
    except SystemExit as end:
        if end.code:
            raise
    on_shutdown()
    _exit()


def _exit() -> NoReturn:
    """End this process: Granian's threads may still run, and crash while an interpreter ends."""
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()
    os._exit(0)


def _start_store_probe(index: Index, result_file: Path | None) -> store_probe.StoreProbe:
    """Start and return the probe of writes to the store; a read-only server's writes nothing."""
    steps = list[store_probe.Step]()
    if not index.settings.server.read_only:
        stores, traits = index.stores, index.traits
        steps.append(partial(rewrite_format, stores.documents, index.retries))
        if traits.files:
            key = keys.probe(keys.FILES, index.runtime.new_id())
            steps += store_probe.scratch_write_steps(stores.files, key)
        if traits.credentials:
            key = keys.probe(keys.CREDENTIALS, index.runtime.new_id())
            steps += store_probe.scratch_write_steps(stores.credentials, key)
    probe = store_probe.StoreProbe(steps, index.runtime, result_file)
    probe.start()
    return probe


def _serve_in_process(app: App, serve: Serve, *, is_worker: bool = False) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)  # so that pages do not wait for the threads of uploads

    async def run() -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()

        def stop() -> None:
            if stopping.is_set():
                if is_worker:
                    return  # the manager passes each signal on, and kills workers at the second
                os._exit(1)  # the store survives an exit at any time
            stopping.set()
            if not is_worker:  # the manager prints it
                loop.call_later(SHUTDOWN_NOTICE_SECONDS, _print_shutdown_notice)
            loop.call_later(GRACEFUL_SHUTDOWN_SECONDS, os._exit, 0)

        for each in STOP_SIGNALS:
            loop.add_signal_handler(each, stop)
        async with app.running():
            await serve(stopping)

    uvloop.run(run())


def _prepare(settings: Settings, app: App, runtime: Runtime) -> Serve:
    """Return what serves `app` until an event; raise Invalid for a certificate of no use."""
    if not settings.server.certificate:
        return partial(serve_plainly, app, _listening_socket(settings.server))
    from wheelyard.http.tls_certificate import open_tls_files  # noqa: PLC0415 - only for TLS
    from wheelyard.http.tls_server import TlsServer  # noqa: PLC0415 - only for TLS

    files = open_tls_files(settings, runtime)
    return TlsServer(app, files, _listening_socket(settings.server), runtime.now).serve


async def serve_plainly(app: App, listener: socket.socket, stopping: asyncio.Event) -> None:
    """Serve `app` by plain HTTP on a listening socket until `stopping`."""
    worker = GranianWorker(app, listener.detach())
    worker.start()
    await stopping.wait()
    await worker.stop()


def _listening_socket(server: ServerSettings) -> socket.socket:
    """Return a listening socket; with several workers, each has its own at the same address."""
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if server.workers > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)  # noqa: FBT003
    listener.bind((server.host, server.port))
    listener.listen(LISTEN_BACKLOG)
    return listener


def _serve_in_worker(
    settings: Settings, _number: int, _name: object, load: Callable[[], App], *_: object
) -> None:
    """Run a worker process; Granian's manager gives the arguments after the first one."""
    app = load()
    serve = _retried(partial(_prepare, settings, app, system_runtime()))
    _serve_in_process(app, serve, is_worker=True)
    _exit()


def _serve_in_workers(settings: Settings, folder: Path) -> None:
    from multiprocessing import (  # noqa: PLC0415 - only for several workers
        resource_tracker,
        set_start_method,
    )

    from granian.constants import Interfaces  # noqa: PLC0415 - these import multiprocessing
    from granian.log import LogLevels  # noqa: PLC0415
    from granian.server import Server  # noqa: PLC0415

    # in a fork of this process, which has used the store, the library of S3 and Azure would hang
    set_start_method("spawn", force=True)
    # it is started before signals are blocked, because its start would unblock them
    resource_tracker.ensure_running()
    # makes Granian log by the handlers of the root logger
    log_config = {"handlers": {}, "formatters": {}, "loggers": {"_granian": {"propagate": True}}}
    workers = Server(
        "wheelyard",
        address=settings.server.host,
        port=settings.server.port,
        interface=Interfaces.ASGI,
        workers=settings.server.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACEFUL_SHUTDOWN_SECONDS,
        # so that the death of a worker is logged, and that the manager gives up
        log_level=LogLevels.error,
        log_dictconfig=log_config,
    )
    logging.getLogger("_granian").addFilter(partial(_should_log, workers))
    # called after the manager has set its own handlers, and before it starts workers
    workers.on_startup(partial(_handle_signals, workers, folder))
    load = partial(create_worker_app, settings, folder, os.getpid())
    spawn = partial(_serve_in_worker, settings)
    try:
        workers.serve(spawn_target=spawn, target_loader=load, wrap_loader=False)
    except SystemExit:
        # Ctrl-C reaches the workers, too; Granian counts a worker that ends first as failed
        if not workers.interrupt_signal:
            raise


def _should_log(workers: Any, record: logging.LogRecord) -> bool:  # noqa: ANN401 - as below
    """Return whether to log a message of Granian: not if a signal stops the server. May wait."""
    del record
    if not workers.interrupt_signal:
        # the worker may have got the signal before this process
        sleep(SIGNAL_DELIVERY_SECONDS)
    return not workers.interrupt_signal


def _handle_signals(workers: Any, folder: Path) -> None:  # noqa: ANN401 - Granian names no type
    """
    Handle the signals of the manager in a thread: the first stops workers, the second kills them.

    Workers inherit that signals are blocked, so none meets one before it can end in good order.
    """
    received, sent = socket.socketpair()
    sent.setblocking(False)  # noqa: FBT003
    # whichever thread a signal reaches, its number is sent
    signal.set_wakeup_fd(sent.detach())
    for each in STOP_SIGNALS:
        signal.signal(each, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_stop_at_signals, args=(workers, folder, received), daemon=True).start()


def _stop_at_signals(workers: Any, folder: Path, received: socket.socket) -> None:  # noqa: ANN401
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    received.recv(1)
    workers.signal_handler_interrupt()
    notice = threading.Timer(SHUTDOWN_NOTICE_SECONDS, _print_shutdown_notice)
    notice.daemon = True
    notice.start()
    received.recv(1)
    for worker in workers.wrks:
        worker.kill()
    rmtree(folder, ignore_errors=True)
    os._exit(1)


def _print_shutdown_notice() -> None:
    message = "stopping after the running requests; press Ctrl-C again to stop now"
    print(f"wheelyard: {message}", file=sys.stderr, flush=True)  # noqa: T201 - at the terminal


def create_worker_app(settings: Settings, folder: Path, manager: int) -> App:
    """
    Return the application of this worker process; retry until the index can be opened.

    The workers share `folder`. A thread stops this worker when the process `manager` was killed.
    """
    for each in STOP_SIGNALS:
        signal.signal(each, lambda *_: os._exit(0))  # until it serves
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return_freed_memory()
    configure_logging(settings.log)
    share_metrics(folder)
    threading.Thread(target=_exit_with_manager, args=(manager, folder), daemon=True).start()

    def create() -> App:
        index = open_index(settings, create=not settings.server.read_only)
        write_failure: store_probe.Reason = store_probe.always_writable
        if not settings.server.read_only:
            write_failure = partial(store_probe.recorded_reason, folder / PROBE_FILE)
        return App(index, write_failure=write_failure)

    return _retried(create)


def _retried(create: Callable[[], T]) -> T:
    """Return what `create` returns; log a WheelyardError, and call it again."""
    while True:
        try:
            return create()
        except WheelyardError as error:
            # if it exited, the manager would soon give up, and stop the other workers, too
            logger.critical("a worker cannot start, and tries again: %s", error.message)
            sleep(5)


def _exit_with_manager(manager: int, folder: Path) -> None:
    """Wait until the manager is killed, then stop this worker: a new server may need the port."""
    while os.getppid() == manager:
        sleep(1)
    logger.error("the manager process was killed, so this worker stops")
    rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACEFUL_SHUTDOWN_SECONDS)
    os._exit(1)
