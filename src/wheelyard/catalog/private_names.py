"""
Which names are private, so that they are never looked up at an upstream index.

A name is private if a pattern of the settings matches it, if it is in a namespace, if it is in the
list of projects, or if it has a document. So a name stays private after all of its files are
deleted. It is also private right after its first commit by a process without an upstream index,
which lists a name only after the commit. Only `wheelyard names release` makes a name unknown: then
it is not listed, and its document says that it was released.

A cache may say that a name is private. But only the store says that it is not, at each question, as
another process may publish the name any time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Snapshot, damaged
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.concurrency.threads import Batch, GroupCommit
from wheelyard.errors import Unavailable
from wheelyard.model.access import NamePatterns
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Project
from wheelyard.storage.base import ObjectVersion, Store, Stored

LIST_THREADS: Final = 32
"""The most lookups in a remote store at a time: as many as the threads of a server."""


class Absence(Struct, frozen=True):
    """The versions of the documents by which a name is not private in one index."""

    index: str
    """The name of the index."""
    names: ObjectVersion
    """The version of the list of names."""
    document: ObjectVersion
    """The version of the document of the project."""


def _is_in_no_namespace(_: NormalizedName) -> bool:
    """Return False for every name: there is no namespace."""
    return False


def _no_other_indexes() -> "Sequence[PrivateNames]":
    """Return nothing: the index shows no other index."""
    return ()


class PrivateNames:
    """
    Tells which names are private, and makes names private.

    Args:
        projects: The projects of the index, and the list of their names.
        patterns: The patterns of `[upstream] private` and `[access] private_names`.
        index: The name of the index.
        root: The store of main, which has `wheelyard.json`.
        is_in_namespace: Returns whether a name is in a namespace. It may read the namespaces.
        other_indexes: Returns the private names of the other indexes that the index shows, which
            are private here as well. None if it shows no other index.
        is_local: Whether the store is on this machine, so that reads need no threads.
    """

    def __init__(  # noqa: PLR0913 - each of them decides whether a name is private
        self,
        projects: Projects,
        patterns: NamePatterns,
        root: Store,
        *,
        is_local: bool,
        is_in_namespace: Callable[[NormalizedName], bool] = _is_in_no_namespace,
        index: str = MAIN,
        other_indexes: "Callable[[], Sequence[PrivateNames]] | None" = None,
    ) -> None:
        self._projects = projects
        self._root = root
        self._index = index
        self._other_indexes = other_indexes or _no_other_indexes
        self._is_local = is_local
        # no thread is started before its first use
        self._threads = ThreadPoolExecutor(LIST_THREADS, "names")
        # callers that come while a read is running share the next read
        self._lists = GroupCommit[str, None, Snapshot[NameList]](self._read_list)
        self._documents = GroupCommit[NormalizedName, None, Snapshot[Project]](self._read_document)
        self._marker: ObjectVersion | None = None
        """The version of `wheelyard.json` when it was read last, or None before."""
        self._patterns = patterns
        self._is_in_namespace = is_in_namespace

    def matches_pattern(self, name: NormalizedName) -> bool:
        """Return whether a pattern of the settings makes a name private."""
        return self._patterns.match(name)

    def is_reserved(self, name: NormalizedName) -> bool:
        """
        Return whether a pattern or a namespace makes a name private, even without a project.

        Raises Unavailable if the namespaces cannot be read.
        """
        return self._patterns.match(name) or self._is_in_namespace(name)

    def is_private(self, name: NormalizedName) -> bool:
        """
        Return whether a name is private.

        The store is read unless a pattern or the cache says that the name is private. The result
        may be True for a name that was released a moment ago. It is never False for a name that was
        private when this was called. Raises Unavailable if the cache does not have the name, and
        the store does not answer, is missing, or has a damaged document. Raises Unavailable, too,
        if the namespaces cannot be read.
        """
        other_indexes = self._other_indexes()
        if self.is_private_here(name):
            return True
        return any(index.is_private_here(name) for index in other_indexes)

    def is_private_here(self, name: NormalizedName) -> bool:
        """
        Return whether a name is private by the settings and by this index alone.

        Raises Unavailable if the cache does not have the name, and the store does not answer, is
        missing, or has a damaged document. Raises Unavailable, too, if the namespaces cannot be
        read.
        """
        if self.is_private_in_memory(name) or self._is_in_namespace(name):
            return True
        try:
            if self._is_listed(name) or self._is_stored(name):
                return True
            # last, as the reads before may show that the store is an older copy now
            return self._projects.vanished.has(name)
        except Unavailable:
            # after an error the name may still be private, and an upstream index must not be asked
            if self._projects.is_remembered(name):
                return True
            raise

    def absence(self, name: NormalizedName) -> "tuple[Absence, ...] | None":
        """
        Return the cached versions of the documents by which a name is not private in any index.

        Return None if the cache lacks a document, or the name is private. Return None, too, on a
        remote store, whose current versions are not known without a read.
        """
        absences = list[Absence]()
        for index in (self, *self._other_indexes()):
            absence = index._absence_here(name)  # noqa: SLF001 - of the same class
            # the name may be private in this index
            if absence is None:
                return None
            absences.append(absence)
        return tuple(absences)

    def _absence_here(self, name: NormalizedName) -> "Absence | None":
        """Return the cached versions by which a name is not private in this index, or None."""
        names = self._projects.names.peek("any")
        document = self._projects.documents.peek(keys.project(name), "any")
        if not self._is_local or names is None or document is None:
            return None
        if _is_private_in(name, names, document) or self._is_lost(name):
            return None
        return Absence(self._index, names.version, document.version)

    def _is_lost(self, name: NormalizedName) -> bool:
        """Return whether a name has vanished from the store, or may have."""
        return name in self._projects.vanished.projects or name in self._projects.names.dropped

    def claim(self, *names: NormalizedName) -> None:
        """
        Make names private before their first file is published, by adding them to the list.

        Raises Unavailable if the store does not answer, if the list is damaged, or if too many
        writers change it.
        """
        self._projects.names.claim(*names)

    def is_private_in_memory(self, name: NormalizedName) -> bool:
        """
        Return whether a pattern or a cached document says that a name is private, without I/O.

        A name whose project has vanished is private, too, as an older copy of the store releases no
        name. If the result is False, the name may still be private.
        """
        if self._patterns.match(name) or name in self._projects.vanished.projects:
            return True
        cached = self._projects.documents.peek(keys.project(name), "any")
        return cached is not None and cached.value is not None and bool(cached.value.files)

    def complete_list(self) -> None:
        """
        Add the projects that are not listed to the list, which may come from an older backup.

        Raises Unavailable if the store does not answer, or if a document is damaged.
        """
        listed = self._projects.names.get_current().as_set
        missing = list[NormalizedName]()
        for entry in self._projects.store.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name is not None and name not in listed:
                missing.append(name)
        # a released name has a document, which says so, and stays out of the list
        unlisted = [name for name in missing if self._has_project(name)]
        if unlisted:
            self.claim(*unlisted)

    def _has_project(self, name: NormalizedName) -> bool:
        """Return whether the store has a document of a name that is not released."""
        project = self._projects.documents.get(keys.project(name), "current").value
        return project is not None and project.exists

    def _is_listed(self, name: NormalizedName) -> bool:
        """Return whether the cached list has a name: never on a local store, which is read anew."""
        if self._is_local:
            return False
        names = self._projects.names.peek()
        return names is not None and names.value is not None and name in names.value.as_set

    def _is_stored(self, name: NormalizedName) -> bool:
        """Read the store, and return whether a name is private by it."""
        names, document = self._read(name)
        return _is_private_in(name, names, document)

    def _read(self, name: NormalizedName) -> tuple[Snapshot[NameList], Snapshot[Project]]:
        """Return the list of names and the document of a name, as both are in the store now."""
        if self._is_local:  # two reads take less time than to share them with other callers
            return self._list_now(), self._document_now(name)
        # at the same time: the list in another thread, and the document in this one
        names = self._threads.submit(copy_context().run, self._lists.submit, "", None)
        document = self._documents.submit(name, None)
        return names.result(), document

    def _read_list(
        self, _: str, batch: Batch[None, Snapshot[NameList]]
    ) -> list[Snapshot[NameList]]:
        """Read the list of names once for all callers that wait."""
        # taken before the read, which must not be older than the question of any of them
        callers = batch.take()
        snapshot = self._list_now()
        return [snapshot for _ in callers]

    def _read_document(
        self, name: NormalizedName, batch: Batch[None, Snapshot[Project]]
    ) -> list[Snapshot[Project]]:
        """Read the document of a name once for all callers that wait."""
        # taken before the read, which must not be older than the question of any of them
        callers = batch.take()
        snapshot = self._document_now(name)
        return [snapshot for _ in callers]

    def _list_now(self) -> Snapshot[NameList]:
        """
        Return the list of names as it is in the store now.

        Raises Unavailable if the store has neither the list nor `wheelyard.json`.
        """
        snapshot = self._projects.names.read()
        # without a list, the store is new, or an empty disk is mounted in its place
        if snapshot.value is None:
            marker = self._root.get(keys.FORMAT, self._marker)
            if marker is None:
                raise damaged(
                    f"There is no {keys.FORMAT} in the store, so no name can be looked up. Is its "
                    "disk mounted, and is it the right bucket?",
                )
            if isinstance(marker, Stored):
                self._marker = marker.version
        return snapshot

    def _document_now(self, name: NormalizedName) -> Snapshot[Project]:
        """Return the document of a name as it is in the store now."""
        return self._projects.documents.get(keys.project(name), "current")


def _is_private_in(
    name: NormalizedName, names: Snapshot[NameList], document: Snapshot[Project]
) -> bool:
    """Return whether the list of names or the document of a project says that it is private."""
    if names.value is not None and name in names.value.as_set:
        return True
    return document.value is not None and not document.value.is_released
