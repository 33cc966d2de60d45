"""
The pages on which people change a project.

One chooses releases, or files of one release, and what to do with them. The next page names every
file that will be changed, and takes the reason. A file can still be left out there.
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
"""The action that gives up a name without files."""
MAX_FILES: Final = 9000
"""The most files that one change names."""
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
"""What becomes of files, in words."""
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
    """What the index knows of it, or None if the project could not be read."""
    is_ticked: bool = True


class ChosenRelease(Struct, frozen=True):
    """A release in a form, with its files that can be changed."""

    version: str
    files: tuple[ChoosableFile, ...]

    @property
    def size(self) -> str:
        """The size of the files together, or an empty text if it is not known."""
        total = 0
        for choosable in self.files:
            if choosable.file is None:
                return ""
            total += choosable.file.size
        return readable_size(total)


class FileChange(Struct, frozen=True, kw_only=True):
    """The change of some files of a project, before it is made."""

    name: NormalizedName
    action: str
    """One of `VERBS`."""
    releases: Sequence[ChosenRelease]
    is_whole: bool = False
    """Whether they are all files that the project has."""
    is_kept: bool = True
    """Whether deleted files can be restored for a while."""

    @property
    def verb(self) -> str:
        """What the button says."""
        return VERBS[self.action]

    @property
    def done(self) -> str:
        """What becomes of the files, in words."""
        return PARTICIPLES[self.action]

    @property
    def what(self) -> str:
        """What is changed, in words."""
        # yanked or pinned, the project itself is still there
        if self.is_whole and self.action == "delete":
            return f"the project {self.name}"
        if len(self.releases) == 1:
            return f"{self.name} {self.releases[0].version}"
        return f"{counted(len(self.releases), 'release')} of {self.name}"

    @property
    def typed(self) -> str:
        """What has to be typed to confirm a deletion."""
        # releases that are all of the project go with it, by its name alone
        if len(self.releases) == 1 and not self.is_whole:
            return f"{self.name} {self.releases[0].version}"
        return str(self.name)

    @property
    def count(self) -> int:
        """How many files can be changed."""
        return sum(len(release.files) for release in self.releases)

    @property
    def ticked(self) -> list[File]:
        """What the index knows of the files that are ticked."""
        files: list[File] = []
        for release in self.releases:
            ticked = [choosable.file for choosable in release.files if choosable.is_ticked]
            files += filter(None, ticked)
        return files

    @property
    def is_too_large(self) -> bool:
        """Whether a form cannot name so many files."""
        return self.count > MAX_FILES


def chosen_releases(
    project: Project,
    action: str,
    versions: Collection[str] | None = None,
    filenames: Collection[str] | None = None,
) -> Iterator[ChosenRelease]:
    """
    Yield the releases with files that an action can change, newest first.

    `versions`: only of these. None for all. `filenames`: those to tick. None for all.
    """
    for release in all_releases(project):
        if versions is not None and release.version not in versions:
            continue
        files: list[ChoosableFile] = []
        for file in release.files:
            # of these two actions, there may be nothing to take back
            if action == "unyank" and file.yanked is None:
                continue
            if action == "unpin" and file.pinned is None:
                continue
            is_ticked = filenames is None or file.filename in filenames
            files.append(ChoosableFile(file.filename, file, is_ticked))
        if files:
            yield ChosenRelease(release.version, tuple(files))


class DeletedRelease(Struct, frozen=True):
    """A release, or a part of it, that can be restored."""

    version: str
    files: tuple[File, ...]
    keep_until: str
    """The day until which all of them can be restored."""
    pin: str | None
    """Why it is pinned once it is restored, or None."""

    @property
    def count(self) -> str:
        """How many files there are, in words."""
        return counted(len(self.files), "file")


def _deleted_release(release: Release) -> DeletedRelease:
    # from the first of these days on, not all of them can be restored any more
    until = min(file.keep_until for file in release.files if file.keep_until is not None)
    files = tuple(release.files)
    return DeletedRelease(release.version, files, until.date().isoformat(), pin_of(files))


class ManagedProject(Struct, frozen=True, kw_only=True):
    """What the page says of a project that one manages, besides its form."""

    project: Project
    deleted: Project
    """The project with its deleted files that can be restored, in place of its files."""
    quota: Quota = Quota()
    """The most that it may list."""
    is_kept: bool = True
    """Whether deleted files can be restored for a while."""
    may_release: bool = False
    """Whether the viewer may give up the name of the project, once it has no files."""
    done: Sequence[Change] | None = None
    """What was just changed, empty if everything was so already, None if nothing was asked for."""

    def render(self, environment: PageEnvironment, viewer: Viewer, form: FormState) -> bytes:
        """Return the bytes of the page on which one chooses what to change."""
        project = self.project

        # all of them: a project in quarantine lists none on its other pages
        releases = [
            (listed_release(release), pin_of(release.files)) for release in all_releases(project)
        ]
        return render_form(
            environment,
            viewer,
            project.name,
            "manage.html",
            project=project,
            releases=releases,
            deleted=list(map(_deleted_release, all_releases(self.deleted))),
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
    """Return the bytes of a page for those who manage a project."""
    frame = ProjectFrame(
        name=name,
        tab=tab,
        may_manage=viewer.may_manage,
        counts_downloads=environment.counts_downloads,
    )
    return environment.render(template, viewer, frame.root, frame=frame, **values)
