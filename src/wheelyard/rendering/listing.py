"""What may be shown of a project and its files to a reader, wherever they are from."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol, TypeVar

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.project import Status
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, Decision, FileReason


# properties, as plain attributes of a protocol would have to be writable
class ShownFile(Protocol):
    """A file on a page."""

    @property
    def filename(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """The release's normalised version."""

    @property
    def sha256(self) -> str:
        """64 lower-case hexadecimal digits, or an empty text if it is not known."""

    @property
    def other_hashes(self) -> tuple[str, ...]:
        """Its other digests that are stated, each as `ALGORITHM=HEX`, by names of `hashlib`."""

    @property
    def size(self) -> int | None:
        """In bytes, or None if it is not known."""

    @property
    def uploaded_at(self) -> datetime | None:
        """In UTC, or None if it is not known."""

    @property
    def core_metadata(self) -> str:
        """SHA-256 of its core metadata, or an empty text if there is none, or it is not known."""

    @property
    def has_metadata(self) -> bool:
        """Whether there is core metadata, whether or not its digest is known."""

    @property
    def serves_metadata(self) -> bool:
        """Whether clients can download the file's core metadata (PEP 658)."""

    @property
    def requires_python(self) -> str | None:
        """The Python versions that it is for."""

    @property
    def yanked(self) -> str | None:
        """The reason, perhaps empty, if it is yanked, or None."""

    @property
    def has_provenance(self) -> bool:
        """Whether this index has its provenance (PEP 740)."""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel."""


# covariant, so that a project with private files is also one with files of any kind
F_co = TypeVar("F_co", bound=ShownFile, covariant=True)


class ShownProject(Protocol[F_co]):
    """A project on a page."""

    @property
    def name(self) -> NormalizedName:
        """Its normalised name."""

    @property
    def status(self) -> Status:
        """Its status (PEP 792)."""

    @property
    def reason(self) -> str:
        """The reason for the status."""

    @property
    def files(self) -> Sequence[F_co]:
        """Its files, sorted by filename."""

    @property
    def empty_versions(self) -> Sequence[str]:
        """Versions without files that are listed all the same."""


class HiddenFiles(Struct, frozen=True):
    """Files of one version that are not shown, for one reason."""

    version: str
    count: int
    reason: str
    """Sentences: what was decided, and what to do next."""
    is_by_view: bool = False
    """Whether the rules of the index hide them."""


def hidden_files(files: Iterable[tuple[str, FileReason]]) -> list[HiddenFiles]:
    """
    Return versions and reasons of hidden files as lists show them, the newest version first.

    Files of one version with one reason are together.
    """
    rows = [(version, reason.text, reason.code == HIDDEN_BY_VIEW) for version, reason in files]
    rows.sort(key=lambda row: (listed_version(row[0]), row[1]), reverse=True)
    hidden: list[HiddenFiles] = []
    # equal rows are neighbours now, one for each file
    for (version, reason, is_by_view), group in groupby(rows):
        hidden.append(HiddenFiles(version, len(list(group)), reason, is_by_view))
    return hidden


class Origin(Struct, frozen=True, kw_only=True):
    """
    Where a project is from, and what people are told about that.

    Without arguments it is that of a private project of the index that shows it.
    """

    other_index: str | None = None
    """
    The name of the index that a private project is from, if it is from another layer.

    It is that of the first if there are several.
    """
    label: str = ""
    """The label of its upstream index, if it is not private and an index was asked."""
    is_upstream: bool = False
    """Whether the project is not private, so that no shared cache may keep what is shown of it."""
    is_stale: bool = False
    """Whether its upstream index should have been asked again, and has not answered."""
    age: float = 0.0
    """Seconds since its upstream index has confirmed it."""
    confirmed_at: datetime | None = None
    """When that was, in UTC, or None of a private one."""
    refusal: str = ""
    """Why nothing of the project is shown, whatever its upstream index has, or an empty text."""
    generation: str = ""
    """Another one whenever something else may be hidden, or decided."""

    @property
    def is_own(self) -> bool:
        """Whether it is a private project of the index that shows it, where one can change it."""
        return self.other_index is None and not self.is_upstream

    # classes of public projects, and of private ones in an index with rules, have more to return

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first."""
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
    """Those that are shown, sorted by filename."""
    empty_versions: Sequence[str] = ()
    """Versions without files that are listed all the same."""
    version: str
    """Another one whenever clients see something else, for this process alone."""
    origin: Origin
