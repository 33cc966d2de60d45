"""
The page with all releases of a project: on a line of time, and in a table that can be filtered.

    releases/                  the newest. 100 releases on a page
    releases/?page=2           the next ones
    releases/?q=yanked&page=2  of those whose row has all these words
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
"""With more releases, there is a form that filters them."""

NO_DOWNLOAD: Final = f"none in {SHOWN_DAYS} days"
"""What stands in place of the day of a download."""


class ReleaseRow(Struct, frozen=True):
    """A release as the table has it."""

    release: ReleaseOf[ShownFile]
    listed: ListedRelease
    indexes: tuple[ReleasesElsewhere, ...]
    """The other indexes that have it, too, as far as the viewer may read them."""
    last_download: str
    """The day, or words if there was none lately, or empty if they are not counted."""

    @property
    def uploader(self) -> str:
        """Who has uploaded its first file, in words, or empty if that is not known."""
        files = [file for file in self.release.files if isinstance(file, File)]
        if not files:  # of an upstream index, which does not say who it was
            return ""
        first = min(files, key=lambda file: file.uploaded_at)
        return describe_principal(first.uploaded_by, first.uploaded_by_name)

    @property
    def size(self) -> str:
        """That of all files, in words, or empty if it is not known."""
        return size_in_words(self.release.size)

    @property
    def words(self) -> str:
        """What the words of a filter are looked for in."""
        marks = self.listed.marks.striptags()
        places = " ".join(elsewhere.index for elsewhere in self.indexes)
        words = f"{self.listed.version} {self.listed.date[:10]} {self.uploader} {marks} {places}"
        return words.lower()

    def has(self, text: str) -> bool:
        """Return whether all words of a text are in the row."""
        words = self.words
        return all(word in words for word in text.lower().split())

    def draw(self, viewer: Viewer) -> str:
        """Return the row as HTML, built in Python as there may be thousands."""
        listed = self.listed
        # versions, paths and times are of parsed values, and have nothing to escape
        name = f'<span class="id"><a href="../{listed.path}/">{listed.version}</a></span>'
        time = NOT_KNOWN  # by an upstream index that does not say it
        if listed.date:
            time = f'<time datetime="{listed.date}">{listed.date[:10]}</time>'
        uploader = self.uploader
        if uploader:
            time += f' <bdi class="soft">{escape(uploader)}</bdi>'
        files = ", ".join(filter(None, (listed.files, self.size)))  # the size may be unknown
        mark = Markup(' <span class="mark">in {}</span>')
        marks = "".join(mark.format(elsewhere.index) for elsewhere in self.indexes)
        cells = f'<td>{name}{listed.marks}{marks}</td><td>{time}</td><td class="whole">{files}</td>'
        if self.last_download:
            cells += f'<td data-label="Last download">{self.last_download}</td>'
        links = "".join(self._links(viewer))
        if links:
            cells += f'<td class="actions">{links}</td>'
        return f"<tr>{cells}</tr>\n"

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
    """What the page shows."""

    head: ReleaseHead
    releases: Sequence[ReleaseOf[ShownFile]]
    """Newest first."""
    downloads: DownloadReport | None = None
    """None if they are not counted, or not known now."""
    elsewhere: Sequence[ReleasesElsewhere] = ()
    text: str = ""
    """The words that a row has to have."""
    number: int = 1
    """That of the page of those that have them."""


class ReleaseList(FilteredPage[ReleaseRow], frozen=True, kw_only=True):
    """A page of the list of releases, and the way to the others."""

    text: str
    """The words of the filter."""

    @property
    def has_form(self) -> bool:
        """Whether there are so many releases that one may want to filter them."""
        return self.unfiltered > FILTERED_RELEASES

    @property
    def query(self) -> str:
        """The query of the URL of its pages, with its question mark, up to their number."""
        fields = {"q": self.text, "page": ""}
        if not self.text:
            del fields["q"]
        return f"?{urlencode(fields)}"


def releases_page(environment: PageEnvironment, viewer: Viewer, content: ReleasesContent) -> bytes:
    """
    Return the bytes of a page with the releases of a project.

    The number of the page is at least 1. Raises NoSuchPage, a NotFound, if there are not so many.
    """
    downloads = content.downloads
    last_downloads = None
    if downloads is not None:
        last_downloads = _last_downloads(downloads)
    rows = [_row(release, last_downloads, content.elsewhere) for release in content.releases]

    # of all rows: a filter finds what stands on other pages, too
    matching = [row for row in rows if row.has(content.text)]
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
    table = "".join(row.draw(viewer) for row in listed.entries)
    return content.head.render(
        environment,
        viewer,
        RELEASES,
        "releases.html",
        timeline=_timeline(matching),  # with those on the other pages
        rows=Markup(table),  # noqa: S704 - they are escaped
        listed=listed,
        report=downloads,
    )


def _row(
    release: ReleaseOf[ShownFile],
    last_downloads: Mapping[str, str] | None,
    elsewhere: Sequence[ReleasesElsewhere],
) -> ReleaseRow:
    """Return the row of a release, with an empty last download if they are not counted."""
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


def _last_downloads(report: DownloadReport) -> dict[str, str]:
    """Return the day of the last download of each version without trailing zeros, as HTML."""
    days = dict[str, date]()
    for count in report.versions:  # of one release, files may say 1.0 and 1.0.0
        version = strip_trailing_zeros(count.version)
        days[version] = max(count.last, days.get(version, count.last))
    return {version: f'<time datetime="{day}">{day}</time>' for version, day in days.items()}


def _timeline(rows: Sequence[ReleaseRow]) -> Markup:
    """Return the line of time of those releases whose day is known, if there are several days."""
    dots = [_dot(row) for row in rows if row.listed.date]
    if len({dot.day for dot in dots}) < 2:  # noqa: PLR2004 - dots in one place say nothing
        return Markup()
    summary = f"{counted(len(dots), 'release')} on a line of time. The list below has them."
    return draw_timeline(dots, summary)


def _dot(row: ReleaseRow) -> Dot:
    day = row.listed.date[:10]
    kinds = list[str]()
    if row.listed.is_prerelease:
        kinds.append("prerelease")
    if row.release.is_yanked:
        kinds.append("yanked")
    places = [f"in {elsewhere.index}" for elsewhere in row.indexes]
    words = ", ".join([f"{row.listed.version}, {day}", *kinds, *places])
    if any(elsewhere.takes_promotions for elsewhere in row.indexes):
        # an index such as prod has it; the words name that one already
        kinds.append("flagged")
    return Dot(date.fromisoformat(day), words.replace("prerelease", "pre-release"), tuple(kinds))


def _action_link(path: str, verb: str, version: str) -> str:
    # links of one name that lead to different pages are no help to whoever hears them
    return f'<a href="{path}" aria-label="{verb} {version}">{verb}</a>'
