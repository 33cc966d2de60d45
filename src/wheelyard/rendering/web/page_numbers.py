"""The pages of a list that is too long for one page: their numbers, and the entries of one."""

from collections.abc import Sequence
from math import ceil
from typing import Generic, TypeVar

from msgspec import Struct

EntryT = TypeVar("EntryT")


class PageNumbers(Struct, frozen=True):
    """The number of one page of a list, for `parts/page_links.html`."""

    total: int
    """How many entries all pages have together."""
    number: int
    """The number of this page, from 1."""
    pages: int
    """How many pages the list has, at least one."""

    @property
    def linked_numbers(self) -> list[int]:
        """The numbers of pages to link to: a few around this page, and some across all pages."""
        # at most twenty across all pages, so that the links fit into a line or two
        step = max(10, ceil(self.pages / 20))
        numbers = {1, self.pages}
        numbers.update(range(step, self.pages, step))
        numbers.update(range(self.number - 2, self.number + 3))
        return sorted(number for number in numbers if 1 <= number <= self.pages)


class FilteredPage(PageNumbers, Generic[EntryT], frozen=True, kw_only=True):
    """One page of the entries of a list that pass a filter, for `parts/counted.html`."""

    entries: Sequence[EntryT]
    """The entries on this page."""
    first: int
    """The number of the first entry on this page, from 1, or 0 if the page has no entry."""
    unfiltered: int
    """How many entries the list has without the filter."""

    @property
    def last(self) -> int:
        """The number of the last entry on this page, or 0 if the page has no entry."""
        if not self.entries:
            return 0
        return self.first + len(self.entries) - 1

    @property
    def is_whole(self) -> bool:
        """Whether all entries are on this page, so that a script can filter them."""
        return self.pages == 1 and self.total == self.unfiltered


def page_count(total: int, size: int) -> int:
    """Return how many pages a list of `total` entries has, with `size` on each: at least one."""
    return max(1, ceil(total / size))
