"""
The access log: one line for each request except probes without a server error, and no secrets.

A line has the path of the URL without its query, and the principal instead of the credential.
"""

import logging
from http import HTTPStatus
from typing import Any, Final

from wheelyard.http.observability.log_formatters import ACCESS_LOGGER, REQUEST
from wheelyard.http.observability.request_record import RequestRecord, log_safe
from wheelyard.operations.audit_log import EXTRA_FIELDS

PROBE_ROUTES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are requested every few seconds. Only their failures are logged."""
logger = logging.getLogger(ACCESS_LOGGER)


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
    logger.log(
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
            REQUEST: record,
            EXTRA_FIELDS: {"route": record.route, "who": who, "httpRequest": request},
        },
    )
