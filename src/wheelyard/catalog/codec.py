"""
Values to stored bytes and back.

The bytes of a value are always the same: fields in the order of the class, defaults left out, one
newline at the end. The journal's hash chain and the rebuilding of documents rest on that.
"""

from hashlib import sha256
from typing import Final, Generic, TypeVar

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from wheelyard.errors import Unavailable
from wheelyard.storage.base import Key

T = TypeVar("T")


DAMAGED: Final = "damaged_document"
"""The code of an Unavailable that trying again does not end."""


class Codec(Generic[T]):
    """The stored form of one kind of document."""

    def __init__(self, kind: type[T]) -> None:
        self._encoder = Encoder()
        self._decoder = Decoder(kind)

    def encode(self, value: T) -> bytes:
        """Return the bytes of `value`."""
        return self._encoder.encode(value) + b"\n"

    def decode(self, key: Key, body: bytes) -> T:
        """
        Return the value that was stored at `key`.

        Raises:
            Unavailable: The bytes are no such document (code `damaged_document`).
        """
        try:
            return self._decoder.decode(body)
        except DecodeError as error:
            raise Unavailable(
                f"The document {key} is damaged: {error}. Run 'wheelyard check', which says what "
                "can be done about it.",
                code=DAMAGED,
                short="A document of the index is damaged.",
            ) from error


def digest(body: bytes) -> str:
    """Return the SHA-256 of stored bytes, 64 hexadecimal digits."""
    return sha256(body).hexdigest()
