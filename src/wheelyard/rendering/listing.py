"""
What a reader may see of a project and its files, in one form for private and public projects.

Pages are made from a `Listing`, or from any `ShownProject`, and so need not know whether the files
are in the store or at an upstream index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol, TypeVar

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.project import Status
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, Decision, FileReason


# properties, as plain attributes of a protocol would have to be writable
class ShownFile(Protocol):
    """A file on a page."""

    @property
    def filename(self) -> str:
        """The filename, which says project and version."""

    @property
    def version(self) -> str:
        """The normalised version of the file's release."""

    @property
    def sha256(self) -> str:
        """The SHA-256 as 64 lower-case hexadecimal digits, or an empty text if it is not known."""

    @property
    def other_hashes(self) -> tuple[str, ...]:
        """The other stated digests, each as `ALGORITHM=HEX`, with a name of `hashlib`."""

    @property
    def size(self) -> int | None:
        """The size in bytes, or None if it is not known."""

    @property
    def uploaded_at(self) -> datetime | None:
        """The time of the upload in UTC, or None if it is not known."""

    @property
    def core_metadata(self) -> str:
        """The SHA-256 of the file's core metadata, or an empty text if the digest is not known."""

    @property
    def has_metadata(self) -> bool:
        """Whether the file has core metadata, also if the digest of the metadata is not known."""

    @property
    def serves_metadata(self) -> bool:
        """Whether clients can download the file's core metadata (PEP 658)."""

    @property
    def requires_python(self) -> str | None:
        """The Python versions that the file is for, or None if it does not say any."""

    @property
    def yanked(self) -> str | None:
        """The reason of the yank, perhaps empty, or None if the file is not yanked."""

    @property
    def has_provenance(self) -> bool:
        """Whether this index has the provenance of the file (PEP 740)."""

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel."""


# covariant, so that a project with private files is also one with files of any kind
F_co = TypeVar("F_co", bound=ShownFile, covariant=True)


class ShownProject(Protocol[F_co]):
    """A project on a page."""

    @property
    def name(self) -> NormalizedName:
        """The normalised name of the project."""

    @property
    def status(self) -> Status:
        """The status of the project (PEP 792)."""

    @property
    def reason(self) -> str:
        """The reason for the status."""

    @property
    def files(self) -> Sequence[F_co]:
        """The files of the project, sorted by filename."""

    @property
    def empty_versions(self) -> Sequence[str]:
        """The versions that are listed although they have no files."""


class HiddenFiles(Struct, frozen=True):
    """How many files of one version are not shown, for one reason."""

    version: str
    count: int
    reason: str
    """Sentences: what was decided, and what to do next."""
    is_by_view: bool = False
    """Whether the rules of the index hide the files."""


def hidden_files(files: Iterable[tuple[str, FileReason]]) -> list[HiddenFiles]:
    """
    Return the hidden files as lists show them, the newest version first.

    `files` has the version of each hidden file, and the reason that hides the file. Files of one
    version with one reason are counted together.
    """
    rows = [(version, reason.text, reason.code == HIDDEN_BY_VIEW) for version, reason in files]
    rows.sort(key=_version_and_reason, reverse=True)
    hidden: list[HiddenFiles] = []
    # each file has a row, and equal rows are neighbours now
    for (version, reason, is_by_view), equal_rows in groupby(rows):
        count = len(list(equal_rows))
        hidden.append(HiddenFiles(version, count, reason, is_by_view))
    return hidden


def _version_and_reason(row: tuple[str, str, bool]) -> tuple[Version, str]:
    """Return the sort key of a row: the version as a number, and the text of the reason."""
    version, reason, _ = row
    return listed_version(version), reason


class Origin(Struct, frozen=True, kw_only=True):
    """
    Where a project is from, and what people are told about its source.

    `Origin()` is the origin of a private project of the index that shows the project.
    """

    other_index: str | None = None
    """
    The name of the index that a private project is from, if the project is from another layer.

    If several layers have the project, the name of the first of their indexes.
    """
    label: str = ""
    """The label of the upstream index that was asked, or an empty text for a private project."""
    is_upstream: bool = False
    """Whether the project is public, so that no shared cache may keep its pages."""
    is_stale: bool = False
    """Whether the upstream index was due to be asked again, and has not answered."""
    age: float = 0.0
    """Seconds since the upstream index has confirmed the project."""
    confirmed_at: datetime | None = None
    """When the upstream index has confirmed the project, in UTC, or None if it is private."""
    refusal: str = ""
    """Why nothing of the project is shown, whatever its upstream index has, or an empty text."""
    generation: str = ""
    """A text that changes whenever other files may be hidden, or something else was decided."""

    @property
    def is_own(self) -> bool:
        """Whether the index that shows the project is also where people can change it."""
        return self.other_index is None and not self.is_upstream

    # subclasses for public projects, and for private ones in an index with rules, override these

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return the files that are not shown, the newest version first."""
        return ()

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project, which may be read from the store.

        Raises Unavailable if they cannot be read.
        """
        return ()


class Listing(Struct, frozen=True, kw_only=True):
    """A project as it is shown now."""

    name: NormalizedName
    status: Status
    reason: str
    """The reason for the status."""
    files: Sequence[ShownFile]
    """The files that are shown, sorted by filename."""
    empty_versions: Sequence[str] = ()
    """The versions that are listed although they have no files."""
    version: str
    """A text that changes whenever the listing does, and that means nothing to other processes."""
    origin: Origin
