"""An application in this process, on a port, for what takes other limits than the real ones."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from threading import Thread

import httpx2
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from tests.clients.servers import free_port
from tests.http.servers import Site, is_up, token_of
from tests.waiting import until
from wheelyard.http.app import App
from wheelyard.index import Index


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
            yield Site(address, token_of(index, can="read,upload,manage"), folder, getpid(), client)
        finally:
            loop.call_soon_threadsafe(server.stop)
            thread.join()
            loop.close()
