"""
The access log: one line for each request except probes without a server error, and no secrets.

A line has the path of the URL without its query, and the principal instead of the credential. It
is put together from pieces about the client, which are kept for its next requests, and pieces about
the request and its answer, which the fast path keeps. A thread writes all lines of a tenth of a
second at once, and asks for the time of day once. By `logging`, a line would take several times as
long as a page from memory. What is done for each line of the fast path counts: `benchmarks pages`
measures it.
"""

import logging
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from threading import Event, Lock, Thread
from time import sleep
from typing import Final

from msgspec.json import encode

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http.observability.log_formatters import trace_fields
from wheelyard.http.observability.request_record import RequestRecord, log_safe
from wheelyard.http.protocol.messages import AsgiScope, Header
from wheelyard.settings.sections import LogSettings

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""
LOGGER: Final = "wheelyard.access"
logger = logging.getLogger("wheelyard")
CAPACITY_BYTES: Final = 1024 * 1024
"""The memory for the pieces about clients."""
DELAY_SECONDS: Final = 0.1
"""How long a line waits for others."""
SHORT_SECONDS: Final = 0.0005
"""Less is zero, rounded to milliseconds: so are most requests of the fast path."""
MAX_WAITING_LINES: Final = 10_000
"""How many lines may wait while standard error takes none; more are dropped, and counted."""
LINES_AT_ONCE: Final = 100
"""How many lines are written by one call: above 128 KiB, new memory costs more than the lines."""
CLOSE_TIMEOUT_SECONDS: Final = 1.0
"""How long a server that stops waits for standard error to take the last lines."""
LOGGED_HEADERS: Final = frozenset(
    {b"user-agent", b"traceparent", b"x-cloud-trace-context", b"x-forwarded-for"}
)
"""The request headers that the pieces about a client depend on."""

Pieces = tuple[str, ...]
"""Some text of a line, in order; pieces about the client, the time and the duration go between."""
ClientKey = tuple[object, ...]
"""All that the pieces about a client depend on."""


def client_key(scope: AsgiScope, logged: Iterable[Header]) -> ClientKey:
    """Return the key of the pieces about a client; `logged` are its LOGGED_HEADERS."""
    client = scope["client"]
    return client and client[0], *logged


class AccessLog:
    """Writes the access log to standard error; safe to share between threads."""

    def __init__(self, settings: LogSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._is_json = settings.format == "json"
        self._clients = LruCache[ClientKey, Pieces](CAPACITY_BYTES)
        self._second = (0, "")
        self._waiting = deque[tuple[Pieces, Pieces, float, float]]()
        """
        Of each line the pieces about the request and about the client, when the request began
        (monotonic), and how long it took.
        """
        self._dropped = 0
        self._has_lines, self._writing = Event(), Lock()
        Thread(target=self._write_periodically, daemon=True).start()

    def add(self, record: RequestRecord, seconds: float) -> Pieces:
        """
        Log a request that took `seconds`, unless it is a probe with a status below 500.

        Return the pieces about the request and its answer, for `repeat`.
        """
        if record.route in PROBE_ROUTES and record.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return ()
        scope = record.scope
        logged = [header for header in scope["headers"] if header[0] in LOGGED_HEADERS]
        key = client_key(scope, logged)
        client = self._clients.get(key)
        if client is None:
            client = self._json_client(record) if self._is_json else _text_client(record)
            size = sum(map(len, client)) + sum(len(value) for _, value in logged)
            self._clients.put(key, client, 512 + size)
        request = _json_request(record) if self._is_json else _text_request(record)
        self._add_line(request, client, record.started_at, seconds)
        return request

    def repeat(self, request: Pieces, key: ClientKey, started_at: float, seconds: float) -> bool:
        """
        Log a request like one that was logged before; `key` is its client's.

        Return False, and log nothing, if there are no pieces about the request or the client.
        """
        client = self._clients.get(key)
        if client is None or not request:
            return False
        self._add_line(request, client, started_at, seconds)
        return True

    def _add_line(self, request: Pieces, client: Pieces, started_at: float, seconds: float) -> None:
        if len(self._waiting) >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        self._waiting.append((request, client, started_at, seconds))
        if not self._has_lines.is_set():
            self._has_lines.set()

    def close(self) -> None:
        """Write the last lines; give up after a second if nobody reads them."""
        last = Thread(target=self._write, daemon=True)
        last.start()
        last.join(CLOSE_TIMEOUT_SECONDS)

    def _write_periodically(self) -> None:
        while self._has_lines.wait():
            sleep(DELAY_SECONDS)
            self._has_lines.clear()
            self._write()

    def _write(self) -> None:
        """Write the lines that wait."""
        with self._writing:
            ahead = self._runtime.seconds() - self._runtime.monotonic()
            while count := min(len(self._waiting), LINES_AT_ONCE):
                lines = list[str]()
                for _ in range(count):
                    request, client, started_at, seconds = self._waiting.popleft()
                    lines += self._line(request, client, ahead + started_at + seconds, seconds)
                # as `logging` does: a full disk must not stop the server
                with suppress(OSError, ValueError):
                    sys.stderr.write("".join(lines))
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning("%d lines of the access log were dropped: nobody read it", dropped)

    def _line(self, request: Pieces, client: Pieces, ended_at: float, seconds: float) -> Pieces:
        """Return all pieces of the line about a request that ended at a time of day."""
        rounded = "0.000" if seconds < SHORT_SECONDS else f"{seconds:.3f}"
        second = int(ended_at)
        if second != self._second[0]:
            self._second = second, self._format_second(second)
        time, fraction = self._second[1], ended_at - second
        if not self._is_json:
            severity, asked = request
            address, agent = client
            return time, f",{int(fraction * 1e3):03}", severity, address, asked, rounded, agent
        begin, asked, details = request
        address, agent = client
        micros = f".{int(fraction * 1e6):06}"
        exact = f"{seconds:.6f}"
        return begin, time, micros, address, asked, rounded, agent, details, exact, 's"}}\n'

    def _format_second(self, second: int) -> str:
        """Return the date and time without a fraction; of a text line in local time."""
        moment = datetime.fromtimestamp(second, UTC)
        if self._is_json:
            return f"{moment:%Y-%m-%dT%H:%M:%S}"
        return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"

    def _json_client(self, record: RequestRecord) -> Pieces:
        """Return what of an entry is between time and request, and between duration and details."""
        agent = log_safe(record.user_agent)
        request = {"userAgent": agent, "remoteIp": record.address}
        trace = _fields(trace_fields(record.trace, self._settings.project))
        return (
            f'+00:00","message":"{record.address} ',
            f's \\"{_in_json(agent)}\\"",{trace}"httpRequest":{{{_fields(request)}',
        )


def _json_request(record: RequestRecord) -> Pieces:
    """Return what of an entry is before the time, around the duration, and before the latency."""
    scope = record.scope
    entry = {
        "severity": _severity(record),
        "logger": LOGGER,
        "route": record.route,
        "who": _who(record) or None,
    }
    request = {
        "requestMethod": scope["method"],
        "requestUrl": log_safe(scope["raw_path"]),
        "status": record.status,
        "protocol": f"HTTP/{scope['http_version']}",
    }
    if record.size is not None:
        request["responseSize"] = str(record.size)
    before = f'{{{_fields(entry)}"time":"'
    return before, _in_json(_asked(record)), f'{_fields(request)}"latency":"'


def _fields(named: Mapping[str, object]) -> str:
    """Return fields of a JSON object, with a comma after each."""
    return f"{encode(named).decode()[1:-1]}," if named else ""


def _in_json(text: str) -> str:
    """Return text as a part of a JSON string."""
    return encode(text).decode()[1:-1]


def _text_client(record: RequestRecord) -> Pieces:
    """Return what of a line is before the request, and after the duration."""
    return record.address, f's "{log_safe(record.user_agent)}"\n'


def _text_request(record: RequestRecord) -> Pieces:
    """Return what of a line is between time and client, and between client and duration."""
    return f" {_severity(record)} {LOGGER}: ", f" {_asked(record)}"


def _severity(record: RequestRecord) -> str:
    return "WARNING" if record.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "INFO"


def _who(record: RequestRecord) -> str:
    return record.caller.principal if record.caller else ""


def _asked(record: RequestRecord) -> str:
    """Return who has asked for what, and the answer."""
    path, size = log_safe(record.scope["raw_path"]), "-" if record.size is None else record.size
    method = record.scope["method"]
    return f'{_who(record) or "-"} "{method} {path}" {record.status} {size} '
