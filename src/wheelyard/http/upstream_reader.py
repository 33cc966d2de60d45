"""
Pages of upstream indexes for request handlers.

That a name is not private is read from the store for each request, and again if an upstream or its
cache in the store was waited for. What waits for the network has threads of its own, so private
packages are read as fast while an upstream does not answer. All requests for a name wait together.
"""

from asyncio import wrap_future
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Final, TypeVar

from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import project_not_found
from wheelyard.authentication.verifiers.verifier import LoginRateLimit
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import RATE_LIMITED, Unavailable
from wheelyard.http.context import ConcurrencyLimit, SingleFlight
from wheelyard.http.error_responses import UPSTREAM_LOOP
from wheelyard.http.logs import in_context
from wheelyard.http.messages import Request
from wheelyard.model.access import Action
from wheelyard.model.public_packages import Explanation, RefreshedPage
from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
from wheelyard.upstream.pages import FoundPage

T = TypeVar("T")

UPSTREAM_THREADS: Final = 64
"""Names that a process looks up at upstream indexes at a time; half of them for one client."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""Names that no upstream index has, and that one client may ask for."""
REFRESH_SECONDS: Final = 1.0
"""Age from which on a page is asked for again for a caller who wants it from no cache."""


class UpstreamReader:
    """Finds the pages and files of names that are not private."""

    def __init__(self, upstream: UpstreamIndex, *, is_local: bool) -> None:
        self.upstream = upstream
        self._is_local = is_local
        self._threads = DaemonThreads(UPSTREAM_THREADS, "upstream")
        self._limit = ConcurrencyLimit(UPSTREAM_THREADS, "requests to upstream indexes")
        self._in_flight = SingleFlight()
        now = upstream.runtime.monotonic
        self._unknown_names = LoginRateLimit(UNKNOWN_NAMES_PER_MINUTE, now)

    def complete_names(self) -> None:
        """List all private names; in a bucket without waiting, as it takes a request a thousand."""

        def complete() -> None:
            with suppress(Unavailable):  # each request asks for itself whether its name is private
                self.upstream.names.complete_list()

        if self._is_local:
            complete()
        else:
            self._threads.submit(complete)

    def find(
        self, name: NormalizedName, request: Request, *, may_refresh: bool
    ) -> UpstreamListing | None:
        """
        Return what clients may see of a name; None if it is private.

        With `may_refresh`, a caller who may upload can have the upstream indexes asked now.

        Raises:
            NotFound: No upstream index has it, or the settings do not allow to ask for it.
            Unavailable: The store does not say whether it is private, or no upstream answers.
            Waiting: An upstream index has to be asked.
        """
        upstream = self.upstream
        if upstream.names.is_known(name) or upstream.names.is_private(name):
            return None
        stored = request.once(("page", name), partial(upstream.pages.peek_stored, name))
        state = upstream.policy.state()
        refused = upstream.refused(name, state)
        if refused is not None:
            return refused
        self._refuse_loop(request)
        is_forced = may_refresh and _wants_newest(request)
        if stored is not None and stored.page is not None:
            is_forced &= stored.page.age >= REFRESH_SECONDS
        if stored is None or is_forced:
            ask = partial(self._ask, name, request.client_key, is_forced=is_forced)
            page = request.wait(("upstream", name), ask)
        else:
            page = stored.page
        if page is None:
            raise project_not_found(name)
        return upstream.serve(page, state)

    async def run_waiting(self, work: Callable[[], T]) -> T:
        """Run work that may wait for an upstream; it does not keep the process from ending."""
        return await wrap_future(self._threads.start(in_context(work)))

    async def _run_asking(self, client: str, work: Callable[[], T]) -> T:
        async with self._limit.acquire(client):
            return await self.run_waiting(work)

    async def answer(self, client: str, work: Callable[[], T]) -> T:
        """Run an operation that may ask an upstream index for any name."""
        self._require_guesses(client)
        found = await self._run_asking(client, work)
        if isinstance(found, Explanation | RefreshedPage) and found.is_unknown:
            self._unknown_names.record_failure((_guesses_of(client),))
        return found

    def _refuse_loop(self, request: Request) -> None:
        if self.upstream.config.is_loop(request.joined_headers.get(b"via", b"").decode("latin-1")):
            raise Unavailable(
                "This index is its own upstream index. Change upstream.url.", code=UPSTREAM_LOOP
            )

    async def _ask(self, name: NormalizedName, client: str, *, is_forced: bool) -> FoundPage | None:
        """
        Return the page of a name; wait for an upstream with all others that need it.

        If that takes long, a page that is known is returned instead, while the question goes on;
        not if it `is_forced`, as the caller wants no such page.
        """
        pages = self.upstream.pages
        self._require_guesses(client)

        async def ask() -> FoundPage | None:
            get = self._refreshed if is_forced else pages.get
            page = await self._run_asking(client, partial(get, name))
            if page is None:
                self._unknown_names.record_failure((_guesses_of(client),))
            return page

        if is_forced:
            return await self._in_flight.run(("refresh", name), ask)
        return await self._in_flight.run(name, ask, partial(pages.stale, name))

    def _refreshed(self, name: NormalizedName) -> FoundPage | None:
        try:
            return self.upstream.pages.refresh(name)
        except Unavailable:
            return self.upstream.pages.get(name)  # what can be served all the same

    def _require_guesses(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait = self._unknown_names.seconds_until((_guesses_of(client),))
        if wait:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                retry_after=ceil(wait),
            )


def _wants_newest(request: Request) -> bool:
    """Return whether a request is for a page that comes from no cache, of who may have that."""
    stated = request.joined_headers.get(b"cache-control", b"").lower().split(b",")
    # not max-age=0: pip says so with each request
    is_stated = b"no-cache" in map(bytes.strip, stated)
    return is_stated and request.caller.may_anywhere(Action.UPLOAD)


def _guesses_of(client: str) -> str:
    return f"names-{client}"
