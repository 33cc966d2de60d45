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
from contextlib import suppress
from functools import partial
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels

from wheelyard.errors import Invalid
from wheelyard.http.app import App, create_app
from wheelyard.index import MEMORY, Index, open_index
from wheelyard.model.text import escaped
from wheelyard.settings.sections import ServerSettings, Settings

BACKLOG: Final = 1024
HEADER_READ_MS: Final = 10_000
STREAMS: Final = 64
HEADER_LIST: Final = 32 * 1024
DRAIN_LIMIT: Final = 60
"""Seconds that requests under way get to finish."""
NOTICE_AFTER: Final = 0.5
"""Seconds of waiting for them in silence."""
DESCRIPTORS: Final = 65_536
"""File descriptors, and so connections, that a process asks for at most."""


def check_workers(settings: Settings) -> None:
    """
    Return if so many processes can share the store.

    Raises:
        Invalid: Several workers were asked to share a store in memory.
    """
    if settings.server.workers > 1 and settings.store.location == MEMORY:
        raise Invalid("A store in memory cannot be shared. Use one worker.", code="bad_setting")


def check_port(server: ServerSettings) -> int:
    """
    Return the port to listen on: a free one where the settings ask for port 0.

    Raises:
        Invalid: It is taken, not permitted, or no address of this machine (code `bad_setting`).
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            port: int = probe.getsockname()[1]
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no address"
        raise Invalid(
            f"Cannot listen on {escaped(server.host)}, port {server.port}: {why}. "
            "Choose another with --host or --port.",
            code="bad_setting",
        ) from error
    return port


def run_server(
    settings: Settings, index: Index, before_end: Callable[[], None] = lambda: None
) -> None:
    """
    Serve until a signal ends it.

    Args:
        settings: What to serve, and where.
        index: The same, open.
        before_end: Called when nothing is served any more; may be cut short.
    """
    configure_logging()
    _raise_descriptor_limit()
    if settings.server.workers > 1:
        _serve_in_workers(settings)
    else:
        asyncio.run(_serve_here(settings.server, create_app(index)))
    before_end()
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()
    # the server's own threads may still be ending, and must not meet a finished interpreter
    os._exit(0)


async def _serve_here(server: ServerSettings, app: App) -> None:
    from granian.server.embed import Server  # noqa: PLC0415 - the other mode does not need it

    embedded = Server(app, **_listening(server))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if embedded.interrupt_signal:
            os._exit(1)  # asked for twice; the store is safe at every step
        embedded.stop()  # type: ignore[no-untyped-call]
        loop.call_later(NOTICE_AFTER, _tell_that_it_waits)
        # whoever is still busy then may be cut off
        loop.call_later(DRAIN_LIMIT, os._exit, 0)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    await embedded.serve()


def _serve_in_workers(settings: Settings) -> None:
    from granian.server import Server  # noqa: PLC0415 - imports multiprocessing

    workers = Server(
        "wheelyard",
        workers=settings.server.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_LIMIT,
        # a worker that dies, and a manager that gives up because they all do, must not be silent
        log_level=LogLevels.warning,
        **_listening(settings.server) | {"log_enabled": True},
    )
    # it runs once the manager has set its own handlers, and before there are workers
    workers.on_startup(partial(_handle_signals, workers))
    try:
        workers.serve(target_loader=partial(load_worker, settings), wrap_loader=False)
    except SystemExit:
        # Ctrl-C reaches the workers, too, and one that ends first counts as one that failed
        if not workers.interrupt_signal:
            raise


def _handle_signals(workers: Any) -> None:  # noqa: ANN401 - Granian has no type to name
    """See to it that a first signal ends the workers, and a second one at once."""
    manager = os.getpid()

    def stop(*_: object) -> None:
        if os.getpid() != manager:
            os._exit(0)  # a worker that has not begun has nothing to finish
        if workers.interrupt_signal:
            for worker in workers.wrks:
                worker.kill()
            os._exit(1)
        workers.signal_handler_interrupt()
        notice = threading.Timer(NOTICE_AFTER, _tell_that_it_waits)
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
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def load_worker(settings: Settings) -> App:
    """Return the application of one worker process."""
    configure_logging()
    return create_app(open_index(settings))


def configure_logging() -> None:
    """Send the log to standard error, one line an event."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # who got a token for a statement, and why a credential was refused, is for the operator
    logging.getLogger("wheelyard").setLevel(logging.INFO)
    # it warns of every damaged body, which any client can send
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def _listening(server: ServerSettings) -> dict[str, Any]:
    """Return what both kinds of server are told."""
    return {
        "address": server.host,
        "port": server.port,
        "interface": Interfaces.ASGI,
        "http": HTTPModes.auto,
        "websockets": False,
        "backlog": BACKLOG,
        "http1_settings": HTTP1Settings(header_read_timeout=HEADER_READ_MS),
        "http2_settings": HTTP2Settings(
            max_concurrent_streams=STREAMS, max_headers_size=HEADER_LIST
        ),
        "log_enabled": False,
    }
