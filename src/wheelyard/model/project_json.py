"""Projects and their commits as JSON for programs, which is not their stored form."""

from datetime import datetime

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.project import (
    Commit,
    Event,
    EventKind,
    File,
    NumberedCommit,
    Status,
)


class FileJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file."""

    filename: str
    version: str
    sha256: str
    size: int
    uploaded_at: datetime
    uploaded_by: str
    core_metadata: str
    requires_python: str | None = None
    yanked: str | None = None
    imported_at: datetime | None = None
    waived_rules: tuple[str, ...] = ()
    uploaded_by_name: str = ""

    @classmethod
    def of(cls, file: File) -> "FileJson":
        """Return what is shown of a file."""
        return cls(**{name: getattr(file, name) for name in cls.__struct_fields__})


class EventJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event of any kind."""

    what: str
    at: datetime
    by: str
    by_name: str = ""
    file: FileJson | None = None
    summary: str = ""
    filenames: tuple[str, ...] = ()
    status: Status | None = None
    reason: str = ""

    @classmethod
    def of(cls, event: Event) -> "EventJson":
        """Return what is shown of an event."""
        is_upload = event.what == EventKind.UPLOADED
        return cls(
            what=event.what,
            at=event.at,
            by=event.by,
            by_name=event.by_name,
            file=FileJson.of(event.file) if is_upload else None,
            summary=event.summary if is_upload else "",
            filenames=() if is_upload else event.files,
            status=event.status if event.what == EventKind.STATUS else None,
            reason=event.reason,
        )


class CommitJson(NumberedCommit, frozen=True, kw_only=True):
    """A commit with its events."""

    events: tuple[EventJson, ...]

    @classmethod
    def of(cls, commit: Commit) -> "CommitJson":
        """Return what is shown of a commit."""
        return cls(
            number=commit.number,
            id=commit.id,
            previous=commit.previous,
            events=tuple(map(EventJson.of, commit.events)),
        )


class ProjectJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A project with its files, and its last commit."""

    name: NormalizedName
    revision: int = 0
    status: Status = Status.ACTIVE
    reason: str = ""
    summary: str = ""
    files: tuple[FileJson, ...] = ()
    deleted_filenames: tuple[str, ...] = ()
    commit: CommitJson | None = None
