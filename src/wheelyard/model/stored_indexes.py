"""
The definitions of indexes and the rules of retention in the store, as a document with a journal.

Of an index, only the keys that were written into `[[index]]` or `[main]` are kept, so that the
defaults are those of the version that reads them. `index_definition.py` says whether a table is
valid: a version that does not know one of the keys takes the table for wrong, and does not serve
the index. A version that does not know a key of a `[[retention]]` table deletes nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from wheelyard.model.index_name import MAIN
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    ListedTable,
    StoredTable,
    TableAdded,
    TableChanged,
    TableEvent,
    TableKeys,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.model.table_texts import describe_table
from wheelyard.remedies import Advice, Caution, Remedy

INDEX_EXISTS: Final = "index_exists"
"""The code of a Conflict for a name that an index, a project or a path has."""
NAME: Final = "name"
LAYERS: Final = "layers"
PROMOTE_ONLY: Final = "promote_only"
FILTER: Final = "filter"
"""The key by which earlier versions said which files an index lists."""
LISTS_OF_INDEXES: Final = (LAYERS, "promote_from")
IndexKeys = TableKeys
"""The keys of an `[[index]]` table, or of `[main]`, with their values as JSON."""
RetentionKeys = dict[str, Any]
"""The keys of a `[[retention]]` table, with their values as JSON."""


class IndexMade(TableAdded, frozen=True, kw_only=True, omit_defaults=True, tag="index-made"):
    """An index was made."""

    keys: IndexKeys = field(name="index")


class IndexChanged(
    TableChanged, frozen=True, kw_only=True, omit_defaults=True, tag="index-changed"
):
    """An index has other keys now, which are all here."""

    keys: IndexKeys = field(name="index")


class MainChanged(TableChanged, frozen=True, kw_only=True, omit_defaults=True, tag="main-changed"):
    """Main has other keys now, which are all here, without a name."""

    keys: IndexKeys = field(name="index")


class IndexRemoved(
    TableRemoved, frozen=True, kw_only=True, omit_defaults=True, tag="index-removed"
):
    """An index was removed."""


class FileApplied(TableEvent, frozen=True, kw_only=True, omit_defaults=True, tag="file-applied"):
    """A file was applied: all that the file says of the index was in force."""

    source: str
    digest: str
    """The SHA-256 of what the file says, in hexadecimal digits."""
    prunes: bool = False
    """Whether things that the file lacks were removed."""


class RetentionChanged(
    TableEvent, frozen=True, kw_only=True, omit_defaults=True, tag="retention-changed"
):
    """The rules of retention were replaced by others, which are all here."""

    rules: tuple[RetentionKeys, ...]
    source: str = ""
    """
    The name of the file that changed the rules. An empty text leaves the rules the source that they
    had.
    """


AnyIndexEvent = (
    IndexMade | IndexChanged | MainChanged | IndexRemoved | FileApplied | RetentionChanged
)


class IndexCommit(EventCommit[AnyIndexEvent], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document of indexes, with the events that the write added."""


class StoredIndex(StoredTable, frozen=True, kw_only=True, omit_defaults=True):
    """An index in the store: also main, from its first change on, without a name in its keys."""

    keys: IndexKeys = field(name="index")


class StoredRetention(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rules of retention in the store, of which there is at least one."""

    rules: tuple[RetentionKeys, ...]
    """The tables, as written."""
    changed: datetime
    """When these rules were stored (UTC)."""
    changed_by: str
    """The principal."""
    source: str = ""
    """The source of the file that made or changed the rules last, or empty if no file did."""

    def count_about(self, name: str) -> int:
        """Return how many rules name an index."""
        return sum(keys.get("index") == name for keys in self.rules)


class AppliedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file that was applied last of its source."""

    digest: str
    """The SHA-256 of what the file says, in hexadecimal digits."""
    prunes: bool = False
    """Whether things that the file lacks were removed."""
    at: datetime
    """When the file was applied, in UTC."""
    by: str
    """The principal that applied the file."""
    note: str = ""
    """Why the file was applied, or where the file comes from, or an empty text."""


class ListedIndex(ListedTable, frozen=True, kw_only=True, omit_defaults=True):
    """An index in a list for people and programs."""

    keys: IndexKeys = field(name="index")
    """The keys of the `[[index]]` table, or of `[main]`, whose keys have no name."""
    problem: str = ""
    """Why the index is not served, in a sentence, or an empty text if it is served."""
    warnings: tuple[Caution, ...] = ()
    """Warnings about what is probably wrong with the index although it is served."""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What is probably wrong although it is served."""
        return self.warnings


class IndexList(TableList[StoredIndex], frozen=True, kw_only=True, omit_defaults=True):
    """
    The indexes in the store after the commits 1 to `revision`.

    The tables are those of all indexes but main, which is a field of its own.
    """

    tables: tuple[StoredIndex, ...] = field(name="indexes", default=())
    main: StoredIndex | None = None
    """The table of main, or None while nobody has changed it."""
    applied: dict[str, AppliedFile] = {}  # noqa: RUF012 - msgspec copies it
    """The file that was applied last, by its source."""
    retention: StoredRetention | None = None
    """The rules of retention, or None if there is none."""
    commit: IndexCommit | None = None
    """The last commit, number `revision`."""


class _IndexKind(TableKind[IndexList, AnyIndexEvent, ListedIndex], frozen=True, kw_only=True):
    """The kind of indexes, whose document also has main, applied files and rules of retention."""

    def apply(self, tables: IndexList, event: TableEvent) -> IndexList:
        """Return the indexes after an event, with revision and last commit unchanged."""
        match event:
            case MainChanged(keys=keys, at=at, by=by, note=note, source=source):
                main = StoredIndex(keys=keys, created=at, created_by=by, note=note, source=source)
                if tables.main is not None:
                    main = tables.main.after(event)
                if not keys:  # main is as if nobody had changed it, so it belongs to no file
                    main = replace(main, source="")
                return replace(tables, main=main)
            case FileApplied(source=source, digest=digest, prunes=prunes, at=at, by=by, note=note):
                file = AppliedFile(digest=digest, prunes=prunes, at=at, by=by, note=note)
                return replace(tables, applied={**tables.applied, source: file})
            case RetentionChanged():
                return replace(tables, retention=_retention_after(tables.retention, event))
        return super().apply(tables, event)

    def describe_event(self, event: TableEvent) -> str:
        """Return a change in words, without who made it and when."""
        note = ""
        if event.note:
            note = f" ({event.note})"
        match event:
            case MainChanged(keys=keys):
                return f"index main: changed, {self.describe_keys(keys)}{note}"
            case FileApplied(source=source, digest=digest):
                return f"file {source}: applied, SHA-256 {digest[:16]}{note}"
            case RetentionChanged(rules=rules):
                return f"retention: {describe_rules(rules)}{note}"
        return super().describe_event(event)

    def describe_keys(self, keys: Mapping[str, Any]) -> str:
        """
        Return the keys of an index without its name, with their values, as one line.

        The empty text that earlier versions have for main is replaced by `main`.
        """
        without_keys = "its own packages"
        if NAME not in keys:  # the keys are those of main
            without_keys = "no keys"
        return super().describe_keys(with_main_named(keys)) or without_keys


INDEX_KIND: Final = _IndexKind(
    noun="index",
    plural="indexes",
    title="indexes",
    article="an",
    exists_code=INDEX_EXISTS,
    changed_code="index_changed",
    fixed_keys={
        NAME: (
            "The name of an index stays as it is: installers have it in their URLs. Make another "
            "index."
        )
    },
    list_them=Advice(Remedy.LIST_INDEXES),
    titles=("Index", "What it is", "Who made it"),
    added_word="made",
    document=IndexList,
    commit=IndexCommit,
    stored=StoredIndex,
    events={
        IndexMade: "Made indexes",
        IndexChanged: "Changed indexes",
        MainChanged: "Changes of the index main",
        IndexRemoved: "Removed indexes",
        RetentionChanged: "Changed rules of retention",
        FileApplied: "Applied a file of the index",
    },
    added=IndexMade,
    changed=IndexChanged,
    removed=IndexRemoved,
    listed=ListedIndex,
)


def _retention_after(
    retention: StoredRetention | None, event: RetentionChanged
) -> StoredRetention | None:
    """Return the rules of retention after a change, or None if there is no rule any more."""
    if not event.rules:
        return None
    # rules that are changed by hand still belong to the file that they came from
    source = event.source
    if not source and retention is not None:
        source = retention.source
    return StoredRetention(rules=event.rules, changed=event.at, changed_by=event.by, source=source)


def describe_rules(rules: tuple[RetentionKeys, ...]) -> str:
    """Return rules of retention with their keys and values, as one line."""
    if not rules:
        return "no rule any more"
    described = [f"rule {number}, {describe_table(keys)}" for number, keys in enumerate(rules, 1)]
    return "; ".join(described)


def with_main_named(keys: Mapping[str, Any]) -> IndexKeys:
    """
    Return the keys of an index, with the name of main in its lists of indexes.

    Earlier versions have an empty text there. A value that is no list stays as it is.
    """
    keys_with_main = dict(keys)
    for key in LISTS_OF_INDEXES:
        if isinstance(keys.get(key), list | tuple):
            keys_with_main[key] = [MAIN if name == "" else name for name in keys[key]]
    return keys_with_main
