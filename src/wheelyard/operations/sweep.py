"""
The sweep of leftovers: bytes of uploads that died, and of files whose deletion died.

What no project lists is deleted once it is a day old. The projects are those of all indexes that
the store holds. A document that cannot be read stops the sweep before anything is deleted, as its
files are not known. Bytes of a project whose document and journal disagree stay, and so do those of
a project that is perhaps lost: `wheelyard check` says what can be done.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.catalog.journals import project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.operations.findings import Findings
from wheelyard.operations.journaled_check import JournaledCheck
from wheelyard.storage.base import Entry, Key, Stored, Stores
from wheelyard.storage.forwarding import PrefixedStore

_NAMES: Final = Codec(NameList)


class Orphans(Struct, frozen=True):
    """The objects of a project's files that no index lists."""

    project: NormalizedName
    entries: Sequence[Entry]
    deleted: frozenset[Key]
    """Those whose filename was deleted, and is never used again."""


class Sweep(Struct, frozen=True):
    """Finds and deletes the leftovers of uploads and deletions; servers may run meanwhile."""

    stores: Stores
    removal: FileRemoval
    threads: int
    """The number of projects whose documents are read concurrently."""

    def find(
        self,
        on_foreign: Callable[[Key], object] = lambda _: None,
        on_project: Callable[[], object] = lambda: None,
    ) -> list[Orphans]:
        """
        Return what no index lists, by project.

        `on_foreign` is called with each key that is none of a file, `on_project` after each
        project. Raises Unavailable if a document of any project cannot be read.
        """
        indexes = tuple(self.removal.indexes())

        def orphans_of(project: tuple[NormalizedName, list[Entry]]) -> Orphans:
            return self._orphans(*project, indexes)

        orphans = list[Orphans]()
        for found in prefetch_map(orphans_of, self._projects(indexes, on_foreign), self.threads):
            on_project()
            if found.entries:
                orphans.append(found)
        return orphans

    def run(self, now: float, on_project: Callable[[], object] = lambda: None) -> int:
        """
        Delete all leftovers, and return how many; calls `on_project` and raises as `find`.

        `now` is in seconds since the epoch, best by the store's clock.
        """
        count = 0
        for orphans in self.find(on_project=on_project):
            on_project()
            count += self.remove(orphans, now)
        return count

    def remove(self, orphans: Orphans, now: float) -> int:
        """
        Delete those of a project's orphans that are a day old, or deleted; return how many.

        None is deleted if the project is inconsistent, or perhaps lost.
        """
        before = now - ORPHAN_AGE.total_seconds()
        candidates = [each.key for each in orphans.entries if each.modified < before]
        old = [key for key in candidates if key not in orphans.deleted]
        has_any = orphans.deleted or old
        if not has_any or not self._is_certain(orphans.project, tuple(self.removal.indexes())):
            return 0
        count = self.removal.remove(orphans.project, orphans.deleted) if orphans.deleted else 0
        return count + (self.removal.remove(orphans.project, old, before) if old else 0)

    def _projects(
        self, indexes: Sequence[str], on_foreign: Callable[[Key], object]
    ) -> Iterator[tuple[NormalizedName, list[Entry]]]:
        """Yield each project that has files or a document, with the entries of its files."""
        documents = {
            name
            for prefix in indexes
            for entry in self.stores.documents.list(f"{prefix}{keys.PROJECTS}")
            if (name := keys.project_of(Key(entry.key.removeprefix(prefix))))
        }
        for name, group in groupby(self.stores.files.list(keys.FILES), _project_of):
            if name is None:
                for entry in group:
                    on_foreign(entry.key)
            else:
                documents.discard(name)
                yield name, list(group)
        yield from ((name, []) for name in documents)

    def _orphans(
        self, name: NormalizedName, entries: Sequence[Entry], indexes: Sequence[str]
    ) -> Orphans:
        projects = self.removal.documents(name, indexes)
        kept = self.removal.kept(projects)
        unlisted = [entry for entry in entries if entry.key not in kept]
        deleted = frozenset[Key]()
        if len(indexes) == 1 and unlisted and projects:
            # with several indexes, another one may just be publishing the file
            names = frozenset(projects[0].deleted_filenames)
            deleted = frozenset(entry.key for entry in unlisted if _filename(entry.key) in names)
        return Orphans(name, unlisted, deleted)

    def _is_certain(self, name: NormalizedName, indexes: Sequence[str]) -> bool:
        """Return whether each index has an intact document of a project, or never had any."""
        has_document = False
        for prefix in indexes:
            findings, store = Findings(), PrefixedStore(self.stores.documents, prefix)
            project = JournaledCheck(project_journal(name), store, findings).run(rebuild=False)
            if findings.problems:
                return False
            has_document = has_document or project is not None
        return has_document or all(self._never_had(name, prefix) for prefix in indexes)

    def _never_had(self, name: NormalizedName, prefix: str) -> bool:
        key = Key(f"{prefix}{keys.PROJECT_NAMES}")
        found = self.stores.documents.get(key)
        # without the list of names, any project may have existed
        return isinstance(found, Stored) and name not in _NAMES.decode(key, found.body).as_set


def _project_of(entry: Entry) -> NormalizedName | None:
    owner = keys.parse_file_key(entry.key)
    return NormalizedName(owner.project) if owner else None


def _filename(key: Key) -> str:
    owner = keys.parse_file_key(key)
    return owner.filename if owner else ""
