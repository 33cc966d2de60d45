"""
Error responses: the HTTP status of each error, `Retry-After`, and the JSON body.

    {"message": "for people", "code": "400 for uv", "title": "Bad Request", "error": "for programs"}

The media type is exactly `application/json`, because uv shows `code` for no other.
"""

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
"""The error codes with a status other than that of their type."""

REASON_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""RFC 9110's names; Python has these four from 3.13 on."""

WWW_AUTHENTICATE: Final[Header] = (b"www-authenticate", b'Basic realm="wheelyard", charset="UTF-8"')
RETRY_AFTER_SECONDS: Final = 5


def error_response_for(error: WheelyardError) -> Response:
    """Return the response to a request that has failed with `error`."""
    return error_response(status_of(error), error.code, error.message, error.short)


def status_of(error: WheelyardError) -> int:
    """Return the HTTP status of an error."""
    return STATUS_BY_CODE.get(error.code, STATUS_BY_TYPE[type(error)])


def retry_after(seconds: int = RETRY_AFTER_SECONDS) -> Header:
    """Return a Retry-After header."""
    return (b"retry-after", b"%d" % seconds)


def error_response(status: int, code: str, message: str, short: str, *headers: Header) -> Response:
    """Return an error response; programs read `code`, and uv shows `short`."""
    title = REASON_PHRASES[status]
    body = {"message": message, "code": f"{status} {short}", "title": title, "error": code}
    return make_response(
        status, JSON, encode(body), CONTENT_SECURITY_POLICY, *_default_headers(status), *headers
    )


def path_not_found() -> Response:
    """Return the 404 response to a path without a route."""
    message = "There is nothing at this path. The index is at /simple/, uploads go to /legacy/."
    return error_response(404, "not_found", message, "Not found.")


def file_not_found() -> Response:
    """Return the 404 response to a file that does not exist or is hidden from the caller."""
    message = "There is nothing of this name here. Check the spelling, or upload it first."
    return error_response(404, "not_found", message, "Not found.")


def method_not_allowed(method: str, allowed: Sequence[str]) -> Response:
    """Return the response to OPTIONS (204), or to a method that the path does not have (405)."""
    methods = ", ".join(allowed)
    header = (b"allow", methods.encode())
    if method == "OPTIONS":
        return Response(204, (header, NOSNIFF, NO_STORE))
    message = f"This path does not take that method. Use {methods}."
    return error_response(405, "method_not_allowed", message, "Method not allowed.", header)


def read_only_error() -> Response:
    """Return the 403 response to a change if [server] read_only is set."""
    message = "Nothing is uploaded or changed by this server. Use another one of the same index."
    return error_response(403, "read_only", message, "This index is read-only.")


def internal_error() -> Response:
    """Return the 500 response to a request that met a defect of the server."""
    message = "The index made a mistake of its own. Try again, and tell its operator."
    return error_response(500, "internal_error", message, "Internal error.")


def _default_headers(status: int) -> tuple[Header, ...]:
    if status == HTTPStatus.UNAUTHORIZED:
        return (WWW_AUTHENTICATE, NO_STORE)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return (retry_after(), NO_STORE)
    return (NO_STORE,)
