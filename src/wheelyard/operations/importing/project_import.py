"""The import of files of one project, in the order of the source, in few commits."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event, Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.archive.leniency import WAIVABLE_RULES
from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.documents import DAMAGED
from wheelyard.errors import Conflict, Forbidden, Invalid, Unavailable, WheelyardError, quoted
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import Distribution, UniquenessKey, parse_known_filename
from wheelyard.model.project import File, Project, apply
from wheelyard.operations.importing.report import FileStatus, Outcome
from wheelyard.operations.spooling import (
    SHA256,
    SourceMetadata,
    SpooledUpload,
    SpoolWriter,
    file_too_large,
)
from wheelyard.operations.upload import Uploads, ValidatedFile, filename_taken
from wheelyard.sources.candidate import Candidate

MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a group that may wait in the spool for their commit; one file may be larger."""
UNREADABLE: Final = "unreadable_file"
"""The code of a refusal where the bytes could not be had."""
ALGORITHMS: Final = frozenset({"sha384", "sha512", "blake2b", "sha1", "md5"})
"""What a source may say of the bytes besides SHA-256."""


@dataclass(frozen=True, slots=True)
class ImportItem:
    """A file that a source offers, and what its name says."""

    candidate: Candidate
    distribution: Distribution

    @property
    def key(self) -> tuple[NormalizedName, UniquenessKey]:
        """What there may be once: of two of them, the first one is taken."""
        return self.distribution.project, self.distribution.uniqueness_key


Batch = list[ImportItem]
"""Files of one project, in the order of the source."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a group."""

    name: NormalizedName
    is_project: bool
    """Whether there is such a project now."""
    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportContext:
    """What is the same for all groups of an import."""

    uploads: Uploads
    caller: Caller
    began: datetime
    read: Callable[[int], None]
    """Told how many bytes were read just now, by several threads."""
    rehearsed: dict[NormalizedName, Project] | None
    """In a dry run, which writes nothing: the projects as they would be."""
    stopped: Event = field(default_factory=Event)
    """Set when nothing more is to be begun."""
    _lock: Lock = field(default_factory=Lock)

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it is, or would be by now."""
        return (self.rehearsed or {}).get(name) or self.uploads.projects.latest(name)

    def commit(
        self, name: NormalizedName, checked: Sequence[ValidatedFile], intent: Intent
    ) -> Committed:
        """Store the bytes of files, carry out the intent that lists them, and return the change."""
        if self.rehearsed is None:
            self.uploads.keep(name, checked)
            return self.uploads.projects.commits.submit(name, intent)
        with self._lock:
            before = after = self.latest(name)
            for event in intent(before):
                after = apply(after, event)
            self.rehearsed[name] = after
            return Committed(before, after)

    def ensure(self, names: set[NormalizedName]) -> None:
        """See to it that names are in the list of projects."""
        if self.rehearsed is None:
            self.uploads.projects.names.ensure(*names)


def import_batch(job: ImportContext, group: Batch) -> BatchResult:
    """
    Publish what is new in a group.

    Raises:
        Unavailable: The store does not answer.
    """
    work, name = None, group[0].distribution.project
    try:
        work = _GroupImport(job, job.latest(name))
        for item in group:
            if job.stopped.is_set():
                break
            work.take(item)
        else:
            work.commit()
    except Unavailable as fault:
        if fault.code != DAMAGED:
            raise
        # only this project is: each of its files that has no outcome yet is refused
        outcomes = work.outcomes if work is not None else []
        told = {outcome.location for outcome in outcomes}
        left = [each.candidate for each in group if each.candidate.location not in told]
        outcomes += [refused(each, fault) for each in left]
        return BatchResult(name, is_project=False, outcomes=outcomes)
    finally:
        if work is not None:
            work.close()
    return BatchResult(name, work.project.revision > 0, work.outcomes)


def refused(candidate: Candidate, fault: WheelyardError, hint: str = "") -> Outcome:
    """Return the outcome of a file that is refused."""
    return Outcome(
        location=candidate.location,
        status=FileStatus.REFUSED,
        code=fault.code,
        why=f"{fault.message} {hint}".strip(),
        may_pass=fault.code == UNREADABLE
        or isinstance(fault, Unavailable | Forbidden)
        or isinstance(fault.__cause__, Unavailable),  # of the source, where only this file failed
    )


class _GroupImport:
    def __init__(self, job: ImportContext, project: Project) -> None:
        self._job = job
        self._pending: list[tuple[Candidate, ValidatedFile]] = []
        self._waiting = set[UniquenessKey]()
        self._size = 0
        self._gone = {
            parse_known_filename(each).uniqueness_key for each in project.deleted_filenames
        }
        self.project = project
        self.outcomes: list[Outcome] = []

    def take(self, item: ImportItem) -> None:
        """Settle one file, or have it wait for the next commit."""
        if item.distribution.uniqueness_key in self._waiting:
            self.commit()  # of two that are there once, the second is compared with the first
        status = self._known(item)
        if status is not None:
            self.outcomes.append(status)
            return
        try:
            self._check(item)
        except WheelyardError as fault:
            if isinstance(fault, Unavailable) and fault.code != DAMAGED:
                raise  # the next file would fare no better
            may_excuse = fault.code in WAIVABLE_RULES and not isinstance(fault, Conflict)
            is_strict = may_excuse and not self._job.uploads.rules.lenient
            hint = "With --lenient it may be taken." if is_strict else ""
            self.outcomes.append(refused(item.candidate, fault, hint))
        if self._size >= MAX_BATCH_BYTES:
            self.commit()

    def commit(self) -> None:
        """Store and list everything that waits."""
        job, pending = self._job, self._pending
        if not pending:
            return
        checked = [each for _, each in pending]
        listing = job.uploads.listing(self.project, checked, job.caller)
        committed = job.commit(self.project.name, checked, listing)
        self.project = committed.after
        outcomes = listing.outcomes(committed.before)
        for (candidate, each), outcome in zip(pending, outcomes, strict=True):
            if isinstance(outcome, WheelyardError):
                told = refused(candidate, outcome)
            elif each.is_held or outcome is not each.file:
                told = Outcome(location=candidate.location, status=FileStatus.THERE)
            else:
                told = Outcome(
                    location=candidate.location, status=FileStatus.NEW, excused=outcome.waived_rules
                )
            self.outcomes.append(told)
        self.close()

    def close(self) -> None:
        """Remove what waits in the spool."""
        for _, each in self._pending:
            each.upload.path.unlink(missing_ok=True)
        self._pending, self._size = [], 0
        self._waiting.clear()

    def _known(self, item: ImportItem) -> Outcome | None:
        """Return what becomes of a file that need not be read."""
        candidate = item.candidate
        if item.distribution.uniqueness_key in self._gone:
            return Outcome(location=candidate.location, status=FileStatus.DELETED)
        held = self.project.by_filename.get(candidate.filename)
        if held is None:
            return None
        said = _claim(candidate, SHA256)
        if said == held.sha256 or (not said and self._is_untouched(held, candidate)):
            return Outcome(location=candidate.location, status=FileStatus.THERE)
        return refused(candidate, filename_taken(candidate.filename)) if said else None

    def _is_untouched(self, held: File, candidate: Candidate) -> bool:
        return (
            held.imported_at is not None
            and held.imported_at < self._job.began
            and candidate.size == held.size
            and candidate.uploaded_at == held.uploaded_at
            and candidate.changed_at is not None  # moving another one there changes it
            and candidate.changed_at < held.imported_at.timestamp()
        )

    def _check(self, item: ImportItem) -> None:
        job, candidate = self._job, item.candidate
        distribution = job.uploads.authorize(candidate.filename, job.caller)
        upload = _fetch(candidate, distribution, job)
        try:
            checked = job.uploads.check(upload, job.caller, self.project)
        except BaseException:
            upload.path.unlink(missing_ok=True)
            raise
        self._pending.append((candidate, checked))
        self._waiting.add(distribution.uniqueness_key)
        self._size += upload.size


def _fetch(candidate: Candidate, distribution: Distribution, job: ImportContext) -> SpooledUpload:
    uploads = job.uploads
    limit = uploads.rules.max_size
    if candidate.size is not None and candidate.size > limit:
        raise file_too_large(limit)
    wanted = ALGORITHMS & candidate.hashes.keys()
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in wanted}
    spooling = SpoolWriter(uploads.spool, distribution, limit, "the import", hashers)
    try:
        for piece in _pieces(candidate):
            spooling.write(piece)
            job.read(len(piece))
        _compare(candidate, spooling)
    except BaseException:
        spooling.remove()
        raise
    spooling.close()
    uploaded_at = candidate.uploaded_at
    if uploaded_at is None and candidate.last_modified is not None:
        uploaded_at = candidate.last_modified()
    origin = SourceMetadata(
        uploaded_at=uploaded_at,
        uploaded_by=candidate.uploaded_by,
        yanked=candidate.yanked,
    )
    return replace(spooling.upload(), origin=origin)


def _pieces(candidate: Candidate) -> Iterator[bytes]:
    """Yield the bytes of a file; that they cannot be had says nothing of those of others."""
    try:
        with candidate.read() as pieces:
            yield from pieces
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Invalid(f"It cannot be read: {reason}.", code=UNREADABLE) from error
    except WheelyardError as fault:
        raise Invalid(fault.message, code=fault.code) from fault


def _compare(candidate: Candidate, spooling: SpoolWriter) -> None:
    for name, found in sorted(spooling.digests.items()):
        said = _claim(candidate, name)
        if said and said != found:
            raise _mismatch(f"its {name} is {found}, and the source says {quoted(said)}")
    if candidate.size is not None and candidate.size != spooling.size:
        raise _mismatch(f"it has {spooling.size} bytes, and the source says {candidate.size}")


def _claim(candidate: Candidate, algorithm: str) -> str:
    return candidate.hashes.get(algorithm, "").strip().lower()


def _mismatch(what: str) -> Invalid:
    return Invalid(
        f"The file is not the one that was uploaded there: {what}. Restore it there.",
        code="digest_mismatch",
    )
