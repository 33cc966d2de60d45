"""
The rules, the decisions and the advisories, applied to the files of one page.

Most reasons are about a version, so each version is judged once for all of its files.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from wheelyard.catalog.document_cache import Codec, Snapshot
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.licences import UNKNOWN, LicencePatterns, licence_of
from wheelyard.model.project import Status
from wheelyard.model.public_packages import Decision, ProjectDecisions, Verdict
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy import rules
from wheelyard.upstream.policy.advisories import Hit
from wheelyard.upstream.policy.rules import (
    Code,
    Exceptions,
    NoteDocument,
    PolicyRules,
    Reason,
    VersionNotes,
)

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
    """The next moment at which files appear by time alone, or None if there is none."""
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
    """By version. A version without an entry has no advisory."""
    licences: Mapping[str, str]
    """The blocked licence of each version that is known to have one."""
    first_uses: Mapping[str, datetime] = {}
    """When an exception of the cooldown for a version was first used, by version."""
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
                end = self.rules.cooldown_end(file)
                ends += [end] if end is not None and end > self.now else []
        shown = tuple(file for file in files if file.filename not in hidden) if hidden else files
        empty = tuple(filter(self._shows_version, self.page.empty_versions))
        return PageView(shown, hidden, min(ends, default=None), generation, empty)

    def reasons(self, file: UpstreamFile) -> Iterator[Reason]:
        """Return every reason why a file is not shown, the most serious one first."""
        approval = self.decisions.for_version(file.version)
        decision = self.decisions.for_file(file.version, file.sha256)
        why = self._reasons(file, decision)
        if approval is None or approval is decision:
            return why
        return (rules.not_among(reason, approval) for reason in why)

    def _shows_version(self, version: str) -> bool:
        """
        Return whether a version without files is shown.

        No rule hides it whatever its files are.
        """
        of_version, _ = self._of_version(version, self.decisions.for_version(version))
        return not of_version

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
        # `decisions` keeps each decision alive, so no other object gets its id
        key = version, id(decision)
        if key not in self._of_versions:
            lifted = self._lifted_codes(decision)
            of_version = tuple(self._version_reasons(version, decision, lifted))
            self._of_versions[key] = of_version, lifted
        return self._of_versions[key]

    def _lifted_codes(self, decision: Decision | None) -> frozenset[str]:
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
            yield rules.quarantined(name, self.page.reason)
        if decision is not None and decision.verdict is Verdict.BLOCKED:
            yield rules.blocked(target, decision)
        hit = self.advisories.get(version)
        if hit is not None:
            yield from _advisory_reasons(target, hit, lifted)
        if version in self.licences and Code.LICENCE not in lifted:
            yield rules.licence(target, self.licences[version])
        if self.rules.needs_approval and decision is None:
            yield rules.not_approved(target)

    def _snapshot_reason(self, file: UpstreamFile) -> Iterator[Reason]:
        snapshot = self.rules.snapshot
        # what was seen here before the snapshot was uploaded before it, too
        since = file.uploaded_at or file.first_seen
        if snapshot is not None and (since is None or since > snapshot):
            target = f"{self.page.name} {file.version}"
            yield rules.after_snapshot(target, file.uploaded_at, snapshot)

    def _cooldown_reason(self, file: UpstreamFile) -> Iterator[Reason]:
        cooldown, target = self.rules.cooldown, f"{self.page.name} {file.version}"
        begin, end = self.rules.cooldown_begin(file), self.rules.cooldown_end(file)
        if not cooldown or self._is_exempt(file):
            return
        if begin is None:
            yield rules.of_unknown_age(target)
        elif end is None or self.now < end:
            yield rules.too_new(target, begin, cooldown.days, end)

    def _is_exempt(self, file: UpstreamFile) -> bool:
        """Return whether a file was there when an exception for its version was first used."""
        first_use, since = self.first_uses.get(file.version), file.uploaded_at or file.first_seen
        return first_use is not None and since is not None and since <= first_use


def _advisory_reasons(target: str, hit: Hit, lifted: frozenset[str]) -> Iterator[Reason]:
    malicious = [advisory for advisory in hit.advisories if advisory.is_malicious]
    if malicious and Code.MALICIOUS not in lifted:
        yield rules.malicious(target, malicious)
    vulnerable = [advisory for advisory in hit.advisories if not advisory.is_malicious]
    if vulnerable and Code.VULNERABLE not in lifted:
        yield rules.vulnerable(target, vulnerable, hit.clean_after)


FIRST_USES: Final = Codec(NoteDocument[datetime])


class FirstUses(Struct, frozen=True):
    """Remembers when an exception was first used. Threads may share it."""

    exceptions: Exceptions
    """Those of the settings."""
    notes: VersionNotes[datetime]
    """By version of the exception, without trailing zeros. Times are UTC."""
    is_read_only: bool
    """Whether an exception counts only once another server, which may write, has used it."""

    def of_page(
        self, page: UpstreamPage, noted: Snapshot[NoteDocument[datetime]]
    ) -> Mapping[str, datetime]:
        """Return when the exception for a version of a page was first used, by version."""
        uses = self.notes.of_project(page.name, noted)
        wanted = self._exception_versions(page) if uses else {}
        return {version: uses[key] for version, key in wanted.items() if key in uses}

    def note(
        self, page: UpstreamPage, now: datetime, noted: Snapshot[NoteDocument[datetime]]
    ) -> Snapshot[NoteDocument[datetime]]:
        """
        Return what is `noted`, after the exceptions for versions of a page are used.

        Raises Unavailable if a first use cannot be written down.
        """
        wanted = {} if self.is_read_only else self._exception_versions(page)
        used_now = dict.fromkeys(sorted(wanted.values()), now)
        return self.notes.add(page.name, noted, used_now)

    def _exception_versions(self, page: UpstreamPage) -> dict[str, str]:
        """Return the version of the exception for each version of a page that has one."""
        versions = dict.fromkeys(file.version for file in page.files)
        keys = {version: self.exceptions.version_for(page.name, version) for version in versions}
        return {version: key for version, key in keys.items() if key is not None}


REMEMBERED: Final = 10_000
"""Files whose licence is kept in memory."""

MetadataReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the core metadata of a file, fetched if needed.

Raises NotFound if there is none. Raises Unavailable if it cannot be had now.
"""
LICENCES: Final = Codec(NoteDocument[str])


class KnownLicences:
    """
    Finds, remembers and tells which releases are under a blocked licence.

    Threads may share it. `patterns` are the licences that are blocked. `notes` has the licences
    that were found, and an empty text for none.
    """

    def __init__(
        self, patterns: LicencePatterns, read_metadata: MetadataReader, notes: VersionNotes[str]
    ) -> None:
        self._patterns = patterns
        self._read_metadata = read_metadata
        self.notes = notes
        self._checked: LruCache[tuple[str, str], str] = LruCache(REMEMBERED)

    def blocked(self, page: UpstreamPage, noted: Snapshot[NoteDocument[str]]) -> Mapping[str, str]:
        """Return the blocked licences of a page by version, as far as they are known."""
        licences = self.notes.of_project(page.name, noted).items()
        blocked = {version: text for version, text in licences if self._patterns.blocks(text)}
        if self._patterns.blocks_unknown:
            described = {file.version for file in page.files if file.has_metadata}
            versions = (file.version for file in page.files)
            blocked |= {version: UNKNOWN for version in versions if version not in described}
        return blocked

    def find(self, page: UpstreamPage, file: UpstreamFile) -> str | None:
        """
        Return the licence of a file if it is blocked, else None.

        The metadata is read if needed. A file without metadata has the licence of another one of
        its release. Raises Unavailable if the metadata cannot be had now.
        """
        key = page.name, file.filename
        licence = self._checked.get(key)
        if licence is None:
            licence = self._licence_of(page, file)
            self._checked.put(key, licence, 1)
        if not self._patterns.blocks(licence):
            return None
        with suppress(Unavailable):  # then the next one who asks for the file writes it down
            noted = self.notes.get()
            self.notes.add(page.name, noted, {file.version: licence}, replaces=True)
        return licence

    def _licence_of(self, page: UpstreamPage, file: UpstreamFile) -> str:
        release = (other for other in page.files if other.version == file.version)
        described = next((other for other in (file, *release) if other.has_metadata), None)
        if described is None:
            return UNKNOWN
        try:
            raw = self._read_metadata(page, described)
        except NotFound:
            return UNKNOWN
        return licence_of(raw, page.name, file.version)
