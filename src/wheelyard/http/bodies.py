"""The bodies of changes: from JSON to a value, or to a refusal in words for people."""

from collections.abc import Iterable
from enum import Enum, EnumMeta
from typing import TypeVar

from msgspec import DecodeError, Struct, ValidationError, convert
from msgspec.json import decode
from msgspec.structs import FieldInfo, fields

from wheelyard.errors import Invalid, TooLarge, quoted
from wheelyard.http.exchange import Receive
from wheelyard.http.incoming import next_piece

BODY_LIMIT = 64 * 1024
"""Bytes of a change."""

S = TypeVar("S", bound=Struct)


async def small_body(receive: Receive) -> bytes:
    """
    Return a body, whole.

    Raises:
        TooLarge: It has more than BODY_LIMIT bytes.
        ClientGone: It broke off.
        SlowClient: It comes too slowly.
    """
    body, more = b"", True
    while more:
        piece, more = await next_piece(receive)
        body += piece
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"A change has at most {BODY_LIMIT} bytes. Send a shorter reason.")
    return body


def decoded(body: bytes, kind: type[S]) -> S:
    """
    Return the value that a body holds.

    Args:
        body: A JSON object with the fields of `kind`.
        kind: Of strings and enumerations.

    Raises:
        Invalid: It is anything else (code `invalid_field`).
    """
    try:
        sent = decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(
            "the body is not JSON", "Send an object with the fields of the change"
        ) from error
    if not isinstance(sent, dict):
        raise _wrong("the body is no JSON object", "Send one with the fields of the change")
    known = {each.name: each for each in fields(kind)}
    for name in sent:
        if name not in known:
            raise _wrong(f"unknown field {quoted(name)}", f"Send only {', '.join(known)}")
    for name, each in known.items():
        _check(each, name in sent, sent.get(name))
    return convert(sent, kind)


def _check(field: FieldInfo, is_sent: bool, value: object) -> None:  # noqa: FBT001
    if not is_sent and field.required:
        raise _wrong(f"{field.name} is missing", "Send it in the JSON object")
    if is_sent:
        try:
            convert(value, field.type)
        except ValidationError as error:
            what = f"{field.name} must be {_values(field.type)}"
            raise _wrong(what, "Correct it and send the change again") from error


def _values(kind: object) -> str:
    if isinstance(kind, EnumMeta):
        members: Iterable[Enum] = kind
        return "one of " + ", ".join(str(each.value) for each in members)
    return "a string"


def _wrong(what: str, remedy: str) -> Invalid:
    return Invalid(f"{what}. {remedy}.", code="invalid_field", short=f"{what}.")
