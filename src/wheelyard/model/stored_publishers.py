"""
The trusted publishers in the store, as a document with a journal.

A publisher is kept as the keys of a `[[publisher]]` table that were given, so that the defaults are
those of the version that reads it. Whether a table is valid is for `publisher.py` to say: a version
that does not know one of its keys takes it for wrong, and gives no job a token for it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.project import EventCommit
from wheelyard.model.table_texts import describe_table

PublisherKeys = dict[str, Any]
"""The keys of a `[[publisher]]` table, with their values as JSON."""


class PublisherEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of the publishers in the store by a principal."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `local:NAME`, `user:EMAIL`."""
    note: str = ""
    """Why, in the words of who has made the change."""


class PublisherAdded(
    PublisherEvent, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-added"
):
    """A publisher was added."""

    publisher: PublisherKeys
    source: str = ""
    """That of the file by which it was added, or empty if it was added by hand."""


class PublisherChanged(
    PublisherEvent, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-changed"
):
    """A publisher has other keys now, which are all here."""

    publisher: PublisherKeys
    source: str = ""
    """That of the file by which it was changed, or empty if it keeps the one that it had."""


class PublisherRemoved(
    PublisherEvent, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-removed"
):
    """A publisher was removed."""

    id: str


AnyPublisherEvent = PublisherAdded | PublisherChanged | PublisherRemoved


class PublisherCommit(
    EventCommit[AnyPublisherEvent], frozen=True, kw_only=True, omit_defaults=True
):
    """One write of the document, with the events that it added."""


class StoredPublisher(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A publisher in the store."""

    publisher: PublisherKeys
    created: datetime
    created_by: str
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""
    """That of the last change."""
    source: str = ""
    """That of the file that added or changed it last, or empty if none did."""

    @property
    def id(self) -> str:
        """The id, which no other one has."""
        return str(self.publisher.get("id", ""))

    @property
    def last_changed(self) -> datetime:
        """When it was changed last, or else added."""
        return self.changed or self.created


class ListedPublisher(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A publisher in a list for people and programs."""

    id: str
    source: str = ""
    """That of the file that added or changed it last, or empty if none did."""
    publisher: PublisherKeys
    """The keys of its table."""
    problem: str = ""
    """Why it gives no job a token, in a sentence, or empty if it does."""
    created: datetime
    created_by: str
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""

    @property
    def names_index(self) -> bool:
        """Whether it says which indexes it is about; one of an earlier version may not."""
        return bool(self.publisher.get("index"))


class PublisherList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The publishers in the store after the commits 1 to `revision`."""

    revision: int = 0
    publishers: tuple[StoredPublisher, ...] = ()
    """In the order in which they were added."""
    commit: PublisherCommit | None = None
    """The last commit, number `revision`."""

    def find(self, publisher_id: str) -> StoredPublisher | None:
        """Return the publisher with an id, or None."""
        return next((stored for stored in self.publishers if stored.id == publisher_id), None)


def apply(publishers: PublisherList, event: AnyPublisherEvent) -> PublisherList:
    """Return `publishers` after `event`, with its revision and last commit unchanged."""
    stored = publishers.publishers
    match event:
        case PublisherAdded(publisher=keys, at=at, by=by, note=note, source=source):
            added = StoredPublisher(
                publisher=keys, created=at, created_by=by, note=note, source=source
            )
            stored = (*stored, added)
        case PublisherChanged(publisher=keys):
            stored = tuple(
                _changed(before, event) if before.id == keys.get("id") else before
                for before in stored
            )
        case PublisherRemoved(id=publisher_id):
            stored = tuple(before for before in stored if before.id != publisher_id)
    return replace(publishers, publishers=stored)


def _changed(before: StoredPublisher, event: PublisherChanged) -> StoredPublisher:
    return replace(
        before,
        publisher=event.publisher,
        changed=event.at,
        changed_by=event.by,
        note=event.note,
        source=event.source or before.source,
    )


def describe_event(event: AnyPublisherEvent) -> str:
    """Return a change in words, without who made it and when."""
    note = f" ({event.note})" if event.note else ""
    match event:
        case PublisherRemoved(id=publisher_id):
            return f"publisher {publisher_id}: removed{note}"
        case PublisherAdded(publisher=keys):
            return f"publisher {keys.get('id')}: added, {describe_keys(keys)}{note}"
        case PublisherChanged(publisher=keys):
            return f"publisher {keys.get('id')}: changed, {describe_keys(keys)}{note}"


def describe_keys(keys: Mapping[str, Any]) -> str:
    """Return the keys of a publisher but its id, with their values, as one line."""
    return describe_table(keys, "id")
