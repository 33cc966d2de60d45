"""What clients get for the name of a public package, and why: values for people and programs."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decisions import Decision

ABSENT_CODES: Final = frozenset({"denied", "not_listed"})
"""Reasons for which a name is answered as one that no index has (404)."""


class NameAnswer(StrEnum):
    """What clients get for a name."""

    PRIVATE = "private"
    """What was published here, and nothing else."""
    REFUSED = "refused"
    """Nothing: no upstream index is asked."""
    UNKNOWN = "unknown"
    """404: no upstream index has it, or nobody has decided which one is meant."""
    UNAVAILABLE = "unavailable"
    """503 or 502: an upstream index has to be asked, and gives no answer that can be used."""
    UPSTREAM = "upstream"
    """The page of an upstream index, without the files that are hidden."""


class RefreshedPage(Struct, frozen=True, kw_only=True):
    """What an upstream index has answered to a question that was asked now."""

    name: NormalizedName
    upstream: str
    """The label of the index that has the project; empty if none has it."""
    files: int
    """How many files its page lists."""
    new: tuple[str, ...]
    """The filenames that the page before did not list."""
    removed: tuple[str, ...]
    """The filenames that only the page before lists."""

    @property
    def is_unknown(self) -> bool:
        """Whether no index has the project."""
        return not self.upstream


class FileReason(Struct, frozen=True):
    """One reason why a file is not shown."""

    code: str
    text: str


class ExplainedFile(Struct, frozen=True, omit_defaults=True):
    """A file of the upstream, and why it is not shown."""

    filename: str
    version: str
    shown: bool
    reasons: tuple[FileReason, ...] = ()
    """Every reason, the most serious one first; none for a file that is shown."""
    uploaded_at: datetime | None = None
    sha256: str = ""
    """Empty if its page has none, and it was never fetched."""


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What clients get for a project, or for one version of it, and why."""

    name: NormalizedName
    answer: NameAnswer
    reasons: tuple[FileReason, ...] = ()
    """Why it is not the page of an upstream index."""
    upstream: str = ""
    """The id of the upstream index that owns the name."""
    fetched_at: datetime | None = None
    """When it last confirmed its page."""
    age: float = 0.0
    """Seconds since then."""
    is_stale: bool = False
    """Whether it should have been asked again, and has not answered."""
    status: str = ""
    alternate_locations: tuple[str, ...] = ()
    """Other indexes of which the page says that they have the project, too; never asked."""
    refused_hosts: tuple[str, ...] = ()
    """Hosts of files that `file_hosts` lacks."""
    decisions: tuple[Decision, ...] = ()
    files: tuple[ExplainedFile, ...] = ()
    warnings: tuple[str, ...] = ()
    """What is wrong with that on which the answer depends, in sentences."""

    @property
    def is_unknown(self) -> bool:
        """Whether no index has the project."""
        return self.answer is NameAnswer.UNKNOWN

    @property
    def is_about_public_package(self) -> bool:
        """Whether clients get another answer for the name than for one that nobody has."""
        is_absent = any(each.code in ABSENT_CODES for each in self.reasons)
        return self.answer not in (NameAnswer.PRIVATE, NameAnswer.UNKNOWN) and not is_absent
