"""
Connections whose client takes nothing of a response: the kernel ends them.

The web server sends a file by itself, and keeps up to 64 KiB of any response for its client. So the
application does not know that a client has stopped to read, and cannot close the connection.
`TCP_USER_TIMEOUT` of Linux can: it ends a connection of which the client has not acknowledged any
of the waiting bytes for so long. A connection on which nothing waits is left alone. Sockets inherit
the option from the one that listens, which Granian makes, and gives to nobody. So it is looked for
among the open files of this process.
"""

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from wheelyard.http.messages import STALL_SECONDS

OPEN_FILES: Final = Path("/proc/self/fd")
INTERNET: Final = (socket.AF_INET, socket.AF_INET6)

logger = logging.getLogger("wheelyard")


class StalledConnections:
    """An application whose process ends the connections of clients that take nothing."""

    def __init__(self, app: ASGIApp, seconds: int = STALL_SECONDS) -> None:
        self._app = app
        self._milliseconds = seconds * 1000
        self._is_set = not hasattr(socket, "TCP_USER_TIMEOUT")  # as on macOS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if not self._is_set and scope["type"] == "http":  # so that the server listens
            self._is_set = True
            self._limit_sockets(int(scope["server"][1]))  # a text, by Granian
        await self._app(scope, receive, send)

    def _limit_sockets(self, port: int) -> None:
        """Set the option of all sockets at a port: the one that listens, and its connections."""
        try:
            descriptors = [int(path.name) for path in OPEN_FILES.iterdir()]
        except OSError as error:
            logger.warning("downloads that stall stay open: %s", error)
            return
        for descriptor in descriptors:
            with suppress(OSError):  # it was closed meanwhile
                self._limit(descriptor, port)

    def _limit(self, descriptor: int, port: int) -> None:
        # a copy, as another thread may close it, and open something else under its number
        copy = os.dup(descriptor)
        try:
            if S_ISSOCK(os.fstat(copy).st_mode):
                connection = socket.socket(fileno=copy)
                if connection.family in INTERNET and connection.getsockname()[1] == port:
                    option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    connection.setsockopt(*option, self._milliseconds)
                connection.detach()
        finally:
            os.close(copy)
