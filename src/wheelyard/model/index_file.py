"""
A file that describes the index: the tables that a store keeps, as TOML has them.

The sections of the process are those of the settings (`settings/sections.py`). A file may have
both, so that one file can describe all of a server.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

TABLES: Final = ("main", "index", "groups", "grant", "publisher", "retention")
"""The tables that describe the index, in the order in which a file has them."""


class IndexTables(Struct, frozen=True, kw_only=True):
    """The tables of a file that describe the index, as they are written."""

    main: Mapping[str, Any] | None = None
    """`[main]`, or None if the file does not say what main is."""
    index: tuple[Mapping[str, Any], ...] = ()
    groups: Mapping[str, tuple[str, ...]] = {}
    grant: tuple[Mapping[str, Any], ...] = ()
    publisher: tuple[Mapping[str, Any], ...] = ()
    retention: tuple[Mapping[str, Any], ...] | None = None
    """`[[retention]]`, or None if the file has no such table."""
