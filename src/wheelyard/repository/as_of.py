"""
The packages of an index as they were at the end of a day, by the journals of its projects.

Yanks, status, deletions and promotions are those of the day. Three things are those of now, so that
nobody gets what somebody has taken away: a file that was deleted since is missing, a project that
is in quarantine now serves nothing, and a file that was imported since counts from its upload at
the source, as a store that was filled by an import had no journal before.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.concurrency.caches import LruCache
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, FileReason
from wheelyard.model.rules import Facts, Rules
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.layers import Own, ProjectLookup, Repository
from wheelyard.storage.base import ABSENT, ObjectVersion

REMEMBERED_FILES: Final = 50_000
"""Files of projects whose state on the day is remembered."""


class AsOf(Repository, frozen=True):
    """The packages of an index at the end of a day."""

    own: Own
    day: date
    rules: Rules
    """Says why a file that came later is hidden."""
    folded: LruCache[tuple[NormalizedName, ObjectVersion], Project]
    """Projects on the day, by the version of their document, as far as they are remembered."""

    @classmethod
    def of(cls, own: Own, day: date, rules: Rules) -> "AsOf":
        """Return one that remembers nothing yet."""
        return cls(own, day, rules, LruCache(REMEMBERED_FILES))

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """See `Repository`. Raises Unavailable also if the journal has lost a commit."""
        return tuple(self._on_the_day(current) for current in self.own.find_projects(lookup))

    def own_packages(self) -> tuple[Own, ...]:
        """See `Repository`."""
        return (self.own,)

    @property
    def hides_files(self) -> bool:
        """See `Repository`."""
        return True

    @property
    def _end(self) -> datetime:
        return datetime.combine(self.day, time.max, UTC)

    def _on_the_day(self, current: FoundProject) -> FoundProject:
        """Return a project of now as it was at the end of the day."""
        project = current.project
        past = self._past(current)
        shown = tuple(self._shown_files(project, past))
        names = {file.filename for file in shown}
        gone = [file for file in project.files if file.filename not in names]
        of_day = replace(
            project,
            files=shown,
            summary=past.summary,
            deleted_filenames=tuple(sorted({*project.deleted_filenames, *past.deleted_filenames})),
        )
        if project.status.serves_files:
            of_day = replace(of_day, status=past.status, reason=past.reason)
        return replace(
            current,
            project=of_day,
            version=ObjectVersion(f"{current.version} {self.day}"),
            hidden={file.filename: (file, self._reason(project, file)) for file in gone},
            is_filtered=True,
            came_later=not (past.exists or shown),
        )

    def _past(self, current: FoundProject) -> Project:
        """Return the fold of the commits of a project up to the end of the day."""
        project = current.project
        last = project.commit
        if last is None or last.events[-1].at <= self._end:
            return project
        key = project.name, current.version
        past = self.folded.get(key)
        if past is None:
            kind = project_journal(project.name)
            past = kind.empty
            commits = current.projects.journal(project).read_all(range(1, project.revision + 1))
            for commit in commits:
                if commit.events[0].at > self._end:
                    break
                past = kind.fold(past, commit)
            if current.version != ABSENT:
                self.folded.put(key, past, 1 + len(past.files))
        return past

    def _shown_files(self, project: Project, past: Project) -> Iterator[File]:
        """Yield the files that are listed now and were on the day, as they were then."""
        before = past.by_filename
        for file in project.files:
            then = before.get(file.filename)
            if then is not None:
                if then.sha256 == file.sha256:
                    yield then
            elif file.filename not in past.deleted_filenames and _came(file) <= self._end:
                yield file  # imported since, and older

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
