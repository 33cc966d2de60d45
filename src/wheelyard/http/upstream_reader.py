"""
Pages of upstream indexes for request handlers.

That a name is not private is read from the store for each request, and again if an upstream or its
cache in the store was waited for. What waits for the network has threads of its own, so private
packages are read as fast while an upstream does not answer. All requests for a name wait together.
"""

from asyncio import gather, wrap_future
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Final, TypeVar

from packaging.utils import NormalizedName

from wheelyard.authentication.read_policy import project_not_found
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.concurrency.daemon_threads import DaemonThreads
from wheelyard.concurrency.single_flight import SingleFlight
from wheelyard.errors import RATE_LIMITED, NotFound, Unavailable
from wheelyard.http.concurrency_limit import ConcurrencyLimit
from wheelyard.http.observability.request_record import in_context
from wheelyard.http.protocol.error_responses import UPSTREAM_LOOP
from wheelyard.http.protocol.messages import Request
from wheelyard.http.resolver import Asking
from wheelyard.http.thread_pools import ThreadPools
from wheelyard.model.access import Action, Caller
from wheelyard.model.public_packages import Explanation, RefreshedPage
from wheelyard.upstream.index import Peek, UpstreamIndex, UpstreamListing
from wheelyard.upstream.pages import FoundPage
from wheelyard.upstream.passed_on_file import PassedOnFile

T = TypeVar("T")

UPSTREAM_THREADS: Final = 32
"""Names that a process looks up at upstream indexes at a time."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""Names that no upstream index has, and that one client may ask for."""
REFRESH_SECONDS: Final = 1.0
"""Age from which on a page is asked for again for a caller who wants it from no cache."""


class UpstreamReader:
    """Finds the pages and files of names that are not private."""

    def __init__(
        self,
        upstream: UpstreamIndex,
        pools: ThreadPools,
        *,
        is_local: bool,
    ) -> None:
        self.upstream = upstream
        self._pools = pools
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

    async def find(
        self, name: NormalizedName, caller: Caller, asking: Asking
    ) -> UpstreamListing | None:
        """
        Return what clients may see of a name; None if it is private.

        A caller who may upload can have the upstream indexes asked now.

        Raises:
            NotFound: No upstream index has it, or the settings do not allow to ask for it.
            Unavailable: The store does not say whether it is private, or no upstream answers.
        """
        if self.upstream.names.is_known(name):
            return None
        peek = await self._look(name)
        if peek is None:
            return None
        if peek.absence is not None:
            raise NotFound(peek.absence.text, short="No such project.")
        self._refuse_loop(asking.request)
        page, is_forced = peek.page, asking.wants_newest and caller.may_anywhere(Action.UPLOAD)
        if page is not None:
            is_forced &= page.origin.refused_for is None and page.origin.age >= REFRESH_SECONDS
        if is_forced or (page is None and not peek.is_absent):
            answer = await self._ask(name, asking, is_forced=is_forced)
            is_private, page = await self._pools.run_read(partial(self._served, name, answer))
            if is_private:  # claimed meanwhile
                return None
        if page is None:
            raise project_not_found(name)
        return page

    async def fetched(self, name: NormalizedName, begin: Callable[[], Future[T]]) -> T:
        """
        Wait for what comes from an upstream, without a thread.

        Raise NotFound if the upstream lacks it, or if the name has become private meanwhile; else
        Unavailable.
        """
        fetched = await wrap_future(begin())
        try:
            await self.require_public(name)
        except BaseException:
            if isinstance(fetched, PassedOnFile):
                fetched.discard()
            raise
        return fetched

    async def require_public(self, name: NormalizedName) -> None:
        """Raise NotFound if a name is private now, Unavailable if the store does not say."""
        if await self._is_private(name):
            raise project_not_found(name)

    async def run_waiting(self, work: Callable[[], T]) -> T:
        """Run work that may wait for an upstream; it does not keep the process from ending."""
        return await wrap_future(self._threads.start(in_context(work)))

    async def run_asking(self, client: str, work: Callable[[], T]) -> T:
        """Run work that asks an upstream index, such as before something is approved."""
        async with self._limit.acquire(client):
            return await self.run_waiting(work)

    async def answer(self, client: str, work: Callable[[], T]) -> T:
        """Run an operation that may ask an upstream index for any name."""
        self._require_guesses(client)
        found = await self.run_asking(client, work)
        if isinstance(found, Explanation | RefreshedPage) and found.is_unknown:
            self._unknown_names.record_failure((_guesses_of(client),))
        return found

    def _refuse_loop(self, request: Request) -> None:
        if self.upstream.config.is_loop(request.headers.get(b"via", b"").decode("latin-1")):
            raise Unavailable(
                "This index is its own upstream index. Change the url in [upstream].",
                code=UPSTREAM_LOOP,
                short="This index asks itself.",
            )

    async def _look(self, name: NormalizedName) -> Peek | None:
        """Return what is known of a name without the network; None if it is private."""
        upstream, read = self.upstream, self._pools.run_read

        def look() -> Peek | None:
            return None if upstream.names.is_private(name) else upstream.peek(name)

        if self._is_local:
            return await read(look)
        # all requests to the bucket at the same time
        is_private, refusal, known = await gather(
            self._is_private(name),
            read(partial(upstream.policy.refuses_name, name)),
            read(partial(upstream.pages.peek_stored, name)),
            return_exceptions=True,
        )
        if isinstance(is_private, BaseException):
            raise is_private
        if is_private:
            return None
        if isinstance(refusal, BaseException):
            raise refusal
        if isinstance(known, BaseException):
            raise known
        return await read(lambda: upstream.judged(name, refusal, known))

    async def _is_private(self, name: NormalizedName) -> bool:
        return await self._pools.run_read(partial(self.upstream.names.is_private, name))

    async def _ask(
        self, name: NormalizedName, asking: Asking, *, is_forced: bool
    ) -> FoundPage | None:
        """
        Return the page of a name; wait for an upstream with all others that need it.

        If that takes long, a page that is known is returned instead, while the question goes on;
        not if it `is_forced`, as the caller wants no such page.
        """
        pages, client = self.upstream.pages, asking.request.client_key
        self._require_guesses(client)

        async def ask() -> FoundPage | None:
            get = self._refreshed if is_forced else pages.get
            found = await self.run_asking(client, partial(get, name))
            if found is None:
                self._unknown_names.record_failure((_guesses_of(client),))
            return found

        if is_forced:
            return await self._in_flight.run(("refresh", name), ask)
        return await self._in_flight.run(name, ask, partial(pages.stale, name))

    def _refreshed(self, name: NormalizedName) -> FoundPage | None:
        try:
            return self.upstream.pages.refresh(name)
        except Unavailable:
            return self.upstream.pages.get(name)  # what can be served all the same

    def _served(
        self, name: NormalizedName, answer: FoundPage | None
    ) -> tuple[bool, UpstreamListing | None]:
        """Return whether a name is private; if not, what clients may see of its page."""
        if self.upstream.names.is_private(name):
            return True, None
        return False, None if answer is None else self.upstream.serve(answer)

    def _require_guesses(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait = self._unknown_names.seconds_until((_guesses_of(client),))
        if wait:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                short="Too many unknown names.",
                retry_after=ceil(wait),
            )


def _guesses_of(client: str) -> str:
    return f"names-{client}"
