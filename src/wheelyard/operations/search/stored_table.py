"""
The stored form of a table of projects: MessagePack, compressed with gzip.

It only saves the work of reading all documents, so whatever is wrong with it makes it as good as
missing.
"""

from operator import lt
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder
from packaging.utils import NormalizedName

from wheelyard.catalog.gzipped import gunzipped, gzipped
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.project_facts import ProjectFacts

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest table that is read, before compression."""


class _StoredTable(Struct, frozen=True, array_like=True, gc=False):
    projects: tuple[ProjectFacts, ...]
    serial: int = 0
    unread: tuple[NormalizedName, ...] = ()


def encode_table(table: ProjectTable) -> bytes:
    """Return the bytes to store for a table."""
    stored = _StoredTable(table.projects, table.serial, tuple(sorted(table.unread)))
    return gzipped(Encoder().encode(stored))


def decode_table(body: bytes) -> ProjectTable | None:
    """Return the table in stored bytes; None if they are damaged, too large, or of other kind."""
    try:
        raw = gunzipped(body, SIZE_LIMIT) or b""
        table = Decoder(_StoredTable).decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return None
    names = [each.name for each in table.projects]
    # whether they are names is asked later, when they are compared with the list of all names
    is_sorted = all(map(lt, names, names[1:]))
    unread = frozenset(table.unread)
    return ProjectTable(table.projects, serial=table.serial, unread=unread) if is_sorted else None
