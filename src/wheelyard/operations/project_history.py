"""The journal of one project in pages for people, newest first; each page reads its own commits."""

from collections.abc import Iterable, Iterator, Sequence
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

    def newest(self, project: Project) -> HistoryPart:
        """Return the newest page; raise Unavailable if the store does not answer."""
        first = older_pages(project.revision) * PAGE_COMMITS + 1
        return self._read(project, range(first, project.revision + 1))

    def older(self, project: Project, number: int) -> HistoryPart:
        """Return an older page, of which 1 is the oldest; raise NotFound if there is none."""
        if not 1 <= number <= older_pages(project.revision):
            raise NotFound(
                f"The history of {project.name} has no page {number}. See "
                f"/project/{project.name}/history/."
            )
        first = (number - 1) * PAGE_COMMITS + 1
        return self._read(project, range(first, first + PAGE_COMMITS))

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
        names = _TokenNames(self.tokens)
        commits = records.history(max(0, last - ACCESS_COMMITS))
        found = [
            other_entry_of(number, event, names.of(event.by))
            for number, event in _concerning(project.name, commits)
            if event.at >= since
        ]
        return tuple(sorted([*newest.entries, *found], key=lambda entry: entry.at))

    def _read(self, project: Project, numbers: Sequence[int]) -> HistoryPart:
        commits = dict(self.projects.journal(project).find_all(numbers))
        names = _TokenNames(self.tokens)
        entries = [
            entry_of(project.name, commit.number, event, event.by_name or names.of(event.by))
            for commit in commits.values()
            if commit is not None
            for event in map(EventJson.of, commit.events)
        ]
        lost = tuple(number for number, commit in commits.items() if commit is None)
        return HistoryPart(tuple(entries), lost, numbers[0] if numbers else 1)


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


class _TokenNames(Struct, frozen=True):
    """The names of tokens, each looked up once."""

    tokens: TokenRecords
    known: dict[str, str] = {}

    def of(self, principal: str) -> str:
        """Return the name of the token that is this principal, or an empty text."""
        if principal not in self.known:
            try:
                self.known[principal] = self.tokens.name_of(principal)
            except Unavailable:  # the history is more than its names
                self.known[principal] = ""
        return self.known[principal]
