"""The access log: one line for each request."""

import logging
from http import HTTPStatus
from typing import Any, Final

from wheelyard.http.observability.request_record import (
    RequestRecord,
    redacted_for_log,
)
from wheelyard.operations.audit_log import EXTRA_FIELDS

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are asked every few seconds; what went well there is not worth a line."""
access_log = logging.getLogger("wheelyard.access")


def log_request(watched: RequestRecord, seconds: float) -> None:
    """Write the line of one request."""
    failed = watched.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if watched.route in PROBE_ROUTES and not failed:
        return
    scope = watched.scope
    path = redacted_for_log(scope["raw_path"])
    agent = redacted_for_log(dict(scope["headers"]).get(b"user-agent", b""))
    request: dict[str, Any] = {
        "requestMethod": scope["method"],
        "requestUrl": path,
        "status": watched.status,
        "userAgent": agent,
        "remoteIp": watched.address,
        "latency": f"{seconds:.6f}s",
        "protocol": f"HTTP/{scope['http_version']}",
    }
    if watched.size is not None:
        request["responseSize"] = str(watched.size)
    access_log.log(
        logging.WARNING if failed else logging.INFO,
        '%s %s "%s %s" %d %s %.3fs "%s"',
        watched.address,
        watched.principal or "-",
        scope["method"],
        path,
        watched.status,
        "-" if watched.size is None else watched.size,
        seconds,
        agent,
        extra={
            EXTRA_FIELDS: {
                "httpRequest": request,
                "route": watched.route,
                "who": watched.principal or None,
            }
        },
    )
