"""
Upload of one distribution file: authorization, validation, storing and listing.

`Uploads.accept` does the cheap checks first, then validates the archive, stores the bytes, and
commits. Whether the project accepts the file is checked twice: first before anything is stored, so
that a rejected upload leaves nothing behind, and again in the commit, against concurrent writers.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_version

from wheelyard.archive.archive_rules import GIB, MIB, ArchiveLimits, ArchiveRule, Deadline
from wheelyard.catalog.files import FileContent, Files
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import (
    OVERLOADED,
    RETRY_AFTER_SECONDS,
    Conflict,
    Forbidden,
    Invalid,
    Unavailable,
    WheelyardError,
    quoted,
)
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import (
    SDIST_SUFFIX,
    ZIP_SUFFIX,
    Distribution,
    KnownDistribution,
    Sdist,
    Wheel,
    filename_readings,
    parse_filename,
    parse_known_filename,
    parse_name,
    parse_version,
    reading_of,
)
from wheelyard.model.index_definition import WRONG_INDEX, IndexDefinition
from wheelyard.model.project import (
    METADATA_SUFFIX,
    PROVENANCE_SUFFIX,
    SUMMARY_LIMIT,
    VARIANT_SUFFIX,
    Event,
    File,
    Project,
)
from wheelyard.model.quotas import UNKNOWN_SIZE, FileSize, Quotas, size_of_file
from wheelyard.operations.names import NameClaims, TakenNames
from wheelyard.operations.quota_check import FileQuotas, QuotaCheck
from wheelyard.operations.spooled_upload import SourceMetadata, SpooledUpload, SpoolWriter
from wheelyard.operations.unused_index import UnusedIndex
from wheelyard.operations.upload_attestations import (
    NO_ATTESTATIONS,
    NOT_ACCEPTED,
    AttestationRules,
    SentAttestations,
)
from wheelyard.operations.variant_check import VariantCheck
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.spool import Spool

if TYPE_CHECKING:
    from wheelyard.archive.distribution_reader import DistributionContents
    from wheelyard.operations.descriptions.descriptions import Descriptions
    from wheelyard.operations.namespaces import Namespaces


FILE_EXISTS: Final = "file_exists"
"""The code of an error about a filename that cannot be used again."""
READ_SECONDS_PER_GIB: Final = 60.0
READ_SECONDS_BASE: Final = 10.0
"""The processor time for validating an archive: the base, and more for each GiB."""


class UploadRules(Struct, frozen=True, kw_only=True):
    """The settings for uploads."""

    max_size: int = GIB
    """The largest file, in bytes."""
    zip_sdists: bool = False
    """Whether to accept `.zip` sdists, which PEP 625 has retired."""
    wheel_variants: bool = False
    """Whether to accept wheels with a label (PEP 825)."""
    lenient: bool = False
    """Whether to waive the rules of `archive/archive_rules.py`."""
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


class PublishedFile(Struct, frozen=True, omit_defaults=True):
    """An accepted file, as a command or a server tells its publisher."""

    filename: str
    sha256: str
    status: Literal["uploaded", "there"]
    """`there` if the file was listed with the same content before."""
    warnings: tuple[str, ...] = ()
    project: str = ""
    """The normalised name of its project, or empty from a server of an earlier version."""
    attested: bool = False
    """Whether a file that was listed before has got its attestations now."""


class ValidatedFile(Struct, frozen=True):
    """A file that passed validation, or is listed already."""

    upload: SpooledUpload
    entry: File
    """Its entry in the project, existing or new."""
    contents: "DistributionContents | None"
    """The contents of the archive, or None if the file is listed and stored, and was not read."""
    is_listed: bool = False
    """Whether the file is listed already."""
    provenance: bytes = b""
    """The provenance to keep beside the file, or empty bytes if there is none."""

    @property
    def variant(self) -> bytes:
        """The `variant.json` of a wheel with a label, or empty bytes without one."""
        if self.contents is None:
            return b""
        return self.contents.variant

    @property
    def summary(self) -> str:
        """
        The first `SUMMARY_LIMIT` characters of the summary in its metadata.

        The text is empty if there is no summary, or the file was not read.
        """
        if self.contents is None or self.contents.core.summary is None:
            return ""
        return self.contents.core.summary[:SUMMARY_LIMIT]


class FileDecision(Struct, frozen=True):
    """Whether a project takes one validated file."""

    entry: File
    """The entry that the project has, or gets."""
    is_new: bool = False
    """Whether the project gets this entry now."""
    refusal: WheelyardError | None = None
    """Why the project does not take the file, or None if it does."""


class AddFiles(Struct, frozen=True):
    """
    The intent to add files to one project, without those that the project refuses.

    After a conflict, the intent is called again with another project. So it keeps no decision, and
    the caller asks `decide` again with the project as it was before the commit.
    """

    validated_against: Project
    """The project as it was when the files were validated."""
    files: Sequence[ValidatedFile]
    """Files whose names differ in more than spelling."""
    at: datetime
    """The time of the events, in UTC."""
    caller: Caller
    """Who adds them."""
    is_lenient: bool
    """Whether one version may have several sdists in different formats."""
    quotas: FileQuotas | None
    """The room that the quotas leave, or None without quotas."""
    stored_files: Files
    """Has the `variant.json` of the wheels that the project lists."""

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return one event for each file that is new to `project` and not refused by it."""
        by = self.caller.principal
        by_name = self.caller.name
        events = list[Event]()
        for file, decision in zip(self.files, self.decide(project), strict=True):
            if decision.is_new:
                event = Event.uploaded(file.entry, file.summary, at=self.at, by=by, by_name=by_name)
                events.append(event)
        return tuple(events)

    def decide(self, project: Project) -> list[FileDecision]:
        """
        Return whether `project` takes each of the files, in their order.

        An error that refuses a file is returned, not raised.
        """
        decisions = [self._decide_one(project, file) for file in self.files]
        if any(file.variant for file in self.files):
            decisions = self._refuse_unfit_variants(project, decisions)
        if self.quotas is not None:
            decisions = _refuse_over_quota(self.quotas, project, decisions)
        return decisions

    def _decide_one(self, project: Project, file: ValidatedFile) -> FileDecision:
        """Return whether `project` takes one file, without a look at the other files."""
        # usually nobody has committed since, and the validation has checked all of this
        if project is self.validated_against:
            return FileDecision(file.entry, is_new=not file.is_listed)
        try:
            require_not_released(project, self.validated_against)
            listed = find_identical(
                project,
                file.upload.distribution,
                file.upload.sha256,
                self.at,
                is_lenient=self.is_lenient,
            )
        except WheelyardError as error:
            return FileDecision(file.entry, refusal=error)
        if listed is not None:
            return FileDecision(listed)
        return FileDecision(file.entry, is_new=True)

    def _refuse_unfit_variants(
        self, project: Project, decisions: Sequence[FileDecision]
    ) -> list[FileDecision]:
        """Return the decisions, with a refusal of each new wheel whose label does not fit."""
        # one check for all, as new wheels of one release may not fit each other
        check = VariantCheck(self.stored_files, project)
        checked_decisions = list[FileDecision]()
        for file, decision in zip(self.files, decisions, strict=True):
            try:
                if decision.is_new and file.variant:
                    _count_in(check, file.entry, file.variant)
            except WheelyardError as refusal:
                checked_decisions.append(FileDecision(decision.entry, refusal=refusal))
            else:
                checked_decisions.append(decision)
        return checked_decisions


def _count_in(check: VariantCheck, entry: File, variant: bytes) -> None:
    """Count in a new wheel with a label. Raises the errors of `VariantCheck.add`."""
    # imported here, as most processes see no wheel with a label
    from wheelyard.model.wheel_variants import read_variant  # noqa: PLC0415

    check.add(entry, read_variant(variant))


def _refuse_over_quota(
    quotas: FileQuotas, project: Project, decisions: Sequence[FileDecision]
) -> list[FileDecision]:
    """Return the decisions, with a refusal of each new file that a quota has no room for."""
    rooms = quotas.rooms(project)
    checked_decisions = list[FileDecision]()
    for decision in decisions:
        if not decision.is_new:
            checked_decisions.append(decision)
            continue
        size = decision.entry.size
        refusals = [room.refusal(size_of_file(size)) for room in rooms]
        first_refusal = next((refusal for refusal in refusals if refusal is not None), None)
        if first_refusal is not None:
            checked_decisions.append(FileDecision(decision.entry, refusal=first_refusal))
            continue
        # only accepted files take room from the files after them
        rooms = [room.with_file(size) for room in rooms]
        checked_decisions.append(decision)
    return checked_decisions


class Uploads(Struct, frozen=True):
    """The upload operation: authorizes, validates, stores and lists files."""

    projects: Projects
    files: Files
    spool: Spool
    runtime: Runtime
    rules: UploadRules
    taken: TakenNames
    definition: IndexDefinition
    """The index that gets the files."""
    claims: NameClaims | None = None
    """Decides about new names, or None if there is no upstream index."""
    descriptions: "Descriptions | None" = None
    """Renders the description of each new file, or None if this process shows no descriptions."""
    quota_check: QuotaCheck | None = None
    """Checks the quotas, or None without quotas."""
    unused: UnusedIndex | None = None
    """Closes the index while nobody has used it, or None if the index is always open."""
    attestations: AttestationRules | None = None
    """Decides about attestations, or None if the index keeps none."""
    namespaces: "Namespaces | None" = None
    """The namespaces of the store, or None if the index does not belong to a store."""

    @property
    def with_waivers(self) -> "Uploads":
        """A copy of this operation that waives the rules of `archive/archive_rules.py`."""
        return replace(self, rules=replace(self.rules, lenient=True))

    @property
    def quotas(self) -> Quotas:
        """The quotas, of which none need be set."""
        if self.quota_check is None:
            return Quotas()
        return self.quota_check.quotas

    def authorize(
        self,
        filename: str,
        caller: Caller,
        size: FileSize = UNKNOWN_SIZE,
        form_name: str = "",
    ) -> tuple[Distribution, ...]:
        """
        Return the distributions that the filename of a file may name, if the caller may upload it.

        `form_name` is the project's name in the form. If it is empty, there may be several
        distributions, of which the caller may upload at least one. `accept` then checks the rights
        for the one that the metadata names.

        Raises Invalid if the filename is malformed or of a format that is not taken, if it cannot
        be of a project `form_name` (code `name_mismatch`), or if the project is new, and nobody may
        have its name (code `invalid_name`). Raises Forbidden if the caller may not upload to the
        project, the project accepts no uploads, or the index accepts none (codes `no_own_packages`,
        `promotions_only` and `index_not_named`). For a new project, raises Forbidden (code
        `public_name`), which is logged, if an upstream index has its name, and Conflict (code
        `namespace_reserved`) if it is in a namespace of other owners. Raises Unavailable if the
        store or an upstream index does not answer. Raises TooLarge (code `quota_exceeded`) if a
        quota has no room for a new file of this `size`. A listed filename needs no room.
        """
        readings = self._readings(filename)
        if form_name:
            readings = (_reading_of_form(readings, form_name),)
        # The body is received if one of the readings is accepted, and `accept` checks again once
        # the metadata has decided. Without any right, all readings are tried for their errors.
        refusals = list[WheelyardError]()
        permitted = [reading for reading in readings if caller.may(Action.UPLOAD, reading.project)]
        for reading in permitted or readings:
            try:
                self._authorize(reading, caller, size)
            except WheelyardError as error:
                refusals.append(error)
            else:
                return readings
        # an Unavailable counts most: a later try may be accepted
        for refusal in refusals:
            if isinstance(refusal, Unavailable):
                raise refusal
        raise refusals[0]

    def _authorize(self, distribution: Distribution, caller: Caller, size: FileSize) -> None:
        """Raise an error unless a caller may upload a file with this name and size."""
        self._permit(distribution, caller)
        if self.namespaces is not None and self.namespaces.has(distribution.project):
            self.require_owner(self.projects.get_for_update(distribution.project), caller)
        if self.claims is not None:
            self.claims.require_free(distribution.project, caller)
        if self.quota_check is not None:
            project = self.projects.get_for_update(distribution.project)
            # a file that is uploaded again takes no more room
            if distribution.filename not in project.by_filename:
                self._require_room(project, size)

    def _require_room(self, project: Project, size: FileSize) -> None:
        """Raise TooLarge if a quota has no room for a new file of the project."""
        if self.quota_check is not None:
            self.quota_check.for_files().require_room(project, size)

    def permit(self, filename: str, project: NormalizedName, caller: Caller) -> Distribution:
        """
        Return the parsed filename of a project's file, if the caller may add it to the project.

        Upstream indexes, namespaces and quotas are not checked. Raises Invalid if the filename is
        malformed or of a format that is not taken, or if the project is new, and nobody may have
        its name (code `invalid_name`). Raises Forbidden if the caller may not upload to the
        project, the cached project accepts no uploads, or the index accepts none (codes
        `no_own_packages`, `promotions_only` and `index_not_named`). Raises Unavailable if the
        definition of the index is wrong, or the store does not answer.
        """
        rules = self.rules
        distribution = parse_filename(
            filename, project, zip_sdists=rules.zip_sdists, is_lenient=rules.lenient
        )
        self._require_no_label(distribution)
        self._permit(distribution, caller)
        return distribution

    def _readings(self, filename: str) -> tuple[Distribution, ...]:
        """Return the distributions that a filename may name. Raises Invalid if it is malformed."""
        rules = self.rules
        readings = filename_readings(
            filename, zip_sdists=rules.zip_sdists, is_lenient=rules.lenient
        )
        self._require_no_label(readings[0])
        return readings

    def _require_no_label(self, distribution: Distribution) -> None:
        """Raise Invalid if a file is a wheel with a label, and the settings allow no labels."""
        if self.rules.wheel_variants or not isinstance(distribution, Wheel):
            return
        if distribution.label:
            raise Invalid(
                # uv shows only the first sentence, so that names the setting
                f"{quoted(distribution.filename)} has the label {distribution.label} of a wheel "
                "variant (PEP 825), which this index takes only with wheel_variants = true in "
                "[uploads]. Ask its operator, or upload the wheel without a label.",
                code="invalid_filename",
            )

    def _permit(self, distribution: Distribution, caller: Caller) -> None:
        """Raise an error unless a caller may upload to a project, which is not read anew."""
        self.permit_project(distribution.project, caller)
        self.require_uploads()

    def permit_project(self, name: NormalizedName, caller: Caller) -> None:
        """
        Raise an error unless a caller may add files to a project, by an upload or a promotion.

        The status of the project is only checked if its document is in memory. Raises Forbidden if
        the caller may not upload to the project, if the index has no packages of its own (code
        `no_own_packages`), or if the cached project accepts no uploads. Raises Invalid (code
        `invalid_name`) if the project is new, and nobody may have its name. Raises Unavailable if
        the definition of the index is wrong (code `wrong_index`), or the definitions of the indexes
        cannot be read.
        """
        # the right is checked first, so that others learn nothing of the project
        caller.require(Action.UPLOAD, name)
        self._require_packages()
        # from memory alone, as the commit checks the document as it is then
        project: Project | None = None
        cached = self.projects.peek(name)
        if cached is not None:
            project = cached.value
        if project is not None:
            _check_accepts_uploads(project)
        if project is None or not project.exists:
            self.taken.require_free(name)

    def require_uploads(self) -> None:
        """
        Raise Forbidden if nobody can upload to the index.

        The code is `no_own_packages` if the index has no packages of its own, `promotions_only` if
        it takes promoted releases alone, and `index_not_named` if it is main, nothing was ever
        published in it, and there are other indexes. Raises Unavailable if the definition of the
        index is wrong (code `wrong_index`), or the store does not answer.
        """
        self._require_packages()
        if self.definition.promotion.promote_only:
            # without names of sources, releases of every index are taken
            sources = " or ".join(self.definition.promotion.promote_from) or "another index"
            raise Forbidden(
                f"The index {self.definition.name} takes no uploads: upload to {sources}, and then "
                "promote the release.",
                code="promotions_only",
            )
        if self.unused is not None:
            self.unused.require_use()

    def _require_packages(self) -> None:
        """
        Raise Forbidden (code `no_own_packages`) if the index has no packages of its own.

        Raises Unavailable (code `wrong_index`) if the definition of the index is wrong.
        """
        definition = self.definition
        if definition.problem:
            raise Unavailable(definition.problem, code=WRONG_INDEX)
        if not definition.has_packages:
            layers = " and ".join(definition.layers)
            raise Forbidden(
                f"The index {definition.name} has no packages of its own, so it takes no uploads. "
                f"It shows those of {layers}. Upload to the one that is to have the file.",
                code="no_own_packages",
            )

    def accept(self, upload: SpooledUpload, caller: Caller) -> PublishedFile:
        """
        Validate, store and list a file, and return what its publisher is told.

        A file that is listed with equal bytes already is not added again. But lost bytes are stored
        again, and the file gets attestations that it lacks. The description of a new file is
        rendered in the background. After an error, the name may be private, and the store may have
        bytes that no project lists. The same upload again completes it.

        Raises Invalid if the file, its form or its attestations are not valid, or the filename
        cannot be used again (code `file_exists`). Raises Conflict (code `file_exists`) if the
        filename is listed with other bytes, and (code `namespace_reserved`) if the project is new
        in a namespace of other owners. Raises Forbidden if the caller may not upload to the
        project, the project or the index accepts no uploads, an upstream index has its name (code
        `public_name`), or the file needs attestations (code `attestations_required`). Raises
        TooLarge (code `quota_exceeded`) if a quota has no room for the file, and NotFound if the
        index was removed meanwhile. Raises Unavailable if the store, or an upstream index, does not
        answer, or this machine is too busy (code `too_busy`).
        """
        upload = self._with_one_reading(upload, caller)
        name = upload.distribution.project
        # again, as rights may have been taken away while the bytes were received
        caller.require(Action.UPLOAD, name)
        project_before = self.projects.get_for_update(name)
        self.require_owner(project_before, caller)
        if self.unused is not None and project_before.files:
            self.unused.note_use()
        self.require_uploads()
        sent = self._check_attestations(upload, caller)

        # reads the file as an archive, which may be hostile
        validated = self.validate(upload, caller, project_before, sent)
        warnings = sent.warnings
        if validated.contents is not None:
            warnings = validated.contents.warnings + warnings

        # A process may die after each of these steps. The name is private before any byte is
        # stored, and bytes are stored before a document lists them. The same upload again does the
        # other steps.
        warnings += self.claim_new_name(project_before, caller)
        self.store(name, [validated])
        intent = self.add_files(project_before, [validated], caller)
        committed = self.projects.change(name, intent)

        # the decision that was committed: of the project as it was before the commit
        (decision,) = intent.decide(committed.before)
        if decision.refusal is not None:
            raise decision.refusal
        self.store_lost(name, [validated])
        status: Literal["uploaded", "there"] = "there"
        if decision.is_new:
            status = "uploaded"
            self._begin_description(validated)
        entry = decision.entry

        # a file that was listed before, without a provenance or with a lost one, gets it now
        is_attested = bool(sent.provenance) and not self.files.has_intact_provenance(name, entry)
        if is_attested:
            self._add_provenance(name, entry, sent.provenance, caller)
        return PublishedFile(entry.filename, entry.sha256, status, warnings, name, is_attested)

    def _begin_description(self, validated: ValidatedFile) -> None:
        """Have the description of a new file rendered in the background."""
        if validated.contents is not None and self.descriptions is not None:
            self.descriptions.begin(validated.contents.core)

    def _check_attestations(self, upload: SpooledUpload, caller: Caller) -> SentAttestations:
        """Return the provenance to keep of an upload, or raise an error about its attestations."""
        if self.attestations is not None:
            return self.attestations.check(upload, caller)
        if upload.has_attestations:
            return SentAttestations(warnings=(NOT_ACCEPTED,))
        return NO_ATTESTATIONS

    def _add_provenance(
        self, name: NormalizedName, entry: File, provenance: bytes, caller: Caller
    ) -> None:
        """
        Keep a provenance of a listed file that has none, or whose provenance the store has lost.

        A provenance that the file has got meanwhile stays.
        """
        digest = sha256(provenance).hexdigest()
        # as for a new file, the bytes are stored before the document names them
        attested = replace(entry, sidecars={PROVENANCE_SUFFIX: digest})
        self.files.put_provenance(name, attested, provenance)
        self.projects.change(name, _AddProvenance(entry, digest, self.runtime.now(), caller))

    def _with_one_reading(self, upload: SpooledUpload, caller: Caller) -> SpooledUpload:
        """
        Return an upload whose filename has one reading, which its form or its metadata names.

        All rights are checked for this reading, as `authorize` may have accepted another one.
        Raises the errors of `authorize` and of `decide`.
        """
        if not upload.other_readings:
            return upload
        readings = (upload.distribution, *upload.other_readings)
        # a form that names the project decides without a look into the archive
        if upload.form_name:
            distribution = _reading_of_form(readings, upload.form_name)
        else:
            distribution = self.decide(upload.path, upload.size, readings)
        self._authorize(distribution, caller, size_of_file(upload.size))
        return replace(upload, distribution=distribution, other_readings=())

    def decide(self, path: Path, size: int, readings: tuple[Distribution, ...]) -> Distribution:
        """
        Return the reading of a filename that the metadata in the file names.

        `size` is the size of the file in bytes. Raises Invalid if the file has no metadata (code
        `ambiguous_filename`), if they name another project (code `name_mismatch`), or if the file
        is no valid archive (codes `invalid_archive`, `unsafe_archive` and `archive_bomb`). Raises
        Unavailable (code `too_busy`) if this machine is too busy to read the file in time, and
        OSError if the file cannot be read.
        """
        # imported here, as servers without uploads do not need it
        from wheelyard.archive.distribution_reader import decide_reading  # noqa: PLC0415

        return decide_reading(
            path,
            readings,
            limits=self.rules.archive,
            deadline=self._deadline(size),
            is_lenient=self.rules.lenient,
        )

    def require_owner(self, project: Project, caller: Caller) -> None:
        """
        Raise an error if a project has no file, and a caller may not publish the first one.

        The error is a Conflict (code `namespace_reserved`) for a new project in a namespace of
        other owners. Raises Unavailable if the namespaces cannot be read.
        """
        if self.namespaces is not None:
            self.namespaces.require_owner(project, caller)

    def claim_new_name(self, project: Project, caller: Caller) -> tuple[str, ...]:
        """
        Make the name of a new project private, and return warnings for its publisher.

        Without an upstream index this does nothing, as the commit makes the name private. Raises
        Forbidden (code `public_name`) if an upstream index has the name, and Unavailable if the
        store does not answer, or nobody can say whether the name is free.
        """
        if self.claims is None or project.exists:
            return ()
        return self.claims.claim(project.name, caller)

    def validate(
        self,
        upload: SpooledUpload,
        caller: Caller,
        project_before: Project,
        attestations: SentAttestations = NO_ATTESTATIONS,
    ) -> ValidatedFile:
        """
        Validate a file for a project as it is before the upload, without storing it.

        `attestations` are the verified attestations of the file. A file that is listed with intact
        bytes is not read again.

        The caller's rights and upstream indexes are not checked. Raises Invalid if the file
        or its form is not valid, the filename cannot be used again (code `file_exists`), or a wheel
        with a label does not fit its release (code `variant_conflict`). Raises Conflict (code
        `file_exists`) if the filename is listed with other bytes, Forbidden if the project accepts
        no uploads, and TooLarge (code `quota_exceeded`) if a quota has no room for it. Raises
        Unavailable if the store does not answer, or this machine is too busy (code `too_busy`).
        """
        _check_form(upload)
        listed = find_identical(
            project_before,
            upload.distribution,
            upload.sha256,
            self.runtime.now(),
            is_lenient=self.rules.lenient,
        )

        # before the archive is read, which takes seconds; a listed file with lost bytes is read, so
        # that its bytes are stored again
        if listed is not None and self.files.is_intact(project_before.name, listed):
            return ValidatedFile(upload, listed, None, is_listed=True)
        if listed is None:
            self._require_room(project_before, size_of_file(upload.size))
        contents = self._read(upload)
        if listed is not None:
            return ValidatedFile(upload, listed, contents, is_listed=True)
        entry = self._new_entry(upload, contents, caller, attestations)
        if contents.variant:
            _count_in(VariantCheck(self.files, project_before), entry, contents.variant)
        return ValidatedFile(upload, entry, contents, provenance=attestations.provenance)

    def store(self, name: NormalizedName, files: Sequence[ValidatedFile]) -> None:
        """
        Store bytes and metadata of a project's new files, and of listed files that have lost them.

        Raises Unavailable if the store does not answer, or is full.
        """
        self.files.put(name, _contents_to_store(files))

    def store_lost(self, name: NormalizedName, files: Sequence[ValidatedFile]) -> None:
        """
        Store the bytes again that another index has removed before these files were committed.

        If there is only one index, nothing can have been removed. Raises Unavailable if the store
        does not answer, or is full.
        """
        is_only_index = False
        with suppress(Unavailable):  # an upload succeeds even if the list of indexes is damaged
            is_only_index = self.definition.is_main and not self.taken.indexes()
        if not is_only_index:
            self.files.put_lost(name, _contents_to_store(files))

    def add_files(
        self, project_before: Project, files: Sequence[ValidatedFile], caller: Caller
    ) -> AddFiles:
        """
        Return the intent to add files that were validated against `project_before`.

        Raises Unavailable if the index has a quota, and the store does not say how much of it is
        used.
        """
        quotas: FileQuotas | None = None
        if self.quota_check is not None:
            quotas = self.quota_check.for_files()
        return AddFiles(
            validated_against=project_before,
            files=files,
            at=self.runtime.now(),
            caller=caller,
            is_lenient=self.rules.lenient,
            quotas=quotas,
            stored_files=self.files,
        )

    def accept_path(
        self,
        path: Path,
        caller: Caller,
        progress: Callable[[int], None],
        attestations: str = "",
    ) -> PublishedFile:
        """
        Upload a local file with the JSON of its attestations, by way of the spool.

        `progress` is called with the size of each chunk. `attestations` is empty if there are none.

        Raises Invalid if the file cannot be opened (code `invalid_filename`), or the file or its
        name is not valid. Raises TooLarge if the file is above the limit, or a quota has no room
        for it. Raises Forbidden, Conflict and NotFound if the index does not take the file, for the
        reasons and with the codes of `authorize` and `accept`. Raises Unavailable if the
        spool cannot be written, or the store or an upstream index does not answer.
        """
        readings = self.authorize(path.name, caller)
        writer = SpoolWriter(self.spool, readings, self.rules.max_size, "the upload", {})
        try:
            _copy_to_spool(path, writer, progress)
            upload = replace(
                writer.to_upload(),
                attestations=attestations,
                has_attestations=attestations != "",
            )
            return self.accept(upload, caller)
        finally:
            writer.remove()

    def _read(self, upload: SpooledUpload) -> "DistributionContents":
        """Read and validate an archive. Raises Invalid if it is not valid, or takes too long."""
        # imported here, as servers without uploads do not need it
        from wheelyard.archive.distribution_reader import read_distribution  # noqa: PLC0415

        return read_distribution(
            upload.path,
            upload.distribution,
            limits=self.rules.archive,
            deadline=self._deadline(upload.size),
            is_lenient=self.rules.lenient,
        )

    def _deadline(self, size: int) -> Deadline:
        """Return the processor time for an archive of `size` bytes, which may be hostile."""
        seconds = READ_SECONDS_BASE + READ_SECONDS_PER_GIB * size / GIB
        return Deadline(self.runtime.thread_time, seconds, self.runtime.monotonic)

    def _new_entry(
        self,
        upload: SpooledUpload,
        contents: "DistributionContents",
        caller: Caller,
        attestations: SentAttestations,
    ) -> File:
        """Return the entry that a project gets for a new file."""
        now = self.runtime.now()
        distribution = upload.distribution
        metadata = contents.metadata
        source = SourceMetadata()
        imported_at: datetime | None = None
        if upload.source_metadata is not None:
            source = upload.source_metadata
            imported_at = now

        # a file that somebody has uploaded to the source does not get the name of the caller
        uploader_name = caller.name
        if source.uploaded_by:
            uploader_name = ""
        return File(
            filename=distribution.filename,
            version=_listed_version(contents, distribution),
            sha256=upload.sha256,
            size=upload.size,
            uploaded_at=source.upload_time(now) or now,
            uploaded_by=source.uploaded_by or caller.principal,
            sidecars=_sidecars(metadata, attestations.provenance, contents.variant),
            requires_python=contents.core.requires_python,
            yanked=source.yanked,
            imported_at=imported_at,
            waived_rules=self._waived_rules(contents, distribution),
            uploaded_by_name=uploader_name,
            lost_attestations=bool(attestations.warnings),
        )

    def _waived_rules(
        self, contents: "DistributionContents", distribution: Distribution
    ) -> tuple[str, ...]:
        """Return the codes of the rules that were waived for a file, sorted."""
        accepted_suffixes = [".whl", SDIST_SUFFIX]
        if self.rules.zip_sdists:
            accepted_suffixes.append(ZIP_SUFFIX)
        waived_rules = set(contents.waived_rules)
        if not distribution.filename.endswith(tuple(accepted_suffixes)):
            # only an import takes files of other formats, and notes the waived rule
            waived_rules.add(ArchiveRule.OBSOLETE_FORMAT.value)
        return tuple(sorted(waived_rules))


class _AddProvenance(Struct, frozen=True):
    """The intent that a listed file gets a provenance."""

    entry: File
    """The entry of the file as it was when the provenance was verified."""
    digest: str
    """The SHA-256 of the provenance."""
    at: datetime
    caller: Caller

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """Return the event, or none if the file is gone, or has got a provenance meanwhile."""
        filename = self.entry.filename
        listed = project.by_filename.get(filename)
        if listed is None or listed.sha256 != self.entry.sha256:
            return ()
        # the document has this digest already: only the bytes were lost, and are stored again
        if listed.provenance == self.digest:
            return ()
        if listed.provenance != self.entry.provenance:
            return ()
        by = self.caller.principal
        by_name = self.caller.name
        return (Event.attested(filename, self.digest, at=self.at, by=by, by_name=by_name),)


def _sidecars(metadata: bytes | None, provenance: bytes, variant: bytes) -> dict[str, str]:
    """Return the SHA-256 of each object that is stored beside a file, by its suffix."""
    sidecars = dict[str, str]()
    if metadata is not None:
        sidecars[METADATA_SUFFIX] = sha256(metadata).hexdigest()
    if provenance:
        sidecars[PROVENANCE_SUFFIX] = sha256(provenance).hexdigest()
    if variant:
        sidecars[VARIANT_SUFFIX] = sha256(variant).hexdigest()
    return sidecars


def _contents_to_store(files: Iterable[ValidatedFile]) -> list[FileContent]:
    """Return the bytes and metadata of those files that were read."""
    contents = list[FileContent]()
    for file in files:
        # a file that was not read is listed, and the store has its bytes
        if file.contents is not None:
            metadata = file.contents.metadata
            content = FileContent(
                file.entry, file.upload.path, metadata, file.provenance, file.variant
            )
            contents.append(content)
    return contents


def _listed_version(contents: "DistributionContents", distribution: Distribution) -> str:
    """Return the version of a file as its project lists it."""
    # Only in a lenient import can the metadata have another version than the filename, or none.
    # Then the version of the filename counts, as clients choose a file by its name.
    with suppress(Invalid):
        version = parse_version(contents.core.version)
        if version == distribution.version:
            # if the metadata spell the version in another way, their spelling counts
            return str(version)
    return str(distribution.version)


def _copy_to_spool(path: Path, writer: SpoolWriter, progress: Callable[[int], None]) -> None:
    """Write a local file to the spool. Raises Invalid if the file cannot be opened."""
    try:
        source = path.open("rb", buffering=0)
    except OSError as error:
        raise Invalid(
            f"{path} cannot be read: {error.strerror}. Name a wheel or an sdist that is there.",
            code="invalid_filename",
        ) from error
    with source, storage_faults("the upload"):
        while chunk := source.read(MIB):
            writer.write(chunk)
            progress(len(chunk))


def _reading_of_form(readings: tuple[Distribution, ...], form_name: str) -> Distribution:
    """Return the reading with the project's name in the form. Raises Invalid if there is none."""
    reading = reading_of(readings, parse_name(form_name))
    if reading is None:
        raise _form_mismatch("name", readings[0].project, form_name)
    return reading


def _check_form(upload: SpooledUpload) -> None:
    """Raise Invalid if the name or version in the form is not that of the filename."""
    distribution = upload.distribution
    if upload.form_name and parse_name(upload.form_name) != distribution.project:
        raise _form_mismatch("name", distribution.project, upload.form_name)
    if upload.form_version and parse_version(upload.form_version) != distribution.version:
        raise _form_mismatch("version", str(distribution.version), upload.form_version)


def _form_mismatch(field: str, in_filename: str, in_form: str) -> Invalid:
    """Return the error of a form whose name or version is not that of the filename."""
    fact = f"Filename says {quoted(in_filename)}, the form says {quoted(in_form)}."
    remedy = "Build the distribution again and upload it with the client's defaults."
    return Invalid(f"{fact} {remedy}", code=f"{field}_mismatch")


def _check_accepts_uploads(project: Project) -> None:
    """Raise Forbidden if the status of a project lets nobody upload to it."""
    if not project.status.takes_uploads:
        raise Forbidden(
            f"Project {quoted(project.name)} is {project.status}.",
            advice=Advice(Remedy.MAKE_ACTIVE, project.name),
        )


def require_not_released(project: Project, earlier: Project) -> None:
    """Raise Unavailable (code `overloaded`) if the name was released since `earlier` was read."""
    # somebody else may have claimed the name since; the same upload again checks who may have it
    if project.is_released and project.revision > earlier.revision:
        fact = f"The name {quoted(project.name)} was released during this upload."
        raise Unavailable(fact, code=OVERLOADED, retry_after=RETRY_AFTER_SECONDS)


def find_identical(
    project: Project,
    distribution: KnownDistribution,
    sha256: str,
    at: datetime,
    *,
    is_lenient: bool = False,
) -> File | None:
    """
    Return the entry of a file that is listed with equal bytes, or None if the file may be added.

    If `is_lenient`, one version may have several sdists in different formats. `at` is now, and
    decides whether a message names a deleted file that can be restored.

    Raises Invalid (code `file_exists`) if the filename was deleted, or another spelling of it is
    listed or was deleted. Raises Forbidden if the project accepts no uploads, and Conflict (code
    `file_exists`) if the filename is listed with other bytes.
    """
    _check_accepts_uploads(project)
    listed = project.by_filename.get(distribution.filename)
    if listed is not None:
        if listed.sha256 == sha256:
            return listed
        raise filename_taken(distribution.filename)
    if distribution.uniqueness_key in project.deleted_keys:
        raise _filename_deleted(project, sha256, at)
    _check_spelling(project, distribution, is_lenient=is_lenient)
    return None


def _filename_deleted(project: Project, sha256: str, at: datetime) -> Invalid:
    """Return the error of an upload whose filename was deleted, in this or another spelling."""
    fact = "This filename was used by a file that has been deleted."
    # nothing can be restored of a project whose name was released
    if project.exists:
        for file in project.kept_files(at):
            if file.sha256 == sha256:
                advice = Advice(Remedy.RESTORE, project.name, version=file.version)
                return Invalid(f"{fact} It had the same content.", code=FILE_EXISTS, advice=advice)
    return Invalid(f"{fact} Use a new version.", code=FILE_EXISTS)


def filename_taken(filename: str) -> Conflict:
    """Return the error for a filename that is listed with other bytes."""
    fact = f"File already exists ({quoted(filename)}, with different content)."
    return Conflict(f"{fact} Use a new version.", code=FILE_EXISTS)


def _check_spelling(project: Project, distribution: KnownDistribution, *, is_lenient: bool) -> None:
    """Raise Invalid if a listed file differs from a new one in the spelling of its name only."""
    # PEP 440 and the names of wheels allow several spellings of one file's name, and installers
    # would take any of two such files
    release = canonicalize_version(distribution.version)
    for file in project.by_release.get(release, ()):
        listed = parse_known_filename(file.filename, project.name)
        if listed.uniqueness_key != distribution.uniqueness_key:
            continue
        if is_lenient and _format(listed) != _format(distribution):
            continue
        fact = f"Clashes with {quoted(file.filename)}, which differs only in spelling."
        raise Invalid(f"{fact} Use a new version.", code=FILE_EXISTS)


def _format(distribution: KnownDistribution) -> str:
    """Return the suffix of an sdist, or an empty text for a wheel, which has one format."""
    if isinstance(distribution, Sdist):
        return distribution.suffix
    return ""
