"""
Decisions about public packages of upstream indexes: what is approved, and what is blocked.

The document is the fold of its commits, as a project's is. These classes are also the stored form,
so a field is only ever added, with a default.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import NumberedCommit

EVERY_VERSION: Final = ""
"""The version of a decision about a whole project."""


class Verdict(StrEnum):
    """What a decision says."""

    APPROVED = "approved"
    BLOCKED = "blocked"


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a principal has decided about a project of an upstream index, or one version of it."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `local:NAME`, `user:EMAIL`."""
    verdict: Verdict
    project: NormalizedName
    version: str = EVERY_VERSION
    """Normalised; empty for the whole project."""
    reason: str = ""
    despite: tuple[str, ...] = ()
    """Codes of the rules that an approval lifts, such as `licence`; sorted."""

    @property
    def key(self) -> str:
        """The version without trailing zeros, as `1.0` and `1.0.0` are one; or an empty text."""
        return strip_trailing_zeros(self.version)

    @property
    def target(self) -> str:
        """The project, or project and version, in words."""
        return f"{self.project} {self.version}" if self.version else self.project


class DecisionCommit(NumberedCommit, frozen=True, kw_only=True):
    """One write of the document, with the decision that it added."""

    event: Decision


class ProjectDecisions(Struct, frozen=True, gc=False):
    """The decisions in force about one project."""

    project: Decision | None = None
    """About the whole project."""
    versions: Mapping[str, Decision] = {}
    """About single versions, by the version without trailing zeros."""

    @property
    def all(self) -> tuple[Decision, ...]:
        """All of them, first the one about the whole project."""
        return (*filter(None, (self.project,)), *self.versions.values())

    def of(self, version: str) -> Decision | None:
        """
        Return the decision that counts for a normalised version: its own, else the project's.

        What was decided about `2.0` counts for `2.0+cpu`, too, as in a requirement `==2.0`.
        """
        if not self.versions:
            return self.project
        public = version.partition("+")[0]
        found = self.versions.get(strip_trailing_zeros(version))
        return found or self.versions.get(strip_trailing_zeros(public)) or self.project


def decisions_about(some: Sequence[Decision]) -> ProjectDecisions:
    """Return the decisions in force about one project, of which there are some."""
    about_all = next((each for each in some if not each.version), None)
    return ProjectDecisions(about_all, {each.key: each for each in some if each.version})


class DecisionList(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The decisions in force after the commits 1 to `revision`."""

    revision: int = 0
    decisions: tuple[Decision, ...] = ()
    """At most one for each project and version; sorted by these."""
    commit: DecisionCommit | None = None
    """The last commit, number `revision`."""

    @cached_property
    def by_project(self) -> dict[NormalizedName, ProjectDecisions]:
        """The decisions in force, by project."""
        found = dict[NormalizedName, list[Decision]]()
        for each in self.decisions:
            found.setdefault(each.project, []).append(each)
        return {name: decisions_about(some) for name, some in found.items()}


def fold(known: DecisionList, commit: DecisionCommit) -> DecisionList:
    """
    Return `known` after `commit`.

    A decision replaces the earlier one about the same project and version. Blocking a project also
    ends the approvals of its versions: who blocks a project, for example because it was taken over,
    means all of it. Approving a project leaves its blocked versions blocked.
    """
    new = commit.event
    kept = [each for each in known.decisions if not _replaces(new, each)]
    decisions = tuple(sorted([*kept, new], key=lambda each: (each.project, each.version)))
    return replace(known, decisions=decisions, revision=commit.number, commit=commit)


def _replaces(new: Decision, old: Decision) -> bool:
    if new.project != old.project:
        return False
    ends_approvals = new.version == EVERY_VERSION and new.verdict is Verdict.BLOCKED
    return new.key == old.key or (ends_approvals and old.verdict is Verdict.APPROVED)


def describe(decision: Decision) -> str:
    """Return a decision in words, without who has made it and when."""
    despite = f", also {', '.join(decision.despite)}" if decision.despite else ""
    reason = f" ({decision.reason})" if decision.reason else ""
    return f"{decision.verdict} {decision.target}{despite}{reason}"
