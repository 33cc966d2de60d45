"""
Packages that clients asked for and the policy hid, for whoever decides about public packages.

An installer that chooses among the versions of a page asks for none that is hidden. A refused file
was asked for, and so was a name of which nothing is shown. A request of a client writes nothing to
the store: this process remembers it, and adds it to the stored list a few seconds later, at most
every five minutes. A package that is only asked for again is written once an hour. A process that
is killed loses what it has not written. What a person asks for with a reason is stored at once.
"""

from collections import Counter
from datetime import datetime
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.package_request_list import RequestRecords
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.timers import StartedTimer, StartTimer, start_timer
from wheelyard.errors import Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.package_requests import (
    MAX_OF_ONE,
    MAX_REQUESTS,
    PackageRequest,
    RequestKey,
)
from wheelyard.model.person import counted_as, counted_unless_principal
from wheelyard.model.public_packages import FileReason

FIRST_SECONDS: Final = 10.0
"""How long the first write waits, so that all requests of one installation are written at once."""
WRITE_SECONDS: Final = 300.0
"""The least time from one write to the next."""
REPEAT_SECONDS: Final = 3600.0
"""After this time a repeated request is worth a write by itself."""
REASON_CHARS: Final = 600
"""Characters of a reason that are kept."""


class RequestLog:
    """
    Remembers which hidden packages clients asked for, and writes the requests to the store.

    Threads may share it. With `is_off`, as on a server that writes nothing, it remembers nothing.
    """

    def __init__(
        self,
        records: RequestRecords,
        runtime: Runtime,
        start_timer: StartTimer = start_timer,
        *,
        is_off: bool = False,
    ) -> None:
        self.records = records
        self._runtime = runtime
        self._start_timer = start_timer
        self._is_off = is_off
        self._noted = dict[RequestKey, PackageRequest]()
        self._count_by_caller = Counter[str]()
        """How many requests in `_noted` a person, or another principal, has made first."""
        self._written: LruCache[tuple[RequestKey, str], float] = LruCache(4 * MAX_REQUESTS)
        """When a request of a principal was written, on the monotonic clock."""
        self._timer: StartedTimer | None = None
        self._next_at = 0.0
        """When the next write may be, on the monotonic clock."""
        self._lock = Lock()

    def note(
        self,
        project: NormalizedName,
        version: str,
        reason: FileReason,
        caller: Caller,
        until: datetime | None = None,
    ) -> None:
        """
        Remember that a caller asked for a project, or one version of it, and why it is hidden.

        `version` is empty for the project. `until` is when time alone shows the package, or None if
        it never does. This does not wait for the store: a timer writes the request later. If too
        many requests are remembered, of all callers or of this one, a new request is left out.
        """
        if self._is_off:
            return
        now = self._runtime.now()
        who = caller.acts_for
        counted_caller = counted_as(caller)
        request = PackageRequest(
            project=project,
            version=version,
            code=str(reason.code),
            reason=reason.text[:REASON_CHARS],
            who=(who,),
            asker=counted_unless_principal(caller),
            times=1,
            first=now,
            last=now,
            until=until,
        )
        with self._lock:
            earlier_request = self._noted.get(request.key)
            if earlier_request is not None:
                self._noted[request.key] = earlier_request.combined(request)
            elif self._has_room(counted_caller):
                self._count_by_caller[counted_caller] += 1
                self._noted[request.key] = request
            else:
                return
            if self._timer is None and self._is_news(request.key, who):
                self._schedule()

    def _has_room(self, counted_caller: str) -> bool:
        """Return whether one more request of a caller is remembered. The caller holds the lock."""
        if len(self._noted) >= MAX_REQUESTS:
            return False
        # one client that asks for everything must not keep back the requests of all others
        return self._count_by_caller[counted_caller] < MAX_OF_ONE

    def _is_news(self, key: RequestKey, who: str) -> bool:
        """Return whether a request of a principal is worth a write of its own."""
        written_at = self._written.get((key, who))
        return written_at is None or self._runtime.monotonic() - written_at >= REPEAT_SECONDS

    def _schedule(self) -> None:
        """Start the timer of the next write. The caller holds the lock."""
        wait = max(FIRST_SECONDS, self._next_at - self._runtime.monotonic())
        try:
            self._timer = self._start_timer(wait, self.write)
        except RuntimeError:  # no more threads; the next request tries again
            self._timer = None

    def write(self) -> None:
        """
        Write the remembered requests to the store.

        This runs in the thread of the timer, or of `close`. If the store does not answer, the
        requests are remembered again, and written five minutes later.
        """
        # taken out first: no request of a client waits for the lock while the store is written
        with self._lock:
            noted_requests = self._noted
            self._noted = {}
            self._count_by_caller.clear()
            self._next_at = self._runtime.monotonic() + WRITE_SECONDS
        if noted_requests:
            self._write_noted(noted_requests)
        with self._lock:
            self._timer = None
            # requests that came meanwhile have found a timer, and started none
            if not self._is_off and self._has_news():
                self._schedule()

    def _write_noted(self, noted_requests: dict[RequestKey, PackageRequest]) -> None:
        """Write requests to the store, or remember them again if it does not answer."""
        try:
            self.records.change(
                lambda stored: stored.with_noted(noted_requests.values(), self._runtime.now())
            )
        except Unavailable:  # the store logs its errors itself
            self._take_back(noted_requests)
            return
        written_at = self._runtime.monotonic()
        for key, request in noted_requests.items():
            for who in request.who:
                self._written.put((key, who), written_at, 1)

    def _has_news(self) -> bool:
        """Return whether any remembered request is worth a write. The caller holds the lock."""
        for key, request in self._noted.items():
            for who in request.who:
                if self._is_news(key, who):
                    return True
        return False

    def _take_back(self, noted_requests: dict[RequestKey, PackageRequest]) -> None:
        """Remember again the requests that could not be written, before those of the meantime."""
        with self._lock:
            for key, request in noted_requests.items():
                later_request = self._noted.get(key)
                if later_request is not None:
                    self._noted[key] = request.combined(later_request)
                elif self._has_room(request.counts_for):
                    self._noted[key] = request
                    self._count_by_caller[request.counts_for] += 1

    def close(self) -> None:
        """
        Write the remembered requests, and remember no more, before the process ends.

        Requests that the store does not take are lost.
        """
        with self._lock:
            self._is_off = True
            timer = self._timer
            self._timer = None
        if timer is not None:
            timer.cancel()
        self.write()
