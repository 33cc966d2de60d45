"""What rules of retention would delete, and the runs that delete it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.projects import Projects
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.downloads.reading import LastDownloads
from wheelyard.errors import UNREADABLE_CODES, Conflict, Forbidden, NotFound, Unavailable
from wheelyard.model.access import Action, Caller
from wheelyard.model.project import File
from wheelyard.model.retention_report import (
    DatedRelease,
    JudgedRelease,
    RetentionPreview,
    RetentionReport,
    RuleState,
    SkippedProject,
    ThinnedProject,
)
from wheelyard.model.retention_rules import RetentionRule
from wheelyard.operations.job_lease import JobLease, last_completed
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.requirements import RequirementCheck
from wheelyard.operations.search.project_table import MAX_CONCURRENT_READS, FactsReader
from wheelyard.retention.judgements import Choice, Judgement, RuleInForce, dated_releases, judge
from wheelyard.retention.known_rules import RulesClock
from wheelyard.storage.base import Store

JOB: Final = "retention"
RUNNING: Final = "retention_running"
"""The code of a Conflict while another process deletes by rules."""


class RetainedIndex(Struct, frozen=True, kw_only=True):
    """An index whose releases rules delete."""

    name: str
    has_packages: bool
    """Whether it has packages of its own."""
    lifecycle: Lifecycle
    reader: FactsReader
    last_downloads: Callable[[int], LastDownloads | None]
    """Returns the downloads of the last days, or None if they are not counted."""

    @property
    def projects(self) -> Projects:
        """Its own projects."""
        return self.lifecycle.projects


class _JudgedProject(Struct, frozen=True):
    """What rules say of the releases of a project, as its document was read."""

    name: NormalizedName
    rules: tuple[RuleInForce, ...]
    judgements: Sequence[Judgement]
    releases: tuple[DatedRelease, ...] = ()
    """All of the project, if any of them goes."""
    fault: str = ""
    """Why the project cannot be judged, or empty."""


class Retention(Struct, frozen=True, kw_only=True):
    """
    Shows what rules delete, and deletes it.

    Each method that takes a caller raises Forbidden unless that is an administrator. Each method
    raises Unavailable if the store does not answer.
    """

    rules: Sequence[RetentionRule]
    rules_clock: RulesClock
    indexes: Callable[[str], RetainedIndex]
    """Returns the index of a name. Raises NotFound if there is none."""
    documents: Store
    """That of main, which has the lease."""
    clock: StoreClock
    requirements: Callable[[Caller], RequirementCheck]
    """Returns what finds the releases that lack then what they require."""
    is_local: bool
    is_read_only: bool

    def last_run(self) -> datetime | None:
        """
        Return when a run of all rules was complete last.

        It is None if none was, or if that is not known.
        """
        return last_completed(self.documents, JOB)

    def preview(
        self, caller: Caller, only: str | None = None, *, keeps: bool = False
    ) -> RetentionReport:
        """
        Return what a run would delete, and if `keeps` is set, what it would keep and why.

        `only`: the name of one index whose rules are applied, or None for all rules. Without rules
        about it, the report is empty, also if there is no such index.
        """
        _require_administrator(caller)
        return _Pass(self, caller, self.clock.estimate(), keeps=keeps).report(only)

    def preview_projects(
        self, caller: Caller, most: int, *, keeps: bool = False
    ) -> RetentionPreview:
        """Return the preview of all rules, with so many projects of which most bytes would go."""
        _require_administrator(caller)
        review = _Pass(self, caller, self.clock.estimate(), keeps=keeps)
        return RetentionPreview(review.report(None, most), tuple(review.projects))

    def run(
        self,
        caller: Caller,
        only: str | None = None,
        *,
        keeps: bool = False,
        every: timedelta = timedelta(),
        plan: str | None = None,
    ) -> RetentionReport | None:
        """
        Delete what rules say, and return what was deleted, and if `keeps` is set, what was kept.

        `only`: the name of one index whose rules are applied, or None for all rules. Only a run of
        all rules counts as complete for `every`. `plan` is that of a preview, of which nothing else
        is deleted. Raises Conflict if a preview has another plan by now, and then deletes nothing.

        With `every`, return None if a run was complete within it, or another process does the same
        now. Without it, raises Conflict (code `retention_running`) while another process does.
        Raises that, too, if another process has taken over meanwhile. Then some projects may be
        done.

        Raises NotFound if there is no index `only`. Raises Forbidden (code `read_only`) on a
        read-only server. Raises Unavailable (code `clock_differs`), before anything is deleted, if
        the machine's clock is wrong. After any other Unavailable some projects may be done.
        """
        _require_administrator(caller)
        if self.is_read_only:
            raise Forbidden(
                "Nothing is deleted, as [server] read_only is set. Use another server of the same "
                "index.",
                code="read_only",
            )
        if only is not None:
            self.indexes(only)  # raises NotFound before anything is locked or deleted
        now = self.clock.require_agreement()
        agreed = None
        if plan is not None:
            agreed = self._agreed(caller, only, plan)
        lease = JobLease(self.documents, JOB, self.clock)
        if lease.take(every):
            if every:
                return None
            raise _running()

        # should this process die, the lease ends by itself, and the next run does the rest
        try:
            report = _Pass(self, caller, now, lease, agreed, keeps=keeps).report(only)
            # the daily run, if there is one, still has the rules about other indexes to apply
            if only is None:
                lease.complete()
            else:
                lease.give_back()
        except Conflict as conflict:
            raise _running() from conflict
        return report

    def _agreed(self, caller: Caller, only: str | None, plan: str) -> frozenset[JudgedRelease]:
        """Return what a person has agreed to delete, or raise Conflict if that has changed."""
        report = self.preview(caller, only)
        if report.plan != plan:
            raise Conflict(
                "What would be deleted has changed since it was shown, so nothing was deleted. "
                "Look at it again."
            )
        return frozenset(report.deleted)


class _Pass:
    """One pass over all projects that rules name. With a lease it deletes."""

    def __init__(
        self,
        retention: Retention,
        caller: Caller,
        now: datetime,
        lease: JobLease | None = None,
        agreed: frozenset[JudgedRelease] | None = None,
        *,
        keeps: bool,
    ) -> None:
        self.projects = list[ThinnedProject]()
        """Those of which most bytes go, as many as the report was asked for."""
        self._most = 0
        self._retention = retention
        self._caller = caller
        self._lease = lease
        self._agreed = agreed
        """What may be deleted, or None for all that the rules say."""
        self._keeps = keeps
        self._now = now
        """
        By the store's clock. One time for all: what becomes old enough meanwhile stays until the
        next run.
        """
        self._states = list[RuleState]()
        self._deleted = list[JudgedRelease]()
        self._kept = list[JudgedRelease]()
        self._skipped = list[SkippedProject]()
        self._files = dict[str, dict[NormalizedName, list[File]]]()
        """The files of what is deleted, by the names of index and project."""

    def report(self, only: str | None, most: int = 0) -> RetentionReport:
        """
        Judge, and perhaps delete, what the rules of one index or all are about.

        So many projects as `most` says are in `projects` then.
        """
        self._most = most
        rules = [rule for rule in self._retention.rules if only is None or rule.index == only]
        for name in sorted({rule.index for rule in rules}):
            self._pass_over(name, [rule for rule in rules if rule.index == name])
        return RetentionReport(
            rules=tuple(sorted(self._states, key=lambda state: state.number)),
            deleted=tuple(self._deleted),
            kept=tuple(self._kept),
            skipped=tuple(self._skipped),
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> Iterator[str]:
        """Yield which releases are left without a version that they require."""
        check = self._retention.requirements(self._caller)
        for index_name, files in self._files.items():
            yield from check.of_deletion(index_name, files)

    def _pass_over(self, index_name: str, rules: Sequence[RetentionRule]) -> None:
        """Judge, and perhaps delete, what rules say of one index."""
        try:
            index = self._retention.indexes(index_name)
        except NotFound as missing:
            self._states += [_state(rule, missing.message) for rule in rules]
            return
        try:
            listed = index.projects.names.get().value
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            self._states += [_state(rule, fault.message) for rule in rules]
            return
        names = listed.names if listed else ()
        in_force = list[RuleInForce]()

        # a rule whose facts are missing deletes nothing, and the others go on
        for rule in rules:
            hindrance, downloads = _facts_for(index, rule)
            self._states.append(_state(rule, hindrance))
            if not hindrance:
                in_force.append(RuleInForce(rule, downloads))
        if not in_force:
            return
        for judged in self._judge_projects(index, names, in_force):
            if judged.fault:
                self._skip(index, judged.name, judged.fault)
            else:
                self._settle(index, judged)

    def _judge_projects(
        self,
        index: RetainedIndex,
        names: Iterable[NormalizedName],
        rules: Sequence[RuleInForce],
    ) -> Iterator[_JudgedProject]:
        """Yield what rules say of each project of an index, read ahead in several threads."""
        # a folder answers at once: reading ahead is for buckets
        threads = 1 if self._retention.is_local else MAX_CONCURRENT_READS
        yield from prefetch_map(partial(self._judge_project, index, rules), names, threads)

    def _judge_project(
        self, index: RetainedIndex, rules: Sequence[RuleInForce], name: NormalizedName
    ) -> _JudgedProject:
        """Return what rules say of a project, in a thread that reads ahead: nothing is noted."""
        rules_of_project = tuple(rule for rule in rules if rule.rule.projects.match(name))
        if not rules_of_project:  # no document is read
            return _JudgedProject(name, (), ())
        try:
            project = index.reader.document(name)
            if project is None:
                return _JudgedProject(name, rules_of_project, ())
            judgements = judge(project, rules_of_project, self._now)
            releases = dated_releases(project, judgements)
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            return _JudgedProject(name, rules_of_project, (), fault=fault.message)
        except (ValueError, TypeError):  # a version that is none, or a time without its offset
            damage = f"The document of {name} is damaged."
            return _JudgedProject(name, rules_of_project, (), fault=damage)
        return _JudgedProject(name, rules_of_project, judgements, releases)

    def _goes(self, index: RetainedIndex, name: NormalizedName, judgement: Judgement) -> bool:
        """Return whether a release is deleted: by the rules, and by what a person agreed to."""
        if not judgement.is_deleted:
            return False
        return self._agreed is None or _judged_release(index, name, judgement) in self._agreed

    def _settle(self, index: RetainedIndex, judged: _JudgedProject) -> None:
        """Delete what goes of a project, if this is a run, and note what was judged."""
        judgements = judged.judgements
        goes = partial(self._goes, index, judged.name)
        if self._lease is not None and any(map(goes, judgements)):
            # before each deletion: a process that has stood still raises Conflict here
            self._lease.renew()
            choice = Choice(judged.rules, self._now, goes)
            try:
                changed = index.lifecycle.delete_chosen(self._caller, judged.name, choice)
            except Unavailable as fault:
                if fault.code not in UNREADABLE_CODES:
                    raise
                self._skip(index, judged.name, fault.message)
                return
            # as the commit has judged
            judgements = judge(changed.before, judged.rules, self._now)
        for judgement in judgements:
            if goes(judgement):
                of_index = self._files.setdefault(index.name, {})
                of_index.setdefault(judged.name, []).extend(judgement.files)
                self._deleted.append(_judged_release(index, judged.name, judgement))
            elif self._keeps:
                self._kept.append(_judged_release(index, judged.name, judgement))
        if judged.releases and self._most:
            self._note(index, judged)

    def _note(self, index: RetainedIndex, judged: _JudgedProject) -> None:
        """Keep the releases of a project of which more goes than of others."""
        deleted = [judgement for judgement in judged.judgements if judgement.is_deleted]
        project = ThinnedProject(
            index=index.name,
            name=judged.name,
            bytes=sum(file.size for judgement in deleted for file in judgement.files),
            releases=judged.releases,
        )
        self.projects.append(project)
        self.projects.sort(key=lambda other: (-other.bytes, other.index, other.name))
        # an index may have many projects, each with many releases
        del self.projects[self._most :]

    def _skip(self, index: RetainedIndex, name: NormalizedName, why: str) -> None:
        self._skipped.append(SkippedProject(index=index.name, project=name, why=why))


def _facts_for(index: RetainedIndex, rule: RetentionRule) -> tuple[str, LastDownloads | None]:
    """Return why a rule cannot be applied, or an empty text, and the downloads that it needs."""
    if not index.has_packages:
        return "The index has no packages of its own, so there is nothing to delete.", None
    days = rule.not_downloaded_days
    if days is None:  # no month of counts is read for it
        return "", None
    try:
        downloads = index.last_downloads(days)
    except Unavailable as fault:
        return f"The counts of downloads cannot be read: {fault.message}", None
    if downloads is None:
        return "Downloads are not counted: set [downloads] count, or change the rule.", None
    if not downloads.is_complete:
        return f"Downloads were not counted {days} days ago yet, so wait until then.", None
    return "", downloads


def _state(rule: RetentionRule, hindrance: str) -> RuleState:
    return RuleState(
        number=rule.number,
        index=rule.index,
        description=rule.description,
        note=rule.note,
        hindrance=hindrance,
    )


def _judged_release(
    index: RetainedIndex, name: NormalizedName, judgement: Judgement
) -> JudgedRelease:
    """Return what a report says of a release."""
    return JudgedRelease(
        index=index.name,
        project=name,
        version=judgement.version,
        files=len(judgement.files),
        bytes=sum(file.size for file in judgement.files),
        rules=tuple(rule.number for rule in judgement.rules),
        why=judgement.kept or tuple(rule.reason for rule in judgement.rules),
    )


def _require_administrator(caller: Caller) -> None:
    if not caller.may_everywhere(Action.ADMIN):
        raise caller.forbidden("use rules of retention, which is for administrators")


def _running() -> Conflict:
    return Conflict(
        "Another process deletes by rules of retention now, or has died. Try again in ten minutes.",
        code=RUNNING,
    )
