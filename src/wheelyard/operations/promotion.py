"""
Promotion of a release from one index of the store to another.

No bytes are copied, as all indexes of a store share their files. Two documents change, by one
commit each, in this order:

1. The other index of the release, the source, notes in each file's record that it is promoted to
   the target (`File.promoted_to`). This fails if the source does not list the file any more.
2. The target lists the files, with the time and the uploader that they have in the source. One that
   it lists already, without a provenance or with a lost one, gets that of the source.

A process that dies in between leaves a note without a listing, and the same promotion again makes
the second commit. What is there already is not written again.

So bytes that the target lists are never missing, although the two documents change one after
another. Whoever deletes the file in the source either commits before the note, and nothing is
promoted, or after it, and then the deleted record has the note. An ordinary delete keeps the bytes
for weeks, in which the target lists them or never does. A delete that removes bytes at once first
deletes the filename in every index of the note, listed there or not. A target where a filename was
deleted refuses it for ever, so a promotion that is between its two commits ends with an error.
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
    """With the rights in that index."""

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
    """Those that it had."""
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

        The source notes in its files where they are promoted to. Files that the target lists with
        equal bytes stay as they are, but get the provenance of the source if they have none, or if
        the store has lost it. In a dry run nothing is written, and no upstream index is asked for
        the name.

        Raises Invalid if source and target are one index (code `invalid_field`), if the project is
        new, and nobody may have its name (code `invalid_name`), or if a wheel with a label does not
        fit those of the release in the target (code `variant_conflict`). Raises Forbidden (code
        `promotion_refused`) if a file of the release is yanked, or a rule of the target forbids it.
        Its code is `removed_rule` if the target has a rule that was removed, `no_own_packages` if
        it has no packages of its own, and `public_name` if an upstream index has the name. Raises
        Conflict if the target has other bytes under the name of a file or has deleted it (code
        `file_exists`), or if the release changes meanwhile. Raises TooLarge (code `quota_exceeded`)
        if a quota of the target has no room for all files. Raises Unavailable, too, if nobody can
        say what the target is (code `wrong_index`), or whether the name is free.
        """
        files = self._release(name, version)
        target = self.target
        warnings = tuple[str, ...]()
        quotas = target.file_quotas()
        before = target.projects.read_for_update(name)
        at = self.runtime.now()
        missing = self._missing_in_target(before, files, at, quotas)

        # what the target has already is no matter of its rules: it gets a lost provenance at most
        if missing:
            self._check_rules(files)
        replaced = self._replaced_provenances(before, files)
        if dry_run:
            return self._result(before, before, files, tuple(replaced))
        summary = ""

        # A process may die after each of these steps. The same promotion again repairs the rest,
        # so that the last one is done also if nothing is missing.
        if missing:
            summary = self._summary(name, files)
            warnings = target.uploads.claim_new_name(before, target.caller)
        if missing or replaced:
            self._note_in_source(name, version, files, missing | replaced.keys(), at)
        listed = _List(
            validated_against=before,
            files=files,
            replaced=replaced,
            quotas=quotas,
            stored=target.uploads.files,
            source=self.source.name,
            summary=summary,
            at=at,
            caller=target.caller,
        )
        with about_index(target.name):
            committed = target.projects.change(name, listed)
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

        From then on, whoever removes the bytes at once removes them from the target as well.
        """
        note = _Note(
            version=version,
            checked=files,
            filenames=filenames,
            data=PromotionData(self.target.name),
            at=at,
            caller=self.target.caller,
        )
        with about_index(self.source.name):
            self.source.projects.change(name, note)

    def _release(self, name: NormalizedName, version: Version) -> tuple[File, ...]:
        """Return the files of a release in the source, if the caller may promote it."""
        if self.source.name == self.target.name:
            message = f"FROM and TO are both {self.source.name}. Name two indexes."
            raise Invalid(message, code="invalid_field")

        # whoever may not read a project learns nothing of it
        unknown = NotFound(
            f"The index {self.source.name} has no project {quoted(name)}. Check the spelling, "
            "and from which index to promote."
        )
        if not self.source.caller.may(Action.READ, name):
            raise unknown
        definition = self.source.uploads.definition

        # an index that only has layers, or one as it was on a day
        if not definition.has_packages:
            raise NotFound(
                f"The index {definition.title} has no packages of its own. Promote from the one "
                f"that has {quoted(name)}."
            )
        try:
            self.target.uploads.permit_project(name, self.target.caller)
        except Forbidden as refusal:
            if refusal.advice is not None and refusal.advice.right:
                # the advice makes a token, and one that promotes needs rights in both
                both = f"{self.source.name},{self.target.name}"
                refusal.advice = replace(refusal.advice, index=both)
            raise
        try:
            # as it is now: a cached document may lack a file that was just uploaded
            project = self.source.projects.get_current(name)
        except NotFound:
            raise unknown from None
        with about_index(self.source.name):
            return _files_of(project, version, self.runtime.now())

    def _missing_in_target(
        self, before: Project, files: Sequence[File], at: datetime, quotas: FileQuotas | None
    ) -> frozenset[str]:
        """Return the names of files that the target lacks, or raise why it does not take them."""
        target = self.target
        try:
            with about_index(target.name):
                missing = _missing(before, files, at, quotas)
                require_fit(VariantCheck(target.uploads.files, before), missing)
        except (Conflict, Forbidden, Invalid) as refusal:
            # the caller knows two indexes, so the message says which one it is
            message = f"The index {target.name} refuses it: {refusal.message}"
            raise type(refusal)(message, code=refusal.code, advice=refusal.advice) from refusal
        return frozenset(file.filename for file in missing)

    def _check_rules(self, files: Sequence[File]) -> None:
        """Raise Forbidden if a rule forbids that these files are promoted."""
        yanked = [file.filename for file in files if file.yanked is not None]
        if yanked:
            raise _refused(
                f"{quoted(yanked[0])} is yanked",
                "Unyank or delete it first, or promote another version",
            )
        definition = self.target.uploads.definition
        target = definition.name
        # nobody has decided yet whether the releases that a rule kept back may come without it
        if definition.removed_rules:
            fact = describe_removed_rules(target, definition.removed_rules)
            advice = Advice(Remedy.EMPTY_KEYS, target, keys=definition.removed_rules)
            raise Forbidden(fact, code=REMOVED_RULE, advice=advice)
        takes_from = definition.promotion.promote_from
        if takes_from and self.source.name not in takes_from:
            raise _refused(
                f"The index {target} takes no releases from {self.source.name}",
                f"Promote it from {' or '.join(takes_from)}",
            )

    def _replaced_provenances(self, before: Project, files: Sequence[File]) -> dict[str, str]:
        """
        Return, by filename, the SHA-256 of each provenance of the target that the source replaces.

        It is an empty text for a file that has none there. One that the store has stays.
        """
        stored = self.source.uploads.files
        replaced = dict[str, str]()
        for file in files:
            listed = before.by_filename.get(file.filename)
            if listed is None or listed.provenance == file.provenance:
                continue
            # all indexes share the store of files, so the source can be asked for both
            if stored.has_intact_provenance(before.name, listed):
                continue
            if stored.has_intact_provenance(before.name, file):
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
        """Return what became of a release's files, of which `attested` get their attestations."""
        new = list[File]()
        present = list[File]()
        unattested = list[File]()
        for file in files:
            # in a dry run the target does not have it yet: then it is what the source has
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
            warnings=warnings + tuple(self._hidden(unattested)),
        )

    def _hidden(self, unattested: Sequence[File]) -> Iterator[str]:
        """Yield a warning if a rule of the target hides these files without a provenance."""
        rules = self.target.uploads.definition.rules
        if not unattested or not (rules.attested or rules.verified):
            return
        what = unattested[0].filename
        if len(unattested) > 1:
            what = f"{len(unattested)} files of this release"
        yield (
            f"The index {self.target.name} hides files without attestations: {what}. Upload again "
            f"with attestations to {self.source.name}, and promote again."
        )

    def _summary(self, name: NormalizedName, files: Sequence[File]) -> str:
        """Return the summary in the core metadata of a release."""
        described = next((file for file in files if file.has_metadata), None)
        if described is None:
            return ""
        try:
            raw = self.source.uploads.files.core_metadata(name, described)
        except NotFound as fault:
            raise damaged(f"The core metadata of {described.filename} are lost.") from fault
        return described_in(raw, name, described.version).summary[:SUMMARY_LIMIT]


# The intents are pure, as they are called again after a conflict, perhaps by other threads. So what
# the store had to be asked for was asked before, but for the `variant.json` of wheels that another
# process has just listed: it never changes.


class _Note(Struct, frozen=True, kw_only=True):
    """The intent to note a promotion in the records of a release."""

    version: Version
    checked: tuple[File, ...]
    """All files of the release, as the rules were applied to them."""
    filenames: frozenset[str]
    """Those that the note is about."""
    data: PromotionData
    at: datetime
    caller: Caller

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return the event for those files that lack the note."""
        files = _files_of(project, self.version, self.at)
        # a file that came, went or was yanked since has to pass the rules, too
        if list(map(_without_notes, files)) != list(map(_without_notes, self.checked)):
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


class _List(Struct, frozen=True, kw_only=True):
    """The intent to list promoted files in the target."""

    validated_against: Project
    """The project of the target as it was when its name was claimed."""
    files: tuple[File, ...]
    """Their records in the source."""
    replaced: Mapping[str, str]
    """The SHA-256 of each provenance of the target that another one replaces, by filename."""
    quotas: FileQuotas | None
    """What the quotas of the target leave, or None without any."""
    stored: Files
    """Has the `variant.json` of the wheels that the target lists."""
    source: str
    summary: str
    at: datetime
    caller: Caller

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return one event for each file that `project` lacks, or whose provenance is replaced."""
        require_not_released(project, self.validated_against)
        by = self.caller.principal
        by_name = self.caller.name
        # all that was checked before the note, again: the target may have changed meanwhile
        missing = _missing(project, self.files, self.at, self.quotas)
        require_fit(VariantCheck(self.stored, project), missing)
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
        """Return whether a project still has the provenance that is replaced by that of a file."""
        listed = project.by_filename.get(file.filename)
        return listed is not None and self.replaced.get(file.filename) == listed.provenance

    def _record(self, file: File) -> File:
        """Return the record of a file of the source in the target."""
        return replace(
            _without_notes(file),
            promoted_at=self.at,
            promoted_from=self.source,
            promoted_by=self.caller.principal,
            promoted_by_name=self.caller.name,
        )


def _files_of(project: Project, version: Version, at: datetime) -> tuple[File, ...]:
    """
    Return the files of a release that the source serves at a time.

    Raises NotFound if there are none, and Forbidden if the project is in quarantine.
    """
    files = Selection(version).files_of(project, project.kept_files(at))
    if not project.status.serves_files:
        fact = f"Project {quoted(project.name)} is {project.status}, so nobody gets its files."
        raise Forbidden(f"{fact} Whoever manages it can make it active again.")
    return files


def _missing(
    project: Project,
    files: Sequence[File],
    at: datetime,
    quotas: FileQuotas | None = None,
) -> tuple[File, ...]:
    """
    Return those of a release's files that a project lacks at a time.

    Raises Conflict if it cannot get one of them, and Forbidden if it accepts no uploads. Raises
    TooLarge (code `quota_exceeded`) if `quotas` have no room for them.
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


def _refused(fact: str, remedy: str) -> Forbidden:
    return Forbidden(f"{fact}. {remedy}.", code=REFUSED)
