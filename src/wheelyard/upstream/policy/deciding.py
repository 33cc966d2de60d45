"""Approving and blocking public packages: each decision is a commit, and is in the audit log."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.journals import DecisionRecords
from wheelyard.catalog.projects import ProjectNames
from wheelyard.errors import Invalid, quoted
from wheelyard.model.decisions import (
    EVERY_VERSION,
    Decision,
    ProjectDecisions,
    Verdict,
)
from wheelyard.model.text import redact_tokens, require_one_line
from wheelyard.operations.audit_log import log_decision
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.upstream.policy.evaluation import LIFTABLE
from wheelyard.upstream.policy.reasons import Code

OF_VERSIONS: Final = frozenset((Code.MALICIOUS, Code.VULNERABLE))
"""Rules that are lifted for a version only: the next one of a project may be malicious, too."""


class Deciding(Struct, frozen=True):
    """Makes decisions in the name of one principal."""

    records: DecisionRecords
    by: str
    names: ProjectNames | None = None
    """The private names, which nothing can be decided about."""

    def approve(
        self,
        project: NormalizedName,
        version: Version | None,
        reason: str,
        despite: Iterable[str] = (),
    ) -> ProjectDecisions:
        """
        Approve a project, or one version of it; return all decisions about the project.

        Args:
            project: Its name.
            version: The version; None for the whole project.
            reason: Why, in one line, or empty.
            despite: Codes of rules that are lifted, too. Approving a version always lifts the
                cooldown.

        Raises:
            Invalid: The name is private, a rule cannot be lifted, or the reason has control
                characters.
        """
        lifted = tuple(sorted(set(despite)))
        for code in lifted:
            _require_liftable(code, version)
        return self._decide(Verdict.APPROVED, project, version, reason, lifted)

    def block(
        self, project: NormalizedName, version: Version | None, reason: str
    ) -> ProjectDecisions:
        """Block a project, or one version of it; return all decisions about the project."""
        return self._decide(Verdict.BLOCKED, project, version, reason, ())

    def _decide(
        self,
        verdict: Verdict,
        project: NormalizedName,
        version: Version | None,
        reason: str,
        despite: tuple[str, ...],
    ) -> ProjectDecisions:
        require_one_line(reason, "A reason", REASON_LIMIT)
        if self.names is not None and project in self.names.get_current().as_set:
            raise Invalid(
                f"{quoted(project)} is private here, and decisions are about public packages. To "
                "hide a private release, run 'wheelyard yank' or 'wheelyard delete'."
            )
        draft = Decision(
            at=self.records.runtime.now(),
            by=self.by,
            verdict=verdict,
            project=project,
            version=EVERY_VERSION if version is None else str(version),
            reason=redact_tokens(reason),  # clients see it, too
            despite=despite,
        )
        decided = self.records.change(lambda _: draft)
        log_decision(draft)
        return decided.by_project[project]


def _require_liftable(code: str, version: Version | None) -> None:
    if code not in LIFTABLE:
        raise Invalid(
            f"{quoted(code)} is no rule that an approval lifts. Use {', '.join(LIFTABLE)}.",
            code="invalid_field",
        )
    if code in OF_VERSIONS and version is None:
        raise Invalid(
            f"The rule {code} is lifted for one version only, because a later one may be as bad. "
            "Name the version.",
            code="invalid_field",
        )
