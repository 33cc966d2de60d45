"""
Figures as SVG: areas over time, dots on a line of time, and bars.

A figure is as wide as its place on the page: positions across are in percent. The text of a figure
is HTML beside the SVG, so that it is as large as the text around the figure, covers nothing that is
drawn, and breaks into lines. Colours come from the style sheet. A screen reader reads one sentence,
and the page has the same numbers in a table or a list.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import accumulate, chain
from operator import attrgetter
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.model.decoding import counted

PLOT_HEIGHT: Final = 160
"""The height of the areas, in pixels."""

TIMELINE_PLACES: Final = 100
"""How many places a line of time has, so that dots in two places do not overlap."""
_TIMELINE_Y: Final = 20
"""How far below the top of the figure the line of time is, in pixels."""
_ROW_HEIGHT: Final = 16
"""How far below a dot another dot of the same place is, in pixels."""
_NAMED_DOTS: Final = 4
"""How many events the title of a shared dot names: the newest of them."""
_SIGN_BY_KIND: Final = {
    "yanked": Markup('<path d="M-7 7 7-7"/>'),
    "flagged": Markup('<path d="M0-5V-16L9-12.5 0-9"/>'),
}
"""The sign over a dot of each kind that has one."""
_KINDS_IN_WORDS: Final = {
    "prerelease": "hollow: pre-release",
    "yanked": "crossed out: yanked",
    "flagged": "flag: promoted",
    "deleted": "cross: goes",
}
"""The words of the key below a line of time, for each kind."""

_TOPS: Final = (2, 4, 6, 8, 10)
"""The tops of an axis for small values. Half of each is a whole number."""
_LARGE_TOPS: Final = (20, 30, 40, 50, 60, 80, 100)
"""The tops of an axis for larger values, before they are multiplied by a power of ten."""


class Series(Struct, frozen=True):
    """The subject of one area: a name with a value in each step."""

    name: str
    is_rest: bool = False
    """Whether the series adds up everything that has no series of its own."""


class AreaStep(Struct, frozen=True):
    """The values of one step of time: a day, or a week."""

    label: str
    """The days of the step, in words."""
    values: tuple[int, ...]
    """The value of each series, in the order of the series."""


class AreaChart(Struct, frozen=True):
    """Areas on top of each other, one for each series, over steps of time."""

    series: tuple[Series, ...]
    """The series from the lowest area to the highest."""
    steps: tuple[AreaStep, ...]
    first: str
    """The label of the beginning."""
    last: str
    """The label of the end."""
    summary: str
    """The sentence for readers who do not see the figure."""

    def draw(self) -> Markup:
        """Return the figure, and a legend if there are several series."""
        highest_sum = max((sum(step.values) for step in self.steps), default=0)
        top = axis_top(highest_sum)
        # the inner picture is stretched to the width of its place, the lines behind it are not
        figure = Markup(
            '<div class="figure areas" role="img" aria-label="{summary}">{axis}'
            '<svg height="{height}">{lines}<svg width="100%" height="{height}" '
            'viewBox="0 0 {steps} {top}" preserveAspectRatio="none">{areas}</svg>'
            "{columns}</svg>{below}</div>"
        ).format(
            summary=self.summary,
            axis=_axis_numbers(top),
            height=PLOT_HEIGHT,
            lines=_grid_lines(),
            steps=len(self.steps),
            top=top,
            areas=self._areas(top),
            columns=self._columns(),
            below=_line_below(self.first, self.last),
        )
        return figure + self._legend()

    def _areas(self, top: int) -> Markup:
        """Return the area of each series, which lies on the areas of the series before it."""
        # for each step, the sums of the values below each series, and the sum of all values
        heights_by_step = [list(accumulate(step.values, initial=0)) for step in self.steps]
        areas = Markup()
        for number in range(len(self.series)):
            # in SVG, down is the positive direction
            lower = [top - heights[number] for heights in heights_by_step]
            upper = [top - heights[number + 1] for heights in heights_by_step]
            has_values = lower != upper
            if has_values:
                path = _outline(upper, lower)
                areas += Markup('<path class="{}" d="{}"/>').format(self._class_of(number), path)
        return areas

    def _columns(self) -> Markup:
        """Return an invisible column for each step with values, whose title says the values."""
        # browsers show a title only over something that is drawn, also if that is invisible
        width = 100 / max(len(self.steps), 1)
        columns = Markup()
        for number, step in enumerate(self.steps):
            if any(step.values):
                left = number * width
                columns += Markup(
                    '<rect x="{}%" width="{}%" height="{}"><title>{}</title></rect>'
                ).format(f"{left:.4g}", f"{width:.4g}", PLOT_HEIGHT, self._step_title(step))
        return columns

    def _step_title(self, step: AreaStep) -> str:
        """Return the sum of a step in words, and the value of each series if there are several."""
        total = f"{step.label}: {sum(step.values):,}"
        if len(self.series) < 2:  # noqa: PLR2004 - a single series is the sum
            return total
        lines = [total]
        for series, value in zip(self.series, step.values, strict=True):
            if value:
                lines.append(f"{series.name}: {value:,}")
        return "\n".join(lines)

    def _legend(self) -> Markup:
        """Return the names of several series with their colours, or nothing for one series."""
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
    """Return one area without numbers, for a place beside a text that has the numbers."""
    # a picture without a height would not be drawn
    top = max(*values, 1)
    upper = [top - value for value in values]
    lower = [top] * len(values)
    path = _outline(upper, lower)
    return Markup(
        '<svg class="figure small" role="img" aria-label="{}" viewBox="0 0 {} {}" '
        'preserveAspectRatio="none"><path class="area-0" d="{}"/></svg>'
    ).format(summary, len(values), top, path)


class Dot(Struct, frozen=True):
    """One event on a line of time."""

    day: date
    label: str
    """The event in words."""
    kinds: tuple[str, ...] = ()
    """
    The kinds of the event, which are classes of the style sheet.

    The dot of a `yanked` event is crossed out, that of a `flagged` event has a flag, and that of a
    `deleted` event is a cross.
    """


def draw_timeline(
    dots: Sequence[Dot], summary: str, noun: str = "release", places: int = TIMELINE_PLACES
) -> Markup:
    """
    Return a line of time with at least one dot.

    `noun` is the word for an event. The line has at most so many `places`. Events of the same kinds
    in one place share a larger dot, whose title says how many they are. Events of other kinds have
    another dot below.
    """
    days = [dot.day for dot in dots]
    first = min(days)
    last = max(days)
    dots_by_place = _dots_by_place(dots, first, last, places)
    rows_by_place = dict[int, int]()
    drawn_dots = Markup()
    for (place, _), shared_dots in dots_by_place.items():
        row = rows_by_place.get(place, 0)
        rows_by_place[place] = row + 1
        y = _TIMELINE_Y + row * _ROW_HEIGHT
        drawn_dots += _draw_dot(shared_dots, _percent_across(shared_dots, first, last), y, noun)
    has_shared_dots = len(dots_by_place) < len(dots)
    key = _timeline_key(dots, has_shared_dots=has_shared_dots)
    return Markup(
        '<div class="figure timeline" role="img" aria-label="{summary}"><svg height="{height}">'
        '<line x1="0" x2="100%" y1="{y}" y2="{y}"/>{dots}</svg>{below}</div>'
    ).format(
        summary=summary,
        height=_TIMELINE_Y + max(rows_by_place.values()) * _ROW_HEIGHT,
        y=_TIMELINE_Y,
        dots=drawn_dots,
        below=_line_below(first.isoformat(), last.isoformat(), key),
    )


def _timeline_key(dots: Iterable[Dot], *, has_shared_dots: bool) -> str:
    """Return the text that explains how the dots of a line of time look, or an empty text."""
    kinds = set(chain.from_iterable(dot.kinds for dot in dots))
    texts = [text for kind, text in _KINDS_IN_WORDS.items() if kind in kinds]
    if has_shared_dots:
        texts.insert(0, "larger: several")
    key = ", ".join(texts)
    first_letter = key[:1].upper()
    return f"{first_letter}{key[1:]}"


def _dots_by_place(
    dots: Sequence[Dot], first: date, last: date, places: int
) -> dict[tuple[int, tuple[str, ...]], list[Dot]]:
    """
    Return the dots by their place on the line and their kinds, each group newest first.

    In each place, the group with a flag is the first, as a flag needs room above the line.
    """
    days = (last - first).days + 1
    # sorting keeps the order of equal dots, so that each group is newest first
    newest_first = sorted(dots, key=attrgetter("day"), reverse=True)
    flagged_first = sorted(newest_first, key=_flagged_first)
    dots_by_place = dict[tuple[int, tuple[str, ...]], list[Dot]]()
    for dot in flagged_first:
        place = (dot.day - first).days * places // max(days, places)
        dots_by_place.setdefault((place, dot.kinds), []).append(dot)
    return dots_by_place


def _flagged_first(dot: Dot) -> tuple[bool, tuple[str, ...]]:
    """Return the sort key that has dots with a flag before the others, and then goes by kinds."""
    return "flagged" not in dot.kinds, dot.kinds


def _percent_across(shared_dots: Sequence[Dot], first: date, last: date) -> float:
    """Return where the middle of the days of shared dots is, in percent of the line."""
    newest = shared_dots[0].day - first
    oldest = shared_dots[-1].day - first
    middle = (newest + oldest) / 2
    # the line of a single day has no length to divide by
    length = max(last - first, timedelta(1))
    return 100 * (middle / length)


def _draw_dot(shared_dots: Sequence[Dot], across: float, y: int, noun: str) -> Markup:
    """
    Return one dot for events of the same kinds, the newest of which comes first.

    `across` is the position of the dot in percent of the line, and `noun` the word for an event.
    """
    newest = shared_dots[0]
    # 5 pixels for one event, 6 for two or three, 7 for more
    radius = 4 + min(len(shared_dots).bit_length(), 3)
    signs = Markup().join(sign for kind, sign in _SIGN_BY_KIND.items() if kind in newest.kinds)
    shape = Markup('<circle r="{}"/>').format(radius) + signs
    if "deleted" in newest.kinds:
        shape = Markup('<path d="M-{0}-{0} {0} {0}M-{0} {0} {0}-{0}"/>').format(radius)
    return Markup('<svg class="{}" x="{}%" y="{}"><title>{}</title>{}</svg>').format(
        " ".join(newest.kinds), f"{across:.4g}", y, _dot_title(shared_dots, noun), shape
    )


def _dot_title(shared_dots: Sequence[Dot], noun: str) -> str:
    """Return the label of a single event, or the number of events and the newest labels."""
    newest = shared_dots[0]
    count = len(shared_dots)
    if count == 1:
        return newest.label
    days = time_in_words(shared_dots[-1].day, newest.day)
    lines = [f"{counted(count, noun)}, {days}:"]
    lines += [dot.label for dot in shared_dots[:_NAMED_DOTS]]
    if count > _NAMED_DOTS:
        lines.append(f"and {count - _NAMED_DOTS:,} more")
    return "\n".join(lines)


def draw_share(share: float) -> Markup:
    """Return a bar that is filled to a share, from 0 to 1, for a place beside a text with it."""
    # more than 1 is possible, as a quota may be lowered
    drawn_share = min(max(share, 0), 1)
    percent = f"{100 * drawn_share:.3g}"
    return Markup(
        '<svg class="figure share" height="10" aria-hidden="true"><rect width="100%" height="10"/>'
        '<rect class="filled" width="{}%" height="10"/></svg>'
    ).format(percent)


def axis_top(highest: int) -> int:
    """Return the top of an axis for values up to `highest`: a round number whose half is whole."""
    for top in _TOPS:
        if top >= highest:
            return top
    scale = 1
    while True:
        for top in _LARGE_TOPS:
            if top * scale >= highest:
                return top * scale
        scale *= 10


def _outline(upper: Sequence[int], lower: Sequence[int]) -> str:
    """
    Return the path around an area of steps that are one unit wide each.

    `upper` and `lower` are the positions of both edges in each step.
    """
    # to the right along the upper edge, and back along the lower edge; equal steps are one line
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
    """Return the days from a first to a last day in words, or a single day."""
    if first == last:
        return first.isoformat()
    return f"{first} to {last}"


def _grid_lines() -> Markup:
    """Return the lines at the top, in the middle and at the bottom of the areas."""
    line = Markup('<line x1="0" x2="100%" y1="{}" y2="{}"/>')
    return Markup().join(line.format(y, y) for y in (0, PLOT_HEIGHT // 2, PLOT_HEIGHT))


def _axis_numbers(top: int) -> Markup:
    """Return the numbers of the lines of `_grid_lines`, for the column beside the areas."""
    number = Markup("<span>{}</span>")
    numbers = Markup().join(number.format(f"{value:,}") for value in (top, top // 2, 0))
    return Markup('<p class="axis">{}</p>').format(numbers)


def _line_below(first: str, last: str, middle: str = "") -> Markup:
    """Return the line of text below a figure: its two ends, and a text between them."""
    span = Markup("<span>{}</span>")
    spans = Markup().join(span.format(text) for text in (first, middle, last) if text)
    return Markup('<p class="below">{}</p>').format(spans)
