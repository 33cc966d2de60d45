"""
Error responses: the HTTP status of each error, `Retry-After`, and the JSON body.

    {"message": "for people", "code": "400 for uv", "title": "Bad Request", "error": "for programs"}

The media type is exactly `application/json`, because uv shows `code` for no other.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from msgspec.json import encode
from msgspec.structs import replace

from wheelyard import errors
from wheelyard.errors import Unavailable, WheelyardError, first_sentence
from wheelyard.http import messages
from wheelyard.http.messages import NO_STORE, NOSNIFF, Header, Response, make_response
from wheelyard.remedies import Advice
from wheelyard.rendering.advice import Terminal

STATUS_BY_TYPE: Final[dict[type[WheelyardError], int]] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NoSuchPage: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Unavailable: 503,
}
HEADERS_TOO_LARGE: Final = "headers_too_large"
PRECONDITION_FAILED: Final = "precondition_failed"
UNKNOWN_HOST: Final = "unknown_host"
UNSUPPORTED_MEDIA_TYPE: Final = "unsupported_media_type"
UPSTREAM_LOOP: Final = "upstream_loop"
"""A request that this index has sent to itself, as its own upstream index."""
URI_TOO_LONG: Final = "uri_too_long"
STATUS_BY_CODE: Final = {
    errors.STORAGE_FULL: 507,
    errors.RATE_LIMITED: 429,
    errors.BAD_UPSTREAM: 502,
    errors.UPSTREAM_REFUSED: 403,
    HEADERS_TOO_LARGE: 431,
    UNKNOWN_HOST: 421,
    UNSUPPORTED_MEDIA_TYPE: 415,
    UPSTREAM_LOOP: 508,
    URI_TOO_LONG: 414,
}
"""HTTP status of each error code that has another status than its exception type."""

REASON_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Reason phrases of RFC 9110. Python has these four of them since 3.13."""

CHALLENGE: Final[Header] = (b"www-authenticate", b'Basic realm="wheelyard", charset="UTF-8"')
BEARER_CHALLENGE: Final[Header] = (b"www-authenticate", b'Bearer realm="wheelyard"')
"""Asks a program for a token. Unlike `CHALLENGE`, it makes no browser show a dialog."""

_BODY_HEADERS: Final = (b"content-", b"x-content-")
"""The beginnings of the names of headers that describe a body."""


def error_response_for(error: WheelyardError, index: str = "") -> Response:
    """
    Return the response to a request that has failed with `error`.

    `index` is the name of the index that the request was for, which commands of advice name.
    """
    headers: tuple[Header, ...] = ()
    if isinstance(error, Unavailable) and error.retry_after is not None:
        headers = ((b"retry-after", b"%d" % error.retry_after),)
    response = error_response(
        status_of(error), error.code, error.message, *headers, advice=error.advice, index=index
    )
    if isinstance(error, errors.NoSuchPage):
        response.last_page = error.last
    return response


def with_body(response: Response, content_type: bytes, body: bytes, *headers: Header) -> Response:
    """Return an error response with another body, such as a page, and with further headers."""
    kept_headers = list[Header]()
    for name, value in response.header_list:
        if not name.startswith(_BODY_HEADERS):
            kept_headers.append((name, value))
    return make_response(response.status_code, content_type, body, *kept_headers, *headers)


def status_of(error: WheelyardError) -> int:
    """Return the HTTP status of an error, by its code or else by its class."""
    if isinstance(error, errors.Invalid) and error.code == PRECONDITION_FAILED:
        return 412  # for Invalid alone: a store's error of that code is no fault of the request
    return STATUS_BY_CODE.get(error.code, STATUS_BY_TYPE[type(error)])


def error_response(
    status: int,
    code: str,
    message: str,
    *headers: Header,
    advice: Advice | None = None,
    index: str = "",
) -> Response:
    """
    Return an error as JSON, with `code` for programs, and the first sentence that uv shows.

    `advice` is added to the message as it is printed in a terminal. Its commands name `index`.
    """
    uv_text = f"{status} {first_sentence(message)}"
    body = messages.ErrorBody(message, uv_text, REASON_PHRASES[status], code)
    if advice is not None:  # in the message, too: most programs show that alone, in a terminal
        message_with_advice = Terminal(index).message(message, advice)
        body = replace(body, message=message_with_advice, fact=message, advice=advice)
    all_headers = [messages.CSP]
    if status == HTTPStatus.UNAUTHORIZED:
        all_headers.append(CHALLENGE)  # RFC 9110, 11.6.1: each 401 has one
    all_headers.append(NO_STORE)
    all_headers += headers
    response = make_response(status, messages.JSON, encode(body), *all_headers)
    response.error = body
    return response


def file_not_found() -> Response:
    """Return the 404 response to a file that does not exist or is hidden from the caller."""
    message = "There is no file of this name here. Check the spelling, or upload it first."
    return error_response(404, "not_found", message)


def method_not_allowed(method: str, allowed: Sequence[str]) -> Response:
    """Return the response to OPTIONS (204) or to an unsupported method (405), with Allow."""
    methods = ", ".join(allowed)
    header = (b"allow", methods.encode())
    if method == "OPTIONS":
        return Response(204, (header, NOSNIFF, NO_STORE))
    message = f"This path does not support that method. Use {methods}."
    return error_response(405, "method_not_allowed", message, header)
