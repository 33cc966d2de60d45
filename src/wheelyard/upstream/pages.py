"""
The pages of projects of each upstream index: fetched when asked for, and kept in the store.

A page is fresh for the `page_ttl` of its index, which is then asked whether the page has changed.
If the index does not answer, the old page is served until it is `max_stale` old. A caller may also
have the old page while the index is asked.

The pages of each index are separate here, and all chains of indexes share them. `chain.py` decides
from which of several indexes a name is.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from copy import copy
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import BAD_UPSTREAM, UPSTREAM_REFUSED, Conflict, Unavailable
from wheelyard.model.project import Status
from wheelyard.storage.base import ABSENT, ObjectVersion
from wheelyard.upstream.observation import CacheResult, Kind, Observation
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.page_lookup import IndexProof, PageRequests, StoredPages
from wheelyard.upstream.settings import UpstreamConfig, offline_error
from wheelyard.upstream.upstream_client import UpstreamClients

NEGATIVE_SECONDS: Final = 60.0
"""Seconds for which it is remembered that no index has a name, or that a page is quarantined."""
CHECK_SECONDS: Final = 60.0
"""Age of the oldest page that says, before an upload, that a name exists upstream."""
SAVE_SECONDS: Final = 5.0
"""Seconds that a process which ends waits for pages to be stored."""
RETRY_SECONDS: Final = 30.0
"""Seconds for which a page is served without asking again after its index has not answered."""
CONFIRMATION: Final = timedelta(hours=1)
"""Age from which a stored page is written again only because its index has confirmed it."""
LOOK_SECONDS: Final = 5.0
"""Seconds for which memory is used without looking at what another process may have stored."""
BAD_SECONDS: Final = 5.0
"""Seconds for which a page that cannot be used, perhaps a huge one, is not asked for again."""
MAX_BAD: Final = 1000
"""Names that are remembered because their page cannot be used, or is refused."""
MAX_SKEW_SECONDS: Final = 60.0
"""Seconds that the clock of another process may be ahead."""
MEMORY_BYTES: Final = 48 * 1024**2
"""Estimated bytes of memory for pages."""
FILE_BYTES: Final = 1050
"""Estimated bytes of memory of a file on a page."""
PAGE_BYTES: Final = 2000
"""Estimated bytes of memory of a page without its files."""
MAX_ABSENT: Final = 20_000
"""Names without a project that are remembered."""

logger = logging.getLogger("wheelyard")

StartSaving = Callable[[Callable[[], None]], Future[None]]
"""Runs a function that saves something, in another thread."""


class FoundPage(Struct, frozen=True):
    """A page that may be shown to clients."""

    page: UpstreamPage
    """The page, which is the same object until it changes."""
    is_stale: bool
    """Whether the index should have been asked again, and has not answered in time."""
    age: float
    """Seconds since the index has confirmed the page."""


class PeekedPage(NamedTuple):
    """What memory says about a name: a page, or that there is none."""

    page: FoundPage | None
    """The page, or None if the upstream index has none."""


class PageKey(NamedTuple):
    """A project of one upstream index."""

    upstream: str
    """The id of the index."""
    name: NormalizedName


class _HeldPage(Struct, frozen=True, kw_only=True):
    """A page in memory. Its times are those of the monotonic clock."""

    page: UpstreamPage
    version: ObjectVersion | None
    """The version of the object in the store, or None if it is not known."""
    is_saved: bool
    """Whether the object in the store has this page."""
    confirmed_at: float
    """When the index has sent the page, or said that it has not changed."""
    fresh_until: float
    """Until when the page is used without asking the index again."""
    retry_at: float = 0.0
    """When the index is asked again, after it has not answered."""
    looked_at: float
    """When the page was compared with the object in the store."""

    @property
    def key(self) -> PageKey:
        """The project and its index."""
        return PageKey(self.page.upstream, self.page.name)


class UpstreamPages:
    """
    Finds the pages of projects at each upstream index.

    The name of a method says how far it goes: `peek` looks into memory alone, `read` also into the
    store, and `ask` may send a request to the index.

    Threads may share it. Threads that ask for the same page at the same time each ask its index.
    What is fetched is returned first, and then stored in a thread of `start_saving`. If the store
    does not answer, the page in memory counts, or none. While offline, a method that reads the
    store raises Unavailable then.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        clients: UpstreamClients,
        stored: StoredPages,
        runtime: Runtime,
        observation: Observation,
        start_saving: StartSaving,
    ) -> None:
        self.config = config
        self._clients = clients
        self.proof = IndexProof(stored, runtime, observation)
        self._requests = PageRequests(clients, runtime, observation, self.proof, stored)
        self.stored_pages = stored
        self.runtime = runtime
        self.observation = observation
        self._start_saving = start_saving
        self._running_saves = set[Future[None]]()
        self._held_pages: LruCache[PageKey, _HeldPage] = LruCache(MEMORY_BYTES)
        # an absent name is asked for again after `NEGATIVE_SECONDS`, and in between the store is
        # asked for a page of it after `LOOK_SECONDS`
        clock = runtime.monotonic
        self._absent_upstream = ExpiringCache[PageKey, bool](clock, MAX_ABSENT)
        self._absent_in_store = ExpiringCache[PageKey, bool](clock, MAX_ABSENT)
        self._recent_errors = ExpiringCache[PageKey, Unavailable](clock, MAX_BAD)
        """What was raised a moment ago for a page that cannot be used, or is refused."""
        self._refused_pages = LruCache[PageKey, bool](MAX_BAD)
        """What an index has refused when it was asked last, and answered."""

    def ask_if_due(
        self, key: PageKey, kind: Kind = Kind.PAGE, *, owns: bool = True
    ) -> FoundPage | None:
        """
        Return the page of a project, or None if the index has none.

        With `Kind.CHECK`, as an upload needs it, a no is an answer of now, and a yes may be a
        minute old. `owns` is whether the index, if it has the name, owns it among all indexes.

        Raises Unavailable (code `upstream_unavailable`, or `upstream_busy` if too many wait for the
        index) if that cannot be said now. Raises Unavailable (code `bad_upstream`) if the answer
        cannot be used. With `Kind.PAGE`, neither is raised if there is an older page that may be
        served. Raises Unavailable (code `upstream_refused`) if the index refuses the name, even if
        there is an older page.
        """
        if kind is Kind.PAGE:
            peeked = self.peek_memory(key)
            if peeked is not None:
                return peeked.page
        else:
            # memory may be fresh by `page_ttl`, and still too old for an upload
            held_page = self._held_pages.get(key)
            if held_page is not None and self._is_recent(held_page, kind):
                return self._found_page(held_page, is_confirmed=True)
        held_page = self._refresh_page(key, kind, owns=owns)
        if held_page is None:
            return None
        return self._found_page(held_page, is_confirmed=not held_page.retry_at)

    def peek_memory(self, key: PageKey) -> PeekedPage | None:
        """
        Return the page if memory alone says what clients get now, else None.

        A result without a page says that the index has none. Every answer but None is counted.
        """
        now = self.runtime.monotonic()
        held_page = self._held_pages.get(key)
        if held_page is not None:
            # the refusal may have come as the answer to `ask_now`, which leaves the page in memory
            if self._refused_pages.get(key):
                return None
            if now < min(held_page.fresh_until, held_page.looked_at + LOOK_SECONDS):
                self.observation.cache(Kind.PAGE, CacheResult.HIT)
                return PeekedPage(self._found_page(held_page))
            # the index was silent a moment ago: not every request has to wait for it again
            if now < held_page.retry_at and self._may_serve(held_page):
                return PeekedPage(self._found_page(held_page))
        # in the store, too, as another process may have stored a page meanwhile
        if self._absent_upstream.get(key) and self._absent_in_store.get(key):
            self.observation.cache(Kind.PAGE, CacheResult.NEGATIVE)
            return PeekedPage(None)
        return None

    def version_in_memory(self, key: PageKey) -> str | None:
        """Return the version of the page in memory that may be shown, or None without a page."""
        held_page = self._held_pages.get(key)
        if held_page is None or self._refused_pages.get(key):
            return None
        return held_page.page.version

    def peek_stale(self, key: PageKey) -> FoundPage | None:
        """Return the page in memory that may be served while a thread asks the index, or None."""
        held_page = self._held_pages.get(key)
        if held_page is None or not self._may_serve(held_page):
            return None
        return self._found_page(held_page)

    def remembers_refusal(self, key: PageKey) -> bool:
        """Return whether the index has refused a name when it was asked last, and answered."""
        return bool(self._refused_pages.get(key))

    def remembers_absence(self, key: PageKey) -> bool:
        """Return whether the index did not have a name when it was asked a moment ago."""
        return bool(self._absent_upstream.get(key))

    def read_fresh(self, key: PageKey) -> PeekedPage | None:
        """
        Return the page if memory and the store say what clients get now, else None.

        A result without a page says that the index has none.
        """
        peeked = self.peek_memory(key)
        if peeked is not None:
            return peeked
        held_page = self._load_page(key)
        if held_page is not None:
            if self.runtime.monotonic() >= held_page.fresh_until:
                return None
            # another process has fetched this page
            self._remember_page(held_page)
            return self.peek_memory(key)
        if self._absent_upstream.get(key):
            self._note_absent_in_store(key)
            return self.peek_memory(key)
        return None

    def ask_now(self, key: PageKey, *, owns: bool = True) -> FoundPage | None:
        """
        Ask the upstream index for a page now, store it, and return it.

        Return None if the index has no such page. Other processes have the page within
        `LOOK_SECONDS`. If the store does not take the page, that is logged. Raises Unavailable (a
        code of `UPSTREAM_CODES`) if the index does not answer, refuses the name, or sends what
        cannot be used, also if there is an older page. Raises Unavailable (code
        `upstream_unavailable`) if no index is ever asked.
        """
        self.require_online(key.name)
        held_page = self._request_and_note(key, Kind.PAGE, self._load_page(key), owns=owns)
        if held_page is None:
            return None
        held_page = replace(held_page, retry_at=0.0)
        self._remember_page(held_page)
        # before it is returned: what is done next may be about this page in another process
        if not (held_page.is_saved or self.config.read_only):
            self._save_page(held_page)
        return self._found_page(held_page, is_confirmed=True)

    def require_online(self, name: NormalizedName) -> None:
        """Raise Unavailable (code `upstream_unavailable`) if no upstream index is ever asked."""
        if self.config.offline:
            raise offline_error(f"a newer page of {name}")

    def read_any_age(self, key: PageKey) -> FoundPage | None:
        """
        Return the page that is in the store, whatever its age, or None if nothing of it is shown.

        No upstream index is asked.
        """
        held_page = self._load_page(key)
        if held_page is None:
            return None
        return self._found_page(held_page)

    def read_stored(self, key: PageKey) -> UpstreamPage | None:
        """
        Return the page of the store, also a page that is gone, and count nothing.

        Return None if the store has none.
        """
        held_page = self._load_page(key)
        if held_page is None:
            return None
        return held_page.page

    def read_gone(self, key: PageKey) -> UpstreamPage | None:
        """
        Return what is remembered of a page that its index has no more.

        Return None if the index has the page, or never had it. The store is read unless it was
        compared with memory in the last `LOOK_SECONDS`.
        """
        held_page = self._held_pages.get(key)
        is_current = bool(self._absent_in_store.get(key))
        if held_page is not None:
            is_current = self.runtime.monotonic() < held_page.looked_at + LOOK_SECONDS
        if not is_current:
            held_page = self._load_page(key)
            if held_page is None:  # an operator may have had it forgotten
                self._held_pages.discard(key)
                self._note_absent_in_store(key)
            else:
                self._remember_page(held_page)
        if held_page is None or not held_page.page.is_gone:
            return None
        return held_page.page

    def forget(self, name: NormalizedName) -> None:
        """
        Remove the stored pages of a name, of all indexes, and the digests of its files.

        Other processes notice it when they ask for the page next. Raises Unavailable if the store
        does not answer.
        """
        for client in self._clients.in_order:
            key = PageKey(client.server.id, name)
            self.stored_pages.delete(key.upstream, name)
            # after the store, so that a thread that loads meanwhile finds no old page
            self._held_pages.discard(key)

    def ttl(self, page: UpstreamPage) -> float:
        """Return the seconds for which a page is used without asking its index again."""
        is_short = page.is_gone or page.status is Status.QUARANTINED
        return self.ttl_of(page.upstream, is_short=is_short)

    def ttl_of(self, upstream_id: str, *, is_short: bool) -> float:
        """
        Return the seconds for which a page of an index is used without asking it again.

        With `is_short`, as for a page of which nothing is shown, they are a minute at most.
        """
        seconds = self._clients[upstream_id].server.page_ttl
        return min(seconds, NEGATIVE_SECONDS) if is_short else seconds

    def save_later(self, save: Callable[[], None]) -> None:
        """Run `save` in a thread of `start_saving`, for which `flush` waits."""
        running_save = self._start_saving(save)
        self._running_saves.add(running_save)
        running_save.add_done_callback(self._running_saves.discard)

    def flush(self) -> None:
        """Wait until the pages that were fetched are stored, for at most `SAVE_SECONDS`."""
        wait(self._running_saves.copy(), SAVE_SECONDS)

    def _found_page(self, held_page: _HeldPage, *, is_confirmed: bool = False) -> FoundPage | None:
        """Return a page for a client, or None if its index has no such project any more."""
        if held_page.page.is_gone:
            return None
        now = self.runtime.monotonic()
        is_due = now >= held_page.fresh_until and not self.config.offline
        is_stale = is_due and not is_confirmed
        age = max(0.0, now - held_page.confirmed_at)
        if is_stale:
            self.observation.cache(Kind.PAGE, CacheResult.STALE)
            self.observation.stale(age)
        return FoundPage(held_page.page, is_stale, age)

    def _may_serve(self, held_page: _HeldPage) -> bool:
        """Return whether a page may be served although its index does not confirm it."""
        if self.config.offline:
            return True
        if self._refused_pages.get(held_page.key):  # an older page must not get round the refusal
            return False
        age = self.runtime.monotonic() - held_page.confirmed_at
        return age <= self.config.max_stale and not held_page.page.is_gone

    def _refresh_page(self, key: PageKey, kind: Kind, *, owns: bool) -> _HeldPage | None:
        """
        Return the page of the store if it is recent enough, else ask the index for it.

        The page is remembered, and a page that has come from the index is stored later. Return None
        if the index has no such page.
        """
        held_page = self._load_page(key)
        # what an index had before it fell silent does not decide about an upload
        may_serve = held_page is not None and kind is Kind.PAGE and self._may_serve(held_page)
        if held_page is not None and may_serve:
            # for `peek_stale`, while this thread waits for the index
            self._remember_page(held_page)
        renewed_page = self._hold_or_request(key, kind, held_page, may_serve=may_serve, owns=owns)
        if renewed_page is not None:
            self._remember_page(renewed_page)
            if not (renewed_page.is_saved or self.config.read_only):
                # the page is returned now; a crash before it is stored loses only the memory of it
                self.save_later(partial(self._save_page, renewed_page))
        return renewed_page

    def _hold_or_request(
        self,
        key: PageKey,
        kind: Kind,
        held_page: _HeldPage | None,
        *,
        may_serve: bool,
        owns: bool,
    ) -> _HeldPage | None:
        """
        Return the held page if it is recent, else ask the index for it.

        If the index is silent and `may_serve` is set, the held page is returned.
        """
        if held_page is not None and self._is_recent(held_page, kind):
            self.observation.cache(kind, CacheResult.HIT)
            return held_page
        if self.config.offline:
            if held_page is None:
                raise offline_error(key.name)
            return held_page
        # before an upload, what is remembered of an absence does not count
        if held_page is None and kind is Kind.PAGE and self._absent_upstream.get(key):
            self._note_absent_in_store(key)
            return None
        try:
            return self._request_unless_failed(key, kind, held_page, owns=owns)
        except Unavailable as error:
            # a refusal is an answer, and no failure that an older page could bridge
            if held_page is None or not may_serve or error.code == UPSTREAM_REFUSED:
                raise
            return replace(held_page, retry_at=self.runtime.monotonic() + RETRY_SECONDS)

    def _is_recent(self, held_page: _HeldPage, kind: Kind) -> bool:
        """Return whether a page answers a question of this kind without asking its index."""
        now = self.runtime.monotonic()
        if kind is Kind.CHECK:
            return not held_page.page.is_gone and held_page.confirmed_at >= now - CHECK_SECONDS
        return now < held_page.fresh_until and not self._refused_pages.get(held_page.key)

    def _request_unless_failed(
        self, key: PageKey, kind: Kind, held_page: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """
        Ask an index for a page.

        If the page could not be used or was refused a moment ago, raises the same error again.
        """
        recent_error = self._recent_errors.get(key)
        if recent_error is not None:
            raise copy(recent_error)
        try:
            return self._request_and_note(key, kind, held_page, owns=owns)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                # a copy has no traceback, which would keep all that its frames refer to in memory
                self._recent_errors.put(key, copy(error), BAD_SECONDS)
            raise

    def _request_and_note(
        self, key: PageKey, kind: Kind, held_page: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """Ask an index for a page, and note whether the index refuses it."""
        try:
            answer = self._request_page(key, kind, held_page, owns=owns)
        except Unavailable as error:
            if error.code == UPSTREAM_REFUSED:
                self._refused_pages.put(key, True, 1)  # noqa: FBT003 - the cached value
                seconds = self.ttl_of(key.upstream, is_short=True)
                self._recent_errors.put(key, copy(error), seconds)
            raise
        self._refused_pages.discard(key)
        return answer

    def _request_page(
        self, key: PageKey, kind: Kind, held_page: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """
        Ask an index for a page, or whether the held page has changed.

        Return None if the index has no such page, and never had it.
        """
        client = self._clients[key.upstream]
        if held_page is None:
            self.observation.cache(kind, CacheResult.MISS)
            page = self._requests.find(client, key.name, kind)
            if page is None:
                self._absent_upstream.put(key, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value
                self._note_absent_in_store(key)
                return None
            return self._hold_page(replace(page, is_unowned=not owns), None, is_saved=False)
        self.observation.cache(kind, CacheResult.REVALIDATED)
        page = self._requests.renew(held_page.page, kind)
        # only chains of labels have asked for the page so far; now it is a sign of the owner
        if owns and held_page.page.is_unowned:
            page = replace(page or held_page.page, is_unowned=False, fetched_at=self.runtime.now())
        if page is None:
            return self._with_confirmation(held_page)
        return self._hold_page(page, held_page.version, is_saved=False)

    def _note_absent_in_store(self, key: PageKey) -> None:
        """Note that the store has no page of an absent name now."""
        self._absent_in_store.put(key, True, LOOK_SECONDS)  # noqa: FBT003 - the cached value

    def _with_confirmation(self, held_page: _HeldPage) -> _HeldPage:
        """Return a page of which its index has just said that it has not changed."""
        now = self.runtime.now()
        # for a while only in memory, so that not every confirmation writes to the store
        if now - held_page.page.fetched_at < CONFIRMATION:
            confirmed_at = self.runtime.monotonic()
            return replace(
                held_page,
                confirmed_at=confirmed_at,
                fresh_until=confirmed_at + self.ttl(held_page.page),
                retry_at=0.0,
                looked_at=confirmed_at,
            )
        return self._hold_page(
            replace(held_page.page, fetched_at=now), held_page.version, is_saved=False
        )

    def _hold_page(
        self, page: UpstreamPage, version: ObjectVersion | None, *, is_saved: bool
    ) -> _HeldPage:
        """Return a page of the store, or of an answer, with times of the monotonic clock."""
        age = (self.runtime.now() - page.fetched_at).total_seconds()
        server = self._clients[page.upstream].server
        # a gone page has no files to read again, unless an earlier version has hidden them
        is_gone = page.is_gone and not page.is_contested
        is_same_reading = is_gone or page.reading == server.reading
        is_from_future = age < -MAX_SKEW_SECONDS  # a clock was wrong
        if is_from_future or not is_same_reading:
            age = max(age, server.page_ttl)
        # times in the store are of the day, and those in memory monotonic
        confirmed_at = self.runtime.monotonic() - max(0.0, age)
        return _HeldPage(
            page=page,
            version=version,
            is_saved=is_saved,
            confirmed_at=confirmed_at,
            fresh_until=confirmed_at + self.ttl(page),
            looked_at=self.runtime.monotonic(),
        )

    def _load_page(self, key: PageKey) -> _HeldPage | None:
        """
        Return the page of the store, or None if the store has none.

        The page in memory is returned if it is the same, or is not written yet, or if the store
        does not answer.
        """
        remembered = self._held_pages.get(key)
        version = None if remembered is None else remembered.version
        try:
            stored_page = self.stored_pages.load(key.upstream, key.name, version)
        except Unavailable:
            # whether the name is private is known, and one index alone cannot be confused
            if self.config.offline:
                raise
            return remembered
        if stored_page is None:  # the object still has the version of the page in memory
            if remembered is None:
                return None
            return replace(remembered, looked_at=self.runtime.monotonic())
        if stored_page.page is not None:
            return self._hold_page(stored_page.page, stored_page.version, is_saved=True)
        # a page without a version is not written yet; a page with a version was removed
        if remembered is not None and remembered.version is None:
            return remembered
        return None

    def _remember_page(self, held_page: _HeldPage) -> None:
        """Keep a page in memory, in place of the page before it."""
        page = held_page.page
        file_count = len(page.files) + len(page.removed) + len(page.changed)
        # a page that is larger than the cache is kept, too, and then alone
        weight = min(PAGE_BYTES + FILE_BYTES * file_count, MEMORY_BYTES)
        self._held_pages.put(held_page.key, held_page, weight)

    def _save_page(self, held_page: _HeldPage) -> None:
        """
        Write a page into the store.

        This mostly runs in a thread of `start_saving`. If it fails, the page is in memory alone.
        """
        page = held_page.page
        try:
            version = self._write_page(page, held_page.version or ABSENT)
        except Unavailable as error:
            logger.warning("upstream: the page of %s was not stored: %s", page.name, error.message)
            return
        except Exception:  # the page is served already
            logger.exception("upstream: the page of %s was not stored", page.name)
            return
        # another thread may have renewed the page meanwhile, and saves it itself
        latest_page = self._held_pages.get(held_page.key)
        if latest_page is not None and latest_page.page is page:
            latest_page = replace(latest_page, version=version, is_saved=version is not None)
            self._remember_page(latest_page)

    def _write_page(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion | None:
        """Write a page, and return its version, or None if another process has written one."""
        with suppress(Conflict):
            return self.stored_pages.save(page, expect)
        # a page that another process has written meanwhile stays: it is of the same index
        stored_page = self.stored_pages.load(page.upstream, page.name)
        if stored_page is None or stored_page.page is not None:
            return None
        with suppress(Conflict):  # a damaged page is replaced by any other
            return self.stored_pages.save(page, stored_page.version)
        return None
