"""The webhooks of the store: their tables, their secrets, and where a new webhook begins."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.index_journals import IndexJournals
from wheelyard.catalog.journaled_documents import JournaledDocument, WebhookRecords
from wheelyard.catalog.webhook_records import WebhookStates
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, NotFound, field_errors, quoted
from wheelyard.model.decoding import counted
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.stored_tables import NEVER_CHANGED, TableKeys
from wheelyard.model.stored_webhooks import (
    WEBHOOK_KIND,
    AnyWebhookEvent,
    ListedWebhook,
    StoredWebhook,
    Webhook,
    WebhookAdded,
    WebhookChanged,
    WebhookCommit,
    WebhookEvent,
    WebhookList,
    WebhookRemoved,
    canonical_webhook,
    parse_webhook,
    variable_of,
)
from wheelyard.model.webhook_state import DeliveryAttempt, WebhookState
from wheelyard.operations.audit_log import log_tables
from wheelyard.operations.table_changes import StoredTables
from wheelyard.operations.webhook_endpoints import WebhookEndpoints

MOST_WEBHOOKS: Final = 50
"""The most webhooks of a store: with each change of a project, each of them is looked at."""
TOO_MANY: Final = "too_many_webhooks"
"""The code of a Conflict for a webhook above `MOST_WEBHOOKS`."""

FindIndexes = Callable[[], Mapping[str, IndexJournals]]
"""Returns the journals and the feed of each index of the store, by its name."""
AccessJournals = Mapping[str, JournaledDocument[Any, Any, Any]]
"""The journals about rights, by names that begin with a hyphen."""


class Webhooks(StoredTables[WebhookList, WebhookCommit, AnyWebhookEvent, ListedWebhook]):
    """
    Returns the webhooks of the store, and changes them.

    Threads may share an object. Each method raises Unavailable if the store does not answer.

    Args:
        records: The webhooks of the store.
        states: How far the deliveries of each webhook are.
        endpoints: The URLs and secrets of webhooks.
        runtime: Has the clock.
        find_indexes: Returns the indexes of the store.
        access: The journals about rights.
    """

    def __init__(
        self,
        records: WebhookRecords,
        states: WebhookStates,
        endpoints: WebhookEndpoints,
        runtime: Runtime,
        find_indexes: FindIndexes,
        access: AccessJournals,
    ) -> None:
        super().__init__(WEBHOOK_KIND, records, runtime)
        self.states = states
        self.endpoints = endpoints
        self._find_indexes = find_indexes
        self._access = access

    @staticmethod
    def in_force(stored: WebhookList) -> tuple[Webhook, ...]:
        """Return the webhooks of a document whose keys are valid."""
        webhooks = list[Webhook]()
        for table in stored.tables:
            # a newer version may have written keys that this one refuses: `problems` has them
            with suppress(Invalid):
                webhooks.append(parse_webhook(table.keys, table.created))
        return tuple(webhooks)

    def find(self, name: str) -> Webhook:
        """Return a webhook. Raises NotFound if there is none, and Invalid if its keys are wrong."""
        table = self.require_stored(name, self.read_stored())
        return parse_webhook(table.keys, table.created)

    def add(self, keys: TableKeys, by: str, note: str = "") -> ListedWebhook:
        """
        Add a webhook, which is told of everything from now on, and return it.

        It is returned with its new secret, unless a variable has the secret, or none is needed.
        Raises Invalid (code `invalid_field`), with the key, if a key or the note is wrong. Raises
        Conflict (code `webhook_exists`) if another webhook has its name, and (code
        `too_many_webhooks`) if there are `MOST_WEBHOOKS` already. Raises NotFound if another
        process has removed the webhook meanwhile.
        """
        added = super().add(keys, by, note)
        return self._with_secret(added.name, is_new=True)

    def send_again(self, name: str, ids: Collection[str] | None, by: str) -> tuple[str, ...]:
        """
        Have the dead letters of these ids, or all for None, sent again, and return their ids.

        A server of the store sends them. The log has who has asked for it. If there is no such
        webhook, or no such dead letter, raises NotFound and changes nothing.
        """
        table = self.require_stored(name, self.read_stored())
        resending = _Resending(name, ids)
        self.states.change(name, table.created, resending)
        messages = counted(len(resending.sent_again), "message")
        log_tables(self.kind.plural, by, f"webhook {name}: {messages} again")
        # so that a server sends them now, and not only after the next change of a project
        self.announce()
        return resending.sent_again

    def note_test(self, webhook: Webhook, attempt: DeliveryAttempt, by: str) -> None:
        """Note a test of a webhook by somebody, in the state of the webhook and in the log."""
        log_tables(self.kind.plural, by, f"webhook {webhook.name}: tried")

        def with_attempt(state: WebhookState) -> WebhookState:
            return state.with_attempts((attempt,))

        self.states.change(webhook.name, webhook.created, with_attempt)

    def make_secret(self, name: str, by: str, note: str = "") -> ListedWebhook:
        """
        Make another secret for a webhook, and return the webhook with its new secret.

        The old secret signs nothing from then on. Raises NotFound if there is no such webhook, and
        Invalid if its keys are wrong. Raises Conflict (code `secret_in_variable`) if a variable has
        the secret, or the webhook needs none.
        """
        webhook = self.find(name)
        if not webhook.is_signed:
            raise Conflict(
                f"What is sent to the webhook {name} is not signed, so it needs no secret.",
                code="secret_in_variable",
            )
        if self.endpoints.has_variable(name):
            raise Conflict(
                f"The secret of the webhook {name} is in {variable_of(name, 'SECRET')} of the "
                "server. Set another one there.",
                code="secret_in_variable",
            )
        # The journal first: a process that dies in between leaves a line there, and the old secret.
        # In the other order, the journal might not have who has made a secret.
        self._note_secret(name, by, note)
        return self._with_secret(name, is_new=False)

    def commit(
        self, intent: Intent[WebhookList, AnyWebhookEvent], *, is_end: bool = False
    ) -> Committed[WebhookList, AnyWebhookEvent]:
        """
        Commit events, log them, and note where each webhook begins to read the feeds.

        The secret and the state of a removed webhook are deleted. Then each server looks at all
        webhooks. Set `is_end` for events that may be committed on a full disk. Raises the errors of
        `intent`.
        """
        # read before the commit: a webhook is told of all changes that follow its addition
        ends = self._find_ends()
        committed = super().commit(intent, is_end=is_end)
        for event in committed.events:
            if isinstance(event, WebhookRemoved):
                # A process that dies before this leaves both. They have the time at which the
                # webhook was made, so a later webhook of the same name takes neither.
                self.endpoints.secrets.remove(event.name)
                self.states.remove(event.name)
            else:
                self._begin(str(event.keys["name"]), committed, ends)
        self.announce()
        return committed

    def announce(self) -> None:
        """Have each server look at all webhooks, by a new mark in the feed, which servers watch."""
        self._find_indexes()[MAIN].changes.touch()

    def checked(self, keys: TableKeys, name: str | None) -> TableKeys:
        """Return the keys of a webhook as they are stored. Raises Invalid if they are wrong."""
        del name
        with field_errors():
            return canonical_webhook(keys)

    def require_fit(self, event: AnyWebhookEvent, stored: WebhookList) -> None:
        """Raise Conflict (code `too_many_webhooks`) for a webhook above `MOST_WEBHOOKS`."""
        if isinstance(event, WebhookAdded):
            self.require_few(len(stored.tables) + 1)

    def require_few(self, count: int) -> None:
        """Raise Conflict (code `too_many_webhooks`) if a store may not have as many webhooks."""
        if count > MOST_WEBHOOKS:
            raise Conflict(
                f"There are {MOST_WEBHOOKS} webhooks. Remove one before you add another one.",
                code=TOO_MANY,
            )

    def problems(self, stored: WebhookList) -> dict[str, str]:
        """Return why nothing can be sent to webhooks by this process, in sentences, by name."""
        problems = dict[str, str]()
        for table in stored.tables:
            try:
                self.endpoints.find(parse_webhook(table.keys, table.created))
            except Invalid as fault:
                problems[table.name] = fault.message
        return problems

    def listed_in(self, stored: WebhookList) -> Iterable[ListedWebhook]:
        """Return the webhooks of a document as a list has them."""
        return [self._listed(row) for row in super().listed_in(stored)]

    def _listed(self, row: ListedWebhook) -> ListedWebhook:
        """Return a webhook of a list, with the places of its URL and of its secret."""
        url_from = ""
        if not row.keys.get("url"):
            url_from = variable_of(row.name, "URL")
        # an index may have been removed since the webhook was added
        named_indexes = {str(index) for index in row.keys.get("indexes", ())}
        unknown_indexes = named_indexes - self._find_indexes().keys() - {EVERY_INDEX}
        created = row.created or NEVER_CHANGED
        return replace(
            row,
            url_from=url_from,
            secret_from=self.endpoints.secret_from(row.name, created),
            unknown_indexes=tuple(sorted(unknown_indexes)),
        )

    def _with_secret(self, name: str, *, is_new: bool) -> ListedWebhook:
        """
        Make a secret for a webhook, and return the webhook with it.

        A new webhook gets no secret if a variable has one. Raises NotFound if the webhook has been
        removed meanwhile.
        """
        webhook = self.find(name)
        secret = ""
        takes_variable = is_new and self.endpoints.has_variable(name)
        if webhook.is_signed and not takes_variable:
            secret = self.endpoints.make_secret(webhook)
        for row in self.show():
            if row.name == name:
                return replace(row, secret=secret)
        raise NotFound(f"The webhook {quoted(name)} has been removed meanwhile.")

    def _find_ends(self) -> dict[str, int]:
        """Return the newest serial of each feed, and the number of each journal's last commit."""
        ends = last_commit_numbers(self._access)
        for name, index in self._find_indexes().items():
            ends[name] = index.changes.newest()
        return ends

    def _note_secret(self, name: str, by: str, note: str) -> None:
        """Commit that a webhook gets another secret, so that the journal has who made it."""
        full_note = "another secret"
        if note:
            full_note = f"{full_note}: {note}"
        self.commit(partial(self._secret_events, name, by, full_note))

    def _secret_events(
        self, name: str, by: str, note: str, stored: WebhookList
    ) -> tuple[AnyWebhookEvent, ...]:
        """Return a change of a webhook that leaves its keys. Raises NotFound if it is gone."""
        keys = self.require_stored(name, stored).keys
        return (WebhookChanged(at=self.runtime.now(), by=by, note=note, keys=keys),)

    def _begin(
        self,
        name: str,
        committed: Committed[WebhookList, AnyWebhookEvent],
        ends: Mapping[str, int],
    ) -> None:
        """Note the ends of the feeds and journals that a webhook has not read so far."""
        table: StoredWebhook | None = committed.after.find(name)
        if table is None:
            return
        webhook = parse_webhook(table.keys, table.created)
        places = {place for place in ends if _reads(webhook, place)}
        new_places = places
        table_before: StoredWebhook | None = committed.before.find(name)
        if table_before is not None:
            # the webhook goes on where it was in places that it has read before
            with suppress(Invalid):  # of a newer version: this one has sent nothing for its keys
                webhook_before = parse_webhook(table_before.keys, table_before.created)
                new_places = {place for place in places if not _reads(webhook_before, place)}
        starts = {place: ends[place] for place in new_places}

        def begun_at_starts(state: WebhookState) -> WebhookState:
            return state.begun_at(starts, places)

        self.states.change(name, table.created, begun_at_starts)


class _Resending:
    """
    The change of a webhook's state that has dead letters sent again.

    Args:
        webhook: The name of the webhook.
        ids: The ids of the letters, or None for all letters.
    """

    def __init__(self, webhook: str, ids: Collection[str] | None) -> None:
        self._webhook = webhook
        self._ids = ids
        self.sent_again: tuple[str, ...] = ()
        """The ids of the letters, after the last call: a conflict may call the change again."""

    def __call__(self, state: WebhookState) -> WebhookState:
        """Return the state afterwards. Raises NotFound if an id is that of no dead letter."""
        dead_ids = tuple(letter.id for letter in state.dead)
        self.sent_again = dead_ids
        if self._ids is not None:
            # each id once, in the given order
            self.sent_again = tuple(dict.fromkeys(self._ids))
        for letter_id in self.sent_again:
            if letter_id not in dead_ids:
                raise NotFound(
                    f"The webhook {self._webhook} has no message {quoted(letter_id)} that was "
                    "given up. It may have been sent again. Look at its deliveries as they are now."
                )
        return state.sent_again(self.sent_again)


def last_commit_numbers(journals: AccessJournals) -> dict[str, int]:
    """
    Return the number of the last commit of each journal, which is 0 without a commit.

    Raises Unavailable if the store does not answer.
    """
    ends = dict[str, int]()
    for name, records in journals.items():
        document = records.get("current").value or records.kind.empty
        ends[name] = document.revision
    return ends


def _reads(webhook: Webhook, place: str) -> bool:
    """Return whether a webhook is told of changes in a feed, or a journal about rights."""
    if place.startswith("-"):
        return WebhookEvent.ACCESS_CHANGED in webhook.events
    return webhook.reads_feed(place)
