"""
The pages of a project: its releases, its history, and for those who manage it.

The history of a private project is its journal, on several pages. That of a public one is what was
decided about it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted
from wheelyard.model.grants import with_name
from wheelyard.model.project import File, Project, Status
from wheelyard.model.project_json import JournalEntry
from wheelyard.model.public_packages import Decision, describe
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import ProjectFacts, ReleaseOf, all_releases, versions_of
from wheelyard.rendering.simple_pages import listed_version, seconds_text
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.release_page import (
    NOT_KNOWN,
    PublicPackage,
    ReleaseContent,
    file_list,
    file_values,
    release_date,
    version_path,
    yank_mark,
)

RELEASES_SHOWN: Final = 20
"""How many releases the history shows at first, before the folded ones."""
USERS_SHOWN: Final = 50
"""How many names of projects that use this one are shown."""


class ProjectContent(Struct, frozen=True, kw_only=True):
    """What the page of a project shows, for whoever looks at it."""

    project: ShownProject[ShownFile]
    releases: Sequence[ReleaseOf[ShownFile]]
    """Newest first."""
    latest: ReleaseContent | None
    """The release that describes the project, or None without releases."""
    used_by: Sequence[ProjectFacts] = ()
    """The projects that require this one and that may be shown."""
    uploaders: Sequence[str] = ()
    """The principals that may upload, for viewers who may know them."""
    has_deleted_files: bool = False
    public: PublicPackage | None = None
    """What else is shown of a project of an upstream index, or None for a private one."""


def project_page(environment: PageEnvironment, viewer: Viewer, content: ProjectContent) -> bytes:
    """Return the bytes of the page of a project."""
    project, latest = content.project, content.latest
    if latest is None:
        return environment.render(
            "empty_project.html",
            viewer,
            "../../",
            project=project,
            has_deleted_files=content.has_deleted_files,
            public=content.public,
        )
    base = f"{version_path(latest.release.version)}/"
    files = file_list(latest.release)
    return environment.render(
        "release.html",
        viewer,
        "../../",
        is_project=True,
        public=content.public,
        **latest.values,
        **file_values(environment, project.name, files, base, ""),
        releases=content.releases,
        is_all_yanked=all(release.is_yanked for release in content.releases),
        recent_rows=release_rows(content.releases[:RELEASES_SHOWN]),
        older=len(content.releases[RELEASES_SHOWN:]),
        older_rows=release_rows(content.releases[RELEASES_SHOWN:]),
        used_by=content.used_by[:USERS_SHOWN],
        users=len(content.used_by),
        uploaders=content.uploaders,
    )


def release_rows(releases: Iterable[ReleaseOf[ShownFile]]) -> Markup:
    """Return the rows of a table of releases, built in Python as there may be thousands."""
    return Markup("".join(map(_release_row, releases)))  # noqa: S704 - they are escaped


def _release_row(release: ReleaseOf[ShownFile]) -> str:
    version, date = release.version, release_date(release)
    name = f'<span class="id"><a href="{version_path(version)}/">{version}</a></span>'
    time = f'<time datetime="{date}">{date[:10]}</time>' if date else NOT_KNOWN
    is_prerelease = listed_version(version).is_prerelease
    marks = ' <span class="mark">pre-release</span>' if is_prerelease else ""
    if release.is_yanked:
        marks += f" {yank_mark(release.yanked_reason)}"
    return (
        f"<tr><td>{name}{marks}</td><td>{time}</td>"
        f"<td>{counted(len(release.files), 'file')}</td></tr>\n"
    )


class HistoryLinks(Struct, frozen=True):
    """The numbers of the pages beside one page of a history, of which 1 is the oldest."""

    number: int | None
    """Of this page, or None for the newest one, which has no number."""
    count: int
    """How many pages have a number."""

    @property
    def older(self) -> str:
        """The URL of the next older page, relative to this one, or an empty text on the oldest."""
        if self.number is None:
            return f"{self.count}/" if self.count else ""
        return f"../{self.number - 1}/" if self.number > 1 else ""

    @property
    def newer(self) -> str:
        """The URL of the next newer page, relative to this one, or an empty text on the newest."""
        if self.number is None:
            return ""
        return f"../{self.number + 1}/" if self.number < self.count else "../"

    @property
    def root(self) -> str:
        """The home page, relative to this page."""
        return "../../../" if self.number is None else "../../../../"


NEWEST: Final = HistoryLinks(None, 0)
"""The only page."""


class Change(Struct, frozen=True):
    """One change, or several of one kind in a row, as one item of the page."""

    at: str
    """The time of the newest of them."""
    who: str
    credential: str
    what: str
    """A sentence without its subject: `uploaded 1.0`."""
    files: tuple[str, ...]
    reason: str


class History(Struct, frozen=True, kw_only=True):
    """One page of a history."""

    name: NormalizedName
    changes: Sequence[Change]
    """Newest first."""
    links: HistoryLinks = NEWEST
    lost: Sequence[int] = ()
    """The commits that the journal has lost."""
    is_public: bool = False
    is_whole: bool = True
    """Whether all decisions about a public project are on the page."""


def changes_of(entries: Sequence[JournalEntry]) -> list[Change]:
    """Return entries as changes, newest first, uploads of one release by one person as one."""
    return [_change(list(group)) for _, group in groupby(reversed(entries), key=_group)]


def _group(entry: JournalEntry) -> tuple[object, ...]:
    """Return what entries in a row have in common that are shown as one change."""
    # `groupby` joins neighbours only, so the order of the journal stays
    if entry.what == "uploaded":
        return (entry.what, entry.by, entry.by_name, *versions_of(entry.files))
    if entry.what == "imported":
        return (entry.what, entry.by, entry.by_name)
    return (id(entry),)  # so that it is alone


def _change(entries: Sequence[JournalEntry]) -> Change:
    newest = entries[0]
    return Change(
        at=seconds_text(newest.at),
        who=with_name(newest.by, newest.by_name),
        credential=newest.credential,
        what=_in_words(newest, versions_of(file for entry in entries for file in entry.files)),
        files=tuple(_files(entries)),
        reason=newest.reason,
    )


def change_by(decision: Decision) -> Change:
    """Return a decision as a change, with its reason among its words."""
    return Change(seconds_text(decision.at), decision.by, "", describe(decision), (), "")


def _in_words(entry: JournalEntry, versions: Sequence[str]) -> str:
    match entry.what:
        case "status":
            return f"set the status to {entry.status}"
        case "granted" | "revoked" | "group" | "group-deleted":
            return "changed who may do what"
        case "reserved" | "released":
            return f"{entry.what} the name"
    of = versions[0] if len(versions) == 1 else counted(len(versions), "release")
    return f"{entry.what} {of}"


def _files(entries: Sequence[JournalEntry]) -> Iterator[str]:
    """Yield the files of all entries in order, an imported one with who uploaded it elsewhere."""
    for entry in reversed(entries):
        source = f" (uploaded elsewhere by {entry.uploaded_by})" if entry.uploaded_by else ""
        yield from (f"{file}{source}" for file in entry.files)


ROOT: Final = "../../../"
"""The home page, relative to `/project/<name>/manage/` and `/project/<name>/access/`."""
SHOWN_RELEASES: Final = 20
"""Releases that the page lists at once, before a part that can be opened."""
STATUS: Final = "status"
VERBS: Final = MappingProxyType({"yank": "Yank", "unyank": "Unyank", "delete": "Delete"})
"""The changes of the files of a release, and what their buttons say."""
STATUS_MEANINGS: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.ACTIVE: "As usual: it is served, and takes uploads.",
        Status.DEPRECATED: "As active, with a notice that it should not be used any more.",
        Status.ARCHIVED: "It is served, and takes no uploads.",
        Status.QUARANTINED: "No file is listed or served under any URL, and it takes no uploads.",
    }
)


class ChoosableFile(Struct, frozen=True):
    """A file of a release in a form, with a box to tick."""

    filename: str
    file: File | None
    """What the index knows of it, or None if the project could not be read."""
    is_ticked: bool = True


class FileChange(Struct, frozen=True):
    """The change of some files of a release, before it is made."""

    name: NormalizedName
    action: str
    """One of `VERBS`."""
    version: str
    files: tuple[ChoosableFile, ...]

    @property
    def verb(self) -> str:
        """What the button says."""
        return VERBS[self.action]


def manage_page(
    environment: PageEnvironment,
    viewer: Viewer,
    project: Project,
    form: FormState,
    done: Sequence[Change] | None = None,
) -> bytes:
    """
    Return the page on which one chooses what to change.

    `done` is what was just changed, and empty if everything was so already. It is None if the page
    does not follow a change.
    """
    releases = all_releases(project)
    return environment.render(
        "manage.html",
        viewer,
        ROOT,
        project=project,
        newest=releases[:SHOWN_RELEASES],
        others=releases[SHOWN_RELEASES:],
        meaning=STATUS_MEANINGS[project.status],
        form=form,
        done=done,
    )
