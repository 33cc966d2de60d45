"""Public packages: the decisions about them, and why clients get or do not get their files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import EventCommit
from wheelyard.remedies import Advice

PRIVATE_NAME: Final = "private_name"
"""The code of a Conflict for a decision, or a request, about a private name."""
EVERY_VERSION: Final = ""
"""The version of a decision about a whole project."""
HIDDEN_BY_VIEW: Final = "view"
"""The code of a reason why the rules of an index hide a file."""
ABSENT_CODES: Final = frozenset({"denied", "not_listed"})
"""Reasons for which a name is answered as one that no index has (404)."""


class Verdict(StrEnum):
    """What a decision says."""

    APPROVED = "approved"
    BLOCKED = "blocked"


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a principal has decided about a project of an upstream index, or one version of it."""

    at: datetime
    """When the decision was made, in UTC."""
    by: str
    """The principal that decided, such as `local:NAME` or `user:EMAIL`."""
    verdict: Verdict
    project: NormalizedName
    version: str = EVERY_VERSION
    """The normalised version, or an empty text for the whole project."""
    reason: str = ""
    despite: tuple[str, ...] = ()
    """The sorted codes of the rules that an approval lifts, such as `licence`."""
    sha256: tuple[str, ...] | None = None
    """
    The digests of the files that the approval of a version is about, or None for any other
    decision.
    """
    asked_by: tuple[str, ...] = ()
    """Some of the principals whose requests waited for the decision."""

    def covers(self, sha256: str) -> bool:
        """
        Return whether the decision is about a file of its project and its version.

        An approval of a version is only about files whose digests it has.
        """
        if self.sha256 is None:
            return self.verdict is Verdict.BLOCKED or not self.version
        return sha256 in self.sha256

    @property
    def key(self) -> str:
        """The version without trailing zeros, as `1.0` and `1.0.0` are one, or an empty text."""
        return strip_trailing_zeros(self.version)

    @property
    def target(self) -> str:
        """The project, or project and version, in words."""
        if self.version:
            return f"{self.project} {self.version}"
        return self.project


class DecisionCommit(EventCommit[Decision], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document of decisions, with the decisions that the write added."""


class ProjectDecisions(Struct, frozen=True, gc=False):
    """The decisions in force about one project."""

    project: Decision | None = None
    """About the whole project."""
    versions: Mapping[str, Decision] = {}
    """About single versions, by the version without trailing zeros."""

    @property
    def all(self) -> tuple[Decision, ...]:
        """All decisions about the project, first the decision about the whole project."""
        version_decisions = tuple(self.versions.values())
        if self.project is None:
            return version_decisions
        return (self.project, *version_decisions)

    def for_version(self, version: str) -> Decision | None:
        """
        Return the decision that counts for a normalised version.

        That is the first of `candidates`, or None if nothing was decided about the version or the
        whole project.
        """
        return next(self.candidates(version), None)

    def for_file(self, version: str, sha256: str) -> Decision | None:
        """
        Return the first decision about a file's version, or its project, that covers the file.

        None if no decision covers the file.
        """
        for decision in self.candidates(version):
            if decision.covers(sha256):
                return decision
        return None

    def candidates(self, version: str) -> Iterator[Decision]:
        """
        Yield the decisions that may count for a normalised version, the most specific one first.

        A block of `2.0` counts for `2.0+cpu`, too. An approval of `2.0` does not.
        """
        # an approval of a version does not cover all of its files, so further decisions follow
        version_decision = self.versions.get(strip_trailing_zeros(version))
        if version_decision is not None:
            yield version_decision
        base_version, local, _ = version.partition("+")
        if local:
            base_decision = self.versions.get(strip_trailing_zeros(base_version))
            if base_decision is not None and base_decision.verdict is Verdict.BLOCKED:
                yield base_decision
        if self.project is not None:
            yield self.project


UNDECIDED: Final = ProjectDecisions()
"""Nothing was decided about a project."""


def decisions_about(decisions: Sequence[Decision]) -> ProjectDecisions:
    """Return the decisions in force about one project, from all its decisions."""
    project_decision = None
    version_decisions = dict[str, Decision]()
    for decision in decisions:
        if decision.version:
            version_decisions[decision.key] = decision
        elif project_decision is None:
            project_decision = decision
    return ProjectDecisions(project_decision, version_decisions)


class Undecided(Struct, frozen=True, omit_defaults=True):
    """A project, or one version of it, about which nothing could be decided, and why."""

    project: NormalizedName
    version: str
    """The version, or an empty text for the whole project."""
    code: str
    message: str


class DecisionSummary(Struct, frozen=True, kw_only=True):
    """What has become of several packages about which one principal has decided at once."""

    decided: tuple[Decision, ...] = ()
    """The new decisions, or in a dry run, the decisions that would be made."""
    unchanged: tuple[Decision, ...] = ()
    """Earlier decisions that already say what was to be decided."""
    blocked: tuple[Decision, ...] = ()
    """The decisions that keep packages blocked that were to be approved."""
    private: tuple[NormalizedName, ...] = ()
    """Names that are private, about which nothing is decided."""
    failed: tuple[Undecided, ...] = ()
    """Packages that no upstream index has, or cannot be asked about."""


class DecisionList(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The decisions in force after the commits 1 to `revision`."""

    revision: int = 0
    decisions: tuple[Decision, ...] = ()
    """Sorted by project and version, with at most one for each."""
    commit: DecisionCommit | None = None
    """The last commit, number `revision`."""

    @cached_property
    def by_project(self) -> dict[NormalizedName, ProjectDecisions]:
        """The decisions in force, by project."""
        grouped = dict[NormalizedName, list[Decision]]()
        for decision in self.decisions:
            grouped.setdefault(decision.project, []).append(decision)
        return {name: decisions_about(decisions) for name, decisions in grouped.items()}

    def for_project(self, name: NormalizedName) -> ProjectDecisions:
        """Return the decisions in force about a project, or UNDECIDED if there are none."""
        return self.by_project.get(name, UNDECIDED)


def apply(decided: DecisionList, new: Decision) -> DecisionList:
    """
    Return `decided` after a new decision, with its revision and last commit unchanged.

    A decision replaces the earlier one about the same project and version. Blocking a project also
    ends the approvals of its versions: who blocks a project, for example because it was taken over,
    means all of it. Approving a project leaves its blocked versions blocked.
    """
    decisions = [earlier for earlier in decided.decisions if not _replaces(new, earlier)]
    decisions.append(new)
    decisions.sort(key=lambda decision: (decision.project, decision.version))
    return replace(decided, decisions=tuple(decisions))


def _replaces(new: Decision, earlier: Decision) -> bool:
    """Return whether a new decision takes an earlier one out of force."""
    if new.project != earlier.project:
        return False
    # a version that was approved before must not stay open in a project that is blocked now
    ends_approvals = new.version == EVERY_VERSION and new.verdict is Verdict.BLOCKED
    is_ended = ends_approvals and earlier.verdict is Verdict.APPROVED
    return is_ended or new.key == earlier.key


def describe(decision: Decision) -> str:
    """Return a decision in words, without when it was made, by whom, and for whom."""
    description = f"{decision.verdict} {decision.target}"
    if decision.sha256 is not None:
        description += f", {counted(len(decision.sha256), 'file')}"
    elif decision.verdict is Verdict.APPROVED and not decision.version:
        description += " with all files and versions, also those that are added later"
    if decision.despite:
        description += f", despite {', '.join(decision.despite)}"
    if decision.reason:
        description += f" ({decision.reason})"
    return description


def describe_for_approvers(decision: Decision, name_of: Callable[[str], str] = str) -> str:
    """
    Return a decision in words, without when it was made and by whom.

    `name_of` says how a principal is written.
    """
    askers = ", ".join(map(name_of, decision.asked_by))
    if askers:
        return f"{describe(decision)}, asked for by {askers}"
    return describe(decision)


class NameAnswer(StrEnum):
    """What clients get for a name."""

    PRIVATE = "private"
    """What was published here, and nothing else."""
    REFUSED = "refused"
    """Nothing: no upstream index is asked."""
    UNKNOWN = "unknown"
    """404: no upstream index has it, or nobody has decided which one is meant."""
    UNAVAILABLE = "unavailable"
    """503, 502 or 403: an upstream index has to be asked, and gives no answer of use."""
    UPSTREAM = "upstream"
    """The page of an upstream index, without the files that are hidden."""


class RefreshedPage(Struct, frozen=True, kw_only=True):
    """What an upstream index has answered to a question that was asked now."""

    name: NormalizedName
    upstream: str
    """The label of the upstream index that has the project, or an empty text if none has it."""
    files: int
    """How many files the page of the upstream index lists."""
    new: tuple[str, ...]
    """The filenames that the page lists, and that the page before did not list."""
    removed: tuple[str, ...]
    """The filenames that only the page before listed."""

    @property
    def is_unknown(self) -> bool:
        """Whether no index has the project."""
        return not self.upstream


class FileReason(Struct, frozen=True, omit_defaults=True):
    """One reason why a file is not shown."""

    code: str
    text: str
    advice: Advice | None = None
    """What helps against the reason, or None if no advice is known."""
    changes_at: datetime | None = None
    """The next moment (UTC) at which time alone may show the file, or None if it never does."""


class ExplainedFile(Struct, frozen=True, omit_defaults=True):
    """A file of the upstream, and why it is not shown."""

    filename: str
    version: str
    shown: bool
    reasons: tuple[FileReason, ...] = ()
    """Every reason, the most serious one first. A file that is shown has none."""
    uploaded_at: datetime | None = None
    sha256: str = ""
    """
    The digest of the file, or an empty text if the page has none and the file was never fetched.
    """


class UnusedLink(Struct, frozen=True, gc=False):
    """A link of the page of an upstream index that is not shown, as it cannot be used."""

    filename: str
    """
    The filename as the page says it, on one line and perhaps cut, or an empty text if the page says
    none.
    """
    why: str
    """The rest of a sentence that begins with the link, without its full stop."""


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What clients get for a project, or for one version of it, and why."""

    name: NormalizedName
    answer: NameAnswer
    reasons: tuple[FileReason, ...] = ()
    """The reasons why clients do not get the page of an upstream index."""
    upstream: str = ""
    """
    The id of the upstream index whose page is explained, or an empty text without a page. The ids
    of several upstream indexes have spaces between them.
    """
    fetched_at: datetime | None = None
    """When the upstream index last confirmed its page, or None without a page."""
    age: float = 0.0
    """How many seconds ago the upstream index last confirmed its page."""
    is_stale: bool = False
    """Whether the upstream index should have been asked again, and has not answered."""
    status: str = ""
    alternate_locations: tuple[str, ...] = ()
    """Other indexes that have the project, too, as the page says. They are never asked."""
    refused_hosts: tuple[str, ...] = ()
    """Hosts of files that `file_hosts` lacks."""
    unused_links: tuple[UnusedLink, ...] = ()
    """The first links of the page, of any version, that cannot be used."""
    unused_link_count: int = 0
    """The number of all links of the page that cannot be used."""
    decisions: tuple[Decision, ...] = ()
    files: tuple[ExplainedFile, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences about what is wrong with data on which the answer depends."""
    other_indexes: tuple[str, ...] = ()
    """The indexes beside main, if main shows no file of the project."""

    @property
    def is_unknown(self) -> bool:
        """Whether no index has the project."""
        return self.answer is NameAnswer.UNKNOWN

    @property
    def is_about_public_package(self) -> bool:
        """Whether clients get another answer for the name than for one that nobody has."""
        is_absent = any(reason.code in ABSENT_CODES for reason in self.reasons)
        return self.answer not in (NameAnswer.PRIVATE, NameAnswer.UNKNOWN) and not is_absent
