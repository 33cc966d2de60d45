"""JSON request bodies, validated, and JSON responses."""

from collections.abc import Iterable, Mapping
from enum import Enum, EnumMeta
from types import MappingProxyType
from typing import TypeVar

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from wheelyard.errors import Invalid, TooLarge, quoted
from wheelyard.http.protocol.conditional_requests import require_match
from wheelyard.http.protocol.error_responses import UNSUPPORTED_MEDIA_TYPE
from wheelyard.http.protocol.messages import (
    CSP,
    JSON,
    NO_STORE,
    Header,
    Receive,
    Request,
    Response,
    make_response,
)
from wheelyard.http.protocol.request_body import next_chunk
from wheelyard.model.decoding import FieldFault, InvalidField, decode_table

BODY_LIMIT_BYTES = 64 * 1024
BODY_TOO_LONG = f"A change has at most {BODY_LIMIT_BYTES} bytes. Send a shorter reason."

S = TypeVar("S", bound=Struct)


async def read_body(
    receive: Receive, limit: int = BODY_LIMIT_BYTES, too_long: str = BODY_TOO_LONG
) -> bytes:
    """Return a whole request body; raise TooLarge (message: `too_long`) above `limit` bytes."""
    body, more = b"", True
    while more:
        chunk, more = await next_chunk(receive)
        body += chunk
        if len(body) > limit:
            raise TooLarge(too_long)
    return body


async def read_json(request: Request, what: str = "change") -> bytes:
    """Return a JSON body for `decode_json`; raise Invalid for another type, or with If-Match."""
    require_match(request.headers, None)
    if request.media_type != JSON:
        raise Invalid(
            f'Send the {what} as JSON, with "Content-Type: application/json".',
            code=UNSUPPORTED_MEDIA_TYPE,
            short="Send application/json.",
        )
    return await read_body(request.receive)


def json_response(status: int, body: object, *headers: Header) -> Response:
    """Return a response with `body` encoded as JSON; caches may not store it."""
    return make_response(status, JSON, encode(body), CSP, NO_STORE, *headers)


def decode_json(
    body: bytes, kind: type[S], expected: Mapping[str, str] = MappingProxyType({})
) -> S:
    """
    Return a request body, a JSON object, decoded as a `kind`; raise Invalid if it is not one.

    `expected` describes the values of each field that is neither a string nor an enum, for errors.
    """
    try:
        sent = decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "Send an object with the fields of the change"
        raise _invalid_field("the body is not JSON", remedy) from error
    if not isinstance(sent, dict):
        raise _invalid_field("the body is no JSON object", "Send one with the fields of the change")
    try:
        return decode_table(sent, kind)
    except InvalidField as wrong:
        name = ".".join(wrong.path)
        if wrong.why is FieldFault.UNKNOWN:
            what, remedy = f"unknown field {quoted(name)}", f"Send only {wrong.known}"
        elif wrong.why is FieldFault.MISSING:
            what, remedy = f"{name} is missing", "Send it in the JSON object"
        else:
            what = f"{name} must be {expected.get(name) or _values(wrong.field_type)}"
            remedy = "Correct it and send the change again"
        raise _invalid_field(what, remedy) from wrong


def _values(field_type: object) -> str:
    if isinstance(field_type, EnumMeta):
        members: Iterable[Enum] = field_type
        return "one of " + ", ".join(str(each.value) for each in members)
    return "a string"


def _invalid_field(what: str, remedy: str) -> Invalid:
    return Invalid(f"{what}. {remedy}.", code="invalid_field", short=f"{what}.")
