"""
Decoding of JSON and text from outside, within limits.

Fields that a newer version of wheelyard has written are kept.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, TypeVar, get_args, get_origin

from msgspec import Meta, Raw, Struct, ValidationError, convert, field
from msgspec.json import Decoder, encode
from msgspec.structs import fields, replace

from wheelyard.errors import Invalid, quoted

NAME_LIMIT: Final = 100
"""Characters of a field's name in a message."""
TABLE: Final = Decoder(dict[str, Raw])

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
"""The units of sizes, of which each is 1,024 of the one before."""

S = TypeVar("S", bound=Struct)
ExtensibleT = TypeVar("ExtensibleT", bound="Extensible")

FieldFault = Literal["unknown", "missing", "wrong"]
"""Why a field is invalid: it is unknown, missing, or has a wrong type or value."""
UnknownFields = tuple[tuple[str, Raw], ...]
"""The names and JSON values of fields, in the order of their object."""

_REFUSED_IN_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, bidirectional controls, lone surrogates."""

_SECRETS = re.compile(
    r"(wyd_)[A-Za-z0-9_]+"  # an API token, also truncated
    r"|((?i:wyd[_-]))[A-Za-z0-9]{20,}"  # an API token with the prefix in the form of a name
    r"|(ya29\.)[\w.-]+"  # Google access tokens
    r"|(eyJ)[\w-]{4,}(?:\.[\w-]*)*"  # JWTs: ID tokens
)


def require_one_line(text: str, subject: str, limit: int) -> str:
    """
    Return `text`, which may be empty, if it is one line without control characters.

    Raises Invalid (code `invalid_field`) if the text has a control character, or more than `limit`
    characters. The message begins with `subject`, a name of the text such as `The note`.
    """
    if len(text) > limit:
        message = f"{subject} has {len(text)} characters. Use at most {limit}."
        raise Invalid(message, code="invalid_field")
    refused = _REFUSED_IN_TEXT.search(text)
    if refused is not None:
        raise Invalid(
            f"{subject} has the character {quoted(refused[0])} in it. "
            "Write one line of text without control characters.",
            code="invalid_field",
        )
    return text


def to_one_line(text: str, limit: int) -> str:
    """Return `text` cut at `limit` characters, with a space for each run of blanks and controls."""
    return " ".join(_REFUSED_IN_TEXT.sub(" ", text).split())[:limit]


def escaped(text: str) -> str:
    """Return `text` with unprintable characters escaped, so that a terminal is safe."""
    if text.isprintable():
        return text
    characters = list[str]()
    for character in text:
        if character.isprintable():
            characters.append(character)
        else:
            # `ascii` puts quotes around the character
            characters.append(ascii(character)[1:-1])
    return "".join(characters)


def counted(number: int, noun: str) -> str:
    """Return a number with a noun: `1 file`, `2 files`."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}s"


def readable_size(size: int) -> str:
    """Return a size as text with a unit: bytes, KiB, MiB, GiB or TiB."""
    # by bits and not by a logarithm, which is inexact near a power of 1,024
    exponent = (size.bit_length() - 1) // 10
    if exponent <= 0:
        return f"{size} bytes"
    exponent = min(exponent, len(_UNITS))
    return f"{size / 1024**exponent:.1f} {_UNITS[exponent - 1]}"


def redact_tokens(text: str) -> str:
    """Return `text` with each API token, Google access token and JWT as its prefix and `***`."""
    return _SECRETS.sub(_redacted, text)


def _redacted(secret: re.Match[str]) -> str:
    """Return the prefix of a secret and `***`."""
    # each alternative of the expression has one group, the prefix
    prefix = secret[secret.lastindex or 0]
    return f"{prefix}***"


class InvalidField(Exception):
    """
    A field of a table is unknown, missing, or has a wrong type or value.

    `path` has the names of the tables that contain the field, and the name of the field.
    `field_type` is the type of the field, or for an unknown field the struct of its table. `value`
    is the wrong value, or None if the field is unknown or missing.
    """

    def __init__(
        self,
        why: FieldFault,
        path: tuple[str, ...],
        field_type: Any = None,  # noqa: ANN401 - any type that a field may have
        value: object = None,
    ) -> None:
        super().__init__(why, path)
        self.why = why
        self.path = path
        self.field_type = field_type
        self.value = value

    @property
    def known_keys(self) -> str:
        """The keys of the struct, separated by commas, if the field is unknown."""
        return ", ".join(self.field_type.__struct_fields__)

    @property
    def message(self) -> str:
        """The message, without a full stop: the field, and the expected type or known keys."""
        key = escaped(".".join(self.path)[:NAME_LIMIT])
        if self.why == "unknown":
            return f"{key}: there is no such key. The keys are {self.known_keys}"
        problem = "expected"
        if self.why == "missing":
            problem = "is missing, give"
        return f"{key}: {problem} {_expected(self.field_type)}"


def decode_table(table: Mapping[str, object], kind: type[S], *, strict: bool = True) -> S:
    """
    Return a table as a struct of type `kind`.

    `kind` must forbid unknown fields. Unless `strict`, texts are converted to numbers and booleans.
    Raises InvalidField for the first field that is invalid, a field that is unknown before others.
    """
    try:
        return convert(table, kind, strict=strict)
    except ValidationError as error:
        # The fields are checked one by one for a message of our own: those of msgspec are for
        # programmers, and may change with its version.
        _require_valid_fields(table, kind, (), strict=strict)
        raise InvalidField("wrong", ()) from error


def _require_valid_fields(
    table: Mapping[str, object], kind: type[Struct], above: tuple[str, ...], *, strict: bool
) -> None:
    """
    Raise InvalidField for the first field of a table that is invalid.

    `above` has the names of the tables that contain this table.
    """
    fields_by_name = {declared.encode_name: declared for declared in fields(kind)}

    # a misspelt name first: the field that was meant is missing, which would say less
    for name in table:
        if name not in fields_by_name:
            raise InvalidField("unknown", (*above, name), kind)
    for name, declared in fields_by_name.items():
        path = (*above, name)
        field_type = declared.type
        value = table.get(name)
        is_struct = isinstance(field_type, type) and issubclass(field_type, Struct)
        if name not in table:
            if declared.required:
                raise InvalidField("missing", path, field_type)
        elif isinstance(value, dict) and is_struct:
            _require_valid_fields(value, field_type, path, strict=strict)
        else:
            try:
                convert(value, field_type, strict=strict)
            except ValidationError as error:
                raise InvalidField("wrong", path, field_type, value) from error


def _expected(field_type: Any) -> str:  # noqa: ANN401 - any type that a field may have
    """Return a type in words for a message: its title or description, or words for the kind."""
    arguments = get_args(field_type)
    if get_origin(field_type) is Literal:
        return " or ".join(arguments)
    words = ""
    # an annotation is at the type itself, or at the type of the elements of a list
    for annotated in (field_type, *arguments):
        for meta in get_args(annotated):
            if isinstance(meta, Meta) and not words:
                words = meta.title or meta.description or ""
    if words and get_origin(field_type) is tuple:
        return f"a list of {words}"
    if words:
        return words
    if field_type is bool or bool in arguments:
        return "true or false"
    if get_origin(field_type) is tuple:
        return "a list of texts"
    return "a text"


class Extensible(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value whose stored form, a JSON object, may have fields that this version does not know."""

    # no stored field has an empty name
    other_fields: UnknownFields = field(default=(), name="")
    """The fields that this version does not know."""


class ExtensibleCodec(Generic[ExtensibleT]):
    """
    Reads the JSON of one class, and keeps the fields that the class does not know.

    The class forbids unknown fields.
    """

    def __init__(self, kind: type[ExtensibleT]) -> None:
        self._decoder = Decoder(kind)
        self._names = frozenset(kind.__struct_encode_fields__) - {""}

    def decode(self, body: bytes | Raw) -> ExtensibleT:
        """
        Return the value of a JSON object.

        Raises DecodeError or UnicodeDecodeError if the JSON is not valid, and RecursionError if it
        is nested too deeply.
        """
        # nearly every document has known fields alone, so only the others are parsed twice
        try:
            return self._decoder.decode(body)
        except ValidationError:
            table = TABLE.decode(body)
            unknown = self.take_unknown(table)
            if not unknown:
                raise  # all fields are known, so a value is wrong
            value = self._decoder.decode(encode(table))
            return replace(value, other_fields=unknown)

    def take_unknown(self, table: dict[str, Raw]) -> UnknownFields:
        """Remove the unknown fields from `table`, and return them."""
        names = [name for name in table if name not in self._names]
        # copies, as a raw value keeps the whole JSON in memory that it was read from
        return tuple((name, table.pop(name).copy()) for name in names)


def encode_all_fields(value: Extensible) -> bytes:
    """Return the JSON of a value, with the fields that this version does not know."""
    if not value.other_fields:
        return encode(value)
    table = TABLE.decode(encode(replace(value, other_fields=())))
    return encode(table | dict(value.other_fields))
