"""Why files are hidden: the codes, and the sentences about decisions."""

from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
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
    """The upstream has quarantined the project (PEP 792)."""
    BLOCKED = "blocked"
    """A person has blocked the package with `wheelyard upstream block`."""
    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    LICENCE = "licence"
    NOT_APPROVED = "not_approved"
    VERSION = "version"
    """A version that `versions` leaves out."""
    PRERELEASE = "prerelease"
    NOT_ATTESTED = "not_attested"
    NOT_VERIFIED = "not_verified"
    """The attestations of the file were verified, and do not hold."""
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
"""Rules that are lifted for one version only, as the next version may be malicious, too."""


class Statement(Struct, frozen=True):
    """Why a row hides a file, for people."""

    fact: str
    """One or more sentences."""
    help: str
    """What the user of an installer can do, in sentences."""
    advice: Advice | None = None
    end: str = ""
    """When the row stops hiding the file, in a sentence, or an empty text."""

    @property
    def text(self) -> str:
        """All sentences: the fact, the end if there is one, and the help."""
        sentences = (self.fact, self.end, self.help)
        return " ".join(sentence for sentence in sentences if sentence)


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
    """Return why a package, or a version of it, is hidden that a person has blocked."""
    kind = "package"
    if decision.version:
        kind = "version"
    return Statement(
        _block_sentence(decision),
        f"Use another {kind}, or ask the operator to let it through.",
        request_of(target),
    )


def not_approved(target: str, block: Decision | None = None) -> Statement:
    """
    Return why a package, or a version of it, is hidden that nobody has approved.

    `block` is the latest block of a version of the package, or None if no version is blocked.
    """
    fact = f"{target} is not approved."
    if block is not None:
        fact = f"{_block_sentence(block)} No other version of {target} is approved."
    return Statement(fact, "Ask the operator to approve it.", request_of(target))


def not_among(code: Code, statement: Statement, approval: Decision) -> Statement:
    """
    Return why a file is hidden that was not there when its version was approved.

    `statement` is what the rule with the code says about the file.
    """
    fact = not_among_those(approval)
    # the rule would say that nothing is approved, but other files of the version are
    if code is Code.NOT_APPROVED:
        return Statement(fact, "Ask the operator to approve it.", request_of(approval.target))
    return replace(statement, fact=f"{fact} {statement.fact}")


def not_among_those(approval: Decision) -> str:
    """Return the sentence that a file is not among the approved files of its version."""
    return (
        f"This file is not among those of {approval.target} that were approved on "
        f"{approval.at:%Y-%m-%d}."
    )


def _block_sentence(decision: Decision) -> str:
    """Return the sentence about a block: what was blocked, when, by whom, and why."""
    # an installer shows the sentence in a terminal, and people have written name and reason
    by = escaped(describe_principal(decision.by))
    fact = f"{decision.target} was blocked on {decision.at:%Y-%m-%d} by {by}"
    if decision.reason:
        fact = f"{fact}: {escaped(decision.reason)}"
    return f"{fact}."


def request_of(target: str) -> Advice:
    """Return the advice to ask for a target: `PACKAGE`, or `PACKAGE VERSION`."""
    project, _, version = target.partition(" ")
    return Advice(Remedy.REQUEST_PACKAGE, project, version=version)
