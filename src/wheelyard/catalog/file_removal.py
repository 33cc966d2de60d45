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
"""How long bytes stay after the last moment to restore them: a commit takes at most half of it."""

_CODEC: Final = ProjectCodec()


class FileRemoval(Struct, frozen=True):
    """
    Deletes the objects of files that no index of a store lists, or keeps after a deletion.

    Every method but `kept` and `held` raises Unavailable if the store does not answer.
    """

    stores: Stores
    clock: StoreClock
    keeps_deleted: bool = True
    """Whether deleted files are kept for a while, as they are not if everybody reads the bucket."""

    def remove(
        self, name: NormalizedName, objects: Iterable[Key], written_before: float = inf
    ) -> int:
        """
        Delete those of the `objects` of a project that no index lists, and return how many.

        Objects that were written at `written_before` or later stay, in seconds since the epoch. The
        age of each object is read right before it is deleted, as an upload writes its bytes again
        if they are there. An upload commits within half a day, so an object that is older than a
        day, and that no index lists, belongs to no upload.

        Raises Unavailable, before anything is deleted, if a document of the project cannot be read.
        """
        # of all indexes, which share the files, and each of which has a document of the project
        documents = self._documents_at_once(name)
        listed = self.kept(documents, self.clock.now())
        count = 0
        for key in objects:
            if key in listed:
                continue
            if written_before < inf:
                # the listing has all keys that begin with this one, such as those of sidecars
                entry = next(self.stores.files.list(key), None)
                if entry is None or entry.key != key or entry.modified >= written_before:
                    continue
            self.stores.files.delete(key)
            count += 1
        return count

    def indexes(self) -> Iterator[str]:
        """Yield the prefix of the keys of each index in the store, first that of main, `""`."""
        yield ""
        after = ""
        # only the first key of each folder is listed, and not all documents of all indexes
        while entry := next(self.stores.documents.list(keys.INDEXES, after), None):
            prefix = keys.index_prefix(entry.key)
            after = entry.key
            if prefix:
                after = keys.after_index(prefix)
                yield prefix

    def documents(self, name: NormalizedName, indexes: Iterable[str]) -> list[Project]:
        """
        Return a project's documents, one of each index that has the project.

        `indexes` are the prefixes of their keys. Raises Unavailable if a document is damaged, is
        that of another project, or may only be read by a newer version.
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
        Yield all projects of an index, even if the index is not defined any more.

        Raises Unavailable if a document is damaged, or may only be read by a newer version.
        """
        entries = self.stores.documents.list(f"{keys.index_folder(index)}{keys.PROJECTS}")
        for project in prefetch_map(self._read_project, entries):
            if project is not None:
                yield project

    def _read_project(self, entry: Entry) -> Project | None:
        """Return the project of a listed document, or None if that was deleted since."""
        stored = self.stores.documents.get(entry.key)
        if not isinstance(stored, Stored):
            return None
        return _CODEC.decode(entry.key, stored.body)

    def awaited(self, name: NormalizedName, files: Iterable[File]) -> dict[str, set[str]]:
        """
        Return the names of files that another index may be about to list, by the name of the index.

        These are the files that are noted as promoted to the index, and that are neither listed nor
        deleted there yet. `files` are files of a project of this index. Raises Unavailable if the
        document of the project in another index is damaged, or may only be read by a newer version.
        """
        promoted = dict[str, set[str]]()
        for file in files:
            for index in file.targets:
                promoted.setdefault(index, set()).add(file.filename)
        awaited = dict[str, set[str]]()
        for index, filenames in promoted.items():
            for project in self.documents(name, (keys.index_folder(index),)):
                filenames.difference_update(project.by_filename, project.deleted_filenames)
            if filenames:
                awaited[index] = filenames
        return awaited

    def _documents_at_once(self, name: NormalizedName) -> list[Project]:
        """
        Return a project's documents as all of them were at one moment.

        Between two reads, a file may be promoted from an index that is read later to one that was
        read before, and then be deleted in the first one.
        """
        documents: list[Project] | None = None
        documents_read_again = self.documents(name, self.indexes())
        # if two readings in a row are equal, this was the state at the moment between them
        while documents != documents_read_again:
            documents = documents_read_again
            documents_read_again = self.documents(name, self.indexes())
        return documents_read_again

    def kept(self, projects: Iterable[Project], now: datetime) -> frozenset[Key]:
        """
        Return the keys of all objects of files that documents list, or keep after a deletion.

        `now` is by the store's clock.
        """
        kept_keys = set[Key]()
        for project in projects:
            for file in self.kept_files(project, now):
                for key, _ in listed_objects(project.name, file):
                    kept_keys.add(key)
        return frozenset(kept_keys)

    def kept_files(self, project: Project, now: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or kept after a deletion."""
        # a restore that begins in the last moment still has time to commit before the bytes go
        return self.held(project, now - RESTORE_TIME)

    def held(self, project: Project, at: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or that could be restored at a time."""
        if not self.keeps_deleted:
            return project.files
        return project.files + project.kept_files(at)
