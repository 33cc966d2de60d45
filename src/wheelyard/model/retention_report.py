"""What rules of retention delete and keep, as commands, pages and the API tell it."""

from datetime import date
from hashlib import sha256

from msgspec import Struct, json
from packaging.utils import NormalizedName


class RuleState(Struct, frozen=True, kw_only=True):
    """A rule, and whether it can be applied now."""

    number: int
    index: str
    description: str
    note: str
    hindrance: str
    """Why the rule deletes nothing now, in a sentence, or an empty text if it can be applied."""


class JudgedRelease(Struct, frozen=True, kw_only=True):
    """A release that rules are about."""

    index: str
    project: NormalizedName
    version: str
    files: int
    bytes: int
    rules: tuple[int, ...]
    """The numbers of the rules that delete the release, or would if nothing protected it."""
    why: tuple[str, ...]
    """Why the release is deleted, or why the release is kept."""


class SkippedProject(Struct, frozen=True, kw_only=True):
    """A project that was left alone, as its document cannot be read."""

    index: str
    project: NormalizedName
    why: str


class RetentionReport(Struct, frozen=True, kw_only=True):
    """What rules delete and keep."""

    rules: tuple[RuleState, ...]
    deleted: tuple[JudgedRelease, ...]
    """The releases that are deleted, or in a preview, that would be deleted."""
    kept: tuple[JudgedRelease, ...]
    skipped: tuple[SkippedProject, ...]
    warnings: tuple[str, ...] = ()
    """The releases that are left without a version that they require, in sentences."""

    @property
    def plan(self) -> str:
        """A digest of what is deleted and why, by which a run deletes nothing else."""
        return sha256(json.encode(self.deleted)).hexdigest()


class DatedRelease(Struct, frozen=True, kw_only=True):
    """A release of a project of which rules delete some."""

    version: str
    day: date
    """The day of the first file of the release, in UTC."""
    is_yanked: bool
    is_deleted: bool
    """Whether rules delete the release."""


class ThinnedProject(Struct, frozen=True, kw_only=True):
    """A project of which rules delete some releases."""

    index: str
    name: NormalizedName
    bytes: int
    """How many bytes are deleted."""
    releases: tuple[DatedRelease, ...]
    """All releases of the project, the oldest first."""

    @property
    def deleted(self) -> int:
        """How many releases are deleted."""
        return sum(release.is_deleted for release in self.releases)


class RetentionPreview(Struct, frozen=True):
    """What rules would delete, with all releases of the projects of which most bytes go."""

    report: RetentionReport
    projects: tuple[ThinnedProject, ...]
    """The projects of which most bytes are deleted come first."""
