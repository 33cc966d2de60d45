"""
Delivers to one webhook all that is due: batch after batch, each with one write of the state.

A batch begins with what is new. Then come dead letters that are wanted again, and what has failed
before. It ends after some messages, or after some seconds: what was sent and not written down
is sent again after a crash.
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
"""The messages after which it is written how far a webhook is."""
BATCH_SECONDS: Final = 5.0
"""The time after which it is."""
BATCH_RANGES: Final = 200
"""The entries of a feed that are read at a time."""
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
    """Returns whether no other process can send for so many seconds."""
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
        Deliver all that is due, and write after each batch how far the webhook is.

        It ends without an error if another process may begin to deliver. Raises Unavailable if the
        store does not answer. Raises Conflict if another process has delivered meanwhile.
        """
        webhook = self._webhook
        while True:
            # for each batch anew: a person may have had dead letters sent again meanwhile
            state = self._tools.states.read_stored(webhook.name, webhook.created)
            batch = _Batch(webhook, self._tools, state)
            try:
                is_done = batch.run()
            except WheelyardError:
                # else what was sent would be sent again at each try, as long as the fault lasts
                with suppress(WheelyardError):
                    batch.write()
                raise
            batch.write()
            if is_done:
                return


class _Batch:
    """A few messages to a webhook, and what becomes of its state."""

    def __init__(self, webhook: Webhook, tools: DeliveryTools, before: WebhookState) -> None:
        self._webhook = webhook
        self._tools = tools
        self._before = before
        self._now = tools.runtime.now()
        self._began = tools.runtime.monotonic()
        self._cursors = dict(before.cursors)
        self._waiting = dict(before.waiting)
        self._announced = dict(before.announced)
        self._last_request_at = before.last_request_at
        self._note = before.note
        self._attempts = list[DeliveryAttempt]()
        self._dead = list[DeadLetter]()
        self._sent_again = set[str]()
        self._has_made = False
        """Whether it has made a message that no journal has, and not sent it."""

    def run(self) -> bool:
        """Send what is due, and return whether that was all."""
        try:
            # what failed before comes last: a receiver that hangs for one project delays no other
            self._send_waiting(tried=False)
            self._send_new()
            self._send_again()
            self._send_waiting(tried=True)
        except LeaseLost:
            return True
        return not (self._is_full or self._has_made)

    def write(self) -> None:
        """
        Write how far the webhook is.

        Raises Conflict if another process has delivered meanwhile: what it has written counts.
        """
        webhook = self._webhook
        self._tools.states.change(webhook.name, webhook.created, self._after)

    def _after(self, stored: WebhookState) -> WebhookState:
        """Return the state after the batch. Only deliveries change how far it is."""
        if _progress(stored) != _progress(self._before):
            raise Conflict(f"Another process delivers to the webhook {self._webhook.name}.")
        # a person may have added dead letters during the batch, which the next one sends
        again = tuple(letter for letter in stored.again if letter.id not in self._sent_again)
        state = replace(
            stored,
            cursors=self._cursors,
            waiting=self._waiting,
            announced=self._announced,
            last_request_at=self._last_request_at,
            again=again,
            note=self._note,
        )
        return state.with_dead(self._dead).with_attempts(self._attempts)

    @property
    def _is_full(self) -> bool:
        """Whether it has done enough to be written down."""
        if len(self._attempts) >= BATCH_MESSAGES:
            return True
        # a slow store alone ends no batch, or the next one would not come further
        has_moved = bool(self._attempts) or self._cursors != self._before.cursors
        seconds = self._tools.runtime.monotonic() - self._began
        return has_moved and seconds >= BATCH_SECONDS

    def _send_waiting(self, *, tried: bool) -> None:
        """Send what is due of the journals that wait: those that have failed, or the others."""
        due = list[WaitingJournal]()
        for journal in self._waiting.values():
            was_tried = journal.attempts > 0
            if journal.due <= self._now and was_tried == tried:
                due.append(journal)
        # what was tried least often first, so that one that hangs does not hold up all others
        for journal in sorted(due, key=lambda journal: (journal.attempts, journal.due)):
            if self._is_full:
                return
            self._send_journal(journal)

    def _send_again(self) -> None:
        """Send the dead letters that a person wants to be sent again, each of them once."""
        for letter in self._before.again:
            if self._is_full:
                return
            outgoing = self._message_of(letter)
            if isinstance(outgoing, str):
                self._dead.append(replace(letter, at=self._now, error=outgoing))
            else:
                result = self._try(outgoing)
                if not result.attempt.is_delivered:
                    self._dead.append(replace(letter, at=self._now, error=result.attempt.error))
            # also if it has failed: then it is a dead letter again, with what was wrong now
            self._sent_again.add(letter.id)

    def _send_new(self) -> None:
        """Send what the feeds have since the last batch, and what no feed tells of."""
        feeds = self._tools.source.find_indexes()
        for name in sorted(feeds):
            if self._webhook.reads_feed(name):
                try:
                    self._send_feed(feeds[name])
                except Unavailable as fault:
                    if fault.code not in UNREADABLE_CODES:
                        raise
                    # the other indexes go on
                    self._note = fault.message
        # of an index that is gone, another one of its name begins anew
        for name in self._cursors.keys() - feeds.keys():
            if not name.startswith("-"):
                del self._cursors[name]
        if WebhookEvent.ACCESS_CHANGED in self._webhook.events:
            self._send_access()
        self._make_requests()

    def _has_room(self) -> bool:
        """Whether further journals may begin to wait."""
        return not self._is_full and len(self._waiting) < MOST_WAITING

    def _send_feed(self, feed: IndexJournals) -> None:
        """Send what the feed of an index has behind the place of the webhook in it."""
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
                # before: the journal waits from now on, whatever ends this batch
                self._cursors[feed.index] = commits.serial
                self._send_range(feed, commits)
            if len(ranges) < BATCH_RANGES:
                self._cursors[feed.index] = max(newest, self._cursors.get(feed.index, 0))
                return

    def _first_cursor(self, feed: IndexJournals) -> int:
        """Return where a webhook begins that has no place in a feed yet."""
        if not self._before.revision:
            # a copy of a store has no states, and nobody knows what was sent. One of a webhook that
            # was added just now is still being written
            if self._now - self._webhook.created > ADDED_WITHIN:
                self._note_gap("how far it was is not there any more", feed.index)
            return feed.changes.newest()
        # what was there when the webhook was added has a place. Two servers may have made the
        # webhook and the index, whose clocks differ
        if feed.created is not None and feed.created > self._webhook.created - CLOCK_TOLERANCE:
            return 0  # all of the index is newer
        return feed.changes.newest()

    def _note_gap(self, why: str, index: str) -> None:
        """Note that the webhook begins anew with an index, for people who miss a message."""
        self._note = (
            f"On {self._now:%Y-%m-%d at %H:%M} UTC the webhook began anew with {index}, as {why}: "
            "what happened there shortly before was not sent."
        )
        logger.warning("webhook %s: %s", self._webhook.name, self._note)

    def _send_range(self, feed: IndexJournals, commits: CommitRange) -> None:
        """Send what is about one entry of a feed, if the webhook is told of it."""
        if not self._webhook.is_about(commits.project):
            return
        if commits.is_copied and not self._webhook.takes_imports:
            return
        name = f"{feed.index}/{commits.project}"
        self._add(name, commits.first, commits.last, is_copied=commits.is_copied)

    def _add(self, name: str, first: int, last: int, *, is_copied: bool = False) -> None:
        """Send what is about further commits of a journal, or have it wait behind what waits."""
        waiting = self._waiting.get(name)
        # not before the messages that wait: those of one project come in their order
        if waiting is not None:
            self._waiting[name] = waiting.with_commits(first, last, is_copied=is_copied)
            return
        journal = WaitingJournal(
            place=MessagePlace(name, first), ranges=(), due=self._now, since=self._now
        )
        self._send_journal(journal.with_commits(first, last, is_copied=is_copied))

    def _send_access(self) -> None:
        """Send what the journals about rights have behind the places of the webhook in them."""
        for name, end in self._tools.source.access_ends().items():
            cursor = self._cursors.get(name, end)
            if cursor < end and self._has_room():
                self._cursors[name] = end
                self._add(name, cursor + 1, end)
            elif cursor >= end:
                # also below: the document of a backup
                self._cursors[name] = end

    def _send_journal(self, journal: WaitingJournal) -> None:
        """Send the messages of a journal up to the first one that fails, which then waits."""
        name = journal.place.journal
        if name == REQUESTS:
            self._send_made(journal)
            return

        # it stays where it is until the message is done with, also if a batch ends in between
        self._waiting[name] = journal
        place = journal.place
        try:
            messages = self._tools.source.messages(
                place, journal.ranges, journal.event, journal.copied
            )
            for outgoing in messages:
                place = outgoing.place
                if place != journal.place:
                    journal = _untried(journal.from_place(place), self._now)
                    self._waiting[name] = journal
                if not self._is_sent(outgoing):
                    continue
                if self._is_full:
                    return
                result = self._try(outgoing)
                if not self._is_done_with(journal, outgoing, result):
                    return
        except NotFound:
            pass  # the index is gone, and with it who would look at it
        except LostCommit as lost:
            self._pass_over(journal, lost)
            return
        del self._waiting[name]

    def _is_sent(self, outgoing: Outgoing) -> bool:
        """Return whether the webhook is told of a message."""
        webhook = self._webhook
        message = outgoing.message
        if (
            isinstance(message, webhook_messages.ProjectMessage)
            and message.imported
            and not webhook.takes_imports
        ):
            return False
        return outgoing.event in webhook.events

    def _is_done_with(
        self, journal: WaitingJournal, outgoing: Outgoing, result: SendResult
    ) -> bool:
        """Return whether a message was delivered or given up, or note when it is tried again."""
        attempt = result.attempt
        if attempt.is_delivered:
            return True
        attempts = journal.attempts + 1
        pause = pause_after(attempts)
        if pause is None:
            self._log_dead(outgoing.subject, attempt.error)
            self._dead.append(
                DeadLetter(
                    id=outgoing.id,
                    place=outgoing.place,
                    event=outgoing.event,
                    subject=outgoing.subject,
                    at=self._now,
                    error=attempt.error,
                    is_copied=journal.is_copied(outgoing.place.number),
                    body=journal.body,
                )
            )
            return True

        # from the end of the try on, and later if the receiver asks for that by Retry-After
        self._waiting[outgoing.place.journal] = replace(
            journal,
            due=self._tools.runtime.now() + max(pause, result.wait),
            attempts=attempts,
            event=outgoing.event,
            subject=outgoing.subject,
            error=attempt.error,
        )
        return False

    def _pass_over(self, journal: WaitingJournal, lost: LostCommit) -> None:
        """Wait until a damaged commit is repaired, or give up the messages about it."""
        name = journal.place.journal
        at_lost = MessagePlace(name, lost.number)
        if journal.place.number != lost.number:
            journal = _untried(journal.from_place(at_lost), self._now)
        attempts = journal.attempts + 1
        pause = pause_after(attempts)
        if pause is not None:
            self._waiting[name] = replace(
                journal,
                attempts=attempts,
                due=self._now + pause,
                error=lost.why,
            )
            return
        self._log_dead(name, lost.why)
        self._dead.append(
            DeadLetter(
                id=f"{name}-{lost.number}",
                place=at_lost,
                event="",
                at=self._now,
                error=lost.why,
                is_copied=journal.is_copied(lost.number),
            )
        )
        following = _untried(journal.from_place(MessagePlace(name, lost.number + 1)), self._now)
        if following.ranges:
            self._waiting[name] = following
        else:
            del self._waiting[name]

    def _log_dead(self, subject: str, error: str) -> None:
        name = self._webhook.name
        logger.warning("webhook %s: a message about %s was given up: %s", name, subject, error)

    def _make_requests(self) -> None:
        """Make a message about requests for packages, if one is due."""
        state = replace(self._before, waiting=self._waiting)
        news = find_news(self._webhook, state, self._tools.find_waiting, self._now)
        if news is None or not self._has_room():
            return
        self._announced = news.announced
        self._last_request_at = self._now
        source = self._tools.source
        message = webhook_messages.requests_message(
            news.requests, news.waiting, self._now, source.urls, self._tools.sender.describe
        )

        # it is written down first, and sent by the next batch: no journal could give it again
        self._waiting[REQUESTS] = WaitingJournal(
            place=MessagePlace(REQUESTS, 0),
            ranges=(),
            due=self._now,
            since=self._now,
            body=encode(message).decode(),
            id=f"msg_requests_{self._tools.runtime.new_id()}",
        )
        self._has_made = True

    def _send_made(self, journal: WaitingJournal) -> None:
        """Send a message that no journal has."""
        self._waiting[REQUESTS] = journal
        if self._is_full:
            return
        outgoing = _made(journal.place, journal.id, journal.body)
        result = self._try(outgoing)
        if self._is_done_with(journal, outgoing, result):
            del self._waiting[REQUESTS]

    def _message_of(self, letter: DeadLetter) -> Outgoing | str:
        """Return the message of a dead letter, or why it cannot be made."""
        if letter.body:
            return _made(letter.place, letter.id, letter.body)
        alone = ((letter.place.number, letter.place.number),)
        copied = alone if letter.is_copied else ()
        try:
            messages = self._tools.source.messages(letter.place, alone, letter.event, copied)
            for outgoing in messages:
                if outgoing.place == letter.place:
                    return outgoing
        except NotFound as gone:
            return gone.message
        except LostCommit as lost:
            return lost.why
        return "the journal has no such change any more"

    def _try(self, outgoing: Outgoing) -> SendResult:
        """Send a message. Raises LeaseLost if another process may begin to send."""
        tools = self._tools
        result = tools.sender.send(
            self._webhook, outgoing, lambda: tools.may_send(TRY_SECONDS + MARGIN_SECONDS)
        )
        if result is None:
            raise LeaseLost
        self._attempts.append(result.attempt)
        tools.metrics.count(self._webhook.name, result.attempt)
        return result


def _progress(state: WebhookState) -> object:
    """
    Return how far a webhook is, which only deliveries change.

    What it was told of requests is part of that: once such a message was made and sent, all else is
    as before.
    """
    return state.cursors, state.waiting, state.announced, state.last_request_at


def _untried(journal: WaitingJournal, now: datetime) -> WaitingJournal:
    """Return a journal whose next message was not tried yet."""
    return replace(journal, attempts=0, due=now, since=now, event="", subject="", error="")


def _made(place: MessagePlace, message_id: str, body: str) -> Outgoing:
    """Return the message of a stored body."""
    message = decode(body, type=webhook_messages.RequestsMessage)
    return Outgoing(
        id=message_id,
        place=place,
        event=WebhookEvent.PACKAGE_REQUESTED,
        subject="packages that wait for a decision",
        message=message,
    )
