"""
The end of connections whose client takes nothing of a response, by the kernel.

The web server sends a file by itself, and keeps up to 64 KiB of any response for its client. So the
application does not know that a client has stopped reading, and cannot close the connection. The
kernel of Linux can: with the option `TCP_USER_TIMEOUT`, it ends a connection whose client has not
acknowledged any of the waiting bytes for so long. A connection without waiting bytes is left alone.
Sockets inherit the option from the socket that listens, which Granian makes, and gives to nobody.
So this module looks for that socket among the open files of the process, and looks again once
another socket has taken its place, as after a renewal of the certificate.
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
"""How often the listening sockets are looked at: a page from memory should cost no system call."""
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
        self._has_option = hasattr(socket, "TCP_USER_TIMEOUT")  # macOS does not have it
        self._listening_inodes: dict[int, int] = {}
        """The inode of each listening socket that has the option, by its descriptor."""
        self._looked_at = -inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        # only a request shows that the server listens already
        if self._has_option and scope["type"] == "http":
            self._look(scope)
        await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        """Set the option of the sockets if others than before listen now."""
        now = get_running_loop().time()
        if now - self._looked_at < self._look_seconds:
            return
        self._looked_at = now
        if not self._is_set():
            _, port = scope["server"]  # the port is a text, by Granian
            self._limit_sockets(int(port))

    def _is_set(self) -> bool:
        """Return whether the sockets that have the option still are those that listen."""
        if not self._listening_inodes:
            return False
        try:
            for descriptor, inode in self._listening_inodes.items():
                if os.fstat(descriptor).st_ino != inode:
                    return False
        except OSError:  # a socket was closed
            return False
        return True

    def _limit_sockets(self, port: int) -> None:
        """Set the option of all sockets at a port: of those that listen, and of connections."""
        try:
            descriptors = [int(path.name) for path in OPEN_FILES.iterdir()]
        except OSError as error:
            logger.warning("downloads that stall stay open: %s", error)
            self._has_option = False
            return
        self._listening_inodes.clear()
        for descriptor in descriptors:
            with suppress(OSError):  # the file was closed meanwhile
                self._limit_socket(descriptor, port)

    def _limit_socket(self, descriptor: int, port: int) -> None:
        """Set the option of an open file that is a socket at a port, and note it if it listens."""
        # a copy, as another thread may close the file, and open another one under its number
        copy = os.dup(descriptor)
        try:
            status = os.fstat(copy)
            if not S_ISSOCK(status.st_mode):
                return
            candidate = socket.socket(fileno=copy)
            try:
                if candidate.family in INTERNET and candidate.getsockname()[1] == port:
                    candidate.setsockopt(
                        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._milliseconds
                    )
                    if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        self._listening_inodes[descriptor] = status.st_ino
            finally:
                # also after an error: the object must not close the copy a second time, which
                # may be another file by then
                candidate.detach()
        finally:
            os.close(copy)
