"""The page with the downloads of a project, and the chart that the page of the project has, too."""

from collections.abc import Collection, Iterator
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.downloads import KEPT_DAYS, SHOWN_DAYS, DownloadReport
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.project_frame import DOWNLOADS, ProjectFrame, version_path

DAY_CHOICES: Final = (SHOWN_DAYS, 90, KEPT_DAYS)
"""The times that the page of the downloads can show, in days."""
CHART_HEIGHT: Final = 20


class ListedVersion(Struct, frozen=True):
    """The downloads of a version, as the page names them."""

    version: str
    path: str
    """The segment of the URL path of its page, or an empty text if it has none any more."""
    downloads: int
    last: str


class DownloadChart(Struct, frozen=True):
    """The downloads of each day as bars, from the first to the last day."""

    path: str
    """The outline of all bars, in the form of SVG, one unit wide each."""
    width: int
    height: int = CHART_HEIGHT


def chart_of(report: DownloadReport) -> DownloadChart:
    """Return the chart of the days of a report."""
    numbers = [count.downloads for count in report.days]
    most = max(*numbers, 1)
    bars = (
        f"M{at}.1 {CHART_HEIGHT}v-{max(number * CHART_HEIGHT / most, 1):.3g}h.8V{CHART_HEIGHT}z"
        for at, number in enumerate(numbers)
        if number
    )
    return DownloadChart("".join(bars), len(numbers))


def downloads_page(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    report: DownloadReport,
    versions: Collection[str],
) -> bytes:
    """Return the bytes of the page with the downloads of a project, which has these versions."""
    frame = ProjectFrame(
        name=name, tab=DOWNLOADS, may_manage=viewer.may_manage, counts_downloads=True
    )
    return environment.render(
        "downloads.html",
        viewer,
        frame.root,
        frame=frame,
        report=report,
        chart=chart_of(report),
        choices=DAY_CHOICES,
        versions=list(_listed(report, versions)),
    )


def _listed(report: DownloadReport, versions: Collection[str]) -> Iterator[ListedVersion]:
    for count in report.versions:
        path = version_path(count.version) if count.version in versions else ""
        yield ListedVersion(count.version, path, count.downloads, count.last.isoformat())
