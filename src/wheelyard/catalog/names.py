"""The list of all project names there ever were: one document, only ever added to."""

from functools import cached_property
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.batches import Batches, Take
from wheelyard.catalog.documents import Age, Documents, Learnt, Snapshot
from wheelyard.catalog.races import OVERLOADED, Retries
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import Store

ALL: Final = "all"
"""There is one list, so every addition is in one group."""


class NameList(Struct, frozen=True, dict=True):
    """Every project name, sorted."""

    names: tuple[NormalizedName, ...] = ()

    @cached_property
    def known(self) -> frozenset[NormalizedName]:
        """The same names, to look one up."""
        return frozenset(self.names)


class Names:
    """The name list of a store."""

    def __init__(self, store: Store, documents: Documents[NameList], retries: Retries) -> None:
        self._store = store
        self._documents = documents
        self._retries = retries
        self._additions = Batches[str, frozenset[NormalizedName], bool](self._add)

    def peek(self, max_age: Age = "fresh") -> Snapshot[NameList] | None:
        """Return the list if it is at hand and not too old, else None; never waits."""
        return self._documents.peek(keys.NAMES, max_age)

    def get(self) -> Snapshot[NameList]:
        """Return the list, waiting for the store only if need be."""
        return self._documents.get(keys.NAMES)

    def latest(self) -> NameList:
        """Return the list as the store has it now."""
        return self._documents.get(keys.NAMES, "now").value or NameList()

    def ensure(self, *names: NormalizedName) -> None:
        """
        See to it that `names` are in the list.

        Raises:
            Unavailable: The store does not answer, or too many others are writing.
        """
        held = self.peek("ever")
        known = held.value.known if held is not None and held.value is not None else frozenset()
        missing = frozenset(names) - known
        if missing:
            self._additions.submit(ALL, missing)

    def _add(self, _: str, take: Take[frozenset[NormalizedName]]) -> list[bool]:
        for attempt in self._retries.attempts():
            wanted = take()
            snapshot = self._documents.get(keys.NAMES, "fresh" if attempt == 0 else "now")
            before = snapshot.value or NameList()
            missing = frozenset[NormalizedName]().union(*wanted) - before.known
            if not missing:
                return [True for _ in wanted]
            # nearly sorted as it is, which `sorted` makes use of
            after = NameList(tuple(sorted([*before.names, *missing])))
            body, since = self._documents.codec.encode(after), self._documents.moment()
            try:
                version = self._store.put(keys.NAMES, body, snapshot.version)
            except Conflict:
                continue
            except Unavailable as fault:
                found = self._documents.get(keys.NAMES, "now")
                # it may still happen
                if found.version == snapshot.version and fault.code != OVERLOADED:
                    raise
                continue  # landed or lost: the next attempt sees which
            learnt = Learnt(version, len(body), over=snapshot.version, since=since)
            self._documents.learn(keys.NAMES, after, learnt)
            return [True for _ in wanted]
        raise self._retries.exhausted("the list of projects")
