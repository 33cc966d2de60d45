"""
The trusted publishers in the store: the keys of `[[publisher]]` tables, with a journal.

`publisher.py` says whether a table is valid: a version that does not know one of the keys takes the
table for wrong, and gives no job a token for it.
"""

from datetime import datetime
from typing import ClassVar, Final

from msgspec import field

from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    ListedTable,
    StoredTable,
    TableAdded,
    TableChanged,
    TableKeys,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.remedies import Advice, Remedy

PublisherKeys = TableKeys
"""The keys of a `[[publisher]]` table, with their values as JSON."""


class PublisherAdded(
    TableAdded, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-added"
):
    """A publisher was added."""

    keys: PublisherKeys = field(name="publisher")


class PublisherChanged(
    TableChanged, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-changed"
):
    """A publisher has other keys now, which are all here."""

    keys: PublisherKeys = field(name="publisher")


class PublisherRemoved(
    TableRemoved, frozen=True, kw_only=True, omit_defaults=True, tag="publisher-removed"
):
    """A publisher was removed."""

    name: str = field(name="id")


AnyPublisherEvent = PublisherAdded | PublisherChanged | PublisherRemoved


class PublisherCommit(
    EventCommit[AnyPublisherEvent], frozen=True, kw_only=True, omit_defaults=True
):
    """One write of the document of publishers, with the events that the write added."""


class StoredPublisher(StoredTable, frozen=True, kw_only=True, omit_defaults=True):
    """A publisher in the store."""

    NAME_KEY: ClassVar[str] = "id"

    keys: PublisherKeys = field(name="publisher")


class PublisherList(TableList[StoredPublisher], frozen=True, kw_only=True, omit_defaults=True):
    """The publishers in the store after the commits 1 to `revision`."""

    tables: tuple[StoredPublisher, ...] = field(name="publishers", default=())
    commit: PublisherCommit | None = None
    """The last commit, number `revision`."""


class ListedPublisher(ListedTable, frozen=True, kw_only=True, omit_defaults=True):
    """A publisher in a list for people and programs."""

    name: str = field(name="id")
    keys: PublisherKeys = field(name="publisher")
    """The keys of the `[[publisher]]` table."""
    problem: str = ""
    """
    Why the publisher gives no job a token, in a sentence, or an empty text if it gives tokens.
    """
    created: datetime
    created_by: str

    @property
    def names_index(self) -> bool:
        """Whether the keys say which indexes the publisher is about, as older keys may not."""
        return bool(self.keys.get("index"))


PUBLISHER_KIND: Final = TableKind[PublisherList, AnyPublisherEvent, ListedPublisher](
    noun="publisher",
    plural="publishers",
    title="trusted publishers",
    exists_code="publisher_exists",
    changed_code="publisher_changed",
    fixed_keys={
        "id": "The id of a publisher stays as it is. Remove it, and add another one.",
        "provider": "The provider of a publisher stays as it is. Remove it, and add another one.",
    },
    list_them=Advice(Remedy.LIST_PUBLISHERS),
    titles=("Jobs", "May", "Added"),
    added_word="added",
    document=PublisherList,
    commit=PublisherCommit,
    stored=StoredPublisher,
    events={
        PublisherAdded: "Added trusted publishers",
        PublisherChanged: "Changed trusted publishers",
        PublisherRemoved: "Removed trusted publishers",
    },
    added=PublisherAdded,
    changed=PublisherChanged,
    removed=PublisherRemoved,
    listed=ListedPublisher,
)
