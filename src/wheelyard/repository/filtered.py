"""What the rules of an index leave of a repository."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wheelyard.model.access import NamePatterns
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.index_rules import IndexRules
from wheelyard.repository.layers import OwnPackages, ProjectLookup, Repository, earliest
from wheelyard.storage.base import ObjectVersion

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamListing


class FilteredRepository(Repository, frozen=True):
    """A repository without the files that rules hide."""

    unfiltered: Repository
    rules: IndexRules

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return a private project from each layer that shows it, with the files that rules show.

        It is one project, unless the name is merged. Raises Unavailable if the store does not
        answer, or a document is damaged.
        """
        projects = self.unfiltered.find_projects(lookup)
        return tuple(_filtered(project, self.rules, lookup.moment) for project in projects)

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """
        Return what is shown of the public pages of a lookup.

        The first use of an exception from the cooldown is written. Raises Unavailable if the store
        does not answer.
        """
        listings = self.unfiltered.find_public(lookup)
        return tuple(self.rules.judge_public(listing, lookup.moment) for listing in listings)

    def own_packages(self) -> tuple[OwnPackages, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return self.unfiltered.own_packages()

    def public_rules(self, label: str) -> tuple[IndexRules, ...] | None:
        """Return the rules that the files of an upstream index pass, or None if none are shown."""
        inner_rules = self.unfiltered.public_rules(label)
        if inner_rules is None:
            return None
        # a layer has judged the file before this index sees it
        return (*inner_rules, self.rules)

    @property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return True

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """Return which names may have files of several layers."""
        return self.unfiltered.merge_patterns()


def _filtered(unfiltered: FoundProject, rules: IndexRules, moment: datetime | None) -> FoundProject:
    """Return a project with the files that rules show at a moment, or now if it is None."""
    answer = rules.judge_private(unfiltered.project, unfiltered.version, moment)
    judged = answer.judged
    changes_at = earliest([unfiltered.changes_at, judged.changes_at])
    if not judged.hidden:
        return replace(unfiltered, changes_at=changes_at, is_filtered=True)

    # what a layer has hidden stays hidden, with the reason that the layer gave
    hidden = dict(unfiltered.hidden)
    files = unfiltered.project.by_filename
    for filename, reason in judged.hidden.items():
        hidden[filename] = files[filename], reason
    return replace(
        unfiltered,
        # the summary is that of the last upload, which may be hidden
        project=replace(unfiltered.project, files=judged.shown, summary=""),
        # a page that is cached under this version shows the same files, with the same reasons
        version=ObjectVersion(f"{unfiltered.version} {answer.digest}"),
        hidden=hidden,
        changes_at=changes_at,
        is_filtered=True,
    )
