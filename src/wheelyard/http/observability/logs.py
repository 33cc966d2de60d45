"""
The log on standard error: each event as text, or as one line of JSON.

The JSON has the fields that Google Cloud Logging knows (on Cloud Run, App Engine and GKE):
`severity`, `message`, `httpRequest` and the trace. The access log has one line for each request
except probes without a server error, and no secrets: the path of the URL without its query, and the
principal instead of the credential.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from io import TextIOWrapper
from queue import Full, Queue
from threading import Thread
from typing import Any, Final

from msgspec.json import encode

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import OVERLOADED, RATE_LIMITED, Unavailable, WheelyardError
from wheelyard.http.observability.request_record import (
    CURRENT_REQUEST,
    RequestRecord,
    log_safe,
)
from wheelyard.operations.audit_log import AUDIT_FIELD, EXTRA_FIELDS
from wheelyard.settings.sections import LogSettings

ACCESS_LOGGER: Final = "wheelyard.access"
TRACE: Final = "trace"
"""The attribute of a log record that has its trace, unless that is of `CURRENT_REQUEST`."""
MAX_WAITING_LINES: Final = 10_000
"""How many lines of the access log may wait while standard error takes none."""
FLUSH_TIMEOUT_SECONDS: Final = 1.0
"""How long a server that stops waits for standard error to take the last lines."""

logger = logging.getLogger("wheelyard")

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""
access_logger = logging.getLogger(ACCESS_LOGGER)

NOT_STORE_ERRORS: Final = frozenset({OVERLOADED, RATE_LIMITED, "identity_unavailable"})
"""Codes of `Unavailable` that are not the store's errors, or that are logged elsewhere."""


class TextFormatter(logging.Formatter):
    """Formats a log record as a line of text, and any traceback in the lines after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides
        """Return a record's line, without traceback; a change has the client's address, too."""
        line, request = super().formatMessage(record), CURRENT_REQUEST.get()
        is_change = AUDIT_FIELD in getattr(record, EXTRA_FIELDS, ())
        return f"{line}, from {request.address}" if request and is_change else line


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON, with any traceback in `message`."""

    def __init__(self, project: str = "") -> None:
        """Create a formatter; `project` is the Google Cloud project of the traces, or empty."""
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON line of a log record, without a line end."""
        message = record.getMessage()
        if record.exc_info:  # Error Reporting finds a traceback in the message
            message = f"{message}\n{self.formatException(record.exc_info)}"
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "logger": record.name,
            "message": message,
        }
        request = CURRENT_REQUEST.get()
        trace = getattr(record, TRACE, request.trace if request else None)
        if trace is not None:
            google = "logging.googleapis.com"
            prefix = f"projects/{self._project}/traces/" if self._project else ""
            entry[f"{google}/trace"] = f"{prefix}{trace.id}"
            entry[f"{google}/trace_sampled"] = trace.is_sampled
            entry |= {f"{google}/spanId": trace.span} if trace.span else {}
        entry |= getattr(record, EXTRA_FIELDS, {})
        if request is not None and AUDIT_FIELD in entry:
            entry[AUDIT_FIELD] = {**entry[AUDIT_FIELD], "address": request.address}
        return encode(entry).decode()


class BackgroundHandler(logging.Handler):
    """
    Hands records to a thread, which writes them by another handler.

    So nobody waits for standard error. Records that come while too many wait are dropped, and
    counted.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._waiting = Queue[logging.LogRecord](MAX_WAITING_LINES)
        self._writer: Thread | None = None
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Let a record wait for the thread."""
        if self._writer is None:  # not before: a process that forks has no thread
            self._writer = Thread(target=self._write, daemon=True)
            self._writer.start()
        try:
            self._waiting.put_nowait(record)
        except Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all records are written, for a second at most."""
        written = self._waiting.all_tasks_done
        with written:
            written.wait_for(lambda: not self.is_waiting, FLUSH_TIMEOUT_SECONDS)

    @property
    def is_waiting(self) -> bool:
        """Whether a record is not written yet."""
        return self._waiting.unfinished_tasks > 0

    def _write(self) -> None:
        while True:
            self._handler.handle(self._waiting.get())
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning("%d lines of the access log were dropped: nobody read it", dropped)
            self._waiting.task_done()


def configure_logging(settings: LogSettings) -> None:
    """Send the log to standard error, in the format of the settings."""
    is_json = settings.format == "json"
    if is_json and isinstance(sys.stderr, TextIOWrapper):  # JSON is always UTF-8
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(settings.project) if is_json else TextFormatter())
    logging.basicConfig(handlers=[handler])
    # minted tokens and rejected credentials are logged with INFO
    logger.setLevel(logging.INFO)
    access_logger.setLevel(logging.INFO if settings.access else logging.CRITICAL)
    access_logger.handlers, access_logger.propagate = [BackgroundHandler(handler)], False


def log_request(record: RequestRecord, seconds: float) -> None:
    """Log a request that took `seconds`, unless it is a probe with a status below 500."""
    is_failure = record.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if record.route in PROBE_ROUTES and not is_failure:
        return
    scope, who = record.scope, record.caller.principal if record.caller else None
    path, agent = log_safe(scope["raw_path"]), log_safe(record.user_agent)
    request: dict[str, Any] = {
        "userAgent": agent,
        "remoteIp": record.address,
        "requestMethod": scope["method"],
        "requestUrl": path,
        "status": record.status,
        "protocol": f"HTTP/{scope['http_version']}",
        "latency": f"{seconds:.6f}s",
    }
    if record.size is not None:
        request["responseSize"] = str(record.size)
    access_logger.log(
        logging.WARNING if is_failure else logging.INFO,
        '%s %s "%s %s" %d %s %.3fs "%s"',
        record.address,
        who or "-",
        scope["method"],
        path,
        record.status,
        "-" if record.size is None else record.size,
        seconds,
        agent,
        extra={
            TRACE: record.trace,  # not the record, whose headers have a credential
            EXTRA_FIELDS: {"route": record.route, "who": who, "httpRequest": request},
        },
    )


class StoreErrorLog:
    """Logs store errors that made requests fail, at most six a minute."""

    def __init__(self, monotonic: Callable[[], float], *, is_local: bool) -> None:
        self._rate_limit = LogRateLimit(6, monotonic)
        # the store of a bucket logs its outages itself
        self._ignored = NOT_STORE_ERRORS | (set() if is_local else {"storage_unavailable"})

    def log(self, error: WheelyardError) -> None:
        """Log a store error, at most six a minute; ignore errors that are logged elsewhere."""
        if not isinstance(error, Unavailable) or error.code in self._ignored:
            return
        left_out = self._rate_limit.acquire()
        if left_out is not None:
            more = f" ({left_out} more were refused since the last such line)" if left_out else ""
            logger.warning("a request was refused, %s: %s%s", error.code, error.message, more)
