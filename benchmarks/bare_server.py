"""
The least that a server on Granian does: a function that returns prepared bytes.

    python -m benchmarks.bare_server asgi|rsgi PORT FILE

It answers each request with the bytes of FILE, which are compressed with gzip, and with the headers
of one of wheelyard's pages; a request for `/unchanged` with 304. It looks at nothing else.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

HEADERS = {
    "content-type": "application/vnd.pypi.simple.v1+json",
    "content-encoding": "gzip",
    "etag": '"0123456789abcdef0123456789abcdef"',
    "vary": "accept, accept-encoding, authorization",
    "cache-control": "private, no-cache",
    "x-content-type-options": "nosniff",
    "x-pypi-last-serial": "1",
}
UNCHANGED = "/unchanged"
Message = dict[str, Any]


def asgi(body: bytes) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that answers with these bytes."""
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    length = (b"content-length", b"%d" % len(body))
    start: Message = {
        "type": "http.response.start",
        "status": 200,
        "headers": [*headers, length],
    }
    rest: Message = {"type": "http.response.body", "body": body}
    unchanged: Message = {"type": "http.response.start", "status": 304, "headers": headers}
    nothing: Message = {"type": "http.response.body", "body": b""}

    async def answer(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        is_unchanged = scope["path"] == UNCHANGED
        await send(unchanged if is_unchanged else start)
        await send(nothing if is_unchanged else rest)

    return answer


def rsgi(body: bytes) -> Callable[..., Awaitable[None]]:
    """Return an RSGI application that answers with these bytes."""
    headers = [*HEADERS.items()]

    async def answer(scope: Any, protocol: Any) -> None:  # noqa: ANN401 - Granian names no type
        if scope.path == UNCHANGED:
            protocol.response_empty(304, headers)
        else:
            protocol.response_bytes(200, headers, body)

    return answer


def main() -> None:
    """Serve a file until a signal ends this process."""
    interface, port, file = sys.argv[1:]
    body = Path(file).read_bytes()
    app = asgi(body) if interface == "asgi" else rsgi(body)
    server = Server(
        app,
        port=int(port),
        interface=Interfaces(interface),
        websockets=False,
        log_enabled=False,
    )
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
