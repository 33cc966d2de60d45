"""Clients that take nothing of an answer: their connections are ended."""

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.http.servers import memory_index
from tests.http_server import serving_app
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.http import stalled_connections
from wheelyard.http.app import App
from wheelyard.http.messages import PATHSEND, STALL_SECONDS
from wheelyard.http.server_process import served_app
from wheelyard.http.stalled_connections import StalledConnections

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has the option"
)

SIZE = 64 << 20
"""More bytes than the buffers of a connection take."""
REQUEST = b"GET /health HTTP/1.1\r\nHost: index\r\n\r\n"


def connect(port: int) -> socket.socket:
    """Return a connection that takes little before its client reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.settimeout(TIMEOUT_SECONDS)
    connection.connect(("127.0.0.1", port))
    return connection


def limits_at(port: int) -> list[int]:
    """Return the limits of the sockets of this process at a port, in milliseconds."""
    sockets = [path for path in Path("/proc/self/fd").iterdir() if path.is_socket()]
    limits = []
    for path in sockets:
        # another thread of the server may close it now
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as opened:
            if opened.getsockname() == ("127.0.0.1", port):
                limits.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    return limits


@pytest.mark.integration
def test_every_connection_of_a_server_has_a_minute(tmp_path: Path) -> None:
    """The socket that listens has the limit after the first request, and so have connections."""
    index = memory_index(tmp_path)
    with serving_app(served_app(App(index), index.settings)) as settings, ExitStack() as lines:
        for _ in range(3):
            line = lines.enter_context(connect(settings.port))
            line.sendall(REQUEST)
            assert line.recv(100).startswith(b"HTTP/1.1 200")
        limits = limits_at(settings.port)
    assert {*limits} == {STALL_SECONDS * 1000}
    assert len(limits) > 3


@pytest.mark.integration
def test_socket_that_takes_the_place_of_another_has_the_limit() -> None:
    """After a renewal of the certificate the server listens anew, and still has the limit."""

    async def answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer nothing: this is about the sockets."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        """Take what is never sent."""

    limited, port = StalledConnections(answer, look_seconds=0), 0
    for earlier_files in (50, 0, 0):
        with ExitStack() as files:
            # the next socket has another number, or the same one
            for _ in range(earlier_files):
                files.enter_context(Path(os.devnull).open())
            listening = files.enter_context(socket.create_server(("127.0.0.1", port)))
            other = files.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listening.getsockname()[1]
            scope = {"type": "http", "server": ("127.0.0.1", str(port))}
            asyncio.run(limited(scope, receive, send))
            assert limits_at(port) == [STALL_SECONDS * 1000]
            assert limits_at(other.getsockname()[1]) == [0]  # it is not the server's


@pytest.mark.integration
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "bytes"])
def test_connection_that_stalls_is_ended(tmp_path: Path, *, is_file: bool) -> None:
    """The server ends the connection of a client that reads no more, whatever it gets."""
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, SIZE)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % SIZE)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if is_file:
            await send({"type": PATHSEND, "path": str(large)})
        else:
            await send({"type": "http.response.body", "body": bytes(SIZE)})

    with (
        serving_app(StalledConnections(answer, 1)) as settings,
        connect(settings.port) as line,
    ):
        line.sendall(REQUEST)
        assert line.recv(100).startswith(b"HTTP/1.1 200")

        connected = len(limits_at(settings.port))
        # without a byte of the client, which would put off the look of the kernel
        until(lambda: len(limits_at(settings.port)) < connected)


def test_a_machine_without_a_list_of_sockets_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Where the sockets of a server are not listed, requests are answered, and the log says so."""
    monkeypatch.setattr(stalled_connections, "OPEN_FILES", tmp_path / "fd")
    answered = list[Scope]()

    async def answer(scope: Scope, _receive: Receive, _send: Send) -> None:
        answered.append(scope)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        """Take what is never sent."""

    limited = StalledConnections(answer, look_seconds=0)
    for _ in range(2):
        scope = {"type": "http", "server": ("127.0.0.1", "80")}
        asyncio.run(limited(scope, receive, send))

    assert len(answered) == 2
    (message,) = caplog.messages
    assert message.startswith("downloads that stall stay open: ")
