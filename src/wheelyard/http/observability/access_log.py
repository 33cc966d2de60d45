"""
The access log: one line for each request except probes without a server error, and no secrets.

A line has the path of the URL without its query, and the principal instead of the credential.
"""

import logging
from http import HTTPStatus
from typing import Any, Final

from wheelyard.http.observability.request_record import RequestRecord, log_safe
from wheelyard.operations.audit_log import EXTRA_FIELDS

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""

access_log = logging.getLogger("wheelyard.access")


def log_request(record: RequestRecord, seconds: float) -> None:
    """Log a request that took `seconds`, unless it is a probe with a status below 500."""
    has_failed = record.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if record.route in PROBE_ROUTES and not has_failed:
        return
    scope, principal = record.scope, record.caller.principal if record.caller else ""
    path = log_safe(scope["raw_path"])
    agent = log_safe(dict(scope["headers"]).get(b"user-agent", b""))
    request: dict[str, Any] = {
        "requestMethod": scope["method"],
        "requestUrl": path,
        "status": record.status,
        "userAgent": agent,
        "remoteIp": record.address,
        "latency": f"{seconds:.6f}s",
        "protocol": f"HTTP/{scope['http_version']}",
    }
    if record.size is not None:
        request["responseSize"] = str(record.size)
    access_log.log(
        logging.WARNING if has_failed else logging.INFO,
        '%s %s "%s %s" %d %s %.3fs "%s"',
        record.address,
        principal or "-",
        scope["method"],
        path,
        record.status,
        "-" if record.size is None else record.size,
        seconds,
        agent,
        extra={
            EXTRA_FIELDS: {"httpRequest": request, "route": record.route, "who": principal or None}
        },
    )
