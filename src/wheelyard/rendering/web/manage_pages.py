"""
The pages on which people change a project.

On the first page, people choose releases, or files of one release, and what to do with them. The
next page names every file that will be changed, and takes the reason. People can still leave out a
file on that page.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted, readable_size
from wheelyard.model.project import File, Project, Status
from wheelyard.model.quotas import Quota, project_room, used_by
from wheelyard.rendering.project_facts import Release, all_releases
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.project_frame import MANAGE, ProjectFrame
from wheelyard.rendering.web.project_overview import Change, listed_release
from wheelyard.rendering.web.release_page import pin_of
from wheelyard.rendering.web.viewer import Viewer

STATUS: Final = "status"
RELEASE: Final = "release"
"""The action that gives up the name of a project without files."""
MAX_FILES: Final = 9000
"""The most files that the form of one change names."""
VERBS: Final = MappingProxyType(
    {
        "yank": "Yank",
        "unyank": "Unyank",
        "pin": "Pin",
        "unpin": "Unpin",
        "delete": "Delete",
        "restore": "Restore",
    }
)
"""The changes of files, and what their buttons say."""
PARTICIPLES: Final = MappingProxyType(
    {
        "yank": "yanked",
        "unyank": "unyanked",
        "pin": "pinned",
        "unpin": "unpinned",
        "delete": "deleted",
        "restore": "restored",
    }
)
"""The participle of each change of files."""
STATUS_MEANINGS: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.ACTIVE: "As usual: it is served, and takes uploads.",
        Status.DEPRECATED: "As active, with a notice that it should not be used any more.",
        Status.ARCHIVED: "It is served, and takes no uploads.",
        Status.QUARANTINED: "No file is listed or served under any URL, and it takes no uploads.",
    }
)


class ChoosableFile(Struct, frozen=True):
    """A file in a form, with a box to tick."""

    filename: str
    file: File | None
    """The record of the file, or None if the project could not be read."""
    is_ticked: bool = True


class ChosenRelease(Struct, frozen=True):
    """A release in a form, with those of its files that can be changed."""

    version: str
    files: tuple[ChoosableFile, ...]

    @property
    def size(self) -> str:
        """The size of the files together, or an empty text if a record is not known."""
        total = 0
        for choosable in self.files:
            if choosable.file is None:
                return ""
            total += choosable.file.size
        return readable_size(total)


class FileChange(Struct, frozen=True, kw_only=True):
    """A change of files of a project that the user has to confirm."""

    name: NormalizedName
    action: str
    """One of `VERBS`."""
    releases: Sequence[ChosenRelease]
    is_whole: bool = False
    """Whether `releases` have all files of the project."""
    is_kept: bool = True
    """Whether deleted files can be restored for a while."""

    @property
    def verb(self) -> str:
        """The text of the button."""
        return VERBS[self.action]

    @property
    def participle(self) -> str:
        """The word for what will be done to the files: `yanked`."""
        return PARTICIPLES[self.action]

    @property
    def subject(self) -> str:
        """The project, or the releases, whose files are changed, in words."""
        # a project whose files are all yanked or pinned is still there
        if self.is_whole and self.action == "delete":
            return f"the project {self.name}"
        if len(self.releases) == 1:
            return f"{self.name} {self.releases[0].version}"
        return f"{counted(len(self.releases), 'release')} of {self.name}"

    @property
    def confirmation(self) -> str:
        """The text that people have to type to confirm a deletion."""
        # a deletion of all files is one of the project, which is confirmed by its name alone
        if len(self.releases) == 1 and not self.is_whole:
            return f"{self.name} {self.releases[0].version}"
        return str(self.name)

    @property
    def count(self) -> int:
        """The number of files in the form."""
        return sum(len(release.files) for release in self.releases)

    @property
    def ticked(self) -> list[File]:
        """The records of the ticked files, as far as they are known."""
        files: list[File] = []
        for release in self.releases:
            ticked = [choosable.file for choosable in release.files if choosable.is_ticked]
            files += [file for file in ticked if file is not None]
        return files

    @property
    def is_too_large(self) -> bool:
        """Whether the files are too many for one form."""
        return self.count > MAX_FILES


def chosen_releases(
    project: Project,
    action: str,
    versions: Collection[str] | None = None,
    filenames: Collection[str] | None = None,
) -> Iterator[ChosenRelease]:
    """
    Yield the releases with the files that an action can change, newest first.

    `versions` are the releases to choose from, or None for all. `filenames` are the files to tick,
    or None for all.
    """
    for release in all_releases(project):
        if versions is not None and release.version not in versions:
            continue
        files: list[ChoosableFile] = []
        for file in release.files:
            # a file that is not yanked, or not pinned, has nothing to take back
            if action == "unyank" and file.yanked is None:
                continue
            if action == "unpin" and file.pinned is None:
                continue
            is_ticked = filenames is None or file.filename in filenames
            files.append(ChoosableFile(file.filename, file, is_ticked))
        if files:
            yield ChosenRelease(release.version, tuple(files))


class DeletedRelease(Struct, frozen=True):
    """The deleted files of a release that can be restored."""

    version: str
    files: tuple[File, ...]
    keep_until: str
    """The day until which all of the files can be restored."""
    pin: str | None
    """The reason of the pin that a restored file has, or None if no file is pinned."""

    @property
    def count(self) -> str:
        """The number of files, in words."""
        return counted(len(self.files), "file")


def _deleted_release(release: Release) -> DeletedRelease:
    """Return a release of deleted files as the page shows it."""
    # from the earliest of these times on, at least one file cannot be restored
    keep_until = min(file.keep_until for file in release.files if file.keep_until is not None)
    last_day = keep_until.date().isoformat()
    files = tuple(release.files)
    return DeletedRelease(release.version, files, last_day, pin_of(files))


class ManagedProject(Struct, frozen=True, kw_only=True):
    """The content of the page on which people manage a project, besides its form."""

    project: Project
    deleted: Project
    """The project with the deleted files that can be restored, in place of its files."""
    quota: Quota = Quota()
    """The most bytes and files that the project may list."""
    is_kept: bool = True
    """Whether deleted files can be restored for a while."""
    may_release: bool = False
    """Whether the viewer may give up the name of the project, once it has no files."""
    done: Sequence[Change] | None = None
    """
    The changes that were just made. Empty if the files were in the wished state already.

    None if the page is opened without a change.
    """

    def render(self, environment: PageEnvironment, viewer: Viewer, form: FormState) -> bytes:
        """Return the bytes of the page."""
        project = self.project
        # also of a project in quarantine, whose other pages list no releases
        releases = [
            (listed_release(release), pin_of(release.files)) for release in all_releases(project)
        ]
        deleted_releases = [_deleted_release(release) for release in all_releases(self.deleted)]
        return render_form(
            environment,
            viewer,
            project.name,
            "manage.html",
            project=project,
            releases=releases,
            deleted=deleted_releases,
            is_kept=self.is_kept,
            room=project_room(project.name, self.quota, used_by(project)),
            meaning=STATUS_MEANINGS[project.status],
            may_release=self.may_release,
            form=form,
            done=self.done,
        )


def render_form(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    template: str,
    tab: str = MANAGE,
    **values: object,
) -> bytes:
    """Return the bytes of a page, by its template and values, for people who manage a project."""
    frame = ProjectFrame(
        name=name,
        tab=tab,
        may_manage=viewer.may_manage,
        counts_downloads=environment.counts_downloads,
    )
    return environment.render(template, viewer, frame.root, frame=frame, **values)
