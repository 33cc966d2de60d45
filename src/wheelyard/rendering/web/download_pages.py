"""The page with the downloads of a project."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.downloads import KEPT_DAYS, SHOWN_DAYS, DownloadReport
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.figures import AreaChart, AreaStep, Series, time_in_words
from wheelyard.rendering.web.project_frame import DOWNLOADS, ProjectFrame, version_path
from wheelyard.rendering.web.viewer import Viewer

DAY_CHOICES: Final = (SHOWN_DAYS, 90, KEPT_DAYS)
"""The times that the page of the downloads can show, in days."""
WEEKLY_FROM_DAYS: Final = 90
"""From so many days on, the figure has weeks instead of days."""
WEEK_DAYS: Final = 7


class ListedVersion(Struct, frozen=True):
    """The downloads of a version, as the page names them."""

    version: str
    path: str
    """The segment of the URL path of its page, or an empty text if it has none any more."""
    downloads: int
    last: str


def figure_of(report: DownloadReport) -> Markup:
    """
    Return the figure of the versions of a report over its days, or its weeks if it is long.

    Versions that are not among its frequent ones are one area. The first week may be shorter.
    """
    frequent = sorted(report.frequent, key=lambda days: listed_version(days.version), reverse=True)
    totals = [count.downloads for count in report.days]

    # the first one is the lowest area, which alone has a straight base: the newest version
    series = [Series(days.version) for days in frequent]
    downloads: list[Sequence[int]] = [days.downloads for days in frequent]

    # the report has each day of the most frequent versions alone: the others are what is left
    remainders = [total - sum(on_day) for total, *on_day in zip(totals, *downloads, strict=True)]
    if any(remainders):
        series.append(Series("other versions", is_rest=True))
        downloads.append(remainders)
    length = 1
    if len(report.days) >= WEEKLY_FROM_DAYS:
        length = WEEK_DAYS

    # the last week ends today, and the first one may be shorter
    starts = [0, *range(len(totals) % length or length, len(totals), length)]
    ends = [*starts[1:], len(totals)]
    steps: list[AreaStep] = []
    for start, end in zip(starts, ends, strict=True):
        label = time_in_words(report.days[start].day, report.days[end - 1].day)
        sums = tuple(sum(on_days[start:end]) for on_days in downloads)
        steps.append(AreaStep(label, sums))
    chart = AreaChart(
        series=tuple(series),
        steps=tuple(steps),
        first=report.days[0].day.isoformat(),
        last=report.days[-1].day.isoformat(),
        summary=_summary(report, length),
    )
    return chart.draw()


def _summary(report: DownloadReport, length: int) -> str:
    unit = "day"
    if length == WEEK_DAYS:
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
    Return the bytes of the page with the downloads of a project, which has these versions.

    Other versions of the report were deleted since, and are named without a link.
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
        figure=figure_of(report),
        choices=DAY_CHOICES,
        versions=list(_listed(report, versions)),
    )


def _listed(report: DownloadReport, versions: Collection[str]) -> Iterator[ListedVersion]:
    """Yield the versions of a report, also those that were deleted since."""
    for count in report.versions:
        path = ""
        if count.version in versions:  # else a link would lead to an error
            path = version_path(count.version)
        yield ListedVersion(count.version, path, count.downloads, count.last.isoformat())
