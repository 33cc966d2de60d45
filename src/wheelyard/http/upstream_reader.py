"""
Pages of upstream indexes for request handlers.

That a name is not private is read from the store for each request, and again if an upstream or its
cache in the store was waited for. What waits for the network has threads of its own, so private
packages are read as fast while an upstream does not answer. All requests for a name wait together.
"""

from asyncio import gather, wrap_future
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import ceil, inf
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.concurrency.daemon_threads import DaemonThreads
from wheelyard.concurrency.single_flight import SingleFlight
from wheelyard.errors import RATE_LIMITED, Forbidden, NotFound, Unavailable
from wheelyard.http.concurrency_limit import ConcurrencyLimit
from wheelyard.http.observability.request_record import in_context
from wheelyard.http.protocol.error_responses import UPSTREAM_LOOP
from wheelyard.http.protocol.messages import Header, Request, Response
from wheelyard.http.security.read_policy import ReadPolicy, project_not_found
from wheelyard.http.thread_pools import ThreadPools
from wheelyard.model.access import Action
from wheelyard.upstream.index import Peek, ServedPage, UpstreamIndex
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.pages import LOOK_SECONDS, FoundPage
from wheelyard.upstream.why import Explanation, NameAnswer, RefreshedPage

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata

T = TypeVar("T")

UPSTREAM_THREADS: Final = 32
"""Names that a process looks up at upstream indexes at a time."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""Names that no upstream index has, and that one client may ask for."""
REFRESH_SECONDS: Final = 1.0
"""Age from which on a page is asked for again for a caller who wants it from no cache."""
SOURCE: Final = b"x-wheelyard-source"
"""The header that says where a page comes from."""
FROM_UPSTREAM: Final[Header] = (SOURCE, b"upstream")
FROM_PRIVATE: Final[Header] = (SOURCE, b"private")


def with_age(response: Response, page: ServedPage) -> Response:
    """Return the response with a page; one that is stale says so, and its age in seconds."""
    if not page.is_stale:
        return response
    others = (each for each in response.headers if each[0] != SOURCE)
    stale = ((SOURCE, b"upstream-stale"), (b"age", b"%d" % page.age))
    return replace(response, headers=(*others, *stale), repeat=None)


class UpstreamReader:
    """Finds the pages and files of names that are not private."""

    def __init__(
        self,
        upstream: UpstreamIndex,
        pools: ThreadPools,
        read_policy: ReadPolicy,
        *,
        is_local: bool,
    ) -> None:
        self.upstream = upstream
        self._read_policy = read_policy
        self._pools = pools
        self._is_local = is_local
        self._threads = DaemonThreads(UPSTREAM_THREADS, "upstream")
        self._limit = ConcurrencyLimit(UPSTREAM_THREADS, "requests to upstream indexes")
        self._in_flight = SingleFlight()
        now = upstream.runtime.monotonic
        self._unknown_names = LoginRateLimit(UNKNOWN_NAMES_PER_MINUTE, now)

    def complete_names(self) -> None:
        """List all private names; in a bucket without waiting, as it takes a request a thousand."""

        def complete() -> None:
            with suppress(Unavailable):  # each request asks for itself whether its name is private
                self.upstream.names.complete_list()

        if self._is_local:
            complete()
        else:
            self._threads.submit(complete)

    async def find(
        self, request: Request, name: NormalizedName, *, may_refresh: bool = True
    ) -> ServedPage | None:
        """
        Return the page of a name that `ReadPolicy.require_lookup` has allowed.

        None if the name is private, and the caller may read it. With `may_refresh`, a caller who
        may upload can have the upstream indexes asked now, by `Cache-Control: no-cache`.

        Raises:
            NotFound: No upstream index has it, or the settings do not allow to ask for it; or it is
                private, and the caller may not read it. That may be Forbidden, too.
            Unavailable: The store does not say whether it is private, or no upstream answers.
        """
        page = await self._find(request, name, is_forced=may_refresh and _wants_refresh(request))
        if page is None:
            self._read_policy.require_project_read(request.caller, name)
        return page

    async def _find(
        self, request: Request, name: NormalizedName, *, is_forced: bool
    ) -> ServedPage | None:
        if self.upstream.names.is_known(name):
            return None
        is_private, known = await self._look(name)
        if is_private:
            return None
        if known.absence is not None:
            raise NotFound(known.absence.text, short="No such project.")
        self._refuse_loop(request)
        page = known.page
        if page is not None:
            is_forced &= page.refusal is None and page.age >= REFRESH_SECONDS
        if is_forced or (page is None and not known.is_absent):
            found = await self._ask(request, name, is_forced=is_forced)
            is_private, page = await self._pools.run_read(partial(self._served, name, found))
            if is_private:  # claimed meanwhile
                return None
        if page is None:
            raise project_not_found(name)
        return page

    def watch(self, name: NormalizedName, page: ServedPage) -> Callable[[], bool] | None:
        """
        Return a function that tells whether a page that was just found would be found again.

        It makes a few system calls. None if that cannot be told without waiting for a network.
        """
        # digests that a page lacks become known as soon as the files are fetched; and while nothing
        # is fetched, a page changes with the files that are brought into the store
        is_open = not page.content.page.has_all_digests or self.upstream.config.offline
        is_unwatched = page.is_stale or is_open
        is_unclaimed = None if is_unwatched else self.upstream.names.watch(name)
        if is_unclaimed is None:
            return None
        view, runtime = page.content.view, self.upstream.runtime
        is_same_policy = self.upstream.policy.watch(view.generation)
        if is_same_policy is None:
            return None
        # a refusal ends with the decision alone
        left = inf if page.refusal else self.upstream.pages.ttl(page.content.page) - page.age
        seconds = min(left, LOOK_SECONDS)
        if view.changes_at is not None:
            seconds = min(seconds, (view.changes_at - runtime.now()).total_seconds())
        monotonic, end = runtime.monotonic, runtime.monotonic() + seconds

        is_latest = partial(self.upstream.pages.is_latest, page.content.page)

        def is_current() -> bool:
            return monotonic() < end and is_latest() and is_same_policy() and is_unclaimed()

        return is_current

    async def if_allowed(self, page: ServedPage, file: UpstreamFile, work: Callable[[], T]) -> T:
        """
        Run work that only reads the store, if the policy allows to download a file.

        Both are done in one thread. Raise Forbidden if the policy does not allow it.
        """

        def run() -> T:
            reason = self.upstream.policy.refuses_file(page.content.page, file)
            if reason is None:
                return work()
            self.upstream.observation.blocked(reason.code)
            raise Forbidden(reason.text, code=reason.code, on_page=reason.on_page)

        if self.upstream.waits_for_licences:
            return await self._run_waiting(run)
        return await self._pools.run_read(run)

    async def metadata_bytes(self, page: UpstreamPage, file: UpstreamFile) -> bytes:
        """Return the core metadata of a file, from the store or its upstream; as `fetched`."""
        files = self.upstream.files
        found = await self._pools.run_read(partial(files.find_metadata, page, file))
        if found is None:
            found = await self.fetched(page.name, partial(files.fetch_metadata, page, file))
        return found

    async def core_metadata(self, page: UpstreamPage, file: UpstreamFile) -> "CoreMetadata":
        """
        Return the core metadata of a file; a minimum if it has none, or that of another project.

        Raises Unavailable.
        """
        # no page of the Simple API needs it
        from wheelyard.upstream.page_content import parse_core_metadata  # noqa: PLC0415

        raw = None
        if file.serves_metadata:
            with suppress(NotFound):
                raw = await self.metadata_bytes(page, file)
        return parse_core_metadata(raw, page.name, file.version)

    async def fetched(self, name: NormalizedName, begin: Callable[[], Future[T]]) -> T:
        """
        Wait for what comes from an upstream, without a thread.

        Raise NotFound if the upstream lacks it, or if the name has become private meanwhile; else
        Unavailable.
        """
        found = await wrap_future(begin())
        if await self._is_private(name):
            getattr(found, "discard", lambda: None)()
            raise project_not_found(name)
        return found

    async def explain(
        self, request: Request, name: NormalizedName, version: Version | None
    ) -> Explanation:
        """Return what clients get for a name or one version of it, and why; may ask upstreams."""
        client = request.client_key
        self._require_guesses(client)
        async with self._limit.acquire(client):
            found = await self._run_waiting(partial(self.upstream.explain, name, version))
        if found.answer is NameAnswer.UNKNOWN:
            self._unknown_names.record_failure((_guesses_of(client),))
        return found

    async def run_asking(self, request: Request, work: Callable[[], T]) -> T:
        """Run work that asks an upstream index, such as before something is approved."""
        async with self._limit.acquire(request.client_key):
            return await self._run_waiting(work)

    async def refresh(self, request: Request, name: NormalizedName) -> RefreshedPage:
        """Ask the upstream indexes for a page now, with all others who want that; see `find`."""
        client = request.client_key
        self._require_guesses(client)

        async def ask() -> RefreshedPage:
            async with self._limit.acquire(client):
                return await self._run_waiting(partial(self.upstream.refresh, name))

        found = await self._in_flight.run(("refreshed", name), ask)
        if not found.upstream:
            self._unknown_names.record_failure((_guesses_of(client),))
        return found

    def close(self) -> None:
        """End what is under way."""
        self.upstream.close()

    def _refuse_loop(self, request: Request) -> None:
        if self.upstream.config.is_loop(request.headers.get(b"via", b"").decode("latin-1")):
            raise Unavailable(
                "This index is its own upstream index. Change the url in [upstream].",
                code=UPSTREAM_LOOP,
                short="This index asks itself.",
            )

    async def _look(self, name: NormalizedName) -> tuple[bool, Peek]:
        """Return whether a name is private, and what is known of it without the network."""
        upstream, read = self.upstream, self._pools.run_read

        def look() -> tuple[bool, Peek]:
            is_private = upstream.names.is_private(name)
            return is_private, Peek() if is_private else upstream.peek(name)

        if self._is_local:
            return await read(look)
        # all requests to the bucket at the same time
        is_private, refusal, known = await gather(
            self._is_private(name),
            read(partial(upstream.policy.refuses_name, name)),
            read(partial(upstream.pages.peek_stored, name)),
            return_exceptions=True,
        )
        if isinstance(is_private, BaseException):
            raise is_private
        if is_private:
            return True, Peek()
        if isinstance(refusal, BaseException):
            raise refusal
        if isinstance(known, BaseException):
            raise known
        return False, await read(lambda: upstream.judged(name, refusal, known))

    async def _run_waiting(self, work: Callable[[], T]) -> T:
        """Run work that may wait for an upstream; it does not keep the process from ending."""
        return await wrap_future(self._threads.start(in_context(work)))

    async def _is_private(self, name: NormalizedName) -> bool:
        return await self._pools.run_read(partial(self.upstream.names.is_private, name))

    async def _ask(
        self, request: Request, name: NormalizedName, *, is_forced: bool
    ) -> FoundPage | None:
        """
        Return the page of a name; wait for an upstream with all others that need it.

        If that takes long, a page that is known is returned instead, while the question goes on;
        not if it `is_forced`, as the caller wants no such page.
        """
        pages, client = self.upstream.pages, request.client_key
        self._require_guesses(client)

        async def ask() -> FoundPage | None:
            async with self._limit.acquire(client):
                get = self._refreshed if is_forced else pages.get
                found = await self._run_waiting(partial(get, name))
            if found is None:
                self._unknown_names.record_failure((_guesses_of(client),))
            return found

        if is_forced:
            return await self._in_flight.run(("refresh", name), ask)
        return await self._in_flight.run(name, ask, partial(pages.stale, name))

    def _refreshed(self, name: NormalizedName) -> FoundPage | None:
        try:
            return self.upstream.pages.refresh(name)
        except Unavailable:
            return self.upstream.pages.get(name)  # what can be served all the same

    def _served(
        self, name: NormalizedName, found: FoundPage | None
    ) -> tuple[bool, ServedPage | None]:
        """Return whether a name is private; if not, what clients may see of its page."""
        if self.upstream.names.is_private(name):
            return True, None
        return False, None if found is None else self.upstream.serve(found)

    def _require_guesses(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait = self._unknown_names.seconds_until((_guesses_of(client),))
        if wait:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                short="Too many unknown names.",
                retry_after=ceil(wait),
            )


def _wants_refresh(request: Request) -> bool:
    """Return whether a caller who may upload asks for a page that no cache has."""
    stated = request.headers.get(b"cache-control", b"").lower().split(b",")
    # not max-age=0: pip says so with each request
    return b"no-cache" in map(bytes.strip, stated) and request.caller.may_anywhere(Action.UPLOAD)


def _guesses_of(client: str) -> str:
    return f"names-{client}"
