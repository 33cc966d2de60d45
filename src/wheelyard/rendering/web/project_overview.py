"""
The pages of a project: its description and its history.

The history of a private project is its journal, on several pages. The history of a public project
is the decisions about it.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, groupby
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.downloads import DownloadReport
from wheelyard.model.project import Event, EventKind, Project
from wheelyard.model.project_json import JournalEntry
from wheelyard.model.public_packages import Decision, describe
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import ProjectFacts, ReleaseOf, versions_of
from wheelyard.rendering.simple_pages import seconds_text
from wheelyard.rendering.web import project_frame
from wheelyard.rendering.web.core_metadata import EXACT, LATEST
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.figures import draw_small_area
from wheelyard.rendering.web.file_list import yank_mark
from wheelyard.rendering.web.project_frame import ProjectFrame
from wheelyard.rendering.web.public_package import OriginNotes
from wheelyard.rendering.web.release_page import ReleaseContent, release_date
from wheelyard.rendering.web.viewer import Viewer

RELEASES_IN_SHORT: Final = 5
"""How many of its releases the page of a project names."""
USERS_IN_SHORT: Final = 8
"""How many projects that require this project its page names."""
_RIGHTS_KINDS: Final = frozenset({"granted", "revoked", "group", "group-deleted"})
"""The kinds of journal entries about who may do what. Their reason says the right in words."""
_NAME_IN_REASON: Final = re.compile(r"[\w-]+")


class ProjectContent(Struct, frozen=True, kw_only=True):
    """The content of the pages of a project."""

    project: ShownProject[ShownFile]
    releases: Sequence[ReleaseOf[ShownFile]]
    """All releases, newest first."""
    latest: ReleaseContent | None = None
    """The release that describes the project, or None without releases."""
    used_by: Sequence[ProjectFacts] = ()
    """The projects that require this project, as far as the viewer may read them."""
    uploaders: Sequence[str] = ()
    """The principals that may upload, or none for a viewer who may not know them."""
    downloads: DownloadReport | None = None
    """The downloads, or None if they are not counted, or not known now."""


def project_page(environment: PageEnvironment, viewer: Viewer, content: ProjectContent) -> bytes:
    """Return the bytes of the page of a project with releases, whose `latest` is not None."""
    latest = content.latest
    releases = content.releases
    assert latest is not None  # noqa: S101 - without releases it is `empty_page`
    is_all_yanked = all(release.is_yanked for release in releases)

    # installers take a yanked release only if its version is pinned (PEP 592)
    usual_pin = EXACT if is_all_yanked else LATEST
    figure = None
    if content.downloads is not None:
        figure = _small_downloads_figure(content.downloads)
    return latest.head.render(
        environment,
        viewer,
        project_frame.DESCRIPTION,
        "release.html",
        is_project=True,
        is_all_yanked=is_all_yanked,
        releases=list(map(listed_release, releases[:RELEASES_IN_SHORT])),
        release_count=len(releases),
        used_by=content.used_by[:USERS_IN_SHORT],
        users=len(content.used_by),
        uploaders=content.uploaders,
        report=content.downloads,
        figure=figure,
        **latest.facts(environment, viewer, usual_pin),
    )


def _small_downloads_figure(report: DownloadReport) -> Markup:
    """Return the small figure of the downloads on each day of a report."""
    summary = f"Downloads on each of the last {len(report.days)} days, {report.downloads:,} in all"
    downloads_by_day = [count.downloads for count in report.days]
    return draw_small_area(downloads_by_day, summary)


def status_set_in(project: Project) -> Event | None:
    """
    Return the event that has set the status of a project, or None if the last commit has none.

    A quarantine is in the last commit until somebody changes a file. Older commits are not read for
    a page.
    """
    if project.commit is None:
        return None
    for event in reversed(project.commit.events):
        if event.what == EventKind.STATUS:
            # an event before the last one may have set a status that was changed since
            return event if event.status is project.status else None
    return None


def empty_page(  # noqa: PLR0913 - all that is on it
    environment: PageEnvironment,
    viewer: Viewer,
    project: ShownProject[ShownFile],
    tab: str,
    public: OriginNotes | None,
    *,
    has_deleted_files: bool,
    status_set: Event | None = None,
    not_shown: OriginNotes | None = None,
    other_index: str | None = None,
) -> bytes:
    """
    Return the bytes of the page of a tab for a project without files that can be installed.

    `public` has the notes on a public project, and `not_shown` those on a private project of which
    a view hides files. `status_set` is what `status_set_in` returns. `other_index` is the name of
    the index that the project is from, or None if that is this index.
    """
    frame = ProjectFrame(
        name=project.name,
        tab=tab,
        may_manage=viewer.may_manage,
        # the downloads of public packages are not counted
        counts_downloads=environment.counts_downloads and public is None,
        other_index=other_index,
        is_public=public is not None,
    )
    return environment.render(
        "empty_project.html",
        viewer,
        frame.root,
        frame=frame,
        project=project,
        has_deleted_files=has_deleted_files,
        status_set=status_set,
        public=public,
        not_shown=not_shown or public,
    )


class ListedRelease(Struct, frozen=True):
    """A release as the page of its project names it."""

    version: str
    path: str
    """The version as a segment of a URL path."""
    date: str
    """The time of the first upload, or an empty text if it is not known."""
    marks: Markup
    """The marks of the release, each after a blank."""
    files: str
    """The number of files, in words."""
    is_prerelease: bool


def listed_release(release: ReleaseOf[ShownFile]) -> ListedRelease:
    """Return a release as pages name it, with marks if it is a pre-release or yanked."""
    version = release.version
    is_prerelease = listed_version(version).is_prerelease
    marks = ""
    if is_prerelease:
        marks += ' <span class="mark">pre-release</span>'
    if release.is_yanked:
        marks += f" {yank_mark(release.yanked_reason)}"
    return ListedRelease(
        version,
        project_frame.version_path(version),
        release_date(release),
        Markup(marks),  # noqa: S704 - they are escaped
        counted(len(release.files), "file"),
        is_prerelease,
    )


class HistoryLinks(Struct, frozen=True):
    """The links from one page of a history to the pages beside it. Page 1 is the oldest."""

    number: int | None
    """The number of this page, or None for the newest page, which has no number."""
    count: int
    """How many pages have a number."""

    @property
    def older(self) -> str:
        """The URL of the next older page, relative to this one, or an empty text on the oldest."""
        # the page without a number is newer than all pages with a number
        if self.number is None and self.count:
            return f"{self.count}/"
        if self.number is not None and self.number > 1:
            return f"../{self.number - 1}/"
        return ""

    @property
    def newer(self) -> str:
        """The URL of the next newer page, relative to this one, or an empty text on the newest."""
        if self.number is None:
            return ""
        if self.number < self.count:
            return f"../{self.number + 1}/"
        return "../"

    @property
    def root(self) -> str:
        """The URL of the home page, relative to this page."""
        return "../../../" if self.number is None else "../../../../"


NEWEST: Final = HistoryLinks(None, 0)
"""The links of a history with one page alone."""


class Change(Struct, frozen=True):
    """An item of a history: one change, or several changes of one kind in a row."""

    at: str
    """The time of the newest change of the item."""
    who: str
    """The principal that has made the change, in words."""
    what: str
    """What the principal has done, as a sentence without its subject: `uploaded 1.0`."""
    files: tuple[str, ...]
    reason: str
    keep_until: str = ""
    """The day until which deleted files can be restored, or an empty text."""


class History(Struct, frozen=True, kw_only=True):
    """One page of a history."""

    name: NormalizedName
    changes: Sequence[Change]
    """The changes on this page, newest first."""
    links: HistoryLinks = NEWEST
    lost: Sequence[int] = ()
    """The numbers of the commits that the journal has lost."""
    is_public: bool = False
    """Whether the project is from an upstream index."""
    is_whole: bool = True
    """Whether all decisions about a public project are on the page."""

    def render(self, environment: PageEnvironment, viewer: Viewer) -> bytes:
        """Return the bytes of the page."""
        frame = ProjectFrame(
            name=self.name,
            tab=project_frame.HISTORY,
            may_manage=viewer.may_manage,
            counts_downloads=environment.counts_downloads and not self.is_public,
            is_public=self.is_public,
        )
        root = self.links.root
        return environment.render("history.html", viewer, root, frame=frame, history=self)


def known_to(viewer: Viewer, entries: Sequence[JournalEntry]) -> Sequence[JournalEntry]:
    """Return the entries of a journal without promotions to indexes that a viewer may not read."""
    hidden = viewer.hidden_indexes
    return [entry for entry in entries if entry.target_name not in hidden]


def changes_of(
    entries: Sequence[JournalEntry], hidden_indexes: Collection[str] = ()
) -> list[Change]:
    """
    Return the changes that journal entries are about, newest first.

    `entries` are in the order of a journal, the oldest first. Uploads of one release by one person
    in a row are one change. A change does not name `hidden_indexes`, as the source of a file or in
    a right. Raises Invalid (code `invalid_filename` or `invalid_version`) if an entry has a file
    that cannot be of its project.
    """
    changes: list[Change] = []
    # `groupby` joins neighbours only, so the order of the journal stays
    for _, entries_of_change in groupby(reversed(entries), key=_change_key):
        changes.append(_join_entries(list(entries_of_change), hidden_indexes))
    return changes


def _change_key(entry: JournalEntry) -> tuple[object, ...]:
    """Return a key that entries in a row have in common if they are shown as one change."""
    if entry.what in {"uploaded", "promoted"}:
        source = (entry.by, entry.by_name, entry.index)
        return (entry.what, *source, *versions_of(entry.files, entry.project))
    if entry.what == "imported":
        # whatever the release: an import may bring hundreds of releases at once
        return (entry.what, entry.by, entry.by_name)
    # no other entry has this key
    return (id(entry),)


def _join_entries(entries: Sequence[JournalEntry], hidden_indexes: Collection[str]) -> Change:
    """Return the change that these entries make together. The newest entry is the first."""
    newest = entries[0]
    filenames = chain.from_iterable(entry.files for entry in entries)
    versions = versions_of(filenames, newest.project)
    keep_until = ""
    if newest.keep_until:
        keep_until = newest.keep_until.date().isoformat()
    return Change(
        at=seconds_text(newest.at),
        who=describe_principal(newest.by, newest.by_name, newest.owner),
        what=_describe_entry(newest, versions, hidden_indexes),
        files=tuple(_describe_files(entries)),
        reason=_shown_reason(newest, hidden_indexes),
        keep_until=keep_until,
    )


def change_by(decision: Decision) -> Change:
    """Return a decision about a public project as a change. Its words have the reason, too."""
    who = describe_principal(decision.by)
    return Change(seconds_text(decision.at), who, describe(decision), (), "")


def _shown_reason(entry: JournalEntry, hidden_indexes: Collection[str]) -> str:
    """Return the reason of an entry, or an empty text if it is a right about a hidden index."""
    if entry.what in _RIGHTS_KINDS:
        # the words of a right name its indexes, and no field has these names alone
        names = _NAME_IN_REASON.findall(entry.reason)
        if not set(names).isdisjoint(hidden_indexes):
            return ""
    return entry.reason


def _describe_entry(
    entry: JournalEntry, versions: Sequence[str], hidden_indexes: Collection[str]
) -> str:
    """Return what was done, by an entry about these versions, as a sentence without subject."""
    if entry.what == "status":
        return f"set the status to {entry.status}"
    if entry.what in _RIGHTS_KINDS:
        return "changed who may do what"
    if entry.what in {"reserved", "released"}:
        return f"{entry.what} the name"
    releases = counted(len(versions), "release")
    if len(versions) == 1:
        releases = versions[0]
    detail = entry.other_index
    if entry.at_once:
        detail = "at once"
    if entry.other_index_name in hidden_indexes:
        # a viewer must not learn of the index
        detail = ""
    return f"{entry.verb} {releases} {detail}".rstrip()


def _describe_files(entries: Sequence[JournalEntry]) -> Iterator[str]:
    """
    Yield the files of all entries, the oldest first.

    An imported file is followed by the principal that has uploaded it elsewhere, if that is known.
    """
    for entry in reversed(entries):
        uploader = describe_principal(entry.uploaded_by)
        source = f" (uploaded elsewhere: {uploader})" if uploader else ""
        for filename in entry.files:
            yield f"{filename}{source}"
