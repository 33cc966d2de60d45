"""
A file that describes the index: the tables that a store keeps, as TOML has them.

A file may also have sections about the process, which are settings (`settings/sections.py`). The
reader of the index passes over the sections of the settings, and the reader of the settings passes
over the tables of the index.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct, to_builtins
from msgspec.json import encode

from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.model.grants import (
    GrantFields,
    canonical_fields,
    parse_group_name,
    parse_member,
    with_any_groups,
)
from wheelyard.model.index_definition import (
    IndexFields,
    build_definition,
    read_main,
)
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import (
    INDEX_KIND,
    NAME,
    PROMOTE_ONLY,
    IndexKeys,
    RetentionKeys,
    with_main_named,
)
from wheelyard.model.stored_namespaces import NAMESPACE_KIND, canonical_namespace
from wheelyard.model.stored_publishers import PUBLISHER_KIND, PublisherKeys
from wheelyard.model.stored_tables import TableKeys, TableKind
from wheelyard.model.stored_webhooks import WEBHOOK_KIND, canonical_webhook

TABLES: Final = (
    "main",
    "index",
    "groups",
    "grant",
    "publisher",
    "namespace",
    "webhook",
    "retention",
)
"""The tables that describe the index, in the order in which a file has them."""
FORMER_TABLES: Final = ("promotion", "quotas")
"""Tables about main in the settings of version 0.1. Their keys are now keys of `[main]`."""
ALL_TABLES: Final = (*TABLES, *FORMER_TABLES)
WRONG_FILE: Final = "wrong_file"
"""The code of an Invalid for a file that cannot be applied."""


class IndexTables(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a file says of the index. Equal things are written in one way."""

    main: IndexKeys | None = None
    """The keys of `[main]`, or None if the file has no such table."""
    index: tuple[IndexKeys, ...] = ()
    groups: dict[str, tuple[str, ...]] = {}
    """The sorted members of each group, by its name."""
    grant: tuple[GrantFields, ...] = ()
    publisher: tuple[PublisherKeys, ...] = ()
    namespace: tuple[TableKeys, ...] = ()
    webhook: tuple[TableKeys, ...] = ()
    retention: tuple[RetentionKeys, ...] | None = None
    """The `[[retention]]` tables, or None if the file has no such table."""

    def of(self, noun: str) -> tuple[TableKeys, ...]:
        """Return the tables of a kind whose tables have names, by the noun of the kind."""
        tables: tuple[TableKeys, ...] = getattr(self, noun)
        return tables

    @property
    def digest(self) -> str:
        """The SHA-256 of the tables in hexadecimal digits, without the comments of the file."""
        return sha256(encode(self, order="deterministic")).hexdigest()


def read_tables(tables: Mapping[str, Any], passed_over: Collection[str]) -> IndexTables:
    """
    Return what the tables of a TOML file say of the index.

    `passed_over` are the tables that a file may have for others: the sections of the settings, or
    nothing. Raises Invalid (code `wrong_file`) for an unknown table, for the first wrong table, and
    for two tables of one name.
    """
    for name in tables:
        # [webhooks] is a section of the settings, and [[webhooks]] a misspelt [[webhook]]
        is_misspelt = isinstance(tables[name], list) and name.removesuffix("s") in TABLES
        if name not in ALL_TABLES and (name not in passed_over or is_misspelt):
            raise _wrong_file(f"There is no table {quoted(name)}, but {', '.join(TABLES)}.")
    groups = _read_groups(tables.get("groups", {}))
    main = _read_main_table(tables)
    grants = tuple(_read_grants(_tables_in_array(tables, "grant")))
    retention = _read_retention(tables)
    named = {kind.noun: tuple(_read_named_tables(tables, kind)) for kind in (INDEXES, *NAMED)}
    return IndexTables(main=main, groups=groups, grant=grants, retention=retention, **named)


def joined(files: Collection[IndexTables]) -> IndexTables:
    """
    Return what several files say together.

    A grant that is in several files is in the result once. Raises Invalid (code `wrong_file`) if
    two files define the same thing.
    """
    groups = _joined_groups(files)
    main_tables = [file.main for file in files if file.main is not None]
    if len(main_tables) > 1:
        raise _twice_error("[main]")
    named = dict[str, tuple[TableKeys, ...]]()
    for kind in (INDEXES, *NAMED):
        tables = list[TableKeys]()
        for file in files:
            tables += file.of(kind.noun)
        kind.require_different(tables)
        named[kind.noun] = tuple(tables)

    # a grant has no name, so equal grants may be in several files
    grants = dict[GrantFields, None]()
    for file in files:
        grants |= dict.fromkeys(file.grant)
    return IndexTables(
        main=main_tables[0] if main_tables else None,
        groups=groups,
        grant=tuple(grants),
        retention=_joined_retention(files),
        **named,
    )


def _joined_groups(files: Collection[IndexTables]) -> dict[str, tuple[str, ...]]:
    """Return the groups of several files, or raise Invalid if two files have the same group."""
    groups = dict[str, tuple[str, ...]]()
    for file in files:
        for name in groups.keys() & file.groups.keys():
            raise _twice_error(f"the group {name}")
        groups |= file.groups
    return groups


def _joined_retention(files: Collection[IndexTables]) -> tuple[RetentionKeys, ...] | None:
    """Return the rules of retention of several files, or None if no file has any."""
    rules: tuple[RetentionKeys, ...] | None = None
    for file in files:
        if file.retention is not None:
            rules = (rules or ()) + file.retention
    return rules


def canonical_index(table: IndexKeys) -> IndexKeys:
    """
    Return the keys of an index in a form that all equal definitions have.

    Raises InvalidField if a key is unknown, missing or of a wrong type, and Invalid (code
    `invalid_index` or `bad_setting`) for another wrong value.
    """
    fields = decode_table(with_main_named(table), IndexFields)
    build_definition(fields)
    keys: IndexKeys = to_builtins(fields)
    return {NAME: keys.pop(NAME), **keys}


def canonical_main(table: IndexKeys) -> IndexKeys:
    """
    Return the keys of main in a form that all equal definitions have.

    Raises Invalid (code `invalid_field` or `invalid_index`) if a key is wrong.
    """
    keys = with_main_named(table)
    read_main(keys, has_upstream=False)
    canonical: IndexKeys = to_builtins(decode_table({**keys, NAME: MAIN}, IndexFields))
    del canonical[NAME]
    # kept also with its default, as main without this key takes no uploads while it is unused
    if PROMOTE_ONLY in keys:
        canonical[PROMOTE_ONLY] = keys[PROMOTE_ONLY]
    return canonical


def canonical_grant(fields: GrantFields) -> GrantFields:
    """
    Return the fields of a grant in a form that all equal grants have.

    Raises Invalid, with several codes, if a field is wrong. The groups need not exist.
    """
    return canonical_fields(with_any_groups(fields))


def canonical_publisher(table: PublisherKeys) -> PublisherKeys:
    """
    Return the keys of a publisher in a form that all equal publishers have.

    Raises Invalid (code `bad_setting`) if a key is wrong.
    """
    # imported here, as the providers take a while to import
    from wheelyard.model.publisher import canonical_keys, parse_publisher  # noqa: PLC0415

    return canonical_keys(table, parse_publisher(table))


class NamedTables(Struct, frozen=True, kw_only=True):
    """A kind of table of which a file has several, each with a name of its own."""

    noun: Literal["index", "publisher", "namespace", "webhook"]
    """What a table of the kind is called, which is the name of the array."""
    kind: TableKind[Any, Any, Any]
    canonical: Callable[[TableKeys], TableKeys]
    """
    Returns the keys of a table in a form that all equal tables have.

    The function raises Invalid or InvalidField if a key is wrong.
    """
    is_whole: bool = False
    """Whether a table of the kind can only be checked together with all others."""

    def require_different(self, tables: Collection[TableKeys]) -> None:
        """Raise Invalid (code `wrong_file`) if two tables have the same name."""
        names = Counter(str(keys[self.kind.name_key]) for keys in tables)
        for name, count in names.items():
            if count > 1:
                raise _twice_error(f"the {self.noun} {quoted(name)}")


INDEXES: Final = NamedTables(noun="index", kind=INDEX_KIND, canonical=canonical_index)
NAMED: Final = (
    NamedTables(noun="publisher", kind=PUBLISHER_KIND, canonical=canonical_publisher),
    NamedTables(
        noun="namespace", kind=NAMESPACE_KIND, canonical=canonical_namespace, is_whole=True
    ),
    NamedTables(noun="webhook", kind=WEBHOOK_KIND, canonical=canonical_webhook),
)
"""The kinds whose tables have names and are no indexes, in the order in which a file has them."""


def _tables_in_array(tables: Mapping[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each table of an array, after the words by which messages name the table."""
    array = tables.get(name, [])
    is_array = isinstance(array, list | tuple)
    if not is_array or not all(isinstance(table, dict) for table in array):
        raise _wrong_file(f"{name}: expected tables, in double brackets.")
    for number, table in enumerate(array, 1):
        yield f"[[{name}]] number {number}", _without_dates(table)


def _without_dates(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with texts in place of the dates and times of TOML."""
    # a store keeps the table as JSON, which has no dates
    without_dates = dict(table)
    for key, value in table.items():
        if isinstance(value, date):
            without_dates[key] = value.isoformat()
    return without_dates


def _read_main_table(tables: Mapping[str, Any]) -> IndexKeys | None:
    """Return the keys of main, also from tables of earlier versions, or None without a table."""
    names = [name for name in ("main", *FORMER_TABLES) if name in tables]
    if not names:
        return None
    keys = dict[str, Any]()
    for name in names:
        table = tables[name]
        if not isinstance(table, dict):
            raise _wrong_file(f"{name}: expected a table, in single brackets.")
        for key in keys.keys() & table.keys():
            raise _twice_error(f"the key {key} of main")
        keys |= table
    try:
        return canonical_main(_without_dates(keys))
    except Invalid as fault:
        raise _wrong_file(fault.message) from fault


def _read_named_tables(tables: Mapping[str, Any], kind: NamedTables) -> list[TableKeys]:
    """Return the tables of a kind in the order of the file."""
    canonical_tables = list[TableKeys]()
    for title, table in _tables_in_array(tables, kind.noun):
        try:
            canonical_tables.append(kind.canonical(table))
        except (InvalidField, Invalid) as fault:
            raise _wrong_file(f"{title}: {_sentence_of(fault)}") from fault
    kind.require_different(canonical_tables)
    return canonical_tables


def _read_grants(tables: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[GrantFields]:
    """Yield the grants in the order of the file, each once."""
    yielded = set[GrantFields]()
    for title, table in tables:
        try:
            fields = canonical_grant(decode_table(table, GrantFields))
        except (InvalidField, Invalid) as fault:
            raise _wrong_file(f"{title}: {_sentence_of(fault)}") from fault
        if fields not in yielded:
            yielded.add(fields)
            yield fields


def _read_retention(tables: Mapping[str, Any]) -> tuple[RetentionKeys, ...] | None:
    """Return the rules of retention in the order of the file, or None if the file has none."""
    rules = tuple(table for _, table in _tables_in_array(tables, "retention"))
    if not rules:
        return None
    # imported here, as few files have rules
    from wheelyard.model.retention_rules import canonical_rules  # noqa: PLC0415

    try:
        return canonical_rules(rules)
    except Invalid as fault:
        raise _wrong_file(fault.message) from fault


def _read_groups(table: object) -> dict[str, tuple[str, ...]]:
    """Return the sorted members of each group of a file."""
    if not isinstance(table, dict):
        raise _wrong_file("groups: expected a table, in single brackets.")
    groups = dict[str, tuple[str, ...]]()
    for name, members in table.items():
        is_list = isinstance(members, list | tuple)
        if not is_list or not all(isinstance(member, str) for member in members):
            raise _wrong_file(
                f'[groups] {quoted(name)}: expected a list such as ["user:ana@acme.dev"].'
            )
        try:
            principals = {parse_member(member) for member in members}
            groups[parse_group_name(name)] = tuple(sorted(principals))
        except Invalid as fault:
            raise _wrong_file(f"[groups] {quoted(name)}: {fault.message}") from fault
    return groups


def _twice_error(subject: str) -> Invalid:
    """Return the error about a thing that is defined twice."""
    return _wrong_file(f"{subject[0].upper()}{subject[1:]} is there twice. Leave one out.")


def _sentence_of(fault: Invalid | InvalidField) -> str:
    """Return the message of an error, with a full stop at its end."""
    if isinstance(fault, InvalidField):
        return f"{fault.message}."
    return fault.message


def _wrong_file(message: str) -> Invalid:
    return Invalid(message, code=WRONG_FILE)


def to_toml(tables: IndexTables) -> str:
    """Return the text of a file with these tables, which ends with a line break."""
    return "\n".join(_toml_blocks(tables)) or "# Nothing describes the index so far.\n"


def _toml_blocks(tables: IndexTables) -> Iterator[str]:
    if tables.main is not None:
        yield _toml_block("[main]", tables.main)
    for keys in tables.index:
        yield _toml_block("[[index]]", keys)
    if tables.groups:
        yield _toml_block("[groups]", tables.groups)
    for fields in tables.grant:
        yield _toml_block("[[grant]]", to_builtins(fields))
    for kind in NAMED:
        for keys in tables.of(kind.noun):
            yield _toml_block(f"[[{kind.noun}]]", keys)
    for keys in tables.retention or ():
        yield _toml_block("[[retention]]", keys)


def _toml_block(header: str, table: Mapping[str, Any]) -> str:
    lines = [f"{_toml_key(name)} = {_toml_value(value)}\n" for name, value in table.items()]
    return f"{header}\n{''.join(lines)}"


def _toml_key(name: str) -> str:
    """Return a key in TOML: in quotes, unless it has the characters of a bare key alone."""
    letters_and_digits = name.replace("-", "").replace("_", "")
    is_bare = name.isascii() and letters_and_digits.isalnum()
    if is_bare:
        return name
    return _toml_value(name)


def _toml_value(value: object) -> str:
    """Return a value in TOML: the same text as in JSON, but for inline tables and one character."""
    if isinstance(value, Mapping):
        pairs = [f"{_toml_key(name)} = {_toml_value(member)}" for name, member in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    # DEL is a control character in TOML, and none in JSON
    return encode(value).decode().replace("\x7f", "\\u007f")
