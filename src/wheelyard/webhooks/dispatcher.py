"""Looks at the feeds of all indexes, and starts the deliveries to webhooks that are due."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from threading import Event, Thread
from typing import Final

from msgspec import Struct

from wheelyard.catalog.changes import FeedEnd
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.index_journals import IndexJournals
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_webhooks import Webhook, WebhookEvent
from wheelyard.model.webhook_state import MOST_WAITING, WebhookState
from wheelyard.operations.webhooks import Webhooks
from wheelyard.webhooks.delivery import Delivery, DeliveryTools
from wheelyard.webhooks.journal_messages import MessageSource
from wheelyard.webhooks.lease import DeliveryLease
from wheelyard.webhooks.package_news import find_news

LOOK_SECONDS: Final = 10.0
"""How often a server looks at the feeds for commits of other processes."""
PAUSE_SECONDS: Final = 1.0
"""The least time between two looks, so that many commits make few of them."""
LIST_SECONDS: Final = 30.0
"""How often a server on a bucket looks whether there are webhooks, while there is none."""
INDEXES_SECONDS: Final = 60.0
"""How often a server looks which indexes there are."""
ACCESS_SECONDS: Final = 30.0
"""How often the journals about rights are looked at, if a webhook is told of them."""
REQUESTS_SECONDS: Final = 300.0
"""How often requests for public packages are looked at, if a webhook is told of them."""
TICK_SECONDS: Final = 2.0
"""How often the lease is looked at while threads deliver."""

logger = logging.getLogger("wheelyard")


class _Glance(Struct, frozen=True):
    """What a process has read from the store when it last looked at all webhooks and feeds."""

    webhooks: tuple[Webhook, ...]
    revision: int
    """The revision of the list of webhooks."""
    indexes: Mapping[str, IndexJournals]
    feed_ends: dict[str, FeedEnd]
    """The ends of the feed of main, and of each other feed that a webhook is told of."""
    access_ends: dict[str, int]
    """The number of the last commit of each journal about rights, if a webhook is told of them."""
    next_due: datetime | None
    """When the next message that waits is due, or None if no message waits."""


class WebhookDispatcher:
    """
    Delivers to all webhooks, in one process at a time, for ever, in one thread of a server.

    Args:
        webhooks: The webhooks of the store.
        tools: What the deliveries to all webhooks share.
        lease: The lease that lets one process deliver at a time.
        runtime: Clocks and pauses.
        committed: Set by each commit of this process.
        list_seconds: How often to look whether there are webhooks, while there is none.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        tools: DeliveryTools,
        lease: DeliveryLease,
        runtime: Runtime,
        committed: Event,
        list_seconds: float = LIST_SECONDS,
    ) -> None:
        self._webhooks = webhooks
        self._tools = tools
        self._lease = lease
        self._runtime = runtime
        self._committed = committed
        self._list_seconds = list_seconds
        self._glance: _Glance | None = None
        self._states = dict[str, WebhookState]()
        """The states of the webhooks at the last look at everything."""
        self._threads = dict[str, Thread]()
        """By webhook. Each thread takes itself out when it ends."""
        self._thread_ended = Event()
        """Set when a thread of a webhook ends."""
        self._interval_ends = dict[float, float]()
        """By the length of an interval in seconds: when it is over, by the monotonic clock."""
        self._logged_failure = ""
        """The failure that was logged last. A failure that goes on is logged once."""

    @property
    def _source(self) -> MessageSource:
        """The source of messages, which knows all feeds."""
        return self._tools.source

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="webhooks", daemon=True).start()

    def run(self) -> None:
        """Deliver whenever a message is due, for ever."""
        while True:
            seconds = LOOK_SECONDS
            try:
                seconds = self.deliver_if_due()
            except Exception:
                # a fault of ours: it must not be the last look of this server
                logger.exception("webhooks are told of nothing for now")
            self._committed.wait(seconds)
            self._runtime.pause(PAUSE_SECONDS)
            # before the look: a commit during it is looked at by the next one
            self._committed.clear()

    def deliver_if_due(self) -> float:
        """
        Deliver the messages that are due, and return after how many seconds to look again.

        If a message may be due, this takes the lease, and waits until all are delivered. A failure
        of the store is logged, and not raised. How long messages wait is noted in the metrics.
        """
        try:
            if not self._is_due():
                return self._seconds_to_look()
            return self._deliver()
        except Conflict:  # another process has begun to deliver
            self._glance = None
            return LOOK_SECONDS
        except WheelyardError as error:
            # not all that was looked at is delivered, and no feed tells of it again
            self._glance = None
            self._log_failure(error.message)
            return LOOK_SECONDS
        finally:
            # also if nothing is due: messages that wait get older
            self._tools.metrics.note(self._states, self._runtime.now())

    def _seconds_to_look(self) -> float:
        """Return after how many seconds to look again, when nothing is due now."""
        glance = self._glance
        # without webhooks, too: memory tells of one that this process has added
        if glance is None or glance.next_due is None:
            return LOOK_SECONDS
        seconds = (glance.next_due - self._runtime.now()).total_seconds()
        return min(max(seconds, 0.0), LOOK_SECONDS)

    def _is_due(self) -> bool:
        """Return whether a message may have to be sent, by the last glance and the feeds."""
        glance = self._glance
        if glance is None or self._has_own_change(glance):
            return True
        if not glance.webhooks:
            return self._is_interval_over(self._list_seconds)
        if glance.next_due is not None and glance.next_due <= self._runtime.now():
            return True
        indexes = glance.indexes
        if self._is_interval_over(INDEXES_SECONDS):
            indexes = self._source.find_indexes()
        if _feed_ends(glance.webhooks, indexes) != glance.feed_ends:
            return True
        # no feed tells of changes of rights, or of requests for packages
        wants_access = _any_wants(glance.webhooks, WebhookEvent.ACCESS_CHANGED)
        wants_requests = _any_wants(glance.webhooks, WebhookEvent.PACKAGE_REQUESTED)
        if wants_access and self._is_interval_over(ACCESS_SECONDS):
            return self._source.access_ends() != glance.access_ends
        return wants_requests and self._is_interval_over(REQUESTS_SECONDS)

    def _is_interval_over(self, seconds: float) -> bool:
        """
        Return whether an interval of this length is over, and begin the next one if it is.

        The first call begins an interval, and returns False.
        """
        # the length of an interval is its key: no two of one length are asked for at a time
        now = self._runtime.monotonic()
        if now < self._interval_ends.get(seconds, now):
            return False
        is_first_call = seconds not in self._interval_ends
        self._interval_ends[seconds] = now + seconds
        return not is_first_call

    def _has_own_change(self, glance: _Glance) -> bool:
        """Return whether this process has changed the webhooks since a glance."""
        revision_in_memory = self._revision_in_memory()
        return revision_in_memory not in {0, glance.revision}

    def _revision_in_memory(self) -> int:
        """Return the revision of the cached list of webhooks, or 0 if no list is cached."""
        snapshot = self._webhooks.records.peek("any")
        if snapshot is None or snapshot.value is None:
            return 0
        return snapshot.value.revision

    def _deliver(self) -> float:
        """Deliver the messages that are due, and return after how many seconds to look again."""
        if not self._threads and not self._look():
            return self._seconds_to_look()
        wait = self._lease.take()
        if wait:
            self._glance = None
            return min(wait.total_seconds(), LOOK_SECONDS)
        try:
            # another look: the process that had the lease may have delivered
            self._start_threads(self._look())
            while self._threads:
                has_ended = self._wait_for_threads()
                self._lease.renew()
                # a message that failed in a thread that ended may be due before others end
                if has_ended or self._is_due():
                    self._start_threads(self._look())
        finally:
            # after a failure, a thread may still send: until it has ended, nobody else may. If it
            # takes longer than the lease lasts, it finds that it may not go on
            if not self._threads:
                self._lease.give_back()
        if self._look():
            # a webhook has failed for now, or another process has delivered: nothing else is due
            self._glance = None
            return LOOK_SECONDS
        return self._seconds_to_look()

    def _look(self) -> list[Webhook]:
        """
        Read the webhooks, their states and the ends of the feeds, and remember them as a glance.

        Returns the webhooks that may have to be told of a change, and have no thread.
        """
        stored_webhooks = self._webhooks.read_stored()
        webhooks = self._webhooks.in_force(stored_webhooks)

        # the feeds before the states: what is added meanwhile is found by the next look
        indexes: Mapping[str, IndexJournals] = {}
        feed_ends = dict[str, FeedEnd]()
        access_ends = dict[str, int]()
        if webhooks:
            indexes = self._source.find_indexes()
            feed_ends = _feed_ends(webhooks, indexes)
        if _any_wants(webhooks, WebhookEvent.ACCESS_CHANGED):
            access_ends = self._source.access_ends()
        self._states = self._read_states(webhooks)
        glance = _Glance(
            webhooks=webhooks,
            revision=stored_webhooks.revision,
            indexes=indexes,
            feed_ends=feed_ends,
            access_ends=access_ends,
            next_due=self._next_due(),
        )
        self._glance = glance
        pending = list[Webhook]()
        for webhook in webhooks:
            state = self._states.get(webhook.name)
            if state is None or webhook.name in self._threads:
                continue
            if self._is_pending(webhook, state, glance):
                pending.append(webhook)
        return pending

    def _read_states(self, webhooks: Sequence[Webhook]) -> dict[str, WebhookState]:
        """Read the stored states of webhooks, without those that are damaged."""
        states = dict[str, WebhookState]()
        for webhook in webhooks:
            # the others go on if a state is damaged, and the page Health says which it is
            with UnreadableIgnored():
                states[webhook.name] = self._tools.states.read_stored(webhook.name, webhook.created)
        return states

    def _next_due(self) -> datetime | None:
        """Return when the next message that waits is due, or None if no message waits."""
        due_times = list[datetime]()
        for name, state in self._states.items():
            # the messages of a thread are due only once it has ended
            if name not in self._threads:
                due_times += [journal.due for journal in state.waiting.values()]
        return min(due_times, default=None)

    def _is_pending(self, webhook: Webhook, state: WebhookState, glance: _Glance) -> bool:
        """Return whether a webhook may have to be told of a change now."""
        now = self._runtime.now()
        is_journal_due = any(journal.due <= now for journal in state.waiting.values())
        if state.again or is_journal_due:
            return True
        if len(state.waiting) >= MOST_WAITING:
            return False  # a delivery reads no feed until fewer journals wait
        for index, feed_end in glance.feed_ends.items():
            if webhook.reads_feed(index) and state.cursors.get(index) != feed_end.newest:
                return True
        if WebhookEvent.ACCESS_CHANGED in webhook.events:
            for journal_name, last_number in glance.access_ends.items():
                if state.cursors.get(journal_name) != last_number:
                    return True
        return find_news(webhook, state, self._tools.find_waiting, now) is not None

    def _start_threads(self, webhooks: Sequence[Webhook]) -> None:
        """Start a thread for each webhook, as one that hangs must not delay another."""
        for webhook in webhooks:
            # a daemon, as a receiver that hangs must not keep the process from ending either
            thread = Thread(
                target=partial(self._deliver_to, webhook),
                name=f"webhook {webhook.name}",
                daemon=True,
            )
            # before the thread starts: it takes itself out at its end
            self._threads[webhook.name] = thread
            thread.start()

    def _deliver_to(self, webhook: Webhook) -> None:
        """Deliver to one webhook, in its thread."""
        try:
            Delivery(webhook, self._tools).run()
        except Conflict:  # another process has the lease
            pass
        except WheelyardError as error:
            self._log_failure(f"{webhook.name}: {error.message}")
        finally:
            # not by `is_alive` in the dispatcher: that is still true when it learns of the end
            del self._threads[webhook.name]
            self._thread_ended.set()

    def _wait_for_threads(self) -> bool:
        """Wait until a thread ends, at most `TICK_SECONDS`, and return whether one has ended."""
        has_ended = self._thread_ended.wait(TICK_SECONDS)
        self._thread_ended.clear()
        return has_ended

    def _log_failure(self, why: str) -> None:
        """Log why messages are not delivered, unless that was logged last."""
        if why != self._logged_failure:
            self._logged_failure = why
            logger.warning("webhooks are told of nothing for now: %s", why)


def _feed_ends(
    webhooks: Sequence[Webhook], indexes: Mapping[str, IndexJournals]
) -> dict[str, FeedEnd]:
    """Return the ends of the feed of main, and of the other feeds that webhooks are told of."""
    feed_ends = dict[str, FeedEnd]()
    for name, index in indexes.items():
        is_read = any(webhook.reads_feed(name) for webhook in webhooks)
        # the feed of main in any case, as a change of webhooks touches it
        if is_read or name == MAIN:
            # a damaged feed does not hold up the others, and is due once it is repaired
            with UnreadableIgnored():
                feed_ends[name] = index.changes.end()
    return feed_ends


def _any_wants(webhooks: Sequence[Webhook], event: WebhookEvent) -> bool:
    """Return whether any of the webhooks is told of an event."""
    return any(event in webhook.events for webhook in webhooks)
