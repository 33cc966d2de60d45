"""
The objects that request handlers share, built once for each process, its thread pools and limits.

A `ConcurrencyLimit` leaves slots for other clients. Each request holds one slot while it runs. A
client is a string, such as a principal or a network. It gets another slot only while it holds fewer
than are free. So one client has at most half of the slots, the next one half of the rest, and with
n slots it takes more than log2(n) clients with slow requests to keep another one waiting. Clients
that wait take turns.
"""

import logging
import os
from asyncio import Future, Task, create_task, get_running_loop, shield, wait
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import MAX_PASSWORD_CHECKS
from wheelyard.authentication.authorization import ReadPolicy, project_not_found
from wheelyard.catalog.projects import ProjectNames
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.threads import Turns
from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable
from wheelyard.http.file_delivery import CoreMetadataCache, FileDelivery
from wheelyard.http.logs import StoreErrorLog
from wheelyard.http.page_cache import PageCache
from wheelyard.model.access import Caller
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.project import Project
from wheelyard.operations.check_store import Reason
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.documentation import Documentation, find_folder
from wheelyard.operations.server_state import ServerState, WorkQueue
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.settings.sections import MIB
from wheelyard.storage.base import ObjectVersion
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.wiring.build import Index

if TYPE_CHECKING:
    from wheelyard.downloads.reading import Downloads
    from wheelyard.http.upstream_reader import UpstreamReader
    from wheelyard.pictures.proxy import PictureProxy

logger = logging.getLogger("wheelyard")


MAX_WAITING_PER_CLIENT: Final = 256


class ConcurrencyLimit:
    """
    Slots for one kind of work.

    Args:
        count: The number of slots.
        work: The plural name of the work, for messages.
        wait_timeout: How many seconds a request waits for a slot.
        max_waiting: How many requests of one client may wait.
    """

    def __init__(
        self,
        count: int,
        work: str,
        *,
        wait_timeout: float = 30.0,
        max_waiting: int = MAX_WAITING_PER_CLIENT,
    ) -> None:
        self._free = count
        self._work = work
        self._wait_timeout = wait_timeout
        self._max_waiting = max_waiting
        self._held = Counter[str]()
        self._queues: dict[str, deque[Future[None]]] = {}
        """Waiting requests by client, least recently served client first."""

    @property
    def queue(self) -> WorkQueue:
        """How much work runs and waits now. Any thread may ask."""
        running, waiting = list(self._held.values()), list(self._queues.values())
        return WorkQueue(self._work, sum(running), sum(map(len, waiting)))

    @asynccontextmanager
    async def acquire(self, client: str) -> AsyncIterator[None]:
        """
        Wait for a slot for one request of `client`, and hold it within an `async with` block.

        Raises Unavailable (code `overloaded`) after `wait_timeout` seconds, or at once if
        `max_waiting` requests of the client wait already.
        """
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self._max_waiting:
            raise self._overloaded()
        # all of this runs in one event loop, so nothing changes between two `await`
        turn: Future[None] = get_running_loop().create_future()
        queue.append(turn)
        self._serve()
        try:
            if not turn.done():
                await wait((turn,), timeout=self._wait_timeout)
            if not turn.done():
                raise self._overloaded()
            yield
        finally:
            self._leave(client, turn)

    def _serve(self) -> None:
        """Give slots to clients that wait, one to each that may have another."""
        for client, queue in tuple(self._queues.items()):
            if self._held[client] < self._free:
                self._free -= 1
                self._held[client] += 1
                queue.popleft().set_result(None)
                del self._queues[client]
                if queue:  # behind the other clients
                    self._queues[client] = queue

    def _leave(self, client: str, turn: Future[None]) -> None:
        # a caller that was cancelled while it waited may have been given its slot in the meantime
        if turn.done():
            self._free += 1
            self._held -= Counter((client,))
            self._serve()
        else:
            self._queues[client].remove(turn)
            if not self._queues[client]:
                del self._queues[client]

    def _overloaded(self) -> Unavailable:
        return Unavailable(
            f"Too many {self._work} are under way.",
            code=OVERLOADED,
            retry_after=RETRY_AFTER_SECONDS,
        )


MAX_WAITING_PASSWORDS: Final = 64
"""How many logins of one client network may wait for password hashing."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ThreadPools:
    """
    The thread pools of one server process.

    The first arguments are the sizes of three of them. Uploads take `turns`, if there are any.
    """

    def __init__(self, reads: int, writes: int, passwords: int, turns: Turns | None) -> None:
        self.reads = ThreadPoolExecutor(reads, "read")  # store reads and rendering
        self.streams = ThreadPoolExecutor(64, "stream")  # response bodies, chunk by chunk
        self.writes = ThreadPoolExecutor(writes, "write")  # uploads and changes
        # apart, so that guessed passwords do not delay reads
        self.passwords = ThreadPoolExecutor(passwords, "hash")
        self.tokens = ThreadPoolExecutor(16, "verify")  # signatures, requests to Google
        self._turns = turns

    def run_upload(self, work: Callable[[*Ts], T], *args: *Ts) -> Coroutine[Any, Any, T]:
        """Run an upload's blocking work in the pool for writes, in turn, and return its result."""
        if self._turns is None:
            return self.run_in(self.writes, work, *args)
        return self.run_in(self.writes, self._turns.run, partial(work, *args))

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run blocking work in a pool, and return its result."""
        # a thread has no CURRENT_REQUEST of its own, and the log asks for it there
        run = copy_context().run
        return await get_running_loop().run_in_executor(pool, run, work, *args)

    def close(self) -> None:
        """Wait for running work and for queued writes, and cancel what other pools have queued."""
        self.writes.shutdown()
        for pool in (self.reads, self.streams, self.passwords, self.tokens):
            pool.shutdown(cancel_futures=True)


class NoThreads(ThreadPools):
    """Runs all work at once, in the thread that asks, as a static site is made page by page."""

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run blocking work, and return its result."""
        del pool
        return work(*args)


class StaticSite(Struct, frozen=True, kw_only=True):
    """How pages for a static site differ from those of a server."""

    caller: Caller
    """The caller of every request: nobody who is signed in, with the right to read everything."""
    names: ProjectNames
    """The names of the projects that the site has."""
    files_url: str
    """Where files are left, absolute, or an empty text if the site has them."""


class ServerContext(Struct, frozen=True, kw_only=True):
    """The parts of a running server process that request handlers share."""

    index: Index
    definitions: Mapping[str, IndexDefinition]
    """All indexes that have a name, as they were when this was made."""
    pools: ThreadPools
    upstream: "UpstreamReader | None"
    """None without an upstream index."""
    read_policy: ReadPolicy
    pages: PageCache
    remembered: LruCache[Any, Any]
    """The memory for pages, which the requests that the fast path remembers share with them."""
    pictures: "PictureProxy | None"
    """None unless pictures of other servers are fetched by this index."""
    descriptions: Descriptions
    documentation: Documentation
    file_delivery: FileDelivery
    core_metadata: CoreMetadataCache
    password_limit: ConcurrencyLimit
    """Limits the hashing of unknown passwords to one less than there are threads."""
    known_password_limit: ConcurrencyLimit
    """Limits the hashing of passwords that were correct lately, which may use every thread."""
    long_read_limit: ConcurrencyLimit
    store_errors: StoreErrorLog
    site: StaticSite | None
    """None for a server."""
    write_failure: Reason
    """Returns why no write to the store has succeeded since the start, or an empty text."""

    @property
    def downloads(self) -> "Downloads | None":
        """The counts of downloads, or None if they are not counted, as for a static site."""
        return None if self.site else self.index.downloads

    @property
    def files_from_page(self) -> str:
        """The URL of the folder of files, relative to a project's page or absolute."""
        return (self.site.files_url if self.site else "") or FILES_FROM_DETAIL

    @property
    def files_from_root(self) -> str:
        """The URL of the folder of files, absolute or from the root of the host."""
        return (self.site.files_url if self.site else "") or f"{self._root}/files"

    @property
    def packages_from_root(self) -> str:
        """The URL of the same folder under the name that it has at PyPI, as bandersnatch wants."""
        return f"{self._root}/packages"

    @property
    def _root(self) -> str:
        server = self.index.settings.server
        return server.public_url.rstrip("/") or server.path_prefix

    def require_project(self, name: NormalizedName) -> tuple[Project, ObjectVersion]:
        """
        Return a project and its document's version, which may be read from the store.

        Raises NotFound if there is no such project. Raises Unavailable if the store does not
        answer, or the document is damaged.
        """
        snapshot = self.index.projects.load(name)
        if snapshot.value is None:
            raise project_not_found(name)
        return snapshot.value, snapshot.version


def build_context(
    index: Index, write_failure: Reason, site: StaticSite | None = None
) -> ServerContext:
    """
    Return the `ServerContext` of a process that serves `index`, or makes a static site of it.

    Raises Invalid or Unavailable, as `Policy.load` does, if there is an upstream index.
    """
    http = index.settings.http
    read_threads = 8 if index.is_local else 32  # remote reads mostly wait for the network
    unknown_passwords = max(1, min(os.cpu_count() or 1, MAX_PASSWORD_CHECKS) - 1)
    # on a bucket, uploads wait for the network more than they compute
    turns = Turns(index.runtime.monotonic) if index.is_local else None
    kind = NoThreads if site and index.is_local else ThreadPools
    pools = kind(read_threads, http.concurrent_uploads, unknown_passwords + 1, turns)
    responses, policy = LruCache[Any, Any](http.page_cache * MIB), index.read_policy
    documents, pictures = index.stores.documents, None if site else _pictures(index)
    if site or index.settings.server.read_only:
        documents = ReadOnlyStore(documents)
    descriptions = Descriptions(
        documents,
        index.runtime.monotonic,
        picture_path=pictures.paths.path_of if pictures else None,
        waits=site is not None,
    )
    state = ServerState(index.runtime.now(), write_failure)
    index = replace(index, uploads=replace(index.uploads, descriptions=descriptions), server=state)
    long_read_limit = ConcurrencyLimit(read_threads // 4, "long answers")
    state.watch(long_read_limit)
    return ServerContext(
        index=index,
        definitions={},
        pools=pools,
        upstream=_upstream_reader(index),
        read_policy=replace(policy, anonymous=site.caller) if site else policy,
        pages=PageCache(responses),
        remembered=responses,
        pictures=pictures,
        descriptions=descriptions,
        documentation=Documentation(find_folder()),
        file_delivery=FileDelivery(index),
        core_metadata=CoreMetadataCache(index.files, LruCache(0 if index.is_local else 8 * MIB)),
        password_limit=_password_limit(unknown_passwords),
        known_password_limit=_password_limit(unknown_passwords + 1),
        long_read_limit=long_read_limit,
        store_errors=StoreErrorLog(index.runtime, is_local=index.is_local),
        site=site,
        write_failure=write_failure,
    )


def context_of_index(
    whole: ServerContext, index: Index, definitions: Mapping[str, IndexDefinition]
) -> ServerContext:
    """
    Return the `ServerContext` of an index that has a name, in the process of `whole`.

    It has pages of its own, and shares threads, limits, and what is found by digest.
    """
    size = index.settings.http.page_cache * MIB
    if index.definition.day is not None:  # there may be many of them
        size //= 16
    responses = LruCache[Any, Any](size)
    uploads = replace(index.uploads, descriptions=whole.descriptions)
    upstream = None
    if whole.upstream is not None and index.upstream is not None:
        upstream = whole.upstream.of_another_index(index.upstream)
    policy = index.read_policy
    return replace(
        whole,
        index=replace(index, uploads=uploads, server=whole.index.server),
        definitions=definitions,
        upstream=upstream,
        read_policy=replace(policy, anonymous=whole.site.caller) if whole.site else policy,
        pages=PageCache(responses),
        remembered=responses,
    )


def _pictures(index: Index) -> "PictureProxy | None":
    """
    Return what fetches pictures of other servers, or None if they are links.

    If there is no key that signs their paths, and none can be made, they are links, and the log
    says so.
    """
    settings, records = index.settings, index.sessions.records
    if settings.web.pictures == "links":
        return None
    # nothing of it is loaded while it is off
    from wheelyard.pictures.proxy import PictureProxy  # noqa: PLC0415
    from wheelyard.pictures.signing import PicturePaths  # noqa: PLC0415

    key, why = None, "server.read_only is set, and no other server has made it"
    try:
        key = records.key() if settings.server.read_only else records.require_key()
    except Unavailable as fault:
        why = fault.message
    if key is None:
        logger.warning("pictures are links, as there is no key that signs their paths: %s", why)
        return None
    return PictureProxy(PicturePaths(key, settings.server.path_prefix), index.runtime)


def _upstream_reader(index: Index) -> "UpstreamReader | None":
    if index.upstream is None:
        return None
    # no server without an upstream index needs it
    from wheelyard.http.upstream_reader import UpstreamReader  # noqa: PLC0415

    index.upstream.policy.load()
    reader = UpstreamReader(index.upstream, is_local=index.is_local)
    if index.server is not None:
        index.server.watch(reader.limit)
    if not index.settings.server.read_only:
        reader.complete_names()
    return reader


def _password_limit(count: int) -> ConcurrencyLimit:
    return ConcurrencyLimit(count, "logins", wait_timeout=10.0, max_waiting=MAX_WAITING_PASSWORDS)


STALE_AFTER_SECONDS: Final = 1.0
"""How long a shared task runs before its callers get a stale value, if there is one."""


class SingleFlight:
    """Runs work at most once at a time for each key, in one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}

    async def run(
        self,
        key: Hashable,
        work: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        get_stale: Callable[[], T | None] | None = None,
    ) -> T:
        """
        Return the result of the task that runs for `key`, or else start one with `work(*args)`.

        If the task has run for STALE_AFTER_SECONDS, and `get_stale` returns a value, return that
        value instead. A cancelled caller does not cancel the task. Raises what `work` raises.
        """
        now = get_running_loop().time()
        if key not in self._tasks:
            started = create_task(work(*args))
            started.add_done_callback(partial(self._finish, key))
            self._tasks[key] = started, now
        task, started_at = self._tasks[key]
        if get_stale is not None:
            await wait((task,), timeout=max(0.0, started_at + STALE_AFTER_SECONDS - now))
            stale = None if task.done() else get_stale()
            if stale is not None:
                return stale
        return await shield(task)  # others wait for it, too

    def _finish(self, key: Hashable, task: Task[Any]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that is never retrieved
