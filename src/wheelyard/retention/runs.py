"""What rules of retention would delete, and the runs that delete it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
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
from wheelyard.retention.known_rules import RulesRecord
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
    """All releases of the project, or none if nothing of the project is deleted."""
    fault: str = ""
    """Why the project cannot be judged, or empty."""


class Retention(Struct, frozen=True, kw_only=True):
    """
    Shows what rules delete, and deletes it.

    Each method that takes a caller raises Forbidden unless the caller is an administrator. Each
    method raises Unavailable if the store does not answer.
    """

    rules: Sequence[RetentionRule]
    rules_record: RulesRecord
    indexes: Callable[[str], RetainedIndex]
    """Returns the index of a name. Raises NotFound if there is none."""
    documents: Store
    """The documents store of main, which has the lease."""
    clock: StoreClock
    requirements: Callable[[Caller], RequirementCheck]
    """Returns, for a caller, what finds the releases whose requirements a deletion takes away."""
    is_local: bool
    is_read_only: bool

    def last_run(self) -> datetime | None:
        """
        Return when a run of all rules was complete last.

        None means that no run was complete yet, or that nobody knows of one.
        """
        return last_completed(self.documents, JOB)

    def preview(
        self, caller: Caller, only: str | None = None, *, with_kept: bool = False
    ) -> RetentionReport:
        """
        Return what a run would delete, and if `with_kept` is set, what it would keep and why.

        `only`: the name of one index whose rules are applied, or None for all rules. If no rule is
        about that index, the report is empty, also if there is no such index.
        """
        _require_administrator(caller)
        preview = _Pass(self, caller, self.clock.estimate(), with_kept=with_kept)
        return preview.report(only)

    def preview_projects(
        self, caller: Caller, most: int, *, with_kept: bool = False
    ) -> RetentionPreview:
        """
        Return the preview of all rules, and the projects of which most bytes would be deleted.

        `most`: how many projects are returned. `with_kept`: whether the report has what is kept.
        """
        _require_administrator(caller)
        preview = _Pass(self, caller, self.clock.estimate(), with_kept=with_kept)
        report = preview.report(None, most)
        return RetentionPreview(report, tuple(preview.projects))

    def run(
        self,
        caller: Caller,
        only: str | None = None,
        *,
        with_kept: bool = False,
        every: timedelta = timedelta(),
        plan: str | None = None,
    ) -> RetentionReport | None:
        """
        Delete what rules say, and return what was deleted, and with `with_kept`, what was kept.

        `only`: the name of one index whose rules are applied, or None for all rules. Only a run of
        all rules counts as complete for `every`. `plan` is the plan of a preview: then nothing but
        that is deleted. Raises Conflict if a preview has another plan by now, and then deletes
        nothing.

        With `every`, returns None if the last complete run is more recent than that, or while
        another process deletes by rules. Without `every`, raises Conflict (code
        `retention_running`) while another process deletes by rules. Raises the same Conflict if
        another process has taken over the lease during the run. Then some projects may be done.

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
        agreed_releases = None
        if plan is not None:
            agreed_releases = self._require_plan(caller, only, plan)
        lease = JobLease(self.documents, JOB, self.clock)
        if lease.take(every):
            if every:
                return None
            raise _already_running()

        # should this process die, the lease ends by itself, and the next run does the rest
        try:
            deletion = _Pass(self, caller, now, lease, agreed_releases, with_kept=with_kept)
            report = deletion.report(only)
            # after a run for one index, the daily run has the rules about the others to apply
            if only is None:
                lease.complete()
            else:
                lease.give_back()
        except Conflict as conflict:
            raise _already_running() from conflict
        return report

    def _require_plan(
        self, caller: Caller, only: str | None, plan: str
    ) -> frozenset[JudgedRelease]:
        """
        Return the releases that a plan deletes.

        Raises Conflict if a preview has another plan by now.
        """
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
        agreed_releases: frozenset[JudgedRelease] | None = None,
        *,
        with_kept: bool,
    ) -> None:
        self.projects = list[ThinnedProject]()
        """The projects of which most bytes are deleted, as many as `report` was asked for."""
        self._most = 0
        self._retention = retention
        self._caller = caller
        self._lease = lease
        self._agreed_releases = agreed_releases
        """The only releases that may be deleted, or None for all that the rules delete."""
        self._with_kept = with_kept
        self._now = now
        """
        The time of the pass, by the store's clock, which is one for all projects: a release that
        becomes old enough during the pass stays until the next run.
        """
        self._rule_states = list[RuleState]()
        self._deleted_releases = list[JudgedRelease]()
        self._kept_releases = list[JudgedRelease]()
        self._skipped_projects = list[SkippedProject]()
        self._deleted_files = dict[str, dict[NormalizedName, list[File]]]()
        """The files of the deleted releases, by the name of the index and of the project."""

    def report(self, only: str | None, most: int = 0) -> RetentionReport:
        """
        Judge the releases that rules are about, and return what becomes of them.

        A pass with a lease deletes them, too. `only`: the name of one index whose rules are
        applied, or None for all rules. `most`: how many projects `projects` has afterwards.
        """
        self._project_limit = most
        rules_by_index = dict[str, list[RetentionRule]]()
        for rule in self._retention.rules:
            if only is None or rule.index == only:
                rules_by_index.setdefault(rule.index, []).append(rule)
        for index_name in sorted(rules_by_index):
            self._apply_to_index(index_name, rules_by_index[index_name])
        return RetentionReport(
            rules=tuple(sorted(self._rule_states, key=attrgetter("number"))),
            deleted=tuple(self._deleted_releases),
            kept=tuple(self._kept_releases),
            skipped=tuple(self._skipped_projects),
            warnings=tuple(self._find_lost_requirements()),
        )

    def _find_lost_requirements(self) -> Iterator[str]:
        """Yield, in words, which releases are left without a version that they require."""
        check = self._retention.requirements(self._caller)
        for index_name, files in self._deleted_files.items():
            yield from check.of_deletion(index_name, files)

    def _apply_to_index(self, index_name: str, rules: Sequence[RetentionRule]) -> None:
        """Judge the projects of one index by its rules, and delete if this is a run."""
        try:
            index = self._retention.indexes(index_name)
        except NotFound as missing:
            self._rule_states += [_state_of(rule, missing.message) for rule in rules]
            return
        try:
            name_list = index.projects.names.get().value
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            self._rule_states += [_state_of(rule, fault.message) for rule in rules]
            return
        names: Sequence[NormalizedName] = ()
        if name_list is not None:
            names = name_list.names
        rules_in_force = list[RuleInForce]()

        # a rule whose facts are missing deletes nothing, and the others go on
        for rule in rules:
            hindrance, downloads = _read_needed_downloads(index, rule)
            self._rule_states.append(_state_of(rule, hindrance))
            if not hindrance:
                rules_in_force.append(RuleInForce(rule, downloads))
        if not rules_in_force:
            return
        for judged in self._judge_projects(index, names, rules_in_force):
            if judged.fault:
                self._note_skipped(index, judged.name, judged.fault)
            else:
                self._finish_project(index, judged)

    def _judge_projects(
        self,
        index: RetainedIndex,
        names: Iterable[NormalizedName],
        rules: Sequence[RuleInForce],
    ) -> Iterator[_JudgedProject]:
        """Yield what rules say of each project of an index, read ahead in several threads."""
        # a folder answers at once: reading ahead is for buckets
        threads = 1 if self._retention.is_local else MAX_CONCURRENT_READS
        judge_by_name = partial(self._judge_project, index, rules)
        yield from prefetch_map(judge_by_name, names, threads)

    def _judge_project(
        self, index: RetainedIndex, rules: Sequence[RuleInForce], name: NormalizedName
    ) -> _JudgedProject:
        """
        Return what rules say of a project.

        A thread that reads ahead calls this, so it changes nothing of the pass.
        """
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
        except (ValueError, TypeError):  # an invalid version, or a time without its offset
            damage = f"The document of {name} is damaged."
            return _JudgedProject(name, rules_of_project, (), fault=damage)
        return _JudgedProject(name, rules_of_project, judgements, releases)

    def _is_chosen(self, index: RetainedIndex, name: NormalizedName, judgement: Judgement) -> bool:
        """Return whether the rules delete a release, and a person has agreed to it if asked."""
        if not judgement.is_deleted:
            return False
        if self._agreed_releases is None:
            return True
        return _judged_release(index, name, judgement) in self._agreed_releases

    def _finish_project(self, index: RetainedIndex, judged: _JudgedProject) -> None:
        """Delete the chosen releases of a project, if this is a run, and note what was judged."""
        judgements = judged.judgements
        is_chosen = partial(self._is_chosen, index, judged.name)
        if self._lease is not None and any(map(is_chosen, judgements)):
            # before each deletion: a process that has stood still raises Conflict here
            self._lease.renew()
            choice = Choice(judged.rules, self._now, is_chosen)
            try:
                changed = index.lifecycle.delete_chosen(self._caller, judged.name, choice)
            except Unavailable as fault:
                if fault.code not in UNREADABLE_CODES:
                    raise
                self._note_skipped(index, judged.name, fault.message)
                return
            # the commit may have judged a later document than the one that was read ahead
            judgements = judge(changed.before, judged.rules, self._now)
        for judgement in judgements:
            if is_chosen(judgement):
                files_by_project = self._deleted_files.setdefault(index.name, {})
                files_by_project.setdefault(judged.name, []).extend(judgement.files)
                self._deleted_releases.append(_judged_release(index, judged.name, judgement))
            elif self._with_kept:
                self._kept_releases.append(_judged_release(index, judged.name, judgement))
        if judged.releases and self._project_limit:
            self._note_thinned(index, judged)

    def _note_thinned(self, index: RetainedIndex, judged: _JudgedProject) -> None:
        """Add a project to `projects`, and drop the one that loses the fewest bytes if too many."""
        size = 0
        for judgement in judged.judgements:
            if judgement.is_deleted:
                size += sum(file.size for file in judgement.files)
        project = ThinnedProject(
            index=index.name, name=judged.name, bytes=size, releases=judged.releases
        )
        self.projects.append(project)
        self.projects.sort(key=_most_bytes_first)
        # an index may have many projects, each with many releases
        del self.projects[self._project_limit :]

    def _note_skipped(self, index: RetainedIndex, name: NormalizedName, why: str) -> None:
        self._skipped_projects.append(SkippedProject(index=index.name, project=name, why=why))


def _most_bytes_first(project: ThinnedProject) -> tuple[int, str, str]:
    """Return the sort key of a project: the bytes that it loses, then its names."""
    return (-project.bytes, project.index, project.name)


def _read_needed_downloads(
    index: RetainedIndex, rule: RetentionRule
) -> tuple[str, LastDownloads | None]:
    """
    Return why a rule cannot be applied to an index, and the downloads that the rule needs.

    The reason is an empty text if the rule can be applied. The downloads are None if the rule does
    not ask for downloads, or cannot be applied.
    """
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


def _state_of(rule: RetentionRule, hindrance: str) -> RuleState:
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
        why=judgement.why_kept or tuple(rule.reason for rule in judgement.rules),
    )


def _require_administrator(caller: Caller) -> None:
    if not caller.may_everywhere(Action.ADMIN):
        raise caller.forbidden("use rules of retention, which is for administrators")


def _already_running() -> Conflict:
    return Conflict(
        "Another process deletes by rules of retention now, or has died. Try again in ten minutes.",
        code=RUNNING,
    )
