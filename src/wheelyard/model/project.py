"""
A project, its files, and everything that has happened to them.

A project's document is the fold of its commits: `fold(fold(empty, commit 1), commit 2)` and so on.
The values here are also the stored form (`wheelyard.catalog.codec` turns them to JSON and back), so
a field is only ever added, with a default.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName


class File(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One uploaded distribution, as the index lists it."""

    filename: str
    version: str
    """Of the release, normalised."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    size: int
    """Bytes."""
    uploaded_at: datetime
    """UTC."""
    uploaded_by: str
    core_metadata: str
    """SHA-256 of the METADATA or PKG-INFO bytes that are kept beside the file."""
    requires_python: str | None = None
    yanked: str | None = None
    """None: not yanked. Otherwise the reason, which may be empty."""

    @property
    def is_wheel(self) -> bool:
        """Whether this is a wheel; only a wheel's core metadata is served."""
        return self.filename.endswith(".whl")


class Status(StrEnum):
    """The project status markers of PEP 792."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    QUARANTINED = "quarantined"
    DEPRECATED = "deprecated"

    @property
    def takes_uploads(self) -> bool:
        """Whether files may be added."""
        return self in (Status.ACTIVE, Status.DEPRECATED)

    @property
    def serves_files(self) -> bool:
        """Whether files are listed and served."""
        return self is not Status.QUARANTINED


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """Something that somebody did to a project."""

    at: datetime
    """UTC."""
    by: str
    """A principal: `token:ID`, `local:NAME`."""


class Uploaded(Event, frozen=True, kw_only=True, tag="uploaded"):
    """A file was added."""

    file: File


class Yanked(Event, frozen=True, kw_only=True, omit_defaults=True, tag="yanked"):
    """Files were marked as not to be chosen any more (PEP 592)."""

    filenames: tuple[str, ...]
    reason: str = ""


class Unyanked(Event, frozen=True, kw_only=True, omit_defaults=True, tag="unyanked"):
    """The mark was taken back."""

    filenames: tuple[str, ...]
    reason: str = ""


class Deleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="deleted"):
    """Files were removed; their filenames never come back."""

    filenames: tuple[str, ...]
    reason: str = ""


class StatusSet(Event, frozen=True, kw_only=True, omit_defaults=True, tag="status"):
    """The project's status was set (PEP 792)."""

    status: Status
    reason: str = ""


AnyEvent = Uploaded | Yanked | Unyanked | Deleted | StatusSet


class Commit(Struct, frozen=True, kw_only=True):
    """One step of a project: what one write of its document added."""

    number: int
    """1 for the first."""
    id: str
    """Random: tells a lost reply from a lost race."""
    previous: str
    """SHA-256 of the stored bytes of the commit before; empty for the first."""
    events: tuple[AnyEvent, ...]


class Project(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """A name and its files: commits 1 to `revision`, folded."""

    name: NormalizedName
    revision: int = 0
    status: Status = Status.ACTIVE
    reason: str = ""
    """Why the status is what it is."""
    files: tuple[File, ...] = ()
    """Sorted by filename."""
    gone: tuple[str, ...] = ()
    """Filenames of deleted files, sorted: none of them ever comes back."""
    commit: Commit | None = None
    """The commit that made this revision."""

    @cached_property
    def by_filename(self) -> dict[str, File]:
        """The files by filename."""
        return {file.filename: file for file in self.files}


def fold(project: Project, commit: Commit) -> Project:
    """Return `project` after one more commit."""
    for event in commit.events:
        project = apply(project, event)
    return replace(project, revision=commit.number, commit=commit)


def apply(project: Project, event: AnyEvent) -> Project:
    """Return `project` after one more event, at the same revision."""
    match event:
        case Uploaded(file=file):
            return replace(project, files=_sorted([*project.files, file]))
        case Deleted(filenames=filenames):
            kept = tuple(file for file in project.files if file.filename not in filenames)
            return replace(project, files=kept, gone=tuple(sorted({*project.gone, *filenames})))
        case Yanked(filenames=filenames, reason=reason):
            return _marked(project, filenames, reason)
        case Unyanked(filenames=filenames):
            return _marked(project, filenames, None)
        case StatusSet(status=status, reason=reason):
            return replace(project, status=status, reason=reason)


def _marked(project: Project, filenames: tuple[str, ...], yanked: str | None) -> Project:
    files = tuple(
        replace(file, yanked=yanked) if file.filename in filenames else file
        for file in project.files
    )
    return replace(project, files=files)


def _sorted(files: Iterable[File]) -> tuple[File, ...]:
    return tuple(sorted(files, key=lambda file: file.filename))
