"""Removal of the bytes of files that no index of a store lists or keeps."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from math import inf
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import damaged
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.model.project import File, Project
from wheelyard.storage.base import Entry, Key, Stored, Stores

RESTORE_TIME: Final = timedelta(days=1)
"""How long bytes stay after nobody may begin to restore them: a commit takes half of it at most."""

_CODEC: Final = ProjectCodec()


class FileRemoval(Struct, frozen=True):
    """
    Deletes the objects of files that no index of a store lists, or keeps after a deletion.

    Every method but `kept` and `held` raises Unavailable if the store does not answer.
    """

    stores: Stores
    clock: StoreClock
    keeps_deleted: bool = True
    """Whether deleted files are kept for a while: not where everybody can read the bucket."""

    def remove(
        self, name: NormalizedName, objects: Iterable[Key], written_before: float = inf
    ) -> int:
        """
        Delete those of the `objects` of a project that no index lists, and return how many.

        An object that was written at `written_before` or later stays, in seconds since the epoch.
        Each is looked at right before it is deleted: an upload writes its bytes anew, and commits
        within half a day, so what is older than a day, and listed by nobody, is needed by nobody.

        Raises Unavailable, before anything is deleted, if a document of the project cannot be read.
        """
        # of all indexes: they share the files, and each has its own document of the project
        documents = self._documents_at_once(name)
        listed = self.kept(documents, self.clock.now())
        count = 0
        for key in objects:
            if key in listed:
                continue
            if written_before < inf:
                # the first key that begins so, which may be that of a sidecar
                entry = next(self.stores.files.list(key), None)
                if entry is None or entry.key != key or entry.modified >= written_before:
                    continue
            self.stores.files.delete(key)
            count += 1
        return count

    def indexes(self) -> Iterator[str]:
        """Yield the prefix of the keys of each index in the store: first that of main, nothing."""
        yield ""
        after = ""
        # the first key of each folder, and not all documents of all indexes
        while entry := next(self.stores.documents.list(keys.INDEXES, after), None):
            prefix = keys.index_prefix(entry.key)
            after = entry.key
            if prefix:
                after = keys.after_index(prefix)
                yield prefix

    def documents(self, name: NormalizedName, indexes: Iterable[str]) -> list[Project]:
        """
        Return a project's documents, one of each index that has it.

        Raises Unavailable if one of them is damaged, is that of another project, or may only be
        read by a newer version.
        """
        projects = list[Project]()
        for prefix in indexes:
            key = Key(f"{prefix}{keys.project(name)}")
            stored = self.stores.documents.get(key)
            if isinstance(stored, Stored):
                project = _CODEC.decode(key, stored.body)
                if project.name != name:
                    raise damaged(f"The document {key} is that of another project.")
                projects.append(project)
        return projects

    def projects_of(self, index: str) -> Iterator[Project]:
        """
        Yield all projects of an index, also if it is not defined any more.

        Raises Unavailable if a document is damaged, or may only be read by a newer version.
        """
        entries = self.stores.documents.list(f"{keys.index_folder(index)}{keys.PROJECTS}")
        yield from filter(None, prefetch_map(self._read, entries))

    def _read(self, entry: Entry) -> Project | None:
        """Return the project of a listed document, or None if that has gone since."""
        stored = self.stores.documents.get(entry.key)
        if not isinstance(stored, Stored):
            return None
        return _CODEC.decode(entry.key, stored.body)

    def awaited(self, name: NormalizedName, files: Iterable[File]) -> dict[str, set[str]]:
        """
        Return the names of files that another index may be about to list, by the name of the index.

        That is what is noted as promoted there, and neither listed nor deleted there yet. `files`
        are those of a project of this index. Raises Unavailable if the document of the project in
        another index is damaged, or may only be read by a newer version.
        """
        awaited = dict[str, set[str]]()
        for file in files:
            for index in file.targets:
                awaited.setdefault(index, set()).add(file.filename)
        for index, filenames in awaited.items():
            for project in self.documents(name, (keys.index_folder(index),)):
                filenames.difference_update(project.by_filename, project.deleted_filenames)
        return {index: filenames for index, filenames in awaited.items() if filenames}

    def _documents_at_once(self, name: NormalizedName) -> list[Project]:
        """
        Return a project's documents as all of them were at one moment.

        A file may be promoted from an index to one that was read before, and then be deleted there.
        """
        documents = None
        again = self.documents(name, self.indexes())
        # what two readings in a row have was so at the moment between them
        while documents != again:
            documents = again
            again = self.documents(name, self.indexes())
        return again

    def kept(self, projects: Iterable[Project], now: datetime) -> frozenset[Key]:
        """
        Return the keys of all objects that documents list, or keep although deleted.

        `now` is by the store's clock.
        """
        kept = set[Key]()
        for project in projects:
            for file in self.kept_files(project, now):
                kept.update(key for key, _ in listed_objects(project.name, file))
        return frozenset(kept)

    def kept_files(self, project: Project, now: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or kept although deleted."""
        # whoever restores a file in the last moment has to commit that before its bytes go
        return self.held(project, now - RESTORE_TIME)

    def held(self, project: Project, at: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or could be restored at a time."""
        if not self.keeps_deleted:
            return project.files
        return project.files + project.kept_files(at)
