"""
The log: one line an event on standard error, for people or as JSON.

The JSON is what Cloud Logging reads, on Cloud Run, App Engine and GKE alike: `severity`, `message`,
`httpRequest` and the trace are fields that it knows, and shows as such.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any, Final

from msgspec.json import encode

from wheelyard.http.observability.request_record import CURRENT_REQUEST, TraceContext
from wheelyard.operations.audit_log import AUDIT_FIELD, EXTRA_FIELDS
from wheelyard.settings.sections import LogSettings

TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """A record as one line for people; of a change, the address that it came from, too."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its caller's name
        """Return the line, without a traceback."""
        line, watched = super().formatMessage(record), CURRENT_REQUEST.get()
        is_change = watched is not None and AUDIT_FIELD in extra_fields(record)
        return f"{line}, from {watched.address}" if watched and is_change else line


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; traces belong to a project of Google Cloud, if there is one."""

    def __init__(self, project: str = "") -> None:
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        message = record.getMessage()
        if record.exc_info:  # Error Reporting knows a traceback in the message as one
            message = f"{message}\n{self.formatException(record.exc_info)}"
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "logger": record.name,
            "message": message,
        }
        watched, facts = CURRENT_REQUEST.get(), extra_fields(record)
        if watched is not None and watched.trace is not None:
            entry |= self._traced(watched.trace)
        if watched is not None and AUDIT_FIELD in facts:
            facts = {**facts, AUDIT_FIELD: {**facts[AUDIT_FIELD], "address": watched.address}}
        entry |= facts
        return encode(entry).decode()

    def _traced(self, trace: TraceContext) -> Mapping[str, object]:
        """Return the fields that Cloud Logging has for a trace."""
        prefix = f"projects/{self._project}/traces/" if self._project else ""
        fields: dict[str, object] = {
            "logging.googleapis.com/trace": f"{prefix}{trace.id}",
            "logging.googleapis.com/trace_sampled": trace.is_sampled,
        }
        if trace.span:
            fields["logging.googleapis.com/spanId"] = trace.span
        return fields


def extra_fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what is said of an event besides its message."""
    facts: Mapping[str, Any] = getattr(record, EXTRA_FIELDS, {})
    return facts


def configure_logging(settings: LogSettings) -> None:
    """Send the log to standard error, one line an event."""
    is_json = settings.format == "json"
    if is_json and isinstance(sys.stderr, TextIOWrapper):  # JSON is UTF-8, whatever a terminal is
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(settings.project) if is_json else TextFormatter())
    logging.basicConfig(handlers=[handler])
    # who got a token for a statement, and why a credential was refused, is for the operator
    logging.getLogger("wheelyard").setLevel(logging.INFO)
