"""Which releases of a project the rules delete, which are why_kept, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.downloads.reading import LastDownloads
from wheelyard.model.decoding import counted
from wheelyard.model.project import File, Project
from wheelyard.model.retention_report import DatedRelease
from wheelyard.model.retention_rules import RetentionRule


class RuleInForce(Struct, frozen=True):
    """A rule that can be applied now."""

    rule: RetentionRule
    downloads: LastDownloads | None = None
    """
    The downloads of the days that the rule asks for. None if the rule asks for no downloads.
    """


class Judgement(Struct, frozen=True, kw_only=True):
    """What the rules say of a release that at least one rule is about."""

    version: str
    files: tuple[File, ...]
    rules: tuple[RetentionRule, ...]
    """The rules that would delete the release."""
    why_kept: tuple[str, ...]
    """What protects the release, or for each rule the condition that the release does not meet."""

    @property
    def is_deleted(self) -> bool:
        """Whether the release is deleted."""
        return bool(self.rules) and not self.why_kept

    @property
    def reason(self) -> str:
        """Why the release is deleted, for the journal: the reason of the first rule."""
        return self.rules[0].reason


class _Release(Struct, frozen=True):
    """A release of a project, with its version as a value that can be sorted."""

    version: Version
    files: tuple[File, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether installers pass over the release, as all of its files are yanked."""
        return all(file.yanked is not None for file in self.files)

    @property
    def complete_since(self) -> datetime:
        """When its last file came into the index."""
        # an old release to which a wheel is added is in use, and its age begins anew
        return max(file.came_at for file in self.files)


def judge(project: Project, rules: Sequence[RuleInForce], now: datetime) -> list[Judgement]:
    """
    Return what rules say of the releases of a project, newest first.

    `rules` are those about the project. A release that none of them is about has no judgement.
    Raises ValueError if a version in the document is not valid (PEP 440).
    """
    releases = sorted(_parse_releases(project), key=attrgetter("version"), reverse=True)
    latest = _find_latest(releases)
    judgements = list[Judgement]()

    # newest first: whether an older release goes depends on the newer ones that stay
    newer_releases = list[_Release]()
    for release in releases:
        rules_of_release = list[RuleInForce]()
        for rule_in_force in rules:
            if rule_in_force.rule.is_about(release.version):
                rules_of_release.append(rule_in_force)
        deleting_rules = list[RetentionRule]()
        unmet_conditions = list[str]()
        for rule_in_force in rules_of_release:
            condition = _find_unmet_condition(
                rule_in_force, project.name, release, newer_releases, now
            )
            if condition:
                unmet_conditions.append(f"{rule_in_force.rule.title}: {condition}")
            else:
                deleting_rules.append(rule_in_force.rule)
        why_kept = unmet_conditions
        if deleting_rules:
            # one rule is enough to delete, so the conditions of other rules keep nothing
            why_kept = list(_find_protections(project, release, is_latest=release is latest))
        judgement = Judgement(
            version=release.files[0].version,
            files=release.files,
            rules=tuple(deleting_rules),
            why_kept=tuple(why_kept),
        )
        if rules_of_release:
            judgements.append(judgement)
        if not judgement.is_deleted:
            newer_releases.append(release)
    return judgements


def dated_releases(project: Project, judgements: Sequence[Judgement]) -> tuple[DatedRelease, ...]:
    """
    Return all releases of a project with their days, the oldest first.

    Returns nothing if no release of the project is deleted.
    """
    deleted_versions = {judgement.version for judgement in judgements if judgement.is_deleted}
    if not deleted_versions:
        return ()
    releases = list[DatedRelease]()
    for files in project.by_release.values():
        version = files[0].version
        first_upload = min(file.uploaded_at for file in files)
        release = DatedRelease(
            version=version,
            day=first_upload.date(),
            is_yanked=all(file.yanked is not None for file in files),
            is_deleted=version in deleted_versions,
        )
        releases.append(release)
    return tuple(sorted(releases, key=attrgetter("day")))


class Choice(Struct, frozen=True):
    """
    Chooses the files of a project that are deleted, for the commit that deletes them.

    It is a pure function of the document, as a commit may call it again with a later document.
    """

    rules: Sequence[RuleInForce]
    now: datetime
    is_chosen: Callable[[Judgement], bool] = attrgetter("is_deleted")
    """Returns whether the release of a judgement is deleted."""

    def __call__(self, project: Project) -> Mapping[str, tuple[File, ...]]:
        """Return the files to delete, by the reason of their deletion."""
        # again with the document that the commit changes: a release may be pinned since a run
        # has read the project
        files_by_reason = dict[str, tuple[File, ...]]()
        for judgement in judge(project, self.rules, self.now):
            if self.is_chosen(judgement):
                reason = judgement.reason
                files_by_reason[reason] = files_by_reason.get(reason, ()) + judgement.files
        return files_by_reason


def _parse_releases(project: Project) -> Iterator[_Release]:
    """Yield the releases of a project. Raises ValueError for a version that is not valid."""
    for files in project.by_release.values():
        yield _Release(Version(files[0].version), tuple(files))


def _find_latest(releases: Sequence[_Release]) -> _Release | None:
    """
    Return the release that installers choose, or None if there are no releases.

    That is the newest final release, or the newest pre-release if none is final (PEP 440).
    `releases` are in order, the newest first.
    """
    # PEP 592: a yanked release is chosen only where all are yanked
    candidates = [release for release in releases if not release.is_yanked]
    if not candidates:
        candidates = list(releases)
    for release in candidates:
        if not release.version.is_prerelease:
            return release
    if not candidates:
        return None
    return candidates[0]


def _find_unmet_condition(
    rule_in_force: RuleInForce,
    name: NormalizedName,
    release: _Release,
    newer_releases: Sequence[_Release],
    now: datetime,
) -> str:
    """
    Return a condition of a rule that a release does not meet, in words.

    An empty text means that the release meets all conditions, so that the rule deletes it.
    `newer_releases` are the newer releases that no rule deletes.
    """
    rule = rule_in_force.rule
    if rule.keep_last is not None:
        replacements = [newer for newer in newer_releases if _replaces(newer, release, rule)]
        if len(replacements) < rule.keep_last:
            return f"among the last {rule.keep_last}"
    if release.complete_since + rule.least_age > now:
        days = counted(rule.least_age // timedelta(days=1), "day")
        return f"in the index for less than {days}"
    if rule_in_force.downloads is not None:
        last_day = _find_last_download(rule_in_force.downloads, name, release)
        if last_day is not None:
            return f"downloaded on {last_day}"
    return ""


def _replaces(newer_release: _Release, release: _Release, rule: RetentionRule) -> bool:
    """
    Return whether installers choose a newer release in place of a release, as a rule counts.

    A yanked release replaces nothing, and a pre-release replaces no final release.
    """
    if newer_release.is_yanked or not rule.is_about(newer_release.version):
        return False
    return release.version.is_prerelease or not newer_release.version.is_prerelease


def _find_last_download(
    downloads: LastDownloads, name: NormalizedName, release: _Release
) -> date | None:
    """Return the last day on which a release was downloaded, or None if it was not."""
    days = list[date]()
    for file in release.files:
        # files of one release may spell its version in more than one way (PEP 440)
        day = downloads.of(name, file.version)
        if day is not None:
            days.append(day)
    return max(days, default=None)


def _find_protections(project: Project, release: _Release, *, is_latest: bool) -> Iterator[str]:
    """Yield each fact, in words, by which a release is kept whatever the rules say."""
    if not project.status.serves_files:
        yield f"the project is {project.status}"
    if is_latest:
        yield "the latest release"
    pin_notes = [file.pinned for file in release.files if file.pinned is not None]
    if pin_notes and pin_notes[0]:
        yield f"pinned: {pin_notes[0]}"
    elif pin_notes:
        yield "pinned"
    if any(file.promoted_at is not None for file in release.files):
        yield "promoted from another index"
    if any(file.promoted_to for file in release.files):
        yield "promoted to another index"
