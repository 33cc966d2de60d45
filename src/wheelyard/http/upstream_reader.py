"""
Pages of upstream indexes for request handlers.

That a name is not private is read from the store for each request, and again if an upstream or its
cache in the store was waited for. What waits for the network has threads of its own, so private
packages are read as fast while an upstream does not answer. All requests for a name wait together.
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
Names that a process looks up at upstream indexes at a time.

Half of them are at one index, and half of those for one client.
"""
SLOT_SECONDS: Final = 30.0
"""How long a lookup waits until fewer threads wait for its index."""
MAX_WAITING: Final = 1000
"""Lookups that wait so at a time."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""Names that no upstream index has, and that one client may ask for."""
REFRESH_SECONDS: Final = 1.0
"""Age from which on a page is asked for again for a caller who wants it from no cache."""

Freshness = Literal["fresh", "newest"]
"""Whether a page may be one that is kept and not too old, or has to be asked for now."""


class UpstreamReader:
    """Finds the pages and files of names that are not private."""

    def __init__(self, upstream: UpstreamIndex, *, is_local: bool) -> None:
        self.upstream = upstream
        self._is_local = is_local
        self._threads = DaemonThreads(UPSTREAM_THREADS, "upstream")
        self.limit = ConcurrencyLimit(UPSTREAM_THREADS, "requests to upstream indexes")
        self._metadata_limits = defaultdict[str, ConcurrencyLimit](
            partial(ConcurrencyLimit, UPSTREAM_THREADS // 4, "requests for metadata")
        )
        """Of the threads that wait for the metadata of an index, by its id."""
        self._in_flight = SingleFlight()
        self._waiting = 0
        """Lookups that wait until fewer threads wait for their index."""
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

        A bucket is listed in a thread, as that takes a request for each thousand names. If the
        store does not answer, this does nothing.
        """
        if self._is_local:
            self._complete_names()
        else:
            self._threads.submit(self._complete_names)

    def _complete_names(self) -> None:
        with suppress(Unavailable):  # each request asks for itself whether its name is private
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
        Return what the caller may see of a name, or None if it is private and they may read it.

        It is what one upstream index has, or for a merged name, what each has, in their order. It
        is one empty listing if the policy refuses the name. A private name that they may not read
        is answered as one that no upstream index has.

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
            # `once`: after a wait the page may be there, and the handler goes the same way again
            key = ("page", pages, name)
            stored_pages[pages] = request.once(key, pages.read_fresh, name)
        state = upstream.policy.state()
        installer_caller = request.caller if is_installer else None
        refused = upstream.refused_listing(name, state, installer_caller)
        if refused is not None:
            return (refused,)
        self._refuse_loop(request)
        wants_newest = may_refresh and _wants_newest(request)
        is_merged = len(places) > 1
        pages_of_places = list[tuple[PageSource, FoundPage | None]]()
        for pages, stored in stored_pages.items():
            page = self._page(
                pages, name, request, stored, wants_newest=wants_newest, is_merged=is_merged
            )
            pages_of_places.append((pages, page))
        listings = upstream.serve_each(name, pages_of_places, state)
        if not listings:
            # else it is counted already, or nobody was asked
            if is_merged and None in stored_pages.values():
                request.once(("unknown", name), self._note_unknown, request.client_key)
            raise project_not_found(name)
        if installer_caller is not None:
            upstream.note_hidden(listings, installer_caller)
        return listings

    def _page(
        self,
        pages: PageSource,
        name: NormalizedName,
        request: Request,
        stored: PeekedPage | None,
        *,
        wants_newest: bool,
        is_merged: bool,
    ) -> FoundPage | None:
        """
        Return the page of a name from one place, or None.

        `is_merged` names are looked up at other places as well. Raises Unavailable if the upstream
        index does not answer, or the client has asked for too many unknown names. Raises Waiting if
        the index has to be asked.
        """
        is_forced = wants_newest
        if stored is not None and stored.page is not None:
            # a client that asks for one page after the other would have the index asked each time
            is_forced &= stored.page.age >= REFRESH_SECONDS
        if stored is not None and not is_forced:
            return stored.page
        freshness: Freshness = "newest" if is_forced else "fresh"
        # that one of several places lacks a name is no guess: another one may have it
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
        self._unknown_names.record_failure((_guesses_of(client),))

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

        `upstream` is the id of the index. Raises Unavailable (code `overloaded`) if too much waits
        for it already. Raises what the work raises.
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
        self._require_guesses(client)
        try:
            answer = await self._run_asking(Lookup(client), work, *args)
        except NotFound:  # what the caller may not tell from a private name
            self._unknown_names.record_failure((_guesses_of(client),))
            raise
        if isinstance(answer, Explanation | RefreshedPage) and answer.is_unknown:
            self._unknown_names.record_failure((_guesses_of(client),))
        return answer

    def _refuse_loop(self, request: Request) -> None:
        """Raise Unavailable if this index has sent the request itself, directly or by others."""
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
        Return the page of a name, or None, once all who need it have waited together.

        With `counts_unknown`, a name without a page is counted as unknown. If that takes long, an
        older page is returned instead, while the question goes on, unless it is about the newest.
        """
        self._require_guesses(client)
        get_stale = None
        if freshness == "fresh":
            get_stale = partial(pages.peek_stale, name)
        return await self._in_flight.run(
            (pages, name, freshness),
            self._ask_alone,
            pages,
            name,
            client,
            freshness,
            counts_unknown,
            get_stale=get_stale,
        )

    async def _ask_alone(
        self,
        pages: PageSource,
        name: NormalizedName,
        client: str,
        freshness: Freshness,
        counts_unknown: bool,  # noqa: FBT001 - `SingleFlight.run` takes no names
    ) -> FoundPage | None:
        """Return the page of a name, or None, perhaps after counting it as unknown."""
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
        """Return what `ask` does, once no more than half of the threads wait for the same index."""
        end = get_running_loop().time() + SLOT_SECONDS
        while True:
            lookup = Lookup(client)
            try:
                return await self._run_asking(lookup, ask, name)
            except Unavailable as error:
                is_late = get_running_loop().time() >= end or self._waiting >= MAX_WAITING
                if is_late or error.code != UPSTREAM_BUSY:
                    raise
            # it waits without a thread, and without a place among the others
            await self._wait_for_slot(lookup, end)

    async def _wait_for_slot(self, lookup: Lookup, end: float) -> None:
        """Wait until the index that had no slot for a lookup may have one, or until `end`."""
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
            async with timeout_at(end):
                await freed.wait()
        except TimeoutError:
            slots.forget(wake)
        finally:
            self._waiting -= 1

    def _require_guesses(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait = self._unknown_names.seconds_until((_guesses_of(client),))
        if wait:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                retry_after=ceil(wait),
            )


def _ask_now_if_possible(pages: PageSource, name: NormalizedName) -> FoundPage | None:
    """Return the page that an index has now, or what can be served if it does not answer."""
    try:
        return pages.ask_now(name)
    except Unavailable:
        return pages.ask_if_due(name)


def _wants_newest(request: Request) -> bool:
    """Return whether a request is for a page that comes from no cache, of who may have that."""
    directives = request.joined_headers.get(b"cache-control", b"").lower().split(b",")
    # not max-age=0: pip says so with each request
    has_no_cache = b"no-cache" in map(bytes.strip, directives)
    return has_no_cache and request.caller.may_anywhere(Action.UPLOAD)


def _guesses_of(client: str) -> str:
    """Return the key under which the unknown names of a client are counted."""
    return f"names-{client}"
