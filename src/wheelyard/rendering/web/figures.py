"""
Figures as SVG: areas over time, dots on a line of time, and bars.

A figure has no size of its own: positions across are in percent, so that it is as wide as its
place. Its text is HTML beside the SVG, so that it is as large as the text around it, lies over
nothing that is drawn, and breaks into lines. Colours come from the style sheet. A screen reader
hears one sentence, and the page has the same numbers in a table or a list.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate, chain
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.model.decoding import counted

PLOT_HEIGHT: Final = 160
"""The height of the areas, in pixels."""

TIMELINE_PLACES: Final = 100
"""How many places a line of time has, so that dots in two of them can be told apart."""
_TIMELINE_Y: Final = 20
"""How far below the top the line of time is, in pixels."""
_LEVEL_HEIGHT: Final = 16
"""How far dots of different kinds are apart that are in one place, in pixels."""
_NAMED_DOTS: Final = 4
"""How many of the events that share a dot its title names: the newest."""
_SIGNS: Final = {
    "yanked": Markup('<path d="M-7 7 7-7"/>'),
    "flagged": Markup('<path d="M0-5V-16L9-12.5 0-9"/>'),
}
"""What is drawn over a dot of a kind."""
_KINDS_IN_WORDS: Final = {
    "prerelease": "hollow: pre-release",
    "yanked": "crossed out: yanked",
    "flagged": "flag: promoted",
    "deleted": "cross: goes",
}
"""What people are told of how a kind looks."""

_TOPS: Final = (2, 4, 6, 8, 10)
"""The top of an axis for small values. Half of each is a whole number."""
_LARGE_TOPS: Final = (20, 30, 40, 50, 60, 80, 100)
"""The top of an axis for larger values, times a power of ten."""


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
        # the inner picture is stretched to the width of the place, and the lines around it are not
        figure = Markup(
            '<div class="figure areas" role="img" aria-label="{summary}">{axis}'
            '<svg height="{height}">{lines}<svg width="100%" height="{height}" '
            'viewBox="0 0 {steps} {top}" preserveAspectRatio="none">{areas}</svg>'
            "{columns}</svg>{below}</div>"
        ).format(
            summary=self.summary,
            axis=_axis(top),
            height=PLOT_HEIGHT,
            lines=_lines(),
            steps=len(self.steps),
            top=top,
            areas=self._areas(top),
            columns=self._columns(),
            below=_below(self.first, self.last),
        )
        return figure + self._legend()

    def _areas(self, top: int) -> Markup:
        """Return the area of each series, which lies on those before it."""
        heights = [list(accumulate(step.values, initial=0)) for step in self.steps]
        areas = Markup()
        for number in range(len(self.series)):
            # in SVG, down is the positive direction
            lower = [top - height[number] for height in heights]
            upper = [top - height[number + 1] for height in heights]
            if lower != upper:  # else it has no value in any step
                path = _outline(upper, lower)
                areas += Markup('<path class="{}" d="{}"/>').format(self._class_of(number), path)
        return areas

    def _columns(self) -> Markup:
        """Return the invisible column of each step that has a value, which says its numbers."""
        # a title can be seen only where something is drawn, also if that is invisible
        width = 100 / max(len(self.steps), 1)
        columns = Markup()
        for number, step in enumerate(self.steps):
            if any(step.values):
                columns += Markup(
                    '<rect x="{}%" width="{}%" height="{}"><title>{}</title></rect>'
                ).format(f"{number * width:.4g}", f"{width:.4g}", PLOT_HEIGHT, self._words(step))
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
        if len(self.series) < 2:  # noqa: PLR2004 - the sentence of the figure names it
            return Markup()
        rows = Markup()
        for number, series in enumerate(self.series):
            rows += Markup('<li class="{}">{}</li>').format(self._class_of(number), series.name)
        return Markup('<ul class="legend">{}</ul>').format(rows)

    def _class_of(self, number: int) -> str:
        """Return the class of the style sheet that gives a series its colour."""
        if self.series[number].is_rest:
            return "area-rest"
        return f"area-{number}"


def draw_small_area(values: Sequence[int], summary: str) -> Markup:
    """Return one area of steps, without numbers, for a place beside a text that has them."""
    top = max(*values, 1)  # a picture without a height would not be drawn
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


def draw_timeline(
    dots: Sequence[Dot], summary: str, what: str = "release", places: int = TIMELINE_PLACES
) -> Markup:
    """
    Return a line of time with at least one dot.

    `what` names an event, and the line has so many `places` at most. Events of the same kinds in
    one place share a larger dot, which says how many they are. Those of other kinds have theirs
    below it.
    """
    days = [dot.day for dot in dots]
    first = min(days)
    last = max(days)
    groups = _groups(dots, first, last, places)
    levels = dict[int, int]()
    drawn = Markup()
    for (place, _), group in groups.items():
        # further dots of one place, which are of other kinds, are below the first
        level = levels.get(place, 0)
        levels[place] = level + 1
        y = _TIMELINE_Y + level * _LEVEL_HEIGHT
        drawn += _draw_dot(group, _across(group, first, last), y, what)
    kinds = set(chain.from_iterable(dot.kinds for dot in dots))
    words = [text for kind, text in _KINDS_IN_WORDS.items() if kind in kinds]
    if len(groups) < len(dots):
        words.insert(0, "larger: several")
    key = ", ".join(words)
    key = key[:1].upper() + key[1:]
    return Markup(
        '<div class="figure timeline" role="img" aria-label="{summary}"><svg height="{height}">'
        '<line x1="0" x2="100%" y1="{y}" y2="{y}"/>{dots}</svg>{below}</div>'
    ).format(
        summary=summary,
        height=_TIMELINE_Y + max(levels.values()) * _LEVEL_HEIGHT,
        y=_TIMELINE_Y,
        dots=drawn,
        below=_below(first.isoformat(), last.isoformat(), key),
    )


def _groups(
    dots: Sequence[Dot], first: date, last: date, places: int
) -> dict[tuple[int, tuple[str, ...]], list[Dot]]:
    """
    Return the dots, newest first, by their place on the line and their kinds.

    In each place, what has a flag is the first, as the flag is above it.
    """
    days = (last - first).days + 1
    newest_first = sorted(dots, key=lambda dot: dot.day, reverse=True)
    # sorting keeps the order of equal ones, so that each group is newest first
    ordered = sorted(newest_first, key=lambda dot: ("flagged" not in dot.kinds, dot.kinds))
    groups = dict[tuple[int, tuple[str, ...]], list[Dot]]()
    for dot in ordered:
        place = (dot.day - first).days * places // max(days, places)
        groups.setdefault((place, dot.kinds), []).append(dot)
    return groups


def _across(group: Sequence[Dot], first: date, last: date) -> float:
    """Return where the middle of the days of a group is, in percent of the line."""
    middle = (group[0].day - first + (group[-1].day - first)) / 2
    # of a single day, the line has no length to divide by
    return 100 * (middle / max(last - first, timedelta(1)))


def _draw_dot(group: Sequence[Dot], across: float, y: int, what: str) -> Markup:
    newest = group[0]
    # one pixel larger from two events on, and from four on
    radius = 4 + min(len(group).bit_length(), 3)
    label = newest.label
    if len(group) > 1:
        lines = [dot.label for dot in group[:_NAMED_DOTS]]
        if len(group) > _NAMED_DOTS:
            lines.append(f"and {len(group) - _NAMED_DOTS:,} more")
        days = time_in_words(group[-1].day, newest.day)
        label = "\n".join([f"{counted(len(group), what)}, {days}:", *lines])
    signs = Markup().join(sign for kind, sign in _SIGNS.items() if kind in newest.kinds)
    shape = Markup('<circle r="{}"/>').format(radius) + signs
    if "deleted" in newest.kinds:
        shape = Markup('<path d="M-{0}-{0} {0} {0}M-{0} {0} {0}-{0}"/>').format(radius)
    return Markup('<svg class="{}" x="{}%" y="{}"><title>{}</title>{}</svg>').format(
        " ".join(newest.kinds), f"{across:.4g}", y, label, shape
    )


def draw_share(share: float) -> Markup:
    """Return a bar that is filled to a share, where 1 is all, beside a text that says it."""
    # more than all is possible: a quota may be lowered
    percent = f"{100 * min(max(share, 0), 1):.3g}"
    return Markup(
        '<svg class="figure share" height="10" aria-hidden="true"><rect width="100%" height="10"/>'
        '<rect class="filled" width="{}%" height="10"/></svg>'
    ).format(percent)


def axis_top(most: int) -> int:
    """Return the top of an axis for values up to `most`: a round number whose half is whole."""
    if most <= _TOPS[-1]:
        return next(top for top in _TOPS if top >= most)
    # the smallest power of ten with which one of the larger tops is high enough
    scale = 1
    while most > _LARGE_TOPS[-1] * scale:
        scale *= 10
    return next(top * scale for top in _LARGE_TOPS if top * scale >= most)


def _outline(upper: Sequence[int], lower: Sequence[int]) -> str:
    """Return the path around an area of steps that are one unit wide each."""
    # to the right along the upper edge, and back along the lower one; equal steps are one line
    path = f"M0 {upper[0]}"
    for number in range(1, len(upper)):
        if upper[number] != upper[number - 1]:
            path += f"H{number}V{upper[number]}"
    path += f"H{len(upper)}V{lower[-1]}"
    for number in range(len(lower) - 1, 0, -1):
        if lower[number - 1] != lower[number]:
            path += f"H{number}V{lower[number - 1]}"
    return f"{path}H0z"


def time_in_words(first: date, last: date) -> str:
    """Return the days from a first one to a last one."""
    if first == last:
        return first.isoformat()
    return f"{first} to {last}"


def _lines() -> Markup:
    """Return the lines of the most, the middle and nothing."""
    line = Markup('<line x1="0" x2="100%" y1="{}" y2="{}"/>')
    return Markup().join(line.format(y, y) for y in (0, PLOT_HEIGHT // 2, PLOT_HEIGHT))


def _axis(top: int) -> Markup:
    """Return the numbers of these lines, for the column beside them."""
    number = Markup("<span>{}</span>")
    numbers = Markup().join(number.format(f"{value:,}") for value in (top, top // 2, 0))
    return Markup('<p class="axis">{}</p>').format(numbers)


def _below(first: str, last: str, middle: str = "") -> Markup:
    """Return the line of text below a figure: its ends, and what else there is to say."""
    text = Markup("<span>{}</span>")
    texts = Markup().join(text.format(words) for words in (first, middle, last) if words)
    return Markup('<p class="below">{}</p>').format(texts)
