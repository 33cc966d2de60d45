"""
Accept one distribution.

`Uploads.accept` is the order of events: cheap refusals first, the archive after that, the bytes,
and last the commit. What depends on the project is asked twice: once early, so that a refused
upload leaves nothing behind, and once inside the commit, where races are decided.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from packaging.utils import canonicalize_version

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.reader import Contents, inspect
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, Forbidden, Invalid, TooLarge, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.ambient import Ambient
from wheelyard.model.distribution import (
    RESERVED_NAMES,
    Distribution,
    parse_filename,
    parse_name,
    parse_version,
    without_zeros,
)
from wheelyard.model.project import AnyEvent, File, Project, Uploaded
from wheelyard.storage.faults import storage_faults
from wheelyard.storage.spool import Spool

COPY_CHUNK: Final = 1024 * 1024
"""Bytes that are copied into the spool at a time."""
MIB: Final = 1024**2
GIB: Final = 1024**3
SECONDS_PER_GIB: Final = 60.0
SECONDS_BASE: Final = 10.0
"""The reading of an archive may take this long, and so much more for each GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRules:
    """What the operator decided about uploads."""

    max_size: int = GIB
    """Bytes of one file."""
    zip_sdists: bool = False
    """Whether `.zip` sdists are taken, which PEP 625 has retired."""
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One file as it was sent: spooled to disk, counted and hashed on the way."""

    filename: str
    path: Path
    """The spooled bytes, which stay the caller's to remove."""
    size: int
    """Bytes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    claimed_name: str = ""
    """What the form says; empty if it says nothing."""
    claimed_version: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that is listed now, and what could be better about it."""

    file: File
    warnings: tuple[str, ...] = ()
    """Sentences for whoever built it."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The upload operation, wired."""

    projects: Projects
    files: Files
    spool: Spool
    ambient: Ambient
    rules: UploadRules

    def admit(self, filename: str, caller: Caller) -> Distribution:
        """
        Return what `filename` names if `caller` may upload it now; asked before the body is read.

        Raises:
            Invalid: It is no distribution's filename, or its project's name is reserved.
            Forbidden: The caller may not upload to the project, or the project takes no files.
        """
        distribution = parse_filename(filename, zip_sdists=self.rules.zip_sdists)
        if distribution.project in RESERVED_NAMES:
            raise Invalid(
                f"No project can be named {quoted(distribution.project)}: it is a path of the "
                "index. Choose another name.",
                code="invalid_name",
                short="This project name is reserved.",
            )
        caller.require(Action.UPLOAD, distribution.project)
        snapshot = self.projects.fresh(distribution.project)
        if snapshot is not None and snapshot.value is not None:
            _refuse_closed(snapshot.value)
        return distribution

    def accept(self, arrival: Arrival, caller: Caller) -> Accepted:
        """
        Check, store and list one file; the same bytes again are a success that changes nothing.

        Raises:
            Invalid: Something about the file, its name or the form is wrong.
            Forbidden: The caller may not, or the project takes no files.
            Conflict: Other bytes are listed under the filename (code `file_exists`).
            TooLarge: It is over the limit.
            Unavailable: The store does not answer.
        """
        distribution = self.admit(arrival.filename, caller)
        name = distribution.project
        if arrival.size > self.rules.max_size:
            raise file_too_large(self.rules.max_size)
        _check_claims(arrival, distribution)
        before = self.projects.latest(name)
        held = _listed(before, distribution, arrival.sha256)
        accepted = self._keep(arrival, distribution, caller, held)
        file = accepted.file

        def listing(project: Project) -> tuple[AnyEvent, ...]:
            # of this very revision it was asked a moment ago
            is_listed = held if project is before else _listed(project, distribution, file.sha256)
            if is_listed is not None:
                return ()
            return (Uploaded(at=file.uploaded_at, by=caller.principal, file=file),)

        after = self.projects.change(name, listing)
        # the same commit may delete it again
        return replace(accepted, file=after.by_filename.get(file.filename, file))

    def _keep(
        self, arrival: Arrival, distribution: Distribution, caller: Caller, held: File | None
    ) -> Accepted:
        """Store the bytes; those of a file that is listed already only if they were lost."""
        name = distribution.project
        if held is not None and self.files.is_intact(name, held):
            return Accepted(held)
        contents = self._read(arrival, distribution)
        if held is not None:
            self.files.restore(name, held, arrival.path, contents.metadata)
            return Accepted(held, contents.warnings)
        file = self._file(arrival, contents, caller)
        self.files.keep(name, file, arrival.path, contents.metadata)
        return Accepted(file, contents.warnings)

    def accept_path(self, path: Path, caller: Caller, progress: Callable[[int], None]) -> Accepted:
        """
        Accept a file of this machine, which is copied and stays as it is.

        Args:
            path: Where it is; the last part is the distribution's filename.
            caller: Who publishes it.
            progress: Told how many bytes were read just now.

        Raises:
            Invalid: It cannot be read.
            IndexFault: As `accept`.
        """
        self.admit(path.name, caller)
        spooled, sink = self.spool.create()
        try:
            with sink:
                digest, size = _copy(path, sink, progress)
            arrival = Arrival(filename=path.name, path=spooled, size=size, sha256=digest)
            return self.accept(arrival, caller)
        finally:
            spooled.unlink(missing_ok=True)

    def _read(self, arrival: Arrival, distribution: Distribution) -> Contents:
        seconds = SECONDS_BASE + SECONDS_PER_GIB * arrival.size / GIB
        deadline = Deadline(self.ambient.monotonic, seconds)
        return inspect(arrival.path, distribution, limits=self.rules.archive, deadline=deadline)

    def _file(self, arrival: Arrival, contents: Contents, caller: Caller) -> File:
        return File(
            filename=arrival.filename,
            version=str(parse_version(contents.core.version)),
            sha256=arrival.sha256,
            size=arrival.size,
            uploaded_at=self.ambient.now(),
            uploaded_by=caller.principal,
            core_metadata=sha256(contents.metadata).hexdigest(),
            requires_python=contents.core.requires_python,
        )


def _copy(path: Path, sink: BinaryIO, progress: Callable[[int], None]) -> tuple[str, int]:
    """Copy a file into the spool; return the SHA-256 and the size of what was copied."""
    digest, size = sha256(), 0
    try:
        source = path.open("rb", buffering=0)
    except OSError as error:
        raise Invalid(
            f"{path} cannot be read: {error.strerror}. Name a wheel or an sdist that is there.",
            code="invalid_filename",
        ) from error
    with source, storage_faults("the upload"):
        while chunk := source.read(COPY_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            progress(len(chunk))
            rest = memoryview(chunk)
            while rest:
                rest = rest[sink.write(rest) :]
    return digest.hexdigest(), size


def file_too_large(limit: int) -> TooLarge:
    """Return the fault for a file of more than `limit` bytes."""
    readable = f"{limit} bytes" if limit % MIB else f"{limit // MIB} MiB"
    return TooLarge(
        f"File too large, the limit is {readable}. Ask for a higher [uploads] max_file_size, or "
        "ship the data outside the package.",
        short=f"File too large, the limit is {readable}.",
    )


def _refuse_closed(project: Project) -> None:
    if not project.status.takes_uploads:
        raise Forbidden(
            f"Project {quoted(project.name)} is {project.status}. To upload to it again, run "
            f"'wheelyard status {project.name} active'.",
            short=f"Project {quoted(project.name)} is {project.status}.",
        )


def _check_claims(arrival: Arrival, distribution: Distribution) -> None:
    """Refuse a form that speaks of another project or version than the filename does."""
    if arrival.claimed_name and parse_name(arrival.claimed_name) != distribution.project:
        raise _mismatch("name", distribution.project, arrival.claimed_name)
    if arrival.claimed_version and parse_version(arrival.claimed_version) != distribution.version:
        raise _mismatch("version", str(distribution.version), arrival.claimed_version)


def _mismatch(field: str, ours: str, theirs: str) -> Invalid:
    return Invalid(
        f"Filename says {quoted(ours)}, the form says {quoted(theirs)}. Build the distribution "
        "again and upload it with the client's defaults.",
        code=f"{field}_mismatch",
        short=f"Filename says {quoted(ours)}, the form says {quoted(theirs)}.",
    )


def _listed(project: Project, distribution: Distribution, digest: str) -> File | None:
    """
    Return the file if exactly these bytes are listed already, None if they may be.

    Raises:
        Invalid: The filename, or another spelling of it, is taken or was deleted.
        Forbidden: The project takes no files.
        Conflict: Other bytes are listed under the filename.
    """
    _refuse_closed(project)
    filename = distribution.filename
    held = project.by_filename.get(filename)
    if held is not None and held.sha256 == digest:
        return held
    if held is not None:
        raise Conflict(
            f"File already exists ({quoted(filename)}, with different content). Use a new version.",
            code="file_exists",
            short=f"File already exists ({quoted(filename)}, with different content). "
            "Use a new version.",
        )
    _refuse_gone(project, distribution)
    _refuse_respelled(project, distribution)
    return None


def _refuse_gone(project: Project, distribution: Distribution) -> None:
    for filename in project.gone:
        gone = parse_filename(filename, zip_sdists=True)
        if gone.identity == distribution.identity:
            raise Invalid(
                "This filename was used by a file that has been deleted. Use a new version.",
                code="file_exists",
                short="This filename was used by a file that has been deleted. Use a new version.",
            )


def _refuse_respelled(project: Project, distribution: Distribution) -> None:
    release = canonicalize_version(distribution.version)
    versions = {file.version for file in project.files}
    same = {version for version in versions if without_zeros(version) == release}
    for file in project.files:
        if file.version in same:
            other = parse_filename(file.filename, zip_sdists=True)
            if other.identity == distribution.identity:
                message = f"Clashes with {quoted(file.filename)}, which differs only in spelling."
                raise Invalid(f"{message} Use a new version.", code="file_exists", short=message)
