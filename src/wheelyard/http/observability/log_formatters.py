"""
The log on standard error: each event as text, or as one line of JSON.

The JSON has the fields that Google Cloud Logging knows (on Cloud Run, App Engine and GKE):
`severity`, `message`, `httpRequest` and the trace.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from queue import Full, Queue
from threading import Thread
from typing import Any, Final

from msgspec.json import encode

from wheelyard.http.observability.request_record import CURRENT_REQUEST, RequestRecord, TraceContext
from wheelyard.operations.audit_log import AUDIT_FIELD, EXTRA_FIELDS
from wheelyard.settings.sections import LogSettings

ACCESS_LOGGER: Final = "wheelyard.access"
REQUEST: Final = "request"
"""The attribute of a log record that has its request, unless that is `CURRENT_REQUEST`."""
MAX_WAITING_LINES: Final = 10_000
"""How many lines of the access log may wait while standard error takes none."""
FLUSH_TIMEOUT_SECONDS: Final = 1.0
"""How long a server that stops waits for standard error to take the last lines."""

logger = logging.getLogger("wheelyard")


class TextFormatter(logging.Formatter):
    """Formats a log record as a line of text, and any traceback in the lines after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides
        """Return a record's line, without traceback; a change has the client's address, too."""
        line, request = super().formatMessage(record), _request_of(record)
        is_change = AUDIT_FIELD in extra_fields(record)
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
        request, fields = _request_of(record), extra_fields(record)
        if request is not None:
            entry |= trace_fields(request.trace, self._project)
        if request is not None and AUDIT_FIELD in fields:
            fields = {**fields, AUDIT_FIELD: {**fields[AUDIT_FIELD], "address": request.address}}
        entry |= fields
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


def _request_of(record: logging.LogRecord) -> RequestRecord | None:
    """Return the request that a log record is about, if any."""
    request: RequestRecord | None = getattr(record, REQUEST, None)
    return request or CURRENT_REQUEST.get()


def trace_fields(trace: TraceContext | None, project: str) -> dict[str, object]:
    """Return the fields by which Cloud Logging finds the trace of an event."""
    if trace is None:
        return {}
    prefix = f"projects/{project}/traces/" if project else ""
    fields: dict[str, object] = {
        "logging.googleapis.com/trace": f"{prefix}{trace.id}",
        "logging.googleapis.com/trace_sampled": trace.is_sampled,
    }
    return fields | ({"logging.googleapis.com/spanId": trace.span} if trace.span else {})


def extra_fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the structured fields that a log record has besides its message, by name."""
    return dict(getattr(record, EXTRA_FIELDS, {}))


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
    access = logging.getLogger(ACCESS_LOGGER)
    access.setLevel(logging.INFO if settings.access else logging.CRITICAL)
    access.handlers, access.propagate = [BackgroundHandler(handler)], False
