"""
Measured figures, most of them beside figures to compare with.

The printed table, the JSON of `benchmarks/results` and the chart all come from the same `Figure`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One row of a table: the values of one measurement, and of others to compare with.

    `ours` has a value for each round, and so has `theirs`, unless it is empty. `others` has the
    values of further contenders by name; the ratio does not count them.
    """

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    """Empty if there is nothing to compare with."""
    versus: str = "pypiserver"
    target: str = ""
    """The target, in words."""
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of `ours` divided by `theirs`; None without `theirs`."""
        if not self.theirs:
            return None
        return median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))

    @property
    def contenders(self) -> dict[str, Sequence[float]]:
        """The values of each contender that has some, wheelyard first."""
        found = {"wheelyard": self.ours, self.versus: self.theirs, **self.others}
        return {name: values for name, values in found.items() if values}

    def as_json(self) -> dict[str, object]:
        """Return the figure as it is written to `benchmarks/results`."""
        ratio = self.ratio
        rounds = {name: [*map(_rounded, values)] for name, values in self.contenders.items()}
        return {
            "name": self.name,
            "unit": self.unit,
            "contenders": {
                name: {"median": _rounded(median(values)), "rounds": values}
                for name, values in rounds.items()
            },
            "versus": self.versus if self.theirs else None,
            "ratio": None if ratio is None else _rounded(ratio),
            "target": self.target,
        }


def alternate(
    rounds: int, measurements: Mapping[str, Callable[[int], float]], *, warm: int = 0
) -> dict[str, Sequence[float]]:
    """
    Return the values of measurements that take turns: of each, by name, one for each round.

    `warm` rounds come first; their numbers are negative, and their values are left out.
    """
    values = {name: list[float]() for name in measurements}
    for each in range(-warm, rounds):
        for name, measure in measurements.items():
            values[name].append(measure(each))
    return {name: found[warm:] for name, found in values.items()}


def in_turn(
    rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float], *, warm: int = 0
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the values of two measurements that take turns, as `alternate` does."""
    values = alternate(rounds, {"ours": ours, "theirs": theirs}, warm=warm)
    return values["ours"], values["theirs"]


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table: the median of each, with its smallest and its largest value."""
    table = Table("figure", "wheelyard", "other", "ratio", "target", title=title, min_width=100)
    for figure in figures:
        ratio = figure.ratio
        table.add_row(
            figure.name,
            spread(figure.ours, figure.unit),
            "\n".join(
                f"{spread(values, figure.unit)} {name}"
                for name, values in figure.contenders.items()
                if name != "wheelyard"
            ),
            "" if ratio is None else f"{ratio:.3g}x",
            figure.target,
        )
    Console(width=150, highlight=False).print(table)


def spread(values: Sequence[float], unit: str) -> str:
    """Return the median of some values in a unit, with the smallest and the largest behind it."""
    middle, low, high = median(values), min(values), max(values)
    ends = f" ({short(low)} to {short(high)})" if len(values) > 1 else ""
    return f"{short(middle)}{ends} {unit}".rstrip()


def short(value: float) -> str:
    """Return a number with three digits, as a table shows it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rounded(value: float) -> float:
    """Return a value with four significant digits: no measurement has more."""
    return float(f"{value:.4g}")
