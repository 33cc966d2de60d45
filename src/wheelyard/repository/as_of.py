"""
The packages of an index as they were at the end of a day, by the journals of its projects.

Yanks, status, deletions and promotions are those of the day. Three things are those of now, so that
nobody gets what somebody has taken away: a file that was deleted since is missing, a project that
is in quarantine now serves nothing, and a file that was imported since counts from its upload at
the source, as a store that was filled by an import had no journal before.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import digest
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.caches import LruCache
from wheelyard.model.index_name import end_of_day
from wheelyard.model.project import Commit, EventKind, File, Project
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, FileReason
from wheelyard.model.rules import Facts, Rules
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.layers import Own, ProjectLookup, Repository
from wheelyard.storage.base import ABSENT, ObjectVersion

REMEMBERED_FILES: Final = 50_000
"""Files of projects whose state on the day is remembered."""
REMEMBERED_COMMITS: Final = 50_000
"""Commits of journals that a process remembers for all days."""


class KnownJournals:
    """
    The journals of projects that were read for a day: the next day reads only what has followed.

    A journal only gets longer, unless an older copy of the store is put in place. Threads may share
    it.
    """

    def __init__(self) -> None:
        self._commits: LruCache[tuple[str, NormalizedName], tuple[Commit, ...]] = LruCache(
            REMEMBERED_COMMITS
        )

    def read(self, index: str, projects: Projects, project: Project) -> Sequence[Commit]:
        """
        Return all commits of a project of an index, in order.

        Raises Unavailable if the store does not answer, or the journal has lost one.
        """
        key = index, project.name
        before = self._commits.get(key) or ()
        journal = projects.journal(project)
        commits = before + tuple(journal.read_all(range(len(before) + 1, project.revision + 1)))
        # of an older copy of the store that was put in place, all is read again
        if not self._continues(before, commits, project):
            commits = tuple(journal.read_all(range(1, project.revision + 1)))
        # two threads may both have read them: they are the same commits
        self._commits.put(key, commits, 1 + len(commits))
        return commits

    @staticmethod
    def _continues(before: Sequence[Commit], commits: Sequence[Commit], project: Project) -> bool:
        """Return whether commits are those of a document, after those that were known before."""
        last = project.commit
        if last is None or len(commits) != project.revision or commits[-1].id != last.id:
            return False
        if not before or len(before) == len(commits):
            return True
        # by the hash chain: another store may have other commits of the same numbers
        kind = project_journal(project.name)
        return commits[len(before)].previous == digest(kind.commits.encode(before[-1]))


class AsOf(Repository, frozen=True):
    """The packages of an index at the end of a day."""

    own: Own
    day: date
    rules: Rules
    """Says why a file that came later is hidden."""
    journals: KnownJournals
    folded: LruCache[tuple[NormalizedName, ObjectVersion], Project]
    """Projects on the day, by the version of their document, as far as they are remembered."""

    @classmethod
    def of(cls, own: Own, day: date, rules: Rules, journals: KnownJournals) -> "AsOf":
        """Return one that remembers no project yet."""
        return cls(own, day, rules, journals, LruCache(REMEMBERED_FILES))

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return where a private project is from: one project, unless the name is merged.

        Raises Unavailable if the store does not answer, or the journal has lost a commit.
        """
        return tuple(self._on_the_day(current) for current in self.own.find_projects(lookup))

    def own_packages(self) -> tuple[Own, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return (self.own,)

    @property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return True

    @property
    def _end(self) -> datetime:
        return end_of_day(self.day)

    def _on_the_day(self, current: FoundProject) -> FoundProject:
        """Return a project of now as it was at the end of the day."""
        project = current.project
        past = self._past(current)
        shown = tuple(self._shown_files(project, past))
        names = {file.filename for file in shown}
        hidden = dict[str, tuple[File, FileReason]]()
        for file in project.files:
            if file.filename not in names:
                hidden[file.filename] = file, self._reason(project, file)

        # also of the day: a file that was deleted then, and restored since, is not another layer's
        deleted = set(project.deleted_filenames).union(past.deleted_filenames)
        of_day = replace(
            project,
            files=shown,
            summary=past.summary,
            deleted_filenames=tuple(sorted(deleted)),
        )

        # a quarantine of now holds for every day: it says that nobody should install these files
        if project.status.serves_files:
            of_day = replace(of_day, status=past.status, reason=past.reason)
        return replace(
            current,
            project=of_day,
            version=ObjectVersion(f"{current.version} {self.day}"),
            hidden=hidden,
            is_filtered=True,
            came_later=not (past.exists or shown),
        )

    def _past(self, current: FoundProject) -> Project:
        """Return a project by its commits up to the end of the day, and by older files since."""
        project = current.project
        last = project.commit
        # nothing has happened since: most projects need no look at their journal
        if last is None or last.events[-1].at <= self._end:
            return project
        key = project.name, current.version
        past = self.folded.get(key)
        if past is None:
            commits = self.journals.read(current.index, current.projects, project)
            past = self._fold(commits, project.name)
            # without a version nothing says when it is outdated
            if current.version != ABSENT:
                self.folded.put(key, past, 1 + len(past.files))
        return past

    def _fold(self, commits: Sequence[Commit], name: NormalizedName) -> Project:
        """Return a project after its commits up to the end of the day, and older imports since."""
        kind = project_journal(name)
        past = kind.empty
        is_over = False
        imported = list[File]()
        for commit in commits:
            # once it is over, it stays so: the clocks of servers differ, and commits have an order
            is_over = is_over or commit.events[0].at > self._end
            if not is_over:
                past = kind.fold(past, commit)
                continue
            for event in commit.events:
                if event.what == EventKind.UPLOADED and _came(event.file) <= self._end:
                    imported.append(event.file)  # as it came, and not as it is yanked now
        files = {file.filename: file for file in past.files}
        for file in imported:
            if file.filename not in past.deleted_filenames:
                files[file.filename] = file
        return replace(past, files=tuple(files[name] for name in sorted(files)))

    def _shown_files(self, project: Project, past: Project) -> Iterator[File]:
        """Yield the files that are listed now and were on the day, as they were then."""
        now = project.by_filename
        for file in past.files:
            # of another content only in another store, whose copy was put in place of this one
            listed = now.get(file.filename)
            if listed is not None and listed.sha256 == file.sha256:
                yield file

    def _reason(self, project: Project, file: File) -> FileReason:
        """Return why a file of now is not shown on the day."""
        facts = Facts(name=project.name, version=file.version, uploaded_at=_came(file))
        later = self.rules.first(facts, self._end)
        if later is not None:
            return later
        text = (
            f"{project.name} {file.version} was deleted at the end of {self.day}, and restored "
            "later. Use another version, or another index."
        )
        return FileReason(HIDDEN_BY_VIEW, text)


def _came(file: File) -> datetime:
    """Return from when on an index shows a file: its promotion, or its upload at the source."""
    return file.promoted_at or file.uploaded_at
