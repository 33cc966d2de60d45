"""JSON that is sent and answered: a body as a value, or a refusal."""

from collections.abc import Iterable, Mapping
from enum import Enum, EnumMeta
from types import MappingProxyType
from typing import TypeVar

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from wheelyard.errors import Invalid, TooLarge, quoted
from wheelyard.http.protocol.messages import (
    CONTENT_SECURITY_POLICY,
    JSON,
    NO_STORE,
    Header,
    Receive,
    Response,
    make_response,
)
from wheelyard.http.protocol.request_body import next_chunk
from wheelyard.model.decoding import FieldFault, InvalidField, decode_table

BODY_LIMIT_BYTES = 64 * 1024
"""Bytes of a change."""
BODY_TOO_LONG = f"A change has at most {BODY_LIMIT_BYTES} bytes. Send a shorter reason."

S = TypeVar("S", bound=Struct)

_PLAIN: Mapping[str, str] = MappingProxyType({})


async def read_body(
    receive: Receive, limit: int = BODY_LIMIT_BYTES, too_long: str = BODY_TOO_LONG
) -> bytes:
    """Return a body, whole, or raise TooLarge."""
    body, more = b"", True
    while more:
        piece, more = await next_chunk(receive)
        body += piece
        if len(body) > limit:
            raise TooLarge(too_long)
    return body


def json_response(status: int, body: object, *headers: Header) -> Response:
    """Return a reply with `body` as JSON, which nobody keeps."""
    return make_response(status, JSON, encode(body), CONTENT_SECURITY_POLICY, NO_STORE, *headers)


def decode_json(body: bytes, kind: type[S], expected: Mapping[str, str] = _PLAIN) -> S:
    """
    Return the value that a body holds: a JSON object with the fields of `kind`.

    They are strings and enumerations; `expected` says in words what others can be. Anything else is
    Invalid (code `invalid_field`).
    """
    try:
        sent = decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(
            "the body is not JSON", "Send an object with the fields of the change"
        ) from error
    if not isinstance(sent, dict):
        raise _wrong("the body is no JSON object", "Send one with the fields of the change")
    try:
        return decode_table(sent, kind)
    except InvalidField as wrong:
        name = ".".join(wrong.path)
        if wrong.why is FieldFault.UNKNOWN:
            raise _wrong(f"unknown field {quoted(name)}", f"Send only {wrong.known}") from wrong
        if wrong.why is FieldFault.MISSING:
            raise _wrong(f"{name} is missing", "Send it in the JSON object") from wrong
        what = f"{name} must be {expected.get(name) or _values(wrong.field_type)}"
        raise _wrong(what, "Correct it and send the change again") from wrong


def _values(field_type: object) -> str:
    if isinstance(field_type, EnumMeta):
        members: Iterable[Enum] = field_type
        return "one of " + ", ".join(str(each.value) for each in members)
    return "a string"


def _wrong(what: str, remedy: str) -> Invalid:
    return Invalid(f"{what}. {remedy}.", code="invalid_field", short=f"{what}.")
