"""Yank, unyank and delete of files, and the status of projects."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.files import FileRemoval, listed_objects
from wheelyard.catalog.projects import Projects, unknown_project
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.project import Event, EventKind, File, Project, Status

ReleaseAction = Literal["yank", "unyank", "delete"]
"""A change of the files of a release."""
_KINDS: Final[Mapping[ReleaseAction, EventKind]] = {
    "yank": EventKind.YANKED,
    "unyank": EventKind.UNYANKED,
    "delete": EventKind.DELETED,
}
REASON_LIMIT: Final = 1024
"""The most characters of a reason."""


class Selection(Struct, frozen=True):
    """
    Selects all files of one version or of a set of versions, or only some of them.

    Pre-releases are in a set as PEP 440 orders them: `<2` has 1.9rc1 and not 2.0rc1.
    """

    versions: Version | SpecifierSet
    filenames: frozenset[str] | None = None
    """Selects only files of these names. None of them may be missing."""

    def files_of(self, project: Project, *, allow_deleted: bool = False) -> tuple[File, ...]:
        """
        Return the selected files.

        Raises NotFound if the project or one of the named files does not exist, or no file is
        selected. With `allow_deleted`, deleted files are not missing, so that a delete can be
        repeated. They are not returned.
        """
        if not project.exists:
            raise unknown_project(project.name)
        selected = tuple(
            file for file in project.files if self._has(Version(file.version), file.filename)
        )
        names = {file.filename for file in selected}
        if allow_deleted:
            deleted = map(parse_known_filename, project.deleted_filenames)
            names |= {file.filename for file in deleted if self._has(file.version, file.filename)}
        missing = sorted((self.filenames or frozenset()) - names)
        if missing or not names:
            is_set = isinstance(self.versions, SpecifierSet)
            what = f"version {f'in {quoted(str(self.versions))}' if is_set else self.versions}"
            if missing:
                what = f"file {quoted(missing[0])} of {what}"
            raise NotFound(
                f"{project.name} has no {what}. Its page shows what it has. In a terminal "
                f"'wheelyard list {project.name}' does."
            )
        return selected

    def _has(self, version: Version, filename: str) -> bool:
        if self.filenames is not None and filename not in self.filenames:
            return False
        if isinstance(self.versions, Version):
            return version == self.versions
        return self.versions.contains(version, prereleases=True)


class Changed(Struct, frozen=True):
    """The result of a change of files."""

    project: Project
    """The project after the change, or in a dry run, as it is."""
    files: tuple[File, ...]
    """The files, as they were, that the change has changed, or would change."""


class Lifecycle(Struct, frozen=True):
    """
    Changes published files and projects.

    All files of a change are one commit. In a dry run nothing is written.

    Each method returns the result of the change. It raises Forbidden if the caller may not manage
    the project, Invalid if the reason is not one line of text, NotFound if the project or the
    selected files do not exist, and Unavailable if the store does not answer.
    """

    projects: Projects
    removal: FileRemoval
    runtime: Runtime

    def change(
        self,
        action: ReleaseAction,
        caller: Caller,
        name: NormalizedName,
        selection: Selection,
        reason: str,
        *,
        dry_run: bool = False,
    ) -> Changed:
        """
        Yank or unyank files (PEP 592), or delete them for good, for a reason.

        A file that is so already is left alone, except that a yank may change the reason. A delete
        that raises Unavailable may have been committed. The sweep deletes bytes that are left.
        """
        _check_request(caller, name, reason)
        is_delete = action == "delete"

        # asked again for each commit that others were faster with: a file may be gone by then

        def select(project: Project) -> tuple[File, ...]:
            files = selection.files_of(project, allow_deleted=is_delete)
            if action == "yank":  # also to change the reason of a yank, and not to remove it
                return tuple(
                    file for file in files if file.yanked is None or reason not in ("", file.yanked)
                )
            return tuple(file for file in files if is_delete or file.yanked is not None)

        def intent(project: Project) -> tuple[Event, ...]:
            names = tuple(file.filename for file in select(project))
            if not names:
                return ()
            at, by, by_name = self.runtime.now(), caller.principal, caller.name
            event = Event(
                what=_KINDS[action], at=at, by=by, by_name=by_name, files=names, reason=reason
            )
            return (event,)

        if dry_run:
            project = self.projects.get_for_update(name)
            return Changed(project, select(project))
        committed = self.projects.change(name, intent)
        changed = Changed(committed.after, select(committed.before))
        # The bytes go after the commit: whoever dies in between leaves bytes that nothing lists,
        # which the sweep deletes. The same delete again does not, as it finds no file any more.
        if is_delete:
            objects = (key for file in changed.files for key, _ in listed_objects(name, file))
            self.removal.remove(name, objects)
        return changed

    def set_status(
        self, caller: Caller, name: NormalizedName, status: Status, reason: str
    ) -> Project:
        """Set a project's status (PEP 792) with its reason, and return the changed project."""
        _check_request(caller, name, reason)

        def intent(project: Project) -> tuple[Event, ...]:
            if not project.exists:
                raise unknown_project(name)
            if (project.status, project.reason) == (status, reason):
                return ()
            at, by, by_name = self.runtime.now(), caller.principal, caller.name
            return (Event.status_set(status, reason, at=at, by=by, by_name=by_name),)

        return self.projects.change(name, intent).after


def _check_request(caller: Caller, name: NormalizedName, reason: str) -> None:
    caller.require(Action.MANAGE, name)
    require_one_line(reason, "The reason", REASON_LIMIT)
