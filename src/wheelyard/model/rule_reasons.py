"""Why files are hidden: the codes, and the sentences about decisions."""

from enum import StrEnum
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import escaped
from wheelyard.model.public_packages import Decision, FileReason
from wheelyard.remedies import Advice, Remedy


class Code(StrEnum):
    """What a reason is about, the most serious one first."""

    DENIED = "denied"
    """A name of `deny`."""
    NOT_LISTED = "not_listed"
    """A name that `allow` lacks."""
    QUARANTINED = "quarantined"
    """By its upstream (PEP 792)."""
    BLOCKED = "blocked"
    """By `wheelyard upstream block`."""
    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    LICENCE = "licence"
    NOT_APPROVED = "not_approved"
    VERSION = "version"
    """A version that `versions` leaves out."""
    PRERELEASE = "prerelease"
    NOT_ATTESTED = "not_attested"
    NOT_VERIFIED = "not_verified"
    """Its attestations were verified, and do not hold."""
    YANKED = "yanked"
    SNAPSHOT = "snapshot"
    """Uploaded after `snapshot`."""
    COOLDOWN = "cooldown"
    """Uploaded less than `cooldown_days` ago."""
    REMOVED_FILTER = "removed_filter"
    """Every file of an index that has a filter of an earlier version."""


LIFTABLE: Final = (Code.COOLDOWN, Code.LICENCE, Code.MALICIOUS, Code.SNAPSHOT, Code.VULNERABLE)
"""What an approval can lift."""
FETCHED: Final = frozenset((Code.LICENCE, Code.NOT_VERIFIED))
"""Rules for which something about a public file may have to be fetched before it is sent."""
OF_VERSIONS: Final = frozenset((Code.MALICIOUS, Code.VULNERABLE))
"""Rules that are lifted for a version only: the next one of a project may be malicious, too."""


class Statement(Struct, frozen=True):
    """Why a row hides a file, for people."""

    fact: str
    """One or more sentences."""
    help: str
    """What the user of an installer can do, in sentences."""
    advice: Advice | None = None
    end: str = ""
    """Since when the row hides the file no more, in a sentence, or an empty text."""

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(filter(None, (self.fact, self.end, self.help)))


def denied(name: NormalizedName) -> FileReason:
    """Return the reason for a name of `[upstream] deny`."""
    text = f"{name} is denied by the settings. Use another package, or ask the operator."
    return FileReason(Code.DENIED, text)


def not_listed(name: NormalizedName) -> FileReason:
    """Return the reason for a name that `[upstream] allow` lacks."""
    text = (
        f"{name} is not among the allowed public packages. Ask the operator to add it to 'allow'."
    )
    return FileReason(Code.NOT_LISTED, text)


def blocked(target: str, decision: Decision) -> Statement:
    """Return why what a person has blocked is hidden: a package, or a version of it."""
    kind = "package"
    if decision.version:
        kind = "version"
    return Statement(
        _block(decision),
        f"Use another {kind}, or ask the operator to let it through.",
        request_of(target),
    )


def not_approved(target: str, block: Decision | None = None) -> Statement:
    """
    Return why what nobody has approved is hidden.

    `block` is the latest block of a version of it, or None if none is blocked.
    """
    fact = f"{target} is not approved."
    if block is not None:
        fact = f"{_block(block)} No other version of {target} is approved."
    return Statement(fact, "Ask the operator to approve it.", request_of(target))


def not_among(code: Code, said: Statement, approval: Decision) -> Statement:
    """
    Return why a file is hidden that was not there when its version was approved.

    `said` is what the rule with the code says of the file.
    """
    fact = not_among_those(approval)
    if code is Code.NOT_APPROVED:  # of its version, other files are
        return Statement(fact, "Ask the operator to approve it.", request_of(approval.target))
    return Statement(f"{fact} {said.fact}", said.help, said.advice, said.end)


def not_among_those(approval: Decision) -> str:
    """Return the sentence that a file is not among those that were approved of its version."""
    return (
        f"This file is not among those of {approval.target} that were approved on "
        f"{approval.at:%Y-%m-%d}."
    )


def _block(decision: Decision) -> str:
    """Return the sentence that says when who has blocked what, and why."""
    # both are words of people, and an installer shows the sentence in a terminal
    by = escaped(describe_principal(decision.by))
    fact = f"{decision.target} was blocked on {decision.at:%Y-%m-%d} by {by}"
    if decision.reason:
        fact = f"{fact}: {escaped(decision.reason)}"
    return f"{fact}."


def request_of(target: str) -> Advice:
    """Return the advice to ask for a package, or for a version of it, behind a space."""
    project, _, version = target.partition(" ")
    return Advice(Remedy.REQUEST_PACKAGE, project, version=version)
