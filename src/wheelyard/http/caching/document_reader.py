"""
Async reads of project documents and of the name list, coalesced for a remote store.

On a remote store, all requests that need one document wait for one thread (single-flight), and a
slow read may be answered with a stale document. On a local store each request reads for itself: a
read that began earlier may miss a write that has ended since.
"""

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

from packaging.utils import NormalizedName

from wheelyard.authentication.read_policy import project_not_found
from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import MaxAge, Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.single_flight import SingleFlight
from wheelyard.http.thread_pools import ThreadPools
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index

T = TypeVar("T")


class DocumentReader:
    """Reads project documents and the name list for request handlers, from cache or store."""

    def __init__(self, index: Index, pools: ThreadPools) -> None:
        self._projects = index.projects
        self._pools = pools
        self._is_local = index.is_local
        self._now = index.runtime.monotonic
        self._freshness = index.settings.store.freshness
        self.in_flight = SingleFlight()

    async def load_project(self, name: NormalizedName) -> Snapshot[Project]:
        """Return the snapshot of a project's document, which may be stale if the store is slow."""
        projects = self._projects
        read = partial(projects.load, name)

        async def read_remote() -> Snapshot[Project]:
            found: Snapshot[Project] | None = None
            if not projects.was_seen(name):
                if projects.names.peek("any") is None and self.in_flight.has_one_task:
                    # after a start: an existing document needs no name list
                    found = await self._pools.run_read(partial(projects.load_unlisted, name))
                if found is None or found.value is None or not found.value.exists:
                    # requests for all unknown names share one read of the name list
                    await self.load_names()
                    found = projects.peek(name)
            return found if found is not None else await self._pools.run_read(read)

        return await self._load(("project", name), partial(projects.peek, name), read, read_remote)

    def prefetch_project(self, name: NormalizedName) -> None:
        """
        Begin to read a project's document, for a `load_project` that follows; do not wait for it.

        Do nothing for a fresh document, or for a name that is not known to exist.
        """
        projects = self._projects
        if projects.was_seen(name) and projects.peek(name) is None:
            read = partial(self._pools.run_read, partial(projects.load, name))
            self.in_flight.start(("project", name), read)

    def peek_expired(self, name: NormalizedName) -> Snapshot[Project] | None:
        """Return a project's cached document if it must be revalidated; none on a local store."""
        if self._is_local or self._projects.peek(name) is not None:
            return None
        return self._projects.peek(name, "any")

    async def require_project(self, name: NormalizedName) -> tuple[Project, ObjectVersion]:
        """Return a project and its document's version, or raise NotFound; see `load_project`."""
        snapshot = await self.load_project(name)
        if snapshot.value is None:
            raise project_not_found(name)
        return snapshot.value, snapshot.version

    async def load_names(self) -> Snapshot[NameList]:
        """Return a snapshot of the list of all project names, a stale one if the store is slow."""
        names = self._projects.names
        read_remote = partial(self._pools.run_read, names.get)
        return await self._load("names", names.peek, names.get, read_remote)

    async def is_file_listed(self, name: NormalizedName, file: File) -> bool:
        """Return whether the project's document, read anew from the store, lists exactly `file`."""
        read = partial(self._projects.documents.get, keys.project(name), "current")
        document = (await self._pools.run_read(read)).value
        return document is not None and document.by_filename.get(file.filename) == file

    async def coalesce(
        self,
        key: Hashable,
        work: Callable[[], T],
        get_stale: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Return the result of blocking work, run in a thread.

        On a remote store, concurrent calls with one `key` share one run. If that is slow, they
        return the value of `get_stale` unless it is None.
        """
        if self._is_local:
            return await self._pools.run_read(work)
        return await self.in_flight.run(key, partial(self._pools.run_read, work), get_stale)

    async def _load(
        self,
        key: Hashable,
        peek: Callable[[MaxAge], Snapshot[T] | None],
        read: Callable[[], Snapshot[T]],
        read_remote: Callable[[], Coroutine[Any, Any, Snapshot[T]]],
    ) -> Snapshot[T]:
        """Return a fresh snapshot, cached or read; if a remote read is slow, a stale one."""
        fresh = peek("fresh")
        if fresh is not None:
            return fresh
        if self._is_local:
            return await self._pools.run_read(read)
        started_at = self._now()
        stale: Snapshot[T] | None = None

        def get_stale() -> Snapshot[T] | None:
            nonlocal stale
            stale = peek("stale")
            return stale

        while True:
            snapshot = await self.in_flight.run(key, read_remote, get_stale)
            # a shared read that began long before this request may be outdated already
            if snapshot is stale or started_at - snapshot.attempted_at < self._freshness:
                return snapshot
