"""
Removal of distributions and their sidecars: the only code that deletes any.

Files are shared by all indexes of a store. So before any is deleted, the documents of its project
in every index that the store holds are read, whatever the settings name.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from math import inf
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import damaged
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.project_codec import ProjectCodec
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.project import File, Project
from wheelyard.storage.base import Key, Stored, Stores

_CODEC: Final = ProjectCodec()


class FileRemoval(Struct, frozen=True):
    """Deletes the objects of files that no index of a store lists, or keeps after a deletion."""

    stores: Stores
    runtime: Runtime

    def remove(
        self, name: NormalizedName, objects: Iterable[Key], written_before: float = inf
    ) -> int:
        """
        Delete those of the `objects` of a project that no index lists; return how many.

        An object that was written at `written_before` or later stays, in seconds since the epoch.
        Each is looked at right before it is deleted: an upload writes its bytes anew, and commits
        within half a day, so what is older than a day, and listed by nobody, is needed by nobody.

        Raises Unavailable if a document cannot be read; then nothing is deleted.
        """
        listed, count = self.kept(self.documents(name, self.indexes())), 0
        for key in objects:
            if key in listed:
                continue
            if written_before < inf:
                entry = next(self.stores.files.list(key), None)
                if entry is None or entry.key != key or entry.modified >= written_before:
                    continue
            self.stores.files.delete(key)
            count += 1
        return count

    def indexes(self) -> Iterator[str]:
        """Yield the prefix of the keys of each index in the store: first that without a name."""
        yield ""
        after = ""
        while entry := next(self.stores.documents.list(keys.INDEXES, after), None):
            prefix = keys.index_prefix(entry.key)
            if prefix:
                yield prefix
            after = keys.after_index(prefix) if prefix else entry.key

    def documents(self, name: NormalizedName, indexes: Iterable[str]) -> list[Project]:
        """Return a project's documents, one of each index that has it; may raise Unavailable."""
        projects = list[Project]()
        for prefix in indexes:
            key = Key(f"{prefix}{keys.project(name)}")
            found = self.stores.documents.get(key)
            if isinstance(found, Stored):
                project = _CODEC.decode(key, found.body)
                if project.name != name:
                    raise damaged(
                        f"The document {key} is that of another project. Run 'wheelyard check', "
                        "which says what can be done about it."
                    )
                projects.append(project)
        return projects

    def kept(self, projects: Iterable[Project]) -> frozenset[Key]:
        """Return the keys of all objects that documents list, or keep although deleted."""
        now = self.runtime.now()
        return frozenset(
            key
            for project in projects
            for file in (*project.files, *(each for each in project.trash if _is_kept(each, now)))
            for key, _ in listed_objects(project.name, file)
        )


def _is_kept(file: File, now: datetime) -> bool:
    return file.keep_until is not None and file.keep_until > now
