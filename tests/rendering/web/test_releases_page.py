"""The page with all releases of a project."""

import gzip
import re
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.rendering.examples import NOON, file, project
from tests.rendering.web.pages import ENVIRONMENT, release_head
from tests.rendering.web.test_project_page import in_text
from wheelyard.errors import NoSuchPage
from wheelyard.model.downloads import DownloadKey, DownloadReport, ProjectCounts, report_of
from wheelyard.model.project import File
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.figures import TIMELINE_PLACES, Dot, draw_timeline
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page
from wheelyard.rendering.web.viewer import ANYONE, ReleasesElsewhere, Viewer

TODAY = NOON.date()
DAYS = st.integers(0, 4000).map(lambda days: TODAY - timedelta(days))


IN_PROD = ReleasesElsewhere(index="prod", versions=frozenset({"1"}), takes_promotions=True)


def page_of(
    *files: File,
    downloads: DownloadReport | None = None,
    text: str = "",
    elsewhere: tuple[ReleasesElsewhere, ...] = (),
    number: int = 1,
    viewer: Viewer = ANYONE,
) -> str:
    """Return a page with the releases of a project that has these files."""
    shown = project(*files)
    content = ReleasesContent(
        head=release_head(shown),
        releases=releases_of(shown),
        downloads=downloads,
        elsewhere=elsewhere,
        text=text,
        number=number,
    )
    return releases_page(ENVIRONMENT, viewer, content).decode()


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
    assert "1.3 KiB none in 30 days 1.0" in text
    assert "none in 30 days" in text
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

    count = {
        0: "No release that matches",
        1: "1 to 1 of 1 release that matches",
        5: "1 to 5 of 5 releases that match",
    }[len(versions)]
    assert versions_in(page) == versions
    assert f"{count}, of 34. Show all" in in_text(page)
    assert "Filter by words" not in page_of(file("1.0"), file("1.1"))


def test_a_filter_looks_at_all_pages() -> None:
    """Many releases have several pages, and a filter finds those of all, which are paged, too."""
    files = [file(f"1.{number}", yanked="bad" if number < 120 else None) for number in range(250)]

    first, last = page_of(*files), page_of(*files, number=3)
    yanked = page_of(*files, text="yanked", number=2)

    assert versions_in(first) == [f"1.{number}" for number in range(249, 149, -1)]
    assert versions_in(last) == [f"1.{number}" for number in range(49, -1, -1)]
    assert versions_in(yanked) == [f"1.{number}" for number in range(19, -1, -1)]
    assert "201 to 250 of 250 releases" in in_text(last)
    assert "101 to 120 of 120 releases that match, of 250" in in_text(yanked)
    assert 'href="?page=2" rel="next"' in first
    assert 'href="?q=yanked&amp;page=1" rel="prev"' in yanked
    assert "data-filter" not in first + last + yanked
    assert "data-filter" in page_of(*files[:40])
    with pytest.raises(NoSuchPage, match=r"Its last one is 2\."):
        page_of(*files, text="yanked", number=3)


def test_rows_of_later_pages_lead_to_forms() -> None:
    """A release on a later page can be yanked, promoted and compared as on the first one."""
    files = [file(f"1.{number}") for number in range(101)]

    page = page_of(*files, number=2, viewer=Viewer(may_manage=True, may_promote=True))

    assert re.findall('href="([^"]*)" aria-label="[A-Z]', page) == [
        "../manage/?version=1.0&amp;action=yank",
        "../1.0/promote/",
    ]
    assert 'href="../compare/"' in page


def test_a_page_of_many_releases_is_light() -> None:
    """A page of 1,100 releases on as many days is small, with a figure that has all of them."""
    files = [
        replace(file(f"2026.{number}"), uploaded_at=NOON - timedelta(days=number))
        for number in range(1100)
    ]

    page = page_of(*files)

    assert len(gzip.compress(page.encode(), 6)) < 12_000
    assert sum(counts_of(page).values()) == 1100


def versions_in(page: str) -> list[str]:
    """Return the versions in the table of a page."""
    return re.findall('<a href="../(1[.0-9]*)/"', page)


def counts_of(figure: str) -> Counter[str]:
    """Return how many releases a line of time has of each class, by what its titles say."""
    counts = Counter[str]()
    for kinds, title in re.findall('<svg class="([^"]*)"[^>]*><title>([^<]*)</title>', figure):
        several = re.match("([0-9,]+) releases, ", title)
        counts[kinds] += int(several[1].replace(",", "")) if several else 1
    return counts


RELEASES = st.lists(
    st.builds(
        lambda day, kinds: Dot(day, day.isoformat(), kinds),
        DAYS,
        st.sampled_from([(), ("prerelease",), ("yanked",), ("prerelease", "yanked", "flagged")]),
    ),
    min_size=1,
    max_size=300,
)


@given(RELEASES)
def test_dots_have_all_releases(dots: list[Dot]) -> None:
    """The dots of each kind say how many releases they are, which adds up to those there are."""
    assert counts_of(draw_timeline(dots, "")) == Counter(" ".join(dot.kinds) for dot in dots)


@given(st.lists(DAYS, min_size=1, max_size=300))
def test_dots_are_in_the_order_of_their_days(days: list[date]) -> None:
    """A later day is further to the right, and dots of a kind are apart and within the figure."""
    figure = draw_timeline([Dot(day, day.isoformat()) for day in days], "Releases")

    places = [float(place) for place in re.findall(' x="([0-9.]+)%" y="20"', figure)]
    assert places == sorted(set(places), reverse=True)
    assert 1 <= len(places) <= min(len(set(days)), TIMELINE_PLACES)
    assert all(0 <= place <= 100 for place in places)
    assert [min(days).isoformat() in figure, max(days).isoformat() in figure] == [True, True]


def test_releases_that_are_close_share_a_dot() -> None:
    """A dot of several releases is larger, and names the newest of them, and how many more."""
    days = [NOON - timedelta(days=at, hours=at % 2) for at in (0, 0, 0, 0, 0, 0, 900)]
    files = [replace(file(f"1.{at}"), uploaded_at=day) for at, day in enumerate(days)]

    page = page_of(*files, replace(file("1.9rc1"), uploaded_at=days[0]))

    names = "".join(f"1.{at}, {TODAY}\n" for at in (5, 4, 3, 2))
    title = f"6 releases, {TODAY}:\n{names}and 2 more"
    assert f'y="20"><title>{title}</title><circle r="7"/>' in page
    assert f'y="36"><title>1.9rc1, {TODAY}, pre-release</title><circle r="5"/>' in page
    assert "Larger: several, hollow: pre-release" in in_text(page)


@pytest.mark.parametrize("order", [1, -1], ids=["flag first", "flag last"])
def test_a_flag_is_above_the_other_dots_of_its_day(order: int) -> None:
    """Of the dots of one day, that of a release which another index has is the highest."""
    dots = [
        Dot(TODAY, "1.0", ("flagged",)),
        Dot(TODAY, "1.1"),
        Dot(TODAY, "2.0rc1", ("prerelease",)),
    ]

    figure = draw_timeline(dots[::order], "")

    heights = {int(y): name for y, name in re.findall('y="([0-9]+)"><title>([^<]*)<', figure)}
    assert [heights[y] for y in sorted(heights)] == ["1.0", "1.1", "2.0rc1"]
