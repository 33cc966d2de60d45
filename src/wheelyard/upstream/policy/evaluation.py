"""
The rules, the decisions and the advisories, applied to the files of one page.

Most reasons are about a version, so each version is judged once for all of its files.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from wheelyard.model.decisions import ProjectDecisions, Verdict
from wheelyard.model.project import Status
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy import reasons
from wheelyard.upstream.policy.advisories import Hit
from wheelyard.upstream.policy.reasons import Code, Reason
from wheelyard.upstream.policy.rules import PolicyRules

LIFTABLE: Final = (Code.COOLDOWN, Code.LICENCE, Code.MALICIOUS, Code.SNAPSHOT, Code.VULNERABLE)
"""What an approval can lift."""
NOTHING_HIDDEN: Final[Mapping[str, Reason]] = MappingProxyType({})


class PageView(Struct, frozen=True):
    """What of a page is shown now, and why the rest is not."""

    shown: tuple[UpstreamFile, ...]
    """Sorted by filename."""
    hidden: Mapping[str, Reason]
    """The most serious reason of each file that is not shown, by filename."""
    changes_at: datetime | None
    """The next moment at which files appear by time alone; None if there is none."""
    generation: str
    """The policy's, as this view was made."""


class Evaluation(Struct, frozen=True):
    """What decides about the files of a page at one moment."""

    rules: PolicyRules
    page: UpstreamPage
    now: datetime
    decisions: ProjectDecisions
    advisories: Mapping[str, Hit]
    """By version; without an entry nothing is known."""
    licences: Mapping[str, str]
    """The blocked licence of each version that is known to have one."""
    _of_versions: dict[str, "_VersionReasons"] = {}

    def view(self, generation: str) -> PageView:
        """Return what is shown now."""
        files = self.page.files
        if self._hides_nothing():
            return PageView(files, NOTHING_HIDDEN, None, generation)
        hidden, ends = dict[str, Reason](), list[datetime]()
        for file in files:
            first = next(self.reasons(file), None)
            if first is not None:
                hidden[file.filename] = first
                end = self.cooldown_end(file)
                ends += [end] if end is not None and end > self.now else []
        shown = tuple(each for each in files if each.filename not in hidden) if hidden else files
        return PageView(shown, hidden, min(ends, default=None), generation)

    def reasons(self, file: UpstreamFile) -> Iterator[Reason]:
        """Yield every reason why a file is not shown, the most serious one first."""
        found = self._of_version(file.version)
        yield from found.reasons
        if Code.SNAPSHOT not in found.lifted:
            yield from self._snapshot_reason(file)
        if Code.COOLDOWN not in found.lifted:
            yield from self._cooldown_reason(file)

    def cooldown_end(self, file: UpstreamFile) -> datetime | None:
        """Return when the cooldown of a file ends or has ended; None for one that never does."""
        begin = self.rules.cooldown_begin(file)
        try:
            return begin + self.rules.cooldown if begin is not None else None
        except OverflowError:  # somebody has written the year 9999
            return None

    def _hides_nothing(self) -> bool:
        rules = self.rules
        return not (
            rules.cooldown
            or rules.snapshot
            or rules.needs_approval
            or self.decisions.all
            or self.advisories
            or self.licences
            or self.page.status is Status.QUARANTINED
        )

    def _of_version(self, version: str) -> "_VersionReasons":
        found = self._of_versions.get(version)
        if found is None:
            lifted = self._lifted(version)
            found = _VersionReasons(tuple(self._version_reasons(version, lifted)), lifted)
            self._of_versions[version] = found
        return found

    def _lifted(self, version: str) -> frozenset[str]:
        """Return the codes of the rules that do not apply to a version."""
        decision = self.decisions.of(version)
        lifted = set[str]()
        if (self.page.name, version) in self.rules.cooldown_exceptions:
            lifted.add(Code.COOLDOWN)
        if decision is not None and decision.verdict is Verdict.APPROVED:
            lifted.update(decision.despite)
            if decision.version:  # somebody has looked at this very version
                lifted.add(Code.COOLDOWN)
        return frozenset(lifted)

    def _version_reasons(self, version: str, lifted: frozenset[str]) -> Iterator[Reason]:
        name, target = self.page.name, f"{self.page.name} {version}"
        decision = self.decisions.of(version)
        if self.page.status is Status.QUARANTINED:
            yield reasons.quarantined(name, self.page.reason)
        if decision is not None and decision.verdict is Verdict.BLOCKED:
            yield reasons.blocked(target, decision)
        hit = self.advisories.get(version)
        if hit is not None:
            yield from _advisory_reasons(target, hit, lifted)
        if version in self.licences and Code.LICENCE not in lifted:
            yield reasons.licence(target, self.licences[version])
        if self.rules.needs_approval and decision is None:
            yield reasons.not_approved(target)

    def _snapshot_reason(self, file: UpstreamFile) -> Iterator[Reason]:
        snapshot = self.rules.snapshot
        # what was seen here before the snapshot was uploaded before it, too
        known = file.uploaded_at or file.first_seen
        if snapshot is not None and (known is None or known > snapshot):
            target = f"{self.page.name} {file.version}"
            yield reasons.after_snapshot(target, file.uploaded_at, snapshot)

    def _cooldown_reason(self, file: UpstreamFile) -> Iterator[Reason]:
        cooldown, target = self.rules.cooldown, f"{self.page.name} {file.version}"
        begin = self.rules.cooldown_begin(file)
        if not cooldown:
            return
        if begin is None:
            yield reasons.of_unknown_age(target)
        elif self.now - begin < cooldown:
            yield reasons.too_new(target, begin, cooldown.days, self.cooldown_end(file))


def _advisory_reasons(target: str, hit: Hit, lifted: frozenset[str]) -> Iterator[Reason]:
    malicious = [each for each in hit.advisories if each.is_malicious]
    if malicious and Code.MALICIOUS not in lifted:
        yield reasons.malicious(target, malicious)
    vulnerable = [each for each in hit.advisories if not each.is_malicious]
    if vulnerable and Code.VULNERABLE not in lifted:
        yield reasons.vulnerable(target, vulnerable, hit.clean_after)


class _VersionReasons(Struct, frozen=True):
    reasons: tuple[Reason, ...]
    lifted: frozenset[str]
    """Codes of the rules that do not apply."""
