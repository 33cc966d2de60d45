"""
Connections whose client takes nothing of a response: the kernel ends them.

The web server sends a file by itself, and keeps up to 64 KiB of any response for its client. So the
application does not know that a client has stopped to read, and cannot close the connection.
`TCP_USER_TIMEOUT` of Linux can: it ends a connection of which the client has not acknowledged any
of the waiting bytes for so long. A connection on which nothing waits is left alone. Sockets inherit
the option from the one that listens, which Granian makes, and gives to nobody. So it is looked for
among the open files of this process, and again once another one has taken its place, as after a
renewal of the certificate.
"""

import logging
import os
import socket
from asyncio import get_running_loop
from contextlib import suppress
from math import inf
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from wheelyard.http.messages import STALL_SECONDS

LOOK_SECONDS: Final = 1.0
"""How often the sockets that listen are looked at: a page from memory should not cost a call."""
OPEN_FILES: Final = Path("/proc/self/fd")
INTERNET: Final = (socket.AF_INET, socket.AF_INET6)

logger = logging.getLogger("wheelyard")


class StalledConnections:
    """An application whose process ends the connections of clients that take nothing."""

    def __init__(
        self, app: ASGIApp, seconds: int = STALL_SECONDS, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._app = app
        self._milliseconds = seconds * 1000
        self._look_seconds = look_seconds
        self._has_option = hasattr(socket, "TCP_USER_TIMEOUT")  # macOS has not
        self._listening: dict[int, int] = {}
        """The inode of each socket that listens and has the option, by its descriptor."""
        self._looked_at = -inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if self._has_option and scope["type"] == "http":  # so that the server listens
            self._look(scope)
        await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        """Set the option again if other sockets listen now."""
        now = get_running_loop().time()
        if now - self._looked_at < self._look_seconds:
            return
        self._looked_at = now
        if not self._is_set():
            self._limit_sockets(int(scope["server"][1]))  # a text, by Granian

    def _is_set(self) -> bool:
        """Return whether the sockets that listen still are those that have the option."""
        if not self._listening:
            return False
        try:
            return all(os.fstat(number).st_ino == node for number, node in self._listening.items())
        except OSError:  # one was closed
            return False

    def _limit_sockets(self, port: int) -> None:
        """Set the option of all sockets at a port: the one that listens, and its connections."""
        try:
            descriptors = [int(path.name) for path in OPEN_FILES.iterdir()]
        except OSError as error:
            logger.warning("downloads that stall stay open: %s", error)
            self._has_option = False
            return
        self._listening.clear()
        for descriptor in descriptors:
            with suppress(OSError):  # it was closed meanwhile
                self._limit(descriptor, port)

    def _limit(self, descriptor: int, port: int) -> None:
        """Set the option of a socket at a port, and note it if it listens."""
        # a copy, as another thread may close it, and open something else under its number
        copy = os.dup(descriptor)
        try:
            if S_ISSOCK(os.fstat(copy).st_mode):
                connection = socket.socket(fileno=copy)
                if connection.family in INTERNET and connection.getsockname()[1] == port:
                    connection.setsockopt(
                        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._milliseconds
                    )
                    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        self._listening[descriptor] = os.fstat(copy).st_ino
                connection.detach()  # the object must not close the copy a second time
        finally:
            os.close(copy)
