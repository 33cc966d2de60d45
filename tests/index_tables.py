"""What describes the index, put into a store before a test."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import convert, to_builtins
from msgspec.json import decode, encode

from wheelyard.model.grants import GrantFields, Grants, build_grant
from wheelyard.model.index_file import TABLES, read_tables
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexKeys, RetentionChanged, RetentionKeys
from wheelyard.operations.index_administration import IndexAdministration
from wheelyard.operations.table_changes import StoredTables
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

BY: str = "local:test"
HEADER = re.compile(r"\[{1,2}([a-z_]+)")
"""The beginning of a table, with the first part of its name."""


def put_tables(index: Index, text: str) -> None:
    """
    Put the tables of a TOML text that describe the index into its store.

    Rights and rules may name an index that there is not.
    """
    tables, server = read_tables(tomllib.loads(text), ()), index.server
    if tables.main:
        _change(server.index_administration, MAIN, tables.main)
    if tables.index:
        _put_indexes(server.index_administration, tables.index)
    for name, members in tables.groups.items():
        server.access.edit_group("set", name, members, BY)
    for fields in tables.grant:
        server.access.grant(fields, BY)
    kinds: tuple[StoredTables[Any, Any, Any, Any], ...]
    kinds = (server.publishers, server.namespaces, server.webhooks)
    for kind in kinds:
        stored = kind.read_stored()
        for keys in tables.of(kind.kind.noun):
            if stored.find(keys[kind.kind.name_key]) is None:
                kind.add(keys, BY)
    if tables.retention is not None:
        put_rules(index, tables.retention)


def _put_indexes(administration: IndexAdministration, tables: Iterable[IndexKeys]) -> None:
    """Give indexes these keys, of which one may be a layer of those before it."""
    stored = administration.in_force.stored()
    waiting = list[IndexKeys]()
    for table in tables:
        if stored.find(table["name"]) is None:
            waiting.append(table)
        else:
            _change(administration, table["name"], table)
    while waiting:
        names = {table["name"] for table in waiting}
        ready = [
            table
            for table in waiting
            if names.isdisjoint({*table.get("layers", ())} - {table["name"]})
        ]
        for table in ready or waiting:
            administration.add(table, BY, even_if_open=True)
            waiting.remove(table)


def _change(administration: IndexAdministration, name: str, table: IndexKeys) -> None:
    """Give an index that is there these keys, and no others."""
    (before,) = (row for row in administration.show() if row.name == name)
    administration.change(name, dict.fromkeys(before.keys) | table, BY, even_if_open=True)


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
    index.server.index_administration.commit(lambda _: (event,))


def put_tables_at(place: Path, text: str, config: Path | None = None) -> None:
    """Put tables into the store in a folder, as a command with the settings of `config` does."""
    settings = Settings(store=StoreSettings(location=str(place)))
    if config is not None:
        overrides = {"store": {"location": str(place)}}
        settings = load_settings(file=config, overrides=overrides, environ={}).settings
    put_tables(open_index(settings), text)


def toml_of(**tables: object) -> str:
    """Return tables as a TOML text for `put_tables`, such as `index=({"name": "dev"},)`."""
    return "".join(
        f"{name} = {_inline(to_builtins(table))}\n" for name, table in tables.items() if table
    )


def _inline(value: Any) -> str:  # noqa: ANN401 - anything that TOML has
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{_inline(key)} = {_inline(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    return encode(value).decode()


def grants_in(text: str) -> Grants:
    """Return the grants and groups of a TOML text, as they are in force in a store."""
    tables = tomllib.loads(text)
    groups = {name: frozenset(members) for name, members in tables.get("groups", {}).items()}
    fields = [convert(table, GrantFields) for table in tables.get("grant", ())]
    grants = [build_grant(f"g{number}", each, groups) for number, each in enumerate(fields, 1)]
    return Grants(tuple(grants), groups)


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
