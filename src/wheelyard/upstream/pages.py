"""
The pages of projects of each upstream index: fetched when asked for, and kept in the store.

A page is fresh for the `page_ttl` of its index, which is then asked whether it has changed. If that
fails, the old page is served, until it is `max_stale` old. It is served while the index is asked,
too, if a caller wants it.

Each index is for itself here, and all chains of indexes share its pages. Which of several indexes a
name is from, `chain.py` decides.
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
from wheelyard.upstream.settings import UpstreamConfig, is_offline
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
"""Names whose page cannot be used that are remembered."""
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
"""Runs work in another thread."""


class FoundPage(Struct, frozen=True):
    """A page that may be shown to clients."""

    page: UpstreamPage
    """The same object as long as the page has not changed."""
    is_stale: bool
    """Whether its index should have been asked again, and has not answered in time."""
    age: float
    """Seconds since its index has confirmed it."""


class PeekedPage(NamedTuple):
    """What is in memory about a name, also that there is no page."""

    page: FoundPage | None
    """The page, or None if the upstream index does not have it."""


class PageKey(NamedTuple):
    """A project of one upstream index."""

    upstream: str
    """The id of the index."""
    name: NormalizedName


class _HeldPage(Struct, frozen=True, kw_only=True):
    """A page in memory. Its times are those of the monotonic clock."""

    page: UpstreamPage
    version: ObjectVersion | None
    """That of the object in the store, or None if it is not known."""
    is_saved: bool
    """Whether the object has this page."""
    confirmed_at: float
    fresh_until: float
    retry_at: float = 0.0
    """When its index is asked again, after it has not answered."""
    looked_at: float
    """When it was compared with the object in the store."""

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
        self._saving = set[Future[None]]()
        self._memory: LruCache[PageKey, _HeldPage] = LruCache(MEMORY_BYTES)
        # an absent name is asked for again after `NEGATIVE_SECONDS`, and in between the store is
        # asked for a page of it after `LOOK_SECONDS`
        clock = runtime.monotonic
        self._absent = ExpiringCache[PageKey, bool](clock, MAX_ABSENT)
        self._looked_absent = ExpiringCache[PageKey, bool](clock, MAX_ABSENT)
        self._bad = ExpiringCache[PageKey, Unavailable](clock, MAX_BAD)
        self._refused = LruCache[PageKey, bool](MAX_BAD)
        """What an index has refused when it was asked last, and answered."""

    def ask_if_due(
        self, key: PageKey, kind: Kind = Kind.PAGE, *, owns: bool = True
    ) -> FoundPage | None:
        """
        Return the page of a project, or None if the index does not have it.

        With `Kind.CHECK`, as an upload needs it, a no is an answer of now, and a yes may be a
        minute old. `owns` is whether the index owns the name among all, if it has it.

        Raises Unavailable (code `upstream_unavailable`, or `upstream_busy` if too many wait for the
        index) if that cannot be said now. Raises Unavailable (code `bad_upstream`) if the answer
        cannot be used. With `Kind.PAGE`, neither is raised if there is an older page that may be
        served. Raises Unavailable (code `upstream_refused`) if the index refuses the name, whatever
        there is.
        """
        if kind is Kind.PAGE:
            peeked = self.peek_memory(key)
            if peeked is not None:
                return peeked.page
        else:
            # memory may be fresh by `page_ttl`, and still too old for an upload
            held = self._memory.get(key)
            if held is not None and self._is_recent(held, kind):
                return self._found_page(held, is_confirmed=True)
        held = self._refresh(key, kind, owns=owns)
        if held is None:
            return None
        return self._found_page(held, is_confirmed=not held.retry_at)

    def peek_memory(self, key: PageKey) -> PeekedPage | None:
        """
        Return the page if memory alone says what clients get now, else None.

        A result without a page says that the index does not have it. Such an answer is counted.
        """
        now = self.runtime.monotonic()
        held = self._memory.get(key)
        if held is not None:
            # the refusal may have come as the answer to `ask_now`, which leaves the page in memory
            if self._refused.get(key):
                return None
            if now < min(held.fresh_until, held.looked_at + LOOK_SECONDS):
                self.observation.cache(Kind.PAGE, CacheResult.HIT)
                return PeekedPage(self._found_page(held))
            # its index was silent a moment ago: not every request has to wait for that again
            if now < held.retry_at and self._may_serve(held):
                return PeekedPage(self._found_page(held))
        # both, as another process may have stored a page of it meanwhile
        if self._absent.get(key) and self._looked_absent.get(key):
            self.observation.cache(Kind.PAGE, CacheResult.NEGATIVE)
            return PeekedPage(None)
        return None

    def version_in_memory(self, key: PageKey) -> str | None:
        """Return the version of the page in memory that may be shown, or None without one."""
        held = self._memory.get(key)
        if held is None or self._refused.get(key):
            return None
        return held.page.version

    def peek_stale(self, key: PageKey) -> FoundPage | None:
        """Return the page in memory that may be served while a thread asks the index, or None."""
        held = self._memory.get(key)
        if held is None or not self._may_serve(held):
            return None
        return self._found_page(held)

    def remembers_refusal(self, key: PageKey) -> bool:
        """Return whether the index has refused a name when it was asked last, and answered."""
        return bool(self._refused.get(key))

    def remembers_absence(self, key: PageKey) -> bool:
        """Return whether the index did not have a name when it was asked a moment ago."""
        return bool(self._absent.get(key))

    def read_fresh(self, key: PageKey) -> PeekedPage | None:
        """
        Return the page if memory and the store say what clients get now, else None.

        A result without a page says that the index does not have it.
        """
        peeked = self.peek_memory(key)
        if peeked is not None:
            return peeked
        held = self._load(key)
        if held is not None:
            if self.runtime.monotonic() >= held.fresh_until:
                return None
            # another process has fetched it
            self._remember(held)
            return self.peek_memory(key)
        if self._absent.get(key):
            self._note_look(key)
            return self.peek_memory(key)
        return None

    def ask_now(self, key: PageKey, *, owns: bool = True) -> FoundPage | None:
        """
        Ask the upstream index for a page now, store it, and return it.

        Return None if the index does not have it. Other processes have it within `LOOK_SECONDS`. If
        the store does not take it, that is logged. Raises Unavailable (a code of `UPSTREAM_CODES`)
        if the index does not answer, refuses the name, or sends what cannot be used, also if there
        is an older page. Raises Unavailable (code `upstream_unavailable`) if no index is ever
        asked.
        """
        self.require_online(key.name)
        held = self._request(key, Kind.PAGE, self._load(key), owns=owns)
        if held is None:
            return None
        held = replace(held, retry_at=0.0)
        self._remember(held)
        # before it is returned: what is done next may be about this page in another process
        if not (held.is_saved or self.config.read_only):
            self._save(held)
        return self._found_page(held, is_confirmed=True)

    def require_online(self, name: NormalizedName) -> None:
        """Raise Unavailable (code `upstream_unavailable`) if no upstream index is ever asked."""
        if self.config.offline:
            raise is_offline(f"a newer page of {name}")

    def read_any_age(self, key: PageKey) -> FoundPage | None:
        """
        Return the page that is in the store, whatever its age, or None if nothing of it is shown.

        It asks no upstream index.
        """
        held = self._load(key)
        if held is None:
            return None
        return self._found_page(held)

    def read_stored(self, key: PageKey) -> UpstreamPage | None:
        """Return the page of the store, also one that is gone, and count nothing."""
        held = self._load(key)
        if held is None:
            return None
        return held.page

    def read_gone(self, key: PageKey) -> UpstreamPage | None:
        """
        Return what is remembered of a page that its index has no more, or None.

        It is None for a page that the index has, too. It reads the store if memory was not compared
        with it in the last `LOOK_SECONDS`.
        """
        held = self._memory.get(key)
        is_current = bool(self._looked_absent.get(key))
        if held is not None:
            is_current = self.runtime.monotonic() < held.looked_at + LOOK_SECONDS
        if not is_current:
            held = self._load(key)
            if held is None:  # an operator may have had it forgotten
                self._memory.discard(key)
                self._note_look(key)
            else:
                self._remember(held)
        if held is None or not held.page.is_gone:
            return None
        return held.page

    def forget(self, name: NormalizedName) -> None:
        """
        Remove the pages of a name that are stored, of all indexes, and the digests of its files.

        Other processes follow when they ask for the page next. Raises Unavailable if the store does
        not answer.
        """
        for client in self._clients.in_order:
            key = PageKey(client.server.id, name)
            self.stored_pages.delete(key.upstream, name)
            # after the store, so that a thread that loads meanwhile finds no old page
            self._memory.discard(key)

    def ttl(self, page: UpstreamPage) -> float:
        """Return the seconds for which a page is used without asking its index again."""
        is_short = page.is_gone or page.status is Status.QUARANTINED
        return self.ttl_of(page.upstream, is_short=is_short)

    def ttl_of(self, upstream_id: str, *, is_short: bool) -> float:
        """
        Return the seconds for which a page of an index is used without asking it again.

        With `is_short`, as of a page of which nothing is shown, these are at most a minute.
        """
        seconds = self._clients[upstream_id].server.page_ttl
        return min(seconds, NEGATIVE_SECONDS) if is_short else seconds

    def save_later(self, save: Callable[[], None]) -> None:
        """Store something in a thread of `start_saving`, which `flush` waits for."""
        saving = self._start_saving(save)
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)

    def flush(self) -> None:
        """Wait until the pages that were fetched are stored, for at most `SAVE_SECONDS`."""
        wait(self._saving.copy(), SAVE_SECONDS)

    def _found_page(self, held: _HeldPage, *, is_confirmed: bool = False) -> FoundPage | None:
        """Return a page for a client, or None if its index has it no more."""
        if held.page.is_gone:
            return None
        now = self.runtime.monotonic()
        is_due = now >= held.fresh_until and not self.config.offline
        is_stale = is_due and not is_confirmed
        age = max(0.0, now - held.confirmed_at)
        if is_stale:
            self.observation.cache(Kind.PAGE, CacheResult.STALE)
            self.observation.stale(age)
        return FoundPage(held.page, is_stale, age)

    def _may_serve(self, held: _HeldPage) -> bool:
        """Return whether a page may be served although its index does not confirm it."""
        if self.config.offline:
            return True
        if self._refused.get(held.key):  # what it had before must not pass the refusal by
            return False
        age = self.runtime.monotonic() - held.confirmed_at
        return age <= self.config.max_stale and not held.page.is_gone

    def _refresh(self, key: PageKey, kind: Kind, *, owns: bool) -> _HeldPage | None:
        """Return the page of the store if it is recent enough, else ask for it, and remember it."""
        held = self._load(key)
        # what an index had before it fell silent does not decide about an upload
        may_serve = held is not None and kind is Kind.PAGE and self._may_serve(held)
        if held is not None and may_serve:
            # for `peek_stale`, while this thread waits for the index
            self._remember(held)
        renewed = self._load_or_request(key, kind, held, may_serve=may_serve, owns=owns)
        if renewed is not None:
            self._remember(renewed)
            if not (renewed.is_saved or self.config.read_only):
                # the page is returned now; a crash before it is stored loses only the memory of it
                self.save_later(partial(self._save, renewed))
        return renewed

    def _load_or_request(
        self,
        key: PageKey,
        kind: Kind,
        held: _HeldPage | None,
        *,
        may_serve: bool,
        owns: bool,
    ) -> _HeldPage | None:
        """Return `held` if it is recent, else what its index says, or `held` if that is silent."""
        if held is not None and self._is_recent(held, kind):
            self.observation.cache(kind, CacheResult.HIT)
            return held
        if self.config.offline:
            if held is None:
                raise is_offline(key.name)
            return held
        # before an upload, what is remembered of an absence does not count
        if held is None and kind is Kind.PAGE and self._absent.get(key):
            self._note_look(key)
            return None
        try:
            return self._request_unless_bad(key, kind, held, owns=owns)
        except Unavailable as error:
            # a refusal is an answer, and no failure that an older page could bridge
            if held is None or not may_serve or error.code == UPSTREAM_REFUSED:
                raise
            return replace(held, retry_at=self.runtime.monotonic() + RETRY_SECONDS)

    def _is_recent(self, held: _HeldPage, kind: Kind) -> bool:
        """Return whether a page answers a question of this kind without asking its index."""
        now = self.runtime.monotonic()
        if kind is Kind.CHECK:
            return not held.page.is_gone and held.confirmed_at >= now - CHECK_SECONDS
        return now < held.fresh_until and not self._refused.get(held.key)

    def _request_unless_bad(
        self, key: PageKey, kind: Kind, held: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """
        Ask for a page.

        If it could not be used or was refused a moment ago, raises again what was raised then.
        """
        latest = self._bad.get(key)
        if latest is not None:
            raise copy(latest)
        try:
            return self._request(key, kind, held, owns=owns)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                # a copy has no traceback, which would keep all that its frames refer to in memory
                self._bad.put(key, copy(error), BAD_SECONDS)
            raise

    def _request(
        self, key: PageKey, kind: Kind, held: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """Ask for a page, and note whether the index refuses it."""
        try:
            answer = self._request_now(key, kind, held, owns=owns)
        except Unavailable as error:
            if error.code == UPSTREAM_REFUSED:
                self._refused.put(key, True, 1)  # noqa: FBT003 - the cached value
                self._bad.put(key, copy(error), self.ttl_of(key.upstream, is_short=True))
            raise
        self._refused.discard(key)
        return answer

    def _request_now(
        self, key: PageKey, kind: Kind, held: _HeldPage | None, *, owns: bool
    ) -> _HeldPage | None:
        """Ask for a page, or whether the one that is held has changed. None if there is none."""
        client = self._clients[key.upstream]
        if held is None:
            self.observation.cache(kind, CacheResult.MISS)
            page = self._requests.find(client, key.name, kind)
            if page is None:
                self._absent.put(key, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value
                self._note_look(key)
                return None
            return self._hold(replace(page, is_unowned=not owns), None, is_saved=False)
        self.observation.cache(kind, CacheResult.REVALIDATED)
        page = self._requests.renew(held.page, kind)
        # until now only chains of labels have asked for it; from now on it is a sign of the owner
        if owns and held.page.is_unowned:
            page = replace(page or held.page, is_unowned=False, fetched_at=self.runtime.now())
        if page is None:
            return self._with_confirmation(held)
        return self._hold(page, held.version, is_saved=False)

    def _note_look(self, key: PageKey) -> None:
        """Note that the store has no page of an absent name now."""
        self._looked_absent.put(key, True, LOOK_SECONDS)  # noqa: FBT003 - the cached value

    def _with_confirmation(self, held: _HeldPage) -> _HeldPage:
        """Return a page of which its index has just said that it has not changed."""
        now = self.runtime.now()
        # only in memory, so that not every confirmation writes to the store
        if now - held.page.fetched_at < CONFIRMATION:
            confirmed_at = self.runtime.monotonic()
            return replace(
                held,
                confirmed_at=confirmed_at,
                fresh_until=confirmed_at + self.ttl(held.page),
                retry_at=0.0,
                looked_at=confirmed_at,
            )
        return self._hold(replace(held.page, fetched_at=now), held.version, is_saved=False)

    def _hold(
        self, page: UpstreamPage, version: ObjectVersion | None, *, is_saved: bool
    ) -> _HeldPage:
        """Return a page of the store, or of an answer, with the times that memory has of it."""
        age = (self.runtime.now() - page.fetched_at).total_seconds()
        server = self._clients[page.upstream].server
        # of a name that an earlier version has hidden, the files are asked for again
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

    def _load(self, key: PageKey) -> _HeldPage | None:
        """Return the page of the store, or the one in memory if that is the same or not stored."""
        memory = self._memory.get(key)
        version = None if memory is None else memory.version
        try:
            stored = self.stored_pages.load(key.upstream, key.name, version)
        except Unavailable:
            # whether the name is private is known, and one index alone cannot be confused
            if self.config.offline:
                raise
            return memory
        if stored is None:  # the object still has the version of the page in memory
            if memory is None:
                return None
            return replace(memory, looked_at=self.runtime.monotonic())
        if stored.page is not None:
            return self._hold(stored.page, stored.version, is_saved=True)
        # a page without a version is not written yet; one with a version has been removed
        if memory is not None and memory.version is None:
            return memory
        return None

    def _remember(self, held: _HeldPage) -> None:
        """Keep a page in memory, in place of the one before it."""
        page = held.page
        files = len(page.files) + len(page.removed) + len(page.changed)
        # the largest page is kept, too, then alone
        weight = min(PAGE_BYTES + FILE_BYTES * files, MEMORY_BYTES)
        self._memory.put(held.key, held, weight)

    def _save(self, held: _HeldPage) -> None:
        """
        Write a page into the store.

        This runs in a thread of `start_saving`. Without success, the page is only in memory.
        """
        page = held.page
        try:
            version = self._write(page, held.version or ABSENT)
        except Unavailable as error:
            logger.warning("upstream: the page of %s was not stored: %s", page.name, error.message)
            return
        except Exception:  # the page is served already
            logger.exception("upstream: the page of %s was not stored", page.name)
            return
        # another thread may have renewed it meanwhile, and its page has a thread of its own
        latest = self._memory.get(held.key)
        if latest is not None and latest.page is page:
            self._remember(replace(latest, version=version, is_saved=version is not None))

    def _write(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion | None:
        """Write a page, and return its version, or None if another process has written one."""
        with suppress(Conflict):
            return self.stored_pages.save(page, expect)
        # a page that another process has written meanwhile stays: the index has sent it as well
        stored = self.stored_pages.load(page.upstream, page.name)
        if stored is None or stored.page is not None:
            return None
        with suppress(Conflict):  # a damaged page is replaced by any other
            return self.stored_pages.save(page, stored.version)
        return None
