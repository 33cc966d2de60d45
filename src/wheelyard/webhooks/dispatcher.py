"""Looks at the feeds, and has webhooks told of what is new, in one process at a time."""

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
    """What a process knows of when it has last looked at everything."""

    webhooks: tuple[Webhook, ...]
    revision: int
    """That of the list of webhooks."""
    indexes: Mapping[str, IndexJournals]
    ends: dict[str, FeedEnd]
    """The end of each feed that a webhook is told of, and of that of main."""
    access: dict[str, int]
    due: datetime | None
    """When the next message that has failed is tried again, or None if there is none."""


class WebhookDispatcher:
    """
    Has webhooks told of what is new, for ever, in one thread of a server.

    Args:
        webhooks: Those of the store.
        tools: What their deliveries share.
        lease: What lets one process deliver at a time.
        runtime: Its clocks.
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
        """As they were at the last look at everything."""
        self._threads = dict[str, Thread]()
        """By webhook. Each thread takes itself out when it ends."""
        self._ended = Event()
        """Set when a thread of a webhook ends."""
        self._times = dict[float, float]()
        """When each of the intervals is over, by the monotonic clock."""
        self._logged = ""
        """The last failure that the log has. Each is there once."""

    @property
    def _source(self) -> MessageSource:
        return self._tools.source

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="webhooks", daemon=True).start()

    def run(self) -> None:
        """Deliver whenever something is due, for ever."""
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
        Deliver what is due, and return after how many seconds to look again.

        It takes the lease for that, and waits until all is delivered. A failure of the store is
        logged, and not raised. What waits is noted in the metrics.
        """
        try:
            if not self._is_due():
                return self._seconds_to_look()
            return self._deliver()
        except Conflict:  # another process has begun to deliver
            self._glance = None
            return LOOK_SECONDS
        except WheelyardError as error:
            # what was looked at may not be delivered, and no feed tells of it again
            self._glance = None
            self._log(error.message)
            return LOOK_SECONDS
        finally:
            # also if nothing is due: what waits gets older
            self._tools.metrics.note(self._states, self._runtime.now())

    def _seconds_to_look(self) -> float:
        glance = self._glance
        # without webhooks, too: memory tells of one that this process has added
        if glance is None or glance.due is None:
            return LOOK_SECONDS
        seconds = (glance.due - self._runtime.now()).total_seconds()
        return min(max(seconds, 0.0), LOOK_SECONDS)

    def _is_due(self) -> bool:
        """Return whether something may have to be sent, by the feeds and by what is in memory."""
        glance = self._glance
        if glance is None or self._has_own_change(glance):
            return True
        if not glance.webhooks:
            return self._is_time(self._list_seconds)
        if glance.due is not None and glance.due <= self._runtime.now():
            return True
        indexes = glance.indexes
        if self._is_time(INDEXES_SECONDS):
            indexes = self._source.find_indexes()
        if self._feed_ends(glance.webhooks, indexes) != glance.ends:
            return True
        # no feed tells of these
        is_rights = _any_wants(glance.webhooks, WebhookEvent.ACCESS_CHANGED)
        is_requests = _any_wants(glance.webhooks, WebhookEvent.PACKAGE_REQUESTED)
        if is_rights and self._is_time(ACCESS_SECONDS):
            return self._source.access_ends() != glance.access
        return is_requests and self._is_time(REQUESTS_SECONDS)

    def _is_time(self, seconds: float) -> bool:
        """Return whether so many seconds have passed since the last time that this was true."""
        # the length of an interval is its key: no two of one length are asked for at a time
        now = self._runtime.monotonic()
        if now < self._times.get(seconds, now):
            return False
        is_first = seconds not in self._times
        self._times[seconds] = now + seconds
        return not is_first

    def _has_own_change(self, glance: _Glance) -> bool:
        """Return whether this process has changed the webhooks, as memory says."""
        return self._revision() not in {0, glance.revision}

    def _revision(self) -> int:
        """Return the revision of the webhooks in memory, or 0 if none are there."""
        snapshot = self._webhooks.records.peek("any")
        if snapshot is None or snapshot.value is None:
            return 0
        return snapshot.value.revision

    @staticmethod
    def _feed_ends(
        webhooks: Sequence[Webhook], indexes: Mapping[str, IndexJournals]
    ) -> dict[str, FeedEnd]:
        """Return the ends of the feeds that webhooks are told of, and of that of main."""
        ends = dict[str, FeedEnd]()
        for name, index in indexes.items():
            # whoever changes webhooks touches the feed of main
            if name == MAIN or any(webhook.reads_feed(name) for webhook in webhooks):
                # one that is damaged does not hold up the others, and is due once it is repaired
                with UnreadableIgnored():
                    ends[name] = index.changes.end()
        return ends

    def _deliver(self) -> float:
        """Look at everything, deliver what is due, and return when to look again."""
        if not self._threads and not self._pending(self._look()):
            return self._seconds_to_look()
        wait = self._lease.take()
        if wait:
            self._glance = None
            return min(wait.total_seconds(), LOOK_SECONDS)
        try:
            # again: the process that had the lease may have delivered
            self._start(self._pending(self._look()))
            while self._threads:
                has_ended = self._wait_for_threads()
                self._lease.renew()
                # what has failed in a thread that has ended may be due again before others end
                if has_ended or self._is_due():
                    self._start(self._pending(self._look()))
        finally:
            # after a failure, a thread may still send: until it has ended, nobody else may. If it
            # takes longer than the lease lasts, it finds that it may not go on
            if not self._threads:
                self._lease.give_back()
        if self._pending(self._look()):
            # a webhook has failed for now, or another process has delivered: nothing else is due
            self._glance = None
            return LOOK_SECONDS
        return self._seconds_to_look()

    def _look(self) -> dict[str, WebhookState]:
        """Read the webhooks and their states, and remember what they are up to."""
        stored = self._webhooks.read_stored()
        webhooks = self._webhooks.in_force(stored)

        # the feeds first: what is added meanwhile is found by the next look
        indexes: Mapping[str, IndexJournals] = {}
        ends = dict[str, FeedEnd]()
        access = dict[str, int]()
        if webhooks:
            indexes = self._source.find_indexes()
            ends = self._feed_ends(webhooks, indexes)
        if _any_wants(webhooks, WebhookEvent.ACCESS_CHANGED):
            access = self._source.access_ends()
        states = dict[str, WebhookState]()
        for webhook in webhooks:
            # the others go on if a state is damaged, and the page Health says which it is
            with UnreadableIgnored():
                states[webhook.name] = self._tools.states.read_stored(webhook.name, webhook.created)
        self._states = states
        dues = list[datetime]()
        for name, state in states.items():
            # what a thread has to deliver is due only once it has ended
            if name not in self._threads:
                dues += [journal.due for journal in state.waiting.values()]
        self._glance = _Glance(
            webhooks=webhooks,
            revision=stored.revision,
            indexes=indexes,
            ends=ends,
            access=access,
            due=min(dues, default=None),
        )
        return states

    def _pending(self, states: dict[str, WebhookState]) -> list[Webhook]:
        """Return the webhooks that may have to be told of something, and have no thread."""
        glance = self._glance
        if glance is None:
            return []
        pending = list[Webhook]()
        for webhook in glance.webhooks:
            if webhook.name not in states or webhook.name in self._threads:
                continue
            if self._is_pending(webhook, states[webhook.name], glance):
                pending.append(webhook)
        return pending

    def _is_pending(self, webhook: Webhook, state: WebhookState, glance: _Glance) -> bool:
        """Return whether a webhook may have to be told of something now."""
        now = self._runtime.now()
        if state.again or any(journal.due <= now for journal in state.waiting.values()):
            return True
        if len(state.waiting) >= MOST_WAITING:
            return False  # nothing new is read
        for name, end in glance.ends.items():
            if webhook.reads_feed(name) and state.cursors.get(name) != end.newest:
                return True
        if WebhookEvent.ACCESS_CHANGED in webhook.events:
            for name, number in glance.access.items():
                if state.cursors.get(name) != number:
                    return True
        return find_news(webhook, state, self._tools.find_waiting, now) is not None

    def _start(self, webhooks: Sequence[Webhook]) -> None:
        """Start a thread for each webhook, as one that hangs must not delay another."""
        for webhook in webhooks:
            # a daemon, as a receiver that hangs must not keep the process from ending either
            thread = Thread(
                target=partial(self._run, webhook), name=f"webhook {webhook.name}", daemon=True
            )
            # before it starts: it takes itself out at its end
            self._threads[webhook.name] = thread
            thread.start()

    def _run(self, webhook: Webhook) -> None:
        """Deliver to one webhook, in its thread."""
        try:
            Delivery(webhook, self._tools).run()
        except Conflict:  # another process has the lease
            pass
        except WheelyardError as error:
            self._log(f"{webhook.name}: {error.message}")
        finally:
            # not the dispatcher by `is_alive`: that is still true when it learns of the end
            del self._threads[webhook.name]
            self._ended.set()

    def _wait_for_threads(self) -> bool:
        """Wait until a thread ends, as long as the lease can wait, and return whether one has."""
        has_ended = self._ended.wait(TICK_SECONDS)
        self._ended.clear()
        return has_ended

    def _log(self, why: str) -> None:
        if why != self._logged:
            self._logged = why
            logger.warning("webhooks are told of nothing for now: %s", why)


def _any_wants(webhooks: Sequence[Webhook], event: WebhookEvent) -> bool:
    return any(event in webhook.events for webhook in webhooks)
