"""
The trusted publishers of the store, and which of them are in force.

They change while servers run. Each server reads them again after as long as it keeps a token's
record, so that a change is in force everywhere within 15 seconds.

A publisher is in force unless this version does not understand it, or an earlier one of the list
says other things of the keys of its issuer: then it gives no job a token, and the list says why.
Which issuers may have a private address is for the settings to say, as the server asks them for
their keys: whoever administers the index may not make it ask any machine of its network.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from wheelyard.catalog.journaled_documents import PublisherRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, field_errors, quoted
from wheelyard.model.index_name import renamed_in
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
    problems: Mapping[str, str]
    """Sentences, by the ids of those that are not in force."""


class Publishers(StoredTables[PublisherList, PublisherCommit, AnyPublisherEvent, ListedPublisher]):
    """
    Returns the trusted publishers in force, and changes those of the store.

    Threads may share it. Each method raises Unavailable if they cannot be read.

    Args:
        records: Those of the store.
        runtime: Its clock.
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

        It is the same object until they change.
        """
        snapshot = self.records.get()
        # read once: another thread may replace it between two reads
        parsed = self._parsed
        if parsed is None or parsed[0] != snapshot.version:
            in_force = self._find_in_force(snapshot.value or PublisherList())
            parsed = (snapshot.version, in_force)
            self._parsed = parsed
        return parsed[1]

    def rename_index(self, before: str, after: str, by: str, note: str) -> None:
        """Have the publishers that name an index name another one."""
        self.commit(_RenameIndex(before, after, self.runtime.now(), by, note))

    def checked(self, keys: PublisherKeys, name: str | None) -> PublisherKeys:
        """Return the keys of a publisher as they are stored. Raises Invalid if they are wrong."""
        del name
        with field_errors():
            publisher = parse_publisher(keys)
        return canonical_keys(keys, publisher)

    def keys_before(self, before: StoredTable, changes: Mapping[str, Any]) -> PublisherKeys:
        """
        Return the keys that a change of a publisher starts from.

        A key of earlier versions that says nothing new is left out.
        """
        del changes
        return self._without_earlier(before.keys)

    def has_key(self, key: str, table: PublisherKeys) -> bool:
        """Return whether a publisher of the provider in `table` has a key of this name."""
        return key == PRIVATE_ISSUER or key in keys_of_provider(str(table.get("provider")))

    def problems(self, stored: PublisherList) -> Mapping[str, str]:
        """Return why publishers are not in force, in sentences, by their ids."""
        return self._find_in_force(stored).problems

    def _find_in_force(self, stored: PublisherList) -> PublishersInForce:
        """Return which publishers of a list are in force, and why others are not."""
        in_force = list[Publisher]()
        problems = dict[str, str]()
        for publisher in stored.tables:
            try:
                parsed = parse_publisher(self._without_earlier(publisher.keys))
                self._require_allowed(parsed)
                # with those before it in the list, so that one of two that disagree is in force
                require_agreement(parsed, in_force)
            except Invalid as fault:
                problems[publisher.name] = fault.message
            else:
                in_force.append(parsed)
        return PublishersInForce(tuple(in_force), problems)

    def _without_earlier(self, keys: PublisherKeys) -> PublisherKeys:
        """Return the keys of a publisher without one of earlier versions that says nothing new."""
        issuer = str(keys.get("issuer", "")).rstrip("/")
        allowed = {private_issuer.rstrip("/") for private_issuer in self._private_issuers}
        # the settings do not allow the private address that this key was for: with the key, the
        # publisher is refused, and that is why it is not in force
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
        # without the one that this event changes, which it need not agree with
        in_force = self._find_in_force(stored).all
        unchanged = [other for other in in_force if other.id != publisher.id]
        with field_errors():
            self._require_allowed(publisher)
            require_agreement(publisher, unchanged)


class _RenameIndex(Struct, frozen=True):
    """The intent that publishers which name an index name another one."""

    before: str
    after: str
    at: datetime
    by: str
    note: str

    def __call__(self, stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
        """Return an event for each of these publishers."""
        events: list[AnyPublisherEvent] = []
        for publisher in stored.tables:
            # one that names no index is about the index at the root, and stays so
            names = str(publisher.keys.get("index", ""))
            index = renamed_in(names, self.before, self.after)
            if index != names:
                keys = {**publisher.keys, "index": index}
                event = PublisherChanged(at=self.at, by=self.by, note=self.note, keys=keys)
                events.append(event)
        return tuple(events)
