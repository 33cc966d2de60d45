"""Sends one message about all new requests, at most one in an hour, from one of many servers."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from threading import Thread
from typing import Final

from wheelyard.api.operation import Call
from wheelyard.api.package_request_operations import WaitingRequest, list_requests
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.http_client.hosts import FetchError
from wheelyard.model.access import Action, Caller, describe_principal, everywhere
from wheelyard.model.package_requests import SentMessage
from wheelyard.model.public_packages import DecisionList
from wheelyard.notifications.digest import digest_of
from wheelyard.notifications.webhook import Webhook
from wheelyard.operations.sweep import JobLease
from wheelyard.wiring.index import Index

JOB: Final = "notify"
EVERY: Final = timedelta(hours=1)
"""The least time from one message to the next."""
LOOK: Final = timedelta(minutes=5)
"""How often a server looks whether something new waits."""
SPREAD_SECONDS: Final = 30.0
"""The longest random pause that is added, so that servers take turns."""
_READER: Final = Caller("local:notifications", (everywhere(Action.READ | Action.APPROVE),))
"""Sees every request, and changes nothing."""

logger = logging.getLogger("wheelyard")


class Notifier:
    """
    Tells a webhook what waits.

    For one thread. A failure is logged and tried again, and blocks nothing.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._runtime = index.server.runtime
        self._webhook = Webhook(index.settings.notifications, index.server.runtime)
        self._lease = JobLease(index.stores.documents, JOB, index.lifecycle.removal.clock)
        self._logged = ""
        """The last failure that the log has. Each is there once."""

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="notifications", daemon=True).start()

    def run(self) -> None:
        """Tell whenever that is due, for ever."""
        while True:
            self._runtime.pause(self._runtime.random.uniform(0.0, SPREAD_SECONDS))
            self._runtime.pause(self.notify_if_due().total_seconds())

    def notify_if_due(self) -> timedelta:
        """Send a message if something new waits, and return after how long to look again."""
        try:
            if not self._news()[0]:
                return LOOK
            wait = self._lease.take(EVERY)
            if wait:
                return wait
            # again: the process that had the lease may have told of it
            news, waiting = self._news()
            if not news:
                return LOOK
            return self._tell(news, waiting)
        except Conflict:  # another process has taken the lease
            return LOOK
        except WheelyardError as error:
            self._log(error.message)
            return LOOK

    def _news(self) -> tuple[list[WaitingRequest], int]:
        """Return what waits and no message has told of, and how much waits in all."""
        index = self._index
        waiting = list_requests(Call(index=index, caller=_READER)).requests
        decided = index.server.decisions.get("current").value or DecisionList()
        news = [
            request for request in waiting if request.is_new(decided.for_project(request.project))
        ]
        return news, len(waiting)

    def _tell(self, news: Sequence[WaitingRequest], waiting: int) -> timedelta:
        # before: whatever happens then, nothing is sent again within the hour
        self._lease.complete()
        error = ""
        keys = {request.key for request in news}
        try:
            self._webhook.send(digest_of(news, waiting, self._page_url(), self._describe))
        except FetchError as fault:
            error = f"webhook: {fault.why}"
            keys = set()
        message = SentMessage(self._runtime.now(), error)
        self._index.server.package_requests.change(lambda stored: stored.with_told(keys, message))
        if error:
            self._log(error)
        else:
            self._logged = ""
        return EVERY

    def _page_url(self) -> str:
        settings = self._index.settings
        base = settings.base_url if settings.server.public_url else ""
        return f"{base}/-/admin/requests/"

    def _describe(self, principal: str) -> str:
        name = ""
        if principal.startswith("token:"):
            name = self._index.tokens.records.name_of(principal)
        return describe_principal(principal, name)

    def _log(self, why: str) -> None:
        if why != self._logged:
            self._logged = why
            logger.warning("no message about requests for public packages was sent: %s", why)
