"""
Promotion of a release from one index of the store to another.

No bytes are copied, as all indexes of a store share their files. Two documents change, by one
commit each, in this order:

1. The source, the index that the release comes from, notes in the record of each file that the
   file is promoted to the target (`File.promoted_to`). This fails if the source does not list the
   file any more.
2. The target lists the files, with the time and the uploader that they have in the source. A file
   that the target lists already, without a provenance or with a lost one, gets that of the source.

A process that dies in between leaves a note without a listing, and the same promotion again makes
the second commit. Files that the target has already are not written again.

So bytes that the target lists are never missing, although the two documents change one after
another. A deletion of the file in the source is committed before the note, and then nothing is
promoted, or after the note, and then the deleted record has it. An ordinary deletion keeps the
bytes for weeks, in which the target lists them or never does. A deletion that removes bytes at once
first deletes the filename in every index of the note, listed there or not. A target where a
filename was deleted refuses it for ever, so a promotion that is between its two commits ends with
an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.document_cache import damaged
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.removed import REMOVED_RULE, describe_removed_rules
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Forbidden, Invalid, NotFound, about_index, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.project import SUMMARY_LIMIT, Event, File, Project, PromotionData
from wheelyard.model.quotas import size_of_files
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.quota_check import FileQuotas
from wheelyard.operations.search.project_table import described_in
from wheelyard.operations.uploads import Uploads, find_identical, require_not_released
from wheelyard.operations.variant_check import VariantCheck, require_fit
from wheelyard.remedies import Advice, Remedy

REFUSED: Final = "promotion_refused"
"""The code of a Forbidden for a release that the rules of the target keep back."""


class IndexSide(Struct, frozen=True, kw_only=True):
    """An index that a release is promoted from or to, and what a caller may do there."""

    uploads: Uploads
    """The operation of that index."""
    caller: Caller
    """The caller, with the rights in that index."""

    @property
    def name(self) -> str:
        """The name of the index."""
        return self.uploads.definition.name

    @property
    def projects(self) -> Projects:
        """The projects of the index."""
        return self.uploads.projects

    def file_quotas(self) -> FileQuotas | None:
        """
        Return what the quotas of the index leave, or None without any.

        Raises Unavailable if the store does not answer.
        """
        if self.uploads.quota_check is None:
            return None
        return self.uploads.quota_check.for_files()


class Promoted(Struct, frozen=True, kw_only=True):
    """The result of a promotion, or in a dry run what it would be."""

    project: Project
    """The project in the target."""
    new: tuple[File, ...]
    """The records of the files that the target got now."""
    present: tuple[File, ...] = ()
    """The records of the files that the target had before."""
    attested: tuple[str, ...] = ()
    """The names of those of `present` that got their attestations now."""
    warnings: tuple[str, ...] = ()


class Promotion(Struct, frozen=True):
    """
    Promotes releases from one index to another.

    `promote` raises Forbidden if the caller may not upload to the project in the target. It
    raises NotFound if the caller may not read it in the source, or the source has no such release.
    It raises Forbidden if the project is in quarantine in the source, or accepts no uploads in the
    target. It raises Unavailable if the store does not answer: a commit may have been made.
    """

    source: IndexSide
    target: IndexSide
    runtime: Runtime

    def promote(self, name: NormalizedName, version: Version, *, dry_run: bool = False) -> Promoted:
        """
        List all files of a release in the target, and return which are new there.

        The source notes in the records of its files where they are promoted to. Files that the
        target lists with equal bytes stay as they are, but get the provenance of the source if they
        have none, or if the store has lost it. In a dry run nothing is written, and no upstream
        index is asked for the name.

        Raises Invalid if source and target are one index (code `invalid_field`), if the project is
        new, and nobody may have its name (code `invalid_name`), or if a wheel with a label does not
        fit those of the release in the target (code `variant_conflict`). Raises Forbidden (code
        `promotion_refused`) if a file of the release is yanked, or the target takes no releases
        from the source. The code of a Forbidden is `removed_rule` if the target has a rule that was
        removed, `no_own_packages` if it has no packages of its own, and `public_name` if an
        upstream index has the name. Raises Conflict if the target has other bytes under the name of
        a file or has deleted it (code `file_exists`), or if the release changes meanwhile. Raises
        TooLarge (code `quota_exceeded`) if a quota of the target has no room for all files. Raises
        Unavailable, too, if the definition of the target is wrong (code `wrong_index`), or nobody
        can say whether the name is free.
        """
        files = self._find_release_files(name, version)
        target = self.target
        quotas = target.file_quotas()
        target_project = target.projects.read_for_update(name)
        at = self.runtime.now()
        missing_filenames = self._missing_in_target(target_project, files, at, quotas)

        # a file that the target has already needs no look at its rules: at most it gets a lost
        # provenance again
        if missing_filenames:
            self._check_rules(files)
        replaced = self._replaced_provenances(target_project, files)
        if dry_run:
            return self._result(target_project, target_project, files, tuple(replaced))

        # A process may die after each of these steps. The same promotion again does the rest of
        # them, so the last step is done even if no file is missing.
        summary = ""
        warnings = tuple[str, ...]()
        if missing_filenames:
            summary = self._read_summary(name, files)
            warnings = target.uploads.claim_new_name(target_project, target.caller)
        noted_filenames = missing_filenames | replaced.keys()
        if noted_filenames:
            self._note_in_source(name, version, files, noted_filenames, at)
        list_in_target = _ListInTarget(
            validated_against=target_project,
            files=files,
            replaced_provenances=replaced,
            quotas=quotas,
            stored_files=target.uploads.files,
            source=self.source.name,
            summary=summary,
            at=at,
            caller=target.caller,
        )
        with about_index(target.name):
            committed = target.projects.change(name, list_in_target)
        return self._result(committed.before, committed.after, files, tuple(replaced), warnings)

    def _note_in_source(
        self,
        name: NormalizedName,
        version: Version,
        files: tuple[File, ...],
        filenames: frozenset[str],
        at: datetime,
    ) -> None:
        """
        Note in the source that some of the files of a release are promoted.

        From then on, a deletion that removes the bytes at once deletes the files in the target as
        well.
        """
        note_in_source = _NoteInSource(
            version=version,
            checked_files=files,
            filenames=filenames,
            data=PromotionData(self.target.name),
            at=at,
            caller=self.target.caller,
        )
        with about_index(self.source.name):
            self.source.projects.change(name, note_in_source)

    def _find_release_files(self, name: NormalizedName, version: Version) -> tuple[File, ...]:
        """
        Return the files of a release in the source, if the caller may promote it.

        Raises the errors of `promote` about rights, and about a release that cannot be promoted.
        """
        if self.source.name == self.target.name:
            message = f"FROM and TO are both {self.source.name}. Name two indexes."
            raise Invalid(message, code="invalid_field")

        # the same error for a caller who may not read the project, so that it tells nothing of it
        unknown_error = NotFound(
            f"The index {self.source.name} has no project {quoted(name)}. Check the spelling, "
            "and from which index to promote."
        )
        if not self.source.caller.may(Action.READ, name):
            raise unknown_error
        definition = self.source.uploads.definition

        # without own packages: it shows layers alone, or it is an index as it was on a day
        if not definition.has_packages:
            raise NotFound(
                f"The index {definition.title} has no packages of its own. Promote from the one "
                f"that has {quoted(name)}."
            )
        try:
            self.target.uploads.permit_project(name, self.target.caller)
        except Forbidden as refusal:
            if refusal.advice is not None and refusal.advice.right:
                # the advice is to make a token, which needs rights in both indexes to promote
                both_names = f"{self.source.name},{self.target.name}"
                refusal.advice = replace(refusal.advice, index=both_names)
            raise
        try:
            # as it is now: a cached document may lack a file that was just uploaded
            project = self.source.projects.get_current(name)
        except NotFound:
            raise unknown_error from None
        with about_index(self.source.name):
            return _served_files(project, version, self.runtime.now())

    def _missing_in_target(
        self,
        target_project: Project,
        files: Sequence[File],
        at: datetime,
        quotas: FileQuotas | None,
    ) -> frozenset[str]:
        """Return the names of the files that the target lacks. Raises if it does not take them."""
        target = self.target
        try:
            with about_index(target.name):
                missing = _find_missing(target_project, files, at, quotas)
                require_fit(VariantCheck(target.uploads.files, target_project), missing)
        except (Conflict, Forbidden, Invalid) as refusal:
            # a promotion is about two indexes, so the message says which of them refuses it
            message = f"The index {target.name} refuses it: {refusal.message}"
            raise type(refusal)(message, code=refusal.code, advice=refusal.advice) from refusal
        return frozenset(file.filename for file in missing)

    def _check_rules(self, files: Sequence[File]) -> None:
        """Raise Forbidden if a file is yanked, or a rule of the target refuses the release."""
        yanked = [file.filename for file in files if file.yanked is not None]
        if yanked:
            raise _refusal(
                f"{quoted(yanked[0])} is yanked",
                "Unyank or delete it first, or promote another version",
            )
        definition = self.target.uploads.definition
        target_name = definition.name
        # an administrator has to decide first whether releases that a removed rule of an earlier
        # version kept back may be promoted
        if definition.removed_rules:
            fact = describe_removed_rules(target_name, definition.removed_rules)
            advice = Advice(Remedy.EMPTY_KEYS, target_name, keys=definition.removed_rules)
            raise Forbidden(fact, code=REMOVED_RULE, advice=advice)
        allowed_sources = definition.promotion.promote_from
        if allowed_sources and self.source.name not in allowed_sources:
            raise _refusal(
                f"The index {target_name} takes no releases from {self.source.name}",
                f"Promote it from {' or '.join(allowed_sources)}",
            )

    def _replaced_provenances(
        self, target_project: Project, files: Sequence[File]
    ) -> dict[str, str]:
        """
        Return the SHA-256 of each provenance of the target that the source replaces, by filename.

        The SHA-256 is an empty text for a file without a provenance in the target. A provenance
        that the store has intact is not replaced.
        """
        stored_files = self.source.uploads.files
        name = target_project.name
        replaced = dict[str, str]()
        for file in files:
            listed = target_project.by_filename.get(file.filename)
            if listed is None or listed.provenance == file.provenance:
                continue
            # all indexes share the store of files, so one object can be asked about both records
            if stored_files.has_intact_provenance(name, listed):
                continue
            if stored_files.has_intact_provenance(name, file):
                replaced[file.filename] = listed.provenance
        return replaced

    def _result(
        self,
        before: Project,
        after: Project,
        files: Sequence[File],
        attested: tuple[str, ...],
        warnings: tuple[str, ...] = (),
    ) -> Promoted:
        """
        Return the result of a promotion of a release's files.

        `before` and `after` are the project in the target before and after the commit, which are
        the same in a dry run. `attested` has the names of the files that get their attestations.
        """
        new = list[File]()
        present = list[File]()
        unattested = list[File]()
        for file in files:
            # in a dry run the target has no record of a new file: then the source has it
            record = after.by_filename.get(file.filename, file)
            if file.filename in before.by_filename:
                present.append(record)
            else:
                new.append(record)
            if not record.has_provenance and file.filename not in attested:
                unattested.append(record)
        return Promoted(
            project=after,
            new=tuple(new),
            present=tuple(present),
            attested=attested,
            warnings=warnings + tuple(self._hidden_warnings(unattested)),
        )

    def _hidden_warnings(self, unattested: Sequence[File]) -> Iterator[str]:
        """Yield a warning if a rule of the target hides these files without a provenance."""
        rules = self.target.uploads.definition.rules
        hides_unattested = rules.attested or rules.verified
        if not unattested or not hides_unattested:
            return
        hidden_files = unattested[0].filename
        if len(unattested) > 1:
            hidden_files = f"{len(unattested)} files of this release"
        yield (
            f"The index {self.target.name} hides files without attestations: {hidden_files}. "
            f"Upload again with attestations to {self.source.name}, and promote again."
        )

    def _read_summary(self, name: NormalizedName, files: Sequence[File]) -> str:
        """
        Return the summary in the core metadata of a release, or an empty text without metadata.

        Raises Unavailable if the store has lost the metadata.
        """
        described = next((file for file in files if file.has_metadata), None)
        if described is None:
            return ""
        try:
            raw = self.source.uploads.files.core_metadata(name, described)
        except NotFound as fault:
            raise damaged(f"The core metadata of {described.filename} are lost.") from fault
        return described_in(raw, name, described.version).summary[:SUMMARY_LIMIT]


# The intents are pure functions of the project, as they are called again after a conflict, perhaps
# by other threads. So they ask the store for nothing but the `variant.json` of wheels that another
# process has just listed, which never changes.


class _NoteInSource(Struct, frozen=True, kw_only=True):
    """The intent to note a promotion in the records of a release."""

    version: Version
    checked_files: tuple[File, ...]
    """The records of all files of the release, as they were when the rules were checked."""
    filenames: frozenset[str]
    """The names of the files that get the note."""
    data: PromotionData
    at: datetime
    caller: Caller

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """
        Return the event for those files that lack the note.

        Raises Conflict if a file of the release was added, deleted, yanked or otherwise changed
        since the rules were checked.
        """
        files = _served_files(project, self.version, self.at)
        records = [_without_notes(file) for file in files]
        checked_records = [_without_notes(file) for file in self.checked_files]
        if records != checked_records:
            raise Conflict(
                f"Version {self.version} of {quoted(project.name)} was changed meanwhile. Do it "
                "again."
            )
        names = list[str]()
        for file in files:
            if file.filename in self.filenames and self.data.target not in file.targets:
                names.append(file.filename)
        if not names:
            return ()
        by = self.caller.principal
        by_name = self.caller.name
        event = Event.promotion_noted(self.data, tuple(names), at=self.at, by=by, by_name=by_name)
        return (event,)


class _ListInTarget(Struct, frozen=True, kw_only=True):
    """The intent to list promoted files in the target."""

    validated_against: Project
    """The project of the target as it was when its name was claimed."""
    files: tuple[File, ...]
    """The records of the files in the source."""
    replaced_provenances: Mapping[str, str]
    """The SHA-256 of each provenance of the target that another one replaces, by filename."""
    quotas: FileQuotas | None
    """The room that the quotas of the target leave, or None without quotas."""
    stored_files: Files
    """Has the `variant.json` of the wheels that the target lists."""
    source: str
    """The name of the source."""
    summary: str
    """The summary of the release, or empty if the target has all files."""
    at: datetime
    caller: Caller

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """
        Return one event for each file that `project` lacks, or whose provenance is replaced.

        Raises Conflict, Forbidden, Invalid or TooLarge if the target does not take a file, and
        Unavailable if the name was released meanwhile.
        """
        require_not_released(project, self.validated_against)
        by = self.caller.principal
        by_name = self.caller.name
        # checked again, as the target may have changed since the note was written
        missing = _find_missing(project, self.files, self.at, self.quotas)
        require_fit(VariantCheck(self.stored_files, project), missing)
        events = list[Event]()
        for file in missing:
            record = self._record(file)
            events.append(Event.uploaded(record, self.summary, at=self.at, by=by, by_name=by_name))
        for file in self.files:
            if self._replaces_provenance(project, file):
                digest = file.provenance
                events.append(
                    Event.attested(file.filename, digest, at=self.at, by=by, by_name=by_name)
                )
        return tuple(events)

    def _replaces_provenance(self, project: Project, file: File) -> bool:
        """Return whether a project still has the provenance that `file` is to replace."""
        listed = project.by_filename.get(file.filename)
        if listed is None:
            return False
        return self.replaced_provenances.get(file.filename) == listed.provenance

    def _record(self, file: File) -> File:
        """Return the record that a file of the source gets in the target."""
        return replace(
            _without_notes(file),
            promoted_at=self.at,
            promoted_from=self.source,
            promoted_by=self.caller.principal,
            promoted_by_name=self.caller.name,
        )


def _served_files(project: Project, version: Version, at: datetime) -> tuple[File, ...]:
    """
    Return the files of a release that the source serves at a time.

    Raises NotFound if the project has no such release, and Forbidden if it is in quarantine.
    """
    files = Selection(version).files_of(project, project.kept_files(at))
    if not project.status.serves_files:
        fact = f"Project {quoted(project.name)} is {project.status}, so nobody gets its files."
        raise Forbidden(f"{fact} Whoever manages it can make it active again.")
    return files


def _find_missing(
    project: Project,
    files: Sequence[File],
    at: datetime,
    quotas: FileQuotas | None = None,
) -> tuple[File, ...]:
    """
    Return those of a release's files that a project lacks at a time.

    Raises Conflict if the project cannot get one of the files, and Forbidden if it accepts no
    uploads. Raises TooLarge (code `quota_exceeded`) if `quotas` have no room for the files.
    """
    missing = list[File]()
    for file in files:
        distribution = parse_known_filename(file.filename, project.name)
        try:
            # the source may have sdists of one version in several formats, by a lenient import
            listed = find_identical(project, distribution, file.sha256, at, is_lenient=True)
        except Invalid as refusal:
            raise Conflict(refusal.message, code=refusal.code, advice=refusal.advice) from refusal
        if listed is None:
            missing.append(file)
    if quotas is not None and missing:
        quotas.require_room(project, size_of_files([file.size for file in missing]))
    return tuple(missing)


def _without_notes(file: File) -> File:
    """Return a file's record without what was noted in this index: promotions, and a pin."""
    return replace(file, promoted_to=(), approved_for={}, pinned=None)


def _refusal(fact: str, remedy: str) -> Forbidden:
    """Return the error for a release that the rules of the target keep back."""
    return Forbidden(f"{fact}. {remedy}.", code=REFUSED)
