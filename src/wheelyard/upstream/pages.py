"""
The pages of projects of the upstream indexes: fetched when asked for, and kept in the store.

A page is fresh for `page_ttl`; then its index is asked whether it has changed. While that takes
longer than two seconds, or fails, the page that is known is served, until it is `max_stale` old.

The first index that has a name owns it: from then on no other one gets it, also if the owner says
that it has no such project any more. An operator ends that with `forget`.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Lock
from typing import Final, NamedTuple

import msgspec.structs
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import BAD_UPSTREAM, UPSTREAM_UNAVAILABLE, Conflict, Unavailable
from wheelyard.model.project import Status
from wheelyard.storage.base import ABSENT, ObjectVersion
from wheelyard.upstream.clients import UpstreamClients
from wheelyard.upstream.config import UpstreamConfig
from wheelyard.upstream.faults import is_offline, unusable
from wheelyard.upstream.observation import CacheResult, Kind, Observation
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.page_requests import PageRequests, Unchanged
from wheelyard.upstream.stored_pages import StoredPages

NEGATIVE_SECONDS: Final = 60.0
"""Seconds for which it is remembered that no index has a name, or that a page is quarantined."""
CHECK_SECONDS: Final = 60.0
"""Age of the oldest page that says, before an upload, whether a name exists upstream."""
SOFT_SECONDS: Final = 2.0
"""Seconds that a request waits for an index if there is a page that can be served instead."""
SAVE_SECONDS: Final = 5.0
"""Seconds that a process which ends waits for pages to be stored."""
WAIT_SECONDS: Final = 50.0
"""Seconds that a request waits at all: for two attempts, and for those before it."""
RETRY_SECONDS: Final = 30.0
"""Seconds for which a page is served without asking again after its index has not answered."""
CONFIRMATION: Final = timedelta(hours=1)
"""Age from which a stored page is written again only because its index has confirmed it."""
MAX_GUESSES: Final = 600
"""Names that no index has, within a minute, after which only known names are asked for."""
BAD_SECONDS: Final = 5.0
"""Seconds for which a page that cannot be used, perhaps a huge one, is not asked for again."""
MAX_BAD: Final = 1000
"""Names whose page cannot be used that are remembered."""
MAX_SKEW_SECONDS: Final = 60.0
"""Seconds that the clock of another process may be ahead."""
MEMORY_BYTES: Final = 48 * 1024**2
"""Estimated bytes of memory for pages."""
FILE_BYTES, PAGE_BYTES = 900, 2000
"""Estimated bytes of memory of a file on a page, and of a page without them."""
MAX_ABSENT: Final = 20_000
"""Names without a project that are remembered."""

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page that may be shown to clients."""

    page: UpstreamPage
    """The same object as long as the page has not changed."""
    is_stale: bool
    """Whether its index should have been asked again, and has not answered in time."""
    age: float
    """Seconds since its index has confirmed it."""
    waited: bool
    """Whether the store or an index was waited for, so that a name may be private by now."""


class KnownPage(NamedTuple):
    """What is in memory about a name."""

    page: FoundPage | None
    """None if no upstream index has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A page in memory; its times are those of the monotonic clock."""

    page: UpstreamPage
    version: ObjectVersion | None
    """That of the object in the store; None if it is not known."""
    is_saved: bool
    """Whether the object has this page."""
    confirmed_at: float
    fresh_until: float
    retry_at: float = 0.0
    """When its index is asked again, after it has not answered."""


@dataclass(eq=False, slots=True)
class _Lookup:
    """The answer that several callers wait for."""

    began_at: float
    future: Future[_Held | None] = field(default_factory=Future)
    fallback: _Held | None = None
    """A page that can be served until the answer is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTools:
    """What the pages of a process are fetched with."""

    runtime: Runtime
    observation: Observation
    submit: Callable[[Callable[[], object]], object]
    """Runs work in another thread."""
    soft_seconds: float = SOFT_SECONDS


class UpstreamPages:
    """Finds the pages of projects at the upstream indexes; safe to share between threads."""

    def __init__(
        self,
        config: UpstreamConfig,
        clients: UpstreamClients,
        stored: StoredPages,
        tools: PageTools,
    ) -> None:
        self._config = config
        self._servers = {each.server.id: each.server for each in clients.in_order}
        self._requests = PageRequests(clients, tools.runtime, tools.observation)
        self._stored = stored
        self._runtime = tools.runtime
        self._observation = tools.observation
        self._tools = tools
        self._memory: LruCache[NormalizedName, _Held] = LruCache(MEMORY_BYTES)
        self._absent: ExpiringCache[NormalizedName, bool] = ExpiringCache(
            tools.runtime.monotonic, MAX_ABSENT
        )
        self._guessed_at = deque[float](maxlen=MAX_GUESSES)
        self._bad: ExpiringCache[NormalizedName, str] = ExpiringCache(
            tools.runtime.monotonic, MAX_BAD
        )
        self._lookups: dict[tuple[NormalizedName, Kind], _Lookup] = {}
        self._saving: set[Future[None]] = set()
        self._lock = Lock()

    def get(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page of a project; None if no upstream index has it.

        Raises:
            Unavailable: That cannot be said now (code `upstream_unavailable`), or the answer cannot
                be used (`bad_upstream`).
        """
        known = self.peek(name)
        if known is not None:
            return known.page
        lookup = self._look_up(name, Kind.PAGE)
        held = self._wait(lookup)
        if held is None:
            return None
        is_confirmed = held is not lookup.fallback and not held.retry_at
        return self._found(held, waited=True, is_confirmed=is_confirmed)

    def peek(self, name: NormalizedName) -> KnownPage | None:
        """Return what `get` would, if it needs neither the network nor the store; else None."""
        now, held = self._runtime.monotonic(), self._memory.get(name)
        if held is not None and now < held.fresh_until:
            self._observation.cache(Kind.PAGE, CacheResult.HIT)
            return KnownPage(self._found(held, waited=False))
        if held is not None and now < held.retry_at and self._may_serve(held):
            return KnownPage(self._found(held, waited=False))
        if self._absent.get(name):
            self._observation.cache(Kind.PAGE, CacheResult.NEGATIVE)
            return KnownPage(None)
        return None

    def peek_stored(self, name: NormalizedName) -> KnownPage | None:
        """Return what `get` would, if it does not need the network; else None. Reads the store."""
        known = self.peek(name)
        if known is None:
            held = self._load(name)
            if held is not None and self._runtime.monotonic() < held.fresh_until:
                self._remember(held)
                known = self.peek(name)
        return known

    def ask(self, name: NormalizedName) -> bool:
        """
        Return whether an upstream index has a name, by an answer of the last minute.

        Raise Unavailable if that cannot be said now.
        """
        if self._config.offline:
            if self.cached(name) is None:
                raise is_offline(name)
            return True
        held = self._memory.get(name)
        since = self._runtime.monotonic() - CHECK_SECONDS
        if held is None or held.confirmed_at < since:
            held = None if self._absent.get(name) else self._wait(self._look_up(name, Kind.CHECK))
        return held is not None and (not held.page.is_gone or bool(held.page.moved_to))

    def cached(self, name: NormalizedName) -> FoundPage | None:
        """Return the page that is in the store, whatever its age; opens no connection."""
        held = self._load(name)
        return None if held is None else self._found(held, waited=False)

    def forget(self, name: NormalizedName) -> str:
        """
        Remove what is known of a name, also which index owns it; return the label of that one.

        It is empty if nothing was known. Other processes follow when they ask for the page next.
        """
        held = self._load(name)
        for upstream_id in self._servers:
            self._stored.delete(upstream_id, name)
        self._memory.discard(name)
        return "" if held is None else self._servers[held.page.upstream].label

    def flush(self) -> None:
        """Wait until the pages that were fetched are in the store, but not for ever."""
        with self._lock:
            saving = tuple(self._saving)
        wait(saving, SAVE_SECONDS)

    def _found(self, held: _Held, *, waited: bool, is_confirmed: bool = False) -> FoundPage | None:
        if held.page.is_gone:
            return None
        now = self._runtime.monotonic()
        is_due = now >= held.fresh_until and not self._config.offline
        is_stale = is_due and not is_confirmed
        age = max(0.0, now - held.confirmed_at)
        if is_stale:
            self._observation.cache(Kind.PAGE, CacheResult.STALE)
            self._observation.stale(age)
        return FoundPage(held.page, is_stale, age, waited)

    def _may_serve(self, held: _Held) -> bool:
        """Return whether a page may be served although its index does not confirm it."""
        if self._config.offline:
            return True
        age = self._runtime.monotonic() - held.confirmed_at
        return age <= self._config.max_stale and not held.page.is_gone

    def _look_up(self, name: NormalizedName, kind: Kind) -> _Lookup:
        key = (name, kind)
        with self._lock:
            lookup = self._lookups.get(key)
            if lookup is not None:
                return lookup
            held = self._memory.get(name) if kind is Kind.PAGE else None
            is_fit = held is not None and self._may_serve(held)
            lookup = _Lookup(self._runtime.monotonic(), fallback=held if is_fit else None)
            self._lookups[key] = lookup
        context = copy_context()  # so that log lines belong to the request that began it
        self._tools.submit(lambda: context.run(self._run, name, kind, lookup))
        return lookup

    def _wait(self, lookup: _Lookup) -> _Held | None:
        waited = self._runtime.monotonic() - lookup.began_at
        try:
            return lookup.future.result(max(0.0, self._tools.soft_seconds - waited))
        except TimeoutError:
            if lookup.fallback is not None:
                return lookup.fallback
        try:
            return lookup.future.result(WAIT_SECONDS)
        except TimeoutError as error:
            message = "Too many requests wait for the upstream index. Try again later."
            raise Unavailable(message, code=UPSTREAM_UNAVAILABLE) from error

    def _run(self, name: NormalizedName, kind: Kind, lookup: _Lookup) -> None:
        held: _Held | None = None
        fault: Exception | None = None
        try:
            held = self._refresh(name, kind, lookup)
        except Exception as error:  # noqa: BLE001 - it is raised in those who wait
            fault = error
        if held is not None:
            self._remember(held)
        with self._lock:
            del self._lookups[name, kind]
        if fault is not None:
            lookup.future.set_exception(fault)
            return
        if held is None or held.is_saved:
            lookup.future.set_result(held)
            return
        saving: Future[None] = Future()
        with self._lock:
            self._saving.add(saving)
        lookup.future.set_result(held)
        try:
            self._save(held)
        except Exception:  # the page is served already
            logger.exception("upstream: the page of %s was not stored", name)
        finally:
            with self._lock:
                self._saving.discard(saving)
            saving.set_result(None)

    def _refresh(self, name: NormalizedName, kind: Kind, lookup: _Lookup) -> _Held | None:
        """Return the page that is in the store if it is recent enough, else ask for it."""
        held = self._load(name)
        if held is not None and self._is_recent(held, kind):
            self._observation.cache(kind, CacheResult.HIT)
            return held
        if held is not None and kind is Kind.PAGE and self._may_serve(held):
            lookup.fallback = held
        if self._config.offline:
            if held is None:
                raise is_offline(name)
            return held
        try:
            return self._asked_unless_bad(name, kind, held)
        except Unavailable:
            if lookup.fallback is None:
                raise
            return replace(lookup.fallback, retry_at=self._runtime.monotonic() + RETRY_SECONDS)

    def _is_recent(self, held: _Held, kind: Kind) -> bool:
        now = self._runtime.monotonic()
        is_fit = kind is not Kind.CHECK or held.confirmed_at >= now - CHECK_SECONDS
        return is_fit and now < held.fresh_until

    def _asked_unless_bad(
        self, name: NormalizedName, kind: Kind, held: _Held | None
    ) -> _Held | None:
        """Ask for a page; raise what was raised a moment ago if it could not be used then."""
        message = self._bad.get(name)
        if message is not None:
            raise unusable(message)
        try:
            return self._asked(name, kind, held)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                self._bad.put(name, error.message, BAD_SECONDS)
            raise

    def _asked(self, name: NormalizedName, kind: Kind, held: _Held | None) -> _Held | None:
        if held is None:
            if kind is Kind.PAGE:
                self._check_guesses(name)
            self._observation.cache(kind, CacheResult.MISS)
            page = self._requests.find(name, kind)
            if page is None:
                self._absent.put(name, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value
                self._guessed_at.append(self._runtime.monotonic())
                return None
            return self._held(page, None, is_saved=False)
        self._observation.cache(kind, CacheResult.REVALIDATED)
        answer = self._requests.ask_owner(held.page, kind, may_keep=self._may_serve(held))
        if isinstance(answer, UpstreamPage):
            return self._changed(held, answer)
        if answer is Unchanged.CONFIRMED:
            return self._confirmed(held)
        return replace(held, fresh_until=self._runtime.monotonic() + NEGATIVE_SECONDS)

    def _check_guesses(self, name: NormalizedName) -> None:
        """Raise Unavailable if many names were asked for lately that no index has."""
        guesses = self._guessed_at
        wait_seconds = guesses[0] + NEGATIVE_SECONDS - self._runtime.monotonic() if guesses else 0
        if len(guesses) == MAX_GUESSES and wait_seconds > 0:
            raise Unavailable(
                f"Too many names were asked for that no upstream index has, so {name} is not asked "
                "for now. Try again in a minute.",
                code=UPSTREAM_UNAVAILABLE,
                short="Too many unknown names.",
                retry_after=max(1, round(wait_seconds)),
            )

    def _confirmed(self, held: _Held) -> _Held:
        now = self._runtime.now()
        if now - held.page.fetched_at < CONFIRMATION:
            at = self._runtime.monotonic()
            return replace(
                held, confirmed_at=at, fresh_until=at + self._ttl(held.page), retry_at=0.0
            )
        return self._changed(held, msgspec.structs.replace(held.page, fetched_at=now))

    def _changed(self, held: _Held, page: UpstreamPage) -> _Held:
        return self._held(page, held.version, is_saved=False)

    def _held(self, page: UpstreamPage, version: ObjectVersion | None, *, is_saved: bool) -> _Held:
        age = (self._runtime.now() - page.fetched_at).total_seconds()
        is_read = page.is_gone or page.reading == self._servers[page.upstream].reading
        if age < -MAX_SKEW_SECONDS or not is_read:  # a clock was wrong, or the settings were others
            age = max(age, self._config.page_ttl)
        confirmed_at = self._runtime.monotonic() - max(0.0, age)
        return _Held(
            page=page,
            version=version,
            is_saved=is_saved,
            confirmed_at=confirmed_at,
            fresh_until=confirmed_at + self._ttl(page),
        )

    def _ttl(self, page: UpstreamPage) -> float:
        is_short = page.is_gone or page.status is Status.QUARANTINED
        return min(self._config.page_ttl, NEGATIVE_SECONDS) if is_short else self._config.page_ttl

    def _load(self, name: NormalizedName) -> _Held | None:
        """Return the page of the store; the one in memory if that is the same, or not stored."""
        memory = self._memory.get(name)
        owners = tuple(self._servers) if memory is None else (memory.page.upstream,)
        try:
            for owner in owners:
                found = self._stored.load(owner, name, None if memory is None else memory.version)
                if found is None:
                    return memory
                if found.page is not None:
                    return self._held(found.page, found.version, is_saved=True)
        except Unavailable:
            # whether the name is private is known, and one index alone cannot be confused
            if self._config.offline or len(self._servers) > 1:
                raise
            return memory
        return memory if memory is not None and memory.version is None else None

    def _remember(self, held: _Held) -> None:
        page = held.page
        files = len(page.files) + len(page.removed) + len(page.changed)
        # the largest page is kept, too, then alone
        weight = min(PAGE_BYTES + FILE_BYTES * files, MEMORY_BYTES)
        self._memory.put(page.name, held, weight)

    def _save(self, held: _Held) -> None:
        """Write a page into the store; without success, it is only in memory."""
        page = held.page
        if self._config.read_only:
            return
        try:
            version = self._saved(page, held.version or ABSENT)
        except Unavailable as error:
            logger.warning("upstream: the page of %s was not stored: %s", page.name, error.message)
            return
        latest = self._memory.get(page.name)
        if latest is not None and latest.page is page:
            self._remember(replace(latest, version=version, is_saved=version is not None))

    def _saved(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion | None:
        """Write a page, and return its version; None if another process has written one."""
        with suppress(Conflict):
            return self._stored.save(page, expect)
        found = self._stored.load(page.upstream, page.name)
        if found is None or found.page is not None:
            return None
        with suppress(Conflict):  # it is damaged
            return self._stored.save(page, found.version)
        return None
