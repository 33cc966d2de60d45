"""Which releases of a project the rules delete, which are kept, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
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
    """Those of the days that the rule asks for. None for a rule that asks for none."""


class Judgement(Struct, frozen=True, kw_only=True):
    """What the rules say of a release that one of them is about."""

    version: str
    files: tuple[File, ...]
    rules: tuple[RetentionRule, ...]
    """Those that would delete it."""
    kept: tuple[str, ...]
    """Why it is kept: what protects it, or for each rule the condition that it does not meet."""

    @property
    def is_deleted(self) -> bool:
        """Whether the release goes."""
        return bool(self.rules) and not self.kept

    @property
    def reason(self) -> str:
        """Why it goes, for the journal: what the first rule says that deletes it."""
        return self.rules[0].reason


class _Release(Struct, frozen=True):
    """A release of a project with its version, by which releases are in an order."""

    version: Version
    files: tuple[File, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether installers pass over it."""
        return all(file.yanked is not None for file in self.files)

    @property
    def complete_since(self) -> datetime:
        """When its last file came into the index."""
        # an old release to which a wheel is added is in use, and its age begins anew
        return max(file.came_at for file in self.files)


def judge(project: Project, rules: Sequence[RuleInForce], now: datetime) -> list[Judgement]:
    """
    Return what rules say of the releases of a project that any of them is about, newest first.

    The rules are those about the project. Raises ValueError if the document has a version that is
    none.
    """
    releases = sorted(_releases(project), key=attrgetter("version"), reverse=True)
    installed = _release_to_install(releases)
    judgements = list[Judgement]()

    # newest first: what counts for an older release is which newer ones no rule deletes
    newer = list[_Release]()
    for release in releases:
        rules_of_release = [rule for rule in rules if rule.rule.is_about(release.version)]
        deleting = list[RetentionRule]()
        kept = list[str]()
        for rule_in_force in rules_of_release:
            why = _unmet(rule_in_force, project.name, release, newer, now)
            if why:
                kept.append(f"{rule_in_force.rule.title}: {why}")
            else:
                deleting.append(rule_in_force.rule)
        if deleting:
            # one rule is enough to delete, so the conditions of others keep nothing
            kept = list(_protections(project, release, is_installed=release is installed))
        judgement = Judgement(
            version=release.files[0].version,
            files=release.files,
            rules=tuple(deleting),
            kept=tuple(kept),
        )
        if rules_of_release:
            judgements.append(judgement)
        if not judgement.is_deleted:
            newer.append(release)
    return judgements


def dated_releases(project: Project, judgements: Sequence[Judgement]) -> tuple[DatedRelease, ...]:
    """Return the releases of a project, the oldest first, if any of them goes, else none."""
    deleted = {judgement.version for judgement in judgements if judgement.is_deleted}
    if not deleted:
        return ()
    releases = [
        DatedRelease(
            version=files[0].version,
            day=min(file.uploaded_at for file in files).date(),
            is_yanked=all(file.yanked is not None for file in files),
            is_deleted=files[0].version in deleted,
        )
        for files in project.by_release.values()
    ]
    return tuple(sorted(releases, key=attrgetter("day")))


class Choice(Struct, frozen=True):
    """Chooses what goes of a project: a pure function of the document, for its commit."""

    rules: Sequence[RuleInForce]
    now: datetime
    goes: Callable[[Judgement], bool] = attrgetter("is_deleted")
    """Returns whether the release of a judgement is deleted."""

    def __call__(self, project: Project) -> Mapping[str, tuple[File, ...]]:
        """Return the files to delete, by the reason."""
        # again with the document that the commit changes: a release may be pinned since a run
        # has read the project
        chosen = dict[str, tuple[File, ...]]()
        for judgement in judge(project, self.rules, self.now):
            if self.goes(judgement):
                reason = judgement.reason
                chosen[reason] = chosen.get(reason, ()) + judgement.files
        return chosen


def _releases(project: Project) -> Iterator[_Release]:
    """Yield the releases of a project, or raise ValueError for a version that is none."""
    for files in project.by_release.values():
        yield _Release(Version(files[0].version), tuple(files))


def _release_to_install(releases: Sequence[_Release]) -> _Release | None:
    """Return the release that installers choose: the last final one, else the last one."""
    # PEP 592: what is yanked is chosen only where nothing else is there
    offered = [release for release in releases if not release.is_yanked] or releases
    for release in offered:
        if not release.version.is_prerelease:
            return release
    # PEP 440: a pre-release is chosen if there is no final one
    return offered[0] if offered else None


def _unmet(
    rule_in_force: RuleInForce,
    name: NormalizedName,
    release: _Release,
    newer: Sequence[_Release],
    now: datetime,
) -> str:
    """
    Return a condition of a rule that a release does not meet, in words, or an empty text.

    `newer`: the newer releases that no rule deletes.
    """
    rule = rule_in_force.rule

    # Releases that installers choose before this one. A final release is not replaced by a
    # pre-release, and nothing by a release that is yanked.
    preferred = list[_Release]()
    for newer_release in newer:
        is_replacement = release.version.is_prerelease or not newer_release.version.is_prerelease
        if rule.is_about(newer_release.version) and not newer_release.is_yanked and is_replacement:
            preferred.append(newer_release)
    if rule.keep_last is not None and len(preferred) < rule.keep_last:
        return f"among the last {rule.keep_last}"
    if release.complete_since + rule.least_age > now:
        days = counted(rule.least_age // timedelta(days=1), "day")
        return f"in the index for less than {days}"
    if rule_in_force.downloads is not None:
        # files of one release may spell its version in more than one way (PEP 440)
        dates = [rule_in_force.downloads.of(name, file.version) for file in release.files]
        last_day = max(filter(None, dates), default=None)
        if last_day is not None:
            return f"downloaded on {last_day}"
    return ""


def _protections(project: Project, release: _Release, *, is_installed: bool) -> Iterator[str]:
    """Yield what keeps a release whatever rules say."""
    if not project.status.serves_files:
        yield f"the project is {project.status}"
    if is_installed:
        yield "the latest release"
    pins = [file.pinned for file in release.files if file.pinned is not None]
    if pins:
        note = pins[0]
        yield f"pinned: {note}" if note else "pinned"
    if any(file.promoted_at is not None for file in release.files):
        yield "promoted from another index"
    if any(file.promoted_to for file in release.files):
        yield "promoted to another index"
