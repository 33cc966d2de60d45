"""
Yank, unyank, pin, unpin, delete and restore of files, and the status of projects.

A deleted file is kept for `KEPT_FOR`: its record is in the trash of the document, and its bytes
stay where they are, but nobody can download them. Its filename stays taken. If everybody can read
the bucket, a delete removes the bytes at once. `immediate_deletion.py` does so on demand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.commits import CommittedProject
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.files import Files, listed_objects
from wheelyard.catalog.projects import Projects, unknown_project
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, NotFound, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.project import Deletion, Event, EventKind, File, Project, Status
from wheelyard.model.quotas import size_of_files
from wheelyard.operations.quota_check import FileQuotas, QuotaCheck
from wheelyard.operations.variant_check import VariantCheck, require_fit
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Key

ReleaseAction = Literal["yank", "unyank", "delete", "restore", "pin", "unpin"]
"""A change of the files of a release."""
_KINDS: Final[Mapping[ReleaseAction, EventKind]] = {
    "yank": EventKind.YANKED,
    "unyank": EventKind.UNYANKED,
    "delete": EventKind.DELETED,
    "restore": EventKind.RESTORED,
    "pin": EventKind.PINNED,
    "unpin": EventKind.UNPINNED,
}
KEPT_FOR: Final = timedelta(days=30)
"""How long a deleted file can be restored."""
REASON_LIMIT: Final = 1024
"""The most characters of a reason."""


class Selection(Struct, frozen=True):
    """
    Selects files of one version or of a set of versions: all of them, or those with given names.

    A set of versions has pre-releases, too, in the order of PEP 440: `<2` has 1.9rc1, but not
    2.0rc1.
    """

    versions: Version | SpecifierSet
    filenames: frozenset[str] | None = None
    """The names of the files to select, of which none may be missing. None selects all files."""

    def files_of(
        self,
        project: Project,
        kept: Iterable[File] = (),
        *,
        allow_deleted: bool = False,
    ) -> tuple[File, ...]:
        """
        Return the selected files of a project.

        `kept` are the deleted files that can be restored, for an error message. Raises NotFound if
        the project or one of the named files does not exist, or no file is selected. With
        `allow_deleted`, a deleted file raises nothing, so that a delete can be repeated, but it is
        not returned.
        """
        selected = self.of(project.files)
        self.require_known(project, kept, allow_deleted=allow_deleted)
        return selected

    def of(self, files: Iterable[File]) -> tuple[File, ...]:
        """Return the files that are selected."""
        selected = list[File]()
        for file in files:
            version = Version(file.version)
            if self.has(version, file.filename):
                selected.append(file)
        return tuple(selected)

    def require_known(
        self,
        project: Project,
        kept: Iterable[File] = (),
        *,
        allow_deleted: bool = False,
    ) -> None:
        """
        Raise NotFound if a named file or the project does not exist, or no file is selected.

        `kept` are the deleted files that can be restored, for an error message. With
        `allow_deleted`, a deleted file raises nothing.
        """
        if not project.exists:
            raise unknown_project(project.name)
        known_filenames = {file.filename for file in self.of(project.files)}
        deleted_filenames = self.deleted_in(project)
        if allow_deleted:
            known_filenames.update(deleted_filenames)
        missing_filenames = list[str]()
        if self.filenames is not None:
            missing_filenames = sorted(self.filenames - known_filenames)
        if not missing_filenames and known_filenames:
            return
        # a message is about the first missing file, or if no file is named, about the version
        was_deleted = bool(deleted_filenames)
        if missing_filenames:
            was_deleted = missing_filenames[0] in deleted_filenames
        if was_deleted:
            raise self._deleted_error(project.name, missing_filenames, kept)
        raise NotFound(
            f"{project.name} has no {self.describe(missing_filenames)}.",
            advice=Advice(Remedy.LIST_FILES, project.name),
        )

    def _deleted_error(
        self, name: str, missing_filenames: Sequence[str], kept: Iterable[File]
    ) -> NotFound:
        """
        Return the error for the first of the missing files, which was deleted.

        If no file is missing by its name, the error is for the selected versions.
        """
        fact = f"{name} has no {self.describe(missing_filenames)} any more, as it was deleted."
        kept_filenames = {file.filename for file in self.of(kept)}
        can_be_restored = bool(kept_filenames)
        if missing_filenames:
            can_be_restored = missing_filenames[0] in kept_filenames
        if not can_be_restored:
            return NotFound(f"{fact} It cannot be restored. Publish a new version.")
        advice = Advice(Remedy.RESTORE, name)
        if missing_filenames:
            advice = replace(advice, filename=missing_filenames[0])
        if isinstance(self.versions, SpecifierSet):
            return NotFound(fact, advice=replace(advice, versions=str(self.versions)))
        return NotFound(fact, advice=replace(advice, version=str(self.versions)))

    def deleted_in(self, project: Project) -> tuple[str, ...]:
        """Return the selected filenames of deleted files."""
        filenames = list[str]()
        for filename in project.deleted_filenames:
            # from the filename, as the record of the file may be gone
            version = parse_known_filename(filename, project.name).version
            if self.has(version, filename):
                filenames.append(filename)
        return tuple(filenames)

    def describe(self, filenames: Sequence[str] = ()) -> str:
        """
        Return the selected versions in words.

        With `filenames`, the text is about the first of them, as a file of these versions.
        """
        versions_text = f"version {self.versions}"
        if isinstance(self.versions, SpecifierSet):
            versions_text = f"version in {quoted(str(self.versions))}"
        if not filenames:
            return versions_text
        return f"file {quoted(filenames[0])} of {versions_text}"

    def has(self, version: Version, filename: str) -> bool:
        """Return whether a file of a version is selected."""
        if self.filenames is not None and filename not in self.filenames:
            return False
        if isinstance(self.versions, Version):
            return version == self.versions
        return self.versions.contains(version, prereleases=True)


class Changed(Struct, frozen=True):
    """The result of a change of files."""

    project: Project
    """The project after the change, or in a dry run, the project as it is."""
    before: Project
    """The project before the change."""
    files: tuple[File, ...]
    """The files, as they were before, that the change has changed, or would change."""
    keep_until: datetime | None = None
    """Until when the files of a delete can be restored, in UTC, or None if they cannot be."""


class PromotionNotes(Struct, frozen=True):
    """
    The promotions that are noted in the records of files before their bytes are removed.

    A commit that removes the bytes compares these with the notes of that moment.
    """

    targets: frozenset[tuple[str, str]] = frozenset()
    """Each name of a file with the name of an index to which it is promoted."""

    @classmethod
    def of(cls, files: Iterable[File]) -> "PromotionNotes":
        """Return the promotions that are noted in the records of these files."""
        targets = set[tuple[str, str]]()
        for file in files:
            targets.update((file.filename, target) for target in file.targets)
        return cls(frozenset(targets))

    def require_no_other(self, files: Iterable[File]) -> None:
        """Raise Conflict if files have another note by now: an index is about to list them."""
        if not PromotionNotes.of(files).targets <= self.targets:
            raise Conflict("The release was promoted meanwhile. Do it again.")


class Lifecycle(Struct, frozen=True):
    """
    Changes published files and projects.

    All files of a change are one commit. In a dry run nothing is written.

    A method that makes a change returns its result. Such a method raises Forbidden if the caller
    may not manage the project, Invalid if the reason is not one line of text, NotFound if the
    project or the selected files do not exist, and Unavailable if the store does not answer.
    """

    projects: Projects
    files: Files
    removal: FileRemoval
    runtime: Runtime
    quota_check: QuotaCheck | None = None
    """Checks the quotas. None if there are no quotas."""

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
        Yank or unyank files (PEP 592), pin, unpin or delete them, or restore deleted files.

        A file that already is as the action would leave it stays unchanged, except that a yank or a
        pin may change the reason. Rules of retention delete no release of which a file is pinned. A
        delete that raises Unavailable may have been committed. The sweep deletes bytes that are
        left. If deleted bytes are removed at once, a delete raises Conflict while a file is being
        promoted to another index.

        A file is restored exactly as it was, except that it is pinned if a rule of retention has
        deleted it. A restore raises NotFound (code `not_kept`) if a named file is not kept, or none
        of the selected files is. It raises Conflict if the bytes of a file are damaged (code
        `not_intact`), or if the files in the trash have changed meanwhile. It raises TooLarge (code
        `quota_exceeded`) if a quota has no room for the files, and Invalid (code
        `variant_conflict`) if a wheel with a label does not fit its release any more.
        """
        change = partial(self._change, action, caller, name, selection, reason, dry_run=dry_run)
        # Both may use the reserve of a full disk: a delete makes room, and a yank, which needs
        # little room, stops the installations of a release.
        if action in {"delete", "yank"} and not dry_run:
            return self.projects.store.with_reserve(change)
        return change()

    def _change(
        self,
        action: ReleaseAction,
        caller: Caller,
        name: NormalizedName,
        selection: Selection,
        reason: str,
        *,
        dry_run: bool,
    ) -> Changed:
        """Do what `change` does, without the reserve of a disk."""
        require_manager(caller, name, reason)
        verified_files: Mapping[str, File] = {}
        notes: PromotionNotes | None = None
        quotas: FileQuotas | None = None

        # The store is asked before the commit, as an intent is a pure function.
        if action == "restore":
            verified_files = self._verify_files(name, selection)
            if self.quota_check is not None:
                quotas = self.quota_check.for_files()
        if action == "delete" and not self.removal.keeps_deleted:
            notes = self._require_no_promotion(name, selection)
        intent = _Change(
            lifecycle=self,
            action=action,
            caller=caller,
            selection=selection,
            reason=reason,
            at=self._time_of(action, dry_run=dry_run),
            verified_files=verified_files,
            notes=notes,
            quotas=quotas,
        )
        if dry_run:
            project = self.projects.read_for_update(name)
            intent(project)  # raises the errors that the change would raise
            keep_until: datetime | None = None
            if action == "delete":
                keep_until = self._keep_until(intent.at)
            return Changed(project, project, intent.select(project), keep_until)
        committed = self.projects.change(name, intent)
        files = intent.select(committed.before)
        if action == "delete":
            return self._finish_delete(committed, files)
        return Changed(committed.after, committed.before, files)

    def delete_chosen(
        self,
        caller: Caller,
        name: NormalizedName,
        choose: Callable[[Project], Mapping[str, tuple[File, ...]]],
    ) -> Changed:
        """
        Delete the files of a project that `choose` returns, in one commit.

        `choose` returns files by the reason of their deletion. It is a pure function, and is called
        again with a later document if another commit was faster. It must choose no file that is
        pinned or was promoted: another index may have the bytes of such a file. A file that is
        restored afterwards is pinned.
        """
        caller.require(Action.MANAGE, name)
        intent = _DeleteChosen(self, choose, caller, self._time_of("delete"))
        delete = partial(self._delete_chosen, name, intent)
        # with the reserve, as this makes room on a full disk
        return self.projects.store.with_reserve(delete)

    def _delete_chosen(self, name: NormalizedName, intent: "_DeleteChosen") -> Changed:
        """Commit a deletion by rules, and return its result."""
        committed = self.projects.change(name, intent)
        files = list[File]()
        for files_of_reason in intent.choose(committed.before).values():
            files += files_of_reason
        return self._finish_delete(committed, tuple(files))

    def _finish_delete(self, committed: CommittedProject, files: tuple[File, ...]) -> Changed:
        """Remove the bytes of deleted files if they are not kept, and return the result."""
        keep_until: datetime | None = None
        if committed.events:
            # all events of a delete have the same time
            keep_until = committed.events[0].deletion.keep_until
        if files and keep_until is None:
            # After the commit: a process that dies in between leaves bytes that nothing lists. The
            # sweep deletes them. The same delete again does not, as it finds no file any more.
            name = committed.after.name
            objects = list[Key]()
            for file in files:
                objects += [key for key, _ in listed_objects(name, file)]
            self.removal.remove(name, objects)
        return Changed(committed.after, committed.before, files, keep_until)

    def _time_of(self, action: ReleaseAction, *, dry_run: bool = False) -> datetime:
        """
        Return the time of a change, by the store's clock if it decides how long bytes are kept.

        This may ask the store, so it is called before the commit.
        """
        if action not in {"delete", "restore"}:
            return self.runtime.now()
        clock = self.removal.clock
        if dry_run:
            # an estimate needs no write, so a dry run also works on a full disk
            return clock.estimate()
        return clock.now()

    def deleted_event(
        self,
        caller: Caller,
        names: tuple[str, ...],
        reason: str,
        at: datetime,
        *,
        by_rule: bool = False,
    ) -> Event:
        """Return the event of the deletion of files, by a caller or by rules of retention."""
        keep_until = self._keep_until(at)
        # `by_rule` has a restored file pinned, so it is only needed if the files can be restored
        deletion = Deletion(keep_until=keep_until, by_rule=by_rule and keep_until is not None)
        by = caller.principal
        by_name = caller.name
        return Event.deleted(names, reason, deletion, at=at, by=by, by_name=by_name)

    def kept_files(self, project: Project) -> tuple[File, ...]:
        """Return the deleted files of a project that can be restored now."""
        if not project.trash or not self.removal.keeps_deleted:
            return ()
        return project.kept_files(self.removal.clock.estimate())

    def restorable(self, project: Project, selection: Selection) -> tuple[File, ...]:
        """
        Return the selected files of the trash, or none if all selected files are listed.

        Raises NotFound (code `not_kept`) if a named file cannot be restored, or if none of the
        selected files can be restored.
        """
        selection.require_known(project, allow_deleted=True)
        files = selection.of(self.kept_files(project))
        filenames = {file.filename for file in files}
        lost_filenames = list[str]()
        for filename in selection.deleted_in(project):
            if filename not in filenames:
                lost_filenames.append(filename)
        # each named file has to be restored, and of a version, at least one file
        if lost_filenames and (selection.filenames is not None or not files):
            reason = "everybody can read the bucket, so the bytes of a deleted file go at once"
            if self.removal.keeps_deleted:
                reason = (
                    f"deleted files are kept for {KEPT_FOR.days} days, unless they were deleted at "
                    "once"
                )
            raise NotFound(
                f"{quoted(lost_filenames[0])} cannot be restored: {reason}. Publish a new version.",
                code="not_kept",
            )
        return files

    def _verify_files(self, name: NormalizedName, selection: Selection) -> Mapping[str, File]:
        """
        Return the files to restore, by filename.

        Raises Conflict (code `not_intact`) if the store lacks bytes of a file.
        """
        # the current document, as a cached one may be older than the deletion
        files = self.restorable(self.projects.get_current(name), selection)
        # the sweep, or somebody who may write the bucket, may have removed bytes of a deleted file
        for file in files:
            if not self.files.is_intact(name, file):
                raise Conflict(
                    f"{quoted(file.filename)} cannot be restored, as its bytes in the store are "
                    "missing or damaged. Publish a new version, or restore the store from a "
                    "backup.",
                    code="not_intact",
                )
        return {file.filename: file for file in files}

    def _require_no_promotion(self, name: NormalizedName, selection: Selection) -> PromotionNotes:
        """
        Return the promotions that are noted in the records of the selected files.

        Raises Conflict while another index may be about to list one of the files.
        """
        files = selection.of(self.projects.get_current(name).files)
        # the target would list a file whose bytes are gone
        targets = ", ".join(self.removal.awaited(name, files))
        if targets:
            raise Conflict(
                f"The release is being promoted to {targets}, or a promotion has died. Promote it "
                "again, and then delete it. Or an administrator removes its files from all "
                "indexes.",
                advice=Advice(Remedy.DELETE_EVERYWHERE, name),
            )
        return PromotionNotes.of(files)

    def _keep_until(self, at: datetime) -> datetime | None:
        """
        Return until when a file that is deleted at a time can be restored.

        None means that it cannot be restored.
        """
        if not self.removal.keeps_deleted:
            return None
        return at + KEPT_FOR

    def set_status(
        self, caller: Caller, name: NormalizedName, status: Status, reason: str
    ) -> Project:
        """
        Set a project's status (PEP 792) with its reason, and return the project afterwards.

        Nothing is written if the project has that status for that reason already.
        """
        require_manager(caller, name, reason)
        intent = _SetStatus(status, reason, caller, self.runtime)
        change = partial(self.projects.change, name, intent)
        # quarantine stops installations, as a yank does, so it may use the reserve of a full disk
        if status is Status.QUARANTINED:
            return self.projects.store.with_reserve(change).after
        return change().after


# A commit calls each of these intents again, with a later document, if another commit was faster: a
# file may be gone by then.


class _Change(Struct, frozen=True, kw_only=True):
    """The intent of a change of the files of a release."""

    lifecycle: Lifecycle
    action: ReleaseAction
    caller: Caller
    selection: Selection
    reason: str
    at: datetime
    verified_files: Mapping[str, File]
    """The files to restore, whose bytes are in the store, by filename."""
    notes: PromotionNotes | None
    """The promotions of the files, or None if no bytes are removed."""
    quotas: FileQuotas | None
    """The room that the quotas leave for files to restore, or None if there are no quotas."""

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """
        Return the event, or nothing if the files already are as the change would leave them.

        Raises NotFound, Conflict, TooLarge or Invalid, as `Lifecycle.change` says.
        """
        files = self.select(project)
        is_restore = self.action == "restore"
        if is_restore and not self._are_verified(files):
            raise Conflict(f"The trash of {project.name} has changed meanwhile. Try again.")
        if self.notes is not None:
            self.notes.require_no_other(files)
        if self.quotas is not None and files:
            size = size_of_files([file.size for file in files])
            self.quotas.require_room(project, size)
        if is_restore:
            require_fit(VariantCheck(self.lifecycle.files, project), files)
        if not files:
            return ()
        filenames = tuple(file.filename for file in files)
        return (self._event(filenames),)

    def _are_verified(self, files: Iterable[File]) -> bool:
        """Return whether all files are among those whose bytes the store was asked for."""
        return all(self.verified_files.get(file.filename) == file for file in files)

    def select(self, project: Project) -> tuple[File, ...]:
        """
        Return the files that the action changes.

        Raises NotFound if the project or a selected file does not exist.
        """
        if self.action == "restore":
            return self.lifecycle.restorable(project, self.selection)
        is_delete = self.action == "delete"
        kept = self.lifecycle.kept_files(project)
        files = self.selection.files_of(project, kept, allow_deleted=is_delete)
        if is_delete:
            return files
        return tuple(file for file in files if self._changes_mark(file))

    def _changes_mark(self, file: File) -> bool:
        """Return whether the action changes the yank or the pin of a file, or its reason."""
        stored_reason = file.yanked
        if self.action in {"pin", "unpin"}:
            stored_reason = file.pinned
        if self.action in {"unyank", "unpin"}:
            return stored_reason is not None
        if stored_reason is None:
            return True
        # a yank without a reason keeps the stored reason, so that a yank can be repeated
        return self.reason not in {"", stored_reason}

    def _event(self, filenames: tuple[str, ...]) -> Event:
        """Return the event of the change of files with these names."""
        if self.action == "delete":
            return self.lifecycle.deleted_event(self.caller, filenames, self.reason, self.at)
        return Event(
            what=_KINDS[self.action],
            at=self.at,
            by=self.caller.principal,
            by_name=self.caller.name,
            files=filenames,
            reason=self.reason,
        )


class _DeleteChosen(Struct, frozen=True):
    """The intent to delete the files that rules of retention choose."""

    lifecycle: Lifecycle
    choose: Callable[[Project], Mapping[str, tuple[File, ...]]]
    caller: Caller
    at: datetime

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return an event for each reason of a deletion."""
        events = list[Event]()
        for reason, files in self.choose(project).items():
            filenames = tuple(file.filename for file in files)
            event = self.lifecycle.deleted_event(
                self.caller, filenames, reason, self.at, by_rule=True
            )
            events.append(event)
        return tuple(events)


class _SetStatus(Struct, frozen=True):
    """The intent to set the status of a project."""

    status: Status
    reason: str
    caller: Caller
    runtime: Runtime

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return the event, or nothing if the project has that status for that reason already."""
        if not project.exists:
            raise unknown_project(project.name)
        if project.status == self.status and project.reason == self.reason:
            return ()
        at = self.runtime.now()
        by = self.caller.principal
        by_name = self.caller.name
        return (Event.status_set(self.status, self.reason, at=at, by=by, by_name=by_name),)


def require_manager(caller: Caller, name: NormalizedName, reason: str) -> None:
    """Raise Forbidden unless the caller may manage a project, and Invalid for a bad reason."""
    caller.require(Action.MANAGE, name)
    require_one_line(reason, "The reason", REASON_LIMIT)
