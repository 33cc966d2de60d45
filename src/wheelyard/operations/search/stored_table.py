"""
The stored form of a table of projects: MessagePack, compressed with Zstandard.

It only saves the work of reading all documents, so whatever is wrong with it makes it as good as
missing.
"""

from operator import lt
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, get_frame_parameters

from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.project_facts import ProjectFacts

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest table that is read, before compression."""
_WINDOW_LIMIT: Final = 128 * 1024 * 1024


class _StoredTable(Struct, frozen=True, array_like=True, gc=False):
    projects: tuple[ProjectFacts, ...]


def encode_table(table: ProjectTable) -> bytes:
    """Return the bytes to store for a table."""
    body = Encoder().encode(_StoredTable(table.projects))
    return ZstdCompressor(level=3, write_checksum=True).compress(body)


def decode_table(body: bytes) -> ProjectTable | None:
    """Return the table in stored bytes; None if they are damaged, too large, or of other kind."""
    try:
        if get_frame_parameters(body).content_size > SIZE_LIMIT:  # also if it is unknown
            return None
        raw = ZstdDecompressor(max_window_size=_WINDOW_LIMIT).decompress(body)
        projects = Decoder(_StoredTable).decode(raw).projects
    except (ZstdError, DecodeError, UnicodeDecodeError):
        return None
    names = [each.name for each in projects]
    # whether they are names is asked later, when they are compared with the list of all names
    is_sorted = all(map(lt, names, names[1:]))
    return ProjectTable(projects) if is_sorted else None
