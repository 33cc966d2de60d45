"""
The trusted publishers of the store, and which of them are in force.

Publishers change while servers run. Each server reads them again after as long as it keeps the
record of a token, so that a change is in force everywhere within 15 seconds.

A publisher is not in force if this version cannot read it, or if a publisher before it in the list
contradicts it about the keys of their issuer. Then it gives no job a token, and the list says why.
The settings, and not the index, say which issuers may have a private address. The server asks
issuers for their keys, and an administrator of the index may not make the server send requests to
any machine of its network.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from wheelyard.catalog.journaled_documents import PublisherRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, field_errors, quoted
from wheelyard.model.index_name import names_after_rename
from wheelyard.model.publisher import (
    PRIVATE_ISSUER,
    Publisher,
    canonical_keys,
    keys_of_provider,
    parse_publisher,
    require_agreement,
)
from wheelyard.model.stored_publishers import (
    PUBLISHER_KIND,
    AnyPublisherEvent,
    ListedPublisher,
    PublisherChanged,
    PublisherCommit,
    PublisherKeys,
    PublisherList,
    PublisherRemoved,
)
from wheelyard.model.stored_tables import StoredTable
from wheelyard.operations.table_changes import StoredTables
from wheelyard.storage.base import ObjectVersion


class PublishersInForce(Struct, frozen=True):
    """The publishers that give tokens, and why others do not."""

    all: tuple[Publisher, ...]
    """The publishers in force, in the order of the list."""
    problems: Mapping[str, str]
    """Why the other publishers are not in force, in sentences, by their ids."""


class Publishers(StoredTables[PublisherList, PublisherCommit, AnyPublisherEvent, ListedPublisher]):
    """
    Returns the trusted publishers in force, and changes those of the store.

    Threads may share an object. Each method raises Unavailable if the publishers cannot be read.

    Args:
        records: The publishers of the store.
        runtime: Has the clock.
        private_issuers: The issuers that may have a private address.
    """

    def __init__(
        self, records: PublisherRecords, runtime: Runtime, private_issuers: frozenset[str]
    ) -> None:
        super().__init__(PUBLISHER_KIND, records, runtime)
        self._private_issuers = private_issuers
        # Threads may set it at once. Each value is right for its version, so any may be the last.
        self._parsed: tuple[ObjectVersion, PublishersInForce] | None = None

    def load(self) -> PublishersInForce:
        """
        Return the publishers in force, read from the store if they may have changed.

        The same object is returned until a publisher changes.
        """
        snapshot = self.records.get()
        # read once: another thread may replace it between two reads
        parsed = self._parsed
        if parsed is None or parsed[0] != snapshot.version:
            in_force = self._find_in_force(snapshot.value or PublisherList())
            parsed = (snapshot.version, in_force)
            self._parsed = parsed
        return parsed[1]

    def rename_index(self, old_name: str, new_name: str, by: str, note: str) -> None:
        """Write the new name of an index into the publishers that name it."""
        self.commit(_RenameIndex(old_name, new_name, self.runtime.now(), by, note))

    def checked(self, keys: PublisherKeys, name: str | None) -> PublisherKeys:
        """Return the keys of a publisher as they are stored. Raises Invalid if they are wrong."""
        del name
        with field_errors():
            publisher = parse_publisher(keys)
        return canonical_keys(keys, publisher)

    def keys_before(self, table_before: StoredTable, changes: Mapping[str, Any]) -> PublisherKeys:
        """
        Return the keys that a change of a publisher starts from.

        The key for a private issuer, which earlier versions had, is left out if it has no effect.
        """
        del changes
        return self._without_private_issuer(table_before.keys)

    def has_key(self, key: str, table: PublisherKeys) -> bool:
        """Return whether a publisher of the provider in `table` has a key of this name."""
        provider = str(table.get("provider"))
        return key == PRIVATE_ISSUER or key in keys_of_provider(provider)

    def problems(self, stored: PublisherList) -> Mapping[str, str]:
        """Return why publishers are not in force, in sentences, by their ids."""
        return self._find_in_force(stored).problems

    def _find_in_force(self, stored: PublisherList) -> PublishersInForce:
        """Return which publishers of a list are in force, and why others are not."""
        in_force = list[Publisher]()
        problems = dict[str, str]()
        for publisher in stored.tables:
            try:
                keys = self._without_private_issuer(publisher.keys)
                parsed = parse_publisher(keys)
                self._require_allowed(parsed)
                # only with the publishers before it: of two that disagree, the first is in force
                require_agreement(parsed, in_force)
            except Invalid as fault:
                problems[publisher.name] = fault.message
            else:
                in_force.append(parsed)
        return PublishersInForce(tuple(in_force), problems)

    def _without_private_issuer(self, keys: PublisherKeys) -> PublisherKeys:
        """
        Return the keys of a publisher without the one that earlier versions had for its issuer.

        The key stays if it allows a private address that the settings do not allow: then the
        publisher is not in force, and the key is why.
        """
        issuer = str(keys.get("issuer", "")).rstrip("/")
        allowed = {private_issuer.rstrip("/") for private_issuer in self._private_issuers}
        if keys.get(PRIVATE_ISSUER) and issuer not in allowed:
            return keys
        return {key: value for key, value in keys.items() if key != PRIVATE_ISSUER}

    def _require_allowed(self, publisher: Publisher) -> None:
        """Raise Invalid if the issuer has a private address that the settings do not allow."""
        if publisher.has_private_address and not publisher.issuer.may_be_private(
            self._private_issuers
        ):
            raise Invalid(
                f"The issuer {quoted(publisher.issuer.names[0])}, or the URL of its keys, has a "
                "private address: write the issuer into private_issuers of [trusted_publishing] in "
                "the settings of the servers, and take its keys from the same host.",
                code="invalid_field",
                field="issuer",
            )

    def require_fit(self, event: AnyPublisherEvent, stored: PublisherList) -> None:
        """Raise Invalid (code `invalid_field`) unless a publisher can be in force with others."""
        if isinstance(event, PublisherRemoved):
            return
        publisher = parse_publisher(event.keys)
        # without the publisher that this event changes: it need not agree with its earlier keys
        in_force = self._find_in_force(stored).all
        other_publishers = [other for other in in_force if other.id != publisher.id]
        with field_errors():
            self._require_allowed(publisher)
            require_agreement(publisher, other_publishers)


class _RenameIndex(Struct, frozen=True):
    """The intent to write the new name of an index into the publishers that name it."""

    old_name: str
    new_name: str
    at: datetime
    by: str
    note: str

    def __call__(self, stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
        """Return an event for each publisher that names the index."""
        events = list[AnyPublisherEvent]()
        for publisher in stored.tables:
            # a publisher that names no index is for the index at the root, and stays so
            index_names = str(publisher.keys.get("index", ""))
            new_names = names_after_rename(index_names, self.old_name, self.new_name)
            if new_names != index_names:
                keys = {**publisher.keys, "index": new_names}
                event = PublisherChanged(at=self.at, by=self.by, note=self.note, keys=keys)
                events.append(event)
        return tuple(events)
