"""
The log on standard error, as text or as lines of JSON, and the record of a request for it.

The JSON has the fields that Google Cloud Logging knows (on Cloud Run, App Engine and GKE):
`severity`, `message`, `httpRequest` and the trace. The access log has one line for each request
except probes without a server error. It has no secrets: it has the path of the URL without its
query, and the principal instead of the credential.
"""

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from io import TextIOWrapper
from queue import Full, Queue
from threading import Thread
from typing import Any, Final
from urllib.parse import unquote

from msgspec import Struct
from msgspec.json import encode

from wheelyard import errors
from wheelyard.concurrency.runtime import LogRateLimit, Runtime
from wheelyard.http.messages import Headers, Request
from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.operations.audit_log import AUDIT_FIELD, EXTRA_FIELDS
from wheelyard.settings.sections import LogSettings

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD_TRACE = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")

CURRENT_REQUEST: Final[ContextVar[Request | None]] = ContextVar("request", default=None)
"""The request that this thread or task works for."""
ACCESS_LOGGER: Final = "wheelyard.access"
TRACE: Final = "trace"
"""The attribute of a log record that has its trace, unless the trace is of `CURRENT_REQUEST`."""
LOGGED_BYTES: Final = 512
"""How many bytes of a path or a header of a client are logged at most."""
MAX_WAITING_LINES: Final = 10_000
"""How many lines of the access log may wait until standard error takes them."""
FLUSH_TIMEOUT_SECONDS: Final = 1.0
"""How long a server that stops waits until standard error has taken the last lines."""
STORE_ERRORS_PER_MINUTE: Final = 6
PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""
NOT_STORE_ERRORS: Final = frozenset(
    {errors.OVERLOADED, errors.RATE_LIMITED, errors.IDENTITY_UNAVAILABLE}
)
"""Codes of `Unavailable` that are not errors of the store, or that are logged elsewhere."""

logger = logging.getLogger("wheelyard")
access_logger = logging.getLogger(ACCESS_LOGGER)


class TraceContext(Struct, frozen=True):
    """The trace that a request belongs to, as its client or a proxy sent it."""

    id: str
    """32 lower-case hexadecimal digits."""
    span: str
    """The parent span: 16 lower-case hexadecimal digits, or an empty text if none was sent."""
    is_sampled: bool


def parse_trace(headers: Headers) -> TraceContext | None:
    """
    Return the trace context in a request's headers, or None if it is missing or malformed.

    `traceparent` is W3C Trace Context, level 1. `X-Cloud-Trace-Context` is Google's older header.
    """
    if b"traceparent" not in headers and b"x-cloud-trace-context" not in headers:
        return None  # as for most requests
    match = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if match is not None:
        return _w3c_trace(match)
    match = _CLOUD_TRACE.fullmatch(headers.get(b"x-cloud-trace-context", b""))
    if match is None or int(match[1], 16) == 0:
        return None
    # Google's header has the span in decimal digits
    span_number = int(match[2] or 0)
    span = ""
    if 0 < span_number < 2**64:
        span = f"{span_number:016x}"
    return TraceContext(match[1].decode().lower(), span, is_sampled=match[3] == b"1")


def _w3c_trace(match: re.Match[bytes]) -> TraceContext | None:
    """Return the trace context of a match of `_TRACEPARENT`, or None if it is not valid."""
    trace, span, flags = match.groups()
    has_bad_version = match[0].startswith(b"ff")
    has_zero_id = int(trace, 16) == 0 or int(span, 16) == 0
    if has_bad_version or has_zero_id:
        return None
    is_sampled = bool(int(flags, 16) & 1)
    return TraceContext(trace.decode(), span.decode(), is_sampled=is_sampled)


def log_safe(client_bytes: bytes) -> str:
    """Return the text for the log of bytes that a client sent: cut, escaped, and without tokens."""
    text = client_bytes[:LOGGED_BYTES].decode("latin-1")
    # decoded, so that percent-encoded tokens are found, too
    decoded_text = unquote(text)
    redacted_text = redact_tokens(decoded_text)
    if redacted_text != decoded_text:
        text = redacted_text
    # a line of the access log has the text in quotation marks
    return escaped(text).replace('"', "%22")


class TextFormatter(logging.Formatter):
    """Formats a log record as a line of text, and any traceback in the lines after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides
        """Return a record's line without its traceback. A change has its client's address."""
        line = super().formatMessage(record)
        request = CURRENT_REQUEST.get()
        is_change = AUDIT_FIELD in getattr(record, EXTRA_FIELDS, ())
        if request is None or not is_change:
            return line
        return f"{line}, from {request.address}"


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON, with any traceback in `message`."""

    def __init__(self, project: str = "") -> None:
        """Create a formatter for the traces of a Google Cloud project, which may be empty."""
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
        trace: TraceContext | None = None
        if hasattr(record, TRACE):
            # a line of the access log, whose thread works for no request
            trace = getattr(record, TRACE)
        elif request is not None:
            trace = parse_trace(request.joined_headers)
        if trace is not None:
            entry |= self._trace_fields(trace)
        entry |= getattr(record, EXTRA_FIELDS, {})
        if request is not None and AUDIT_FIELD in entry:
            entry[AUDIT_FIELD] = {**entry[AUDIT_FIELD], "address": request.address}
        return encode(entry).decode()

    def _trace_fields(self, trace: TraceContext) -> dict[str, Any]:
        """Return the fields by which Google Cloud Logging joins lines to a trace."""
        # Google finds the trace only by its full name, which has the project
        trace_name = trace.id
        if self._project:
            trace_name = f"projects/{self._project}/traces/{trace.id}"
        fields: dict[str, Any] = {
            "logging.googleapis.com/trace": trace_name,
            "logging.googleapis.com/trace_sampled": trace.is_sampled,
        }
        if trace.span:
            fields["logging.googleapis.com/spanId"] = trace.span
        return fields


class BackgroundHandler(logging.Handler):
    """
    Hands records to a thread, which writes them by another handler.

    So no request waits for standard error. Records that come while too many records wait are
    dropped and counted.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._waiting = Queue[logging.LogRecord](MAX_WAITING_LINES)
        self._writer: Thread | None = None
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue of the thread, or drop and count it if the queue is full."""
        if self._writer is None:  # not before the first record: a forked process has no thread
            self._writer = Thread(target=self._write, daemon=True)
            self._writer.start()
        try:
            self._waiting.put_nowait(record)
        except Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all records are written, for `FLUSH_TIMEOUT_SECONDS` at most."""
        all_written = self._waiting.all_tasks_done
        with all_written:
            all_written.wait_for(lambda: not self.is_waiting, FLUSH_TIMEOUT_SECONDS)

    @property
    def is_waiting(self) -> bool:
        """Whether a record is not written yet."""
        return self._waiting.unfinished_tasks > 0

    def _write(self) -> None:
        """Write records for ever, in the thread of this handler."""
        while True:
            self._handler.handle(self._waiting.get())
            if self._dropped:
                dropped = self._dropped
                self._dropped = 0
                logger.warning("%d lines of the access log were dropped: nobody read it", dropped)
            self._waiting.task_done()


def configure_logging(settings: LogSettings) -> None:
    """
    Send the log to standard error, in the format of the settings.

    The access log is included if the settings ask for it. A thread writes its lines.
    """
    is_json = settings.format == "json"
    if is_json and isinstance(sys.stderr, TextIOWrapper):  # JSON is always UTF-8
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler()
    formatter: logging.Formatter = TextFormatter()
    if is_json:
        formatter = JsonFormatter(settings.project)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler])
    # minted tokens and rejected credentials are logged with INFO
    logger.setLevel(logging.INFO)
    access_level = logging.INFO if settings.access else logging.CRITICAL
    access_logger.setLevel(access_level)
    access_logger.handlers = [BackgroundHandler(handler)]
    access_logger.propagate = False


def log_request(request: Request, seconds: float) -> None:
    """Log a request that took `seconds`, unless it is a probe with a status below 500."""
    status = request.status
    headers = request.joined_headers
    is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if request.route in PROBE_ROUTES and not is_failure:
        return
    scope = request.scope

    # a request that was refused before its authentication has no known caller
    principal = request.caller.principal if request.is_authenticated else None
    path = log_safe(scope["raw_path"])
    agent = log_safe(headers.get(b"user-agent", b""))
    size = "-"
    if request.response is not None:
        response_headers = dict(request.response.header_list)
        size = response_headers.get(b"content-length", b"-").decode()
    entry: dict[str, Any] = {
        "userAgent": agent,
        "remoteIp": request.address,
        "requestMethod": request.method,
        "requestUrl": path,
        "status": status,
        "protocol": f"HTTP/{scope['http_version']}",
        "latency": f"{seconds:.6f}s",
    }
    if size != "-":
        entry["responseSize"] = size
    level = logging.WARNING if is_failure else logging.INFO
    access_logger.log(
        level,
        '%s %s "%s %s" %d %s %.3fs "%s"',
        request.address,
        principal or "-",
        request.method,
        path,
        status,
        size,
        seconds,
        agent,
        extra={
            TRACE: parse_trace(headers),  # and not the headers, which have the credential
            EXTRA_FIELDS: {"route": request.route, "who": principal, "httpRequest": entry},
        },
    )


class StoreErrorLog:
    """Logs errors of the store that made requests fail, at most `STORE_ERRORS_PER_MINUTE`."""

    def __init__(self, runtime: Runtime, *, is_local: bool) -> None:
        self._rate_limit = LogRateLimit(STORE_ERRORS_PER_MINUTE, runtime.monotonic)
        self._ignored_codes = NOT_STORE_ERRORS
        if not is_local:
            # the store of a bucket logs its outages itself
            self._ignored_codes |= {"storage_unavailable"}

    def log(self, error: errors.WheelyardError) -> None:
        """Log an error, unless it is no error of the store, or is logged elsewhere."""
        if not isinstance(error, errors.Unavailable) or error.code in self._ignored_codes:
            return
        suppressed_count = self._rate_limit.acquire()
        if suppressed_count is None:
            return
        note = ""
        if suppressed_count:
            note = f" ({suppressed_count} more were refused since the last such line)"
        logger.warning("a request was refused, %s: %s%s", error.code, error.message, note)
