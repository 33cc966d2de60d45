"""
Several upstream indexes as one: the first that has a name owns it.

From then on no other one gets the name, also if the owner says that it has no such project any
more. The indexes before the owner are asked again as often as the owner: if one of them gets the
name, nothing of it is shown. An operator ends that with `forget`. An index whose patterns exclude a
name is never asked for it. That an index does not answer is never a no.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from math import inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.errors import BAD_UPSTREAM, UPSTREAM_REFUSED, Unavailable
from wheelyard.storage.base import ABSENT, Entry, ObjectVersion
from wheelyard.upstream.kept_folders import is_same_url
from wheelyard.upstream.observation import CacheResult, Kind
from wheelyard.upstream.owners import Ownership, StoredOwners, forget_owners
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.pages import (
    CHECK_SECONDS,
    CONFIRMATION,
    LOOK_SECONDS,
    MAX_ABSENT,
    MAX_SKEW_SECONDS,
    RETRY_SECONDS,
    FoundPage,
    PageKey,
    PeekedPage,
    UpstreamPages,
)
from wheelyard.upstream.settings import is_offline
from wheelyard.upstream.upstream_client import UpstreamClients

ALL: Final = "all"
"""The chain of all upstream indexes. It stays the same if there are others one day."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)
MAX_OWNERS: Final = 50_000
"""Names whose owner is remembered."""

logger = logging.getLogger("wheelyard")


class _Question(Struct, frozen=True):
    """How indexes are asked."""

    kind: Kind = Kind.PAGE
    is_forced: bool = False
    """Whether they are asked now, whatever is kept."""


_PAGE: Final = _Question()
_NEWEST: Final = _Question(is_forced=True)
_CHECK: Final = _Question(Kind.CHECK)


class _HeldOwner(Struct, frozen=True, kw_only=True):
    """The owner of a name in memory. Its times are those of the monotonic clock."""

    ownership: Ownership
    version: ObjectVersion | None
    """That of the object in the store, or None if it is not known."""
    is_saved: bool
    """Whether the object says the same."""
    asked_at: float
    """When the owner, and those before it, have answered."""
    looked_at: float
    """When it was compared with the object in the store."""
    retry_at: float = 0.0
    """When those before it are asked again, after one has not answered."""

    def counts_more(self, stored: Ownership) -> bool:
        """Return whether it has to take the place of what is stored."""
        is_new = self.ownership.is_contested and not self.is_saved
        return is_new and not stored.is_contested


class UpstreamChain:
    """
    Finds the pages of projects at the upstream indexes of a chain, in its order.

    Threads may share it. Every method that reads the store may raise Unavailable if that does not
    answer.
    """

    def __init__(self, pages: UpstreamPages, clients: UpstreamClients, key: str = ALL) -> None:
        self._pages = pages
        self._clients = clients
        self._is_chain_of_all = key == ALL
        self._store = pages.stored_pages.store
        self._config = pages.config
        self._runtime = pages.runtime
        self._observation = pages.observation
        self._owners = StoredOwners(self._store, key)
        self._only: _HeldOwner | None = None
        """The owner of each name if there is one index, which is never stored."""
        if len(clients.in_order) == 1:
            self._only = _only_owner(clients.in_order[0].server.id)
        self._memory: LruCache[NormalizedName, _HeldOwner] = LruCache(MAX_OWNERS)
        self._unowned = ExpiringCache[NormalizedName, bool](self._runtime.monotonic, MAX_ABSENT)
        """Names of which the store had no owner a moment ago."""
        self.proof = pages.proof

    def of_layers(self, clients: UpstreamClients, layers: Sequence[str]) -> "UpstreamChain":
        """
        Return the chain of some of the same upstream indexes, which shares their pages.

        They are those of `layers`, each a label or `upstream`. What is known of owners in them
        stays if `upstream` gets one more index.
        """
        return UpstreamChain(self._pages, clients, _chain_key(clients, layers))

    def each(self, name: NormalizedName) -> "tuple[UpstreamChain, ...]":
        """Return each of the indexes that are asked for a name as a chain of its own, in order."""
        return tuple(self._alone[client.server.id] for client in self._clients.asked_for(name))

    @cached_property
    def _alone(self) -> "dict[str, UpstreamChain]":
        """Each of the indexes as a chain of its own, by its id."""
        if self._only is not None:
            return {self._only.ownership.owner: self}
        return {
            client.server.id: self._of_label(client.server.label)
            for client in self._clients.in_order
        }

    def _of_label(self, label: str) -> "UpstreamChain":
        return self.of_layers(self._clients.of_labels((label,)), (label,))

    def version_in_memory_of(self, upstream_id: str, name: NormalizedName) -> str | None:
        """Return the version that one of the indexes has in memory of a page, or None."""
        return self._pages.version_in_memory(PageKey(upstream_id, name))

    def ask_if_due(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page of a project, or None if no upstream index has it, or it is contested.

        Raises Unavailable (code `upstream_unavailable`, or `upstream_busy` if too many wait for an
        index) if that cannot be said now. Raises Unavailable (code `bad_upstream`) if the answer
        cannot be used. Neither is raised if there is an older page that may be served. Raises
        Unavailable (code `upstream_refused`) if an index refuses the name, whatever there is.
        """
        peeked = self.peek_memory(name)
        if peeked is not None:
            return peeked.page
        _, page = self._resolve(name, _PAGE)
        return page

    def peek_memory(self, name: NormalizedName) -> PeekedPage | None:
        """
        Return the page if memory alone says what clients get now, else None.

        A result without a page says that clients get none.
        """
        held = self._peek_owner(name)
        if held is None:
            return PeekedPage(None) if self._is_absent(name) else None
        now = self._runtime.monotonic()
        # another process may have seen a contest, or had the owner forgotten
        if now >= held.looked_at + LOOK_SECONDS:
            return None
        if held.ownership.is_contested:
            return PeekedPage(None) if self._is_final(held) else None
        peeked = self._pages.peek_memory(self._key(held, name))
        if peeked is None or self._is_fresh(held, peeked.page):
            return peeked
        # an index before the owner was silent a moment ago, so it is not asked at each request
        if peeked.page is None or now >= held.retry_at or not self._may_serve(held, name):
            return None
        return PeekedPage(self._as_stale(held, peeked.page))

    def read_fresh(self, name: NormalizedName) -> PeekedPage | None:
        """
        Return the page if memory and the store say what clients get now, else None.

        A result without a page says that clients get none.
        """
        peeked = self.peek_memory(name)
        if peeked is not None:
            return peeked
        held = self._load(name)
        if held is not None:
            self._remember(name, held)
            # it brings a fresh page into memory, where it is judged as any other
            self._pages.read_fresh(self._key(held, name))
            return self.peek_memory(name)
        self._note_unowned(name)
        asked = [PageKey(upstream_id, name) for upstream_id in self._asked_for(name)]
        if not all(map(self._pages.remembers_absence, asked)):
            return None
        for key in asked:  # another process may have stored a page of it meanwhile
            self._pages.read_fresh(key)
        return self.peek_memory(name)

    def version_in_memory(self, name: NormalizedName) -> str | None:
        """Return the version of the page in memory that may be shown, or None without one."""
        held = self._peek_owner(name)
        if held is None or held.ownership.is_contested or self._is_refused(held, name):
            return None
        return self._pages.version_in_memory(self._key(held, name))

    def peek_stale(self, name: NormalizedName) -> FoundPage | None:
        """Return the page in memory that may be served while another thread asks the indexes."""
        held = self._peek_owner(name)
        if held is None or held.ownership.is_contested or not self._may_serve(held, name):
            return None
        return self._pages.peek_stale(self._key(held, name))

    def ask_now(self, name: NormalizedName) -> FoundPage | None:
        """
        Ask the upstream indexes for a page now, store it, and return it.

        Return None if no index has it, or it is contested. Other processes have it within
        `LOOK_SECONDS`. Raises Unavailable (a code of `UPSTREAM_CODES`) if an index does not answer,
        refuses the name, or sends what cannot be used, also if there is an older page. Raises
        Unavailable (code `upstream_unavailable`) if no index is ever asked.
        """
        self.require_online(name)
        _, page = self._resolve(name, _NEWEST)
        return page

    def require_online(self, name: NormalizedName) -> None:
        """Raise Unavailable (code `upstream_unavailable`) if no upstream index is ever asked."""
        self._pages.require_online(name)

    def ask(self, name: NormalizedName) -> bool:
        """
        Return whether an upstream index has a name, as an upload needs it.

        A no is an answer of now, and a yes may be a minute old. A contested name is a yes. While
        offline, only a stored page says yes. Raises Unavailable (a code of `UPSTREAM_CODES`) if
        that cannot be said now. Raises Unavailable (code `upstream_unproven`) if nothing has shown
        that the indexes which say no are ones. Their roots may be asked for that.
        """
        if self._config.offline:
            if self.read_stored(name) is None:
                raise is_offline(name)
            return True
        try:
            exists = self._exists(name)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                # it is perhaps no index at all, which is the better advice
                self.proof.require(self._clients.asked_for(name))
            raise
        if not exists:
            self.proof.require(self._clients.asked_for(name))
        return exists

    def read_any_age(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page that is in the store, whatever its age, or None if nothing of it is shown.

        It asks no upstream index.
        """
        owner = self._read_owner_id(name)
        if owner is None:
            return None
        return self._pages.read_any_age(PageKey(owner, name))

    def read_stored(self, name: NormalizedName) -> UpstreamPage | None:
        """Return the page of the store, and count nothing, or None if there is none now."""
        owner = self._read_owner_id(name)
        if owner is None:
            return None
        page = self._pages.read_stored(PageKey(owner, name))
        if page is None or page.is_gone:
            return None
        return page

    def read_gone(self, name: NormalizedName) -> UpstreamPage | None:
        """
        Return what is remembered of a page that its owner has no more, or None.

        It is None, too, if the owner is not in memory. The store may be read.
        """
        held = self._peek_owner(name)
        if held is None:
            return None
        return self._pages.read_gone(self._key(held, name))

    def stored_owners(self) -> Iterator[tuple[NormalizedName, Entry]]:
        """
        Yield the names whose owner is stored, by a listing, with the object that says it.

        There are none in a chain of one index, which owns each name.
        """
        if self._only is None:
            yield from self._owners.list()

    def forget(self, name: NormalizedName) -> str:
        """
        Remove what is stored of a name for all chains, and return the label of its owner here.

        That is its owners, the pages of all indexes, and the digests of its files. The label is
        empty if nothing was stored. Other processes follow when they ask for the page next.
        """
        held = self._load(name)
        owner = "" if held is None else held.ownership.owner
        # the only index owns each name, also those of which nothing is stored
        if held is self._only and self._pages.read_stored(PageKey(owner, name)) is None:
            owner = ""
        # if the process dies before the pages are gone, they still say who owns the name; the
        # operator, who has got no answer, does the same again
        forget_owners(self._store, name)
        self._pages.forget(name)
        # after the store, so that a thread that loads meanwhile finds nothing old
        self._memory.discard(name)
        return self._label(owner)

    def why_contested(self, name: NormalizedName) -> str:
        """Return why a name is not shown although an index has it, or else an empty text."""
        held = self._load(name)
        if held is None or not held.ownership.moved_to:
            return ""
        owner = self._label(held.ownership.owner)
        claimant = held.ownership.moved_to
        order = ", which is asked first" if held.ownership.is_contested else ""
        return (
            f"{name} belongs to the upstream index {owner}, and now {claimant} has it{order}. "
            "Nothing of it is shown. Find out which of them is meant, and then have its owner "
            "forgotten."
        )

    def ttl(self, page: UpstreamPage) -> float:
        """Return the seconds for which a page is used without asking its index again."""
        return self._pages.ttl(page)

    def flush(self) -> None:
        """Wait until what was fetched is stored, for at most `SAVE_SECONDS`."""
        self._pages.flush()

    def _asked_for(self, name: NormalizedName) -> list[str]:
        """Return the ids of the indexes that are asked for a name, in their order."""
        return [client.server.id for client in self._clients.asked_for(name)]

    def _before(self, held: _HeldOwner, name: NormalizedName) -> Iterator[str]:
        """Yield the ids of the indexes that are asked for a name before its owner."""
        if held is self._only:
            return
        for upstream_id in self._asked_for(name):
            if upstream_id == held.ownership.owner:
                return
            yield upstream_id

    def _label(self, upstream_id: str) -> str:
        return self._config.label_of(upstream_id)

    @staticmethod
    def _key(held: _HeldOwner, name: NormalizedName) -> PageKey:
        return PageKey(held.ownership.owner, name)

    def _ask(self, key: PageKey, question: _Question, *, owns: bool = True) -> FoundPage | None:
        """
        Return the page that an index has, which `owns` the name if it has it, or None.

        Raises Unavailable if the index does not answer, refuses the name, or sends what cannot be
        used, unless an older page may be served.
        """
        # what a chain of labels finds is no sign of the owner in the chain of all
        owns = owns and self._is_chain_of_all
        if question.is_forced:
            return self._pages.ask_now(key, owns=owns)
        return self._pages.ask_if_due(key, question.kind, owns=owns)

    def _exists(self, name: NormalizedName) -> bool:
        """Return whether an index has a name, also one that is contested."""
        held, page = self._resolve(name, _CHECK)
        if page is not None:
            return True
        return held is not None and bool(held.ownership.moved_to)

    def _resolve(
        self, name: NormalizedName, question: _Question
    ) -> tuple[_HeldOwner | None, FoundPage | None]:
        """Return the owner of a name, and its page unless it is contested or gone."""
        held = self._load(name)
        if held is None:
            if self._config.offline:
                return None, self._read_offline(name)
            return self._find(name, question)
        # nobody is asked about a contested name: only an operator ends that
        if held.ownership.is_contested and self._is_final(held):
            self._keep(name, held)
            return held, None
        if self._config.offline:
            self._remember(name, held)
            return held, self._ask(self._key(held, name), question)
        return self._renew(name, held, question)

    def _find(
        self, name: NormalizedName, question: _Question
    ) -> tuple[_HeldOwner | None, FoundPage | None]:
        """Return the first index that has a name, as its owner."""
        for upstream_id in self._asked_for(name):
            # raises if it is silent: the name must not go to the next index because of that
            page = self._ask(PageKey(upstream_id, name), question)
            if page is not None:
                ownership = Ownership(owner=upstream_id, asked_at=self._runtime.now())
                held = self._hold(ownership, None, is_saved=False)
                self._keep(name, held)
                return held, page
        self._note_unowned(name)
        return None, None

    def _renew(
        self, name: NormalizedName, held: _HeldOwner, question: _Question
    ) -> tuple[_HeldOwner, FoundPage | None]:
        """Return the owner of a name after it, and those before it, were asked, if that is due."""
        page = self._ask(self._key(held, name), question)

        # while the owner is silent, what it had stays; those before it are asked when it answers
        is_silent = page is not None and page.is_stale and self._may_serve(held, name)
        if is_silent or self._is_recent(held, question, page):
            self._keep(name, held)
            if held.ownership.moved_to:
                return held, None
            return held, page
        try:
            moved_to = self._moved_to(name, held, page, question)
        except Unavailable as error:
            needs_answer = question != _PAGE or error.code == UPSTREAM_REFUSED
            if page is None or needs_answer or not self._may_serve(held, name):
                raise
            held = replace(held, retry_at=self._runtime.monotonic() + RETRY_SECONDS)
            self._remember(name, held)
            return held, self._as_stale(held, page)
        renewed = self._renewed(name, held, moved_to)
        self._keep(name, renewed)
        if moved_to:
            return renewed, None
        return renewed, page

    def _moved_to(
        self,
        name: NormalizedName,
        held: _HeldOwner,
        page: FoundPage | None,
        question: _Question,
    ) -> str:
        """
        Return the id of an index that has a name although it belongs to another one, or nothing.

        If the owner has the name, that is one before it, which may be an attack, or the one that is
        meant. If the owner has given it up, it is any other. Raises Unavailable if that cannot be
        said, and something depends on it.
        """
        if page is not None and not page.page.status.serves_files:
            return ""  # what its owner has taken away goes at once, also while another is silent
        owner = held.ownership.owner
        if page is None:
            candidates = [candidate for candidate in self._asked_for(name) if candidate != owner]
        else:
            candidates = list(self._before(held, name))
        for candidate in candidates:
            try:
                answer = self._ask(PageKey(candidate, name), question, owns=False)
            except Unavailable:
                if page is not None or question.kind is Kind.CHECK:
                    raise
                continue  # nothing is shown of the name, whatever this one has
            if answer is not None:
                return candidate
        return ""

    def _renewed(self, name: NormalizedName, held: _HeldOwner, moved_to: str) -> _HeldOwner:
        """Return the owner of a name, after all have answered, and perhaps another has the name."""
        before = held.ownership
        label = self._label(moved_to)
        if label and before.moved_to != label:
            self._observation.owner_change(name, self._label(before.owner), label)
        now = self._runtime.now()
        ownership = replace(
            before,
            asked_at=now,
            moved_to=label,
            is_contested=moved_to in self._before(held, name),
        )
        # only in memory, so that not every answer writes to the store
        is_same = replace(ownership, asked_at=before.asked_at) == before
        is_saved = held.is_saved and is_same and now - before.asked_at < CONFIRMATION
        if is_saved:
            ownership = before
        renewed = self._hold(ownership, held.version, is_saved=is_saved)
        # of now, where `_hold` takes it from the ownership, which may be that of the store
        return replace(renewed, asked_at=self._runtime.monotonic())

    def _read_offline(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page of the store, as no index is ever asked.

        Raises Unavailable if there is none.
        """
        page = self.read_any_age(name)
        if page is None:
            raise is_offline(name)
        return page

    def _read_owner_id(self, name: NormalizedName) -> str | None:
        """Return the id of the owner of a name, or None if it is not known, or lost the name."""
        held = self._load(name)
        # a page alone says nothing: nobody may have asked those before its index
        if held is None or held.ownership.moved_to:
            return None
        return held.ownership.owner

    def _is_absent(self, name: NormalizedName) -> bool:
        """Return whether memory says that no index has a name, and that the store has no owner."""
        if not self._unowned.get(name):
            return False
        for upstream_id in self._asked_for(name):
            peeked = self._pages.peek_memory(PageKey(upstream_id, name))
            if peeked is None or peeked.page is not None:
                return False
        return True

    def _is_final(self, held: _HeldOwner) -> bool:
        """Return whether nobody has to be asked about a name that is contested."""
        # a process that writes nothing remembers only what is in the store
        return held.is_saved or not self._config.read_only

    def _is_fresh(self, held: _HeldOwner, page: FoundPage | None) -> bool:
        """Return whether the indexes before the owner have not to be asked again yet."""
        if self._config.offline or held is self._only:
            return True
        if page is None:
            seconds = self._pages.ttl_of(held.ownership.owner, is_short=True)
        else:
            seconds = self._pages.ttl(page.page)
        return self._runtime.monotonic() < held.asked_at + seconds

    def _is_recent(self, held: _HeldOwner, question: _Question, page: FoundPage | None) -> bool:
        """Return whether only the owner, which has this page, has to be asked now."""
        if held is self._only:
            return True
        # if the owner has the name again that had moved, only the others can say whose it is now
        is_back = page is not None and bool(held.ownership.moved_to)
        if question.is_forced or is_back:
            return False
        if question.kind is Kind.CHECK:
            age = self._runtime.monotonic() - held.asked_at
            return page is not None and age <= CHECK_SECONDS
        return self._is_fresh(held, page)

    def _is_refused(self, held: _HeldOwner, name: NormalizedName) -> bool:
        asked = (*self._before(held, name), held.ownership.owner)
        return any(
            self._pages.remembers_refusal(PageKey(upstream_id, name)) for upstream_id in asked
        )

    def _may_serve(self, held: _HeldOwner, name: NormalizedName) -> bool:
        """Return whether a page may be served although an index before its owner is silent."""
        if self._config.offline:
            return True
        if self._is_refused(held, name):
            return False
        return self._runtime.monotonic() - held.asked_at <= self._config.max_stale

    def _as_stale(self, held: _HeldOwner, page: FoundPage) -> FoundPage:
        """Return a page that its owner has confirmed, and of which another one says nothing now."""
        age = max(page.age, self._runtime.monotonic() - held.asked_at)
        self._observation.cache(Kind.PAGE, CacheResult.STALE)
        self._observation.stale(age)
        return FoundPage(page.page, is_stale=True, age=age)

    def _hold(
        self, ownership: Ownership, version: ObjectVersion | None, *, is_saved: bool
    ) -> _HeldOwner:
        """Return an owner with times of the monotonic clock, where the store has those of a day."""
        now = self._runtime.monotonic()
        age = (self._runtime.now() - ownership.asked_at).total_seconds()
        if age < -MAX_SKEW_SECONDS:  # a clock was wrong
            age = self._config.max_stale
        return _HeldOwner(
            ownership=ownership,
            version=version,
            is_saved=is_saved,
            asked_at=now - max(0.0, age),
            looked_at=now,
        )

    def _load(self, name: NormalizedName) -> _HeldOwner | None:
        """Return the owner of the store, or the one in memory if that is the same or not stored."""
        if self._only is not None:
            return self._only
        memory = self._memory.get(name)
        stored = self._owners.load(name, None if memory is None else memory.version)
        if stored is None and memory is not None:
            return replace(memory, looked_at=self._runtime.monotonic())
        if stored is not None and stored.ownership is not None:
            held = self._hold_stored(name, stored.ownership, stored.version)
            # that it is contested may not be written yet, and must not be forgotten meanwhile
            if held is not None and memory is not None and memory.counts_more(held.ownership):
                return replace(memory, version=stored.version, looked_at=held.looked_at)
            return held
        # the store has none: it is not written yet, or an operator has had it forgotten
        if memory is not None and memory.version is None:
            return memory
        self._memory.discard(name)
        return self._read_owner_of_pages(name) if self._is_chain_of_all else None

    def _hold_stored(
        self, name: NormalizedName, ownership: Ownership, version: ObjectVersion
    ) -> _HeldOwner | None:
        """Return the stored owner of a name if it is still asked for it, perhaps by a new label."""
        for upstream_id in self._asked_for(name):
            if is_same_url(upstream_id, ownership.owner):
                return self._hold(replace(ownership, owner=upstream_id), version, is_saved=True)
        return None

    def _read_owner_of_pages(self, name: NormalizedName) -> _HeldOwner | None:
        """
        Return the owner of a name by the stored pages.

        They say it while there is one upstream index, and did so in earlier versions.
        """
        for upstream_id in self._asked_for(name):
            page = self._pages.read_stored(PageKey(upstream_id, name))
            if page is not None and not page.is_unowned:
                ownership = Ownership(
                    owner=upstream_id,
                    asked_at=page.fetched_at,
                    moved_to=page.moved_to,
                    is_contested=page.is_contested,
                )
                # a process that writes nothing takes the pages for it
                return self._hold(ownership, None, is_saved=self._config.read_only)
        return None

    def _note_unowned(self, name: NormalizedName) -> None:
        """Note that the store has no owner of a name now."""
        self._unowned.put(name, True, LOOK_SECONDS)  # noqa: FBT003 - the cached value

    def _peek_owner(self, name: NormalizedName) -> _HeldOwner | None:
        """Return the owner of a name that is in memory, or None."""
        return self._only or self._memory.get(name)

    def _remember(self, name: NormalizedName, held: _HeldOwner) -> None:
        """Keep the owner of a name in memory."""
        if held is not self._only:
            self._memory.put(name, held, 1)

    def _keep(self, name: NormalizedName, held: _HeldOwner) -> None:
        """Remember the owner of a name, and write it into the store unless it is there."""
        self._remember(name, held)
        if not (held.is_saved or self._config.read_only):
            self._pages.save_later(partial(self._save, name, held))

    def _save(self, name: NormalizedName, held: _HeldOwner) -> None:
        """
        Write the owner of a name. Without success, it is only in memory.

        This runs in a thread of `start_saving`, while the page is served.
        """
        try:
            version = self._owners.save(name, held.ownership, held.version or ABSENT)
        except Unavailable as error:
            logger.warning("upstream: the owner of %s was not stored: %s", name, error.message)
            return
        except Exception:  # the page is served already
            logger.exception("upstream: the owner of %s was not stored", name)
            return
        # another thread may have found another one meanwhile
        latest = self._memory.get(name)
        if latest is not None and latest.ownership is held.ownership:
            self._remember(name, replace(latest, version=version, is_saved=version is not None))


def _only_owner(upstream_id: str) -> _HeldOwner:
    """Return the owner of each name if there is one index: nobody else has to be asked, ever."""
    ownership = Ownership(owner=upstream_id, asked_at=NEVER)
    return _HeldOwner(ownership=ownership, version=None, is_saved=True, asked_at=inf, looked_at=inf)


def _chain_key(clients: UpstreamClients, layers: Sequence[str]) -> str:
    """Return the key of a chain of layers, which does not change with the labels themselves."""
    digests = dict[str, str]()
    for client in clients.in_order:
        _, _, digest = client.server.id.rpartition("-")  # of the URL
        digests[client.server.label] = digest
    text = " ".join(digests.get(layer, ALL) for layer in layers)
    return sha256(text.encode()).hexdigest()[:16]
