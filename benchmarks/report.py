"""Measured figures, most of them beside figures to compare with, and their table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One row of a table: the values of one measurement, and of another to compare with.

    `ours` has a value for each round, and so has `theirs`, unless it is empty.
    """

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    """None if there is nothing to compare with."""
    versus: str = "pypiserver"
    target: str = ""
    """The target, in words."""

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of `ours` divided by `theirs`; None without `theirs`."""
        if not self.theirs:
            return None
        return median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))


def in_turn(
    rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float], *, warm: int = 0
) -> tuple[Sequence[float], Sequence[float]]:
    """
    Return the values of two measurements that take turns, one of each for each round.

    `warm` rounds come first; their numbers are negative, and their values are left out.
    """
    values = [(ours(each), theirs(each)) for each in range(-warm, rounds)]
    mine, other = zip(*values[warm:], strict=True)
    return mine, other


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table: the median of each, with its smallest and its largest value."""
    table = Table("figure", "wheelyard", "other", "ratio", "target", title=title, min_width=100)
    for figure in figures:
        ratio = figure.ratio
        table.add_row(
            figure.name,
            _spread(figure.ours, figure.unit),
            f"{_spread(figure.theirs, figure.unit)} {figure.versus}" if figure.theirs else "",
            "" if ratio is None else f"{ratio:.3g}x",
            figure.target,
        )
    Console(width=150, highlight=False).print(table)


def _spread(values: Sequence[float], unit: str) -> str:
    middle, low, high = median(values), min(values), max(values)
    spread = f" ({_short(low)}..{_short(high)})" if len(values) > 1 else ""
    return f"{_short(middle)}{spread} {unit}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
