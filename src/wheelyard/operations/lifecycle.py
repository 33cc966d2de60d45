"""Yank, unyank, delete, and set the status of what is there already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.commits import Committed
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects, unknown_project
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.project import (
    AnyEvent,
    Deleted,
    File,
    Project,
    Status,
    StatusSet,
    Unyanked,
    Yanked,
)
from wheelyard.model.text import require_one_line

REASON_LIMIT: Final = 1024
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The files of one release, or one of them."""

    version: Version
    filename: str | None = None
    allow_deleted: bool = False
    """Whether files that were deleted already are as good: a delete may be tried again."""

    def of(self, project: Project) -> tuple[File, ...]:
        """
        Return the selected files.

        Raises:
            NotFound: There are none.
        """
        if not project.revision:
            raise unknown_project(project.name)
        found = tuple(
            file
            for file in project.files
            if Version(file.version) == self.version
            and (self.filename is None or file.filename == self.filename)
        )
        if not found and not (self.allow_deleted and self._is_gone(project)):
            what = f"version {self.version}"
            if self.filename is not None:
                what = f"file {quoted(self.filename)} of {what}"
            raise NotFound(
                f"{project.name} has no {what}. See 'wheelyard list {project.name}' for what it "
                "has.",
                short=f"{quoted(project.name)} has no such version or file.",
            )
        return found

    def _is_gone(self, project: Project) -> bool:
        gone = (parse_known_filename(each) for each in project.deleted_filenames)
        return any(
            each.version == self.version and self.filename in (None, each.filename) for each in gone
        )


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What can be done to a published file or project."""

    projects: Projects
    files: Files
    runtime: Runtime

    def yank(
        self, caller: Caller, name: NormalizedName, selection: Selection, reason: str
    ) -> Project:
        """
        Mark files as not to be chosen any more; those who pin them still get them (PEP 592).

        Raises:
            WheelyardError: No right, a reason that is no line of text, nothing selected, or the
                store did not answer.
        """

        def meant(project: Project) -> list[File]:
            return [file for file in selection.of(project) if file.yanked != reason]

        return self._change(caller, name, Yanked, meant, reason).after

    def unyank(
        self, caller: Caller, name: NormalizedName, selection: Selection, reason: str
    ) -> Project:
        """Take the mark back; the journal keeps the reason. Raises as `yank` does."""

        def meant(project: Project) -> list[File]:
            return [file for file in selection.of(project) if file.yanked is not None]

        return self._change(caller, name, Unyanked, meant, reason).after

    def delete(
        self, caller: Caller, name: NormalizedName, selection: Selection, reason: str
    ) -> Project:
        """
        Remove files for good: first from the document, then their bytes; no filename comes back.

        Raises as `yank` does.
        """
        wanted = replace(selection, allow_deleted=True)
        committed = self._change(caller, name, Deleted, wanted.of, reason)
        for file in wanted.of(committed.before):
            self.files.remove(name, file)
        return committed.after

    def set_status(
        self, caller: Caller, name: NormalizedName, status: Status, reason: str
    ) -> Project:
        """Set the project's status (PEP 792). Raises as `yank` does."""
        _check(caller, name, reason)

        def intent(project: Project) -> tuple[AnyEvent, ...]:
            if not project.revision:
                raise unknown_project(name)
            if (project.status, project.reason) == (status, reason):
                return ()
            at, by = self.runtime.now(), caller.principal
            return (StatusSet(at=at, by=by, status=status, reason=reason),)

        return self.projects.change(name, intent).after

    def _change(
        self,
        caller: Caller,
        name: NormalizedName,
        event: type[Yanked | Unyanked | Deleted],
        meant: Callable[[Project], Sequence[File]],
        reason: str,
    ) -> Committed:
        _check(caller, name, reason)

        def intent(project: Project) -> tuple[AnyEvent, ...]:
            names = tuple(each.filename for each in meant(project))
            at, by = self.runtime.now(), caller.principal
            return (event(at=at, by=by, filenames=names, reason=reason),) if names else ()

        return self.projects.change(name, intent)


def _check(caller: Caller, name: NormalizedName, reason: str) -> None:
    caller.require(Action.MANAGE, name)
    require_one_line(reason, "The reason", REASON_LIMIT)
