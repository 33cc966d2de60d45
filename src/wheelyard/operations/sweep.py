"""
The sweep, which finds and deletes the bytes that interrupted uploads and deletions have left.

The docstring of this package says in which order a sweep works, and what the lease is for.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.operations.findings import Findings, JournaledCheck
from wheelyard.operations.job_lease import JobLease
from wheelyard.storage.base import Entry, Key, Stored, Stores
from wheelyard.storage.forwarding import PrefixedStore

ORPHAN_AGE: Final = timedelta(days=1)
"""The age from which a sweep removes files that no project lists."""
RENEWAL_AGE: Final = ORPHAN_AGE / 2
"""The age from which a copy writes equal bytes again, so that no sweep removes them meanwhile."""

_NAMES: Final = Codec(NameList)


class Orphans(Struct, frozen=True):
    """The objects of a project's files that no index lists."""

    project: NormalizedName
    entries: Sequence[Entry]
    deleted: frozenset[Key]
    """The keys of the entries whose filename was deleted, and is never used again."""


class Sweep(Struct, frozen=True):
    """Finds and deletes the leftovers of uploads and deletions, while servers may run."""

    stores: Stores
    removal: FileRemoval
    threads: int
    """The number of projects whose documents are read concurrently."""

    def find(
        self, now: datetime, findings: Findings | None = None, lease: JobLease | None = None
    ) -> list[Orphans]:
        """
        Return the objects of files that no index lists, by project.

        `now` is by the store's clock, and decides which deleted files are still kept. The keys
        below `files/` that do not belong to a file are added to `findings`, and `lease` is renewed
        after each project. Raises Unavailable if the document of any project cannot be read, and
        Conflict if another process has taken the lease.
        """
        indexes = tuple(self.removal.indexes())
        orphans = list[Orphans]()
        find_orphans = partial(self._orphans, indexes, now)
        projects = self._projects(indexes, findings)
        # other threads read the documents, and this one renews the lease, which is for one thread
        for project_orphans in prefetch_map(find_orphans, projects, self.threads):
            if lease is not None:
                lease.renew()
            if project_orphans.entries:
                orphans.append(project_orphans)
        return orphans

    def run(self, now: datetime, lease: JobLease | None = None) -> int:
        """
        Delete all leftovers that are a day old, or whose file was deleted.

        `now` is by the store's clock, and `lease` is renewed meanwhile. Return how many objects
        were deleted. Raises Unavailable, before anything is deleted, if the document of any project
        cannot be read. Raises Unavailable if the store does not answer, and Conflict if another
        process has taken the lease.
        """
        count = 0
        # the whole list first: an unreadable document of any project ends the sweep before
        # anything is deleted
        for orphans in self.find(now, lease=lease):
            if lease is not None:
                # raises if this process was suspended, and another one sweeps meanwhile
                lease.renew()
            count += self.remove(orphans, now)
        return count

    def remove(self, orphans: Orphans, now: datetime) -> int:
        """
        Delete those of a project's orphans that are a day old, or whose file was deleted.

        `now` is by the store's clock. Return how many objects were deleted: none if a document of
        the project is inconsistent or damaged, or perhaps lost. A missing last entry of its journal
        is written first, as a check does. Raises Unavailable if the store does not answer, or a
        list of names is damaged.
        """
        age_limit = (now - ORPHAN_AGE).timestamp()
        old_keys = list[Key]()
        for entry in orphans.entries:
            if entry.modified < age_limit and entry.key not in orphans.deleted:
                old_keys.append(entry.key)
        if not orphans.deleted and not old_keys:
            return 0
        # All indexes anew: one that was made since the orphans were found may list them. And a
        # document that lacks commits may lack files that are listed.
        if not self._has_intact_documents(orphans.project, tuple(self.removal.indexes())):
            return 0
        count = 0
        if orphans.deleted:
            # of any age: no upload can list a filename that was deleted
            count += self.removal.remove(orphans.project, orphans.deleted)
        if old_keys:
            # the bytes of an upload that is still running are younger
            count += self.removal.remove(orphans.project, old_keys, age_limit)
        return count

    def _projects(
        self, indexes: Sequence[str], findings: Findings | None
    ) -> Iterator[tuple[NormalizedName, list[Entry]]]:
        """Yield each project that has files or a document, with the entries of its files."""
        without_files = set[NormalizedName]()
        for prefix in indexes:
            for entry in self.stores.documents.list(f"{prefix}{keys.PROJECTS}"):
                name = keys.project_of(Key(entry.key.removeprefix(prefix)))
                if name:
                    without_files.add(name)
        # a listing is in the order of the keys, so the files of a project follow each other
        file_entries = self.stores.files.list(keys.FILES)
        for name, entries in groupby(file_entries, _project_of):
            if name is not None:
                without_files.discard(name)
                yield name, list(entries)
            elif findings is not None:
                for entry in entries:
                    findings.add_foreign_object(entry.key)
        # projects without files, too: if any document cannot be read, the sweep ends
        for name in without_files:
            yield name, []

    def _orphans(
        self, indexes: Sequence[str], now: datetime, project: tuple[NormalizedName, list[Entry]]
    ) -> Orphans:
        """Return the objects of a project that no index lists."""
        name, entries = project
        documents = self.removal.documents(name, indexes)
        kept = self.removal.kept(documents, now)
        unlisted = [entry for entry in entries if entry.key not in kept]
        deleted = set[Key]()
        # with several indexes, a file that one has deleted may just be published in another one
        if len(indexes) == 1 and documents:
            deleted_filenames = frozenset(documents[0].deleted_filenames)
            for entry in unlisted:
                file_key = keys.parse_file_key(entry.key)
                if file_key is not None and file_key.filename in deleted_filenames:
                    deleted.add(entry.key)
        return Orphans(name, unlisted, frozenset(deleted))

    def _has_intact_documents(self, name: NormalizedName, indexes: Sequence[str]) -> bool:
        """
        Return whether all documents of a project are intact.

        Without any document, return whether no index ever had the project. `indexes` are the
        prefixes of their keys.
        """
        has_document = False
        for prefix in indexes:
            findings = Findings()
            store = PrefixedStore(self.stores.documents, prefix)
            project = JournaledCheck(project_journal(name), store, findings).run(rebuild=False)
            if findings.problems:
                return False
            if project is not None:
                has_document = True
        if has_document:
            return True
        # bytes without any document: an upload that died before its commit, or a lost project
        return all(self._never_had(name, prefix) for prefix in indexes)

    def _never_had(self, name: NormalizedName, prefix: str) -> bool:
        """Return whether an index never had a project, by its list of names."""
        key = Key(f"{prefix}{keys.PROJECT_NAMES}")
        stored = self.stores.documents.get(key)
        # without the list of names, any project may have existed
        return isinstance(stored, Stored) and name not in _NAMES.decode(key, stored.body).as_set


def _project_of(entry: Entry) -> NormalizedName | None:
    """Return the project whose file an object belongs to, or None if it is of no file."""
    file_key = keys.parse_file_key(entry.key)
    if file_key is None:
        return None
    return NormalizedName(file_key.project)
