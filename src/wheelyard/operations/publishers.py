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
from wheelyard.operations.stored_tables import StoredTables
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
        parsed = self._parsed
        if parsed is None or parsed[0] != snapshot.version:
            parsed = snapshot.version, self._find_in_force(snapshot.value or PublisherList())
            self._parsed = parsed
        return parsed[1]

    def rename_index(self, before: str, after: str, by: str, note: str) -> None:
        """Have the publishers that name an index name another one."""
        at = self.runtime.now()

        def intent(stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
            events = list[AnyPublisherEvent]()
            for publisher in stored.tables:
                names = str(publisher.keys.get("index", ""))
                index = renamed_in(names, before, after)
                if index != names:
                    keys = {**publisher.keys, "index": index}
                    events.append(PublisherChanged(at=at, by=by, note=note, keys=keys))
            return tuple(events)

        self.commit(intent)

    def checked(self, keys: PublisherKeys, name: str | None) -> PublisherKeys:
        """See `StoredTables`."""
        del name
        with field_errors():
            publisher = parse_publisher(keys)
        return canonical_keys(keys, publisher)

    def keys_before(self, before: StoredTable, changes: Mapping[str, Any]) -> PublisherKeys:
        """See `StoredTables`."""
        del changes
        return self._without_earlier(before.keys)

    def has_key(self, key: str, table: PublisherKeys) -> bool:
        """See `StoredTables`."""
        return key == PRIVATE_ISSUER or key in keys_of_provider(str(table.get("provider")))

    def problems(self, stored: PublisherList) -> Mapping[str, str]:
        """See `StoredTables`."""
        return self._find_in_force(stored).problems

    def _find_in_force(self, stored: PublisherList) -> PublishersInForce:
        in_force = list[Publisher]()
        problems = dict[str, str]()
        for publisher in stored.tables:
            try:
                parsed = parse_publisher(self._without_earlier(publisher.keys))
                self._require_allowed(parsed)
                require_agreement(parsed, in_force)
            except Invalid as fault:
                problems[publisher.name] = fault.message
            else:
                in_force.append(parsed)
        return PublishersInForce(tuple(in_force), problems)

    def _without_earlier(self, keys: PublisherKeys) -> PublisherKeys:
        """Return the keys of a publisher without one of earlier versions that says nothing new."""
        issuer = str(keys.get("issuer", "")).rstrip("/")
        listed = {issuer.rstrip("/") for issuer in self._private_issuers}
        if keys.get(PRIVATE_ISSUER) and issuer not in listed:
            return keys  # which is why it is not in force
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
        """Raise Invalid unless a publisher can be in force together with all others."""
        if isinstance(event, PublisherRemoved):
            return
        publisher = parse_publisher(event.keys)
        in_force = self._find_in_force(stored).all
        with field_errors():
            self._require_allowed(publisher)
            require_agreement(publisher, (other for other in in_force if other.id != publisher.id))
