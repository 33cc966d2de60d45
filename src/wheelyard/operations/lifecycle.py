"""
Yank, unyank, pin, unpin, delete and restore of files, and the status of projects.

A deleted file is kept for `KEPT_FOR`: its record in the trash of the document, its bytes where they
are. Nobody is given them, and its filename stays taken. `immediate_deletion.py` has what removes
bytes at once. Where everybody can read the bucket, they always go at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
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
    Selects all files of one version or of a set of versions, or only some of them.

    Pre-releases are in a set as PEP 440 orders them: `<2` has 1.9rc1 and not 2.0rc1.
    """

    versions: Version | SpecifierSet
    filenames: frozenset[str] | None = None
    """Selects only files of these names. None of them may be missing."""

    def files_of(
        self,
        project: Project,
        kept: Iterable[File] = (),
        *,
        allow_deleted: bool = False,
    ) -> tuple[File, ...]:
        """
        Return the selected files of a project.

        `kept` are its deleted files that can be restored, for a message.

        Raises NotFound if the project or one of the named files does not exist, or no file is
        selected. With `allow_deleted`, deleted files are not missing, so that a delete can be
        repeated. They are not returned.
        """
        selected = self.of(project.files)
        self.require_known(project, kept, allow_deleted=allow_deleted)
        return selected

    def of(self, files: Iterable[File]) -> tuple[File, ...]:
        """Return those of the files that are selected."""
        return tuple(file for file in files if self.has(Version(file.version), file.filename))

    def require_known(
        self,
        project: Project,
        kept: Iterable[File] = (),
        *,
        allow_deleted: bool = False,
    ) -> None:
        """
        Raise NotFound if a named file or the project does not exist, or no file is selected.

        `kept` are the deleted files that can be restored, for a message. With `allow_deleted`,
        deleted files are not missing.
        """
        if not project.exists:
            raise unknown_project(project.name)
        names = {file.filename for file in self.of(project.files)}
        deleted = self.deleted_in(project)
        if allow_deleted:
            names.update(deleted)
        missing = list[str]()
        if self.filenames is not None:
            missing = sorted(self.filenames - names)
        if missing or not names:
            # a message is about one file: who gets it asks again for the rest
            if deleted and (not missing or missing[0] in deleted):
                raise self._deleted(project.name, missing, kept)
            raise NotFound(
                f"{project.name} has no {self.what(missing)}.",
                advice=Advice(Remedy.LIST_FILES, project.name),
            )

    def _deleted(self, name: str, missing: Sequence[str], kept: Iterable[File]) -> NotFound:
        """Return the error for deleted files, or the first of the missing ones."""
        fact = f"{name} has no {self.what(missing)} any more, as it was deleted."
        filenames = {file.filename for file in self.of(kept)}
        if not filenames or (missing and missing[0] not in filenames):
            return NotFound(f"{fact} It cannot be restored. Publish a new version.")
        advice = Advice(Remedy.RESTORE, name)
        if missing:
            advice = replace(advice, filename=missing[0])
        if isinstance(self.versions, SpecifierSet):
            return NotFound(fact, advice=replace(advice, versions=str(self.versions)))
        return NotFound(fact, advice=replace(advice, version=str(self.versions)))

    def deleted_in(self, project: Project) -> tuple[str, ...]:
        """Return the selected filenames of deleted files."""
        filenames = list[str]()
        for filename in project.deleted_filenames:
            # its record may be gone, so the version is that of the name
            version = parse_known_filename(filename, project.name).version
            if self.has(version, filename):
                filenames.append(filename)
        return tuple(filenames)

    def what(self, filenames: Sequence[str] = ()) -> str:
        """Return the selected versions in words, or the first of these files of them."""
        what = f"version {self.versions}"
        if isinstance(self.versions, SpecifierSet):
            what = f"version in {quoted(str(self.versions))}"
        if not filenames:
            return what
        return f"file {quoted(filenames[0])} of {what}"

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
    """The project after the change, or in a dry run, as it is."""
    before: Project
    """The project that the change has found."""
    files: tuple[File, ...]
    """The files, as they were, that the change has changed, or would change."""
    keep_until: datetime | None = None
    """Until when the files of a delete can be restored, in UTC, or None if they cannot be."""


class PromotionNotes(Struct, frozen=True):
    """What was noted of promotions of files to other indexes, before their bytes are to go."""

    noted: frozenset[tuple[str, str]] = frozenset()
    """The names of files, each with the name of an index that it is promoted to."""

    @classmethod
    def of(cls, files: Iterable[File]) -> "PromotionNotes":
        """Return what is noted of these files."""
        noted = set[tuple[str, str]]()
        for file in files:
            noted.update((file.filename, target) for target in file.targets)
        return cls(frozenset(noted))

    def require_no_other(self, files: Iterable[File]) -> None:
        """Raise Conflict if more is noted of files by now: another index is about to list them."""
        if not PromotionNotes.of(files).noted <= self.noted:
            raise Conflict("The release was promoted meanwhile. Do it again.")


class Lifecycle(Struct, frozen=True):
    """
    Changes published files and projects.

    All files of a change are one commit. In a dry run nothing is written.

    Each method returns the result of the change. It raises Forbidden if the caller may not manage
    the project, Invalid if the reason is not one line of text, NotFound if the project or the
    selected files do not exist, and Unavailable if the store does not answer.
    """

    projects: Projects
    files: Files
    removal: FileRemoval
    runtime: Runtime
    quota_check: QuotaCheck | None = None
    """None without any quota."""

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
        Yank or unyank files (PEP 592), pin, unpin or delete them, or restore deleted ones.

        A file that is so already is left alone, except that a yank or a pin may change the reason.
        Rules of retention delete no release of which a file is pinned. A delete that raises
        Unavailable may have been committed. The sweep deletes bytes that are left.

        Where deleted bytes go at once, a delete raises Conflict if a file is just being promoted to
        another index.

        A file is restored exactly as it was, except that it is pinned if a rule of retention has
        deleted it. Raises NotFound (code `not_kept`) if a named file is not kept, or none of those
        selected is. Raises Conflict if the bytes of one of them are damaged (code `not_intact`), or
        if the files in the trash have changed meanwhile. Raises TooLarge (code `quota_exceeded`) if
        a quota has no room for them, and Invalid (code `variant_conflict`) if a wheel with a label
        does not fit its release any more.
        """
        change = partial(self._change, action, caller, name, selection, reason, dry_run=dry_run)
        # a yank too: it is what stops the installations of a release, and is as small
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
        verified: Mapping[str, File] = {}
        notes: PromotionNotes | None = None
        quotas: FileQuotas | None = None

        # What asks the store is asked before the commit: an intent is a pure function.
        if action == "restore":
            verified = self._verified(name, selection)
            if self.quota_check is not None:
                quotas = self.quota_check.for_files()
        if action == "delete" and not self.removal.keeps_deleted:
            notes = self._settled_notes(name, selection)
        intent = _Change(
            lifecycle=self,
            action=action,
            caller=caller,
            selection=selection,
            reason=reason,
            at=self._time_of(action, dry_run=dry_run),
            verified=verified,
            notes=notes,
            quotas=quotas,
        )
        if dry_run:
            project = self.projects.read_for_update(name)
            intent(project)  # raises what the change would
            keep_until: datetime | None = None
            if action == "delete":
                keep_until = self._keep_until(intent.at)
            return Changed(project, project, intent.select(project), keep_until)
        committed = self.projects.change(name, intent)
        files = intent.select(committed.before)
        if action == "delete":
            return self._deleted(committed, files)
        return Changed(committed.after, committed.before, files)

    def delete_chosen(
        self,
        caller: Caller,
        name: NormalizedName,
        choose: Callable[[Project], Mapping[str, tuple[File, ...]]],
    ) -> Changed:
        """
        Delete the files that `choose` returns for the project, by the reason, in one commit.

        `choose` is a pure function, and asked again for each commit that others were faster with.
        It chooses no file that is pinned or was promoted: another index may have its bytes. A file
        that is restored afterwards is pinned.
        """
        caller.require(Action.MANAGE, name)
        intent = _DeleteChosen(self, choose, caller, self._time_of("delete"))
        # on a full disk, too, as it makes room
        return self.projects.store.with_reserve(partial(self._delete_chosen, name, intent))

    def _delete_chosen(self, name: NormalizedName, intent: "_DeleteChosen") -> Changed:
        """Commit a deletion by rules, and return its result."""
        committed = self.projects.change(name, intent)
        files = tuple(chain.from_iterable(intent.choose(committed.before).values()))
        return self._deleted(committed, files)

    def _deleted(self, committed: CommittedProject, files: tuple[File, ...]) -> Changed:
        """Return the result of a delete, once the bytes are removed that are not kept."""
        keep_until = next((event.deletion.keep_until for event in committed.events), None)
        if files and keep_until is None:
            # After the commit: whoever dies in between leaves bytes that nothing lists, which the
            # sweep deletes. The same delete again does not, as it finds no file any more.
            name = committed.after.name
            objects = list[Key]()
            for file in files:
                objects += [key for key, _ in listed_objects(name, file)]
            self.removal.remove(name, objects)
        return Changed(committed.after, committed.before, files, keep_until)

    def _time_of(self, action: ReleaseAction, *, dry_run: bool = False) -> datetime:
        """
        Return the time of a change: by the store's clock if it decides how long bytes are kept.

        For before the commit, as the store may have to be asked.
        """
        if action not in {"delete", "restore"}:
            return self.runtime.now()
        clock = self.removal.clock
        if dry_run:
            # it also works where the store cannot be written, as on a full disk
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
        # what cannot be restored needs no note that a restored file has to be pinned
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

        Raises NotFound (code `not_kept`) if a named file cannot be restored, or none of those
        selected.
        """
        selection.require_known(project, allow_deleted=True)
        files = selection.of(self.kept_files(project))
        names = {file.filename for file in files}
        lost = [name for name in selection.deleted_in(project) if name not in names]
        # a file that is named has to come back, and of a version, at least one
        if lost and (selection.filenames is not None or not files):
            why = "everybody can read the bucket, so the bytes of a deleted file go at once"
            if self.removal.keeps_deleted:
                why = (
                    f"deleted files are kept for {KEPT_FOR.days} days, unless they were deleted at "
                    "once"
                )
            raise NotFound(
                f"{quoted(lost[0])} cannot be restored: {why}. Publish a new version.",
                code="not_kept",
            )
        return files

    def _verified(self, name: NormalizedName, selection: Selection) -> Mapping[str, File]:
        """Return the files to restore, of which the store has all bytes, by filename."""
        # as it is now: a cached document may be older than the deletion
        files = self.restorable(self.projects.get_current(name), selection)
        # the sweep, or somebody with the bucket, may have removed bytes of a file in the trash
        for file in files:
            if not self.files.is_intact(name, file):
                raise Conflict(
                    f"{quoted(file.filename)} cannot be restored, as its bytes in the store are "
                    "missing or damaged. Publish a new version, or restore the store from a "
                    "backup.",
                    code="not_intact",
                )
        return {file.filename: file for file in files}

    def _settled_notes(self, name: NormalizedName, selection: Selection) -> "PromotionNotes":
        """
        Return what is noted of promotions of the selected files, which are over.

        Raises Conflict while another index may be about to list one of them.
        """
        files = selection.of(self.projects.get_current(name).files)
        # the target would list a file whose bytes are gone
        awaiting = ", ".join(self.removal.awaited(name, files))
        if awaiting:
            raise Conflict(
                f"The release is being promoted to {awaiting}, or a promotion has died. Promote it "
                "again, and then delete it. Or an administrator removes its files from all "
                "indexes.",
                advice=Advice(Remedy.DELETE_EVERYWHERE, name),
            )
        return PromotionNotes.of(files)

    def _keep_until(self, at: datetime) -> datetime | None:
        """Return until when a file that is deleted now can be restored, or None for never."""
        if not self.removal.keeps_deleted:
            return None
        return at + KEPT_FOR

    def set_status(
        self, caller: Caller, name: NormalizedName, status: Status, reason: str
    ) -> Project:
        """
        Set a project's status (PEP 792) with its reason, and return the project afterwards.

        Nothing is written if it has that status for that reason.
        """
        require_manager(caller, name, reason)
        change = partial(
            self.projects.change, name, _SetStatus(status, reason, caller, self.runtime)
        )
        # quarantine stops installations, as a yank does: also on a full disk
        if status is Status.QUARANTINED:
            return self.projects.store.with_reserve(change).after
        return change().after


# These intents are asked again for each commit that others were faster with: a file may be gone by
# then.


class _Change(Struct, frozen=True, kw_only=True):
    """The intent of a change of the files of a release."""

    lifecycle: Lifecycle
    action: ReleaseAction
    caller: Caller
    selection: Selection
    reason: str
    at: datetime
    verified: Mapping[str, File]
    """The files to restore whose bytes were looked at, by filename."""
    notes: PromotionNotes | None
    """What was noted of promotions of files whose bytes are to go, or None if none go."""
    quotas: FileQuotas | None
    """What the quotas leave for files to restore, or None without any."""

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return the event, or none if the files are so already."""
        files = self.select(project)
        is_restore = self.action == "restore"
        # the store was not asked for the bytes of any other file
        if is_restore and any(self.verified.get(file.filename) != file for file in files):
            raise Conflict(f"The trash of {project.name} has changed meanwhile. Try again.")
        if self.notes is not None:
            self.notes.require_no_other(files)
        if self.quotas is not None and files:
            self.quotas.require_room(project, size_of_files([file.size for file in files]))
        if is_restore:
            require_fit(VariantCheck(self.lifecycle.files, project), files)
        if not files:
            return ()
        return (self._event(tuple(file.filename for file in files)),)

    def select(self, project: Project) -> tuple[File, ...]:
        """Return the files that the change changes."""
        if self.action == "restore":
            return self.lifecycle.restorable(project, self.selection)
        is_delete = self.action == "delete"
        kept = self.lifecycle.kept_files(project)
        files = self.selection.files_of(project, kept, allow_deleted=is_delete)
        if is_delete:
            return files
        return tuple(file for file in files if self._changes_mark(file))

    def _changes_mark(self, file: File) -> bool:
        """Return whether a file gets a yank or a pin, loses it, or gets another reason for it."""
        mark = file.yanked
        if self.action in {"pin", "unpin"}:
            mark = file.pinned
        if self.action in {"unyank", "unpin"}:
            return mark is not None
        # a reason is changed and never removed: who repeats a yank need not know it
        return mark is None or self.reason not in {"", mark}

    def _event(self, names: tuple[str, ...]) -> Event:
        """Return the event of the change of files with these names."""
        if self.action == "delete":
            return self.lifecycle.deleted_event(self.caller, names, self.reason, self.at)
        return Event(
            what=_KINDS[self.action],
            at=self.at,
            by=self.caller.principal,
            by_name=self.caller.name,
            files=names,
            reason=self.reason,
        )


class _DeleteChosen(Struct, frozen=True):
    """The intent to delete what rules of retention choose."""

    lifecycle: Lifecycle
    choose: Callable[[Project], Mapping[str, tuple[File, ...]]]
    caller: Caller
    at: datetime

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return an event for each reason."""
        events = list[Event]()
        for reason, files in self.choose(project).items():
            names = tuple(file.filename for file in files)
            event = self.lifecycle.deleted_event(self.caller, names, reason, self.at, by_rule=True)
            events.append(event)
        return tuple(events)


class _SetStatus(Struct, frozen=True):
    """The intent to set the status of a project."""

    status: Status
    reason: str
    caller: Caller
    runtime: Runtime

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return the event, or none if the project has that status for that reason."""
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
