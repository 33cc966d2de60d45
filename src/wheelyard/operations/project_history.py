"""The journal of one project in pages for people, newest first; each page reads its own commits."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.journals import AccessRecords
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.token_records import TokenRecords
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.access import matches_any, parse_pattern
from wheelyard.model.access_rules import (
    AccessCommit,
    AccessRules,
    AnyAccessEvent,
    Granted,
    GroupChanged,
    GroupDeleted,
    Revoked,
)
from wheelyard.model.grants import groups_in
from wheelyard.model.journal_entry import JournalEntry, entry_of, other_entry_of
from wheelyard.model.project import Project
from wheelyard.model.project_json import EventJson
from wheelyard.operations.journal import BEGINNING

PAGE_COMMITS: Final = 50
"""
The commits of an older page. The newest page has these and the ones behind them, at most twice as
many, so that an older page never changes.
"""
ACCESS_COMMITS: Final = 50
"""The changes of grants that are read for the newest page of who may manage the project."""


class HistoryPart(Struct, frozen=True):
    """The entries of some commits, and the numbers of commits that the journal has lost."""

    entries: tuple[JournalEntry, ...]
    """In the order of the journal, oldest first."""
    lost: tuple[int, ...]
    first: int
    """The number of the first commit."""


class HistoryReader(Struct, frozen=True):
    """Reads the journals of projects in pages."""

    projects: Projects
    tokens: TokenRecords

    def read(self, project: Project, number: int | None = None) -> HistoryPart:
        """
        Return the newest page, or an older one by its number, of which 1 is the oldest.

        Raise NotFound if there is no such page, and Unavailable if the store does not answer.
        """
        count = older_pages(project.revision)
        if number is not None and not 1 <= number <= count:
            raise NotFound(
                f"The history of {project.name} has no page {number}. See "
                f"/project/{project.name}/history/."
            )
        first = (count if number is None else number - 1) * PAGE_COMMITS + 1
        end = project.revision + 1 if number is None else first + PAGE_COMMITS
        commits = dict(self.projects.journal(project).find_all(range(first, end)))
        events = [
            (commit.number, event)
            for commit in commits.values()
            if commit is not None
            for event in map(EventJson.of, commit.events)
        ]
        names = self._names_of(event.by for _, event in events if not event.by_name)
        entries = [
            entry_of(project.name, commit, event, event.by_name or names[event.by])
            for commit, event in events
        ]
        lost = tuple(commit for commit, found in commits.items() if found is None)
        return HistoryPart(tuple(entries), lost, first)

    def with_access(
        self, newest: HistoryPart, project: Project, records: AccessRecords
    ) -> tuple[JournalEntry, ...]:
        """
        Return the entries of the newest page with the changes of grants that concern the project.

        These are from the last `ACCESS_COMMITS` changes of the grants and groups in the store. One
        that is older than the entries is left out if there are older pages.
        """
        last = (records.get().value or AccessRules()).revision
        since = newest.entries[0].at if newest.entries and newest.first > 1 else BEGINNING
        commits = records.history(max(0, last - ACCESS_COMMITS))
        changes = [each for each in _concerning(project.name, commits) if each[1].at >= since]
        names = self._names_of(event.by for _, event in changes)
        found = [other_entry_of(number, event, names[event.by]) for number, event in changes]
        return tuple(sorted([*newest.entries, *found], key=lambda entry: entry.at))

    def _names_of(self, principals: Iterable[str]) -> dict[str, str]:
        """Return the names of those principals that are tokens; an empty text if not known."""
        names = dict.fromkeys(principals, "")
        for principal in names:
            with suppress(Unavailable):  # the history is more than its names
                names[principal] = self.tokens.name_of(principal)
        return names


def older_pages(revision: int) -> int:
    """Return the number of older pages of a project with so many commits."""
    return max(0, (revision - 1) // PAGE_COMMITS - 1)


def _concerning(
    name: NormalizedName, commits: Iterable[AccessCommit]
) -> Iterator[tuple[int, AnyAccessEvent]]:
    """Yield the changes of grants for a project, and of the groups in these grants."""
    grants, groups = set[str](), set[str]()
    for number, event in ((commit.number, event) for commit in commits for event in commit.events):
        match event:
            case Granted(id=grant_id, grant=fields):
                if not matches_any(map(parse_pattern, fields.projects), name):
                    continue
                grants.add(grant_id)
                groups |= groups_in(fields.who)
            case Revoked(id=grant_id):
                if grant_id not in grants:
                    continue
            case GroupChanged(name=group) | GroupDeleted(name=group):
                if group not in groups:
                    continue
        yield number, event
