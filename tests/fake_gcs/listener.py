"""
The socket: one thread a connection, many requests a connection, and a stop that leaves nothing.

The port is kept over a stop, so that a test can have the server refuse connections and come back.
It is a reserved one: a server of another test would answer at one that the system has chosen. In a
network of this process, it is none of the system at all.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Event, Thread

from tests.fake_gcs.wire import DisconnectedError, Reply, Request, read_request, send
from tests.in_process_network import NetworkOrPorts
from tests.ports import free_port

BACKLOG = 1024
TICK = 0.2
"""Seconds after which the acceptor looks whether it is to stop, where nothing wakes it."""
GOODBYE = 10.0
"""Seconds that a stop waits for the threads of connections."""

Answer = Callable[[Request], Reply]


class Listener:
    """Accepts connections on a port of 127.0.0.1, or of a network, and answers their requests."""

    def __init__(self, answer: Answer, closing: Event, network: NetworkOrPorts = None) -> None:
        self.port = free_port() if network is None else network.free_port()
        self._network = network
        self.dead = Event()
        self._closing = closing
        self._answer = answer
        self._changed = Condition()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._acceptor: Thread | None = None

    def start(self) -> None:
        """Accept connections, each time on the same port."""
        self._closing.clear()
        if self._network is None:
            self._open_port()
        else:
            self._network.listen(self.port, self._take)

    def _open_port(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(BACKLOG)
        listening.settimeout(TICK)
        self._listening = listening
        self._acceptor = Thread(target=self._accept, args=(listening,), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close the port and every connection; new ones are refused."""
        self._closing.set()
        if self._network is not None:
            self._network.refuse(self.port)
        self._close_port()
        self.hang_up()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, GOODBYE)

    def _close_port(self) -> None:
        if self._listening is None or self._acceptor is None:
            return
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listening.close()
        self._listening = None

    def hang_up(self) -> None:
        """Break off every connection that is open."""
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)
        Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        try:
            # what goes wrong on the way to the client is the client's affair
            with suppress(DisconnectedError, OSError):
                while request := read_request(file):
                    self._exchange(connection, request)
        finally:
            # closed here and nowhere else: what was left unread makes it a reset, as it should
            file.close()
            connection.close()
            with self._changed:
                self._open.discard(connection)
                self._changed.notify_all()

    def _exchange(self, connection: socket.socket, request: Request) -> None:
        if self.dead.is_set():
            while self.dead.is_set() and not self._closing.wait(TICK):
                pass
            raise DisconnectedError  # who was not answered in time is not answered late
        if request.header("expect") == "100-continue":  # else botocore waits a second for that
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        reply = self._answer(request)
        request.body.drain()
        send(connection, reply)
        if (request.header("connection") or "").lower() == "close":
            raise DisconnectedError
