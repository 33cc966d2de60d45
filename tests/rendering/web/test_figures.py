"""Figures say what the table beside them says."""

import re
from collections import Counter
from datetime import date, timedelta
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.model.downloads import DownloadKey, DownloadReport, ProjectCounts, report_of
from wheelyard.rendering.web.download_pages import downloads_figure
from wheelyard.rendering.web.figures import axis_top, draw_small_area

TODAY = date(2026, 11, 27)
VERSIONS = ["", *(f"1.{number}" for number in range(8))]
KEYS = st.builds(
    DownloadKey,
    st.integers(0, 420).map(lambda days: TODAY - timedelta(days)),
    st.sampled_from(VERSIONS),
)
COUNTS = st.dictionaries(KEYS, st.integers(1, 10**6), max_size=40).map(ProjectCounts)


def numbers_in(report: DownloadReport) -> tuple[Counter[str], list[int]]:
    """Return the sums by version, and the sum of each column, that the figure says on hover."""
    by_version, totals = Counter[str](), list[int]()
    for title in re.findall("<title>([^<]*)</title>", downloads_figure(report)):
        total, *lines = title.split("\n")
        totals.append(int(total.rpartition(": ")[2].replace(",", "")))
        for line in lines:
            version, _, number = line.rpartition(": ")
            by_version[version] += int(number.replace(",", ""))
    return by_version, totals


@given(COUNTS, st.sampled_from([30, 90, 400]))
def test_a_figure_has_the_numbers_of_the_table(counts: ProjectCounts, days: int) -> None:
    """The figure of downloads and the table below it add up to the same, in all and by version."""
    report = report_of(counts, TODAY, days)

    by_version, totals = numbers_in(report)

    assert sum(totals) == report.downloads
    table = {count.version: count.downloads for count in report.versions}
    rest = by_version.pop("other versions", 0)
    if by_version or rest:  # one version alone is the whole
        assert all(table.pop(version) == number for version, number in by_version.items())
        assert sum(table.values()) == rest


@given(COUNTS, st.sampled_from([30, 90, 400]))
def test_areas_are_as_high_as_their_numbers(counts: ProjectCounts, days: int) -> None:
    """The highest point of the areas is that of the largest column, and below the top line."""
    report = report_of(counts, TODAY, days)
    _, totals = numbers_in(report)
    figure = downloads_figure(report)

    box = re.search('viewBox="0 0 ([0-9]+) ([0-9]+)"', figure)
    assert box is not None
    top = int(box[2])
    paths = re.findall('d="([^"]*)"', figure)
    heights = [int(y) for path in paths for y in re.findall("(?:M0 |V)([0-9]+)", path)]

    most = max(totals, default=0)
    assert most <= top
    assert min(heights, default=top) == top - most


@pytest.mark.parametrize("days", [30, 90, 400])
@pytest.mark.parametrize("counts", [{}, {DownloadKey(TODAY, "1.0"): 1}])
def test_no_data_and_one_point_are_drawn(counts: dict[DownloadKey, int], days: int) -> None:
    """A figure without a download, and one with a single one, are well-formed."""
    report = report_of(ProjectCounts(counts), TODAY, days)

    assert len(re.findall("<path", downloads_figure(report))) == len(counts)
    small = draw_small_area([count.downloads for count in report.days], "Downloads")
    for figure in (downloads_figure(report), small):
        assert fromstring(figure).get("role") == "img"  # noqa: S314 - it is our own


@given(st.integers(0, 10**12))
def test_the_top_of_an_axis_is_round(most: int) -> None:
    """The top of an axis is not below the values, less than twice as high, and has a middle."""
    top = axis_top(most)

    assert most <= top <= max(2 * most, 2)
    assert top % 2 == 0


def test_a_year_is_drawn_by_weeks() -> None:
    """From 90 days on a column is a week, of which the last one ends today."""
    counts = ProjectCounts({DownloadKey(TODAY - timedelta(days), "1.0"): 1 for days in range(400)})

    figure = downloads_figure(report_of(counts, TODAY, 400))

    assert "Downloads by version in each week from 2025-10-24 to 2026-11-27, 400 in all." in figure
    titles = re.findall("<title>([^<]*)</title>", figure)
    assert len(titles) == 58
    assert titles[-1] == "2026-11-21 to 2026-11-27: 7"
    assert titles[0] == "2025-10-24: 1"


def test_the_rest_has_a_colour_of_its_own() -> None:
    """The other versions together have a colour of their own, as an area and in the legend."""
    counts = {DownloadKey(TODAY, version): number for number, version in enumerate(VERSIONS, 1)}

    figure = downloads_figure(report_of(ProjectCounts(counts), TODAY, 30))

    assert figure.count('class="area-rest"') == 2
    assert '<li class="area-rest">other versions</li>' in figure


def test_the_scale_is_beside_the_areas() -> None:
    """The most, the middle and nothing are in a column of their own, and not over the areas."""
    counts = ProjectCounts({DownloadKey(TODAY, "1.0"): 1001})

    figure = downloads_figure(report_of(counts, TODAY, 30))

    axis = "<span>2,000</span><span>1,000</span><span>0</span>"
    assert f'<p class="axis">{axis}</p><svg' in figure
    assert "<text" not in figure


def test_the_names_of_versions_are_escaped() -> None:
    """A version in a figure is text, whatever it has in it."""
    counts = ProjectCounts({DownloadKey(TODAY, version): 1 for version in ("1.0", "1.0+a.b")})

    assert "1.0+a.b: 1" in downloads_figure(report_of(counts, TODAY, 30))
