"""The rules of an operator, and why a name, a version or a file is not shown."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.model.access import NameFilter, NamePatterns, parse_name_patterns
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_version, strip_trailing_zeros
from wheelyard.model.licences import UNREADABLE, LicencePatterns, parse_licence_patterns
from wheelyard.model.public_packages import Decision, FileReason
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Key
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.policy.advisories import Advisory

NOTHING: Final = parse_name_patterns(())
"""Patterns that no name matches."""
NO_LICENCES: Final = parse_licence_patterns(())


class Exceptions(Struct, frozen=True):
    """Names, and versions of names, that a rule does not apply to."""

    names: NamePatterns = NOTHING
    versions: tuple[tuple[NamePatterns, str], ...] = ()
    """Each version without trailing zeros."""

    def version_for(self, name: NormalizedName, version: str) -> str | None:
        """
        Return the version of an exception for a normalised version, or None.

        An exception for `2.0` is one for `2.0+cpu`, too.
        """
        forms = {strip_trailing_zeros(text) for text in (version, version.partition("+")[0])}
        for names, exempt in self.versions:
            if exempt in forms and names.match(name):
                return exempt
        return None


def parse_exceptions(texts: Iterable[str]) -> Exceptions:
    """
    Return exceptions written as `name`, `acme-*` or `name==1.2.3`.

    Raises Invalid for any other text.
    """
    names, versions = list[str](), list[tuple[NamePatterns, str]]()
    for text in texts:
        name, equals, version = text.partition("==")
        if equals:
            release = strip_trailing_zeros(str(parse_version(version.strip())))
            versions.append((parse_name_patterns((name.strip(),)), release))
        else:
            names.append(name)
    return Exceptions(parse_name_patterns(names), tuple(versions))


class PolicyRules(Struct, frozen=True, kw_only=True):
    """The rules of the settings. Those that nobody has set hide nothing."""

    names: tuple[NameFilter, ...] = ()
    """Which names each upstream index is asked for."""
    cooldown: timedelta = timedelta()
    cooldown_exceptions: Exceptions = field(default_factory=Exceptions)
    uses_first_seen: bool = False
    """Whether a file without a time of upload counts from when it was first seen."""
    snapshot: datetime | None = None
    """Nothing that was uploaded after it is shown. UTC."""
    needs_approval: bool = False
    blocked_licences: LicencePatterns = NO_LICENCES

    def cooldown_end(self, file: UpstreamFile) -> datetime | None:
        """Return when the cooldown of a file ends or has ended, or None for one that never does."""
        begin = self.cooldown_begin(file)
        try:
            return begin + self.cooldown if begin is not None else None
        except OverflowError:  # somebody has written the year 9999
            return None

    def accept(self, name: NormalizedName) -> bool:
        """Return whether an upstream index is asked for a name."""
        return any(names.accepts(name) for names in self.names)

    def cooldown_begin(self, file: UpstreamFile) -> datetime | None:
        """Return from when the cooldown of a file counts, or None if nobody knows."""
        if file.uploaded_at is None and self.uses_first_seen:
            return file.first_seen
        return file.uploaded_at


NAMED_ADVISORIES: Final = 3
"""How many advisories a sentence names."""


class Code(StrEnum):
    """What a reason is about, the most serious one first."""

    DENIED = "denied"
    """A name of `[upstream] deny`."""
    NOT_LISTED = "not_listed"
    """A name that `[upstream] allow` lacks."""
    QUARANTINED = "quarantined"
    """By its upstream (PEP 792)."""
    BLOCKED = "blocked"
    """By `wheelyard upstream block`."""
    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    LICENCE = "licence"
    NOT_APPROVED = "not_approved"
    SNAPSHOT = "snapshot"
    """Uploaded after `[upstream] snapshot`."""
    COOLDOWN = "cooldown"
    """Uploaded less than `[upstream] cooldown_days` ago."""


class Reason(FileReason, frozen=True):
    """Why something is not shown: a `Code`, and sentences for the user of an installer."""


def denied(name: NormalizedName) -> Reason:
    """Return the reason for a name of `deny`."""
    text = f"{name} is denied by the settings. Use another package, or ask the operator."
    return Reason(Code.DENIED, text)


def not_listed(name: NormalizedName) -> Reason:
    """Return the reason for a name that `allow` lacks."""
    text = (
        f"{name} is not among the allowed public packages. Ask the operator to add it to 'allow'."
    )
    return Reason(Code.NOT_LISTED, text)


def quarantined(name: NormalizedName, why: str) -> Reason:
    """Return the reason for a project that its upstream has quarantined."""
    shown = f" ({escaped(why)})" if why else ""
    text = f"{name} is quarantined by its upstream index{shown}. Use another package."
    return Reason(Code.QUARANTINED, text)


def blocked(target: str, decision: Decision) -> Reason:
    """Return the reason for what a person has blocked."""
    other = "version" if decision.version else "package"
    text = f"{_block(decision)} Use another {other}, or ask the operator to let it through."
    return Reason(Code.BLOCKED, text, _request_of(target))


def _block(decision: Decision) -> str:
    """Return the sentence that says who has blocked what, when and why."""
    why = f": {escaped(decision.reason)}" if decision.reason else ""
    by, day = escaped(decision.by), f"{decision.at:%Y-%m-%d}"
    return f"{decision.target} was blocked by {by} on {day}{why}."


def not_approved(target: str, block: Decision | None = None) -> Reason:
    """
    Return the reason for what nobody has approved.

    `block` is the latest block of a version of it.
    """
    fact = f"{target} is not approved."
    if block is not None:
        fact = f"{_block(block)} No other version of {target} is approved."
    text = f"{fact} Ask the operator to approve it."
    return Reason(Code.NOT_APPROVED, text, _request_of(target))


def not_among(reason: Reason, approval: Decision) -> Reason:
    """Return the reason for a file that was not there when its version was approved."""
    fact = (
        f"This file is not among those of {approval.target} that were approved on "
        f"{approval.at:%Y-%m-%d}."
    )
    if reason.code == Code.NOT_APPROVED:  # of its version, other files are
        text = f"{fact} Ask the operator to approve it."
        return Reason(reason.code, text, _request_of(approval.target))
    return Reason(reason.code, f"{fact} {reason.text}", reason.advice)


def malicious(target: str, advisories: Sequence[Advisory]) -> Reason:
    """Return the reason for a malicious version."""
    text = (
        f"{target} is known to be malicious: {_ids(advisories)}. Do not install it. If it was "
        "installed before, treat that machine and its credentials as stolen."
    )
    return Reason(Code.MALICIOUS, text)


def vulnerable(target: str, advisories: Sequence[Advisory], clean_after: str) -> Reason:
    """
    Return the reason for a vulnerable version.

    `clean_after` is the next version without an advisory, or empty.
    """
    score = max(advisory.score for advisory in advisories)
    advice = f"Use {clean_after} or newer" if clean_after else "Use another package"
    text = (
        f"{target} is known to be vulnerable, with a CVSS score of {score:.1f}: "
        f"{_ids(advisories)}. {advice}."
    )
    return Reason(Code.VULNERABLE, text)


def licence(target: str, expression: str) -> Reason:
    """Return the reason for a version under a blocked licence, or an unknown one if it is empty."""
    what = f"is under {expression}, which is blocked here" if expression else "names no licence"
    if expression == UNREADABLE:
        what = "says its licence in a way that cannot be read, and some are blocked here"
    text = f"{target} {what}. Use another version or package, or ask the operator."
    return Reason(Code.LICENCE, text)


def after_snapshot(target: str, uploaded_at: datetime | None, snapshot: datetime) -> Reason:
    """Return the reason for a file that was uploaded after the snapshot, or nobody knows when."""
    when = f"was uploaded on {_time(uploaded_at)}" if uploaded_at else "has no time of upload"
    text = (
        f"{target} {when}, and this index shows what was uploaded up to {_time(snapshot)}. Use an "
        "older version, or ask the operator for a later snapshot."
    )
    return Reason(Code.SNAPSHOT, text)


def too_new(target: str, since: datetime, days: int, shown_from: datetime | None) -> Reason:
    """Return the reason for a file in its cooldown."""
    end = f" It is shown from {_time(shown_from)} on." if shown_from else ""
    text = (
        f"{target} appeared on {_time(since)}, less than {counted(days, 'day')} ago.{end} Use an "
        "older version. For a security fix, ask the operator to let it through."
    )
    return Reason(Code.COOLDOWN, text, _request_of(target))


def of_unknown_age(target: str) -> Reason:
    """Return the reason for a file of which nobody knows when it was uploaded."""
    text = (
        f"{target} has no time of upload, so it may be too new. Use an older version, or ask the "
        'operator to let it through, or to set cooldown_missing = "first_seen" for all.'
    )
    return Reason(Code.COOLDOWN, text, _request_of(target))


def _request_of(target: str) -> Advice:
    """Return the advice to ask for a package, or for a version of it, behind a space."""
    project, _, version = target.partition(" ")
    return Advice(Remedy.REQUEST_PACKAGE, project, version=version)


def _ids(advisories: Sequence[Advisory]) -> str:
    ids = [escaped(advisory.id) for advisory in advisories]
    more = f" and {len(ids) - NAMED_ADVISORIES} more" if len(ids) > NAMED_ADVISORIES else ""
    return f"{', '.join(ids[:NAMED_ADVISORIES])}{more}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


V = TypeVar("V")

NoteDocument = dict[str, dict[NormalizedName, dict[str, V]]]
"""The stored form: one member, whose value is by project and version."""


class VersionNotes(Generic[V]):
    """
    Reads and changes the document at `key` with one `member`.

    Threads may share it. `retries` are for conflicts with other servers.
    """

    def __init__(
        self,
        key: Key,
        member: str,
        documents: DocumentCache[NoteDocument[V]],
        retries: ConflictRetries,
    ) -> None:
        self._key = key
        self._member = member
        self._documents = documents
        self._retries = retries

    def peek(self) -> Snapshot[NoteDocument[V]] | None:
        """Return the document, or None if that needs a read, as `DocumentCache.peek`."""
        return self._documents.peek(self._key)

    def get(self) -> Snapshot[NoteDocument[V]]:
        """
        Return the document, from the cache or the store.

        Raises Unavailable if the store does not answer.
        """
        return self._documents.get(self._key)

    def of_project(self, name: NormalizedName, noted: Snapshot[NoteDocument[V]]) -> Mapping[str, V]:
        """Return what the document says of a project, by version."""
        return (noted.value or {}).get(self._member, {}).get(name, {})

    def add(
        self,
        name: NormalizedName,
        before: Snapshot[NoteDocument[V]],
        notes: Mapping[str, V],
        *,
        replaces: bool = False,
    ) -> Snapshot[NoteDocument[V]]:
        """
        Write notes of a project, by version, unless they are there, and return the document.

        `before` is what `get` has just returned. A note that is there stays, unless the new one
        `replaces` it. Raises Unavailable if the document cannot be written.
        """
        for attempt in self._retries.attempts():
            # another server has changed the document, and what it has added counts
            if attempt:
                before = self._documents.get(self._key, "current")
            noted = self.of_project(name, before)
            updated = {**noted, **notes} if replaces else {**notes, **noted}
            if updated == noted:
                return before
            projects = (before.value or {}).get(self._member, {})
            after = {self._member: {**projects, name: updated}}
            if self._documents.swap(self._key, after, before.version):
                return self.get()
        raise self._retries.exhausted(self._key)
