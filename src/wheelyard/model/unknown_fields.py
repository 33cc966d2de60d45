"""
Fields of stored values that only newer versions of wheelyard know: kept, and written back.

They follow the known fields, in the order in which they were read. A value without any costs as
much to read and to write as if there were no such thing.
"""

from typing import Final, Generic, TypeVar

from msgspec import Raw, Struct, ValidationError, field
from msgspec.json import Decoder, encode
from msgspec.structs import fields, replace

UnknownFields = tuple[tuple[str, Raw], ...]
"""Names and JSON values, in their order."""


class Extensible(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value whose stored form, a JSON object, may have fields that this version does not know."""

    # no stored field has an empty name
    other_fields: UnknownFields = field(default=(), name="")
    """The fields that this version does not know."""


S = TypeVar("S", bound=Extensible)

TABLE: Final = Decoder(dict[str, Raw])


class ExtensibleCodec(Generic[S]):
    """Reads and writes the JSON of one class, which forbids unknown fields; keeps those."""

    def __init__(self, kind: type[S]) -> None:
        self._decoder = Decoder(kind)
        self._names = frozenset(each.encode_name for each in fields(kind) if each.encode_name)

    def decode(self, body: bytes | Raw) -> S:
        """Return the value of a JSON object; raise DecodeError if it is not valid."""
        try:
            return self._decoder.decode(body)
        except ValidationError:
            table = TABLE.decode(body)
            others = self.take_unknown(table)
            if not others:
                raise
            return replace(self._decoder.decode(encode(table)), other_fields=others)

    def take_unknown(self, table: dict[str, Raw]) -> UnknownFields:
        """Remove the unknown fields from `table`, and return them."""
        names = [name for name in table if name not in self._names]
        # a copy: the raw value would keep all of the JSON that it was read from
        return tuple((name, table.pop(name).copy()) for name in names)


def encode_all_fields(value: Extensible) -> bytes:
    """Return the JSON of a value, with the fields that this version does not know."""
    if not value.other_fields:
        return encode(value)
    table = TABLE.decode(encode(replace(value, other_fields=())))
    return encode(table | dict(value.other_fields))
