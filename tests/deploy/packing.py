"""MessagePack, as Terraform writes values to its providers: no timestamps, and one extension."""

import struct
from dataclasses import dataclass
from typing import Any

NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
SIZES = {
    0xC4: ("bytes", 1),
    0xC5: ("bytes", 2),
    0xC6: ("bytes", 4),
    0xC7: ("unknown", 1),
    0xD9: ("text", 1),
    0xDA: ("text", 2),
    0xDB: ("text", 4),
    0xDC: ("list", 2),
    0xDD: ("list", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


@dataclass(frozen=True)
class Unknown:
    """A value that will be known when what has it is there."""


UNKNOWN = Unknown()


class Unpacker:
    """Reads one value after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> Any:  # noqa: ANN401 - it is of any type
        """Return the next value."""
        first = self._bytes(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in NUMBERS:
            form = NUMBERS[first]
            return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]
        return self._sized(*self._kind(first))

    def _kind(self, first: int) -> tuple[str, int]:
        """Return what a value is, and of what length."""
        if first < 0x90:
            return "map", first & 0x0F
        if first < 0xA0:
            return "list", first & 0x0F
        if first < 0xC0:
            return "text", first & 0x1F
        if 0xD4 <= first <= 0xD8:
            return "unknown", 1 << (first - 0xD4)
        kind, digits = SIZES[first]
        return kind, int.from_bytes(self._bytes(digits), "big")

    def _sized(self, kind: str, length: int) -> object:
        match kind:
            case "map":
                return {self.value(): self.value() for _ in range(length)}
            case "list":
                return [self.value() for _ in range(length)]
            case "text":
                return self._bytes(length).decode()
            case "bytes":
                return self._bytes(length)
        self._bytes(1 + length)  # what is known of the unknown does not matter here
        return UNKNOWN

    def _bytes(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]


def pack(value: object) -> bytes:
    """Write a value, in forms that are not always the shortest."""
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        pairs = (pack(key) + pack(each) for key, each in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pairs)
    return b"\xd4\x00\x00" if isinstance(value, Unknown) else _scalar(value)


def _scalar(value: object) -> bytes:
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xd3" + struct.pack(">q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return b"\xdb" + struct.pack(">I", len(data)) + data
    raise TypeError(value)
