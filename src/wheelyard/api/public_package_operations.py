"""
Operations on public packages: decisions about them, and what clients get of them.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import packaging.version
from msgspec import Meta, Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import ApprovalRule, Call, Name, OptionalVersion, Reason, Sha256
from wheelyard.api.project_operations import After
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Forbidden, NotFound, quoted
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.public_packages import (
    ABSENT_CODES,
    Decision,
    DecisionCommit,
    DecisionSummary,
    Explanation,
    RefreshedPage,
    Verdict,
)
from wheelyard.remedies import Advice, Remedy

if TYPE_CHECKING:
    from wheelyard.upstream.decisions import Deciding
    from wheelyard.upstream.indexes import UpstreamIndex

MAX_NAMED_PROJECTS: Final = 20
"""The most projects that one error names."""


class Decisions(Struct, frozen=True):
    """Decisions about public packages."""

    decisions: tuple[Decision, ...]


class DecisionHistory(Struct, frozen=True):
    """Every decision about public packages, oldest first."""

    commits: tuple[DecisionCommit, ...]


class PackageQuestion(Struct, frozen=True):
    """The question what clients get."""

    project: Name
    version: OptionalVersion = ""
    """The version, or an empty text for the whole project."""

    @property
    def parsed(self) -> tuple[NormalizedName, packaging.version.Version | None]:
        """
        The name of the project, and the version or, for the whole project, None.

        Raises Invalid if the name or the version is malformed.
        """
        name = parse_name(self.project)
        if not self.version:
            return name, None
        return name, parse_version(self.version)


class Block(PackageQuestion, frozen=True, forbid_unknown_fields=True):
    """A project to block, or one version of it."""

    reason: Reason = ""


class Approval(Block, frozen=True, forbid_unknown_fields=True):
    """A project to approve, or one version of it."""

    despite: tuple[ApprovalRule, ...] = ()
    """The codes of the rules that the approval lifts."""
    sha256: tuple[Sha256, ...] = ()
    """
    The digests of the files of the version. Without any, the upstream index is asked for them.
    """

    @property
    def asks_upstream(self) -> bool:
        """Whether an upstream index has to be asked."""
        return not self.sha256


class DecidedPackage(PackageQuestion, frozen=True, forbid_unknown_fields=True):
    """A project to decide about, or one version of it."""

    sha256: tuple[Sha256, ...] = ()
    """
    The digests of the files of a version to approve. Without any, the upstream index is asked for
    them.
    """
    despite: tuple[ApprovalRule, ...] = ()
    """The codes of the rules that an approval lifts."""


class SeveralDecisions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Packages to approve, or to block, by one commit."""

    verdict: Verdict
    packages: Annotated[tuple[DecidedPackage, ...], Meta(min_length=1)]
    reason: Reason = ""
    """The reason for the decisions about all of the packages, or an empty text."""
    unblock: bool = False
    """Whether to approve also packages that are blocked."""
    as_of: Annotated[datetime, Meta(tz=True)] | None = None
    """
    The time of the last decision that the caller knows. If there is a later decision about one of
    the projects, nothing is decided. None checks nothing.
    """
    dry_run: bool = False
    """Whether nothing is decided, and the response says what would be decided."""

    @property
    def asks_upstream(self) -> bool:
        """Whether an upstream index has to be asked."""
        is_approval = self.verdict is Verdict.APPROVED
        return is_approval and not all(package.sha256 for package in self.packages)


class Refresh(Struct, frozen=True, forbid_unknown_fields=True):
    """A project that the upstream indexes are asked for now."""

    project: Name


def list_decisions(call: Call) -> Decisions:
    """List the decisions in force about the public packages that the caller may approve."""
    decision_list = call.index.server.decisions.get("current").value
    # nobody has decided anything yet
    if decision_list is None:
        return Decisions(())
    visible_decisions = [
        decision for decision in decision_list.decisions if _may_decide(call, decision)
    ]
    return Decisions(tuple(visible_decisions))


def decision_history(call: Call, body: After) -> DecisionHistory:
    """List every decision that follows a number, about what the caller may approve."""
    commits = call.index.server.decisions.history(body.after)
    return DecisionHistory(tuple(_visible_commits(call, commits)))


def _visible_commits(call: Call, commits: Iterable[DecisionCommit]) -> Iterator[DecisionCommit]:
    """Yield the commits, with only those decisions that the caller could make, too."""
    for commit in commits:
        visible_events = tuple(
            decision for decision in commit.events if _may_decide(call, decision)
        )
        if len(visible_events) == len(commit.events):
            yield commit
        elif visible_events:
            yield DecisionCommit.of_events(
                number=commit.number, id=commit.id, previous=commit.previous, events=visible_events
            )


def _may_decide(call: Call, decision: Decision) -> bool:
    """Return whether the caller could make a decision, and so may see the decision."""
    return call.caller.may(Action.APPROVE, decision.project)


def approve(call: Call, body: Approval) -> Decisions:
    """
    Approve a public project, or one version of it, and return all decisions about it.

    An approval of a version is about the files of `sha256`, or those that its upstream index lists
    now. A private name that the caller may not read is answered as one that no upstream index has.

    Raises Invalid if the name, the version, a digest or the reason is malformed, or a rule cannot
    be lifted. Raises Forbidden if the caller may not approve the project. Raises Conflict if the
    name is private (code `private_name`), or there is no upstream index to ask (code
    `no_upstream`). Raises NotFound if no upstream index has the project or the version. Raises
    Unavailable if no upstream index can say that now.
    """
    name, version = body.parsed
    # checked before an upstream index is asked, so that other callers cause no request
    call.caller.require(Action.APPROVE, name)
    decisions = _deciding(call).approve(name, version, body.reason, body.despite, body.sha256)
    # the next list that somebody looks at has the decision
    call.index.search.note_decision()
    return Decisions(tuple(decisions.all))


def block(call: Call, body: Block) -> Decisions:
    """
    Block a public project, or one version of it, and return all decisions about it.

    No upstream index is asked. A private name that the caller may not read can be blocked as any
    other name, without an effect. Raises Invalid if the name, the version or the reason is
    malformed, and Forbidden if the caller may not approve the project. Raises Conflict (code
    `private_name`) if the name is private.
    """
    name, version = body.parsed
    call.caller.require(Action.APPROVE, name)
    decisions = _deciding(call).block(name, version, body.reason)
    call.index.search.note_decision()
    return Decisions(tuple(decisions.all))


def decide(call: Call, body: SeveralDecisions) -> DecisionSummary:
    """
    Approve or block several public packages at once, by one commit, and say what was decided.

    An approval of a version adds to an earlier approval. A blocked package stays blocked without
    `unblock`. Packages that are private, or that no upstream index has or tells of now, are left
    out and named in the answer. A private name that the caller may not read is treated as by
    `approve` and `block`. In a dry run nothing is decided.

    Raises Invalid if a name, a version, a digest or the reason is malformed, if a digest comes
    without a version, or if a rule cannot be lifted. Raises Forbidden if the caller may not approve
    one of the projects. Raises Conflict (code `decisions_changed`) if somebody has decided about
    one of them after `as_of`.
    """
    # nothing of upstream/ is loaded until a process decides something
    from wheelyard.upstream.decisions import Target  # noqa: PLC0415

    targets = list[Target]()
    for package in body.packages:
        name, version = package.parsed
        sha256 = frozenset(package.sha256)
        targets.append(Target(name, version, sha256, frozenset(package.despite)))

    # nothing is decided if one decision is refused, as all are one commit
    _require_approver_of_all(call, {target.project for target in targets})
    summary = _deciding(call).decide(
        body.verdict,
        targets,
        body.reason,
        unblock=body.unblock,
        as_of=body.as_of,
        dry_run=body.dry_run,
    )
    if not body.dry_run:
        call.index.search.note_decision()
    return summary


def _require_approver_of_all(call: Call, names: Iterable[NormalizedName]) -> None:
    """Raise Forbidden, with the names of those projects, if the caller may not approve all."""
    refused_names = sorted(name for name in names if not call.caller.may(Action.APPROVE, name))
    # for one project, the error is that of `approve`
    if len(refused_names) == 1:
        call.caller.require(Action.APPROVE, refused_names[0])
    if refused_names:
        named = [quoted(name) for name in refused_names[:MAX_NAMED_PROJECTS]]
        names_in_words = ", ".join(named)
        count = len(refused_names) - len(named)
        if count:
            names_in_words += f" and {count} more"
        refused_act = f"approve {names_in_words}, so nothing was decided"
        raise call.caller.forbidden(refused_act, Action.APPROVE.word)


def _deciding(call: Call) -> "Deciding":
    """Return the object that makes decisions in the name of the caller."""
    # nothing of upstream/ is loaded until a process decides something
    from wheelyard.upstream.decisions import Deciding  # noqa: PLC0415

    index = call.index
    return Deciding(
        index.server.decisions,
        call.by,
        index.projects.names,
        index.upstream,
        index.server.package_requests,
        partial(call.caller.may, Action.READ),
    )


def explain_package(call: Call, body: PackageQuestion) -> Explanation:
    """
    Return which files clients get of a public package, and why they do not get the other files.

    An upstream index may be asked. A fetched page is stored, and the first use of an exception from
    the cooldown is written. If an upstream index does not say whether it has the name, the answer
    tells that.

    Raises Invalid if the name or the version is malformed, or (code `bad_setting`) no database of
    advisories can be used. Raises Unauthenticated, Forbidden or NotFound if the caller may not know
    about the name, and NotFound without an upstream index. Raises Unavailable if metadata or a
    provenance cannot be had now.
    """
    name, version = body.parsed
    call.index.read_policy.require_lookup(call.caller, name)
    may_read = call.caller.may(Action.READ, name)
    explanation = _require_upstream(call).explain(name, version, may_read=may_read)
    # the error is that for an unknown name, so that nobody learns which names are private
    if not explanation.is_about_public_package:
        call.index.read_policy.require_project_read(call.caller, name)
    return explanation


def refresh(call: Call, body: Refresh) -> RefreshedPage:
    """
    Ask the upstream indexes for a project now, as whoever may upload something can do.

    The fetched page takes the place of the page in the store. Raises Unauthenticated or Forbidden
    for other callers, Invalid if the name is malformed, and NotFound without an upstream index.
    Raises Unauthenticated, Forbidden or NotFound if the caller may not know about the name. Raises
    Forbidden if the name is private, or the policy lets nobody ask for it. Raises Unavailable if no
    upstream index is ever asked, or one does not answer, or answers with what cannot be used.
    """
    caller = call.caller
    _require_uploader(caller)
    name = parse_name(body.project)
    read_policy = call.index.read_policy
    read_policy.require_lookup(caller, name)
    upstream = _require_upstream(call)
    upstream.pages.require_online(name)

    # of a private name the refusal says so, which only callers who may read the name may learn
    try:
        page = upstream.refresh(name, may_read=caller.may(Action.READ, name))
    except Forbidden as refusal:
        if refusal.code in ABSENT_CODES:
            read_policy.require_project_read(caller, name)
        raise

    # the error is that for an unknown name, so that nobody learns which names are private
    if not page.upstream:
        read_policy.require_project_read(caller, name)
    return page


def _require_uploader(caller: Caller) -> None:
    """Raise Unauthenticated or Forbidden unless the caller may upload something, or administer."""
    if caller.may_anywhere(Action.UPLOAD) or caller.may_everywhere(Action.ADMIN):
        return
    if caller.is_anonymous:
        raise invalid_credential()
    fact = f"{caller.display_name} may not refresh what upstream indexes have."
    raise Forbidden(
        f"{fact} It is for whoever may upload something, by a token or a grant of upload.",
        advice=Advice(Remedy.CREATE_TOKEN, right="read,upload"),
    )


def _require_upstream(call: Call) -> "UpstreamIndex":
    """Return the upstream index of the index, or raise NotFound if the index has none."""
    if call.index.upstream is None:
        raise NotFound(
            "This index has no upstream index. Set [upstream] url, and restart its server; a "
            "command needs the --config of the server, or --server URL if the server was started "
            "with --upstream."
        )
    return call.index.upstream
