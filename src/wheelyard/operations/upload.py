"""
Accept one distribution.

`Uploads.accept` is the order of events: cheap refusals first, the archive after that, the bytes,
and last the commit. What depends on the project is asked twice: once early, so that a refused
upload leaves nothing behind, and once inside the commit, where races are decided.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName, canonicalize_version

from wheelyard.archive.leniency import OBSOLETE_FORMAT_RULE
from wheelyard.archive.limits import ArchiveLimits, Deadline
from wheelyard.archive.reader import DistributionContents, read_distribution
from wheelyard.catalog.files import Files, StoredBytes
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Forbidden, Invalid, WheelyardError, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import (
    RESERVED_NAMES,
    SDIST_SUFFIX,
    ZIP_SUFFIX,
    Distribution,
    Sdist,
    parse_filename,
    parse_known_filename,
    parse_name,
    parse_version,
)
from wheelyard.model.project import SUMMARY_LIMIT, AnyEvent, File, Project, Uploaded
from wheelyard.operations.spooling import SourceMetadata, SpooledUpload, SpoolWriter
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.spool import Spool

COPY_CHUNK_BYTES: Final = 1024 * 1024
"""Bytes that are copied into the spool at a time."""
GIB: Final = 1024**3
READ_SECONDS_PER_GIB: Final = 60.0
READ_SECONDS_BASE: Final = 10.0
"""The reading of an archive may take this long, and so much more for each GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRules:
    """What the operator decided about uploads."""

    max_size: int = GIB
    """Bytes of one file."""
    zip_sdists: bool = False
    """Whether `.zip` sdists are taken, which PEP 625 has retired."""
    lenient: bool = False
    """Whether files are taken that fail only today's stricter rules; see `archive/limits.py`."""
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A file that is listed now, and what could be better about it."""

    file: File
    warnings: tuple[str, ...] = ()
    """Sentences for whoever built it."""


@dataclass(frozen=True, slots=True)
class ValidatedFile:
    """A file that may be listed, or is listed already."""

    upload: SpooledUpload
    file: File
    """As it is listed, or will be."""
    contents: DistributionContents | None
    """What is in it; None if the very bytes are listed and kept."""
    is_held: bool = False
    """Whether it is listed already."""

    @property
    def summary(self) -> str:
        """The line that its metadata has for people."""
        return ((self.contents and self.contents.core.summary) or "")[:SUMMARY_LIMIT]


@dataclass(frozen=True, slots=True)
class AddFiles:
    """The intent to list files in one project: each is listed, or was, or is refused."""

    base: Project
    """The project that the files were checked against."""
    checked: Sequence[ValidatedFile]
    """The files, no two of which differ in their spelling alone."""
    at: datetime
    """The time of the events, UTC."""
    by: str
    """Who lists them."""
    is_lenient: bool = False
    """As for `listed`."""

    def __call__(self, project: Project) -> tuple[AnyEvent, ...]:
        """Return the events that list what may be listed in `project`."""
        return tuple(
            Uploaded(at=self.at, by=self.by, file=each.file, summary=each.summary)
            for each in self.checked
            if self._decided(project, each) is None
        )

    def outcomes(self, project: Project) -> list[File | WheelyardError]:
        """Return what becomes of each file in `project`: it is listed as this, or refused."""
        return [self._decided(project, each) or each.file for each in self.checked]

    def _decided(self, project: Project, each: ValidatedFile) -> File | WheelyardError | None:
        """Return the file where it is listed already, None where it may be."""
        if project is self.base:  # of this very revision it was asked a moment ago
            return each.file if each.is_held else None
        try:
            return find_identical(project, each.upload, is_lenient=self.is_lenient)
        except WheelyardError as refusal:
            return refusal


@dataclass(frozen=True, slots=True)
class Uploads:
    """The upload operation, wired."""

    projects: Projects
    files: Files
    spool: Spool
    runtime: Runtime
    rules: UploadRules

    @property
    def with_waivers(self) -> "Uploads":
        """The same operation, with files taken that fail only today's stricter rules."""
        return replace(self, rules=replace(self.rules, lenient=True))

    def authorize(self, filename: str, caller: Caller) -> Distribution:
        """
        Return what `filename` names if `caller` may upload it now; asked before the body is read.

        Raises:
            Invalid: It is no distribution's filename, or its project's name is reserved.
            Forbidden: The caller may not upload to the project, or the project takes no files.
        """
        rules = self.rules
        distribution = parse_filename(
            filename, zip_sdists=rules.zip_sdists, allow_obsolete=rules.lenient
        )
        if distribution.project in RESERVED_NAMES:
            raise Invalid(
                f"No project can be named {quoted(distribution.project)}: it is a path of the "
                "index. Choose another name.",
                code="invalid_name",
                short="This project name is reserved.",
            )
        caller.require(Action.UPLOAD, distribution.project)
        snapshot = self.projects.peek(distribution.project)
        if snapshot is not None and snapshot.value is not None:
            _refuse_closed(snapshot.value)
        return distribution

    def accept(self, upload: SpooledUpload, caller: Caller) -> UploadResult:
        """
        Check, store and list one file; the same bytes again are a success that changes nothing.

        Args:
            upload: The file; its distribution is what `admit` has returned for this caller.
            caller: Who sends it.

        Raises:
            Invalid: Something about the file or the form is wrong.
            Forbidden: The project takes no files.
            Conflict: Other bytes are listed under the filename (code `file_exists`).
            TooLarge: It is over the limit.
            Unavailable: The store does not answer.
        """
        name = upload.distribution.project
        before = self.projects.latest(name)
        checked = self.check(upload, caller, before)
        self.keep(name, [checked])
        listing = self.listing(before, [checked], caller)
        committed = self.projects.change(name, listing)
        (outcome,) = listing.outcomes(committed.before)
        if isinstance(outcome, WheelyardError):
            raise outcome
        warnings = checked.contents.warnings if checked.contents is not None else ()
        # the same commit may delete it again
        return UploadResult(committed.after.by_filename.get(outcome.filename, outcome), warnings)

    def check(self, upload: SpooledUpload, caller: Caller, before: Project) -> ValidatedFile:
        """
        Return a file that may be listed in the project as it is; nothing is stored.

        Raises:
            WheelyardError: As `accept`.
        """
        _check_claims(upload)
        held = find_identical(before, upload, is_lenient=self.rules.lenient)
        if held is not None and self.files.is_intact(before.name, held):
            return ValidatedFile(upload, held, None, is_held=True)
        contents = self._read(upload)
        file = held or self._file(upload, contents, caller)
        return ValidatedFile(upload, file, contents, is_held=held is not None)

    def keep(self, name: NormalizedName, checked: Sequence[ValidatedFile]) -> None:
        """
        Store the bytes of files of one project; those of a listed one only if they were lost.

        Raises:
            Unavailable: The store does not answer, or is full.
        """
        new = list[StoredBytes]()
        for each in checked:
            if each.contents is None:
                continue
            body = StoredBytes(each.file, each.upload.path, each.contents.metadata)
            if each.is_held:
                self.files.restore(name, body)
            else:
                new.append(body)
        self.files.keep(name, new)

    def listing(
        self, before: Project, checked: Sequence[ValidatedFile], caller: Caller
    ) -> AddFiles:
        """Return the intent that lists files, which `before` may have."""
        return AddFiles(before, checked, self.runtime.now(), caller.principal, self.rules.lenient)

    def accept_path(
        self, path: Path, caller: Caller, progress: Callable[[int], None]
    ) -> UploadResult:
        """
        Accept a file of this machine, which is copied and stays as it is.

        Args:
            path: Its last part is the distribution's filename.
            caller: Who publishes it.
            progress: Told how many bytes were read just now.

        Raises:
            WheelyardError: As `accept`; Invalid, too, where it cannot be read.
        """
        distribution = self.authorize(path.name, caller)
        spooling = SpoolWriter(self.spool, distribution, self.rules.max_size, "the upload", {})
        try:
            _copy(path, spooling, progress)
            return self.accept(spooling.upload(), caller)
        finally:
            spooling.remove()

    def _read(self, upload: SpooledUpload) -> DistributionContents:
        seconds = READ_SECONDS_BASE + READ_SECONDS_PER_GIB * upload.size / GIB
        return read_distribution(
            upload.path,
            upload.distribution,
            limits=self.rules.archive,
            deadline=Deadline(self.runtime.monotonic, seconds),
            is_lenient=self.rules.lenient,
        )

    def _file(self, upload: SpooledUpload, contents: DistributionContents, caller: Caller) -> File:
        now, origin = self.runtime.now(), upload.origin or SourceMetadata()
        uploaded_at, metadata = origin.time(now), contents.metadata
        distribution = upload.distribution
        return File(
            filename=distribution.filename,
            version=_version(contents, distribution),
            sha256=upload.sha256,
            size=upload.size,
            uploaded_at=now if uploaded_at is None else uploaded_at,
            uploaded_by=origin.upload_handler or caller.principal,
            core_metadata="" if metadata is None else sha256(metadata).hexdigest(),
            requires_python=contents.core.requires_python,
            yanked=origin.yank,
            imported_at=None if uploaded_at is None else now,
            waived_rules=self._waived_rules(distribution, contents),
        )

    def _waived_rules(
        self, distribution: Distribution, contents: DistributionContents
    ) -> tuple[str, ...]:
        """Return the codes of the rules that a file fails, its format included."""
        suffixes = (SDIST_SUFFIX, ZIP_SUFFIX) if self.rules.zip_sdists else (SDIST_SUFFIX,)
        if distribution.filename.endswith((".whl", *suffixes)):
            return contents.waived_rules
        return tuple(sorted({OBSOLETE_FORMAT_RULE, *contents.waived_rules}))


def _version(contents: DistributionContents, distribution: Distribution) -> str:
    """Return a file's version as its metadata spells it, if that is the filename's."""
    version = distribution.version
    with suppress(Invalid):
        written = parse_version(contents.core.version)
        version = written if written == version else version
    return str(version)


def _copy(path: Path, spooling: SpoolWriter, progress: Callable[[int], None]) -> None:
    try:
        source = path.open("rb", buffering=0)
    except OSError as error:
        raise Invalid(
            f"{path} cannot be read: {error.strerror}. Name a wheel or an sdist that is there.",
            code="invalid_filename",
        ) from error
    with source, storage_faults("the upload"):
        while chunk := source.read(COPY_CHUNK_BYTES):
            spooling.write(chunk)
            progress(len(chunk))


def _check_claims(upload: SpooledUpload) -> None:
    """Refuse a form that speaks of another project or version than the filename does."""
    distribution = upload.distribution
    if upload.form_name and parse_name(upload.form_name) != distribution.project:
        raise _mismatch("name", distribution.project, upload.form_name)
    if upload.form_version and parse_version(upload.form_version) != distribution.version:
        raise _mismatch("version", str(distribution.version), upload.form_version)


def _mismatch(field: str, ours: str, theirs: str) -> Invalid:
    fact = f"Filename says {quoted(ours)}, the form says {quoted(theirs)}."
    remedy = "Build the distribution again and upload it with the client's defaults."
    return Invalid(f"{fact} {remedy}", code=f"{field}_mismatch", short=fact)


def _refuse_closed(project: Project) -> None:
    if not project.status.takes_uploads:
        fact = f"Project {quoted(project.name)} is {project.status}."
        remedy = f"To upload to it again, run 'wheelyard status {project.name} active'."
        raise Forbidden(f"{fact} {remedy}", short=fact)


def find_identical(
    project: Project, upload: SpooledUpload, *, is_lenient: bool = False
) -> File | None:
    """
    Return the file if exactly these bytes are listed already, None if they may be.

    Leniently, sdists of one version may stand beside each other if their formats differ.

    Raises:
        Invalid: The filename, or another spelling of it, is taken or was deleted.
        Forbidden: The project takes no files.
        Conflict: Other bytes are listed under the filename.
    """
    _refuse_closed(project)
    distribution, filename = upload.distribution, upload.distribution.filename
    held = project.by_filename.get(filename)
    if held is not None:
        if held.sha256 == upload.sha256:
            return held
        raise filename_taken(filename)
    deleted = (parse_known_filename(each) for each in project.deleted_filenames)
    if any(each.uniqueness_key == distribution.uniqueness_key for each in deleted):
        message = "This filename was used by a file that has been deleted. Use a new version."
        raise Invalid(message, code="file_exists", short=message)
    _refuse_respelled(project, distribution, is_lenient=is_lenient)
    return None


def filename_taken(filename: str) -> Conflict:
    """Return the refusal of a file whose name other bytes have."""
    fact = f"File already exists ({quoted(filename)}, with different content)."
    message = f"{fact} Use a new version."
    return Conflict(message, code="file_exists", short=message)


def _refuse_respelled(project: Project, distribution: Distribution, *, is_lenient: bool) -> None:
    release = canonicalize_version(distribution.version)
    for file in project.by_release.get(release, ()):
        other = parse_known_filename(file.filename)
        if other.uniqueness_key != distribution.uniqueness_key:
            continue
        if is_lenient and _format(other) != _format(distribution):
            continue
        fact = f"Clashes with {quoted(file.filename)}, which differs only in spelling."
        raise Invalid(f"{fact} Use a new version.", code="file_exists", short=fact)


def _format(distribution: Distribution) -> str:
    return distribution.suffix if isinstance(distribution, Sdist) else ""
