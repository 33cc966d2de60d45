"""
What every handler shares: the index, the threads, the pages, and who may read what.

A handler asks here for a project or a caller; what is remembered comes back at once, and what is
not is fetched in a thread. Where the store is far, all who ask for the same thing meanwhile wait
for that one thread.
"""

from asyncio import get_running_loop
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.cache import WeighedCache
from wheelyard.catalog.documents import Age, Snapshot
from wheelyard.catalog.names import NameList
from wheelyard.errors import Forbidden, IndexFault, NotFound, Unavailable
from wheelyard.http.circumstances import here
from wheelyard.http.downloads import Downloads
from wheelyard.http.errors import Troubles
from wheelyard.http.exchange import Header
from wheelyard.http.flights import Flights
from wheelyard.http.pagestore import PageStore
from wheelyard.http.slots import Slots
from wheelyard.index import Index
from wheelyard.model.access import ANONYMOUS, Action, Caller, matches_any
from wheelyard.model.distribution import parse_name
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.old_metadata import core_of
from wheelyard.model.project import File, Project
from wheelyard.operations.tokens import bad_credential
from wheelyard.operations.trial import Reason
from wheelyard.storage.base import ObjectVersion

T = TypeVar("T")

VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
VARY_BY_CALLER: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Authorization")
VARY_FILE: Final[Header] = (b"vary", b"Authorization")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")

METADATA_OVERHEAD: Final = 256
"""Bytes of memory that remembered core metadata takes besides its own, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of the running server, wired."""

    index: Index
    pages: PageStore
    readers: Executor
    """Threads for reading and rendering."""
    streamers: Executor
    """Threads for bodies on their way to clients: a slow store keeps no page waiting."""
    writers: Executor
    """Threads for uploads and changes; as many as may be under way."""
    hashers: Executor
    """Threads in which passwords are checked, so that guesses keep nobody from reading."""
    logins: Slots
    """Turns at that; one thread less than there are."""
    known_logins: Slots
    """Turns for passwords that were right of late: guesses never take every thread from them."""
    verifiers: Executor
    """Threads in which signatures are checked, and Google is asked."""
    cache_control: Header
    """For pages that anybody may read."""
    long_reads: Slots
    """For what would keep the threads for reading from everybody else."""
    downloads: Downloads
    core_metadata_cache: WeighedCache[str, bytes]
    """By digest; holds nothing where the store is near."""
    troubles: Troubles
    """What the log says of a store that fails."""
    unwritable: Reason
    """Tells why the store has taken no write since the start."""
    flights: Flights = field(default_factory=Flights)

    def is_public(self, name: NormalizedName | None = None) -> bool:
        """Return whether anybody may read a project; or, for None, every one there is."""
        if name is None:
            return self._anybody.may_everywhere(Action.READ)
        return self._anybody.may(Action.READ, name)

    def caching_of_page(self, *, is_public: bool) -> tuple[Header, ...]:
        """Return for whom a page may be kept, and how long."""
        return (VARY, self.cache_control) if is_public else (VARY_BY_CALLER, PRIVATE_PAGE)

    def caching_of_file(self, name: NormalizedName) -> tuple[Header, ...]:
        """Return for whom a file may be kept: for ever, since its bytes never change."""
        return (PUBLIC_FILE,) if self.is_public(name) else (PRIVATE_FILE, VARY_FILE)

    @property
    def _anybody(self) -> Caller:
        return Caller(ANONYMOUS, self.index.public_scopes)

    async def project(
        self, name: NormalizedName, ahead: Callable[[Snapshot[Project]], object] = lambda _: None
    ) -> Snapshot[Project]:
        """
        Return a project's document.

        Args:
            name: Which project's.
            ahead: What to do with it in the thread that has read it, if one has to.
        """
        projects = self.index.projects

        def read(
            look: Callable[[NormalizedName], Snapshot[Project]] = projects.load,
        ) -> Snapshot[Project]:
            snapshot = look(name)
            ahead(snapshot)
            return snapshot

        async def afar() -> Snapshot[Project]:
            found: Snapshot[Project] | None = None
            if not projects.is_known(name):
                if projects.names.peek("ever") is None and self.flights.is_alone:
                    # this server has just started: a document that is there needs no list
                    found = await self.read(partial(read, projects.unlisted))
                if found is None or found.value is None:
                    # all the names that nobody has published wait for one look at the list
                    await self.names()
                    found = projects.peek(name)
            return found if found is not None else await self.read(read)

        return await self._looked(("project", name), partial(projects.peek, name), read, afar)

    async def listed(
        self, name: NormalizedName, ahead: Callable[[Snapshot[Project]], object] = lambda _: None
    ) -> tuple[Project, ObjectVersion]:
        """
        Return a project and its document's version; `ahead` is as for `project`.

        Raises:
            NotFound: There is none.
        """
        snapshot = await self.project(name, ahead)
        if snapshot.value is None:
            raise unreadable(name)
        return snapshot.value, snapshot.version

    async def names(self) -> Snapshot[NameList]:
        """Return the name list."""
        names = self.index.projects.names
        return await self._looked("names", names.peek, names.get, lambda: self.read(names.get))

    async def _looked(
        self,
        subject: Hashable,
        peek: Callable[[Age], Snapshot[T] | None],
        get: Callable[[], Snapshot[T]],
        afar: Callable[[], Coroutine[Any, Any, Snapshot[T]]],
    ) -> Snapshot[T]:
        """Return a document; afar, as a look tells it that did not begin too long ago."""
        fresh = peek("fresh")
        if fresh is not None:
            return fresh
        if self.index.is_near:
            return await self.read(get)
        began, freshness = self.index.ambient.monotonic(), self.index.settings.store.freshness
        old: Snapshot[T] | None = None

        def excuse() -> Snapshot[T] | None:
            nonlocal old
            old = peek("stale")
            return old

        while True:
            snapshot = await self.flights.join(subject, afar, excuse)
            # who has joined a slow look that began long ago would be told old news
            if snapshot is old or began - snapshot.asked_at < freshness:
                return snapshot

    async def read(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for reading."""
        return await self.run(self.readers, work)

    async def shared(
        self,
        subject: Hashable,
        work: Callable[[], T],
        excused: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Do blocking work in a thread for reading; afar, once for all who ask for it meanwhile.

        Near, everybody's own work is done: what began before a request may miss what it must show.

        Args:
            subject: What the work is about; the same subject always stands for the same work.
            work: What to do.
            excused: Gives an old answer, if there is one that will do; asked when the work is late.
        """
        if self.index.is_near:
            return await self.read(work)
        return await self.flights.join(subject, lambda: self.read(work), excused)

    async def write(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for changes."""
        return await self.run(self.writers, work)

    @staticmethod
    async def run(threads: Executor, work: Callable[[], T]) -> T:
        """Do blocking work in one of some threads."""
        return await get_running_loop().run_in_executor(threads, here(work))

    def core(self, name: NormalizedName, file: File) -> CoreMetadata:
        """
        Return what a listed file says of itself, waiting for the store.

        Raises:
            Unavailable: The store has lost or damaged it, or does not answer.
        """
        raw = self.core_metadata(name, file) if file.has_metadata else None
        return core_of(raw, name, file.version)

    def core_metadata(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the core metadata of a listed file that has some, waiting for the store.

        Raises:
            Unavailable: The store has lost or damaged it, or does not answer.
        """
        try:
            return self.kept_core_metadata(name, file)
        except NotFound as error:
            raise lost(file) from error

    def kept_core_metadata(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the same, where it may turn out that the file is not listed any more.

        Raises:
            NotFound: The store has lost or damaged it.
            Unavailable: The store does not answer.
        """
        held = self.core_metadata_cache.get(file.core_metadata)
        if held is not None:
            return held
        content = self.index.files.core_metadata(name, file)
        if sha256(content).hexdigest() != file.core_metadata:
            raise NotFound(f"The core metadata of {file.filename} is not what it was.")
        weight = METADATA_OVERHEAD + len(content)
        self.core_metadata_cache.put(file.core_metadata, content, weight)
        return content

    async def lists(self, name: NormalizedName, file: File) -> bool:
        """Return whether a file is listed, as the store has it now."""
        key = keys.project(name)
        document = (await self.read(lambda: self.index.projects.documents.get(key, "now"))).value
        return document is not None and document.by_filename.get(file.filename) == file

    def require_read(self, caller: Caller, name: NormalizedName) -> None:
        """
        Return if `caller` may read `name`; decided by patterns only, never by what exists.

        Raises:
            Unauthenticated: Nobody in particular asks.
            Forbidden: The name matches `[access] private_names`.
            NotFound: Any other name.
        """
        if not caller.may(Action.READ, name):
            raise self._refused(caller, name)

    def require_reading(self, caller: Caller) -> None:
        """
        Return if somebody in particular asks, or anybody may read some project.

        Whoever is known, and may read nothing, finds an empty index.

        Raises:
            Unauthenticated: Neither is the case.
        """
        if caller.is_anonymous and not caller.may_anywhere(Action.READ):
            raise bad_credential()

    def _refused(self, caller: Caller, name: NormalizedName) -> IndexFault:
        if caller.is_anonymous:
            return bad_credential()
        if matches_any(self.index.private_patterns, name):
            message = f"{caller.who} may not read {name!r}."
            return Forbidden(f"{message} Use a credential that may.", short=message)
        return unreadable(name)


def name_in(asked: str) -> NormalizedName:
    """
    Return the project that a segment of a path names.

    Raises:
        NotFound: No project can have such a name.
    """
    try:
        return parse_name(asked)
    except IndexFault as error:
        raise NotFound(error.message, short="No such project.") from error


def lost(file: File) -> Unavailable:
    """Return the fault for a listed file whose bytes are not there."""
    # not 404: installers take that for "not here" and go elsewhere
    return Unavailable(
        f"The store has lost {file.filename}. Run 'wheelyard check' and restore it from a backup.",
        short="The file is missing from storage.",
    )


def unreadable(name: str) -> NotFound:
    """Return the one fault for what is not there and for what this caller may not read."""
    return NotFound(
        f"There is no project {name[:60]!a} here, or your credential may not read it. "
        "Check the spelling and the credential.",
        short="No such project.",
    )
