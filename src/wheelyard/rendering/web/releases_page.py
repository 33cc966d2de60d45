"""
The page with all releases of a project: on a line of time, and in a table that can be filtered.

    releases/                  the newest releases, 100 on a page
    releases/?page=2           the next 100 releases
    releases/?q=yanked&page=2  the second page of the releases whose row has all these words
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final
from urllib.parse import urlencode

from markupsafe import Markup, escape
from msgspec import Struct

from wheelyard.errors import NoSuchPage
from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.downloads import SHOWN_DAYS, DownloadReport
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.figures import Dot, draw_timeline
from wheelyard.rendering.web.file_list import NOT_KNOWN, size_in_words
from wheelyard.rendering.web.page_numbers import FilteredPage, page_count
from wheelyard.rendering.web.project_frame import RELEASES
from wheelyard.rendering.web.project_overview import ListedRelease, listed_release
from wheelyard.rendering.web.release_page import ReleaseHead
from wheelyard.rendering.web.viewer import ReleasesElsewhere, Viewer

FILTERED_RELEASES: Final = 30
"""With more releases, the page has a form that filters them."""

NO_DOWNLOAD: Final = f"none in {SHOWN_DAYS} days"
"""The text in place of the day of the last download."""


class ReleaseRow(Struct, frozen=True):
    """The row of a release in the table."""

    release: ReleaseOf[ShownFile]
    listed: ListedRelease
    indexes: tuple[ReleasesElsewhere, ...]
    """The other indexes that have the release, as far as the viewer may read them."""
    last_download: str
    """The day of the last download as HTML, or `NO_DOWNLOAD`. Empty without counts."""

    @property
    def uploader(self) -> str:
        """Who has uploaded the first file of the release, in words, or empty if not known."""
        files = [file for file in self.release.files if isinstance(file, File)]
        # an upstream index does not say who has uploaded a file
        if not files:
            return ""
        first = min(files, key=lambda file: file.uploaded_at)
        return describe_principal(first.uploaded_by, first.uploaded_by_name)

    @property
    def size(self) -> str:
        """The size of all files together, in words, or empty if it is not known."""
        return size_in_words(self.release.size)

    @property
    def words(self) -> str:
        """The text in which a filter looks for its words, in lower case."""
        listed = self.listed
        day = listed.date[:10]
        marks = listed.marks.striptags()
        indexes = " ".join(elsewhere.index for elsewhere in self.indexes)
        return f"{listed.version} {day} {self.uploader} {marks} {indexes}".lower()

    def has_words(self, text: str) -> bool:
        """Return whether the row has all words of a text, in upper or lower case."""
        words_of_row = self.words
        return all(word in words_of_row for word in text.lower().split())

    def render(self, viewer: Viewer) -> str:
        """Return the row as HTML, built in Python as there may be thousands."""
        listed = self.listed
        # versions, paths and times are parsed values, in which nothing needs to be escaped
        name = f'<span class="id"><a href="../{listed.path}/">{listed.version}</a></span>'
        mark = Markup(' <span class="mark">in {}</span>')
        index_marks = "".join(mark.format(elsewhere.index) for elsewhere in self.indexes)
        files = listed.files
        if self.size:
            files += f", {self.size}"
        cells = f"<td>{name}{listed.marks}{index_marks}</td>"
        cells += f'<td>{self._render_upload()}</td><td class="whole">{files}</td>'
        if self.last_download:
            cells += f'<td data-label="Last download">{self.last_download}</td>'
        links = "".join(self._links(viewer))
        if links:
            cells += f'<td class="actions">{links}</td>'
        return f"<tr>{cells}</tr>\n"

    def _render_upload(self) -> str:
        """Return the HTML of the day of the first upload, and of the uploader if that is known."""
        html = NOT_KNOWN
        upload_time = self.listed.date
        if upload_time:
            html = f'<time datetime="{upload_time}">{upload_time[:10]}</time>'
        uploader = self.uploader
        if uploader:
            html += f' <bdi class="soft">{escape(uploader)}</bdi>'
        return html

    def _links(self, viewer: Viewer) -> Iterator[str]:
        """Yield the links to the forms that the viewer may send."""
        version = self.listed.version
        if viewer.may_manage:
            action = "yank"
            if self.release.is_yanked:
                action = "unyank"
            path = f"../manage/?version={self.listed.path}&amp;action={action}"
            yield _action_link(path, action.capitalize(), version)
        if viewer.may_promote:
            yield _action_link(f"../{self.listed.path}/promote/", "Promote", version)


class ReleasesContent(Struct, frozen=True, kw_only=True):
    """The facts from which the page is made."""

    head: ReleaseHead
    releases: Sequence[ReleaseOf[ShownFile]]
    """All releases of the project, newest first."""
    downloads: DownloadReport | None = None
    """The downloads, or None if they are not counted, or not known now."""
    elsewhere: Sequence[ReleasesElsewhere] = ()
    """The releases that other indexes have."""
    text: str = ""
    """The words of the filter, all of which a listed row has."""
    number: int = 1
    """The number of the page."""


class ReleaseList(FilteredPage[ReleaseRow], frozen=True, kw_only=True):
    """A page of the list of releases that pass a filter."""

    text: str
    """The words of the filter."""

    @property
    def has_form(self) -> bool:
        """Whether the project has so many releases that the page has a form to filter them."""
        return self.unfiltered > FILTERED_RELEASES

    @property
    def query(self) -> str:
        """The query of a page's URL, with the question mark and without the page number."""
        fields = {"q": self.text, "page": ""}
        if not self.text:
            del fields["q"]
        return f"?{urlencode(fields)}"


def releases_page(environment: PageEnvironment, viewer: Viewer, content: ReleasesContent) -> bytes:
    """
    Return the bytes of a page with the releases of a project.

    The number of the page is at least 1. Raises NoSuchPage, a NotFound, if there are fewer pages.
    """
    downloads = content.downloads
    last_downloads = None
    if downloads is not None:
        last_downloads = _last_download_days(downloads)
    rows = [
        _release_row(release, last_downloads, content.elsewhere) for release in content.releases
    ]
    matching = [row for row in rows if row.has_words(content.text)]
    size = environment.rows_per_page
    pages = page_count(len(matching), size)
    if content.number > pages:
        raise NoSuchPage(content.number, pages)
    start = (content.number - 1) * size
    listed = ReleaseList(
        total=len(matching),
        number=content.number,
        pages=pages,
        entries=matching[start : start + size],
        first=min(start + 1, len(matching)),
        unfiltered=len(rows),
        text=content.text,
    )
    table = "".join(row.render(viewer) for row in listed.entries)
    return content.head.render(
        environment,
        viewer,
        RELEASES,
        "releases.html",
        # the releases of all pages, also of the pages that are not shown
        timeline=_timeline(matching),
        rows=Markup(table),  # noqa: S704 - they are escaped
        listed=listed,
        report=downloads,
    )


def _release_row(
    release: ReleaseOf[ShownFile],
    last_downloads: Mapping[str, str] | None,
    elsewhere: Sequence[ReleasesElsewhere],
) -> ReleaseRow:
    """
    Return the row of a release.

    `last_downloads` has the day of each version's last download, or is None without counts.
    """
    version = strip_trailing_zeros(release.version)
    last_download = ""
    if last_downloads is not None:
        last_download = last_downloads.get(version, NO_DOWNLOAD)
    return ReleaseRow(
        release=release,
        listed=listed_release(release),
        indexes=tuple(index for index in elsewhere if version in index.versions),
        last_download=last_download,
    )


def _last_download_days(report: DownloadReport) -> dict[str, str]:
    """Return the day of the last download by version, as HTML. Versions lack trailing zeros."""
    days = dict[str, date]()
    for count in report.versions:
        # files of one release may say 1.0 and 1.0.0
        version = strip_trailing_zeros(count.version)
        days[version] = max(count.last, days.get(version, count.last))
    return {version: f'<time datetime="{day}">{day}</time>' for version, day in days.items()}


def _timeline(rows: Sequence[ReleaseRow]) -> Markup:
    """Return the line of time of all releases with a known day, or nothing for a single day."""
    dots = [_release_dot(row) for row in rows if row.listed.date]
    if len({dot.day for dot in dots}) < 2:  # noqa: PLR2004 - dots in one place say nothing
        return Markup()
    summary = f"{counted(len(dots), 'release')} on a line of time. The list below has them."
    return draw_timeline(dots, summary)


def _release_dot(row: ReleaseRow) -> Dot:
    """Return the dot of a release on the line of time."""
    day = row.listed.date[:10]
    kinds = list[str]()
    if row.listed.is_prerelease:
        kinds.append("prerelease")
    if row.release.is_yanked:
        kinds.append("yanked")
    indexes = [f"in {elsewhere.index}" for elsewhere in row.indexes]
    words = ", ".join([f"{row.listed.version}, {day}", *kinds, *indexes])
    label = words.replace("prerelease", "pre-release")
    # an index such as prod has the release; the label names that index already
    is_promoted = any(elsewhere.takes_promotions for elsewhere in row.indexes)
    if is_promoted:
        kinds.append("flagged")
    return Dot(date.fromisoformat(day), label, tuple(kinds))


def _action_link(path: str, verb: str, version: str) -> str:
    """Return the link to a form that changes a release, whose label for readers is unique."""
    # screen readers read links without their rows, where equal names lead to different pages
    return f'<a href="{path}" aria-label="{verb} {version}">{verb}</a>'
