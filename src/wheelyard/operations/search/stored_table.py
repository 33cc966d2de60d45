"""
The stored form of a table of projects: MessagePack, compressed with gzip.

It only saves the work of reading all documents, so whatever is wrong with it makes it as good as
missing.
"""

from operator import lt
from typing import Final

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

from wheelyard.catalog.gzipped import gunzipped, gzipped
from wheelyard.operations.search.project_table import ProjectTable

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest table that is read, before compression."""


def encode_table(table: ProjectTable) -> bytes:
    """Return the bytes to store for a table."""
    return gzipped(Encoder().encode(table))


def decode_table(body: bytes) -> ProjectTable | None:
    """Return the table in stored bytes; None if they are damaged, too large, or of other kind."""
    try:
        table = Decoder(ProjectTable).decode(gunzipped(body, SIZE_LIMIT) or b"")
    except (DecodeError, UnicodeDecodeError):
        return None
    names = [each.name for each in table.projects]
    # whether they are names is asked later, when they are compared with the list of all names
    return table if all(map(lt, names, names[1:])) else None
