"""Bodies and queries of requests as structs; what is wrong with one, in a sentence."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qs

from msgspec import DecodeError, Struct, inspect
from msgspec.inspect import IntType, type_info
from msgspec.json import decode
from msgspec.structs import fields

from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import InvalidField, decode_table

S = TypeVar("S", bound=Struct)

_WORDS: Final[Mapping[type[inspect.Type], str]] = {
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "a time with its offset, such as 2030-01-31T00:00:00Z",
}


def decode_body(body: bytes, kind: type[S]) -> S:
    """Return the JSON object of a body as a `kind`; raise Invalid if it is not one."""
    try:
        sent = decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "Send an object with the fields of the change"
        raise _invalid_field("the body is not JSON", remedy) from error
    if not isinstance(sent, dict):
        raise _invalid_field("the body is no JSON object", "Send one with the fields of the change")
    return convert_fields(sent, kind)


def decode_query(query: bytes, kind: type[S]) -> S:
    """
    Return the fields of a query as a `kind`; raise Invalid if one is wrong or missing.

    Unknown fields are ignored, and several of one name are joined by commas.
    """
    sent = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    texts = dict[str, str]()
    for field in fields(kind):
        if values := sent.get(field.encode_name):
            text, is_number = ", ".join(values), isinstance(type_info(field.type), IntType)
            # a conversion takes 1e3 for a number, too
            texts[field.encode_name] = text if not is_number or text.isdecimal() else ""
    return convert_fields(texts, kind, strict=False)


def convert_fields(sent: Mapping[str, object], kind: type[S], *, strict: bool = True) -> S:
    """Return fields as a `kind`; raise Invalid, which names the first one that is wrong."""
    try:
        return decode_table(sent, kind, strict=strict)
    except InvalidField as wrong:
        name = ".".join(wrong.path)
        if wrong.why == "unknown":
            what, remedy = f"unknown field {quoted(name)}", f"Send only {wrong.known}"
        elif wrong.why == "missing":
            what, remedy = f"{name} is missing", "Send it, too"
        else:
            what = f"{name} must be {_wanted(type_info(wrong.field_type))}"
            remedy = "Correct it and send the request again"
        raise _invalid_field(what, remedy) from wrong


def _wanted(kind: inspect.Type) -> str:
    """Return the values that a field may have, in words."""
    choices: Iterable[object] = ()
    match kind:
        case inspect.Metadata(type=inner):
            return _wanted(inner)
        case inspect.UnionType(types=kinds):
            texts = (_wanted(each) for each in kinds if not isinstance(each, inspect.NoneType))
            return " or ".join(texts)
        case inspect.EnumType(cls=enum):
            choices = (member.value for member in enum)
        case inspect.LiteralType(values=values):
            choices = values
        case IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case inspect.VarTupleType(min_length=least, max_length=most):
            number = f"1 to {most} " if most else "one or more " if least else ""
            return f"a list of {number}strings"
    if words := ", ".join(map(str, choices)):
        return f"one of {words}"
    return _WORDS.get(type(kind), "a string")


def _invalid_field(what: str, remedy: str) -> Invalid:
    return Invalid(f"{what}. {remedy}.", code="invalid_field")
