"""
Files of one project brought together, as far as they come within some distance of each other.

A commit costs the same for one file and for many, so files are held back for a while. How many are
held is bounded, whatever the order of the source.
"""

from dataclasses import dataclass, field

from packaging.utils import NormalizedName

from wheelyard.model.distribution import Distribution, Identity
from wheelyard.sources.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Item:
    """A file that a source offers, and what its name says."""

    candidate: Candidate
    distribution: Distribution

    @property
    def key(self) -> tuple[NormalizedName, Identity]:
        """What there may be once: of two of them, the first one is taken."""
        return self.distribution.project, self.distribution.identity


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one project, in the order of the source."""

    name: NormalizedName
    items: list[Item]


@dataclass(slots=True)
class Groups:
    """
    Files that are held back.

    Args:
        together: Files that make a group full.
        held: Files that may be held back.
    """

    together: int
    held: int
    _items: dict[NormalizedName, list[Item]] = field(default_factory=dict)
    _count: int = 0

    def add(self, item: Item) -> None:
        """Hold one more."""
        self._items.setdefault(item.distribution.project, []).append(item)
        self._count += 1

    def due(self, name: NormalizedName) -> Group | None:
        """Return the group of `name` if it is full, else the oldest if too many are held."""
        if len(self._items.get(name, ())) >= self.together:
            return self._taken(name)
        return self._taken(next(iter(self._items))) if self._count > self.held else None

    def settled(self, name: NormalizedName) -> Group | None:
        """Return the oldest group, but not that of `name`, which is being added to just now."""
        other = next((each for each in self._items if each != name), None)
        return None if other is None else self._taken(other)

    def rest(self) -> Group | None:
        """Return a group, None if there is none any more."""
        return self._taken(next(iter(self._items))) if self._items else None

    def _taken(self, name: NormalizedName) -> Group:
        items = self._items.pop(name)
        self._count -= len(items)
        return Group(name, items)
