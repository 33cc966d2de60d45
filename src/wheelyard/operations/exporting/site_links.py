"""
Links from the pages of a project to those of other projects.

They make a page depend on more than its own document: on who requires the project, and on which
of the projects that it requires are in the site.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import blake2b

from packaging.utils import NormalizedName

from wheelyard.operations.exporting.manifest import ManifestEntry
from wheelyard.rendering.project_facts import ProjectFacts, ProjectUser

_Link = tuple[NormalizedName, str]
"""A project that another one requires, and the status of the other one, which its page shows."""


class SiteLinks:
    """The links that pages to the projects `known` may have; `facts` are sorted by name."""

    def __init__(self, facts: Iterable[ProjectFacts], known: Iterable[str]) -> None:
        self.known = frozenset(known)  # which another process can be given
        self._facts = facts

    def used_by(self, name: str) -> tuple[ProjectUser, ...]:
        """Return the projects that the page of `name` shows as its users, sorted."""
        return tuple(self._users.get(name, ()))

    def is_current(self, name: str, entry: ManifestEntry) -> bool:
        """Return whether a project was exported with these links."""
        return entry.links == digest_of(self.used_by(name), entry.mentioned_names, self.known)

    @cached_property
    def _users(self) -> dict[str, list[ProjectUser]]:
        found = dict[str, list[ProjectUser]]()
        for each in self._facts:
            if each.requires and each.name in self.known:
                for required in each.required_names:
                    found.setdefault(required, []).append(ProjectUser(each.name, each.status))
        return found


def affected(
    before: Mapping[str, ManifestEntry], after: Mapping[str, ManifestEntry]
) -> Iterator[str]:
    """Yield the projects whose links may have changed between two manifests, some twice."""
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old != new:
            yield name
            links = (_shown_links(each) if each else set[_Link]() for each in (old, new))
            yield from {required for required, _ in next(links) ^ next(links)}
    if come_or_gone := before.keys() ^ after.keys():
        for name, entry in after.items():
            if not come_or_gone.isdisjoint(entry.mentioned_names):
                yield name


def _shown_links(entry: ManifestEntry) -> set[_Link]:
    return {(required, entry.facts.status) for required in entry.facts.required_names}


def digest_of(
    used_by: Iterable[ProjectUser], mentioned: Iterable[str], known: Container[str]
) -> str:
    """Return a text that is equal for equal links; empty without links."""
    linked = [name for name in sorted(set(mentioned)) if name in known]
    text = f"{' '.join(map(':'.join, used_by))}|{' '.join(linked)}"
    return "" if text == "|" else blake2b(text.encode(), digest_size=8).hexdigest()
