"""
Pages of upstream indexes for request handlers.

For each request, the store is asked whether the name is private, and again after a wait for an
upstream index or its cache in the store. Work that waits for the network has threads of its own, so
that private packages are read as fast while an upstream index does not answer. All requests for a
name wait together.
"""

from asyncio import Event, get_running_loop, timeout_at, wrap_future
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from copy import copy
from functools import partial
from math import ceil
from typing import Final, Literal, TypeVar, TypeVarTuple

from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import project_not_found
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import RATE_LIMITED, UPSTREAM_BUSY, NotFound, Unavailable
from wheelyard.http.error_responses import UPSTREAM_LOOP
from wheelyard.http.messages import Request
from wheelyard.http.work_limits import ConcurrencyLimit, SingleFlight
from wheelyard.model.access import Action
from wheelyard.model.public_packages import Explanation, RefreshedPage
from wheelyard.upstream.index_slots import CURRENT_LOOKUP, Lookup
from wheelyard.upstream.indexes import PageSource, UpstreamIndex, UpstreamListing
from wheelyard.upstream.pages import FoundPage, PeekedPage

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

UPSTREAM_THREADS: Final = 128
"""
The names that a process looks up at upstream indexes at a time, each in a thread.

At most half of the threads wait for one index, and half of these for one client.
"""
SLOT_SECONDS: Final = 30.0
"""How long a lookup waits for a slot, while too many threads wait for its index."""
MAX_WAITING: Final = 1000
"""The lookups that wait for a slot at a time."""
METADATA_PART: Final = 4
"""At most the threads divided by this wait for the metadata of one index."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""How many names that no upstream index has one client may ask for in a minute."""
REFRESH_SECONDS: Final = 1.0
"""A caller who wants a page from no cache gets a kept page that is younger than this."""

Freshness = Literal["fresh", "newest"]
"""Whether a page may be kept and not too old, or its index has to be asked now."""


class UpstreamReader:
    """Finds the pages of names that are not private, in the store or at upstream indexes."""

    def __init__(self, upstream: UpstreamIndex, *, is_local: bool) -> None:
        self.upstream = upstream
        self._is_local = is_local
        self._threads = DaemonThreads(UPSTREAM_THREADS, "upstream")
        self.limit = ConcurrencyLimit(UPSTREAM_THREADS, "requests to upstream indexes")
        self._metadata_limits = defaultdict[str, ConcurrencyLimit](
            partial(ConcurrencyLimit, UPSTREAM_THREADS // METADATA_PART, "requests for metadata")
        )
        """Limits of the threads that wait for the metadata of an index, by the id of the index."""
        self._in_flight = SingleFlight()
        self._waiting = 0
        """How many lookups wait for a slot of their index."""
        upstream.clients.limit_threads(UPSTREAM_THREADS // 2)
        now = upstream.runtime.monotonic
        self._unknown_names = LoginRateLimit(UNKNOWN_NAMES_PER_MINUTE, now)

    def of_another_index(self, upstream: UpstreamIndex) -> "UpstreamReader":
        """Return the reader for another index, which shares threads and limits with this one."""
        reader = copy(self)
        reader.upstream = upstream
        return reader

    def complete_names(self) -> None:
        """
        Complete the list of private names in the store.

        On a bucket this is done in a thread, as it takes a request for each thousand names. If the
        store does not answer, the list stays as it is.
        """
        if self._is_local:
            self._complete_names()
        else:
            self._threads.submit(self._complete_names)

    def _complete_names(self) -> None:
        """Complete the list, and ignore a store that does not answer."""
        with suppress(Unavailable):  # each request asks the store whether its name is private
            self.upstream.names.complete_list()

    def find(
        self,
        name: NormalizedName,
        request: Request,
        *,
        may_refresh: bool,
        is_installer: bool = False,
    ) -> tuple[UpstreamListing, ...] | None:
        """
        Return the listings of a name, or None if the name is private and the caller may read it.

        There is one listing of one upstream index, or for a merged name, one of each index that has
        it, in their order. If the policy refuses the name, there is one empty listing. A private
        name that the caller may not read looks like a name that no upstream index has.

        With `may_refresh`, a caller who may upload can have the upstream indexes asked now. With
        `is_installer`, it is noted if nothing of the project is shown by the policy. A name that no
        upstream index has is counted for the client.

        Raises NotFound if no upstream index has the name, or the settings do not allow to ask for
        it. Raises Unavailable if the store does not answer, no upstream index does, the client has
        asked for too many unknown names (code `rate_limited`), or this index has sent the request
        itself (code `upstream_loop`). Raises Waiting if an upstream index has to be asked.
        """
        upstream = self.upstream
        places = upstream.page_sources_of(name)
        if places == (upstream.hidden_pages,) and request.caller.may(Action.READ, name):
            return None

        # in this order: a page is read after the name was found not to be private
        stored_pages: dict[PageSource, PeekedPage | None] = {}
        for pages in places:
            # `once`: after a wait the store may have the page, and this must wait for the same keys
            key = ("page", pages, name)
            stored_pages[pages] = request.once(key, pages.read_fresh, name)
        state = upstream.policy.state()
        installer_caller = request.caller if is_installer else None
        refused_listing = upstream.refused_listing(name, state, installer_caller)
        if refused_listing is not None:
            return (refused_listing,)
        self._refuse_loop(request)
        wants_newest = may_refresh and _wants_newest(request)
        is_merged = len(places) > 1
        pages_of_places = list[tuple[PageSource, FoundPage | None]]()
        for pages, stored_page in stored_pages.items():
            page = self._page_of_place(
                pages, name, request, stored_page, wants_newest=wants_newest, is_merged=is_merged
            )
            pages_of_places.append((pages, page))
        listings = upstream.serve_each(name, pages_of_places, state)
        if not listings:
            # a name that is not merged was counted already, or no index was asked for it
            if is_merged and None in stored_pages.values():
                request.once(("unknown", name), self._note_unknown, request.client_key)
            raise project_not_found(name)
        if installer_caller is not None:
            upstream.note_hidden(listings, installer_caller)
        return listings

    def _page_of_place(
        self,
        pages: PageSource,
        name: NormalizedName,
        request: Request,
        stored_page: PeekedPage | None,
        *,
        wants_newest: bool,
        is_merged: bool,
    ) -> FoundPage | None:
        """
        Return the page of a name from one place, or None if the place does not have the name.

        `stored_page` is what the store has of it, or None if the index has to be asked. With
        `is_merged`, other places are asked for the name as well. Raises Unavailable if the upstream
        index does not answer, or the client has asked for too many unknown names. Raises Waiting if
        the index has to be asked.
        """
        is_newest = wants_newest
        if stored_page is not None and stored_page.page is not None:
            # a client that asks for one page after the other would have the index asked each time
            is_young = stored_page.page.age < REFRESH_SECONDS
            is_newest = wants_newest and not is_young
        if stored_page is not None and not is_newest:
            return stored_page.page
        freshness: Freshness = "newest" if is_newest else "fresh"
        # a merged name that one place lacks is not unknown: another place may have it
        counts_unknown = not is_merged
        return request.wait(
            ("upstream", pages, name),
            self._ask,
            pages,
            name,
            request.client_key,
            freshness,
            counts_unknown,
        )

    def _note_unknown(self, client: str) -> None:
        """Count a name that no upstream index has, for a client that may be guessing names."""
        self._unknown_names.take_tries((_unknown_names_key(client),))

    async def run_waiting(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return the result of work that may wait for an upstream index.

        The process may end before the work does. Raises what the work raises.
        """
        run = partial(copy_context().run, work, *args)
        return await wrap_future(self._threads.start(run))

    async def run_for_metadata(
        self, upstream: str, client: str, work: Callable[[*Ts], T], *args: *Ts
    ) -> T:
        """
        Return the result of work that may wait for core metadata of one upstream index.

        `upstream` is the id of the index. Raises Unavailable (code `overloaded`) if too much work
        waits for that index already. Raises what the work raises.
        """
        async with self._metadata_limits[upstream].acquire(client):
            return await self.run_waiting(work, *args)

    async def _run_asking(self, lookup: Lookup, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return the result of work for a lookup, once there is a thread for its client."""
        async with self.limit.acquire(lookup.client):
            CURRENT_LOOKUP.set(lookup)  # of this task, and so of the thread that works for it
            return await self.run_waiting(work, *args)

    async def answer(self, client: str, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return the result of an operation that may ask an upstream index for any name.

        A name that no upstream index has is counted for the client. Raises Unavailable if the
        client has asked for too many such names (code `rate_limited`), or too many requests wait
        (code `overloaded`). Raises what the operation raises.
        """
        self._require_few_unknown(client)
        try:
            answer = await self._run_asking(Lookup(client), work, *args)
        except (
            NotFound
        ):  # also for a private name, which the caller may not tell from an unknown one
            self._note_unknown(client)
            raise
        if isinstance(answer, Explanation | RefreshedPage) and answer.is_unknown:
            self._note_unknown(client)
        return answer

    def _refuse_loop(self, request: Request) -> None:
        """Raise Unavailable if this index itself has sent the request, perhaps by other servers."""
        via = request.joined_headers.get(b"via", b"").decode("latin-1")
        if self.upstream.config.is_loop(via):
            raise Unavailable(
                "This index is its own upstream index. Change upstream.url.", code=UPSTREAM_LOOP
            )

    async def _ask(
        self,
        pages: PageSource,
        name: NormalizedName,
        client: str,
        freshness: Freshness,
        counts_unknown: bool,  # noqa: FBT001 - `Request.wait` takes no names
    ) -> FoundPage | None:
        """
        Return the page of a name, or None, for which all requests wait together.

        With `counts_unknown`, a name without a page is counted as unknown. If the index does not
        answer soon, an older page is returned instead, unless `freshness` is `newest`. The lookup
        goes on then. Raises Unavailable if the client has asked for too many unknown names, or the
        index does not answer.
        """
        self._require_few_unknown(client)
        get_stale = None
        if freshness == "fresh":
            get_stale = partial(pages.peek_stale, name)
        return await self._in_flight.run(
            (pages, name, freshness),
            self._ask_once,
            pages,
            name,
            client,
            freshness,
            counts_unknown,
            get_stale=get_stale,
        )

    async def _ask_once(
        self,
        pages: PageSource,
        name: NormalizedName,
        client: str,
        freshness: Freshness,
        counts_unknown: bool,  # noqa: FBT001 - `SingleFlight.run` takes no names
    ) -> FoundPage | None:
        """Return the page of a name, or None, which counts as unknown with `counts_unknown`."""
        ask = pages.ask_if_due
        if freshness == "newest":
            ask = partial(_ask_now_if_possible, pages)
        page = await self._ask_with_slot(name, client, ask)
        if page is None and counts_unknown:
            self._note_unknown(client)
        return page

    async def _ask_with_slot(
        self,
        name: NormalizedName,
        client: str,
        ask: Callable[[NormalizedName], FoundPage | None],
    ) -> FoundPage | None:
        """
        Return what `ask` returns, once there is a slot of the index that it asks.

        Raises Unavailable if there is no slot within `SLOT_SECONDS`, or too many lookups wait.
        """
        ends_at = get_running_loop().time() + SLOT_SECONDS
        while True:
            lookup = Lookup(client)
            try:
                return await self._run_asking(lookup, ask, name)
            except Unavailable as error:
                is_late = get_running_loop().time() >= ends_at
                may_wait = self._waiting < MAX_WAITING and not is_late
                if error.code != UPSTREAM_BUSY or not may_wait:
                    raise
            # here the lookup has no thread, and does not count for `limit`
            await self._wait_for_slot(lookup, ends_at)

    async def _wait_for_slot(self, lookup: Lookup, ends_at: float) -> None:
        """Wait until the index that had no slot for a lookup may have one, or until `ends_at`."""
        slots = lookup.refused_by
        if slots is None:
            return
        loop = get_running_loop()
        freed = Event()
        # called by the thread that gives up its slot
        wake = partial(loop.call_soon_threadsafe, freed.set)
        self._waiting += 1
        slots.when_free(lookup.client, wake)
        try:
            async with timeout_at(ends_at):
                await freed.wait()
        except TimeoutError:
            slots.forget(wake)
        finally:
            self._waiting -= 1

    def _require_few_unknown(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait_seconds = self._unknown_names.seconds_until((_unknown_names_key(client),))
        if wait_seconds:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                retry_after=ceil(wait_seconds),
            )


def _ask_now_if_possible(pages: PageSource, name: NormalizedName) -> FoundPage | None:
    """Return the page that an index has now, or what can be served if it does not answer."""
    try:
        return pages.ask_now(name)
    except Unavailable:
        return pages.ask_if_due(name)


def _wants_newest(request: Request) -> bool:
    """Return whether a request wants a page from no cache, and its caller may have that."""
    cache_control = request.joined_headers.get(b"cache-control", b"").lower()
    directives = [directive.strip() for directive in cache_control.split(b",")]
    # not max-age=0, which pip sends with each request
    return b"no-cache" in directives and request.caller.may_anywhere(Action.UPLOAD)


def _unknown_names_key(client: str) -> str:
    """Return the key under which the unknown names of a client are counted."""
    return f"names-{client}"
