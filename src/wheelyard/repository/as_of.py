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
from wheelyard.repository.layers import OwnPackages, ProjectLookup, Repository
from wheelyard.storage.base import ABSENT, ObjectVersion

REMEMBERED_FILES: Final = 50_000
"""Files of the projects whose state on one day is remembered."""
REMEMBERED_COMMITS: Final = 50_000
"""Commits of journals that a process remembers for all days."""


class KnownJournals:
    """
    The commits of projects that were read for one day, so that another day reads only newer ones.

    A journal only gets longer, unless an older copy of the store is put in its place. Threads may
    share this.
    """

    def __init__(self) -> None:
        self._commits: LruCache[tuple[str, NormalizedName], tuple[Commit, ...]] = LruCache(
            REMEMBERED_COMMITS
        )

    def read(self, index: str, projects: Projects, project: Project) -> Sequence[Commit]:
        """
        Return all commits of a project of an index, in order.

        Raises Unavailable if the store does not answer, or the journal has lost a commit.
        """
        key = index, project.name
        known_commits = self._commits.get(key) or ()
        journal = projects.journal(project)
        new_numbers = range(len(known_commits) + 1, project.revision + 1)
        commits = known_commits + tuple(journal.read_all(new_numbers))
        # an older copy of the store was put in place: its commits may be other ones
        if not self._continues(known_commits, commits, project):
            commits = tuple(journal.read_all(range(1, project.revision + 1)))
        # two threads may both have read the journal: they have the same commits
        self._commits.put(key, commits, 1 + len(commits))
        return commits

    @staticmethod
    def _continues(
        known_commits: Sequence[Commit], commits: Sequence[Commit], project: Project
    ) -> bool:
        """
        Return whether `commits` lead to the document of a project, and continue `known_commits`.

        `commits` begin with `known_commits`.
        """
        last_commit = project.commit
        if last_commit is None or len(commits) != project.revision:
            return False
        if commits[-1].id != last_commit.id:
            return False
        if not known_commits or len(known_commits) == len(commits):
            return True
        # by the hash chain: another store may have other commits of the same numbers
        kind = project_journal(project.name)
        last_known_digest = digest(kind.commits.encode(known_commits[-1]))
        first_new = commits[len(known_commits)]
        return first_new.previous == last_known_digest


class PackagesOfDay(Repository, frozen=True):
    """The own packages of an index as they were at the end of a day."""

    packages_now: OwnPackages
    day: date
    rules: Rules
    """The rules that say why a file which came after the day is hidden."""
    journals: KnownJournals
    remembered_projects: LruCache[tuple[NormalizedName, ObjectVersion], Project]
    """Projects as they were on the day, by name and the version of their document of now."""

    @classmethod
    def of(
        cls, packages_now: OwnPackages, day: date, rules: Rules, journals: KnownJournals
    ) -> "PackagesOfDay":
        """Return the packages of an index at the end of a day, with no project remembered yet."""
        return cls(packages_now, day, rules, journals, LruCache(REMEMBERED_FILES))

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return the project of a lookup as it was on the day, or nothing if the index has none.

        Raises Unavailable if the store does not answer, or the journal has lost a commit.
        """
        projects_now = self.packages_now.find_projects(lookup)
        return tuple(self._project_of_day(project_now) for project_now in projects_now)

    def own_packages(self) -> tuple[OwnPackages, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return (self.packages_now,)

    @property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return True

    @property
    def _end_of_day(self) -> datetime:
        return end_of_day(self.day)

    def _project_of_day(self, project_now: FoundProject) -> FoundProject:
        """Return a project of now as it was at the end of the day."""
        project = project_now.project
        past_project = self._past_project(project_now)
        shown_files = tuple(self._shown_files(project, past_project))
        shown_filenames = {file.filename for file in shown_files}
        hidden = dict[str, tuple[File, FileReason]]()
        for file in project.files:
            if file.filename not in shown_filenames:
                hidden[file.filename] = file, self._why_hidden(project, file)

        # also of the day: a file that was deleted then, and restored since, is not another layer's
        deleted = set(project.deleted_filenames).union(past_project.deleted_filenames)
        project_of_day = replace(
            project,
            files=shown_files,
            summary=past_project.summary,
            deleted_filenames=tuple(sorted(deleted)),
        )

        # a quarantine of now holds for every day: it says that nobody should install these files
        if project.status.serves_files:
            project_of_day = replace(
                project_of_day, status=past_project.status, reason=past_project.reason
            )
        return replace(
            project_now,
            project=project_of_day,
            version=ObjectVersion(f"{project_now.version} {self.day}"),
            hidden=hidden,
            is_filtered=True,
            is_after_day=not (past_project.exists or shown_files),
        )

    def _past_project(self, project_now: FoundProject) -> Project:
        """Return a project by its commits up to the end of the day, and later imports of files."""
        project = project_now.project
        last_commit = project.commit
        # nothing has happened since: most projects need no look at their journal
        if last_commit is None or last_commit.events[-1].at <= self._end_of_day:
            return project
        key = project.name, project_now.version
        past_project = self.remembered_projects.get(key)
        if past_project is None:
            commits = self.journals.read(project_now.index, project_now.projects, project)
            past_project = self._fold(commits, project.name)
            # without a version nothing says when the project is outdated
            if project_now.version != ABSENT:
                self.remembered_projects.put(key, past_project, 1 + len(past_project.files))
        return past_project

    def _fold(self, commits: Sequence[Commit], name: NormalizedName) -> Project:
        """
        Return a project after those of its commits that are not later than the day.

        A file that was imported later, and is not later than the day at its source, is added.
        """
        kind = project_journal(name)
        past_project = kind.empty
        is_day_over = False
        imported_files = list[File]()
        for commit in commits:
            # a day that is over stays over: the clocks of servers differ, and commits have an order
            is_day_over = is_day_over or commit.events[0].at > self._end_of_day
            if not is_day_over:
                past_project = kind.fold(past_project, commit)
                continue
            for event in commit.events:
                if (
                    event.what == EventKind.UPLOADED
                    and _shown_since(event.file) <= self._end_of_day
                ):
                    # as it was imported, and not as it is yanked now
                    imported_files.append(event.file)
        files = {file.filename: file for file in past_project.files}
        for file in imported_files:
            if file.filename not in past_project.deleted_filenames:
                files[file.filename] = file
        ordered_files = tuple(files[filename] for filename in sorted(files))
        return replace(past_project, files=ordered_files)

    def _shown_files(self, project: Project, past_project: Project) -> Iterator[File]:
        """Yield the files that are listed now and were on the day, as they were then."""
        files_now = project.by_filename
        for past_file in past_project.files:
            file_now = files_now.get(past_file.filename)
            # other bytes are in another store alone, whose copy was put in place of this one
            if file_now is not None and file_now.sha256 == past_file.sha256:
                yield past_file

    def _why_hidden(self, project: Project, file: File) -> FileReason:
        """Return why a file of now is not shown on the day."""
        facts = Facts(name=project.name, version=file.version, uploaded_at=_shown_since(file))
        reason = self.rules.first(facts, self._end_of_day)
        if reason is not None:
            return reason
        text = (
            f"{project.name} {file.version} was deleted at the end of {self.day}, and restored "
            "later. Use another version, or another index."
        )
        return FileReason(HIDDEN_BY_VIEW, text)


def _shown_since(file: File) -> datetime:
    """Return since when an index shows a file: its promotion, or else its upload at the source."""
    return file.promoted_at or file.uploaded_at
