"""An application in this process, on a port, for what takes other limits than the real ones."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from os import getpid
from pathlib import Path
from threading import Thread

import httpx2
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from tests.clients.servers import free_port
from tests.http.servers import Site, is_up
from tests.waiting import until
from wheelyard.http.app import App
from wheelyard.index import Index
from wheelyard.model.access import parse_actions, parse_pattern
from wheelyard.operations.tokens import TokenRequest


@contextmanager
def running_app(app: App, index: Index, folder: Path) -> Iterator[Site]:
    """Serve `app`, which is one over `index`, from a thread of this process."""
    port = free_port()
    loop = asyncio.new_event_loop()
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        backpressure=1024,  # connections
        log_enabled=False,
    )
    thread = Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    address = f"127.0.0.1:{port}"
    with httpx2.Client(base_url=f"http://{address}", timeout=60, trust_env=False) as client:
        try:
            until(lambda: is_up(client))
            yield Site(address, _token(index), folder, getpid(), client)
        finally:
            loop.call_soon_threadsafe(server.stop)
            thread.join()
            loop.close()


def _token(index: Index) -> str:
    request = TokenRequest(
        name="test",
        actions=parse_actions(["read", "upload", "manage"]),
        projects=(parse_pattern("*"),),
        lifetime=timedelta(days=1),
    )
    return index.tokens.create(request, by="local:test")[0].text
