"""The page with all releases of a project."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.rendering.examples import NOON, file, project
from tests.rendering.web.pages import ENVIRONMENT, release_head
from tests.rendering.web.test_project_page import in_text
from wheelyard.model.downloads import DownloadKey, DownloadReport, ProjectCounts, report_of
from wheelyard.model.project import File
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.environment import ANYONE
from wheelyard.rendering.web.figures import Dot, draw_timeline
from wheelyard.rendering.web.index_marks import ReleasesElsewhere
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page

TODAY = NOON.date()
DAYS = st.integers(0, 4000).map(lambda days: TODAY - timedelta(days))


IN_PROD = ReleasesElsewhere(index="prod", versions=frozenset({"1"}), takes_promotions=True)


def page_of(
    *files: File,
    downloads: DownloadReport | None = None,
    text: str = "",
    elsewhere: tuple[ReleasesElsewhere, ...] = (),
) -> str:
    """Return the page with the releases of a project that has these files."""
    shown = project(*files)
    content = ReleasesContent(
        head=release_head(shown),
        releases=releases_of(shown),
        downloads=downloads,
        elsewhere=elsewhere,
        text=text,
    )
    return releases_page(ENVIRONMENT, ANYONE, content).decode()


def test_releases_are_dots_on_a_line_of_time() -> None:
    """Each release is a dot, hollow for a pre-release, crossed if yanked, with version and day."""
    earlier = NOON - timedelta(days=9)
    page = page_of(
        replace(file("1.0"), uploaded_at=earlier),
        file("2.0rc1"),
        file("2.0", yanked="it breaks"),
        elsewhere=(IN_PROD,),
    )

    titles = re.findall('<svg class="([^"]*)"[^>]*><title>([^<]*)</title>', page)
    assert sorted(titles) == [
        ("flagged", f"1.0, {earlier.date()}, in prod"),
        ("prerelease", f"2.0rc1, {TODAY}, pre-release"),
        ("yanked", f"2.0, {TODAY}, yanked"),
    ]
    assert "1.0 in prod" in in_text(page)
    assert "timeline" not in page_of(file("1.0"), file("2.0"))  # on one day


def test_a_row_says_what_helps_to_decide_on_a_yank() -> None:
    """A row has who uploaded a release, its size, and when it was downloaded last."""
    counts = ProjectCounts({DownloadKey(TODAY - timedelta(3), "1.0"): 2})
    counts[DownloadKey(TODAY - timedelta(9), "1.0.0")] = 3
    downloads = report_of(counts, TODAY, 30)

    text = in_text(page_of(file("1.0"), file("1.1"), downloads=downloads))

    assert f"1.0 {TODAY} ann, on the command line 1 file, 1.3 KiB {TODAY - timedelta(3)}" in text
    assert "1.3 KiB none 1.0" in text
    assert "Last download in 30 days" in text
    assert "Last download" not in page_of(file("1.0"))


@pytest.mark.parametrize(
    ("text", "versions"),
    [("yanked", ["1.7"]), ("1.3", ["1.39", "1.38", "1.31", "1.30", "1.3"]), ("nothing", [])],
)
def test_many_releases_are_filtered(text: str, versions: list[str]) -> None:
    """With more than thirty releases, a form finds those whose row has the words."""
    skipped = set(range(32, 38))
    files = [file(f"1.{number}") for number in range(40) if number not in {7, *skipped}]

    page = page_of(*files, file("1.7", yanked=""), text=text)

    assert re.findall('href="../(1[.0-9]*)/"', page) == versions
    assert f"{len(versions)} of 34 releases. Show all" in in_text(page)
    assert "Filter by words" not in page_of(file("1.0"), file("1.1"))


@given(st.lists(DAYS, min_size=1, max_size=30))
def test_dots_are_in_the_order_of_their_days(days: list[date]) -> None:
    """A later day is further to the right, and no dot is outside of the figure."""
    figure = draw_timeline([Dot(day, day.isoformat()) for day in sorted(days)], "Releases")

    places = [float(place) for place in re.findall(' x="([0-9.]+)%" y="20"', figure)]
    assert places == sorted(places)
    assert len(places) == len(days)
    assert all(1 <= place <= 99 for place in places)
    assert [min(days).isoformat() in figure, max(days).isoformat() in figure] == [True, True]
