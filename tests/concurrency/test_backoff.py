"""The pauses between the attempts of a caller that has failed."""

from itertools import islice
from random import Random

from wheelyard.concurrency.runtime import backoff_pauses


class Longest(Random):
    """Chance that gives the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        """Return the upper bound."""
        return max(a, b)


class Shortest(Random):
    """Chance that gives the shortest pause."""

    def uniform(self, a: float, b: float) -> float:
        """Return the lower bound."""
        return min(a, b)


def test_pauses_double_up_to_a_limit() -> None:
    """The longest pause doubles up to a limit, and the shortest one is a share of it."""
    longest = backoff_pauses(Longest(), 1.0, 7.0, 0.5)
    shortest = backoff_pauses(Shortest(), 1.0, 7.0, 0.5)

    assert list(islice(longest, 5)) == [1.0, 2.0, 4.0, 7.0, 7.0]
    assert list(islice(shortest, 5)) == [0.5, 1.0, 2.0, 3.5, 3.5]
    assert next(backoff_pauses(Shortest(), 1.0, 7.0)) == 0.0
