"""The import of one batch of files of one project: skip, fetch, validate, store and commit."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from threading import Event, Lock
from typing import Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.archive.archive_rules import WAIVABLE_CODES
from wheelyard.catalog.commits import Committed, CommittedProject, ProjectIntent
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.errors import (
    TOO_BUSY,
    UNREADABLE_CODES,
    Conflict,
    Forbidden,
    Invalid,
    Unavailable,
    WheelyardError,
    quoted,
)
from wheelyard.model.access import Caller
from wheelyard.model.decoding import counted, to_one_line
from wheelyard.model.distribution_filename import (
    ACCEPTED_FORMATS,
    LENIENT_SUFFIXES,
    Distribution,
    KnownDistribution,
    UniquenessKey,
    filename_readings,
    known_filename_readings,
)
from wheelyard.model.project import File, Project
from wheelyard.model.project_changes import apply
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.operations.names import REFUSALS
from wheelyard.operations.spooled_upload import (
    SHA256,
    SourceMetadata,
    SpooledUpload,
    SpoolWriter,
    file_too_large,
)
from wheelyard.operations.uploads import FileDecision, Uploads, ValidatedFile, filename_taken
from wheelyard.sources.candidate import UPLOADER_LIMIT, Candidate

T = TypeVar("T")

MAX_NAMED: Final = 10_000
"""The most outcomes of a status that a report keeps. All of them are counted."""

MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
"""The size of all pending files in the spool from which they are committed."""
READ_ATTEMPTS: Final = 3
"""How often the import tries to read a file while this machine is too busy."""
_CODES_OF_ONE_FILE: Final = UNREADABLE_CODES | REFUSALS | {TOO_BUSY}
"""The codes of an Unavailable that is about one file or name: the import goes on."""
UNREADABLE: Final = "unreadable_file"
"""The error code for a file of the source that could not be read."""
DIGEST_ALGORITHMS: Final = frozenset({"sha384", "sha512", "blake2b", "sha1", "md5"})
"""The digests besides SHA-256 that are compared if the source has them."""


class FileStatus(Enum):
    """The status of one entry of a source after the import."""

    NEW = "new"
    """The file was added. In a dry run it would be."""
    THERE = "there"
    """The file was listed already with equal bytes."""
    DELETED = "deleted"
    """The file was deleted from the index, and is not added again."""
    PASSED_OVER = "passed_over"
    """The entry is no distribution, or a distribution that the source does not list."""
    SKIPPED = "skipped"
    """The file is a distribution in a format that no index takes any more."""
    REFUSED = "refused"
    """The file was not added because of an error."""


class Outcome(Struct, frozen=True, kw_only=True):
    """The status of one entry of a source after the import, and the reason."""

    location: str
    """The location in the source."""
    status: FileStatus
    code: str = ""
    """The error code of a refusal, as in the page `errors.md`."""
    why: str = ""
    """Why the entry was not added, in one or two sentences."""
    warning: str = ""
    """Which metadata of the source could not be used, if the file was added without them."""
    waived_rules: tuple[str, ...] = ()
    """The codes of the rules that the file breaks and that were waived."""
    is_retryable: bool = False
    """Whether the reason of a refusal may pass, as it is not about the file itself."""


class Report(Struct):
    """The number of files by status so far, and the first outcomes that an operator should know."""

    counts: Counter[FileStatus] = field(default_factory=Counter)
    waived_rules: Counter[str] = field(default_factory=Counter)
    """The number of new files for each waived rule."""
    refused: list[Outcome] = []
    """The first refused files, at most `MAX_NAMED`."""
    skipped: list[Outcome] = []
    """The first skipped files, at most `MAX_NAMED`."""
    warned: list[Outcome] = []
    """The first files that were added with a warning, at most `MAX_NAMED`."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, and keep it if it is one of the first that an operator should know."""
        self.counts[outcome.status] += 1
        self.waived_rules.update(outcome.waived_rules)
        kept_outcomes: list[Outcome] | None = None
        if outcome.warning:
            kept_outcomes = self.warned
        elif outcome.status is FileStatus.REFUSED:
            kept_outcomes = self.refused
        elif outcome.status is FileStatus.SKIPPED:
            kept_outcomes = self.skipped
        if kept_outcomes is not None and len(kept_outcomes) < MAX_NAMED:
            kept_outcomes.append(outcome)

    def summary(self, *, dry_run: bool = False) -> str:
        """
        Return one line of text with the number of files by status, for operators.

        With `dry_run`, it says of new files that they would be imported.
        """
        counts = self.counts
        verb = "would import" if dry_run else "imported"
        parts = [f"{verb} {counted(counts[FileStatus.NEW], 'file')}"]
        status_words = (
            (FileStatus.THERE, "there already"),
            (FileStatus.DELETED, "deleted here before"),
            (FileStatus.PASSED_OVER, "passed over"),
            (FileStatus.SKIPPED, "skipped"),
            (FileStatus.REFUSED, "refused"),
        )
        parts += [f"{counts[status]} {words}" for status, words in status_words if counts[status]]
        return ", ".join(parts)


class ImportProgress:
    """Receives the progress of an import, and ignores it unless a subclass does something."""

    __slots__ = ()

    def read(self, size: int) -> None:
        """Called by worker threads after each read, with the number of bytes."""

    def done(self, outcome: Outcome) -> None:
        """Called with each outcome, in no particular order, by the thread that runs the import."""


class SourceFile(Struct, frozen=True):
    """A file of the source, with its parsed filename."""

    candidate: Candidate
    distribution: KnownDistribution

    @property
    def key(self) -> tuple[NormalizedName, UniquenessKey]:
        """The project and uniqueness key. Of files with one key, the first valid one wins."""
        return self.distribution.project, self.distribution.uniqueness_key


Batch = list[SourceFile]
"""Files of one project, in the order of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportContext:
    """The upload operation, caller and state that all batches of one import share."""

    uploads: Uploads
    caller: Caller
    started_at: datetime
    progress: ImportProgress
    dry_run_projects: dict[NormalizedName, Project] | None
    """The projects as a dry run would make them, or None if this is no dry run."""
    # Worker threads only add names, and one other thread removes them, so no lock is needed.
    unlisted: set[NormalizedName] = dataclasses.field(default_factory=set)
    """Projects that may be missing in the list of names."""
    stopped: Event = dataclasses.field(default_factory=Event)
    """Set to stop the worker threads before the next file."""
    _refusals: dict[NormalizedName, WheelyardError | None] = dataclasses.field(default_factory=dict)
    """Why each new name is refused, or None for a name that is free."""
    _lock: Lock = dataclasses.field(default_factory=Lock)
    """Held while a dry run changes a project, as only one commit at a time changes a document."""

    def require_free(self, name: NormalizedName) -> None:
        """
        Raise an error unless a new name may become private.

        Without an upstream index, every name may. Upstream indexes are asked about a name once in
        an import, but for two threads that ask at the same time. A refusal is kept for the rest of
        the import, also that an upstream index does not answer. Raises Forbidden (code
        `public_name`) if an upstream index has the name, unless the name is private already, or the
        settings let it be taken. Raises Unavailable if an upstream
        index cannot say whether it has the name (codes `upstream_unavailable` and
        `upstream_unproven`), or the store does not answer.
        """
        claims = self.uploads.claims
        if claims is not None and name not in self._refusals:
            refusal: WheelyardError | None = None
            try:
                claims.require_free(name, self.caller)
            except WheelyardError as fault:
                if fault.code not in REFUSALS:
                    raise
                refusal = fault
            self._refusals[name] = refusal
        known_refusal = self._refusals.get(name)
        if known_refusal is not None:
            raise known_refusal

    def list_names(self) -> None:
        """
        Add the imported projects to the list of names, except in a dry run.

        Raises Unavailable if the store does not answer.
        """
        names = self.unlisted.copy()
        if self.dry_run_projects is None:
            self.uploads.projects.names.claim(*names)
        self.unlisted.difference_update(names)

    def latest(self, name: NormalizedName) -> Project:
        """
        Return a project as it is now, or in a dry run, as the files so far would make it.

        Raises Unavailable if the store does not answer, or the document is damaged.
        """
        if self.dry_run_projects and name in self.dry_run_projects:
            return self.dry_run_projects[name]
        return self.uploads.projects.get_for_update(name)

    def commit(
        self, name: NormalizedName, files: Sequence[ValidatedFile], intent: ProjectIntent
    ) -> CommittedProject:
        """
        Store `files` and commit `intent`, or in a dry run, apply it to the project in memory.

        The project is not added to the list of names, which `list_names` does. Raises the errors of
        `intent`, and Unavailable if the store does not answer, or the document is damaged.
        """
        if self.dry_run_projects is None:
            # the bytes first, as a commit may list no missing file: after a crash in between, a
            # sweep removes them
            self.uploads.store(name, files)
            committed = self.uploads.projects.commits.submit(project_journal(name), intent)
            self.uploads.store_lost(name, files)
            return committed
        with self._lock:
            before = self.latest(name)
            after = before
            for event in intent(before):
                after = apply(after, event)
            self.dry_run_projects[name] = after
            return Committed(before, after)


def import_batch(context: ImportContext, batch: Batch) -> list[Outcome]:
    """
    Import the new files of a batch, and return the outcomes of all its files.

    If the project's document is damaged, all remaining files are refused. If `context.stopped` is
    set, the import ends before the next file, and files that wait for a commit are not imported:
    these files have no outcome. The project is added to `context.unlisted` if it exists afterwards.
    Raises Unavailable if the store does not answer.
    """
    name = batch[0].distribution.project
    project_import = ProjectImport(context, name)
    outcomes = project_import.outcomes
    try:
        project_import.run(batch)
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        # only this project is damaged, so its remaining files are refused
        locations = {outcome.location for outcome in outcomes}
        for source_file in batch:
            if source_file.candidate.location not in locations:
                outcomes.append(refused(source_file.candidate, fault))
    finally:
        project_import.close()
        # also a project that an earlier crash has kept out of the list
        if project_import.project.exists:
            context.unlisted.add(name)
    return outcomes


def refused(candidate: Candidate, fault: WheelyardError, hint: str = "") -> Outcome:
    """Return the outcome of a file that is refused for `fault`. Its reason ends with `hint`."""
    is_retryable = fault.code == UNREADABLE or isinstance(fault, Unavailable | Forbidden)
    if isinstance(fault.__cause__, Unavailable):
        # the source did not answer when it was asked for this file
        is_retryable = True
    return Outcome(
        location=candidate.location,
        status=FileStatus.REFUSED,
        code=fault.code,
        why=f"{fault.message} {hint}".strip(),
        is_retryable=is_retryable,
    )


class ProjectImport:
    """The import of one batch: its project as it is so far, and files that wait for a commit."""

    def __init__(self, context: ImportContext, name: NormalizedName) -> None:
        self.project = Project(name=name)
        self.outcomes: list[Outcome] = []
        self._context = context
        self._pending = dict[UniquenessKey, tuple[Candidate, ValidatedFile]]()

    def run(self, batch: Batch) -> None:
        """
        Import the files of a batch, and add their outcomes to `outcomes`.

        If `stopped` of the context is set, the import ends before the next file, and waiting files
        are not committed. Raises Unavailable if the store does not answer, or the document is
        damaged.
        """
        self.project = self._context.latest(self.project.name)
        for source_file in batch:
            if self._context.stopped.is_set():
                return
            self._process(source_file)
        self._commit()

    def _process(self, source_file: SourceFile) -> None:
        """Skip, refuse or validate one file, which then waits for the next commit."""
        if source_file.distribution.uniqueness_key in self._pending:
            # the second of two files with one key is compared with the first, once that is listed
            self._commit()
        outcome = self._outcome_without_bytes(source_file)
        if outcome is not None:
            self.outcomes.append(outcome)
            return
        try:
            self._validate(source_file)
        except WheelyardError as fault:
            if isinstance(fault, Unavailable) and fault.code not in _CODES_OF_ONE_FILE:
                raise  # the store does not answer
            self.outcomes.append(refused(source_file.candidate, fault, self._hint(fault)))
        pending_bytes = sum(file.upload.size for _, file in self._pending.values())
        if pending_bytes >= MAX_BATCH_BYTES:
            self._commit()

    def _hint(self, fault: WheelyardError) -> str:
        """Return how a file that was refused for `fault` may be imported, or an empty text."""
        is_waivable = fault.code in WAIVABLE_CODES and not isinstance(fault, Conflict)
        if is_waivable and not self._context.uploads.rules.lenient:
            return "With --lenient it may be taken."
        return ""

    def _commit(self) -> None:
        """Store, commit and report the pending files, then delete them from the spool."""
        context = self._context
        pending = list(self._pending.values())
        if not pending:
            return
        try:
            if context.dry_run_projects is None:
                context.uploads.claim_new_name(self.project, context.caller)
        except WheelyardError as fault:
            if fault.code not in REFUSALS:
                raise
            self.outcomes += [refused(candidate, fault) for candidate, _ in pending]
        else:
            files = [file for _, file in pending]
            intent = context.uploads.add_files(self.project, files, context.caller)
            committed = context.commit(self.project.name, files, intent)
            self.project = committed.after
            # the decisions of the commit, before which another upload may have changed the project
            decisions = intent.decide(committed.before)
            for (candidate, _), decision in zip(pending, decisions, strict=True):
                self.outcomes.append(_outcome(candidate, decision))
        self.close()

    def close(self) -> None:
        """Forget the pending files, committed or not, and delete them from the spool."""
        for _, file in self._pending.values():
            file.upload.path.unlink(missing_ok=True)
        self._pending.clear()

    def _outcome_without_bytes(self, source_file: SourceFile) -> Outcome | None:
        """Return the outcome of a file that need not be fetched, or None if it must be fetched."""
        candidate = source_file.candidate
        if source_file.distribution.uniqueness_key in self.project.deleted_keys:
            return Outcome(location=candidate.location, status=FileStatus.DELETED)
        listed = self.project.by_filename.get(candidate.filename)
        if listed is None and not candidate.filename.endswith((".whl", *LENIENT_SUFFIXES)):
            why = f"wheelyard takes {ACCEPTED_FORMATS}."
            return Outcome(location=candidate.location, status=FileStatus.SKIPPED, why=why)
        if listed is None:
            return None
        digest = _source_digest(candidate, SHA256)
        if digest and digest != listed.sha256:
            return refused(candidate, filename_taken(candidate.filename))
        # without a digest, the size and the times of the source decide
        if not digest and not self._is_unchanged(listed, candidate):
            return None
        return Outcome(location=candidate.location, status=FileStatus.THERE)

    def _is_unchanged(self, listed: File, candidate: Candidate) -> bool:
        """Return whether a listed file is the candidate, by the size and times of the source."""
        if listed.imported_at is None:
            return False
        source_metadata = SourceMetadata(uploaded_at=candidate.uploaded_at)
        uploaded_at = source_metadata.upload_time(listed.imported_at) or listed.imported_at
        is_equal = candidate.size == listed.size and uploaded_at == listed.uploaded_at
        is_of_earlier_import = listed.imported_at < self._context.started_at
        if not is_equal or not is_of_earlier_import or candidate.changed_at is None:
            return False
        # this time also changes if another file is moved to the place of the first one
        return candidate.changed_at < listed.imported_at.timestamp()

    def _validate(self, source_file: SourceFile) -> None:
        """Fetch and validate a file, which then waits in the spool for the next commit."""
        context = self._context
        candidate = source_file.candidate
        name = self.project.name
        caller = context.caller
        distribution = context.uploads.permit(candidate.filename, name, caller)
        context.uploads.require_owner(self.project, caller)
        if not self.project.exists:
            context.require_free(name)
        attestations = context.uploads.attestations
        if attestations is not None and candidate.filename not in self.project.by_filename:
            attestations.permit_import(name)

        # all checks that need no byte were made before this
        upload = _fetch(candidate, distribution, context)
        try:
            validate = partial(context.uploads.validate, upload, caller, self.project)
            validated = _retry_while_busy(validate, context)
        except BaseException:
            upload.path.unlink(missing_ok=True)
            raise
        self._pending[distribution.uniqueness_key] = (candidate, validated)


def find_distribution(candidate: Candidate, context: ImportContext) -> KnownDistribution:
    """
    Return the distribution that a candidate is, by its filename and the project of its source.

    If these do not decide, the file is fetched, and its metadata decides. Raises Invalid if the
    candidate is no distribution, or its metadata does not decide, and TooLarge if it is too large.
    Raises Unavailable if the spool cannot be written, or this machine is too busy (code
    `too_busy`).
    """
    readings = known_filename_readings(candidate.filename)
    for reading in readings:
        if reading.project == candidate.project:
            return reading
    if len(readings) == 1 or not candidate.filename.endswith(LENIENT_SUFFIXES):
        return readings[0]
    # in the filename of an sdist of an old tool, the version may begin at any of several hyphens
    sdists = filename_readings(candidate.filename, is_lenient=True)
    upload = _fetch(candidate, sdists[0], context)
    try:
        decide = partial(context.uploads.decide, upload.path, upload.size, sdists)
        return _retry_while_busy(decide, context)
    finally:
        upload.path.unlink(missing_ok=True)


def _retry_while_busy(read: Callable[[], T], context: ImportContext) -> T:
    """
    Call a function that reads a file, and return its result.

    While this machine is too busy, the function is called again, `READ_ATTEMPTS` times in all.
    """
    for _ in range(READ_ATTEMPTS - 1):
        try:
            return read()
        except Unavailable as fault:
            if fault.code != TOO_BUSY or context.stopped.is_set():
                raise
    return read()


def _outcome(candidate: Candidate, decision: FileDecision) -> Outcome:
    """Return the outcome of a file, by the decision of its commit."""
    if decision.refusal is not None:
        return refused(candidate, decision.refusal)
    if not decision.is_new:
        return Outcome(location=candidate.location, status=FileStatus.THERE)
    return Outcome(
        location=candidate.location,
        status=FileStatus.NEW,
        warning=candidate.warning,
        waived_rules=decision.entry.waived_rules,
    )


def _fetch(
    candidate: Candidate, distribution: Distribution, context: ImportContext
) -> SpooledUpload:
    """
    Fetch a file into the spool, and compare it with the size and digests of its source.

    Raises TooLarge if the file is too large, Invalid if it cannot be read or is another file, and
    Unavailable if the spool cannot be written.
    """
    uploads = context.uploads
    limit = uploads.rules.max_size

    # a known size saves the download, and the writer counts the bytes in any case
    if candidate.size is not None and candidate.size > limit:
        raise file_too_large(limit)
    algorithms = DIGEST_ALGORITHMS & candidate.hashes.keys()
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    writer = SpoolWriter(uploads.spool, (distribution,), limit, "the import", hashers)
    try:
        for chunk in _chunks(candidate):
            writer.write(chunk)
            context.progress.read(len(chunk))
        _check_digests(candidate, writer)
    except BaseException:
        writer.remove()
        raise

    # closed until the commit, as a batch may have more files than a process may open
    writer.close()
    uploaded_at = candidate.uploaded_at
    if uploaded_at is None and candidate.last_modified is not None:
        uploaded_at = candidate.last_modified()
    yanked = candidate.yanked
    if yanked is not None:
        yanked = to_one_line(yanked, REASON_LIMIT)
    metadata = SourceMetadata(
        uploaded_at=uploaded_at,
        uploaded_by=to_one_line(candidate.uploaded_by, UPLOADER_LIMIT),
        yanked=yanked,
    )
    return replace(writer.to_upload(), source_metadata=metadata)


def _chunks(candidate: Candidate) -> Iterator[bytes]:
    """
    Yield a file's bytes in chunks.

    Raises Invalid for every error of the source, so that only this file is refused.
    """
    try:
        with candidate.read() as chunks:
            yield from chunks
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Invalid(f"It cannot be read: {reason}.", code=UNREADABLE) from error
    except WheelyardError as fault:
        raise Invalid(fault.message, code=fault.code) from fault


def _check_digests(candidate: Candidate, writer: SpoolWriter) -> None:
    """Raise Invalid if a file has other digests or another size than its source says."""
    for algorithm, digest in sorted(writer.digests.items()):
        source_digest = _source_digest(candidate, algorithm)
        if source_digest and source_digest != digest:
            raise _digest_mismatch(
                f"its {algorithm} is {digest}, and the source says {quoted(source_digest)}"
            )
    if candidate.size is not None and candidate.size != writer.size:
        raise _digest_mismatch(f"it has {writer.size} bytes, and the source says {candidate.size}")


def _source_digest(candidate: Candidate, algorithm: str) -> str:
    """Return the digest of a file that its source has, or an empty text if it has none."""
    return candidate.hashes.get(algorithm, "").strip().lower()


def _digest_mismatch(difference: str) -> Invalid:
    """Return the error for a file that is another one than its source says."""
    return Invalid(
        f"The file is not the one that was uploaded there: {difference}. Restore it there.",
        code="digest_mismatch",
    )
