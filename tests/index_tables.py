"""What describes the index, put into a store before a test."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert
from msgspec.json import decode, encode

from wheelyard.model.grants import GrantFields
from wheelyard.model.index_file import TABLES
from wheelyard.model.stored_indexes import RetentionChanged, RetentionKeys
from wheelyard.wiring.index import Index

BY: str = "local:test"
HEADER = re.compile(r"\[{1,2}([a-z_]+)")
"""The beginning of a table, with the first part of its name."""


def put_tables(index: Index, text: str) -> None:
    """Put the tables of a TOML text that describe the index into its store."""
    tables = tomllib.loads(text)
    unknown = tables.keys() - set(TABLES)
    assert not unknown, f"no tables of the index: {unknown}"
    server = index.server
    for table in tables.get("index", ()):
        server.index_administration.make(table, BY, even_if_open=True)
    for name, members in tables.get("groups", {}).items():
        server.access.edit_group("set", name, members, BY)
    for table in tables.get("grant", ()):
        server.access.grant(convert(table, GrantFields), BY)
    for table in tables.get("publisher", ()):
        server.publishers.add(table, BY)
    if "retention" in tables:
        put_rules(index, tables["retention"])


def put_rules(
    index: Index,
    tables: Iterable[Mapping[str, Any]],
    by: str = BY,
    *,
    note: str = "",
    source: str = "",
) -> None:
    """Put rules of retention into a store in place of those that it has, whatever they say."""
    rules = decode(encode([*tables]), type=tuple[RetentionKeys, ...])
    event = RetentionChanged(
        at=index.server.runtime.now(), by=by, note=note, rules=rules, source=source
    )
    index.server.index_administration.submit(lambda _: (event,))


def split(text: str) -> tuple[str, str]:
    """Return the settings in a TOML text, and what of it describes the index."""
    settings = list[str]()
    index = list[str]()
    chosen = settings
    for line in text.splitlines(keepends=True):
        if header := HEADER.match(line):
            chosen = index if header[1] in TABLES else settings
        chosen.append(line)
    return "".join(settings), "".join(index)
