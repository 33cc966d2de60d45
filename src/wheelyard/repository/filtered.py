"""What the rules of an index leave of a repository."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wheelyard.model.access import NamePatterns
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.index_rules import IndexRules
from wheelyard.repository.layers import Own, ProjectLookup, Repository
from wheelyard.storage.base import ObjectVersion

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamListing


class Filtered(Repository, frozen=True):
    """A repository without the files that rules hide."""

    whole: Repository
    rules: IndexRules

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """See `Repository`."""
        projects = self.whole.find_projects(lookup)
        return tuple(_filtered(source, self.rules, lookup.moment) for source in projects)

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """See `Repository`."""
        listings = self.whole.find_public(lookup)
        return tuple(self.rules.of_public(listing, lookup.moment) for listing in listings)

    def own_packages(self) -> tuple[Own, ...]:
        """See `Repository`."""
        return self.whole.own_packages()

    def public_rules(self, label: str) -> tuple[IndexRules, ...] | None:
        """See `Repository`."""
        before = self.whole.public_rules(label)
        return None if before is None else (*before, self.rules)

    @property
    def hides_files(self) -> bool:
        """See `Repository`."""
        return True

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """See `Repository`."""
        return self.whole.merge_patterns()


def _filtered(source: FoundProject, rules: IndexRules, moment: datetime | None) -> FoundProject:
    """Return a project with the files that rules show."""
    answer = rules.of_private(source.project, source.version, moment)
    judged = answer.judged
    times = [time for time in (source.changes_at, judged.changes_at) if time is not None]
    changes_at = min(times, default=None)
    if not judged.hidden:
        return replace(source, changes_at=changes_at, is_filtered=True)
    files = source.project.by_filename
    hidden = {filename: (files[filename], reason) for filename, reason in judged.hidden.items()}
    return replace(
        source,
        # the summary is that of the last upload, which may be hidden
        project=replace(source.project, files=judged.shown, summary=""),
        version=ObjectVersion(f"{source.version} {answer.digest}"),
        hidden={**source.hidden, **hidden},
        changes_at=changes_at,
        is_filtered=True,
    )
