"""Documents of the index for handlers: cached, and read once for all requests that wait."""

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Age, Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.single_flight import SingleFlight
from wheelyard.http.security.read_policy import project_not_found
from wheelyard.http.thread_pools import ThreadPools
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index

T = TypeVar("T")

OnRead = Callable[[Snapshot[Project]], object]
"""What is done with a document in the thread that has read it."""


class DocumentReader:
    """The documents of an index, for handlers."""

    def __init__(self, index: Index, pools: ThreadPools) -> None:
        self._projects = index.projects
        self._pools = pools
        self._is_local = index.is_local
        self._now = index.runtime.monotonic
        self._freshness = index.settings.store.freshness
        self.in_flight = SingleFlight()

    async def load_project(
        self, name: NormalizedName, on_read: OnRead = lambda _: None
    ) -> Snapshot[Project]:
        """Return a project's document; the thread that reads it calls `ahead`."""
        projects = self._projects

        def read(
            look: Callable[[NormalizedName], Snapshot[Project]] = projects.load,
        ) -> Snapshot[Project]:
            snapshot = look(name)
            on_read(snapshot)
            return snapshot

        async def afar() -> Snapshot[Project]:
            found: Snapshot[Project] | None = None
            if not projects.is_known(name):
                if projects.names.peek("ever") is None and self.in_flight.is_alone:
                    # after a start: a document that is there needs no list
                    found = await self._pools.run_read(partial(read, projects.unlisted))
                if found is None or found.value is None:
                    # all unknown names wait for one look at the list
                    await self.load_names()
                    found = projects.peek(name)
            return found if found is not None else await self._pools.run_read(read)

        return await self._load(("project", name), partial(projects.peek, name), read, afar)

    async def require_project(
        self, name: NormalizedName, on_read: OnRead = lambda _: None
    ) -> tuple[Project, ObjectVersion]:
        """Return a project and its document's version, or raise NotFound."""
        snapshot = await self.load_project(name, on_read)
        if snapshot.value is None:
            raise project_not_found(name)
        return snapshot.value, snapshot.version

    async def load_names(self) -> Snapshot[NameList]:
        """Return the name list."""
        names = self._projects.names
        afar = partial(self._pools.run_read, names.get)
        return await self._load("names", names.peek, names.get, afar)

    async def is_file_listed(self, name: NormalizedName, file: File) -> bool:
        """Return whether a file is listed, as the store has it now."""
        look = partial(self._projects.documents.get, keys.project(name), "now")
        document = (await self._pools.run_read(look)).value
        return document is not None and document.by_filename.get(file.filename) == file

    async def coalesce(
        self,
        subject: Hashable,
        work: Callable[[], T],
        stale: Callable[[], T | None] = lambda: None,
    ) -> T:
        """Do blocking work in a thread; afar, once for all who wait."""
        if self._is_local:
            return await self._pools.run_read(work)
        return await self.in_flight.run(subject, partial(self._pools.run_read, work), stale)

    async def _load(
        self,
        subject: Hashable,
        peek: Callable[[Age], Snapshot[T] | None],
        get: Callable[[], Snapshot[T]],
        afar: Callable[[], Coroutine[Any, Any, Snapshot[T]]],
    ) -> Snapshot[T]:
        fresh = peek("fresh")
        if fresh is not None:
            return fresh
        if self._is_local:
            return await self._pools.run_read(get)
        began = self._now()
        old: Snapshot[T] | None = None

        def excuse() -> Snapshot[T] | None:
            nonlocal old
            old = peek("stale")
            return old

        while True:
            snapshot = await self.in_flight.run(subject, afar, excuse)
            # a slow look that began long ago tells old news
            if snapshot is old or began - snapshot.asked_at < self._freshness:
                return snapshot
