"""
Delivers to one webhook all messages that are due, in batches that end with a write of its state.

A batch first sends messages that were never tried, then dead letters that a person wants to be sent
again, and last the messages that have failed before. After a crash, the messages of a batch whose
state was not written are sent again, so a batch ends after 50 messages or 5 seconds.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.json import decode, encode
from msgspec.structs import replace

from wheelyard.catalog.changes import CLOCK_TOLERANCE, CommitRange
from wheelyard.catalog.index_journals import IndexJournals
from wheelyard.catalog.webhook_records import WebhookStates
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import UNREADABLE_CODES, Conflict, NotFound, Unavailable, WheelyardError
from wheelyard.model import webhook_messages
from wheelyard.model.stored_webhooks import Webhook, WebhookEvent
from wheelyard.model.webhook_messages import Outgoing
from wheelyard.model.webhook_state import (
    MOST_WAITING,
    REQUESTS,
    DeadLetter,
    DeliveryAttempt,
    MessagePlace,
    WaitingJournal,
    WebhookState,
    pause_after,
)
from wheelyard.webhooks.journal_messages import LostCommit, MessageSource
from wheelyard.webhooks.metrics import WebhookMetrics
from wheelyard.webhooks.package_news import FindWaiting, find_news
from wheelyard.webhooks.sender import TRY_SECONDS, SendResult, WebhookSender

BATCH_MESSAGES: Final = 50
"""The number of messages after which a batch ends."""
BATCH_SECONDS: Final = 5.0
"""The time after which a batch ends."""
BATCH_RANGES: Final = 200
"""How many entries of a feed are read at a time."""
ADDED_WITHIN: Final = timedelta(minutes=1)
"""The longest time from the commit of a new webhook to the write of its state."""
MARGIN_SECONDS: Final = 2.0
"""How much longer than a try the lease has to last."""

logger = logging.getLogger("wheelyard")


class DeliveryTools(Struct, frozen=True, kw_only=True):
    """What the deliveries to all webhooks share."""

    source: MessageSource
    sender: WebhookSender
    states: WebhookStates
    runtime: Runtime
    may_send: Callable[[float], bool]
    """Returns whether no other process can begin to send within this number of seconds."""
    find_waiting: FindWaiting
    metrics: WebhookMetrics


class LeaseLost(Exception):
    """Another process may deliver now."""


class Delivery:
    """Delivers to one webhook, in a thread of its own."""

    def __init__(self, webhook: Webhook, tools: DeliveryTools) -> None:
        self._webhook = webhook
        self._tools = tools

    def run(self) -> None:
        """
        Deliver all messages that are due, and write the state of the webhook after each batch.

        The method returns early if another process may begin to deliver. Raises Unavailable if the
        store does not answer. Raises Conflict if another process has delivered meanwhile.
        """
        webhook = self._webhook
        while True:
            # for each batch anew: a person may have asked for dead letters meanwhile
            state = self._tools.states.read_stored(webhook.name, webhook.created)
            batch = _Batch(webhook, self._tools, state)
            try:
                is_done = batch.run()
            except WheelyardError:
                # else the same messages would be sent at each try, as long as the fault lasts
                with suppress(WheelyardError):
                    batch.write()
                raise
            batch.write()
            if is_done:
                return


class _Batch:
    """A few messages to a webhook, and the state of the webhook after them."""

    def __init__(self, webhook: Webhook, tools: DeliveryTools, state_before: WebhookState) -> None:
        self._webhook = webhook
        self._tools = tools
        self._state_before = state_before
        self._began_at = tools.runtime.now()
        self._began_seconds = tools.runtime.monotonic()
        self._cursors = dict(state_before.cursors)
        self._waiting_journals = dict(state_before.waiting)
        self._announced_at = dict(state_before.announced)
        self._last_request_at = state_before.last_request_at
        self._note = state_before.note
        self._attempts = list[DeliveryAttempt]()
        self._new_dead_letters = list[DeadLetter]()
        self._resent_letter_ids = set[str]()
        self._has_unsent_message = False
        """Whether the batch has made a message about requests, which the next batch sends."""

    def run(self) -> bool:
        """Send messages that are due, and return whether none is left for another batch."""
        try:
            # failed messages come last: a receiver that hangs for one project delays no other
            self._send_waiting_journals(were_tried=False)
            self._send_new_messages()
            self._send_dead_letters()
            self._send_waiting_journals(were_tried=True)
        except LeaseLost:
            return True
        return not (self._is_full or self._has_unsent_message)

    def write(self) -> None:
        """
        Write the state of the webhook after the batch.

        Raises Conflict if another process has delivered meanwhile: the state of that one counts.
        """
        webhook = self._webhook
        self._tools.states.change(webhook.name, webhook.created, self._state_after)

    def _state_after(self, stored_state: WebhookState) -> WebhookState:
        """
        Return the state after the batch, from the state that is stored now.

        Raises Conflict if another process has delivered meanwhile.
        """
        if _progress_of(stored_state) != _progress_of(self._state_before):
            raise Conflict(f"Another process delivers to the webhook {self._webhook.name}.")
        # a person may have asked for dead letters during the batch, which the next one sends
        letters_to_resend = list[DeadLetter]()
        for letter in stored_state.again:
            if letter.id not in self._resent_letter_ids:
                letters_to_resend.append(letter)
        state = replace(
            stored_state,
            cursors=self._cursors,
            waiting=self._waiting_journals,
            announced=self._announced_at,
            last_request_at=self._last_request_at,
            again=tuple(letters_to_resend),
            note=self._note,
        )
        return state.with_dead(self._new_dead_letters).with_attempts(self._attempts)

    @property
    def _is_full(self) -> bool:
        """Whether the batch has to end, and the state to be written."""
        if len(self._attempts) >= BATCH_MESSAGES:
            return True
        # a slow store alone ends no batch, or the next one would not come further
        has_moved = bool(self._attempts) or self._cursors != self._state_before.cursors
        seconds = self._tools.runtime.monotonic() - self._began_seconds
        return has_moved and seconds >= BATCH_SECONDS

    def _has_room(self) -> bool:
        """Return whether further journals may begin to wait."""
        return not self._is_full and len(self._waiting_journals) < MOST_WAITING

    def _send_waiting_journals(self, *, were_tried: bool) -> None:
        """Send the messages of waiting journals that are due, and that were tried or were not."""
        due_journals = list[WaitingJournal]()
        for journal in self._waiting_journals.values():
            was_tried = journal.attempts > 0
            if journal.due <= self._began_at and was_tried == were_tried:
                due_journals.append(journal)
        # the journal with the fewest tries first, so that one that hangs holds up no others
        due_journals.sort(key=lambda journal: (journal.attempts, journal.due))
        for journal in due_journals:
            if self._is_full:
                return
            self._send_journal(journal)

    def _send_dead_letters(self) -> None:
        """Send each dead letter once that a person wants to be sent again."""
        for letter in self._state_before.again:
            if self._is_full:
                return
            error = self._send_dead_letter(letter)
            if error:
                # a letter that has failed is a dead letter again, with the new reason
                self._new_dead_letters.append(replace(letter, at=self._began_at, error=error))
            self._resent_letter_ids.add(letter.id)

    def _send_dead_letter(self, letter: DeadLetter) -> str:
        """Send a dead letter once, and return why that has failed, or an empty text."""
        outgoing = self._find_message(letter)
        if isinstance(outgoing, str):
            return outgoing
        return self._send_once(outgoing).attempt.error

    def _find_message(self, letter: DeadLetter) -> Outgoing | str:
        """Return the message of a dead letter, or a text that says why it cannot be made."""
        if letter.body:
            return _requests_outgoing(letter.place, letter.id, letter.body)
        ranges = ((letter.place.number, letter.place.number),)
        copied_ranges = ranges if letter.is_copied else ()
        try:
            messages = self._tools.source.messages(
                letter.place, ranges, letter.event, copied_ranges
            )
            for outgoing in messages:
                if outgoing.place == letter.place:
                    return outgoing
        except NotFound as gone:
            return gone.message
        except LostCommit as lost:
            return lost.why
        return "the journal has no such change any more"

    def _send_new_messages(self) -> None:
        """Send the messages about changes since the last batch, and make one about requests."""
        feeds = self._tools.source.find_indexes()
        for index in sorted(feeds):
            if self._webhook.reads_feed(index):
                try:
                    self._send_feed(feeds[index])
                except Unavailable as fault:
                    if fault.code not in UNREADABLE_CODES:
                        raise
                    # the other indexes go on
                    self._note = fault.message
        # a later index with the name of a deleted one begins anew
        for name in self._cursors.keys() - feeds.keys():
            is_about_rights = name.startswith("-")
            if not is_about_rights:
                del self._cursors[name]
        if WebhookEvent.ACCESS_CHANGED in self._webhook.events:
            self._send_access_journals()
        self._make_requests_message()

    def _send_feed(self, feed: IndexJournals) -> None:
        """Send the messages about commits that the feed of an index has behind its cursor."""
        while self._has_room():
            cursor = self._cursors.get(feed.index)
            if cursor is None:
                cursor = self._first_cursor(feed)
            try:
                ranges, newest = feed.changes.commits_since(cursor, BATCH_RANGES)
            except NotFound:
                # a backup was restored, or the feed made again: nobody knows what was sent
                self._cursors[feed.index] = feed.changes.newest()
                self._note_gap("its feed is another one", feed.index)
                return
            for commits in ranges:
                if not self._has_room():
                    return
                # before the messages: the journal waits from now on, whatever ends this batch
                self._cursors[feed.index] = commits.serial
                self._send_range(feed, commits)
            if len(ranges) < BATCH_RANGES:
                self._cursors[feed.index] = max(newest, self._cursors.get(feed.index, 0))
                return

    def _first_cursor(self, feed: IndexJournals) -> int:
        """Return the serial behind which a webhook reads a feed for which it has no cursor."""
        has_stored_state = self._state_before.revision > 0
        if not has_stored_state:
            # a copy of a store has no states, and nobody knows what was sent. The state of a
            # webhook that was added just now is still being written
            if self._began_at - self._webhook.created > ADDED_WITHIN:
                self._note_gap("how far it was is not there any more", feed.index)
            return feed.changes.newest()
        # a feed that was there when the webhook was added has a cursor. Two servers whose clocks
        # differ may have made the webhook and the index
        if feed.created is not None and feed.created > self._webhook.created - CLOCK_TOLERANCE:
            return 0  # all commits of the index are newer than the webhook
        return feed.changes.newest()

    def _note_gap(self, why: str, index: str) -> None:
        """Note that the webhook begins anew with an index, for people who miss a message."""
        self._note = (
            f"On {self._began_at:%Y-%m-%d at %H:%M} UTC the webhook began anew with {index}, "
            f"as {why}: what happened there shortly before was not sent."
        )
        logger.warning("webhook %s: %s", self._webhook.name, self._note)

    def _send_range(self, feed: IndexJournals, commits: CommitRange) -> None:
        """Send the messages about one entry of a feed, if the webhook is told of its project."""
        if not self._webhook.is_about(commits.project):
            return
        if commits.is_copied and not self._webhook.takes_imports:
            return
        journal_name = f"{feed.index}/{commits.project}"
        self._send_commits(journal_name, commits.first, commits.last, is_copied=commits.is_copied)

    def _send_access_journals(self) -> None:
        """Send the messages about commits that the journals about rights have behind cursors."""
        for journal_name, last_number in self._tools.source.access_ends().items():
            cursor = self._cursors.get(journal_name, last_number)
            if cursor < last_number and self._has_room():
                self._cursors[journal_name] = last_number
                self._send_commits(journal_name, cursor + 1, last_number)
            elif cursor >= last_number:
                # a document from a backup ends before the cursor
                self._cursors[journal_name] = last_number

    def _send_commits(
        self, journal_name: str, first: int, last: int, *, is_copied: bool = False
    ) -> None:
        """Send the messages about commits of a journal, or let them wait if the journal does."""
        waiting_journal = self._waiting_journals.get(journal_name)
        # messages about one project are sent in their order
        if waiting_journal is not None:
            self._waiting_journals[journal_name] = waiting_journal.with_commits(
                first, last, is_copied=is_copied
            )
            return
        journal = WaitingJournal(
            place=MessagePlace(journal_name, first),
            ranges=(),
            due=self._began_at,
            since=self._began_at,
        )
        self._send_journal(journal.with_commits(first, last, is_copied=is_copied))

    def _send_journal(self, journal: WaitingJournal) -> None:
        """Send the messages of a journal up to the first one that fails, which then waits."""
        journal_name = journal.place.journal
        if journal_name == REQUESTS:
            self._send_requests_message(journal)
            return

        # the journal waits until its last message is done with, also if the batch ends before
        self._waiting_journals[journal_name] = journal
        try:
            messages = self._tools.source.messages(
                journal.place, journal.ranges, journal.event, journal.copied
            )
            for outgoing in messages:
                if outgoing.place != journal.place:
                    journal = _moved_to(journal, outgoing.place, self._began_at)
                    self._waiting_journals[journal_name] = journal
                if not self._is_wanted(outgoing):
                    continue
                if self._is_full:
                    return
                result = self._send_once(outgoing)
                if not self._is_done_with(journal, outgoing, result):
                    return
        except NotFound:
            pass  # the index is gone, and with it the people who would miss a message
        except LostCommit as lost:
            self._wait_for_repair(journal, lost)
            return
        del self._waiting_journals[journal_name]

    def _is_wanted(self, outgoing: Outgoing) -> bool:
        """Return whether the webhook is told of the event of a message."""
        message = outgoing.message
        is_imported = isinstance(message, webhook_messages.ProjectMessage) and message.imported
        if is_imported and not self._webhook.takes_imports:
            return False
        return outgoing.event in self._webhook.events

    def _is_done_with(
        self, journal: WaitingJournal, outgoing: Outgoing, result: SendResult
    ) -> bool:
        """
        Return whether a message was delivered or is given up.

        A message that is given up becomes a dead letter. For one that is tried again, this notes
        when.
        """
        attempt = result.attempt
        if attempt.is_delivered:
            return True
        attempts = journal.attempts + 1
        pause = pause_after(attempts)
        if pause is None:
            self._give_up(journal, outgoing, attempt.error)
            return True

        # from the end of the try on, and later if the receiver asks for that by Retry-After
        self._waiting_journals[outgoing.place.journal] = replace(
            journal,
            due=self._tools.runtime.now() + max(pause, result.wait),
            attempts=attempts,
            event=outgoing.event,
            subject=outgoing.subject,
            error=attempt.error,
        )
        return False

    def _give_up(self, journal: WaitingJournal, outgoing: Outgoing, error: str) -> None:
        """Make a dead letter of a message whose last try has failed."""
        self._log_dead_letter(outgoing.subject, error)
        self._new_dead_letters.append(
            DeadLetter(
                id=outgoing.id,
                place=outgoing.place,
                event=outgoing.event,
                subject=outgoing.subject,
                at=self._began_at,
                error=error,
                is_copied=journal.is_copied(outgoing.place.number),
                body=journal.body,
            )
        )

    def _wait_for_repair(self, journal: WaitingJournal, lost: LostCommit) -> None:
        """Let a journal wait until a damaged commit is repaired, or give up that commit."""
        journal_name = journal.place.journal
        lost_place = MessagePlace(journal_name, lost.number)
        if journal.place.number != lost.number:
            journal = _moved_to(journal, lost_place, self._began_at)
        attempts = journal.attempts + 1
        pause = pause_after(attempts)
        if pause is not None:
            self._waiting_journals[journal_name] = replace(
                journal,
                attempts=attempts,
                due=self._began_at + pause,
                error=lost.why,
            )
            return
        self._log_dead_letter(journal_name, lost.why)
        self._new_dead_letters.append(
            DeadLetter(
                id=f"{journal_name}-{lost.number}",
                place=lost_place,
                event="",
                at=self._began_at,
                error=lost.why,
                is_copied=journal.is_copied(lost.number),
            )
        )
        next_place = MessagePlace(journal_name, lost.number + 1)
        journal_behind = _moved_to(journal, next_place, self._began_at)
        if journal_behind.ranges:
            self._waiting_journals[journal_name] = journal_behind
        else:
            del self._waiting_journals[journal_name]

    def _log_dead_letter(self, subject: str, error: str) -> None:
        """Log that a message was given up, and why."""
        name = self._webhook.name
        logger.warning("webhook %s: a message about %s was given up: %s", name, subject, error)

    def _make_requests_message(self) -> None:
        """Make a message about requests for packages, if one is due."""
        state = replace(self._state_before, waiting=self._waiting_journals)
        news = find_news(self._webhook, state, self._tools.find_waiting, self._began_at)
        if news is None or not self._has_room():
            return
        self._announced_at = news.announced
        self._last_request_at = self._began_at
        source = self._tools.source
        message = webhook_messages.requests_message(
            news.requests, news.waiting, self._began_at, source.urls, self._tools.sender.describe
        )

        # the message is stored first, and sent by the next batch: no journal could give it again
        self._waiting_journals[REQUESTS] = WaitingJournal(
            place=MessagePlace(REQUESTS, 0),
            ranges=(),
            due=self._began_at,
            since=self._began_at,
            body=encode(message).decode(),
            id=f"msg_requests_{self._tools.runtime.new_id()}",
        )
        self._has_unsent_message = True

    def _send_requests_message(self, journal: WaitingJournal) -> None:
        """Send a stored message about requests for packages, which has no journal."""
        self._waiting_journals[REQUESTS] = journal
        outgoing = _requests_outgoing(journal.place, journal.id, journal.body)
        result = self._send_once(outgoing)
        if self._is_done_with(journal, outgoing, result):
            del self._waiting_journals[REQUESTS]

    def _send_once(self, outgoing: Outgoing) -> SendResult:
        """Send a message, and note the attempt. Raises LeaseLost if it may not be sent."""
        result = self._tools.sender.send(self._webhook, outgoing, self._may_send)
        if result is None:
            raise LeaseLost
        self._attempts.append(result.attempt)
        self._tools.metrics.count(self._webhook.name, result.attempt)
        return result

    def _may_send(self) -> bool:
        """Return whether no other process can begin to send before a try is over."""
        return self._tools.may_send(TRY_SECONDS + MARGIN_SECONDS)


def _progress_of(state: WebhookState) -> object:
    """
    Return the parts of a state that only deliveries change.

    When the webhook was told of requests is part of that: a message about them that was made and
    sent leaves nothing else in the state.
    """
    return state.cursors, state.waiting, state.announced, state.last_request_at


def _moved_to(journal: WaitingJournal, place: MessagePlace, now: datetime) -> WaitingJournal:
    """Return a waiting journal whose next message is that of a place, and was not tried yet."""
    moved_journal = journal.from_place(place)
    return replace(moved_journal, attempts=0, due=now, since=now, event="", subject="", error="")


def _requests_outgoing(place: MessagePlace, message_id: str, body: str) -> Outgoing:
    """Return the message about requests for packages that has a stored body."""
    message = decode(body, type=webhook_messages.RequestsMessage)
    return Outgoing(
        id=message_id,
        place=place,
        event=WebhookEvent.PACKAGE_REQUESTED,
        subject="packages that wait for a decision",
        message=message,
    )
