"""
Which names are private: what `[upstream]` must never look up elsewhere.

A name is private if a pattern of the settings matches it, if it is in a namespace, if it is in the
list of projects, or if it has a document. So it stays private after all of its files are deleted,
and also if it was published by a process that knows no upstream index, which lists a name only
after the commit. Only `wheelyard names release` ends that: then the name is not listed, and the
document says so.

That a name is private may come from a cache. That it is not is read from the store each time:
another process may publish it the next second.

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
"""Names of a remote store that are looked up at a time: as many as a server has threads for."""


class Absence(Struct, frozen=True):
    """The versions of what says that a name is not private in one index."""

    index: str
    """The name of the index."""
    names: ObjectVersion
    """That of the list of names."""
    document: ObjectVersion
    """That of the document of the project."""


def _is_in_none(_: NormalizedName) -> bool:
    """Say that there is no namespace."""
    return False


def _no_index() -> "Sequence[PrivateNames]":
    """Say that an index shows no other one."""
    return ()


class PrivateNames:
    """
    Tells which names are private, and makes names private.

    Args:
        projects: The projects of the index, and the list of their names.
        patterns: Those of `[upstream] private` and `[access] private_names`.
        index: The name of the index.
        root: Has `wheelyard.json`, and is that of the projects of main.
        is_in_namespace: Returns whether a name is in a namespace, which may be read for that.
        other_indexes: Returns the private names of each other index that the index shows, which
            count as well. None for none.
        is_local: Whether a read of the store takes no time, so that two need no two threads.
    """

    def __init__(  # noqa: PLR0913 - all that it depends on
        self,
        projects: Projects,
        patterns: NamePatterns,
        root: Store,
        *,
        is_local: bool,
        is_in_namespace: Callable[[NormalizedName], bool] = _is_in_none,
        index: str = MAIN,
        other_indexes: "Callable[[], Sequence[PrivateNames]] | None" = None,
    ) -> None:
        self._projects = projects
        self._root = root
        self._index = index
        self._other_indexes = other_indexes or _no_index
        self._is_local = is_local
        self._threads = ThreadPoolExecutor(LIST_THREADS, "names")  # none is started before its use
        # who asks while a read is running shares the one after it
        self._lists = GroupCommit[str, None, Snapshot[NameList]](self._read_list)
        self._documents = GroupCommit[NormalizedName, None, Snapshot[Project]](self._read_document)
        self._marker: ObjectVersion | None = None
        """The version of `wheelyard.json`, without which the store is not mounted or is another."""
        self._patterns = patterns
        self._is_in_namespace = is_in_namespace

    def matches_pattern(self, name: NormalizedName) -> bool:
        """Return whether a pattern of the settings makes a name private."""
        return self._patterns.match(name)

    def is_reserved(self, name: NormalizedName) -> bool:
        """
        Return whether a name is private whether or not there is such a project.

        A pattern or a namespace says so. Raises Unavailable if the namespaces cannot be read.
        """
        return self._patterns.match(name) or self._is_in_namespace(name)

    def is_private(self, name: NormalizedName) -> bool:
        """
        Return whether a name is private.

        The store is read unless a pattern or the cache says yes. The answer may be True for a name
        that was released a moment ago. It is never False for a name that was private when this was
        called. Raises Unavailable if nothing is cached of the name, and the store does not answer,
        is missing, or has a damaged document. Raises it, too, if the namespaces cannot be read.
        """
        indexes = self._other_indexes()
        if self.is_private_here(name):
            return True
        return any(index.is_private_here(name) for index in indexes)

    def is_private_here(self, name: NormalizedName) -> bool:
        """
        Return whether a name is private by the settings and by this index alone.

        Raises Unavailable if nothing is cached of the name, and the store does not answer, is
        missing, or has a damaged document. Raises it, too, if the namespaces cannot be read.
        """
        if self.is_private_in_memory(name) or self._is_in_namespace(name):
            return True
        try:
            # last: what was read for the answer may show that an older copy was put in place
            return (
                self._is_listed(name) or self._is_stored(name) or self._projects.vanished.has(name)
            )
        except Unavailable:
            # an error is never a no: the caller would ask the upstream index for a private name
            if self._projects.is_remembered(name):
                return True
            raise

    def absence(self, name: NormalizedName) -> "tuple[Absence, ...] | None":
        """
        Return the cached versions of each list of names and document that say: not private.

        Returns None if the cache lacks one, if they say that the name is private, or on a remote
        store, whose current versions nobody knows without reading it.
        """
        absences = [self._absence(name)]
        absences += [index._absence(name) for index in self._other_indexes()]  # noqa: SLF001 - of the same class
        present = tuple(absence for absence in absences if absence is not None)
        # one index that cannot say it is enough: the name may be private there
        if len(present) < len(absences):
            return None
        return present

    def _absence(self, name: NormalizedName) -> "Absence | None":
        """Return the cached versions by which a name is not private in this index alone."""
        names = self._projects.names.peek("any")
        document = self._projects.documents.peek(keys.project(name), "any")
        if not self._is_local or names is None or document is None:
            return None
        if _is_private_in(name, names, document) or self._is_lost(name):
            return None
        return Absence(self._index, names.version, document.version)

    def _is_lost(self, name: NormalizedName) -> bool:
        """Return whether a name has vanished, or may have."""
        return name in self._projects.vanished.projects or name in self._projects.names.dropped

    def claim(self, *names: NormalizedName) -> None:
        """
        Make names private: list them, before their first file is published.

        Raises Unavailable if the store does not answer, if the list is damaged, or if too many
        writers change it.
        """
        self._projects.names.claim(*names)

    def is_private_in_memory(self, name: NormalizedName) -> bool:
        """
        Return whether a pattern or a cached document says that a name is private, without I/O.

        So does a document that has vanished with its name: an older copy of the store releases no
        name. If not, the name may be private all the same.
        """
        if self._patterns.match(name) or name in self._projects.vanished.projects:
            return True
        cached = self._projects.documents.peek(keys.project(name), "any")
        return cached is not None and cached.value is not None and bool(cached.value.files)

    def complete_list(self) -> None:
        """
        List the projects that are not listed: the list may come from an older backup.

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
        project = self._projects.documents.get(keys.project(name), "current").value
        return project is not None and project.exists

    def _is_listed(self, name: NormalizedName) -> bool:
        """Return whether the cached list has a name. No on a local store, where it is read anew."""
        if self._is_local:
            return False
        names = self._projects.names.peek()
        return names is not None and names.value is not None and name in names.value.as_set

    def _is_stored(self, name: NormalizedName) -> bool:
        """Return whether the store says now that a name is private."""
        names, document = self._read(name)
        return _is_private_in(name, names, document)

    def _read(self, name: NormalizedName) -> tuple[Snapshot[NameList], Snapshot[Project]]:
        """Return the list of names and the document of one, as both are in the store now."""
        if self._is_local:  # two looks take less than to share them would
            return self._list_now(), self._document_now(name)
        # the list in another thread, the document in this one: a bucket answers both at once
        names = self._threads.submit(copy_context().run, self._lists.submit, "", None)
        document = self._documents.submit(name, None)
        return names.result(), document

    def _read_list(
        self, _: str, batch: Batch[None, Snapshot[NameList]]
    ) -> list[Snapshot[NameList]]:
        # taken before the read begins: what is read must be newer than the question of each caller
        callers = batch.take()
        snapshot = self._list_now()
        return [snapshot for _ in callers]

    def _read_document(
        self, name: NormalizedName, batch: Batch[None, Snapshot[Project]]
    ) -> list[Snapshot[Project]]:
        # taken before the read begins: what is read must be newer than the question of each caller
        callers = batch.take()
        snapshot = self._document_now(name)
        return [snapshot for _ in callers]

    def _list_now(self) -> Snapshot[NameList]:
        snapshot = self._projects.names.read()
        # no list: the store is new, or an empty disk is mounted in its place
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
        return self._projects.documents.get(keys.project(name), "current")


def _is_private_in(
    name: NormalizedName, names: Snapshot[NameList], document: Snapshot[Project]
) -> bool:
    """Return whether the list of names or the document of a project says that it is private."""
    if names.value is not None and name in names.value.as_set:
        return True
    return document.value is not None and not document.value.is_released
