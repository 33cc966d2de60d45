"""
The definitions of indexes and the rules of retention in the store, as a document with a journal.

An index is kept as the keys of an `[[index]]` table that were given, and main as those of `[main]`,
so that the defaults are those of the version that reads it. Whether a table is valid is for
`index_definition.py` to say: a version that does not know one of its keys takes it for wrong, and
does not serve that index. The same holds for the keys of a `[[retention]]` table, by which nothing
is deleted then.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.index_name import MAIN
from wheelyard.model.project import EventCommit
from wheelyard.model.table_texts import describe_table
from wheelyard.remedies import Caution

NAME: Final = "name"
LAYERS: Final = "layers"
PROMOTE_ONLY: Final = "promote_only"
FILTER: Final = "filter"
"""The key by which earlier versions said which files an index lists."""
LISTS_OF_INDEXES: Final = (LAYERS, "promote_from")
IndexKeys = dict[str, Any]
"""The keys of an `[[index]]` table, or of `[main]`, with their values as JSON."""
RetentionKeys = dict[str, Any]
"""The keys of a `[[retention]]` table, with their values as JSON."""
NEVER_CHANGED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When main was changed last while nobody has changed it."""


class IndexEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of the indexes in the store by a principal."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `local:NAME`, `user:EMAIL`."""
    note: str = ""
    """Why, in the words of who has made the change."""


class IndexMade(IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="index-made"):
    """An index was made."""

    index: IndexKeys
    source: str = ""
    """That of the file by which it was made, or empty if it was made by hand."""


class IndexChanged(IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="index-changed"):
    """An index has other keys now, which are all here."""

    index: IndexKeys
    source: str = ""
    """That of the file by which it was changed, or empty if it keeps the one that it had."""


class MainChanged(IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="main-changed"):
    """Main has other keys now, which are all here."""

    index: IndexKeys
    """Without the name."""
    source: str = ""
    """That of the file by which it was changed, or empty if it keeps the one that it had."""


class IndexRemoved(IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="index-removed"):
    """An index was removed."""

    name: str


class FileApplied(IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="file-applied"):
    """All that a file says of the index was in force."""

    source: str
    digest: str
    """The SHA-256 of what it says, in hexadecimal digits."""
    prunes: bool = False
    """Whether what it lacks was removed."""


class RetentionChanged(
    IndexEvent, frozen=True, kw_only=True, omit_defaults=True, tag="retention-changed"
):
    """The rules of retention were replaced by others, which are all here."""

    rules: tuple[RetentionKeys, ...]
    source: str = ""
    """That of the file by which they were changed, or empty if they keep the one that they had."""


AnyIndexEvent = (
    IndexMade | IndexChanged | MainChanged | IndexRemoved | FileApplied | RetentionChanged
)


class IndexCommit(EventCommit[AnyIndexEvent], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document, with the events that it added."""


class StoredIndex(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An index in the store: also main, from its first change on, without a name in its keys."""

    index: IndexKeys
    created: datetime
    created_by: str
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""
    """That of the last change."""
    source: str = ""
    """That of the file that made or changed it last, or empty if none did."""

    @property
    def name(self) -> str:
        """The name, which no other one has."""
        return str(self.index.get("name", ""))


class StoredRetention(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rules of retention in the store, of which there is at least one."""

    rules: tuple[RetentionKeys, ...]
    """The tables, as written."""
    changed: datetime
    """When the store got these rules (UTC)."""
    changed_by: str
    """The principal."""
    source: str = ""
    """That of the file that made or changed them last, or empty if none did."""

    def count_about(self, name: str) -> int:
        """Return how many rules name an index."""
        return sum(keys.get("index") == name for keys in self.rules)


class AppliedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was applied last of a source."""

    digest: str
    """The SHA-256 of what the file says, in hexadecimal digits."""
    prunes: bool = False
    """Whether what it lacks was removed."""
    at: datetime
    """UTC."""
    by: str
    """The principal."""
    note: str = ""
    """Why, or where from."""


class ListedIndex(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An index in a list for people and programs."""

    name: str
    index: IndexKeys
    """The keys of its table. Those of main have no name."""
    source: str = ""
    """That of the file that made or changed it last, or empty if none did."""
    problem: str = ""
    """Why it is not served, in a sentence, or empty if it is."""
    warnings: tuple[Caution, ...] = ()
    """What is probably wrong although it is served."""
    created: datetime | None = None
    created_by: str = ""
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""


class IndexList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The indexes in the store after the commits 1 to `revision`."""

    revision: int = 0
    indexes: tuple[StoredIndex, ...] = ()
    """All but main, in the order in which they were made."""
    main: StoredIndex | None = None
    """None while nobody has changed it."""
    applied: dict[str, AppliedFile] = {}
    """The file that was applied last, by its source."""
    retention: StoredRetention | None = None
    """The rules of retention, or None if there is none."""
    commit: IndexCommit | None = None
    """The last commit, number `revision`."""

    def find(self, name: str) -> StoredIndex | None:
        """Return the index with a name but main, or None; see `FORMER_MAIN`."""
        return next((stored for stored in self.indexes if stored.name == name), None)


def apply(indexes: IndexList, event: AnyIndexEvent) -> IndexList:
    """Return `indexes` after `event`, with its revision and last commit unchanged."""
    stored = indexes.indexes
    match event:
        case IndexMade(index=keys, at=at, by=by, note=note, source=source):
            made = StoredIndex(index=keys, created=at, created_by=by, note=note, source=source)
            stored = (*stored, made)
        case IndexChanged(index=keys):
            stored = tuple(
                _changed(before, event) if before.name == keys.get("name") else before
                for before in stored
            )
        case MainChanged(index=keys, at=at, by=by, note=note, source=source):
            main = StoredIndex(index=keys, created=at, created_by=by, note=note, source=source)
            if indexes.main is not None:
                main = _changed(indexes.main, event)
            return replace(indexes, main=main)
        case FileApplied(source=source, digest=digest, prunes=prunes, at=at, by=by, note=note):
            file = AppliedFile(digest=digest, prunes=prunes, at=at, by=by, note=note)
            return replace(indexes, applied={**indexes.applied, source: file})
        case RetentionChanged():
            return replace(indexes, retention=_retention_after(indexes.retention, event))
        case IndexRemoved(name=name):
            stored = tuple(before for before in stored if before.name != name)
    return replace(indexes, indexes=stored)


def _changed(before: StoredIndex, event: IndexChanged | MainChanged) -> StoredIndex:
    return replace(
        before,
        index=event.index,
        changed=event.at,
        changed_by=event.by,
        note=event.note,
        source=event.source or before.source,
    )


def _retention_after(
    before: StoredRetention | None, event: RetentionChanged
) -> StoredRetention | None:
    if not event.rules:
        return None
    source = event.source
    if not source and before is not None:
        source = before.source
    return StoredRetention(rules=event.rules, changed=event.at, changed_by=event.by, source=source)


def describe_event(event: AnyIndexEvent) -> str:
    """Return a change in words, without who made it and when."""
    note = f" ({event.note})" if event.note else ""
    match event:
        case IndexRemoved(name=name):
            return f"index {name}: removed{note}"
        case IndexMade(index=keys):
            return f"index {keys.get('name')}: made, {describe_keys(keys)}{note}"
        case IndexChanged(index=keys):
            return f"index {keys.get('name')}: changed, {describe_keys(keys)}{note}"
        case MainChanged(index=keys):
            return f"index main: changed, {describe_keys(keys)}{note}"
        case FileApplied(source=source, digest=digest):
            return f"file {source}: applied, SHA-256 {digest[:16]}{note}"
        case RetentionChanged(rules=rules):
            return f"retention: {describe_rules(rules)}{note}"


def describe_rules(rules: tuple[RetentionKeys, ...]) -> str:
    """Return rules of retention with their keys and values, as one line."""
    numbered = (f"rule {number}, {describe_table(keys)}" for number, keys in enumerate(rules, 1))
    return "; ".join(numbered) or "no rule any more"


def with_main(keys: Mapping[str, Any]) -> IndexKeys:
    """
    Return the keys of an index, with the name of main in its lists of indexes.

    Earlier versions have an empty text there. Values of another type stay as they are.
    """
    named = dict(keys)
    for key in LISTS_OF_INDEXES:
        if isinstance(keys.get(key), list | tuple):
            named[key] = [MAIN if name == "" else name for name in keys[key]]
    return named


def describe_keys(keys: Mapping[str, Any]) -> str:
    """Return the keys of an index but its name, with their values, as one line."""
    nothing = "its own packages"
    if "name" not in keys:  # of main
        nothing = "no keys"
    return describe_table(with_main(keys), "name") or nothing
