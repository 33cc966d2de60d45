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
from wheelyard.upstream.settings import offline_error
from wheelyard.upstream.upstream_client import UpstreamClients

ALL: Final = "all"
"""The chain of all upstream indexes. It stays the same if there are others one day."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)
MAX_OWNERS: Final = 50_000
"""Names whose owner is remembered."""

logger = logging.getLogger("wheelyard")


class _Question(Struct, frozen=True):
    """What upstream indexes are asked for, and whether a remembered answer will do."""

    kind: Kind = Kind.PAGE
    is_forced: bool = False
    """Whether the indexes are asked now, whatever is remembered."""


_PAGE: Final = _Question()
_NEWEST: Final = _Question(is_forced=True)
_CHECK: Final = _Question(Kind.CHECK)


class _HeldOwner(Struct, frozen=True, kw_only=True):
    """The owner of a name in memory. Its times are those of the monotonic clock."""

    ownership: Ownership
    version: ObjectVersion | None
    """The version of the object in the store, or None if it is not known."""
    is_saved: bool
    """Whether the object in the store says the same."""
    asked_at: float
    """When the owner, and the indexes before it, have answered last."""
    looked_at: float
    """When this was compared with the object in the store."""
    retry_at: float = 0.0
    """When the indexes before the owner are asked again, after one of them has not answered."""

    def replaces(self, stored_ownership: Ownership) -> bool:
        """Return whether this has seen a contest that the stored ownership does not have."""
        is_new_contest = self.ownership.is_contested and not self.is_saved
        return is_new_contest and not stored_ownership.is_contested


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
        self._only_owner: _HeldOwner | None = None
        """The owner of every name if the chain has one index. It is never stored."""
        if len(clients.in_order) == 1:
            self._only_owner = _owner_of_all_names(clients.in_order[0].server.id)
        self._held_owners: LruCache[NormalizedName, _HeldOwner] = LruCache(MAX_OWNERS)
        self._unowned_names = ExpiringCache[NormalizedName, bool](
            self._runtime.monotonic, MAX_ABSENT
        )
        """Names of which the store had no owner a moment ago."""
        self.proof = pages.proof

    def of_layers(self, clients: UpstreamClients, layers: Sequence[str]) -> "UpstreamChain":
        """
        Return a chain of some of the same upstream indexes, which shares their pages.

        `clients` are those of its indexes. `layers` are its layers, each a label or `upstream`. The
        owners that are stored for them stay if `upstream` gets one more index.
        """
        return UpstreamChain(self._pages, clients, _chain_key(clients, layers))

    def single_chains(self, name: NormalizedName) -> "tuple[UpstreamChain, ...]":
        """Return each of the indexes that are asked for a name as a chain of its own, in order."""
        return tuple(self._chain_by_id[upstream_id] for upstream_id in self._asked_for(name))

    @cached_property
    def _chain_by_id(self) -> "dict[str, UpstreamChain]":
        """Each of the indexes as a chain of its own, by the id of the index."""
        if self._only_owner is not None:
            return {self._only_owner.ownership.owner: self}
        chains = dict[str, UpstreamChain]()
        for client in self._clients.in_order:
            labels = (client.server.label,)
            clients = self._clients.of_labels(labels)
            chains[client.server.id] = self.of_layers(clients, labels)
        return chains

    def version_in_memory_of(self, upstream_id: str, name: NormalizedName) -> str | None:
        """Return the version of the page in memory of the index `upstream_id`, or None."""
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
        held_owner = self._owner_in_memory(name)
        if held_owner is None:
            return PeekedPage(None) if self._is_absent(name) else None
        now = self._runtime.monotonic()
        # another process may have seen a contest, or may have forgotten the owner
        if now >= held_owner.looked_at + LOOK_SECONDS:
            return None
        if held_owner.ownership.is_contested:
            return PeekedPage(None) if self._is_final(held_owner) else None
        peeked = self._pages.peek_memory(self._page_key(held_owner, name))
        if peeked is None or self._is_fresh(held_owner, peeked.page):
            return peeked
        # an index before the owner was silent a moment ago, so it is not asked at each request
        was_silent = now < held_owner.retry_at
        if peeked.page is not None and was_silent and self._may_serve(held_owner, name):
            return PeekedPage(self._as_stale(held_owner, peeked.page))
        return None

    def read_fresh(self, name: NormalizedName) -> PeekedPage | None:
        """
        Return the page if memory and the store say what clients get now, else None.

        A result without a page says that clients get none.
        """
        peeked = self.peek_memory(name)
        if peeked is not None:
            return peeked
        held_owner = self._load_owner(name)
        if held_owner is not None:
            self._remember_owner(name, held_owner)
            # this brings a fresh page into memory, where it is judged as any other page
            self._pages.read_fresh(self._page_key(held_owner, name))
            return self.peek_memory(name)
        self._note_unowned(name)
        page_keys = [PageKey(upstream_id, name) for upstream_id in self._asked_for(name)]
        if not all(map(self._pages.remembers_absence, page_keys)):
            return None
        for key in page_keys:  # another process may have stored a page of the name meanwhile
            self._pages.read_fresh(key)
        return self.peek_memory(name)

    def version_in_memory(self, name: NormalizedName) -> str | None:
        """Return the version of the page in memory that may be shown, or None without a page."""
        held_owner = self._owner_in_memory(name)
        if held_owner is None or held_owner.ownership.is_contested:
            return None
        if self._is_refused(held_owner, name):
            return None
        return self._pages.version_in_memory(self._page_key(held_owner, name))

    def peek_stale(self, name: NormalizedName) -> FoundPage | None:
        """Return the page in memory that may be served while another thread asks the indexes."""
        held_owner = self._owner_in_memory(name)
        if held_owner is None or held_owner.ownership.is_contested:
            return None
        if not self._may_serve(held_owner, name):
            return None
        return self._pages.peek_stale(self._page_key(held_owner, name))

    def ask_now(self, name: NormalizedName) -> FoundPage | None:
        """
        Ask the upstream indexes for a page now, store it, and return it.

        Return None if no index has the name, or it is contested. Other processes have the page
        within `LOOK_SECONDS`. Raises Unavailable (a code of `UPSTREAM_CODES`) if an index does not
        answer, refuses the name, or sends what cannot be used, also if there is an older page.
        Raises Unavailable (code `upstream_unavailable`) if no index is ever asked.
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
        that cannot be said now. Raises Unavailable (code `upstream_unproven`) if an index says no
        that is not proven to be an index. The roots of the indexes may be asked for that.
        """
        if self._config.offline:
            if self.read_stored(name) is None:
                raise offline_error(name)
            return True
        try:
            exists = self._exists(name)
        except Unavailable as error:
            if error.code == BAD_UPSTREAM:
                # perhaps an index is none at all, which is the better advice
                self.proof.require(self._clients.asked_for(name))
            raise
        if not exists:
            self.proof.require(self._clients.asked_for(name))
        return exists

    def read_any_age(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page that is in the store, whatever its age, or None if nothing of it is shown.

        No upstream index is asked.
        """
        owner = self._read_owner_id(name)
        if owner is None:
            return None
        return self._pages.read_any_age(PageKey(owner, name))

    def read_stored(self, name: NormalizedName) -> UpstreamPage | None:
        """Return the page of the store, and count nothing, or None if the store has no page now."""
        owner = self._read_owner_id(name)
        if owner is None:
            return None
        page = self._pages.read_stored(PageKey(owner, name))
        if page is None or page.is_gone:
            return None
        return page

    def read_gone(self, name: NormalizedName) -> UpstreamPage | None:
        """
        Return what is remembered of a page that its owner has no more.

        Return None if the owner has the page, or is not in memory. The store may be read.
        """
        held_owner = self._owner_in_memory(name)
        if held_owner is None:
            return None
        return self._pages.read_gone(self._page_key(held_owner, name))

    def stored_owners(self) -> Iterator[tuple[NormalizedName, Entry]]:
        """
        Yield the names whose owner is stored, by a listing, each with the object that says it.

        A chain of one index stores no owners, as that index owns every name.
        """
        if self._only_owner is None:
            yield from self._owners.list()

    def forget(self, name: NormalizedName) -> str:
        """
        Remove what is stored of a name for all chains, and return the label of its owner here.

        Removed are the owners of the name, the pages of all indexes, and the digests of its files.
        The label is empty if nothing was stored. Other processes notice it when they ask for the
        page next.
        """
        held_owner = self._load_owner(name)
        owner = "" if held_owner is None else held_owner.ownership.owner
        # the only index owns every name, also a name of which nothing is stored
        if held_owner is self._only_owner and self._pages.read_stored(PageKey(owner, name)) is None:
            owner = ""
        # if the process dies before the pages are gone, they still say who owns the name; the
        # operator, who has got no answer, does the same again
        forget_owners(self._store, name)
        self._pages.forget(name)
        # after the store, so that a thread that loads meanwhile finds nothing old
        self._held_owners.discard(name)
        return self._label_of(owner)

    def why_contested(self, name: NormalizedName) -> str:
        """Return why a name is not shown although an index has it, or else an empty text."""
        held_owner = self._load_owner(name)
        if held_owner is None or not held_owner.ownership.moved_to:
            return ""
        owner = self._label_of(held_owner.ownership.owner)
        claimant = held_owner.ownership.moved_to
        order = ", which is asked first" if held_owner.ownership.is_contested else ""
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

    def _ids_before(self, held_owner: _HeldOwner, name: NormalizedName) -> Iterator[str]:
        """Yield the ids of the indexes that are asked for a name before its owner."""
        if held_owner is self._only_owner:
            return
        for upstream_id in self._asked_for(name):
            if upstream_id == held_owner.ownership.owner:
                return
            yield upstream_id

    def _label_of(self, upstream_id: str) -> str:
        return self._config.label_of(upstream_id)

    @staticmethod
    def _page_key(held_owner: _HeldOwner, name: NormalizedName) -> PageKey:
        return PageKey(held_owner.ownership.owner, name)

    def _ask_index(
        self, key: PageKey, question: _Question, *, owns: bool = True
    ) -> FoundPage | None:
        """
        Return the page that an index has, or None if it has none.

        `owns` is whether the index owns the name if it has a page. Raises Unavailable if the index
        does not answer, refuses the name, or sends what cannot be used, unless an older page may be
        served.
        """
        # what a chain of labels finds is no sign of the owner in the chain of all
        owns = owns and self._is_chain_of_all
        if question.is_forced:
            return self._pages.ask_now(key, owns=owns)
        return self._pages.ask_if_due(key, question.kind, owns=owns)

    def _exists(self, name: NormalizedName) -> bool:
        """Return whether an index has a name, also a name that is contested."""
        held_owner, page = self._resolve(name, _CHECK)
        if page is not None:
            return True
        return held_owner is not None and bool(held_owner.ownership.moved_to)

    def _resolve(
        self, name: NormalizedName, question: _Question
    ) -> tuple[_HeldOwner | None, FoundPage | None]:
        """Return the owner of a name, and its page unless it is contested or gone."""
        held_owner = self._load_owner(name)
        if held_owner is None:
            if self._config.offline:
                return None, self._read_offline(name)
            return self._find_owner(name, question)
        # nobody is asked about a contested name: only an operator ends that
        if held_owner.ownership.is_contested and self._is_final(held_owner):
            self._remember_and_save(name, held_owner)
            return held_owner, None
        if self._config.offline:
            self._remember_owner(name, held_owner)
            return held_owner, self._ask_index(self._page_key(held_owner, name), question)
        return self._renew_owner(name, held_owner, question)

    def _find_owner(
        self, name: NormalizedName, question: _Question
    ) -> tuple[_HeldOwner | None, FoundPage | None]:
        """Return the first index that has a name as its owner, and its page, or None and None."""
        for upstream_id in self._asked_for(name):
            # raises if the index is silent: the name must not go to the next one because of that
            page = self._ask_index(PageKey(upstream_id, name), question)
            if page is not None:
                ownership = Ownership(owner=upstream_id, asked_at=self._runtime.now())
                held_owner = self._hold_owner(ownership, None, is_saved=False)
                self._remember_and_save(name, held_owner)
                return held_owner, page
        self._note_unowned(name)
        return None, None

    def _renew_owner(
        self, name: NormalizedName, held_owner: _HeldOwner, question: _Question
    ) -> tuple[_HeldOwner, FoundPage | None]:
        """
        Ask the owner of a name, and the indexes before it, if that is due.

        Return the owner, and its page unless the name has moved.
        """
        page = self._ask_index(self._page_key(held_owner, name), question)

        # while the owner is silent, its page stays; indexes before it are asked once it answers
        is_silent = page is not None and page.is_stale and self._may_serve(held_owner, name)
        if is_silent or self._is_recent(held_owner, question, page):
            self._remember_and_save(name, held_owner)
            if held_owner.ownership.moved_to:
                return held_owner, None
            return held_owner, page
        try:
            claimant_id = self._find_claimant(name, held_owner, page, question)
        except Unavailable as error:
            needs_answer = question != _PAGE or error.code == UPSTREAM_REFUSED
            if page is None or needs_answer or not self._may_serve(held_owner, name):
                raise
            held_owner = replace(held_owner, retry_at=self._runtime.monotonic() + RETRY_SECONDS)
            self._remember_owner(name, held_owner)
            return held_owner, self._as_stale(held_owner, page)
        renewed_owner = self._with_answers(name, held_owner, claimant_id)
        self._remember_and_save(name, renewed_owner)
        if claimant_id:
            return renewed_owner, None
        return renewed_owner, page

    def _find_claimant(
        self,
        name: NormalizedName,
        held_owner: _HeldOwner,
        page: FoundPage | None,
        question: _Question,
    ) -> str:
        """
        Return the id of an index that has a name which belongs to another one, or an empty text.

        If the owner has the name, the claimant is an index before it, which may be an attack, or
        the index that is meant. If the owner has given the name up, it is any other index. Raises
        Unavailable if an index does not say it, and something depends on the answer.
        """
        if page is not None and not page.page.status.serves_files:
            return ""  # what the owner has taken away goes at once, also while another is silent
        owner = held_owner.ownership.owner
        if page is None:
            candidate_ids = [other_id for other_id in self._asked_for(name) if other_id != owner]
        else:
            candidate_ids = list(self._ids_before(held_owner, name))
        for candidate_id in candidate_ids:
            try:
                answer = self._ask_index(PageKey(candidate_id, name), question, owns=False)
            except Unavailable:
                if page is not None or question.kind is Kind.CHECK:
                    raise
                continue  # nothing is shown of the name, whatever this index has
            if answer is not None:
                return candidate_id
        return ""

    def _with_answers(
        self, name: NormalizedName, held_owner: _HeldOwner, claimant_id: str
    ) -> _HeldOwner:
        """
        Return the owner of a name after all indexes that were asked have answered now.

        `claimant_id` is the id of another index that has the name, or empty. That the name has
        moved is counted and logged.
        """
        ownership_before = held_owner.ownership
        claimant = self._label_of(claimant_id)
        if claimant and ownership_before.moved_to != claimant:
            owner = self._label_of(ownership_before.owner)
            self._observation.owner_change(name, owner, claimant)
        now = self._runtime.now()
        ownership = replace(
            ownership_before,
            asked_at=now,
            moved_to=claimant,
            is_contested=claimant_id in self._ids_before(held_owner, name),
        )
        # a confirmation stays in memory for a while, so that not every answer writes to the store
        is_same = replace(ownership, asked_at=ownership_before.asked_at) == ownership_before
        is_recent = now - ownership_before.asked_at < CONFIRMATION
        is_saved = held_owner.is_saved and is_same and is_recent
        if is_saved:
            ownership = ownership_before
        renewed_owner = self._hold_owner(ownership, held_owner.version, is_saved=is_saved)
        # `_hold_owner` takes the time from the ownership, which may be that of the store
        return replace(renewed_owner, asked_at=self._runtime.monotonic())

    def _read_offline(self, name: NormalizedName) -> FoundPage | None:
        """
        Return the page of the store, as no index is ever asked.

        Raises Unavailable (code `upstream_unavailable`) if the store has no page that is shown.
        """
        page = self.read_any_age(name)
        if page is None:
            raise offline_error(name)
        return page

    def _read_owner_id(self, name: NormalizedName) -> str | None:
        """Return the id of the owner of a name, or None without one, or if the name has moved."""
        held_owner = self._load_owner(name)
        # a page alone says nothing: perhaps nobody has asked the indexes before that of the page
        if held_owner is None or held_owner.ownership.moved_to:
            return None
        return held_owner.ownership.owner

    def _is_absent(self, name: NormalizedName) -> bool:
        """Return whether memory says that no index has a name, and that the store has no owner."""
        if not self._unowned_names.get(name):
            return False
        for upstream_id in self._asked_for(name):
            peeked = self._pages.peek_memory(PageKey(upstream_id, name))
            if peeked is None or peeked.page is not None:
                return False
        return True

    def _is_final(self, held_owner: _HeldOwner) -> bool:
        """Return whether no index has to be asked about a name that is contested."""
        # a process that writes nothing remembers only what is in the store
        return held_owner.is_saved or not self._config.read_only

    def _is_fresh(self, held_owner: _HeldOwner, page: FoundPage | None) -> bool:
        """Return whether the indexes before the owner have not to be asked again yet."""
        if self._config.offline or held_owner is self._only_owner:
            return True
        if page is None:
            seconds = self._pages.ttl_of(held_owner.ownership.owner, is_short=True)
        else:
            seconds = self._pages.ttl(page.page)
        return self._runtime.monotonic() < held_owner.asked_at + seconds

    def _is_recent(
        self, held_owner: _HeldOwner, question: _Question, page: FoundPage | None
    ) -> bool:
        """Return whether only the owner, which has this page, has to be asked now."""
        if held_owner is self._only_owner:
            return True
        # if the owner has a name again that had moved, only the other indexes can say whose it is
        is_back = page is not None and bool(held_owner.ownership.moved_to)
        if question.is_forced or is_back:
            return False
        if question.kind is Kind.CHECK:
            age = self._runtime.monotonic() - held_owner.asked_at
            return page is not None and age <= CHECK_SECONDS
        return self._is_fresh(held_owner, page)

    def _is_refused(self, held_owner: _HeldOwner, name: NormalizedName) -> bool:
        """Return whether the owner of a name, or an index before it, has refused the name."""
        asked_ids = (*self._ids_before(held_owner, name), held_owner.ownership.owner)
        page_keys = [PageKey(upstream_id, name) for upstream_id in asked_ids]
        return any(map(self._pages.remembers_refusal, page_keys))

    def _may_serve(self, held_owner: _HeldOwner, name: NormalizedName) -> bool:
        """Return whether a page may be served although an index before its owner is silent."""
        if self._config.offline:
            return True
        if self._is_refused(held_owner, name):
            return False
        return self._runtime.monotonic() - held_owner.asked_at <= self._config.max_stale

    def _as_stale(self, held_owner: _HeldOwner, page: FoundPage) -> FoundPage:
        """Return a page of the owner as stale, as an index before the owner is silent now."""
        age = max(page.age, self._runtime.monotonic() - held_owner.asked_at)
        self._observation.cache(Kind.PAGE, CacheResult.STALE)
        self._observation.stale(age)
        return FoundPage(page.page, is_stale=True, age=age)

    def _hold_owner(
        self, ownership: Ownership, version: ObjectVersion | None, *, is_saved: bool
    ) -> _HeldOwner:
        """Return an owner with times of the monotonic clock: the store has the time of day."""
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

    def _load_owner(self, name: NormalizedName) -> _HeldOwner | None:
        """
        Return the owner of a name by the store, or None if the store has none.

        The owner in memory is returned if it is the same, is not stored yet, or is contested.
        """
        if self._only_owner is not None:
            return self._only_owner
        remembered = self._held_owners.get(name)
        version_in_memory = None if remembered is None else remembered.version
        stored_owner = self._owners.load(name, version_in_memory)
        if stored_owner is None and remembered is not None:
            return replace(remembered, looked_at=self._runtime.monotonic())
        if stored_owner is not None and stored_owner.ownership is not None:
            held_owner = self._hold_stored_owner(name, stored_owner.ownership, stored_owner.version)
            # that the name is contested may not be written yet, and must not be forgotten meanwhile
            if held_owner and remembered and remembered.replaces(held_owner.ownership):
                return replace(
                    remembered, version=stored_owner.version, looked_at=held_owner.looked_at
                )
            return held_owner
        # the owner is not written yet, or an operator has had it forgotten
        if remembered is not None and remembered.version is None:
            return remembered
        self._held_owners.discard(name)
        return self._read_owner_of_pages(name) if self._is_chain_of_all else None

    def _hold_stored_owner(
        self, name: NormalizedName, ownership: Ownership, version: ObjectVersion
    ) -> _HeldOwner | None:
        """
        Return the stored owner of a name, which may have another label by now.

        Return None if that index is not asked for the name any more.
        """
        for upstream_id in self._asked_for(name):
            if is_same_url(upstream_id, ownership.owner):
                ownership = replace(ownership, owner=upstream_id)
                return self._hold_owner(ownership, version, is_saved=True)
        return None

    def _read_owner_of_pages(self, name: NormalizedName) -> _HeldOwner | None:
        """
        Return the owner of a name by the stored pages, or None if no page says it.

        Pages say it while there is one upstream index, and did so in earlier versions.
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
                # a process that writes nothing takes the pages for the stored owner
                return self._hold_owner(ownership, None, is_saved=self._config.read_only)
        return None

    def _note_unowned(self, name: NormalizedName) -> None:
        """Note that the store has no owner of a name now."""
        self._unowned_names.put(name, True, LOOK_SECONDS)  # noqa: FBT003 - the cached value

    def _owner_in_memory(self, name: NormalizedName) -> _HeldOwner | None:
        """Return the owner of a name that is in memory, or None."""
        return self._only_owner or self._held_owners.get(name)

    def _remember_owner(self, name: NormalizedName, held_owner: _HeldOwner) -> None:
        """Keep the owner of a name in memory, unless it owns every name."""
        if held_owner is not self._only_owner:
            self._held_owners.put(name, held_owner, 1)

    def _remember_and_save(self, name: NormalizedName, held_owner: _HeldOwner) -> None:
        """Remember the owner of a name, and write it into the store unless the store has it."""
        self._remember_owner(name, held_owner)
        if not (held_owner.is_saved or self._config.read_only):
            self._pages.save_later(partial(self._save_owner, name, held_owner))

    def _save_owner(self, name: NormalizedName, held_owner: _HeldOwner) -> None:
        """
        Write the owner of a name into the store. If that fails, the owner is in memory alone.

        This runs in a thread of `start_saving`, while the page is served.
        """
        try:
            version = self._owners.save(name, held_owner.ownership, held_owner.version or ABSENT)
        except Unavailable as error:
            logger.warning("upstream: the owner of %s was not stored: %s", name, error.message)
            return
        except Exception:  # the page is served already
            logger.exception("upstream: the owner of %s was not stored", name)
            return
        # another thread may have found another owner meanwhile
        latest_owner = self._held_owners.get(name)
        if latest_owner is not None and latest_owner.ownership is held_owner.ownership:
            latest_owner = replace(latest_owner, version=version, is_saved=version is not None)
            self._remember_owner(name, latest_owner)


def _owner_of_all_names(upstream_id: str) -> _HeldOwner:
    """Return the only index of a chain as the owner of every name: no other is ever asked."""
    ownership = Ownership(owner=upstream_id, asked_at=NEVER)
    return _HeldOwner(ownership=ownership, version=None, is_saved=True, asked_at=inf, looked_at=inf)


def _chain_key(clients: UpstreamClients, layers: Sequence[str]) -> str:
    """Return the key of a chain of layers, which stays if an index gets another label."""
    url_digests = dict[str, str]()
    for client in clients.in_order:
        _, _, url_digest = client.server.id.rpartition("-")
        url_digests[client.server.label] = url_digest
    text = " ".join(url_digests.get(layer, ALL) for layer in layers)
    return sha256(text.encode()).hexdigest()[:16]
