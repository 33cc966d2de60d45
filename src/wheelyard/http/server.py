"""
The process that listens: one in this process, or several workers.

One worker runs on this process's own event loop, which starts fast and takes little memory; more
than one are processes of their own. SIGTERM ends it: nothing new is accepted, what is under way
finishes.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from functools import partial
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings

from wheelyard.errors import Invalid
from wheelyard.http.app import App, create_app
from wheelyard.index import MEMORY, Index, open_index
from wheelyard.settings import ServerSettings, Settings

BACKLOG: Final = 1024
HEADER_READ_MS: Final = 10_000
STREAMS: Final = 64
HEADER_LIST: Final = 32 * 1024
DRAIN_LIMIT: Final = 60
"""Seconds that requests under way get to finish."""


def check_port(server: ServerSettings) -> None:
    """
    Return if the address can be listened on.

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
    except OSError as error:
        raise Invalid(
            f"Cannot listen on {server.host}, port {server.port}: {error.strerror}. "
            "Choose another with --host or --port.",
            code="bad_setting",
        ) from error


def run_server(settings: Settings, index: Index) -> None:
    """
    Serve until a signal ends it.

    Raises:
        Invalid: Several workers were asked to share a store in memory.
    """
    configure_logging()
    if settings.server.workers == 1:
        asyncio.run(_serve_here(settings.server, create_app(index)))
        logging.shutdown()
        sys.stdout.flush()
        # the server's own threads may still be ending, and must not meet a finished interpreter
        os._exit(0)
    if settings.store.location == MEMORY:
        raise Invalid("A store in memory cannot be shared. Use one worker.", code="bad_setting")
    _serve_in_workers(settings)


async def _serve_here(server: ServerSettings, app: App) -> None:
    from granian.server.embed import Server  # noqa: PLC0415 - the other mode does not need it

    embedded = Server(app, **_listening(server))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        embedded.stop()  # type: ignore[no-untyped-call]
        # the store is safe at every step, so whoever is still busy then may be cut off
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
        **_listening(settings.server),
    )
    workers.serve(target_loader=partial(load_worker, settings), wrap_loader=False)


def load_worker(settings: Settings) -> App:
    """Return the application of one worker process."""
    configure_logging()
    return create_app(open_index(settings))


def configure_logging() -> None:
    """Send the log to standard error, one line an event."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
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
