"""
Blocking work in threads, and documents that are read once for all who wait.

Where the store is far, all who want the same thing wait for one thread, in the event loop, and
nobody waits long where an old answer will do. Near, everybody reads: an earlier read may be old.
"""

from asyncio import Task, create_task, get_running_loop, shield, wait
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Age, Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.http.observability.request_record import in_context
from wheelyard.http.security.read_policy import unreadable
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index

T = TypeVar("T")
Ahead = Callable[[Snapshot[Project]], object]
"""What is done with a document in the thread that has read it."""

LATE: Final = 1.0
"""Seconds of work after which an old answer is taken, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """The threads of a server, by what they are for."""

    readers: Executor
    """For reading and rendering."""
    streamers: Executor
    """For bodies on their way to clients."""
    writers: Executor
    """For uploads and changes."""
    hashers: Executor
    """For passwords, so that guesses keep nobody from reading."""
    verifiers: Executor
    """For signatures, and for questions to Google."""

    async def read(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for reading."""
        return await get_running_loop().run_in_executor(self.readers, in_context(work))

    async def write(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for changes."""
        return await get_running_loop().run_in_executor(self.writers, in_context(work))

    @staticmethod
    async def run(threads: Executor, work: Callable[[], T]) -> T:
        """Do blocking work in one of some threads."""
        return await get_running_loop().run_in_executor(threads, in_context(work))

    def close(self) -> None:
        """Let the changes that are under way finish, and nothing else."""
        self.writers.shutdown()
        for threads in (self.readers, self.streamers, self.hashers, self.verifiers):
            threads.shutdown(cancel_futures=True)


class SingleFlight:
    """Work that is under way in an event loop, by what it is about."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}

    @property
    def is_alone(self) -> bool:
        """Whether nothing is under way, but the work that asks."""
        return len(self._tasks) == 1

    async def join(
        self,
        subject: Hashable,
        work: Callable[[], Coroutine[Any, Any, T]],
        excused: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Return what the work about `subject` gives: that which is under way, or new work.

        Who goes away does so alone. When the work is late, `excused` may give an old answer.
        """
        now = get_running_loop().time()
        if subject not in self._tasks:
            task = create_task(work())
            task.add_done_callback(partial(self._land, subject))
            self._tasks[subject] = task, now
        task, begun = self._tasks[subject]
        await wait((task,), timeout=max(0.0, begun + LATE - now))
        old = None if task.done() else excused()
        return await shield(task) if old is None else old

    def _land(self, subject: Hashable, task: Task[Any]) -> None:
        del self._tasks[subject]
        if not task.cancelled():
            task.exception()  # what nobody looks at is reported


class DocumentReads:
    """The documents of an index, for handlers."""

    def __init__(self, index: Index, threads: Threads) -> None:
        self._projects = index.projects
        self._threads = threads
        self._is_local = index.is_local
        self._now = index.runtime.monotonic
        self._freshness = index.settings.store.freshness
        self.in_flight = SingleFlight()

    async def project(
        self, name: NormalizedName, ahead: Ahead = lambda _: None
    ) -> Snapshot[Project]:
        """Return a project's document; the thread that reads it calls `ahead`."""
        projects = self._projects

        def read(
            look: Callable[[NormalizedName], Snapshot[Project]] = projects.load,
        ) -> Snapshot[Project]:
            snapshot = look(name)
            ahead(snapshot)
            return snapshot

        async def afar() -> Snapshot[Project]:
            found: Snapshot[Project] | None = None
            if not projects.is_known(name):
                if projects.names.peek("ever") is None and self.in_flight.is_alone:
                    # after a start: a document that is there needs no list
                    found = await self._threads.read(partial(read, projects.unlisted))
                if found is None or found.value is None:
                    # all unknown names wait for one look at the list
                    await self.names()
                    found = projects.peek(name)
            return found if found is not None else await self._threads.read(read)

        return await self._looked(("project", name), partial(projects.peek, name), read, afar)

    async def listed(
        self, name: NormalizedName, ahead: Ahead = lambda _: None
    ) -> tuple[Project, ObjectVersion]:
        """Return a project and its document's version, or raise NotFound."""
        snapshot = await self.project(name, ahead)
        if snapshot.value is None:
            raise unreadable(name)
        return snapshot.value, snapshot.version

    async def names(self) -> Snapshot[NameList]:
        """Return the name list."""
        names = self._projects.names
        afar = partial(self._threads.read, names.get)
        return await self._looked("names", names.peek, names.get, afar)

    async def lists(self, name: NormalizedName, file: File) -> bool:
        """Return whether a file is listed, as the store has it now."""
        look = partial(self._projects.documents.get, keys.project(name), "now")
        document = (await self._threads.read(look)).value
        return document is not None and document.by_filename.get(file.filename) == file

    async def shared(
        self,
        subject: Hashable,
        work: Callable[[], T],
        excused: Callable[[], T | None] = lambda: None,
    ) -> T:
        """Do blocking work in a thread; afar, once for all who wait."""
        if self._is_local:
            return await self._threads.read(work)
        return await self.in_flight.join(subject, partial(self._threads.read, work), excused)

    async def _looked(
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
            return await self._threads.read(get)
        began = self._now()
        old: Snapshot[T] | None = None

        def excuse() -> Snapshot[T] | None:
            nonlocal old
            old = peek("stale")
            return old

        while True:
            snapshot = await self.in_flight.join(subject, afar, excuse)
            # a slow look that began long ago tells old news
            if snapshot is old or began - snapshot.asked_at < self._freshness:
                return snapshot
