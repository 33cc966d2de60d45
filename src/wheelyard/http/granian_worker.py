"""
Granian, the web server in Rust, on a listening socket of this process.

Granian reads a request in a thread of its own, and calls Python in a second thread. Granian's own
Python part passes every request from there to the event loop. Here an application may answer in
the second thread: that saves two of four changes of threads, which take most of the time of a
small response. So this module uses parts of Granian that are not public, and needs the version
that `pyproject.toml` names.
"""

import asyncio
import resource
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, Protocol, Self

from granian._granian import ASGIWorker, CallbackScheduler, SocketHolder, WorkerSignal
from granian.constants import HTTPModes, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings

from wheelyard.http.protocol.messages import AsgiScope, Receive, Send
from wheelyard.http.protocol.request_headers import HEADERS_LIMIT_BYTES

LISTEN_BACKLOG: Final = 1024
HTTP2_MAX_STREAMS: Final = 64
HTTP2_STREAM_WINDOW_BYTES: Final = 1024 * 1024
"""How much of an HTTP/2 request body a client may send before the server reads it."""
HEADER_TIMEOUT_SECONDS: Final = 10
BUFFER_BYTES: Final = 64 * 1024
"""The longest head of an HTTP/1 request, and how much of a response waits for its client."""
IDLE_THREAD_SECONDS: Final = 30
FILE_THREADS: Final = 512
"""The most threads in which Granian reads files that it sends."""
MAX_FILE_DESCRIPTORS: Final = 65_536
"""The highest file descriptor limit that a process sets for itself."""


class Application(Protocol):
    """An application in two parts, one of which needs no event loop."""

    def answer_at_once(self, scope: AsgiScope, send: Send) -> bool:
        """Answer a request without waiting, in any thread; return whether it was answered."""
        ...

    async def answer(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer any other ASGI scope, in the event loop."""
        ...


class _Scheduler(CallbackScheduler):
    """Receives each request from Granian, in Granian's second thread."""

    def __new__(cls, loop: asyncio.AbstractEventLoop, application: Application) -> Self:
        del application
        return super().__new__(cls, loop, None, None, None, None)  # type: ignore[call-arg]

    def __init__(self, loop: asyncio.AbstractEventLoop, application: Application) -> None:
        super().__init__()
        context, answer_at_once = copy_context(), application.answer_at_once

        async def answer(watcher: Any) -> None:  # noqa: ANN401 - Granian names no type
            protocol = watcher.proto
            try:
                await application.answer(watcher.scope, protocol.receive, protocol.send)
            except asyncio.CancelledError:
                pass  # the client has disconnected, and Granian cancels what waits for it
            except BaseException as error:  # noqa: BLE001 - as any event loop, pass it on
                watcher.err(error)
                return
            watcher.done()

        def start(watcher: Any) -> None:  # noqa: ANN401 - as above
            watcher.taskref(loop.create_task(answer(watcher)))

        def schedule(watcher: Any) -> None:  # noqa: ANN401 - as above
            try:
                is_answered = answer_at_once(watcher.scope, watcher.proto.send)
            except BaseException as error:  # noqa: BLE001 - it would end this thread
                watcher.err(error)
                return
            if is_answered:
                watcher.done()
            else:
                loop.call_soon_threadsafe(start, watcher, context=context)

        self._schedule_fn = schedule


class GranianWorker:
    """
    Serves an application on a listening socket, from `start` to `stop`.

    Args:
        application: What answers the requests.
        descriptor: Of the listening socket, which does not block; Granian closes it at the end.
        pem: A file with a certificate and its key, for TLS. It is spoken with HTTP/1.1 alone, whose
            connections end if no request comes: nothing in front of this server closes idle ones.
        header_timeout_seconds: How long a client of HTTP/1 has for the head of each request.
    """

    def __init__(
        self,
        application: Application,
        descriptor: int,
        pem: Path | None = None,
        header_timeout_seconds: float = HEADER_TIMEOUT_SECONDS,
    ) -> None:
        self._application = application
        self._descriptor = descriptor
        self._pem = None if pem is None else str(pem)
        self._header_timeout_seconds = header_timeout_seconds
        self._signal = WorkerSignal()
        self._has_ended = asyncio.Event()

    def start(self) -> None:
        """Begin to accept connections; a panic in Rust (BaseException) if TLS cannot be spoken."""
        loop = asyncio.get_running_loop()
        self._signal.add_cb(lambda: loop.call_soon_threadsafe(self._has_ended.set))
        create: Any = ASGIWorker  # whose type hints are not true
        worker = create(
            1,
            (None, SocketHolder(self._descriptor, False, LISTEN_BACKLOG)),  # type: ignore[call-arg]  # noqa: FBT003
            None,
            1,  # thread that reads requests
            FILE_THREADS,
            1,  # thread that calls Python
            IDLE_THREAD_SECONDS,
            # by default, Granian accepts only as many connections as the backlog
            _max_connections(),
            HTTPModes.auto if self._pem is None else HTTPModes.http1,
            HTTP1Settings(
                header_read_timeout=round(self._header_timeout_seconds * 1000),
                max_buffer_size=BUFFER_BYTES,
            ),
            HTTP2Settings(
                max_concurrent_streams=HTTP2_MAX_STREAMS,
                max_headers_size=HEADERS_LIMIT_BYTES,
                initial_stream_window_size=HTTP2_STREAM_WINDOW_BYTES,
                # a proxy sends the requests of all clients over one connection: a body that waits
                # for its slot must not use up the window of the others
                initial_connection_window_size=HTTP2_MAX_STREAMS * HTTP2_STREAM_WINDOW_BYTES,
                max_send_buffer_size=BUFFER_BYTES,
            ),
            False,  # WebSockets  # noqa: FBT003
            None,  # static files
            self._pem is not None,
            self._pem,
            self._pem,
            None,  # password of the key
            str(SSLProtocols.tls12),
            None,  # authority of client certificates
            [],
            False,  # client certificates  # noqa: FBT003
            (None, None),  # metrics
        )
        worker.serve_async(_Scheduler(loop, self._application), loop, self._signal)

    async def stop(self) -> None:
        """Accept no more requests; return once the running ones are answered."""
        self._signal.set()
        await self._has_ended.wait()


def _max_connections() -> int:
    """Raise the limit of file descriptors; return the limit of connections, about half of it."""
    limits, most = resource.getrlimit(resource.RLIMIT_NOFILE), MAX_FILE_DESCRIPTORS
    soft, hard = (most if limit == resource.RLIM_INFINITY else limit for limit in limits)
    if soft < min(hard, most):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, most), limits[1]))
            soft = min(hard, most)
    return max(LISTEN_BACKLOG, soft // 2)
