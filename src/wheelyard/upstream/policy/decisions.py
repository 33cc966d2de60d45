"""Approving and blocking public packages: each decision is a commit, and is in the audit log."""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.projects import ProjectNames
from wheelyard.errors import Invalid, NotFound, Unavailable, quoted
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.public_packages import EVERY_VERSION, Decision, ProjectDecisions, Verdict
from wheelyard.operations.audit_log import log_decision
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.upstream.indexes import UpstreamIndex
from wheelyard.upstream.policy.evaluation import LIFTABLE
from wheelyard.upstream.policy.rules import Code

OF_VERSIONS: Final = frozenset((Code.MALICIOUS, Code.VULNERABLE))
"""Rules that are lifted for a version only: the next one of a project may be malicious, too."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Deciding(Struct, frozen=True):
    """Makes decisions in the name of one principal."""

    records: DecisionRecords
    by: str
    names: ProjectNames | None = None
    """The private names, which nothing can be decided about."""
    upstream: UpstreamIndex | None = None
    """What is asked which files there are. Without it, their digests have to be given."""

    def approve(
        self,
        project: NormalizedName,
        version: Version | None,
        reason: str,
        despite: Iterable[str] = (),
        sha256: Iterable[str] = (),
    ) -> ProjectDecisions:
        """
        Approve a project, or the files of one version, and return all decisions about the project.

        The approval of a project is also about files and versions that are added later. That of a
        version is about the files that its upstream index lists now, or those of `sha256`.
        `reason` is one line, or empty. `despite` has the codes of rules that are lifted, too.
        Approving a version always lifts the cooldown.

        Raises Invalid if the name is private, a rule cannot be lifted, a digest is none, the reason
        has control characters, or there is no upstream index to ask. Raises NotFound if no upstream
        index has the project or the version. Raises Unavailable if that cannot be said now, or the
        store does not answer.
        """
        self._require_decidable(project, reason)
        lifted, digests = tuple(sorted(set(despite))), {_digest(text) for text in sha256}
        for code in lifted:
            _require_liftable(code, version)
        if version is None and digests:
            raise Invalid(
                "Digests are those of the files of one version. Name the version.",
                code="invalid_field",
            )
        if not digests:
            digests = self._listed_digests(project, version)
        files = None if version is None else tuple(sorted(digests))
        return self._decide(Verdict.APPROVED, project, version, reason, lifted, files)

    def block(
        self, project: NormalizedName, version: Version | None, reason: str
    ) -> ProjectDecisions:
        """
        Block a project, or one version of it, and return all decisions about the project.

        No upstream index is asked. Raises Invalid if the name is private, or the reason is not one
        line. Raises Unavailable if the store does not answer.
        """
        self._require_decidable(project, reason)
        return self._decide(Verdict.BLOCKED, project, version, reason)

    def _require_decidable(self, project: NormalizedName, reason: str) -> None:
        """
        Check a name and a reason before anybody is asked about the name.

        Raises Invalid if the name is private, or the reason is not one line.
        """
        require_one_line(reason, "A reason", REASON_LIMIT)
        is_listed = self.names is not None and project in self.names.get_current().as_set
        if is_listed or (self.upstream is not None and self.upstream.names.is_private(project)):
            raise Invalid(
                f"{quoted(project)} is private here, and decisions are about public packages. To "
                "hide a private release, run 'wheelyard yank' or 'wheelyard delete'."
            )

    def _listed_digests(self, project: NormalizedName, version: Version | None) -> set[str]:
        """
        Return the digests of all files of a version, or none without a version.

        Raises NotFound if no upstream index has it. Raises Unavailable if that cannot be said now.
        """
        target = f"{project} {version}" if version else project
        if self.upstream is None:
            raise Invalid(
                f"{target} cannot be approved here, as upstream.enabled is not set: "
                "give those of the server, or the digests of the files of a version.",
                code="bad_setting",
            )
        try:
            fresh = self.upstream.pages.refresh(project)
        except Unavailable as fault:
            message = f"{target} cannot be approved now: {fault.message}"
            raise Unavailable(message, code=fault.code, retry_after=fault.retry_after) from fault
        if fresh is None:
            moved = self.upstream.pages.why_contested(project)
            reason = f" now: {moved}" if moved else ", as no upstream index has it."
            raise NotFound(f"{project} cannot be approved{reason}")
        page = self.upstream.files.with_digests(fresh.page)
        if version is None:
            return set()
        key = strip_trailing_zeros(str(version))
        files = [file for file in page.files if strip_trailing_zeros(file.version) == key]
        if not files:
            raise NotFound(
                f"{target} cannot be approved, as its upstream index lists no file of it that can "
                "be shown."
            )
        # the digest of a file whose page has none is that of its first bytes
        bring = self.upstream.files.bring
        return {file.sha256 or bring(page, file).file.sha256 for file in files}

    def _decide(
        self,
        verdict: Verdict,
        project: NormalizedName,
        version: Version | None,
        reason: str,
        despite: tuple[str, ...] = (),
        sha256: tuple[str, ...] | None = None,
    ) -> ProjectDecisions:
        """Commit a decision, and return all decisions about its project."""
        draft = Decision(
            at=self.records.commits.runtime.now(),
            by=self.by,
            verdict=verdict,
            project=project,
            version=EVERY_VERSION if version is None else str(version),
            reason=redact_tokens(reason),  # clients see it, too
            despite=despite,
            sha256=sha256,
        )
        decided = self.records.change(lambda _: (draft,))
        log_decision(draft)
        return decided.after.by_project[project]


def _digest(text: str) -> str:
    digest = text.lower()
    if not _SHA256.fullmatch(digest):
        raise Invalid(
            f"{quoted(text)} is no SHA-256. Write its 64 hexadecimal digits.", code="invalid_field"
        )
    return digest


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
