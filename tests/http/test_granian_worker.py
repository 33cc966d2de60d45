"""The web server, with an application of its own."""

import asyncio
import socket

import httpx2
import pytest

from tests.plain_http import LOCALLY
from wheelyard.http.granian_worker import GranianWorker
from wheelyard.http.protocol.messages import AsgiScope, Receive, Send, make_response, whole_response


class FaultyApplication:
    """An application that fails in one of its parts."""

    def answer_at_once(self, scope: AsgiScope, send: Send) -> bool:
        """Answer nothing."""
        del send
        if scope["path"] == "/at-once":
            raise ValueError
        return False

    async def answer(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer everything else."""
        del receive
        if scope["path"] == "/later":
            raise ValueError
        for message in whole_response(make_response(200, b"text/plain", b"here"), "GET"):
            await send(message)


async def statuses(*paths: str) -> list[int]:
    """Return the statuses of the responses to requests, one after another."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    worker = GranianWorker(FaultyApplication(), listener.detach())
    worker.start()
    async with httpx2.AsyncClient(base_url=url, timeout=60, **LOCALLY) as client:
        found = [(await client.get(path)).status_code for path in paths]
    await worker.stop()
    return found


@pytest.mark.integration
def test_fault() -> None:
    """A fault of the application is answered with 500, and the next request as ever."""
    paths = ("/", "/at-once", "/", "/later", "/")

    assert asyncio.run(statuses(*paths)) == [200, 500, 200, 500, 200]
