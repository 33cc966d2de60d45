"""
The access log: one line for every request that was watched.

It has no secret in it: of the URL the path alone, and of the credential only whose it is.
"""

import logging
from http import HTTPStatus
from typing import Any, Final

from wheelyard.http.circumstances import Watched, shown
from wheelyard.operations.audit import FACTS

PROBES: Final = frozenset({"health", "ready", "metrics"})
"""Routes that are asked every few seconds; what went well there is not worth a line."""

logger = logging.getLogger("wheelyard.access")


def write(watched: Watched, address: str, seconds: float) -> None:
    """
    Write the line of one request.

    Args:
        watched: The request, which was watched.
        address: Of its client.
        seconds: How long it took.
    """
    failed = watched.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if watched.route in PROBES and not failed:
        return
    scope = watched.scope
    path = shown(scope["raw_path"])
    agent = shown(dict(scope["headers"]).get(b"user-agent", b""))
    size = "-" if watched.size is None else watched.size
    request: dict[str, Any] = {
        "requestMethod": scope["method"],
        "requestUrl": path,
        "status": watched.status,
        "userAgent": agent,
        "remoteIp": address,
        "latency": f"{seconds:.6f}s",
        "protocol": f"HTTP/{scope['http_version']}",
    }
    if watched.size is not None:
        request["responseSize"] = str(watched.size)
    logger.log(
        logging.WARNING if failed else logging.INFO,
        '%s %s "%s %s" %d %s %.3fs "%s"',
        address,
        watched.who or "-",
        scope["method"],
        path,
        watched.status,
        size,
        seconds,
        agent,
        extra={FACTS: {"httpRequest": request, "route": watched.route, "who": watched.who or None}},
    )
