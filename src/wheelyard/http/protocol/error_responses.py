"""
Faults as replies: the status of each family, and the shape of a refusal.

    {"message": "for people", "code": "400 for uv", "title": "Bad Request", "error": "for programs"}

The type is exactly `application/json`: uv shows `code` only then.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from msgspec.json import encode

from wheelyard.errors import (
    RATE_LIMITED,
    STORAGE_FULL,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.protocol.messages import (
    CONTENT_SECURITY_POLICY,
    JSON,
    NO_STORE,
    NOSNIFF,
    Header,
    Response,
    make_response,
)

STATUS_BY_TYPE: Final[dict[type[WheelyardError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unavailable: 503,
}
HEADERS_TOO_LARGE: Final = "headers_too_large"
STATUS_BY_CODE: Final = {
    STORAGE_FULL: 507,
    RATE_LIMITED: 429,
    HEADERS_TOO_LARGE: 431,
}
"""Where a code has a status of its own."""

REASON_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""RFC 9110's names; Python has these four from 3.13 on."""

CHALLENGE: Final[Header] = (b"www-authenticate", b'Basic realm="wheelyard", charset="UTF-8"')

logger = logging.getLogger("wheelyard")


def error_response_for(fault: WheelyardError) -> Response:
    """Return the reply for a fault."""
    return error_response(status_of(fault), fault.code, fault.message, fault.short)


def status_of(fault: WheelyardError) -> int:
    """Return the status of a fault."""
    return STATUS_BY_CODE.get(fault.code, STATUS_BY_TYPE[type(fault)])


def retry_after(seconds: int = 5) -> Header:
    """Return the header that says when to try again."""
    return (b"retry-after", b"%d" % seconds)


def error_response(status: int, code: str, message: str, short: str, *headers: Header) -> Response:
    """Return a refusal; `code` is for programs, `short` is what uv shows."""
    title = REASON_PHRASES[status]
    body = {"message": message, "code": f"{status} {short}", "title": title, "error": code}
    return make_response(
        status, JSON, encode(body), CONTENT_SECURITY_POLICY, *_headers_of(status), *headers
    )


def path_not_found() -> Response:
    """Return the reply for a path that leads nowhere."""
    message = "There is nothing at this path. The index is at /simple/, uploads go to /legacy/."
    return error_response(404, "not_found", message, "Not found.")


def file_not_found() -> Response:
    """Return the reply for what is not there, or not for this caller."""
    message = "There is nothing of this name here. Check the spelling, or upload it first."
    return error_response(404, "not_found", message, "Not found.")


def method_not_allowed(method: str, allowed: Sequence[str]) -> Response:
    """Return the reply to a method that a path does not take, or to OPTIONS."""
    methods = ", ".join(allowed)
    header = (b"allow", methods.encode())
    if method == "OPTIONS":
        return Response(204, (header, NOSNIFF, NO_STORE))
    message = f"This path does not take that method. Use {methods}."
    return error_response(405, "method_not_allowed", message, "Method not allowed.", header)


def read_only_error() -> Response:
    """Return the refusal of a change where [server] read_only is set."""
    message = "Nothing is uploaded or changed by this server. Use another one of the same index."
    return error_response(403, "read_only", message, "This index is read-only.")


def internal_error() -> Response:
    """Return the reply for a defect of ours; the log has the rest."""
    message = "The index made a mistake of its own. Try again, and tell its operator."
    return error_response(500, "internal_error", message, "Internal error.")


def _headers_of(status: int) -> tuple[Header, ...]:
    if status == HTTPStatus.UNAUTHORIZED:
        return (CHALLENGE, NO_STORE)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return (retry_after(), NO_STORE)
    return (NO_STORE,)
