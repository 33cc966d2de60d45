"""
The rules, the decisions and the advisories, applied to the files of one page.

Most reasons are about a version, so each version is judged once for all of its files.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from wheelyard.model.decisions import Decision, ProjectDecisions, Verdict
from wheelyard.model.project import Status
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy import reasons
from wheelyard.upstream.policy.advisories import Hit
from wheelyard.upstream.policy.reasons import Code, Reason
from wheelyard.upstream.policy.rules import PolicyRules

LIFTABLE: Final = (Code.COOLDOWN, Code.LICENCE, Code.MALICIOUS, Code.SNAPSHOT, Code.VULNERABLE)
"""What an approval can lift."""
NOTHING_HIDDEN: Final[Mapping[str, Reason]] = MappingProxyType({})

_OfVersion = tuple[tuple[Reason, ...], frozenset[str]]
"""Why no file of a version is shown, and the codes of the rules that do not apply to it."""


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
    empty_versions: tuple[str, ...] = ()
    """Versions without files that are shown."""


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
    first_uses: Mapping[str, datetime] = {}
    """By version; when an exception of the cooldown for it was first used."""
    _of_versions: dict[tuple[str, int], _OfVersion] = {}
    """By version, and the identity of the decision that counts."""

    def view(self, generation: str) -> PageView:
        """Return what is shown now."""
        files = self.page.files
        if self._hides_nothing():
            return PageView(files, NOTHING_HIDDEN, None, generation, self.page.empty_versions)
        hidden, ends = dict[str, Reason](), list[datetime]()
        for file in files:
            first = next(self.reasons(file), None)
            if first is not None:
                hidden[file.filename] = first
                end = self.cooldown_end(file)
                ends += [end] if end is not None and end > self.now else []
        shown = tuple(each for each in files if each.filename not in hidden) if hidden else files
        empty = tuple(filter(self._shows_version, self.page.empty_versions))
        return PageView(shown, hidden, min(ends, default=None), generation, empty)

    def reasons(self, file: UpstreamFile) -> Iterator[Reason]:
        """Return every reason why a file is not shown, the most serious one first."""
        approval = self.decisions.of(file.version)
        decision = self.decisions.of_file(file.version, file.sha256)
        why = self._reasons(file, decision)
        if approval is None or approval is decision:
            return why
        return (reasons.not_among(reason, approval) for reason in why)

    def _shows_version(self, version: str) -> bool:
        """Return whether a version without files is shown: no rule hides it whatever its files."""
        of_version, _ = self._of_version(version, self.decisions.of(version))
        return not of_version

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

    def _reasons(self, file: UpstreamFile, decision: Decision | None) -> Iterator[Reason]:
        """Yield the reasons, if this is the decision that counts for the file."""
        of_version, lifted = self._of_version(file.version, decision)
        yield from of_version
        if Code.SNAPSHOT not in lifted:
            yield from self._snapshot_reason(file)
        if Code.COOLDOWN not in lifted:
            yield from self._cooldown_reason(file)

    def _of_version(self, version: str, decision: Decision | None) -> _OfVersion:
        key = version, id(decision)
        if key not in self._of_versions:
            lifted = self._lifted(decision)
            of_version = tuple(self._version_reasons(version, decision, lifted))
            self._of_versions[key] = of_version, lifted
        return self._of_versions[key]

    def _lifted(self, decision: Decision | None) -> frozenset[str]:
        """Return the codes of the rules that do not apply to the files that a decision is about."""
        lifted = set[str]()
        if self.rules.cooldown_exceptions.names.match(self.page.name):
            lifted.add(Code.COOLDOWN)
        if decision is not None and decision.verdict is Verdict.APPROVED:
            lifted.update(decision.despite)
            if decision.version:  # somebody has looked at these very files
                lifted.add(Code.COOLDOWN)
        return frozenset(lifted)

    def _version_reasons(
        self, version: str, decision: Decision | None, lifted: frozenset[str]
    ) -> Iterator[Reason]:
        name, target = self.page.name, f"{self.page.name} {version}"
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
        if not cooldown or self._is_exempt(file):
            return
        if begin is None:
            yield reasons.of_unknown_age(target)
        elif self.now - begin < cooldown:
            yield reasons.too_new(target, begin, cooldown.days, self.cooldown_end(file))

    def _is_exempt(self, file: UpstreamFile) -> bool:
        """Return whether a file was there when an exception for its version was first used."""
        first_use, since = self.first_uses.get(file.version), file.uploaded_at or file.first_seen
        return first_use is not None and since is not None and since <= first_use


def _advisory_reasons(target: str, hit: Hit, lifted: frozenset[str]) -> Iterator[Reason]:
    malicious = [each for each in hit.advisories if each.is_malicious]
    if malicious and Code.MALICIOUS not in lifted:
        yield reasons.malicious(target, malicious)
    vulnerable = [each for each in hit.advisories if not each.is_malicious]
    if vulnerable and Code.VULNERABLE not in lifted:
        yield reasons.vulnerable(target, vulnerable, hit.clean_after)
