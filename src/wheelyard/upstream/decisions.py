"""Approving and blocking public packages: each decision is a commit, and is in the audit log."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.package_request_list import RequestRecords
from wheelyard.catalog.projects import ProjectNames
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import UPSTREAM_CODES, Conflict, Invalid, NotFound, Unavailable, quoted
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.distribution_filename import parse_sha256, strip_trailing_zeros
from wheelyard.model.package_requests import RequestList
from wheelyard.model.public_packages import (
    EVERY_VERSION,
    PRIVATE_NAME,
    Decision,
    DecisionList,
    DecisionSummary,
    ProjectDecisions,
    Undecided,
    Verdict,
    describe,
)
from wheelyard.model.rule_reasons import LIFTABLE, OF_VERSIONS, Code
from wheelyard.operations.audit_log import log_decision
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.remedies import Advice, Remedy
from wheelyard.upstream.indexes import PageSource, UpstreamIndex
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

NO_UPSTREAM: Final = "no_upstream"
"""The code of a Conflict for an approval by a process that asks no upstream index."""
DECISIONS_CHANGED: Final = "decisions_changed"
"""The code of a Conflict for packages about which somebody else has decided."""


def needed_despite(code: str, version: str) -> tuple[str, ...] | None:
    """
    Return the codes that an approval has to lift for a version that is hidden by one code.

    `version` is empty for the approval of a project. Return None if no approval lifts the code.
    """
    if code in (Code.NOT_APPROVED, Code.BLOCKED):
        return ()
    if code == Code.COOLDOWN and version:  # the approval of a version always lifts the cooldown
        return ()
    is_of_version_alone = code in OF_VERSIONS
    if code in LIFTABLE and (version or not is_of_version_alone):
        return (code,)
    return None


class Target(Struct, frozen=True):
    """What a decision is about."""

    project: NormalizedName
    version: Version | None = None
    """The version, or None for the whole project."""
    sha256: frozenset[str] = frozenset()
    """
    The digests of the files of the version that are approved.

    If it is empty, the files are those that the upstream index lists now.
    """
    despite: frozenset[str] = frozenset()
    """Codes of rules that an approval lifts, too."""


class Deciding(Struct, frozen=True):
    """Makes decisions in the name of one principal."""

    records: DecisionRecords
    by: str
    names: ProjectNames | None = None
    """The private names, which nothing can be decided about."""
    upstream: UpstreamIndex | None = None
    """The upstream indexes, which are asked for files. Without them, digests have to be given."""
    requests: RequestRecords | None = None
    """The requests for packages. Without them, no decision says who has asked for the package."""
    may_read: Callable[[NormalizedName], bool] | None = None
    """
    Says whether the principal may read a project. None if the principal may read all projects.

    Of a name that the principal may not read, no answer shows whether it is private.
    """

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
        version is about the files that its upstream index lists now, or those of `sha256`. Without
        `sha256` the index is asked for its page, and a file whose page says no digest is fetched
        into the store. `reason` is one line, or empty. `despite` has the codes of rules that are
        lifted, too. Approving a version always lifts the cooldown.

        Raises Conflict (code `private_name`) if the name is private, and the principal may know
        that. Raises Conflict (code `no_upstream`) if there is no upstream index to ask. Raises
        Invalid (code `invalid_field`) if a rule cannot be lifted, a digest is none or has no
        version, or the reason is not one line or too long. Raises NotFound if no upstream index has
        the project or the version, or the name is contested. Raises Unavailable if that cannot be
        said now, or the store does not answer.
        """
        self._require_decidable(project, reason)
        lifted = tuple(sorted(set(despite)))
        digests = {str(parse_sha256(text)) for text in sha256}
        for code in lifted:
            _require_liftable(code, version)
        if version is None and digests:
            raise _without_version()
        # before the commit: it may ask an upstream index, and an intent may be tried again
        if not digests:
            digests = self._listed_digests(project, version)
        files = None if version is None else tuple(sorted(digests))
        return self._decide(Verdict.APPROVED, project, version, reason, lifted, files)

    def block(
        self, project: NormalizedName, version: Version | None, reason: str
    ) -> ProjectDecisions:
        """
        Block a project, or one version of it, and return all decisions about the project.

        No upstream index is asked. Raises Conflict (code `private_name`) if the name is private,
        and the principal may know that. Raises Invalid (code `invalid_field`) if the reason is not
        one line, or too long. Raises Unavailable if the store does not answer.
        """
        self._require_decidable(project, reason)
        return self._decide(Verdict.BLOCKED, project, version, reason)

    def decide(
        self,
        verdict: Verdict,
        targets: Iterable[Target],
        reason: str,
        *,
        unblock: bool = False,
        as_of: datetime | None = None,
        dry_run: bool = False,
    ) -> DecisionSummary:
        """
        Approve or block several packages by one commit, and return what was decided.

        In a dry run, nothing is decided, and the result is what would be. For an approval without
        digests, upstream indexes are asked, also in a dry run. Their pages are stored, and a file
        whose page says no digest is fetched into the store. An approval of a version adds to an
        earlier one: its files and lifted rules stay approved. A blocked package stays blocked
        unless `unblock` is set. If everything is decided already, nothing is written.

        Raises Conflict (code `decisions_changed`) if somebody has decided about one of the projects
        after `as_of`. With None, that is not checked. Raises Invalid (code `invalid_field`) if the
        reason is not one line or too long, a digest is none or has no version, or a rule cannot be
        lifted. Raises Unavailable if the store does not answer. Names that are private, and targets
        of which no upstream index has the files, or none can say them, are in the result.
        """
        require_one_line(reason, "A reason", REASON_LIMIT)
        targets = tuple(_merged_targets(targets))
        for target in targets:
            for code in sorted(target.despite):
                _require_liftable(code, target.version)
        decidable = list[Target]()
        private_names = list[NormalizedName]()
        failed = list[Undecided]()

        # for each target, the store is asked, and perhaps an upstream index
        for answer in prefetch_map(partial(self._examine, verdict), targets):
            match answer:
                case Target():
                    decidable.append(answer)
                case Undecided():
                    failed.append(answer)
                case str():
                    private_names.append(answer)
        draft = self._draft(verdict, reason)
        plan = _Plan(verdict, decidable, draft, unblock, as_of, self._requested())
        if dry_run:
            document_before = self.records.get("current").value or DecisionList()
        else:
            # if somebody else commits meanwhile, the plan is made again after their decisions
            committed = self._commit(verdict, lambda document: plan.summary_after(document).decided)
            document_before = committed.before
            for decision in committed.events:
                log_decision(decision)
        summary = plan.summary_after(document_before)
        unique_names = tuple(dict.fromkeys(private_names))
        return replace(summary, private=unique_names, failed=tuple(failed))

    def _examine(self, verdict: Verdict, target: Target) -> Target | Undecided | NormalizedName:
        """
        Return a target with the digests of the files to approve, or why they are not known.

        Return the name alone if it is private. Raises Unavailable if the store does not answer.
        """
        if self._is_known_private(target.project):
            return target.project
        if target.sha256 or verdict is Verdict.BLOCKED:
            return target
        try:
            digests = self._listed_digests(target.project, target.version)
        except (Conflict, Invalid, NotFound, Unavailable) as fault:
            # a silent store fails for all targets, and a silent upstream index perhaps for this one
            if isinstance(fault, Unavailable) and fault.code not in UPSTREAM_CODES:
                raise
            version = "" if target.version is None else str(target.version)
            return Undecided(target.project, version, fault.code, fault.message)
        return replace(target, sha256=frozenset(digests))

    def _require_decidable(self, project: NormalizedName, reason: str) -> None:
        """
        Check a name and a reason before anybody is asked about the name.

        Raises Conflict (code `private_name`) if the name is private and the principal may know
        that. Raises Invalid if the reason is not one line. Raises Unavailable if the store does not
        say whether the name is private.
        """
        require_one_line(reason, "A reason", REASON_LIMIT)
        if self._is_known_private(project):
            raise Conflict(
                f"{quoted(project)} is private here, and decisions are about public packages.",
                code=PRIVATE_NAME,
                advice=Advice(Remedy.YANK, project),
            )

    def _is_known_private(self, project: NormalizedName) -> bool:
        """
        Return whether a name is private, and the principal may know that.

        Raises Unavailable if the store does not say.
        """
        may_read = self.may_read is None or self.may_read(project)
        return may_read and self._is_private(project)

    def _is_private(self, project: NormalizedName) -> bool:
        """
        Return whether a name is private.

        Raises Unavailable if the store does not say.
        """
        if self.names is not None and project in self.names.get_current().as_set:
            return True
        return self.upstream is not None and self.upstream.names.is_private(project)

    def _listed_digests(self, project: NormalizedName, version: Version | None) -> set[str]:
        """
        Return the digests of all files of a version, or no digests if `version` is None.

        If the owner of the name lacks the version, the digests are those of the first upstream
        index that has the version, as another index of the server may show that. A file without a
        digest is fetched into the store.

        Raises Conflict (code `no_upstream`) without an upstream index. Raises NotFound if no
        upstream index has the name or the version, or none is asked as the name is private. Raises
        Unavailable if an upstream index does not say it now, or would not for another name.
        """
        target = f"{project} {version}" if version else project
        if self.upstream is None:
            raise Conflict(
                f"{target} cannot be approved here, as upstream.url is not set: "
                "give those of the server, or the digests of the files of a version.",
                code=NO_UPSTREAM,
            )
        try:
            listed_files = _find_listed_files(self.upstream, project, version)
        except Unavailable as fault:
            message = f"{target} cannot be approved now: {fault.message}"
            raise Unavailable(message, code=fault.code, retry_after=fault.retry_after) from fault
        if version is None:
            return set()
        if not listed_files:
            raise NotFound(
                f"{target} cannot be approved, as its upstream index lists no file of it that can "
                "be shown."
            )
        digests = set[str]()
        for page, file in listed_files:
            digest = file.sha256
            if not digest:
                # the page says no digest: that of the bytes which are fetched first is taken
                digest = self.upstream.files.bring(page, file).file.sha256
            digests.add(digest)
        return digests

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
        draft = replace(
            self._draft(verdict, reason),
            project=project,
            version=EVERY_VERSION if version is None else str(version),
            despite=despite,
            sha256=sha256,
        )
        # read before the commit, whose intent reads nothing and may run again
        requested = self._requested()
        committed = self._commit(
            verdict, lambda document: (_for_askers(draft, requested, document),)
        )
        # only now: the audit log has what is in force
        for decision in committed.events:
            log_decision(decision)
        return committed.after.by_project[project]

    def _commit(
        self, verdict: Verdict, intent: Intent[DecisionList, Decision]
    ) -> Committed[DecisionList, Decision]:
        """Commit what an intent decides."""
        # a block cannot wait until a full disk has room
        if verdict is Verdict.BLOCKED:
            return self.records.take_away(intent)
        return self.records.change(intent)

    def _requested(self) -> RequestList:
        """Return the requests for packages, or an empty list if they are not recorded."""
        if self.requests is None:
            return RequestList()
        return self.requests.get()

    def _draft(self, verdict: Verdict, reason: str) -> Decision:
        """Return a decision of now, about no project yet."""
        return Decision(
            at=self.records.commits.runtime.now(),
            by=self.by,
            verdict=verdict,
            project=NormalizedName(""),
            reason=redact_tokens(reason),  # clients see the reason, too
        )


def _merged_targets(targets: Iterable[Target]) -> Iterator[Target]:
    """
    Yield each project and version once, with the digests and lifted rules of all its targets.

    Raises Invalid if a digest is none, or has no version.
    """
    merged = dict[tuple[NormalizedName, str], Target]()
    for target in targets:
        if target.sha256 and target.version is None:
            raise _without_version()
        version = EVERY_VERSION if target.version is None else str(target.version)
        key = (target.project, strip_trailing_zeros(version))
        earlier_target = merged.get(key, Target(target.project, target.version))
        digests = earlier_target.sha256.union(map(parse_sha256, target.sha256))
        despite = earlier_target.despite | target.despite
        merged[key] = replace(earlier_target, sha256=digests, despite=despite)
    yield from merged.values()


class _Plan(Struct, frozen=True):
    """What is to be decided, whatever was decided before."""

    verdict: Verdict
    targets: Sequence[Target]
    draft: Decision
    """A decision without its project."""
    unblock: bool
    as_of: datetime | None
    requested: RequestList

    def summary_after(self, document: DecisionList) -> DecisionSummary:
        """
        Return what is decided, and what is not, if the decisions of a document are in force.

        This is a pure function of the document. Raises Conflict if somebody has decided after
        `as_of` about one of the projects.
        """
        self._require_seen(document)
        decided = list[Decision]()
        unchanged = list[Decision]()
        blocked = list[Decision]()
        for target in self.targets:
            in_force = document.for_project(target.project)
            if target.version is None:
                version = EVERY_VERSION
                own_decision = in_force.project
                deciding = own_decision
            else:
                version = str(target.version)
                own_decision = in_force.versions.get(strip_trailing_zeros(version))
                # without a decision of its own, that about the project decides about a version
                deciding = in_force.for_version(version)
            draft = replace(self.draft, project=target.project, version=version)
            if self.verdict is Verdict.APPROVED:
                # whoever approves many packages at once has not looked at each that is blocked
                is_blocked = deciding is not None and deciding.verdict is Verdict.BLOCKED
                if deciding is not None and is_blocked and not self.unblock:
                    blocked.append(deciding)
                    continue
                draft = _with_files(draft, target, own_decision)
            if own_decision is not None and _says_the_same(own_decision, draft):
                unchanged.append(own_decision)
            else:
                decided.append(_for_askers(draft, self.requested, document))
        return DecisionSummary(
            decided=tuple(decided),
            unchanged=tuple(unchanged),
            blocked=tuple(dict.fromkeys(blocked)),  # one block may be about several versions
        )

    def _require_seen(self, document: DecisionList) -> None:
        """Raise Conflict if somebody has decided after `as_of` about one of the projects."""
        if self.as_of is None:
            return
        # what the caller has looked at is as old as `as_of`, so they did not see anything later
        for name in dict.fromkeys(target.project for target in self.targets):
            for decision in document.for_project(name).all:
                if decision.at > self.as_of:
                    raise Conflict(
                        f"Meanwhile {decision.by} has {describe(decision)}. Nothing was decided: "
                        "look at it, and decide again.",
                        code=DECISIONS_CHANGED,
                    )


def _for_askers(draft: Decision, requested: RequestList, document: DecisionList) -> Decision:
    """
    Return a decision with who has asked for its package.

    `document` has the decisions that were in force before.
    """
    decisions_before = document.for_project(draft.project)
    asked_by = requested.asked_by(draft.project, draft.version, decisions_before, draft.at)
    return replace(draft, asked_by=asked_by)


def _with_files(draft: Decision, target: Target, own_decision: Decision | None) -> Decision:
    """Return an approval with the files of a version, and with those of an earlier approval."""
    despite = set(target.despite)
    digests = set(target.sha256)
    if own_decision is not None and own_decision.verdict is Verdict.APPROVED:
        despite.update(own_decision.despite)
        digests.update(own_decision.sha256 or ())
    draft = replace(draft, despite=tuple(sorted(despite)))
    if target.version is None:
        return draft
    return replace(draft, sha256=tuple(sorted(digests)))


def _says_the_same(own_decision: Decision, draft: Decision) -> bool:
    """Return whether a decision in force says the same as a new one about the same package."""
    has_same_verdict = own_decision.verdict is draft.verdict
    has_same_rules = own_decision.despite == draft.despite
    has_same_files = own_decision.sha256 == draft.sha256
    return has_same_verdict and has_same_rules and has_same_files


def _find_listed_files(
    upstream: UpstreamIndex, project: NormalizedName, version: Version | None
) -> list[tuple[UpstreamPage, UpstreamFile]]:
    """
    Ask upstream indexes for a project, and return the files of a version, each with its page.

    There are no files if `version` is None. If the owner of the name lacks the version, the files
    are those of the first other index that has it. Raises NotFound if no index has the project, or
    its name is contested. Raises Unavailable if an index or the store does not answer.
    """
    # A private name that comes here is one that the principal may not know of. No index is asked
    # for it, so it is answered as a name that nobody has.
    page_sources = upstream.page_sources_of(project)
    pages = _ask_now(page_sources, project)
    if not pages:
        contest = page_sources[0].why_contested(project)
        if contest:
            raise NotFound(f"{project} cannot be approved now: {contest}")
        raise NotFound(f"{project} cannot be approved, as no upstream index has it.")
    if version is None:
        return []
    listed_files = _files_of_version(upstream, pages, version)
    if listed_files:
        return listed_files
    chains = upstream.pages.single_chains(project)
    other_chains = [chain for chain in chains if chain not in page_sources]
    for page in _ask_now(other_chains, project):
        listed_files = _files_of_version(upstream, [page], version)
        if listed_files:
            return listed_files
    return []


def _ask_now(page_sources: Iterable[PageSource], project: NormalizedName) -> list[UpstreamPage]:
    """Return the pages of a project that the sources have when they are asked now."""
    pages = list[UpstreamPage]()
    for page_source in page_sources:
        answer = page_source.ask_now(project)
        if answer is not None:
            pages.append(answer.page)
    return pages


def _files_of_version(
    upstream: UpstreamIndex, pages: Iterable[UpstreamPage], version: Version
) -> list[tuple[UpstreamPage, UpstreamFile]]:
    """Return the files of a version on some pages, each with its page."""
    key = strip_trailing_zeros(str(version))
    listed_files = list[tuple[UpstreamPage, UpstreamFile]]()
    for fetched_page in pages:
        page = upstream.files.with_digests(fetched_page)
        for file in page.files:
            if strip_trailing_zeros(file.version) == key:
                listed_files.append((page, file))
    return listed_files


def _without_version() -> Invalid:
    """Return the error for digests without the version whose files have them."""
    message = "Digests are those of the files of one version. Name the version."
    return Invalid(message, code="invalid_field")


def _require_liftable(code: str, version: Version | None) -> None:
    """Raise Invalid unless the approval of a version, or of a project, can lift a rule."""
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
