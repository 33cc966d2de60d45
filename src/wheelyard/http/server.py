"""
The process that listens: one in this process, or several workers.

One worker runs on this process's own event loop, which starts fast and takes little memory; more
than one are processes of their own. SIGTERM ends it: nothing new is accepted, what is under way
finishes; a second signal does not wait for that.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from msgspec.structs import replace

from wheelyard.catalog.format import rewrite_format
from wheelyard.catalog.keys import probes
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.app import App
from wheelyard.http.observability.log_format import configure_logging
from wheelyard.http.observability.worker_metrics import WorkerMetricsFolder
from wheelyard.model.text import escaped
from wheelyard.operations.store_probe import (
    Step,
    StoreProbe,
    always_writable,
    recorded_reason,
    scratch_write_steps,
)
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.index import Index, open_index

LISTEN_BACKLOG: Final = 1024
HEADER_READ_TIMEOUT_MS: Final = 10_000
HTTP2_MAX_STREAMS: Final = 64
HTTP2_STREAM_WINDOW_BYTES: Final = 1024 * 1024
"""Bytes of one HTTP/2 body that a client may send before they are read."""
HTTP2_HEADERS_LIMIT_BYTES: Final = 32 * 1024
GRACEFUL_SHUTDOWN_SECONDS: Final = 60
"""Seconds that requests under way get to finish."""
SHUTDOWN_NOTICE_SECONDS: Final = 0.5
"""Seconds of waiting for them in silence."""
SIGNAL_DELIVERY_SECONDS: Final = 0.3
"""Seconds that a signal may take to the manager, when a worker has ended by it already."""
GRANIAN_LOG_CONFIG: Final = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"propagate": True}},
}
"""How Granian logs: by the handlers that the log has anyway, on standard error."""
WORKER_RETRY_SECONDS: Final = 5.0
"""Seconds after which a worker that cannot begin tries again."""
MANAGER_POLL_SECONDS: Final = 1.0
"""Seconds after which a worker sees that its manager is gone."""
FIRST_WRITE_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that a server waits for the end of its first trial write before it listens."""
PROBE_RESULT_FILE: Final = "written"
"""The file among the workers' figures that says what has come of the trial writes."""
MAX_FILE_DESCRIPTORS: Final = 65_536
"""File descriptors that a process asks for at most; half of them are for connections."""

logger = logging.getLogger("wheelyard")


def resolve_bind_address(server: ServerSettings) -> ServerSettings:
    """
    Return the settings with an address for a host name, and a free port for port 0.

    Raises:
        Invalid: The port is taken or not permitted, or the host is no address of this machine
            (code `bad_setting`).
    """
    try:
        found = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # localhost is both, and clients that know only one know this one
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
    settings: Settings, index: Index, before_end: Callable[[], None] = lambda: None
) -> None:
    """Serve an index until a signal ends it; `before_end` is called then, and may be cut short."""
    configure_logging(settings.log)
    _raise_descriptor_limit()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(0))  # as long as nothing is served
    is_alone = settings.server.workers == 1
    figures = nullcontext() if is_alone else TemporaryDirectory(prefix="wheelyard-figures-")
    try:
        with figures as folder:
            # by this process alone: a worker that begins anew must not find that it may not write
            probe = _begun_trial(index, Path(folder, PROBE_RESULT_FILE) if folder else None)
            if folder:
                serve = partial(_serve_in_workers, settings, Path(folder))
            else:
                app = App(index, write_failure=lambda: probe.reason)
                serve = partial(_serve_here, settings.server, app)
            probe.wait(FIRST_WRITE_TIMEOUT_SECONDS)
            serve()
    except SystemExit as end:
        if end.code:
            raise
    before_end()
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()
    # the server's own threads may still be ending, and must not meet a finished interpreter
    os._exit(0)


def _begun_trial(index: Index, note: Path | None) -> StoreProbe:
    """Return the trial of whether the store can be written, which one that is only read passes."""
    steps = list[Step]()
    if not index.settings.server.read_only:
        steps.append(partial(rewrite_format, index.files.store, index.files.retries))
        for key in probes(index.traits.apart, index.runtime.new_id()):
            steps += scratch_write_steps(index.files.store, key)
    probe = StoreProbe(steps, index.runtime, note)
    probe.start()
    return probe


def _serve_here(server: ServerSettings, app: App) -> None:
    from granian.server.embed import Server  # noqa: PLC0415 - the other mode does not need it

    embedded = Server(app, **_listening(server))

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if embedded.interrupt_signal:
                os._exit(1)  # asked for twice; the store is safe at every step
            embedded.stop()  # type: ignore[no-untyped-call]
            loop.call_later(SHUTDOWN_NOTICE_SECONDS, _tell_that_it_waits)
            # whoever is still busy then may be cut off
            loop.call_later(GRACEFUL_SHUTDOWN_SECONDS, os._exit, 0)

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop)
        await embedded.serve()

    asyncio.run(serve())


def _serve_in_workers(settings: Settings, figures: Path) -> None:
    from granian.server import Server  # noqa: PLC0415 - imports multiprocessing

    workers = Server(
        "wheelyard",
        workers=settings.server.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACEFUL_SHUTDOWN_SECONDS,
        # a worker that dies, and a manager that gives up because they all do, must not be silent
        log_level=LogLevels.error,
        **_listening(settings.server) | {"log_enabled": True, "log_dictconfig": GRANIAN_LOG_CONFIG},
    )
    logging.getLogger("_granian").addFilter(partial(_is_news, workers))
    # it runs once the manager has set its own handlers, and before there are workers
    workers.on_startup(partial(_handle_signals, workers, figures))
    load = partial(create_worker_app, settings, figures, os.getpid())
    try:
        workers.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        # Ctrl-C reaches the workers, too, and one that ends first counts as one that failed
        if not workers.interrupt_signal:
            raise


def _is_news(workers: Any, record: logging.LogRecord) -> bool:  # noqa: ANN401 - as below
    """Return whether what Granian says is worth a line: a worker's end by Ctrl-C is not."""
    del record
    if not workers.interrupt_signal:
        # the signal reaches the worker, too; the thread that waits for its end may wait longer
        sleep(SIGNAL_DELIVERY_SECONDS)
    return not workers.interrupt_signal


def _handle_signals(workers: Any, figures: Path) -> None:  # noqa: ANN401 - Granian names no type
    """See to it that a first signal ends the workers, and a second one at once."""
    manager = os.getpid()

    def stop(*_: object) -> None:
        if os.getpid() != manager:
            os._exit(0)  # a worker that has not begun has nothing to finish
        if workers.interrupt_signal:
            for worker in workers.wrks:
                worker.kill()
            rmtree(figures, ignore_errors=True)
            os._exit(1)
        workers.signal_handler_interrupt()
        notice = threading.Timer(SHUTDOWN_NOTICE_SECONDS, _tell_that_it_waits)
        notice.daemon = True
        notice.start()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)


def _tell_that_it_waits() -> None:
    print(  # noqa: T201 - whoever pressed Ctrl-C waits for an answer
        "wheelyard: stopping when what is under way has ended; press Ctrl-C again to stop now",
        file=sys.stderr,
        flush=True,
    )


def _raise_descriptor_limit() -> None:
    """Ask for as many descriptors as are allowed: each idle connection holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        MAX_FILE_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_FILE_DESCRIPTORS)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connections() -> int:
    """Return how many connections one process keeps open; other files need descriptors, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(
        LISTEN_BACKLOG, (MAX_FILE_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) // 2
    )


def create_worker_app(settings: Settings, figures: Path, manager: int) -> App:
    """Return the application of one worker process; all keep their figures in one folder."""
    configure_logging(settings.log)
    threading.Thread(target=_end_after, args=(manager, figures), daemon=True).start()
    while True:
        try:
            shelf = WorkerMetricsFolder(figures, os.getpid(), _is_running)
            index = open_index(settings, create=not settings.server.read_only)
            is_tried = not settings.server.read_only
            write_failure = (
                partial(recorded_reason, figures / PROBE_RESULT_FILE)
                if is_tried
                else always_writable
            )
            return App(index, metrics_folder=shelf, write_failure=write_failure)
        except WheelyardError as fault:
            # if it ended, the manager would soon give up, and end the workers that are well, too
            logger.critical("a worker cannot begin, and tries again: %s", fault.message)
            sleep(WORKER_RETRY_SECONDS)


def _end_after(manager: int, figures: Path) -> None:
    """End this worker when its manager was killed: it would hold the port of whoever comes next."""
    while os.getppid() == manager:
        sleep(MANAGER_POLL_SECONDS)
    logger.error("the process that began this worker was killed, so it ends, too")
    rmtree(figures, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACEFUL_SHUTDOWN_SECONDS)
    os._exit(1)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _listening(server: ServerSettings) -> dict[str, Any]:
    """Return what both kinds of server are told."""
    return {
        "address": server.host,
        "port": server.port,
        "interface": Interfaces.ASGI,
        "http": HTTPModes.auto,
        "websockets": False,
        "backlog": LISTEN_BACKLOG,
        # by itself Granian accepts no more connections than the backlog has room for
        "backpressure": _connections(),
        "http1_settings": HTTP1Settings(header_read_timeout=HEADER_READ_TIMEOUT_MS),
        "http2_settings": HTTP2Settings(
            max_concurrent_streams=HTTP2_MAX_STREAMS,
            max_headers_size=HTTP2_HEADERS_LIMIT_BYTES,
            initial_stream_window_size=HTTP2_STREAM_WINDOW_BYTES,
            # a proxy sends everybody's requests over one connection: no body that waits for its
            # turn may use up the window of the others
            initial_connection_window_size=HTTP2_MAX_STREAMS * HTTP2_STREAM_WINDOW_BYTES,
        ),
        "log_enabled": False,
    }
