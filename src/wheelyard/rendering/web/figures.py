"""
Figures as SVG: areas over time, dots on a line of time, and bars.

A figure has no size of its own: positions across are in percent, so that it is as wide as its
place and its text stays as large as the text around it. Colours come from the style sheet. A
screen reader hears one sentence, and the page has the same numbers in a table or a list.
"""

from collections.abc import Sequence
from datetime import date
from itertools import accumulate
from typing import Final

from markupsafe import Markup
from msgspec import Struct

PLOT_HEIGHT: Final = 160
"""The height of the areas, in pixels."""
LABEL_HEIGHT: Final = 22
"""The height of the line of text below or above a plot, in pixels."""

_TIMELINE_Y: Final = 20
"""How far below the top the line of time is, in pixels."""
_SIGNS: Final = {
    "yanked": Markup('<path d="M-7 7 7-7"/>'),
    "flagged": Markup('<path d="M0-5V-16L9-12.5 0-9"/>'),
    "deleted": Markup('<path d="M-5-5 5 5M-5 5 5-5"/>'),
}
"""What is drawn over a dot of a kind."""
_TOP_Y: Final = LABEL_HEIGHT
_MIDDLE_Y: Final = LABEL_HEIGHT + PLOT_HEIGHT // 2
_BOTTOM_Y: Final = LABEL_HEIGHT + PLOT_HEIGHT

_TOPS: Final = (2, 4, 6, 8, 10)
"""The top of an axis for small values. Half of each is a whole number."""
_LARGE_TOPS: Final = (20, 30, 40, 50, 60, 80, 100)
"""The same for larger ones, times a power of ten."""


class Series(Struct, frozen=True):
    """What one area is about."""

    name: str
    is_rest: bool = False
    """Whether it is all that has no area of its own."""


class AreaStep(Struct, frozen=True):
    """What happened in one time: a day, or a week."""

    label: str
    """The time, in words."""
    values: tuple[int, ...]
    """One of each series, which add up to the whole."""


class AreaChart(Struct, frozen=True):
    """Areas on top of each other, one for each series, over steps of time."""

    series: tuple[Series, ...]
    """From the lowest area to the highest."""
    steps: tuple[AreaStep, ...]
    first: str
    """The label of the beginning."""
    last: str
    """The label of the end."""
    summary: str
    """The sentence for those who do not see the figure."""

    def draw(self) -> Markup:
        """Return the figure, and a legend if there are several series."""
        top = axis_top(max((sum(step.values) for step in self.steps), default=0))
        svg = Markup(
            '<svg class="figure areas" height="{}" role="img" aria-label="{}">{}'
            '<svg width="100%" y="{}" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
            "{}</svg>{}{}</svg>"
        ).format(
            PLOT_HEIGHT + 2 * LABEL_HEIGHT,
            self.summary,
            _lines(),
            *(LABEL_HEIGHT, PLOT_HEIGHT, len(self.steps), top),
            self._areas(top),
            _numbers(top) + _ends(self.first, self.last),
            self._columns(),
        )
        return svg + self._legend()

    def _areas(self, top: int) -> Markup:
        heights = [list(accumulate(step.values, initial=0)) for step in self.steps]
        areas = Markup()
        for number in range(len(self.series)):
            lower = [top - height[number] for height in heights]
            upper = [top - height[number + 1] for height in heights]
            if lower != upper:
                path = _outline(upper, lower)
                areas += Markup('<path class="{}" d="{}"/>').format(self._class_of(number), path)
        return areas

    def _columns(self) -> Markup:
        """Return the invisible column of each step that has a value, which says its numbers."""
        width = 100 / max(len(self.steps), 1)
        columns = Markup()
        for number, step in enumerate(self.steps):
            if any(step.values):
                columns += Markup(
                    '<rect x="{}%" y="{}" width="{}%" height="{}"><title>{}</title></rect>'
                ).format(
                    f"{number * width:.4g}",
                    LABEL_HEIGHT,
                    f"{width:.4g}",
                    PLOT_HEIGHT,
                    self._words(step),
                )
        return columns

    def _words(self, step: AreaStep) -> str:
        total = f"{step.label}: {sum(step.values):,}"
        if len(self.series) < 2:  # noqa: PLR2004 - a single one is the whole
            return total
        lines = [total]
        for series, value in zip(self.series, step.values, strict=True):
            if value:
                lines.append(f"{series.name}: {value:,}")
        return "\n".join(lines)

    def _legend(self) -> Markup:
        if len(self.series) < 2:  # noqa: PLR2004 - as above
            return Markup()
        rows = Markup()
        for number, series in enumerate(self.series):
            rows += Markup('<li class="{}">{}</li>').format(self._class_of(number), series.name)
        return Markup('<ul class="legend">{}</ul>').format(rows)

    def _class_of(self, number: int) -> str:
        return "area-rest" if self.series[number].is_rest else f"area-{number}"


def draw_small_area(values: Sequence[int], summary: str) -> Markup:
    """Return one area of steps, without numbers, for a place beside a text that has them."""
    top = max(*values, 1)
    path = _outline([top - value for value in values], [top] * len(values))
    return Markup(
        '<svg class="figure small" role="img" aria-label="{}" viewBox="0 0 {} {}" '
        'preserveAspectRatio="none"><path class="area-0" d="{}"/></svg>'
    ).format(summary, len(values), top, path)


class Dot(Struct, frozen=True):
    """One event on a line of time."""

    day: date
    label: str
    """What it is, in words."""
    kinds: tuple[str, ...] = ()
    """
    Classes of the style sheet.

    One that is `yanked` is crossed out, `flagged` has a flag, and `deleted` is a cross.
    """


def draw_timeline(dots: Sequence[Dot], summary: str, end: date | None = None) -> Markup:
    """Return a line of time with at least one dot, of which the last is at the end without one."""
    first = min(dot.day for dot in dots)
    last = end or max(dot.day for dot in dots)
    days = max((last - first).days, 1)
    drawn = Markup()
    for dot in dots:
        # the ends are within the figure, so that no dot is cut
        across = f"{1 + 98 * (dot.day - first).days / days:.4g}%"
        drawn += Markup('<svg class="{}" x="{}" y="{}"><title>{}</title>{}</svg>').format(
            " ".join(dot.kinds), across, _TIMELINE_Y, dot.label, _shape(dot.kinds)
        )
    # below that line, however large the text is
    text_y = _TIMELINE_Y + 12
    ends = Markup('<text y="{}">{}</text>').format(text_y, first)
    if last != first:
        ends += Markup('<text class="end" x="100%" y="{}">{}</text>').format(text_y, last)
    return Markup(
        '<svg class="figure timeline" role="img" aria-label="{}">'
        '<line x1="0" x2="100%" y1="{}" y2="{}"/>{}{}</svg>'
    ).format(summary, _TIMELINE_Y, _TIMELINE_Y, drawn, ends)


def draw_dot(kinds: Sequence[str]) -> Markup:
    """Return a dot of a line of time alone, for a legend that says in words what it is."""
    return Markup(
        '<svg class="figure timeline dot" aria-hidden="true"><svg class="{}" x="50%" y="50%">{}'
        "</svg></svg>"
    ).format(" ".join(kinds), _shape(kinds))


def draw_share(share: float) -> Markup:
    """Return a bar that is filled to a share, where 1 is all, beside a text that says it."""
    percent = f"{100 * min(max(share, 0), 1):.3g}"
    return Markup(
        '<svg class="figure share" height="10" aria-hidden="true"><rect width="100%" height="10"/>'
        '<rect class="filled" width="{}%" height="10"/></svg>'
    ).format(percent)


def axis_top(most: int) -> int:
    """Return the top of an axis for values up to `most`: a round number whose half is whole."""
    if most <= _TOPS[-1]:
        return next(top for top in _TOPS if top >= most)
    scale = 1
    while most > _LARGE_TOPS[-1] * scale:
        scale *= 10
    return next(top * scale for top in _LARGE_TOPS if top * scale >= most)


def _shape(kinds: Sequence[str]) -> Markup:
    """Return what is drawn of a dot."""
    signs = Markup().join(sign for kind, sign in _SIGNS.items() if kind in kinds)
    return Markup('<circle r="5"/>') + signs


def _outline(upper: Sequence[int], lower: Sequence[int]) -> str:
    """Return the path around an area of steps that are one unit wide each."""
    path = f"M0 {upper[0]}"
    for number in range(1, len(upper)):
        if upper[number] != upper[number - 1]:
            path += f"H{number}V{upper[number]}"
    path += f"H{len(upper)}V{lower[-1]}"
    for number in range(len(lower) - 1, 0, -1):
        if lower[number - 1] != lower[number]:
            path += f"H{number}V{lower[number - 1]}"
    return f"{path}H0z"


def _lines() -> Markup:
    """Return the lines of the most, the middle and nothing."""
    line = Markup('<line x1="0" x2="100%" y1="{}" y2="{}"/>')
    return Markup().join(line.format(y, y) for y in (_TOP_Y, _MIDDLE_Y, _BOTTOM_Y))


def _numbers(top: int) -> Markup:
    """Return the numbers of the most and the middle, each above its line."""
    number = Markup('<text y="{}">{}</text>')
    return number.format(_TOP_Y - 5, f"{top:,}") + number.format(_MIDDLE_Y - 5, f"{top // 2:,}")


def _ends(first: str, last: str) -> Markup:
    height = 2 * LABEL_HEIGHT + PLOT_HEIGHT - 5
    return Markup('<text y="{}">{}</text><text class="end" x="100%" y="{}">{}</text>').format(
        height, first, height, last
    )
