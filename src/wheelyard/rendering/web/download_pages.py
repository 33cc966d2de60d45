"""The page with the downloads of a project."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.downloads import KEPT_DAYS, SHOWN_DAYS, DownloadReport, VersionDays
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.figures import AreaChart, AreaStep, Series, time_in_words
from wheelyard.rendering.web.project_frame import DOWNLOADS, ProjectFrame, version_path
from wheelyard.rendering.web.viewer import Viewer

DAY_CHOICES: Final = (SHOWN_DAYS, 90, KEPT_DAYS)
"""The periods that the page can show, in days."""
WEEKLY_FROM_DAYS: Final = 90
"""The shortest period, in days, that the figure shows by weeks."""
WEEK_DAYS: Final = 7


class ListedVersion(Struct, frozen=True):
    """A row of the table: the downloads of a version."""

    version: str
    path: str
    """The segment of the URL path of the version's page, or empty if the version was deleted."""
    downloads: int
    last: str
    """The day of the last download."""


def downloads_figure(report: DownloadReport) -> Markup:
    """
    Return the figure of a report: an area for each frequent version, over days or weeks.

    All other versions share one area. A report of at least `WEEKLY_FROM_DAYS` days is shown by
    weeks.
    """
    newest_first = sorted(report.frequent, key=_number_of_version, reverse=True)

    # the first series is the lowest area, which alone has a straight base: the newest version
    series = [Series(version.version) for version in newest_first]
    daily_downloads: list[Sequence[int]] = [version.downloads for version in newest_first]
    other_downloads = _other_downloads(report, daily_downloads)
    if any(other_downloads):
        series.append(Series("other versions", is_rest=True))
        daily_downloads.append(other_downloads)
    step_days = 1
    if len(report.days) >= WEEKLY_FROM_DAYS:
        step_days = WEEK_DAYS
    chart = AreaChart(
        series=tuple(series),
        steps=_area_steps(report, daily_downloads, step_days),
        first=report.days[0].day.isoformat(),
        last=report.days[-1].day.isoformat(),
        summary=_summary(report, step_days),
    )
    return chart.draw()


def _number_of_version(days: VersionDays) -> Version:
    """Return the sort key of a version's downloads."""
    return listed_version(days.version)


def _other_downloads(report: DownloadReport, frequent: Sequence[Sequence[int]]) -> list[int]:
    """
    Return how often other versions than the frequent ones were downloaded on each day.

    `frequent` has the downloads of each frequent version by day. The report has such numbers for
    these versions alone, and the number of all downloads of a day.
    """
    downloads: list[int] = []
    for number, day in enumerate(report.days):
        frequent_on_day = sum(by_day[number] for by_day in frequent)
        downloads.append(day.downloads - frequent_on_day)
    return downloads


def _area_steps(
    report: DownloadReport, daily_downloads: Sequence[Sequence[int]], step_days: int
) -> tuple[AreaStep, ...]:
    """
    Return the steps of the figure, of `step_days` each, with the downloads of each series.

    The last step ends with the last day of the report, so the first step may be shorter.
    """
    day_count = len(report.days)
    second_start = day_count % step_days or step_days
    starts = [0, *range(second_start, day_count, step_days)]
    ends = [*starts[1:], day_count]
    steps: list[AreaStep] = []
    for start, end in zip(starts, ends, strict=True):
        label = time_in_words(report.days[start].day, report.days[end - 1].day)
        sums = tuple(sum(by_day[start:end]) for by_day in daily_downloads)
        steps.append(AreaStep(label, sums))
    return tuple(steps)


def _summary(report: DownloadReport, step_days: int) -> str:
    """Return the sentence for readers who do not see the figure."""
    unit = "day"
    if step_days == WEEK_DAYS:
        unit = "week"
    return (
        f"Downloads by version in each {unit} from {report.since} to {report.days[-1].day}, "
        f"{report.downloads:,} in all. The table below has them by version."
    )


def downloads_page(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    report: DownloadReport,
    versions: Collection[str],
) -> bytes:
    """
    Return the bytes of the page with the downloads of a project.

    `versions` are the versions that the project has. The page names other versions of the report,
    which were deleted, without a link.
    """
    frame = ProjectFrame(
        name=name, tab=DOWNLOADS, may_manage=viewer.may_manage, counts_downloads=True
    )
    return environment.render(
        "downloads.html",
        viewer,
        frame.root,
        frame=frame,
        report=report,
        figure=downloads_figure(report),
        choices=DAY_CHOICES,
        versions=list(_listed_versions(report, versions)),
    )


def _listed_versions(report: DownloadReport, versions: Collection[str]) -> Iterator[ListedVersion]:
    """Yield the rows for a report, also for versions that are not among `versions` any more."""
    for count in report.versions:
        path = ""
        # a link to a deleted version would lead to an error
        if count.version in versions:
            path = version_path(count.version)
        yield ListedVersion(count.version, path, count.downloads, count.last.isoformat())
