"""Lists that are too long for one page."""

from math import ceil

from msgspec import Struct


class PageNumbers(Struct, frozen=True):
    """One page of a list among the others, for `parts/page_links.html`."""

    total: int
    """How many entries there are on all pages."""
    number: int
    pages: int
    """How many pages there are, at least one."""

    @property
    def offered(self) -> list[int]:
        """The numbers of pages to link to: a few around this one, and some of all."""
        step = max(10, ceil(self.pages / 20))
        near = range(self.number - 2, self.number + 3)
        numbers = {1, self.pages, *near, *range(step, self.pages, step)}
        return sorted(number for number in numbers if 1 <= number <= self.pages)


def page_count(total: int, size: int) -> int:
    """Return how many pages a list has with `size` on each: at least one."""
    return max(1, ceil(total / size))
