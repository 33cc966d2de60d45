"""
Projects, their files, and the events and commits that change them.

A project's document is the fold of its commits: `fold(fold(empty, commit 1), commit 2)` and so on.
These classes are also the stored form (`Codec` converts them to JSON and back), so a field is only
ever added, with a default.

They cannot be in reference cycles, so those of which there are many are invisible to the garbage
collector (`gc=False`), which would else visit every file of every cached project.
"""

from bisect import bisect
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import (
    UniquenessKey,
    parse_known_filename,
    strip_trailing_zeros,
)

SUMMARY_LIMIT = 512
"""Characters of the longest stored summary."""
NAME_RESERVED = "name reserved"
NAME_RELEASED = "name released"
"""How the reason of the status begins with which a name was reserved, or given up."""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The record of a project's file: its name, its digests, and how it came into the index."""

    filename: str
    version: str
    """The release's normalised version."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    size: int
    """Bytes."""
    uploaded_at: datetime
    """UTC; for an imported file the upload time at its source, if that is known."""
    uploaded_by: str
    core_metadata: str
    """SHA-256 of the stored METADATA or PKG-INFO; empty if the file has none."""
    requires_python: str | None = None
    yanked: str | None = None
    """The reason, perhaps empty, if the file is yanked; else None."""
    imported_at: datetime | None = None
    """UTC; when the file was imported; None if it was uploaded."""
    waived_rules: tuple[str, ...] = ()
    """Sorted codes of the rules that the file breaks; a lenient import waived them."""
    uploaded_by_name: str = ""
    """The name that the token in `uploaded_by` had; empty for any other uploader."""

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel."""
        return self.filename.endswith(".whl")

    @property
    def has_metadata(self) -> bool:
        """Whether core metadata is stored with the file."""
        return self.core_metadata != ""

    @property
    def serves_metadata(self) -> bool:
        """Whether clients can download the file's core metadata (PEP 658): of wheels alone."""
        return self.is_wheel and self.has_metadata


class Status(StrEnum):
    """The status of a project, one of the markers of PEP 792."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    QUARANTINED = "quarantined"
    DEPRECATED = "deprecated"

    @property
    def takes_uploads(self) -> bool:
        """Whether files may be uploaded to a project of this status."""
        return self in (Status.ACTIVE, Status.DEPRECATED)

    @property
    def serves_files(self) -> bool:
        """Whether the files of a project of this status are listed and served."""
        return self is not Status.QUARANTINED


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of a project by a principal."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `token:ID`, `local:NAME`."""
    by_name: str = ""
    """The name that the token in `by` had, which may be deleted since; else empty."""


class Uploaded(Event, frozen=True, kw_only=True, tag="uploaded", gc=False):
    """A file was added, by an upload or an import."""

    file: File
    summary: str = ""
    """The Summary of its core metadata, cut at `SUMMARY_LIMIT`."""


class _FilesEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    filenames: tuple[str, ...]
    reason: str = ""


class Yanked(_FilesEvent, frozen=True, kw_only=True, omit_defaults=True, tag="yanked"):
    """Files were yanked (PEP 592), for a reason that may be empty."""


class Unyanked(_FilesEvent, frozen=True, kw_only=True, omit_defaults=True, tag="unyanked"):
    """Files are no longer yanked."""


class Deleted(_FilesEvent, frozen=True, kw_only=True, omit_defaults=True, tag="deleted"):
    """Files were removed; their filenames can never be used again."""


class StatusSet(Event, frozen=True, kw_only=True, omit_defaults=True, tag="status"):
    """The project's status was set (PEP 792)."""

    status: Status
    reason: str = ""


AnyEvent = Uploaded | Yanked | Unyanked | Deleted | StatusSet


class NumberedCommit(Struct, frozen=True, kw_only=True):
    """One write of a document that has a journal."""

    number: int
    """1 for the first."""
    id: str
    """Random; shows whether a write without a reply has succeeded."""
    previous: str
    """SHA-256 of the stored bytes of the previous commit; empty for the first."""


class Commit(NumberedCommit, frozen=True, kw_only=True):
    """One write of a project's document, with the events that it added."""

    events: tuple[AnyEvent, ...]


class Project(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The state of a project after its commits 1 to `revision`."""

    name: NormalizedName
    revision: int = 0
    status: Status = Status.ACTIVE
    reason: str = ""
    """The reason for the status."""
    summary: str = ""
    """The summary of the last uploaded file that has one."""
    files: tuple[File, ...] = ()
    """Sorted by filename."""
    deleted_filenames: tuple[str, ...] = ()
    """Sorted; none of them can be uploaded again."""
    commit: Commit | None = None
    """The last commit, number `revision`."""

    @property
    def is_released(self) -> bool:
        """Whether its name was given up by the last commit, so that it is no project any more."""
        last = self.commit.events[-1] if self.commit else None
        return type(last) is StatusSet and last.reason.startswith(NAME_RELEASED) and not self.files

    @property
    def exists(self) -> bool:
        """Whether it has a commit, and its name was not released since."""
        return self.revision > 0 and not self.is_released

    @property
    def empty_versions(self) -> tuple[str, ...]:
        """Versions without files that are listed: none here, as in a page of an upstream index."""
        return ()

    @cached_property
    def by_filename(self) -> dict[str, File]:
        """The project's files, by filename."""
        return {file.filename: file for file in self.files}

    @cached_property
    def by_release(self) -> dict[str, list[File]]:
        """Lists of the project's files, by version without trailing zeros (1 for 1.0)."""
        found = dict[str, list[File]]()
        for file in self.files:
            found.setdefault(strip_trailing_zeros(file.version), []).append(file)
        return found

    @cached_property
    def deleted_keys(self) -> frozenset[UniquenessKey]:
        """The uniqueness keys of the deleted filenames."""
        return frozenset(
            parse_known_filename(each).uniqueness_key for each in self.deleted_filenames
        )

    @cached_property
    def stored_files(self) -> tuple[bytes, ...]:
        """The files in their stored form: each a JSON object after a comma."""
        return tuple([b"," + encode(file) for file in self.files])


def fold(project: Project, commit: Commit) -> Project:
    """Return `project` after `commit`: with its events applied, and its number as the revision."""
    for event in commit.events:
        project = apply(project, event)
    return with_commit(project, commit)


def with_commit(project: Project, commit: Commit) -> Project:
    """Return `project`, to which the events of `commit` were applied, after that commit."""
    after = replace(project, revision=commit.number, commit=commit)
    vars(after).update(vars(project))
    return after


def apply(project: Project, event: AnyEvent) -> Project:
    """Return `project` after `event`, with its revision and last commit unchanged."""
    match event:
        case Uploaded(file=file, summary=summary):
            return _with_file(project, file, summary or project.summary)
        case Deleted(filenames=filenames):
            gone = frozenset(filenames)
            kept = tuple(file for file in project.files if file.filename not in gone)
            deleted = tuple(sorted({*project.deleted_filenames, *filenames}))
            return replace(project, files=kept, deleted_filenames=deleted)
        case Yanked(filenames=filenames, reason=reason):
            return _with_yank(project, filenames, reason)
        case Unyanked(filenames=filenames):
            return _with_yank(project, filenames, None)
        case StatusSet(status=status, reason=reason):
            return replace(project, status=status, reason=reason)


def _with_file(project: Project, file: File, summary: str) -> Project:
    """Return `project` with one more file; what was computed from its files is not lost."""
    at = bisect(project.files, file.filename, key=lambda each: each.filename)
    files = (*project.files[:at], file, *project.files[at:])
    after = replace(project, files=files, summary=summary)
    known, computed = vars(project), vars(after)
    if "by_filename" in known:
        computed["by_filename"] = project.by_filename | {file.filename: file}
    if "by_release" in known:
        release = strip_trailing_zeros(file.version)
        others = project.by_release.get(release, [])
        computed["by_release"] = project.by_release | {release: [*others, file]}
    if "deleted_keys" in known:
        computed["deleted_keys"] = project.deleted_keys
    if "stored_files" in known:
        stored = project.stored_files
        computed["stored_files"] = (*stored[:at], b"," + encode(file), *stored[at:])
    return after


def _with_yank(project: Project, filenames: tuple[str, ...], yanked: str | None) -> Project:
    wanted = frozenset(filenames)
    files = tuple(
        replace(file, yanked=yanked) if file.filename in wanted else file for file in project.files
    )
    return replace(project, files=files)
