"""The operations on trusted publishers."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from wheelyard.api import table_operations
from wheelyard.api.operation import Call
from wheelyard.model.stored_publishers import (
    PUBLISHER_KIND,
    ListedPublisher,
    PublisherCommit,
    PublisherKeys,
)

KeysOfPublisher = Annotated[PublisherKeys, Meta(title="PublisherKeys")]


class PublisherAnswer(Struct, frozen=True):
    """The trusted publishers."""

    tables: tuple[ListedPublisher, ...] = field(name="publishers")
    is_enabled: bool
    """Whether jobs get tokens: the settings have `trusted_publishing.audience`."""
    revision: int
    """The number of the last commit of the publishers in the store, or 0 if there is none."""


class PublisherHistory(table_operations.TableHistory[PublisherCommit], frozen=True):
    """Changes of trusted publishers, oldest first."""


class NewPublisher(table_operations.NewTable, frozen=True, forbid_unknown_fields=True):
    """A publisher to add, and why."""

    keys: KeysOfPublisher = field(name="publisher")
    """The keys of a `[[publisher]]` table."""


class PublisherEdit(table_operations.TableEdit, frozen=True, forbid_unknown_fields=True):
    """A change of a publisher, and why."""

    name: str = field(name="id")
    keys: KeysOfPublisher = field(name="publisher")


class PublisherRemoval(table_operations.TableRemoval, frozen=True, forbid_unknown_fields=True):
    """The publisher to remove, and why."""

    name: str = field(name="id")


def _facts(call: Call) -> Mapping[str, object]:
    """Return whether jobs get tokens, which a list of publishers says, too."""
    return {"is_enabled": bool(call.index.settings.trusted_publishing.audience)}


def _require_index(call: Call, keys: PublisherKeys) -> None:
    """Raise Invalid if a publisher names an index that there is not."""
    name = keys.get("index")
    # anything else is for the checks of the table to refuse
    if isinstance(name, str):
        call.index.server.index_administration.require_known(name)


PUBLISHERS: Final = table_operations.TableOperations(
    PUBLISHER_KIND,
    table_operations.TableJson(
        answer=PublisherAnswer,
        listed=ListedPublisher,
        history=PublisherHistory,
        new=NewPublisher,
        edit=PublisherEdit,
        removal=PublisherRemoval,
        removed=None,
        facts=_facts,
        require=_require_index,
    ),
    table_operations.TableTexts(
        list="List the trusted publishers.",
        history="Show the changes of trusted publishers that follow a number.",
        add="Add a trusted publisher to the store.",
        change="Give other values to keys of a trusted publisher.",
        remove=(
            "Remove a trusted publisher from the store, whose tokens open nothing from then on."
        ),
        right_to_see="see or change rights",
        right_to_change="change rights",
    ),
    lambda call: call.index.server.publishers,
)
