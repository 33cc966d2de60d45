"""
Projects, their files, and the events and commits that change them.

A project's document is the fold of its commits: all their events, applied one after another.
These classes are also the stored form (`catalog/journaled_documents.py` converts them to JSON and
back), so a field is only ever added, with a default. Fields and events that only a newer version of
wheelyard knows are kept: fields in `other_fields`, events in the commit, which stays as it was
written.

Objects of these classes cannot be in reference cycles. So the classes with many objects are
invisible to the garbage collector (`gc=False`), which would else visit every file of every cached
project.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, Generic, Self, TypeVar

from msgspec import Raw, Struct, field
from msgspec.json import Decoder, encode
from packaging.utils import NormalizedName

from wheelyard.model.decoding import Extensible, ExtensibleCodec, encode_all_fields
from wheelyard.model.distribution_filename import (
    UniquenessKey,
    parse_known_filename,
    strip_trailing_zeros,
)
from wheelyard.model.index_name import read_index_name

SUMMARY_LIMIT = 512
"""Characters of the longest stored summary."""
METADATA_SUFFIX: Final = "metadata"
"""The suffix of the core metadata beside a file."""
PROVENANCE_SUFFIX: Final = "provenance"
"""The suffix of the provenance beside a file (PEP 740)."""
VARIANT_SUFFIX: Final = "variant"
"""The suffix of the `variant.json` of a wheel with a label, in canonical form (PEP 825)."""
NO_JSON: Final = Raw(b"")
"""The data of an event that has none, and the last commit of a project without commits."""

PartT = TypeVar("PartT")
E = TypeVar("E")


class File(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """The record of a project's file: its name, its digests, and how it came into the index."""

    filename: str
    version: str
    """The release's normalised version."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    size: int
    """Bytes."""
    uploaded_at: datetime
    """The time of the upload, in UTC. For an imported file the time at its source, if known."""
    uploaded_by: str
    sidecars: Mapping[str, str] = {}
    """The SHA-256 of each object stored beside the file, such as its core metadata, by suffix."""
    requires_python: str | None = None
    yanked: str | None = None
    """The reason, perhaps empty, if the file is yanked, or None."""
    imported_at: datetime | None = None
    """When the file was imported, in UTC, or None if it was uploaded."""
    waived_rules: tuple[str, ...] = ()
    """Sorted codes of the rules that the file breaks. A lenient import waived them."""
    uploaded_by_name: str = ""
    """The name that the token in `uploaded_by` had, or empty for any other uploader."""
    keep_until: datetime | None = None
    """Until when the bytes of a deleted file are kept, in UTC, or None if they go at once."""
    promoted_at: datetime | None = None
    """When the file came from another index, in UTC, or None if it was uploaded or imported."""
    promoted_from: str = ""
    """The index that the file was promoted from, as it is stored. See `source_index`."""
    promoted_by: str = ""
    promoted_by_name: str = ""
    """The name that the token in `promoted_by` had, or empty for anybody else."""
    promoted_to: tuple[str, ...] = ()
    """
    The stored, sorted names of the indexes that the file was promoted to. See `targets`.

    A name is noted before that index lists the file. So before bytes are deleted at once, the
    filename has to be deleted in each of these indexes, also where it is not listed yet.
    """
    approved_for: Mapping[str, tuple[str, ...]] = {}
    """Who approved a promotion in an earlier version, by the name of the target index."""
    pinned: str | None = None
    """The reason, perhaps empty, why rules of retention never delete the release, or None."""
    lost_attestations: bool = False
    """Whether the file came with attestations that were not kept, and has got none since."""

    @property
    def source_index(self) -> str:
        """The index that the file was promoted from, or empty if it was uploaded or imported."""
        if self.promoted_at is None:
            return ""
        return read_index_name(self.promoted_from)

    @property
    def targets(self) -> tuple[str, ...]:
        """The sorted names of the indexes that the file was promoted to, each once."""
        names = {read_index_name(name) for name in self.promoted_to}
        return tuple(sorted(names))

    @property
    def came_at(self) -> datetime:
        """When the file came into this index, in UTC."""
        # an import keeps the time at its source, which may be years before
        return self.promoted_at or self.imported_at or self.uploaded_at

    def is_kept(self, at: datetime) -> bool:
        """Return whether the file is deleted, and can still be restored at a time."""
        return self.keep_until is not None and self.keep_until > at

    @property
    def core_metadata(self) -> str:
        """SHA-256 of the stored METADATA or PKG-INFO, or an empty text if there is none."""
        return self.sidecars.get(METADATA_SUFFIX, "")

    @property
    def provenance(self) -> str:
        """SHA-256 of the stored provenance, whose attestations held, or an empty text."""
        return self.sidecars.get(PROVENANCE_SUFFIX, "")

    @property
    def has_provenance(self) -> bool:
        """Whether a provenance is stored with the file."""
        return self.provenance != ""

    @property
    def variant(self) -> str:
        """SHA-256 of the stored `variant.json` of a wheel with a label, or an empty text."""
        return self.sidecars.get(VARIANT_SUFFIX, "")

    @property
    def other_hashes(self) -> tuple[str, ...]:
        """Digests other than the SHA-256: none here, but upstream files may have some."""
        return ()

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
        # PEP 792 leaves that to the index: a deprecated project may still need a repair
        return self in (Status.ACTIVE, Status.DEPRECATED)

    @property
    def serves_files(self) -> bool:
        """Whether the files of a project of this status are listed and served."""
        return self is not Status.QUARANTINED

    def served(self, parts: Sequence[PartT]) -> Sequence[PartT]:
        """Return the files or versions of a project of this status, or none in quarantine."""
        if not self.serves_files:
            return ()
        return parts


class EventKind(StrEnum):
    """The kinds of events that this version knows."""

    UPLOADED = "uploaded"
    """A file was added, by an upload, an import or a promotion from another index."""
    YANKED = "yanked"
    """Files were yanked (PEP 592), for a reason that may be empty."""
    UNYANKED = "unyanked"
    """Files are no longer yanked."""
    DELETED = "deleted"
    """Files were removed. Their filenames are never free again."""
    RESTORED = "restored"
    """Deleted files whose bytes were kept are back, as they were."""
    STATUS = "status"
    """The project's status was set (PEP 792)."""
    RESERVED = "reserved"
    """The name was made private, without a file."""
    RELEASED = "released"
    """The name, which has no files, was given up."""
    PROMOTED_TO = "promoted-to"
    """Files are promoted to another index, which lists them after this event."""
    ATTESTED = "attested"
    """A file that was listed before got a provenance (PEP 740)."""
    PINNED = "pinned"
    """Rules of retention do not delete the releases of files, for a reason that may be empty."""
    UNPINNED = "unpinned"
    """Files are no longer pinned."""
    PROMOTION_APPROVED = "promotion-approved"
    """Of an earlier version: somebody had approved that files are promoted to another index."""


KNOWN_KINDS: Final = frozenset[str](EventKind)


class _UploadData(Struct, frozen=True, omit_defaults=True):
    """The data of an `uploaded` event."""

    # raw, so that a field of a newer version is not lost by decoding and encoding
    file: Raw
    summary: str = ""


class Deletion(Struct, frozen=True, omit_defaults=True):
    """The data of a `deleted` event."""

    keep_until: datetime | None = None
    """Until when the bytes are kept, in UTC, or None if they are deleted at once."""
    at_once: bool = False
    """Whether an administrator removed also bytes that were kept."""
    by_rule: bool = False
    """Whether a rule of retention deletes. What is restored afterwards is pinned."""


AS_BEFORE: Final = Deletion()
"""The deletion of older versions, which wrote no data: the bytes go after the commit."""


class _StatusData(Struct, frozen=True):
    """The data of a `status` event."""

    status: Status


class _AttestedData(Struct, frozen=True):
    """The data of an `attested` event."""

    provenance: str
    """SHA-256 of the provenance."""


class PromotionData(Struct, frozen=True, omit_defaults=True):
    """The data of a `promoted-to` or `promotion-approved` event."""

    to: str
    """The name of the other index, as it is stored."""
    person: str = ""
    """Who approved the promotion in an earlier version, or empty."""

    @property
    def target(self) -> str:
        """The name of the other index."""
        return read_index_name(self.to)


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """
    A change of a project by a principal, perhaps of a kind that this version does not know.

    Its properties with the data of one kind raise DecodeError if the data is malformed, and most of
    them for an event of another kind.
    """

    what: str
    """One of `EventKind`, or a kind of a newer version, which is kept and changes nothing here."""
    at: datetime
    """UTC."""
    by: str
    """The principal: `token:ID`, `local:NAME`."""
    by_name: str = ""
    """The name that the token in `by` had, which may be deleted since, or empty."""
    files: tuple[str, ...] = ()
    """The names of the files that the event is about."""
    reason: str = ""
    data: Raw = NO_JSON
    """A JSON object with the data of the kind, or `NO_JSON`."""
    needs: str = ""
    """The version that knows the kind, or empty if a reader may pass the event over."""

    @classmethod
    def uploaded(
        cls, file: File, summary: str = "", *, at: datetime, by: str, by_name: str = ""
    ) -> "Event":
        """Return the event that a file was added."""
        data = _UploadData(Raw(encode_all_fields(file)), summary)
        return cls(
            what=EventKind.UPLOADED,
            at=at,
            by=by,
            by_name=by_name,
            files=(file.filename,),
            data=Raw(encode(data)),
        )

    @classmethod
    def attested(
        cls, filename: str, provenance: str, *, at: datetime, by: str, by_name: str = ""
    ) -> "Event":
        """Return the event that a file got a provenance with this SHA-256."""
        data = Raw(encode(_AttestedData(provenance)))
        return cls(
            what=EventKind.ATTESTED, at=at, by=by, by_name=by_name, files=(filename,), data=data
        )

    @classmethod
    def deleted(
        cls,
        files: tuple[str, ...],
        reason: str = "",
        deletion: Deletion = AS_BEFORE,
        *,
        at: datetime,
        by: str,
        by_name: str = "",
    ) -> "Event":
        """Return the event that files were deleted."""
        # no data for the deletion of older versions, so that they can read the event
        data = NO_JSON if deletion == AS_BEFORE else Raw(encode(deletion))
        return cls(
            what=EventKind.DELETED,
            at=at,
            by=by,
            by_name=by_name,
            files=files,
            reason=reason,
            data=data,
        )

    @classmethod
    def status_set(
        cls, status: Status, reason: str = "", *, at: datetime, by: str, by_name: str = ""
    ) -> "Event":
        """Return the event that the project's status was set."""
        data = Raw(encode(_StatusData(status)))
        return cls(what=EventKind.STATUS, at=at, by=by, by_name=by_name, reason=reason, data=data)

    @classmethod
    def promotion_noted(
        cls, data: PromotionData, files: tuple[str, ...], *, at: datetime, by: str, by_name: str
    ) -> "Event":
        """Return the event that files are promoted to another index."""
        return cls(
            what=EventKind.PROMOTED_TO,
            at=at,
            by=by,
            by_name=by_name,
            files=files,
            data=Raw(encode(data)),
        )

    @cached_property
    def file(self) -> File:
        """
        The file that an `uploaded` event has added.

        Raises DecodeError if the event is of another kind, or its data is malformed.
        """
        return _FILES.decode(self._upload.file)

    @property
    def summary(self) -> str:
        """The `Summary` of the core metadata of the file that an `uploaded` event has added."""
        return self._upload.summary

    @cached_property
    def status(self) -> Status:
        """The status that a `status` event has set."""
        return _STATUS_DATA.decode(self.data).status

    @property
    def provenance(self) -> str:
        """SHA-256 of the provenance that an `attested` event has added."""
        return _ATTESTED_DATA.decode(self.data).provenance

    @cached_property
    def promotion(self) -> PromotionData:
        """The data of a `promoted-to` or `promotion-approved` event."""
        return _PROMOTION_DATA.decode(self.data)

    @property
    def promoted_to(self) -> str:
        """The target of a promotion or of its approval, or an empty text for any other event."""
        if self.what not in {EventKind.PROMOTED_TO, EventKind.PROMOTION_APPROVED}:
            return ""
        return self.promotion.target

    @cached_property
    def deletion(self) -> Deletion:
        """The data of a `deleted` event: what becomes of the bytes."""
        if self.data:
            return _DELETIONS.decode(self.data)
        return AS_BEFORE

    def require_valid(self) -> None:
        """Raise DecodeError if the event is of a known kind, and its data is malformed."""
        # a property decodes the data when it is read, and caches the result
        match self.what:
            case EventKind.UPLOADED:
                _ = self.file
            case EventKind.STATUS:
                _ = self.status
            case EventKind.PROMOTED_TO | EventKind.PROMOTION_APPROVED:
                _ = self.promotion
            case EventKind.DELETED:
                _ = self.deletion
            case EventKind.ATTESTED:
                _ = self.provenance

    @property
    def is_known(self) -> bool:
        """Whether this version knows the kind of the event, and all of its data."""
        # decoding loses a field of a newer version, so that the bytes differ
        match self.what:
            case EventKind.UPLOADED:
                return encode(self._upload) == bytes(self.data)
            case EventKind.STATUS:
                return encode(_StatusData(self.status)) == bytes(self.data)
            case EventKind.PROMOTED_TO | EventKind.PROMOTION_APPROVED:
                return encode(self.promotion) == bytes(self.data)
            case EventKind.DELETED if self.data:
                return encode(self.deletion) == bytes(self.data)
            case EventKind.ATTESTED:
                return encode(_AttestedData(self.provenance)) == bytes(self.data)
            case _:
                return self.what in KNOWN_KINDS and not self.data

    @cached_property
    def _upload(self) -> _UploadData:
        return _UPLOAD_DATA.decode(self.data)


class NumberedCommit(Struct, frozen=True, kw_only=True):
    """One write of a document that has a journal."""

    number: int
    """The number of the commit, which is 1 for the first commit of the document."""
    id: str
    """A random text that shows whether a write without a reply has succeeded."""
    previous: str
    """SHA-256 of the stored bytes of the previous commit, or an empty text for the first commit."""


class EventCommit(NumberedCommit, Generic[E], frozen=True, kw_only=True, omit_defaults=True):
    """One write of a document that is no project's, with the events that it added."""

    event: E
    """The first event of the commit."""
    more: tuple[E, ...] = ()
    """
    The other events of the commit, for changes that were made at once. Most commits have none.
    """

    @classmethod
    def of_events(cls, *, number: int, id: str, previous: str, events: tuple[E, ...]) -> Self:  # noqa: A002 - the field
        """Return the commit of these events, of which there is at least one."""
        return cls(number=number, id=id, previous=previous, event=events[0], more=events[1:])

    @property
    def events(self) -> tuple[E, ...]:
        """The events that it added."""
        return (self.event, *self.more)


class Commit(NumberedCommit, frozen=True, kw_only=True, dict=True):
    """One write of a project's document, with the events that it added."""

    events: tuple[Event, ...]

    @cached_property
    def stored(self) -> bytes:
        """The JSON of the commit. For a commit from the store, the bytes that it was read from."""
        return encode(self)


def read_commit(stored: bytes) -> Commit:
    """
    Return the commit of a JSON object.

    Raises DecodeError or UnicodeDecodeError if the JSON is not valid, and RecursionError if it is
    nested too deeply.
    """
    commit = _COMMITS.decode(stored)
    for event in commit.events:
        event.require_valid()
    # The next commit has the SHA-256 of these bytes. Encoding the commit again could give other
    # bytes, as a newer version may have written fields that this version does not know.
    vars(commit)["stored"] = stored
    return commit


_FILES: Final = ExtensibleCodec(File)
_UPLOAD_DATA: Final = Decoder(_UploadData)
_STATUS_DATA: Final = Decoder(_StatusData)
_PROMOTION_DATA: Final = Decoder(PromotionData)
_ATTESTED_DATA: Final = Decoder(_AttestedData)
_DELETIONS: Final = Decoder(Deletion)
_COMMITS: Final = Decoder(Commit)


class Project(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, dict=True
):
    """The state of a project after its commits 1 to `revision`."""

    name: NormalizedName
    revision: int = 0
    status: Status = Status.ACTIVE
    reason: str = ""
    """The reason for the status."""
    summary: str = ""
    """The summary of the last uploaded file that has one."""
    files: tuple[File, ...] = ()
    """The listed files, sorted by filename."""
    deleted_filenames: tuple[str, ...] = ()
    """The sorted names of deleted files, also in `trash`, which nobody can upload again."""
    is_released: bool = field(default=False, name="released")
    """Whether the name was given up, and not taken since: then the project does not exist."""
    trash: tuple[File, ...] = ()
    """Deleted files whose bytes are kept until their `keep_until`, sorted by filename."""
    needs: Mapping[str, str] = {}
    """For each kind of event that a reader must know, the version that knows the kind."""
    stored_commit: Raw = field(default=NO_JSON, name="commit")
    """The last commit, number `revision`, as it is stored."""

    @cached_property
    def commit(self) -> Commit | None:
        """The last commit, or None without commits. Raises DecodeError if it is not valid."""
        if not self.stored_commit:
            return None
        return read_commit(bytes(self.stored_commit))

    @property
    def shown_summary(self) -> str:
        """The summary, or an empty text for a project without files."""
        # the files may have been deleted because of what the summary says
        if not self.files:
            return ""
        return self.summary

    @property
    def exists(self) -> bool:
        """Whether the project has a commit, and its name was not given up since."""
        # the document and the journal stay when a name is given up
        return self.revision > 0 and not self.is_released

    @property
    def empty_versions(self) -> tuple[str, ...]:
        """Listed versions without files: none here, but pages of upstream indexes may have some."""
        return ()

    @cached_property
    def by_filename(self) -> dict[str, File]:
        """The project's files, by filename."""
        return {file.filename: file for file in self.files}

    def kept_files(self, at: datetime) -> tuple[File, ...]:
        """Return the deleted files that can be restored at a time."""
        return tuple(file for file in self.trash if file.is_kept(at))

    @cached_property
    def by_release(self) -> dict[str, list[File]]:
        """Lists of the project's files, by version without trailing zeros (1 for 1.0)."""
        releases = dict[str, list[File]]()
        for file in self.files:
            # for installers, files of 1.0 and of 1 are files of one release (PEP 440)
            releases.setdefault(strip_trailing_zeros(file.version), []).append(file)
        return releases

    @cached_property
    def variants(self) -> dict[str, list[File]]:
        """Lists of the wheels with a label, by version without trailing zeros."""
        releases = dict[str, list[File]]()
        for file in self.files:
            if file.variant:
                releases.setdefault(strip_trailing_zeros(file.version), []).append(file)
        return releases

    @cached_property
    def deleted_keys(self) -> frozenset[UniquenessKey]:
        """
        The uniqueness keys of the deleted filenames.

        Raises Invalid (code `invalid_filename` or `invalid_version`) if a deleted filename cannot
        belong to the project.
        """
        keys = set[UniquenessKey]()
        for filename in self.deleted_filenames:
            distribution = parse_known_filename(filename, self.name)
            keys.add(distribution.uniqueness_key)
        return frozenset(keys)

    @cached_property
    def stored_files(self) -> tuple[bytes, ...]:
        """The files in their stored form: each a JSON object after a comma."""
        # cached, so that an upload to a project with thousands of files encodes only the new file
        return tuple([b"," + encode_all_fields(file) for file in self.files])
