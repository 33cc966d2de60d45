"""
The trusted publishers of the store, and which of them are in force.

They change while servers run. Each server reads them again after as long as it keeps a token's
record, so that a change is in force everywhere within 15 seconds.

A publisher is in force unless this version does not understand it, or an earlier one of the list
says other things of the keys of its issuer: then it gives no job a token, and the list says why.
Which issuers may have a private address is for the settings to say, as the server asks them for
their keys: whoever administers the index may not make it ask any machine of its network.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from wheelyard.catalog.commits import Intent
from wheelyard.catalog.journaled_documents import PublisherRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, NotFound, quoted
from wheelyard.model.decoding import require_one_line
from wheelyard.model.index_name import renamed_in
from wheelyard.model.publisher import (
    PRIVATE_ISSUER,
    Publisher,
    canonical_keys,
    parse_publisher,
    require_agreement,
)
from wheelyard.model.stored_publishers import (
    AnyPublisherEvent,
    ListedPublisher,
    PublisherAdded,
    PublisherChanged,
    PublisherKeys,
    PublisherList,
    PublisherRemoved,
    StoredPublisher,
    describe_event,
)
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.audit_log import log_publisher
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import ObjectVersion

PUBLISHER_EXISTS: Final = "publisher_exists"
"""The code of a Conflict for an id that another publisher has."""
PUBLISHER_CHANGED: Final = "publisher_changed"
"""The code of a Conflict for a publisher that somebody else has changed."""


class PublishersInForce(Struct, frozen=True):
    """The publishers that give tokens, and why others do not."""

    all: tuple[Publisher, ...]
    problems: Mapping[str, str]
    """Sentences, by the ids of those that are not in force."""


class Publishers:
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
        self.records = records
        self._runtime = runtime
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

    def read_stored(self) -> PublisherList:
        """Return the publishers as they are in the store now."""
        return self.records.get("current").value or PublisherList()

    def show(self) -> tuple[ListedPublisher, ...]:
        """Return all publishers as they are in the store now."""
        stored = self.read_stored()
        problems = self._find_in_force(stored).problems
        return tuple(
            _listed(publisher, problems.get(publisher.id, "")) for publisher in stored.publishers
        )

    def add(self, keys: PublisherKeys, by: str, note: str = "") -> ListedPublisher:
        """
        Add a publisher, and return it.

        Raises Invalid (code `invalid_field`), with the key, if it is wrong, or its issuer has a
        private address that the settings do not allow. Raises Conflict (code `publisher_exists`) if
        another one has its id.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        with _field_errors():
            publisher = parse_publisher(keys)
        canonical = canonical_keys(keys, publisher)

        def intent(stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
            _require_free(publisher.id, stored)
            self.require_fit(publisher, stored)
            added = PublisherAdded(at=self._runtime.now(), by=by, note=note, publisher=canonical)
            return (added,)

        return self._listed_after(self.commit(intent), publisher.id)

    def change(
        self,
        publisher_id: str,
        keys: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
    ) -> ListedPublisher:
        """
        Give other values to keys of a publisher, and return it.

        None leaves a key out. Raises NotFound if there is no such publisher. Raises Invalid as
        `add` does, also for another id or provider. Raises Conflict (code `publisher_changed`) if
        `as_of` is not when it was last changed.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def intent(stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
            before = _require_stored(publisher_id, stored)
            if as_of is not None and as_of != before.last_changed:
                raise Conflict(
                    f"The publisher {quoted(publisher_id)} was changed meanwhile, by "
                    f"{before.changed_by or before.created_by}. Look at it as it is now, and then "
                    "change it.",
                    code=PUBLISHER_CHANGED,
                )
            changed = {**self._without_earlier(before.publisher), **keys}
            new = {key: value for key, value in changed.items() if value is not None}
            if new == before.publisher:
                return ()
            for key in ("id", "provider"):
                if new.get(key) != before.publisher.get(key):
                    fault = Invalid(
                        f"The {key} of a publisher stays as it is. Remove it, and add another one.",
                        code="invalid_field",
                    )
                    fault.field = key
                    raise fault
            with _field_errors():
                publisher = parse_publisher(new)
            self.require_fit(publisher, stored)
            at, new = self._runtime.now(), canonical_keys(new, publisher)
            return (PublisherChanged(at=at, by=by, note=note, publisher=new),)

        return self._listed_after(self.commit(intent), publisher_id)

    def remove(self, publisher_id: str, by: str, note: str = "") -> None:
        """
        Remove a publisher, whose tokens open nothing from then on.

        Raises NotFound if there is no such publisher.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        removed = PublisherRemoved(at=self._runtime.now(), by=by, note=note, id=publisher_id)

        def intent(stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
            _require_stored(publisher_id, stored)
            return (removed,)

        self.commit(intent, is_end=True)

    def rename_index(self, before: str, after: str, by: str, note: str) -> None:
        """Have the publishers that name an index name another one."""
        at = self._runtime.now()

        def intent(stored: PublisherList) -> tuple[AnyPublisherEvent, ...]:
            events = list[AnyPublisherEvent]()
            for publisher in stored.publishers:
                names = str(publisher.publisher.get("index", ""))
                index = renamed_in(names, before, after)
                if index != names:
                    keys = {**publisher.publisher, "index": index}
                    events.append(PublisherChanged(at=at, by=by, note=note, publisher=keys))
            return tuple(events)

        self.commit(intent)

    def _find_in_force(self, stored: PublisherList) -> PublishersInForce:
        in_force, problems = list[Publisher](), dict[str, str]()
        for publisher in stored.publishers:
            try:
                parsed = parse_publisher(self._without_earlier(publisher.publisher))
                self._require_allowed(parsed)
                require_agreement(parsed, in_force)
            except Invalid as fault:
                problems[publisher.id] = fault.message
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
            fault = Invalid(
                f"The issuer {quoted(publisher.issuer.names[0])}, or the URL of its keys, has a "
                "private address: write the issuer into private_issuers of [trusted_publishing] in "
                "the settings of the servers, and take its keys from the same host.",
                code="invalid_field",
            )
            fault.field = "issuer"
            raise fault

    def require_fit(self, publisher: Publisher, stored: PublisherList) -> None:
        """Raise Invalid unless a publisher can be in force together with all others."""
        in_force = self._find_in_force(stored).all
        with _field_errors():
            self._require_allowed(publisher)
            require_agreement(publisher, (other for other in in_force if other.id != publisher.id))

    def _listed_after(self, after: PublisherList, publisher_id: str) -> ListedPublisher:
        publisher = after.find(publisher_id)
        if publisher is None:  # another process was faster
            raise NotFound(f"The publisher {quoted(publisher_id)} has been removed meanwhile.")
        return _listed(publisher, self._find_in_force(after).problems.get(publisher_id, ""))

    def commit(
        self, intent: Intent[PublisherList, AnyPublisherEvent], *, is_end: bool = False
    ) -> PublisherList:
        """Commit events, also on a full disk if `is_end` says that they end somebody's access."""
        change = self.records.take_away if is_end else self.records.change
        committed = change(intent)
        # after the commit: a process that dies here has changed rights without a line in the log
        for event in committed.events:
            log_publisher(event.by, describe_event(event))
        return committed.after


def _require_free(publisher_id: str, stored: PublisherList) -> None:
    if stored.find(publisher_id) is not None:
        fault = Conflict(
            f"There is a publisher {quoted(publisher_id)}. Choose another id, or change that one.",
            code=PUBLISHER_EXISTS,
        )
        fault.field = "id"
        raise fault


def _require_stored(publisher_id: str, stored: PublisherList) -> StoredPublisher:
    publisher = stored.find(publisher_id)
    if publisher is None:
        raise NotFound(
            f"There is no publisher {quoted(publisher_id)}.",
            advice=Advice(Remedy.LIST_PUBLISHERS),
        )
    return publisher


def _listed(publisher: StoredPublisher, problem: str) -> ListedPublisher:
    return ListedPublisher(
        id=publisher.id,
        source=publisher.source,
        publisher=publisher.publisher,
        problem=problem,
        created=publisher.created,
        created_by=publisher.created_by,
        changed=publisher.changed,
        changed_by=publisher.changed_by,
        note=publisher.note,
    )


@contextmanager
def _field_errors() -> Iterator[None]:
    """Give an Invalid of this block the code of a field of a request, not that of a setting."""
    try:
        yield
    except Invalid as error:
        fault = Invalid(error.message, code="invalid_field")
        fault.field = error.field
        raise fault from error
