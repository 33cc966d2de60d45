"""
The pages of projects of the upstream indexes: fetched when asked for, and kept in the store.

A page is fresh for the `page_ttl` of its index, which is then asked whether it has changed. If that
fails, the old page is served, until it is `max_stale` old. It is served while the index is asked,
too, if a caller wants it.

The first index that has a name owns it: from then on no other one gets it, also if the owner says
that it has no such project any more. If an index before the owner gets the name later, nothing of
it is shown. An operator ends that with `forget`.
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
from wheelyard.upstream.client import UpstreamClients
from wheelyard.upstream.observation import CacheResult, Kind, Observation
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.page_lookup import IndexProof, PageRequests, StoredPages
from wheelyard.upstream.settings import UpstreamConfig, is_offline

NEGATIVE_SECONDS: Final = 60.0
"""Seconds for which it is remembered that no index has a name, or that a page is quarantined."""
FORGOTTEN_SECONDS: Final = 5.0
"""Seconds until a `forget` of another process ends that a name is contested."""
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
FILE_BYTES, PAGE_BYTES = 900, 2000
"""Estimated bytes of memory of a file on a page, and of a page without them."""
MAX_ABSENT: Final = 20_000
"""Names without a project that are remembered."""

logger = logging.getLogger("wheelyard")


class FoundPage(Struct, frozen=True):
    """A page that may be shown to clients."""

    page: UpstreamPage
    """The same object as long as the page has not changed."""
    is_stale: bool
    """Whether its index should have been asked again, and has not answered in time."""
    age: float
    """Seconds since its index has confirmed it."""


class KnownPage(NamedTuple):
    """What is in memory about a name."""

    page: FoundPage | None
    """The page, or None if no upstream index has it."""


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


StartSaving = Callable[[Callable[[], None]], Future[None]]
"""Runs work in another thread."""


class UpstreamPages:
    """
    Finds the pages of projects at the upstream indexes.

    Threads may share it. Threads that ask for the same page at the same time each ask its index.
    What is fetched is returned first, and then stored in a thread of `start_saving`. Every method
    that reads the store may raise Unavailable if that does not answer.
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
        self._config = config
        self._clients = clients
        self._servers = {client.server.id: client.server for client in clients.in_order}
        self.proof = IndexProof(stored, runtime, observation)
        self._requests = PageRequests(clients, runtime, observation, self.proof, stored)
        self._stored = stored
        self._runtime = runtime
        self._observation = observation
        self._start_saving = start_saving
        self._saving = set[Future[None]]()
        self._memory: LruCache[NormalizedName, _HeldPage] = LruCache(MEMORY_BYTES)
        # an absent name is asked for again after `NEGATIVE_SECONDS`, and in between the store is
        # asked for a page of it after `LOOK_SECONDS`
        clock = runtime.monotonic
        self._absent = ExpiringCache[NormalizedName, bool](clock, MAX_ABSENT)
        self._looked_absent = ExpiringCache[NormalizedName, bool](clock, MAX_ABSENT)
        self._bad = ExpiringCache[NormalizedName, Unavailable](clock, MAX_BAD)
        self._refused = LruCache[NormalizedName, bool](MAX_BAD)
        """Names that an index has refused when it was asked last, and answered."""

    def get(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page of a project, or None if no upstream index has it, or it is contested.

        Raises Unavailable (code `upstream_unavailable`) if that cannot be said now. Raises
        Unavailable (code `bad_upstream`) if the answer cannot be used. Neither is raised if there
        is an older page that may be served. Raises Unavailable (code `upstream_refused`) if an
        index refuses the name, whatever there is.
        """
        peeked = self.peek(name)
        if peeked is not None:
            return peeked.page
        held = self._refresh(name, Kind.PAGE)
        return None if held is None else self._found_page(held, is_confirmed=not held.retry_at)

    def peek(self, name: NormalizedName) -> KnownPage | None:
        """Return what `get` would, if it needs neither the network nor the store, else None."""
        now, held = self._runtime.monotonic(), self._memory.get(name)
        if held is not None and self._refused.get(name):  # also by an answer to `refresh`
            return None
        if held is not None and now < min(held.fresh_until, held.looked_at + LOOK_SECONDS):
            self._observation.cache(Kind.PAGE, CacheResult.HIT)
            return KnownPage(self._found_page(held))
        if held is not None and now < held.retry_at and self._may_serve(held):
            return KnownPage(self._found_page(held))
        # both, as another process may have stored a page of it meanwhile
        if self._absent.get(name) and self._looked_absent.get(name):
            self._observation.cache(Kind.PAGE, CacheResult.NEGATIVE)
            return KnownPage(None)
        return None

    def version_in_memory(self, name: NormalizedName) -> str | None:
        """Return the version of the page in memory that may be shown, or None without one."""
        held = self._memory.get(name)
        return None if held is None or self._refused.get(name) else held.page.version

    def stale(self, name: NormalizedName) -> FoundPage | None:
        """Return the page in memory that may be served while another thread waits for `get`."""
        held = self._memory.get(name)
        return self._found_page(held) if held is not None and self._may_serve(held) else None

    def peek_stored(self, name: NormalizedName) -> KnownPage | None:
        """
        Return what `get` would, if it does not need the network, else None.

        It reads the store.
        """
        peeked = self.peek(name)
        if peeked is None:
            held = self._load(name)
            if held is not None and self._runtime.monotonic() < held.fresh_until:
                # another process has fetched it
                self._remember(held)
                peeked = self.peek(name)
            elif held is None and self._absent.get(name):
                self._note_look(name)
                peeked = self.peek(name)
        return peeked

    def refresh(self, name: NormalizedName) -> FoundPage | None:
        """
        Ask the upstream indexes for a page now, store it, and return it.

        Return None if no index has it, or it is contested. Other processes have it within
        `LOOK_SECONDS`. Raises Unavailable as `get`, also if there is an older page.
        """
        self.require_online(name)
        held = self._request(name, Kind.PAGE, self._load(name))
        if held is None:
            return None
        held = replace(held, retry_at=0.0)
        self._remember(held)
        if not (held.is_saved or self._config.read_only):
            self._save(held)
        return self._found_page(held, is_confirmed=True)

    def require_online(self, name: NormalizedName) -> None:
        """Raise Unavailable for a name if no upstream index is ever asked."""
        if self._config.offline:
            raise is_offline(f"a newer page of {name}")

    def ask(self, name: NormalizedName) -> bool:
        """
        Return whether an upstream index has a name, as an upload needs it.

        A no is an answer of now, and a yes may be a minute old. Raises Unavailable if that cannot
        be said now. Raises Unavailable (code `upstream_unproven`) if nothing has shown that the
        indexes which say no are ones.
        """
        if self._config.offline:
            if self.stored(name) is None:
                raise is_offline(name)
            return True
        held = self._memory.get(name)
        if held is None or not self._is_recent(held, Kind.CHECK):
            try:
                held = self._refresh(name, Kind.CHECK)
            except Unavailable as error:
                if error.code == BAD_UPSTREAM:
                    # it is perhaps no index at all, which is the better advice
                    self.proof.require(self._clients.asked_for(name))
                raise
        if held is not None and held.page.exists:
            return True
        self.proof.require(self._clients.asked_for(name))
        return False

    def cached(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page that is in the store, whatever its age, or None if nothing of it is shown.

        It asks no upstream index.
        """
        held = self._load(name)
        return None if held is None else self._found_page(held)

    def stored(self, name: NormalizedName) -> UpstreamPage | None:
        """Return the page of the store, and count nothing, or None if there is none now."""
        held = self._load(name)
        return None if held is None or held.page.is_gone else held.page

    def forget(self, name: NormalizedName) -> str:
        """
        Remove what is stored of a name, and return the label of the index that owned it.

        It is empty if nothing was stored. Other processes follow when they ask for the page next.
        """
        held = self._load(name)
        for upstream_id in self._servers:
            self._stored.delete(upstream_id, name)
        # after the store, so that a thread that loads meanwhile finds no old page
        self._memory.discard(name)
        return "" if held is None else self._servers[held.page.upstream].label

    def why_contested(self, name: NormalizedName) -> str:
        """Return why a name is not shown although an index has it, or else an empty text."""
        held = self._load(name)
        if held is None or not held.page.moved_to:
            return ""
        owner, other = self._servers[held.page.upstream].label, held.page.moved_to
        first = ", which is asked first" if held.page.is_contested else ""
        return (
            f"{name} belongs to the upstream index {owner}, and now {other} has it{first}. Nothing "
            "of it is shown. Find out which of them is meant, and then have its owner forgotten."
        )

    def ttl(self, page: UpstreamPage) -> float:
        """Return the seconds for which a page is used without asking its index again."""
        seconds = self._servers[page.upstream].page_ttl
        if page.is_contested:
            return min(seconds, FORGOTTEN_SECONDS)
        is_short = page.is_gone or page.status is Status.QUARANTINED
        return min(seconds, NEGATIVE_SECONDS) if is_short else seconds

    def flush(self) -> None:
        """Wait until the pages that were fetched are stored, for at most `SAVE_SECONDS`."""
        wait(self._saving.copy(), SAVE_SECONDS)

    def _found_page(self, held: _HeldPage, *, is_confirmed: bool = False) -> FoundPage | None:
        if held.page.is_gone:
            return None
        now = self._runtime.monotonic()
        is_due = now >= held.fresh_until and not self._config.offline
        is_stale = is_due and not is_confirmed
        age = max(0.0, now - held.confirmed_at)
        if is_stale:
            self._observation.cache(Kind.PAGE, CacheResult.STALE)
            self._observation.stale(age)
        return FoundPage(held.page, is_stale, age)

    def _may_serve(self, held: _HeldPage) -> bool:
        """Return whether a page may be served although its index does not confirm it."""
        if self._config.offline:
            return True
        if self._refused.get(held.page.name):  # what it had before must not pass the refusal by
            return False
        age = self._runtime.monotonic() - held.confirmed_at
        return age <= self._config.max_stale and not held.page.is_gone

    def _refresh(self, name: NormalizedName, kind: Kind) -> _HeldPage | None:
        """Return the page of the store if it is recent enough, else ask for it, and remember it."""
        held = self._load(name)
        may_serve = held is not None and kind is Kind.PAGE and self._may_serve(held)
        if held is not None and may_serve:
            self._remember(held)  # for `stale`
        renewed = self._load_or_request(name, kind, held, may_serve=may_serve)
        if renewed is not None:
            self._remember(renewed)
            if not (renewed.is_saved or self._config.read_only):
                # the page is returned now; a crash before it is stored loses only the memory of it
                saving = self._start_saving(partial(self._save, renewed))
                self._saving.add(saving)
                saving.add_done_callback(self._saving.discard)
        return renewed

    def _load_or_request(
        self, name: NormalizedName, kind: Kind, held: _HeldPage | None, *, may_serve: bool
    ) -> _HeldPage | None:
        if held is not None and self._is_recent(held, kind):
            self._observation.cache(kind, CacheResult.HIT)
            return held
        if self._config.offline:
            if held is None:
                raise is_offline(name)
            return held
        # before an upload, what is remembered of an absence does not count
        if held is None and kind is Kind.PAGE and self._absent.get(name):
            self._note_look(name)
            return None
        try:
            return self._request_unless_bad(name, kind, held)
        except Unavailable as error:
            if held is None or not may_serve or error.code == UPSTREAM_REFUSED:
                raise
            return replace(held, retry_at=self._runtime.monotonic() + RETRY_SECONDS)

    def _is_recent(self, held: _HeldPage, kind: Kind) -> bool:
        now = self._runtime.monotonic()
        if kind is Kind.CHECK:
            return held.page.exists and held.confirmed_at >= now - CHECK_SECONDS
        return now < held.fresh_until and not self._refused.get(held.page.name)

    def _request_unless_bad(
        self, name: NormalizedName, kind: Kind, held: _HeldPage | None
    ) -> _HeldPage | None:
        """
        Ask for a page.

        If it could not be used or was refused a moment ago, raises again what was raised then.
        """
        latest = self._bad.get(name)
        if latest is not None:
            raise copy(latest)
        try:
            return self._request(name, kind, held)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                self._bad.put(name, copy(error), BAD_SECONDS)  # without its traceback
            raise

    def _request(
        self, name: NormalizedName, kind: Kind, held: _HeldPage | None
    ) -> _HeldPage | None:
        try:
            answer = self._request_now(name, kind, held)
        except Unavailable as error:
            if error.code == UPSTREAM_REFUSED:
                self._refused.put(name, True, 1)  # noqa: FBT003 - the cached value
                ttl = min(client.server.page_ttl for client in self._clients.asked_for(name))
                self._bad.put(name, copy(error), min(ttl, NEGATIVE_SECONDS))
            raise
        self._refused.discard(name)
        return answer

    def _request_now(
        self, name: NormalizedName, kind: Kind, held: _HeldPage | None
    ) -> _HeldPage | None:
        if held is None:
            self._observation.cache(kind, CacheResult.MISS)
            # no index owns the name yet
            page = self._requests.find(name, kind)
            if page is None:
                self._absent.put(name, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value
                self._note_look(name)
                return None
            return self._hold(page, None, is_saved=False)
        self._observation.cache(kind, CacheResult.REVALIDATED)
        # until it is forgotten; a process that writes nothing remembers only what is in the store
        if held.page.is_contested and (held.is_saved or not self._config.read_only):
            return replace(held, fresh_until=self._runtime.monotonic() + self.ttl(held.page))
        page = self._requests.renew(held.page, kind)
        if page is None:
            return self._with_confirmation(held)
        return self._hold(page, held.version, is_saved=False)

    def _note_look(self, name: NormalizedName) -> None:
        """Note that the store has no page of an absent name now."""
        self._looked_absent.put(name, True, LOOK_SECONDS)  # noqa: FBT003 - the cached value

    def _with_confirmation(self, held: _HeldPage) -> _HeldPage:
        now = self._runtime.now()
        # only in memory, so that not every confirmation writes to the store
        if now - held.page.fetched_at < CONFIRMATION:
            at = self._runtime.monotonic()
            until = at + self.ttl(held.page)
            return replace(held, confirmed_at=at, fresh_until=until, retry_at=0.0, looked_at=at)
        return self._hold(replace(held.page, fetched_at=now), held.version, is_saved=False)

    def _hold(
        self, page: UpstreamPage, version: ObjectVersion | None, *, is_saved: bool
    ) -> _HeldPage:
        age = (self._runtime.now() - page.fetched_at).total_seconds()
        is_read = page.is_gone or page.reading == self._clients[page.upstream].server.reading
        if age < -MAX_SKEW_SECONDS or not is_read:  # a clock was wrong, or the settings were others
            age = max(age, self._servers[page.upstream].page_ttl)
        # times in the store are of the day, and those in memory monotonic
        confirmed_at = self._runtime.monotonic() - max(0.0, age)
        return _HeldPage(
            page=page,
            version=version,
            is_saved=is_saved,
            confirmed_at=confirmed_at,
            fresh_until=confirmed_at + self.ttl(page),
            looked_at=self._runtime.monotonic(),
        )

    def _load(self, name: NormalizedName) -> _HeldPage | None:
        """Return the page of the store, or the one in memory if that is the same or not stored."""
        memory = self._memory.get(name)
        owners = [client.server.id for client in self._clients.asked_for(name)]
        if memory is not None:
            owners = [memory.page.upstream]
        try:
            for owner in owners:
                stored = self._stored.load(owner, name, None if memory is None else memory.version)
                if stored is None and memory is not None:
                    return replace(memory, looked_at=self._runtime.monotonic())
                if stored is None:
                    return None
                page, version = stored
                if page is not None:
                    return self._hold(page, version, is_saved=True)
        except Unavailable:
            # whether the name is private is known, and one index alone cannot be confused
            if self._config.offline or len(self._servers) > 1:
                raise
            return memory
        return memory if memory is not None and memory.version is None else None

    def _remember(self, held: _HeldPage) -> None:
        page = held.page
        files = len(page.files) + len(page.removed) + len(page.changed)
        # the largest page is kept, too, then alone
        weight = min(PAGE_BYTES + FILE_BYTES * files, MEMORY_BYTES)
        self._memory.put(page.name, held, weight)

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
        latest = self._memory.get(page.name)
        if latest is not None and latest.page is page:
            self._remember(replace(latest, version=version, is_saved=version is not None))

    def _write(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion | None:
        """Write a page, and return its version, or None if another process has written one."""
        with suppress(Conflict):
            return self._stored.save(page, expect)
        stored = self._stored.load(page.upstream, page.name)
        if stored is None:
            return None
        other, version = stored
        # a damaged page is replaced by any other, and a page that is not contested by one that is
        if other is not None and (other.is_contested or not page.is_contested):
            return None
        with suppress(Conflict):
            return self._stored.save(page, version)
        return None
