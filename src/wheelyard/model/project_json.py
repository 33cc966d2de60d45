"""JSON for commands and the API: projects, files, and the entries of a journal."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import redact_tokens
from wheelyard.model.grants import AnyAccessEvent, credential_of, describe_event, is_match
from wheelyard.model.index_name import read_index_name
from wheelyard.model.project import (
    AS_BEFORE,
    Commit,
    Event,
    EventKind,
    File,
    NumberedCommit,
    Status,
)
from wheelyard.model.public_packages import Decision, describe_for_approvers
from wheelyard.model.stored_tables import TableEvent
from wheelyard.model.table_kinds import EVENT_HEADINGS, KIND_OF_EVENT

_VERB_OF_KIND: Final = {
    "promoted-to": "promoted",
    "promotion-approved": "approved the promotion of",
}
_PARTICIPLE_OF_KIND: Final = {
    "promoted-to": "promoted",
    "promotion-approved": "approved for promotion",
}
_PREPOSITION_OF_KIND: Final = {"promoted": "from", "promoted-to": "to", "promotion-approved": "to"}
ENTRY_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "uploaded": "Uploads",
        "imported": "Imports",
        "promoted": "Promotions from another index",
        "promoted-to": "Promotions to another index",
        "promotion-approved": "Approved promotions",
        "yanked": "Yanks",
        "unyanked": "Yanks taken back",
        "attested": "Added attestations",
        "pinned": "Pins",
        "unpinned": "Pins taken back",
        "deleted": "Deletions",
        "restored": "Restored files",
        "status": "Status of projects",
        "reserved": "Reserved names",
        "released": "Released names",
        "granted": "Grants",
        "revoked": "Revoked grants",
        "group": "Groups",
        "group-deleted": "Deleted groups",
        "person-ended": "People whose access was ended",
        "person-admitted": "People who were admitted again",
        "person-name-released": "Released names of people",
        **EVENT_HEADINGS,
        "approved": "Approved public packages",
        "blocked": "Blocked public packages",
    }
)
"""The kinds of entries, by which entries can be filtered, with the heading of a list of each."""
SHOWN_KINDS: Final = (
    "promoted from",
    "promoted to",
    "approved for promotion to",
    "deleted at once",
    *(f"status {status}" for status in Status),
)
"""Further texts by which entries can be filtered, as pages show what was done."""
OtherEvent = AnyAccessEvent | TableEvent | Decision
"""An event of a document that is no project's."""


class FileJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a project."""

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
    promoted_at: datetime | None = None
    promoted_from: str = ""
    promoted_by: str = ""
    promoted_by_name: str = ""
    promoted_to: tuple[str, ...] = ()
    pinned: str | None = None

    @classmethod
    def from_file(cls, file: File) -> "FileJson":
        """Return the JSON of a file."""
        # other stored fields of a file are no promise to clients
        values = {name: getattr(file, name) for name in cls.__struct_fields__}
        # earlier versions stored main as an empty text
        values["promoted_from"] = file.source_index
        values["promoted_to"] = file.targets
        return cls(**values)


class TrashedFile(Struct, frozen=True, kw_only=True):
    """A deleted file that can be restored."""

    filename: str
    version: str
    size: int
    keep_until: datetime
    """Until when the file can be restored, in UTC."""
    sha256: str = ""
    """The digest of the file, or an empty text from an older server."""


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
    index: str = ""
    """The index that files are promoted to, or an empty text for any other event."""
    keep_until: datetime | None = None
    """Until when the deleted files can be restored, or None if there are none to restore."""
    at_once: bool = False
    """Whether an administrator removed also files that could be restored."""

    @classmethod
    def from_event(cls, event: Event) -> "EventJson":
        """Return the JSON of an event."""
        is_upload = event.what == EventKind.UPLOADED
        is_promotion = event.what in {EventKind.PROMOTED_TO, EventKind.PROMOTION_APPROVED}

        # the data of an event can only be read as that of its own kind
        deletion = event.deletion if event.what == EventKind.DELETED else AS_BEFORE
        file = FileJson.from_file(event.file) if is_upload else None
        summary = event.summary if is_upload else ""

        # the file of an upload has the filename
        filenames = () if is_upload else event.files
        status = event.status if event.what == EventKind.STATUS else None
        index = event.promotion.target if is_promotion else ""
        return cls(
            what=event.what,
            at=event.at,
            by=event.by,
            by_name=event.by_name,
            file=file,
            summary=summary,
            filenames=filenames,
            status=status,
            reason=event.reason,
            index=index,
            keep_until=deletion.keep_until,
            at_once=deletion.at_once,
        )


class CommitJson(NumberedCommit, frozen=True, kw_only=True):
    """A commit with its events."""

    events: tuple[EventJson, ...]

    @classmethod
    def from_commit(cls, commit: Commit) -> "CommitJson":
        """Return the JSON of a commit."""
        return cls(
            number=commit.number,
            id=commit.id,
            previous=commit.previous,
            events=tuple(map(EventJson.from_event, commit.events)),
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
    trash: tuple[TrashedFile, ...] = ()
    commit: CommitJson | None = None


def require_entry_kind(what: str) -> None:
    """Raise Invalid (code `invalid_field`) unless `JournalEntry.is_what` can be true for `what`."""
    kinds = tuple(ENTRY_KINDS) + SHOWN_KINDS
    if what not in kinds:
        raise Invalid(
            f"The journal has no entries {quoted(what)}. Choose one of: {', '.join(kinds)}.",
            code="invalid_field",
        )


class JournalEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a journal, in the form in which commands and the API give it."""

    at: datetime
    project: NormalizedName | None
    """
    The project, which is a public one for a decision, or None if the entry is about no project.
    """
    commit: int
    """The number of the commit in its journal."""
    what: str
    """
    The kind of the entry: `uploaded`, `imported`, `promoted`, `yanked`, `unyanked`, `deleted`,
    `restored`, `status`, `reserved`, `released`, `promoted-to`, `promotion-approved`, `pinned`,
    `unpinned`, or what a newer version calls it; `granted`, `revoked`, `group`, `group-deleted`,
    `person-ended`, `person-admitted` or `person-name-released`; `publisher-added`,
    `publisher-changed` or `publisher-removed`; `index-made`, `index-changed`, `main-changed` or
    `index-removed`; `retention-changed`; `file-applied`; `approved` or `blocked`.
    """
    files: tuple[str, ...]
    by: str
    """The principal that made the change."""
    by_name: str
    """
    The name of the token in `by`, or an empty text if `by` has no token, or if the name is not
    known any more.
    """
    credential: str
    """The type of the credential in `by`, in words, or an empty text if the type is unknown."""
    status: str = ""
    """The new status of the project, or an empty text if the entry is about no status."""
    reason: str = ""
    """The reason that was given. For a decision, or a change of rights, the change in words."""
    change: str = ""
    """
    For a decision, or a change of rights, `reason` with people in words, as pages have it. For any
    other entry, an empty text.
    """
    sha256: str = ""
    """
    The digest of an uploaded, imported or promoted file, or an empty text without such a file.
    """
    uploaded_by: str = ""
    """The uploader of an imported file, if the source of the import names one, or an empty text."""
    in_index: str = ""
    """The index of the project, if the journals of all indexes are shown, or an empty text."""
    owner: str = ""
    """The principal that owns the token in `by`, or an empty text if nobody does."""
    index: str = ""
    """
    The other index of a promotion, or an empty text for any other entry. Older servers send an
    empty text also for main.
    """
    keep_until: datetime | None = None
    """Until when the deleted files can be restored, or None if there are none to restore."""
    at_once: bool = False
    """Whether an administrator removed also files that could be restored."""

    @property
    def verb(self) -> str:
        """What was done to files, in words before their names."""
        return _VERB_OF_KIND.get(self.what, self.what)

    @property
    def done(self) -> str:
        """What was done to files, in words after their names."""
        return _PARTICIPLE_OF_KIND.get(self.what, self.what)

    @property
    def other_index_name(self) -> str:
        """The name of the other index of a promotion, else an empty text."""
        if self.what not in _PREPOSITION_OF_KIND:
            return ""
        return read_index_name(self.index)

    @property
    def target_name(self) -> str:
        """The name of the index that files were promoted to, or may be, else an empty text."""
        if _PREPOSITION_OF_KIND.get(self.what) != "to":
            return ""
        return self.other_index_name

    @property
    def other_index(self) -> str:
        """The other index of a promotion in words, such as `from dev`, else an empty text."""
        if self.what not in _PREPOSITION_OF_KIND:
            return ""
        return f"{_PREPOSITION_OF_KIND[self.what]} {self.other_index_name}"

    def is_what(self, kind: str) -> bool:
        """
        Return whether the entry is of a kind.

        The kind is a text of `ENTRY_KINDS` or `SHOWN_KINDS`.
        """
        detail = self.status or _PREPOSITION_OF_KIND.get(self.what, "")
        if self.at_once:
            detail = "at once"
        # people copy the text in the column of a page into the filter
        shown_kind = f"{self.done} {detail}"
        return kind in {self.what, shown_kind}

    def is_by(self, text: str) -> bool:
        """Return whether a text means the principal of the entry, or the owner of its token."""
        # people who look for a person mean also what the tokens of this person did
        is_owner = self.owner != "" and is_match(text, self.owner, "")
        return is_owner or is_match(text, self.by, self.by_name)


def entry_of(name: NormalizedName, number: int, event: EventJson, by_name: str) -> JournalEntry:
    """
    Return the entry of an event in commit `number`, without tokens in its reason.

    The entry of an upload is `promoted` or `imported` if the file came by a promotion or an import.
    """
    status = ""
    if event.status is not None:
        status = event.status.value
    entry = JournalEntry(
        at=event.at,
        project=name,
        commit=number,
        what=event.what,
        files=event.filenames,
        by=event.by,
        by_name=by_name,
        credential=credential_of(event.by),
        status=status,
        # people have pasted tokens into reasons, and a journal never forgets
        reason=redact_tokens(event.reason),
        index=event.index,
        keep_until=event.keep_until,
        at_once=event.at_once,
    )
    if event.file is None:
        return entry
    return _entry_of_upload(entry, event.file)


def _entry_of_upload(entry: JournalEntry, file: FileJson) -> JournalEntry:
    """Return the entry of an upload with its file, as an upload, an import or a promotion."""
    entry = replace(entry, files=(file.filename,), sha256=file.sha256)
    if file.promoted_at is not None:
        return replace(entry, what="promoted", index=read_index_name(file.promoted_from))
    if file.imported_at is None:
        return entry
    # if the source names no uploader, that is the importer, whom the entry names already
    uploaded_by = ""
    if file.uploaded_by != entry.by:
        uploaded_by = file.uploaded_by
    return replace(entry, what="imported", uploaded_by=uploaded_by)


def other_entry_of(number: int, event: OtherEvent, by_name: str) -> JournalEntry:
    """
    Return the entry of an event, in commit `number`, of a document that is no project's.

    The entry has the change in words, without tokens. Raises Invalid, with several codes, if the
    event is about a grant that is malformed.
    """
    project = None
    what = str(event.__struct_config__.tag)
    if isinstance(event, Decision):
        project = event.project
        what = str(event.verdict)
        reason = describe_for_approvers(event)
        change = describe_for_approvers(event, describe_principal)
    elif isinstance(event, TableEvent):
        reason = KIND_OF_EVENT[type(event)].describe_event(event)
        change = reason
    else:
        reason = describe_event(event)
        change = describe_event(event, describe_principal)
    return JournalEntry(
        at=event.at,
        project=project,
        commit=number,
        what=what,
        files=(),
        by=event.by,
        by_name=by_name,
        credential=credential_of(event.by),
        reason=redact_tokens(reason),
        change=redact_tokens(change),
    )
