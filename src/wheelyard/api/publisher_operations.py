"""
Operations on trusted publishers.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from wheelyard.api.access_operations import AccessHistoryQuery
from wheelyard.api.operation import Call
from wheelyard.model.stored_publishers import ListedPublisher, PublisherCommit, PublisherKeys


class PublisherAnswer(Struct, frozen=True):
    """The trusted publishers."""

    publishers: tuple[ListedPublisher, ...]
    is_enabled: bool
    """Whether jobs get tokens: the settings have `trusted_publishing.audience`."""
    revision: int
    """The number of the last change in the store."""


class PublisherHistory(Struct, frozen=True):
    """Changes of trusted publishers, oldest first."""

    commits: tuple[PublisherCommit, ...]


class NewPublisher(Struct, frozen=True, forbid_unknown_fields=True):
    """A publisher to add, and why."""

    publisher: dict[str, Any]
    """The keys of a `[[publisher]]` table."""
    note: str = ""


class PublisherEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a publisher, and why."""

    id: str
    publisher: dict[str, Any]
    """The keys that change, with null for those to leave out."""
    note: str = ""
    as_of: Annotated[datetime, Meta(tz=True)] | None = None
    """`changed`, or else `created`, as the list had it: another change since then is a conflict."""


class PublisherRemoval(Struct, frozen=True, forbid_unknown_fields=True):
    """The publisher to remove, and why."""

    id: str
    note: str = ""


def list_publishers(call: Call) -> PublisherAnswer:
    """List the trusted publishers."""
    index = call.index
    document = index.server.publishers.records.get("current").value
    return PublisherAnswer(
        index.server.publishers.show(),
        bool(index.settings.trusted_publishing.audience),
        document.revision if document else 0,
    )


def add_publisher(call: Call, body: NewPublisher) -> ListedPublisher:
    """
    Add a trusted publisher to the store.

    Raises Invalid if there is no such index. Raises as `Publishers.add`.
    """
    _require_index(call, body.publisher)
    return call.index.server.publishers.add(body.publisher, call.by, body.note)


def _require_index(call: Call, keys: PublisherKeys) -> None:
    name = keys.get("index")
    if isinstance(name, str):  # anything else is for the checks of the table to refuse
        call.index.server.index_administration.require_known(name)


def change_publisher(call: Call, body: PublisherEdit) -> ListedPublisher:
    """
    Give other values to keys of a trusted publisher.

    Raises Invalid if there is no such index. Raises as `Publishers.change`.
    """
    _require_index(call, body.publisher)
    return call.index.server.publishers.change(
        body.id, body.publisher, call.by, body.note, body.as_of
    )


def remove_publisher(call: Call, body: PublisherRemoval) -> None:
    """
    Remove a trusted publisher from the store, whose tokens open nothing from then on.

    Raises as `Publishers.remove`.
    """
    call.index.server.publishers.remove(body.id, call.by, body.note)


WHOLE_HISTORY: Final = AccessHistoryQuery()


def publisher_history(call: Call, body: AccessHistoryQuery = WHOLE_HISTORY) -> PublisherHistory:
    """Show the changes of trusted publishers that follow a number."""
    commits = call.index.server.publishers.records.history(body.after)
    return PublisherHistory(tuple(islice(commits, body.limit or None)))
