"""
The access log: one line for each request except probes without a server error, and no secrets.

A line has the path of the URL without its query, and the principal instead of the credential. It
is made from the parts of the last line about an equal request. A thread writes all lines of a tenth
of a second at once. By `logging`, a line would take several times as long as a page from memory.
What is done for each line of the fast path counts: `benchmarks pages` measures it.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from threading import Event, Lock, Thread
from time import sleep
from typing import Any, Final

from msgspec.json import encode

from wheelyard.concurrency.caches import LruCache
from wheelyard.http.observability.log_formatters import trace_fields
from wheelyard.http.observability.request_record import RequestRecord, log_safe
from wheelyard.http.protocol.messages import AsgiScope, Response
from wheelyard.model.access import Caller
from wheelyard.settings.sections import LogSettings

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""
LOGGER: Final = "wheelyard.access"
logger = logging.getLogger("wheelyard")
CAPACITY_BYTES: Final = 1024 * 1024
"""The memory for the parts of lines."""
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
_LOGGED_HEADERS: Final = frozenset(
    {b"user-agent", b"traceparent", b"x-cloud-trace-context", b"x-forwarded-for"}
)
"""The request headers that a line depends on."""

LineKey = tuple[object, ...]
"""All that a line depends on, but the time and the seconds."""
NO_KEY: Final[LineKey] = ()


def repeated_key(scope: AsgiScope, response: Response, caller: Caller, route: str) -> LineKey:
    """Return the key of the line about a request of the fast path."""
    client = scope["client"]
    key = [scope["raw_path"], scope["method"], scope["http_version"], client and client[0]]
    key += (caller.principal, route, response.status)
    for name, value in scope["headers"]:
        if name in _LOGGED_HEADERS:
            key += (name, value)
    for name, value in response.headers:
        if name == b"content-length":
            key.append(value)
    return tuple(key)


class AccessLog:
    """Writes the access log to standard error; safe to share between threads."""

    def __init__(self, settings: LogSettings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._is_json = settings.format == "json"
        self._parts = LruCache[LineKey, tuple[str, ...]](CAPACITY_BYTES)
        self._second = (0, "")
        self._waiting = deque[tuple[tuple[str, ...], datetime, float]]()
        """The parts, the time and the seconds of each line."""
        self._dropped = 0
        self._has_lines, self._writing = Event(), Lock()
        Thread(target=self._write_periodically, daemon=True).start()

    def add(self, record: RequestRecord, seconds: float, key: LineKey = NO_KEY) -> None:
        """
        Log a request that took `seconds`, unless it is a probe with a status below 500.

        With `key`, `repeat` will log requests of the same key.
        """
        if record.route in PROBE_ROUTES and record.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        who = record.caller.principal if record.caller else ""
        key = key or _key_of(record, who)
        parts = self._parts.get(key)
        if parts is None:
            parts = self._json_parts(record, who) if self._is_json else _text_parts(record, who)
            self._parts.put(key, parts, 512 + 2 * sum(map(len, parts)))
        self._add_line(parts, seconds)

    def repeat(self, key: LineKey, seconds: float) -> bool:
        """Log a request like one that was logged before; return False if that is not known."""
        parts = self._parts.get(key)
        if parts is None:
            return False
        self._add_line(parts, seconds)
        return True

    def _add_line(self, parts: tuple[str, ...], seconds: float) -> None:
        if len(self._waiting) >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        self._waiting.append((parts, self._now(), seconds))
        if not self._has_lines.is_set():
            self._has_lines.set()

    def _line(self, parts: tuple[str, ...], now: datetime, seconds: float) -> str:
        rounded = "0.000" if seconds < SHORT_SECONDS else f"{seconds:.3f}"
        if self._is_json:
            begin, middle, between, end = parts
            time = now.isoformat(timespec="microseconds")
            return f"{begin}{time}{middle}{rounded}{between}{seconds:.6f}{end}"
        middle, end = parts
        return f"{self._local_time(now)}{middle}{rounded}{end}"

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
            take = self._waiting.popleft
            while count := min(len(self._waiting), LINES_AT_ONCE):
                text = "".join([self._line(*take()) for _ in range(count)])
                # as `logging` does: a full disk must not stop the server
                with suppress(OSError, ValueError):
                    sys.stderr.write(text)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning("%d lines of the access log were dropped: nobody read it", dropped)

    def _local_time(self, now: datetime) -> str:
        """Return the time as `logging` writes it."""
        second, text = self._second
        whole = int(now.timestamp())
        if whole != second:
            text = f"{now.astimezone():%Y-%m-%d %H:%M:%S}"
            self._second = whole, text
        return f"{text},{now.microsecond // 1000:03d}"

    def _json_parts(self, record: RequestRecord, who: str) -> tuple[str, ...]:
        """Return what is before, between and after the time, the seconds, and the latency."""
        scope = record.scope
        entry = {
            "severity": _severity(record),
            "logger": LOGGER,
            **trace_fields(record.trace, self._settings.project),
            "route": record.route,
            "who": who or None,
        }
        request: dict[str, Any] = {
            "requestMethod": scope["method"],
            "requestUrl": log_safe(scope["raw_path"]),
            "status": record.status,
            "userAgent": log_safe(record.user_agent),
            "remoteIp": record.address,
            "protocol": f"HTTP/{scope['http_version']}",
        }
        if record.size is not None:
            request["responseSize"] = str(record.size)
        before, after = (encode(each).decode()[1:-1] for each in _message_parts(record, who))
        return (
            f'{encode(entry).decode()[:-1]},"time":"',
            f'","message":"{before}',
            f'{after}","httpRequest":{encode(request).decode()[:-1]},"latency":"',
            's"}}\n',
        )


def _key_of(record: RequestRecord, who: str) -> LineKey:
    scope = record.scope
    start = (scope["raw_path"], scope["method"], scope["http_version"], record.user_agent)
    return (*start, record.route, record.status, record.size, who, record.address, record.trace)


def _text_parts(record: RequestRecord, who: str) -> tuple[str, ...]:
    """Return what is before and after the seconds, without the time."""
    before, after = _message_parts(record, who)
    return f" {_severity(record)} {LOGGER}: {before}", f"{after}\n"


def _severity(record: RequestRecord) -> str:
    return "WARNING" if record.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "INFO"


def _message_parts(record: RequestRecord, who: str) -> tuple[str, str]:
    """Return the message before and after the seconds."""
    path, agent = log_safe(record.scope["raw_path"]), log_safe(record.user_agent)
    size = "-" if record.size is None else record.size
    request = f'"{record.scope["method"]} {path}" {record.status} {size}'
    return f"{record.address} {who or '-'} {request} ", f's "{agent}"'
