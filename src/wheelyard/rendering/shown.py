"""
What pages need of a project and its files, whoever has published them.

Private projects have all of it (`model/project.py`). A project of an upstream index may lack a
file's size, time or digest.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from packaging.utils import NormalizedName

from wheelyard.model.project import Status


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
        """64 lower-case hexadecimal digits; empty if it is not known."""

    @property
    def size(self) -> int | None:
        """Bytes; None if it is not known."""

    @property
    def uploaded_at(self) -> datetime | None:
        """UTC; None if it is not known."""

    @property
    def core_metadata(self) -> str:
        """SHA-256 of its core metadata; empty if there is none, or it is not known."""

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
        """The reason, perhaps empty, if it is yanked; else None."""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel."""


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
