"""The messages between a server and its process for descriptions: their length, then JSON."""

import json
from collections.abc import Mapping
from typing import IO, Any, Final

_LENGTH_BYTES: Final = 4


def write_message(stream: IO[bytes], message: Mapping[str, object]) -> None:
    """Write a message to a pipe."""
    body = json.dumps(message).encode()
    stream.write(len(body).to_bytes(_LENGTH_BYTES) + body)
    stream.flush()


def read_message(stream: IO[bytes]) -> dict[str, Any]:
    """Return the next message of a pipe; raise EOFError if it has ended, also within a message."""
    body = _read(stream, int.from_bytes(_read(stream, _LENGTH_BYTES)))
    message: dict[str, Any] = json.loads(body)
    return message


def _read(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found
