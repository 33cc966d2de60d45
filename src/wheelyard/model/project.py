"""
A project, its files, and everything that has happened to them.

A project's document is the fold of its commits: `fold(fold(empty, commit 1), commit 2)` and so on.
The values here are also the stored form (`Codec` turns them to JSON and back), so
a field is only ever added, with a default.
"""

from bisect import insort
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import strip_trailing_zeros

SUMMARY_LIMIT = 512
"""Characters of a summary that are kept."""


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
    """UTC; of an imported file as its source says it."""
    uploaded_by: str
    core_metadata: str
    """SHA-256 of the METADATA or PKG-INFO kept beside the file; empty for an import without."""
    requires_python: str | None = None
    yanked: str | None = None
    """None: not yanked. Otherwise the reason, which may be empty."""
    imported_at: datetime | None = None
    """UTC; when the file came here, where `uploaded_at` is the word of its source."""
    waived_rules: tuple[str, ...] = ()
    """Sorted codes of the rules that the file breaks; a lenient import waived them."""

    @property
    def is_wheel(self) -> bool:
        """Whether this is a wheel; only a wheel's core metadata is served."""
        return self.filename.endswith(".whl")

    @property
    def has_metadata(self) -> bool:
        """Whether core metadata is kept beside the file."""
        return self.core_metadata != ""

    @property
    def serves_metadata(self) -> bool:
        """Whether clients are told of its core metadata, and get it."""
        return self.is_wheel and self.has_metadata


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
    summary: str = ""
    """The one line that its core metadata has for people, as far as it is kept."""


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
    summary: str = ""
    """Of the file that was uploaded last, among those that have one."""
    files: tuple[File, ...] = ()
    """Sorted by filename."""
    deleted_filenames: tuple[str, ...] = ()
    """Sorted; none of them can be uploaded again."""
    commit: Commit | None = None
    """The commit that made this revision."""

    @cached_property
    def by_filename(self) -> dict[str, File]:
        """The files by filename."""
        return {file.filename: file for file in self.files}

    @cached_property
    def by_release(self) -> dict[str, list[File]]:
        """The files by version without the zeros at its end, as `without_zeros` has it."""
        found = dict[str, list[File]]()
        for file in self.files:
            found.setdefault(strip_trailing_zeros(file.version), []).append(file)
        return found


def fold(project: Project, commit: Commit) -> Project:
    """Return `project` after one more commit."""
    for event in commit.events:
        project = apply(project, event)
    return replace(project, revision=commit.number, commit=commit)


def apply(project: Project, event: AnyEvent) -> Project:
    """Return `project` after one more event, at the same revision."""
    match event:
        case Uploaded(file=file, summary=summary):
            files = list(project.files)
            insort(files, file, key=lambda each: each.filename)
            return replace(project, files=tuple(files), summary=summary or project.summary)
        case Deleted(filenames=filenames):
            kept = tuple(file for file in project.files if file.filename not in filenames)
            deleted = tuple(sorted({*project.deleted_filenames, *filenames}))
            return replace(project, files=kept, deleted_filenames=deleted)
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
