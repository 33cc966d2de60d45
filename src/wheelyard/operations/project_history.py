"""The journal of one project in pages for people, newest first; each page reads its own commits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from wheelyard.catalog.projects import Projects
from wheelyard.catalog.token_records import TokenRecords
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.journal_entry import JournalEntry, entry_of
from wheelyard.model.project import Commit, Project

PAGE_COMMITS: Final = 50
"""
The commits of an older page. The newest page has these and the ones behind them, at most twice as
many, so that an older page never changes.
"""


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """The entries of some commits, and the numbers of commits that the journal has lost."""

    entries: tuple[JournalEntry, ...]
    """In the order of the journal, oldest first."""
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads the journals of projects in pages."""

    projects: Projects
    tokens: TokenRecords
    is_local: bool

    def newest(self, project: Project) -> HistoryPart:
        """Return the newest page; raise Unavailable if the store does not answer."""
        first = older_pages(project.revision) * PAGE_COMMITS + 1
        return self._read(project, range(first, project.revision + 1))

    def older(self, project: Project, number: int) -> HistoryPart:
        """
        Return an older page; number 1 is the oldest.

        Raise NotFound if there is no such page, and Unavailable if the store does not answer.
        """
        if not 1 <= number <= older_pages(project.revision):
            raise NotFound(
                f"The history of {project.name} has no page {number}. See "
                f"/project/{project.name}/history/.",
                short="No such page.",
            )
        first = (number - 1) * PAGE_COMMITS + 1
        return self._read(project, range(first, first + PAGE_COMMITS))

    def _read(self, project: Project, numbers: Sequence[int]) -> HistoryPart:
        def read(number: int) -> Commit | None:
            return self.projects.commit(project, number)

        # handing work to threads takes longer than reading a file
        found = map(read, numbers) if self.is_local else prefetch_map(read, numbers)
        commits = dict(zip(numbers, found, strict=True))
        names = _TokenNames(self.tokens)
        entries = [
            entry_of(project.name, commit.number, event, event.by_name or names.of(event.by))
            for commit in commits.values()
            if commit is not None
            for event in commit.events
        ]
        lost = tuple(number for number, commit in commits.items() if commit is None)
        return HistoryPart(tuple(entries), lost)


def older_pages(revision: int) -> int:
    """Return the number of older pages of a project with so many commits."""
    return max(0, (revision - 1) // PAGE_COMMITS - 1)


@dataclass(frozen=True, slots=True)
class _TokenNames:
    """The names of tokens, each looked up once."""

    tokens: TokenRecords
    known: dict[str, str] = field(default_factory=dict)

    def of(self, principal: str) -> str:
        """Return the name of the token that is this principal, or an empty text."""
        if principal not in self.known:
            try:
                self.known[principal] = self.tokens.name_of(principal)
            except Unavailable:  # the history is more than its names
                self.known[principal] = ""
        return self.known[principal]
