"""
What a caller is shown of a project, wherever it is from: the one lookup of all handlers.

A private project hides a public one of the same name. A handler gets a listing, and asks nobody
where it is from; its `origin` decides about headers, and its `open` sends files. A private file is
served if the project's document lists it, and the project's status permits it.
"""

from asyncio import wrap_future
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil, inf
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from msgspec.structs import asdict
from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import project_not_found
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.catalog import keys
from wheelyard.concurrency.single_flight import SingleFlight
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import RATE_LIMITED, NotFound, Unavailable
from wheelyard.http.context import ConcurrencyLimit, ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.file_responses import (
    FileToSend,
    WantedFile,
    core_metadata_response,
    file_response,
)
from wheelyard.http.observability.logs import in_context
from wheelyard.http.page_cache import project_key
from wheelyard.http.page_responses import Repeats, file_cache_headers
from wheelyard.http.protocol.error_responses import UPSTREAM_LOOP, file_not_found
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.model.access import Action
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import Explanation, RefreshedPage
from wheelyard.rendering.listing import Listing, Origin
from wheelyard.storage.base import ABSENT, ObjectVersion, Store
from wheelyard.upstream.index import UpstreamIndex, UpstreamListing
from wheelyard.upstream.pages import FoundPage

if TYPE_CHECKING:
    from wheelyard.http.upstream_files import PublicFiles


class PrivateFiles(Struct, frozen=True):
    """The files of a private project, by one version of its document."""

    context: ServerContext
    project: Project
    version: ObjectVersion
    """ABSENT if there is no document."""

    @property
    def store(self) -> Store:
        """Where the files are kept, at the keys of `catalog.keys`."""
        return self.context.index.files.store

    def repeats(self) -> Repeats:
        """Return the version of the document; None without one."""
        if self.version == ABSENT:
            return None, inf
        return ((project_key(self.project.name), self.version),), inf

    def core_metadata(self, _: Request, filename: str) -> CoreMetadata:
        """Return the core metadata of a listed file, minimal if it has none; raise Unavailable."""
        file = self.project.by_filename[filename]
        return self.context.core_metadata.load(self.project.name, file)

    def response(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a file or its core metadata, perhaps 404; raise Unavailable."""
        file, name = self.project.by_filename.get(wanted.filename), self.project.name
        if not self.project.status.serves_files or file is None or not wanted.is_served(file):
            return file_not_found()
        try:
            return self._send(request, wanted, file)
        except NotFound as error:
            # a concurrent delete first changes the document, then deletes the bytes
            documents = self.context.index.projects.documents
            document = documents.get(keys.project(name), "current").value
            if document is not None and document.by_filename.get(file.filename) == file:
                raise missing_file_error(file) from error
            return file_not_found()

    def _send(self, request: Request, wanted: WantedFile, file: File) -> Response:
        """Return the response with a file, or with its core metadata; may raise NotFound."""
        context, name = self.context, self.project.name
        is_public = context.read_policy.is_public(name)
        if wanted.is_metadata:
            load = partial(context.core_metadata.load_bytes, name, file)
            version = ObjectVersion(file.core_metadata)  # its digest
            return core_metadata_response(
                request, context, version, load, self.repeats(), is_public=is_public
            )
        sent = FileToSend(
            sha256=file.sha256,
            size=file.size,
            headers=file_cache_headers(is_public=is_public),
            body=partial(context.file_delivery.open_body, name, file),
        )
        return file_response(request, context, sent)


class OpenListing(Listing, frozen=True, kw_only=True):
    """A listing whose files can be opened."""

    open: "PrivateFiles | PublicFiles"


def find(
    context: ServerContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return what the caller of a request, whom `require_lookup` allows to ask, is shown of a project.

    With `may_refresh`, one who may upload can have the upstream indexes asked now.

    Raises:
        NotFound: Nobody has it, or the settings do not allow to ask for it; or it is private, and
            the caller may not read it. That may be Forbidden, too.
        Unavailable: The store does not answer, or no upstream index does.
        Waiting: An upstream index has to be asked.
    """
    public = _find_public(context, name, request, may_refresh=may_refresh)
    return public or _private_listing(PrivateFiles(context, *context.require_project(name)))


def find_for_installer(
    context: ServerContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return the same; an empty listing for a private name without a project.

    After a 404, uv would go on to its next index. The settings may want a 404 all the same, and an
    index without an upstream index has no such names.
    """
    public = _find_public(context, name, request, may_refresh=may_refresh)
    if public is not None:
        return public
    try:
        files = PrivateFiles(context, *context.require_project(name))
    except NotFound:
        if context.upstream is None:
            raise
        context.upstream.upstream.observation.blocked("private")
        if context.index.settings.upstream.private_missing == "404":
            raise
        files = PrivateFiles(context, Project(name=name), ABSENT)
    return _private_listing(files)


def _find_public(
    context: ServerContext, name: NormalizedName, request: Request, *, may_refresh: bool
) -> OpenListing | None:
    """Return a public project; None if the name is private, and the caller may read it."""
    if context.upstream is None:
        return None
    listing = context.upstream.find(name, request, may_refresh=may_refresh)
    if listing is None:
        context.read_policy.require_project_read(request.caller, name)
        return None
    # no server without an upstream index needs it
    from wheelyard.http.upstream_files import PublicFiles  # noqa: PLC0415

    return OpenListing(**asdict(listing), open=PublicFiles(context, context.upstream, listing))


def _private_listing(files: PrivateFiles) -> OpenListing:
    project = files.project
    return OpenListing(
        name=project.name,
        status=project.status,
        reason=project.reason,
        files=project.files if project.status.serves_files else (),
        version=files.version,
        origin=Origin(),
        open=files,
    )


T = TypeVar("T")

UPSTREAM_THREADS: Final = 64
"""Names that a process looks up at upstream indexes at a time; half of them for one client."""
UNKNOWN_NAMES_PER_MINUTE: Final = 300
"""Names that no upstream index has, and that one client may ask for."""
REFRESH_SECONDS: Final = 1.0
"""Age from which on a page is asked for again for a caller who wants it from no cache."""


class UpstreamReader:
    """Finds the pages and files of names that are not private."""

    def __init__(self, upstream: UpstreamIndex, *, is_local: bool) -> None:
        self.upstream = upstream
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

    def find(
        self, name: NormalizedName, request: Request, *, may_refresh: bool
    ) -> UpstreamListing | None:
        """
        Return what clients may see of a name; None if it is private.

        With `may_refresh`, a caller who may upload can have the upstream indexes asked now.

        Raises:
            NotFound: No upstream index has it, or the settings do not allow to ask for it.
            Unavailable: The store does not say whether it is private, or no upstream answers.
            Waiting: An upstream index has to be asked.
        """
        upstream = self.upstream
        if upstream.names.is_known(name) or upstream.names.is_private(name):
            return None
        stored = request.once(("page", name), partial(upstream.pages.peek_stored, name))
        state = upstream.policy.state()
        refused = upstream.refused(name, state)
        if refused is not None:
            return refused
        self._refuse_loop(request)
        is_forced = may_refresh and _wants_newest(request)
        if stored is not None and stored.page is not None:
            is_forced &= stored.page.age >= REFRESH_SECONDS
        if stored is None or is_forced:
            ask = partial(self._ask, name, request.client_key, is_forced=is_forced)
            page = request.wait(("upstream", name), ask)
        else:
            page = stored.page
        if page is None:
            raise project_not_found(name)
        return upstream.serve(page, state)

    async def run_waiting(self, work: Callable[[], T]) -> T:
        """Run work that may wait for an upstream; it does not keep the process from ending."""
        return await wrap_future(self._threads.start(in_context(work)))

    async def _run_asking(self, client: str, work: Callable[[], T]) -> T:
        async with self._limit.acquire(client):
            return await self.run_waiting(work)

    async def answer(self, client: str, work: Callable[[], T]) -> T:
        """Run an operation that may ask an upstream index for any name."""
        self._require_guesses(client)
        found = await self._run_asking(client, work)
        if isinstance(found, Explanation | RefreshedPage) and found.is_unknown:
            self._unknown_names.record_failure((_guesses_of(client),))
        return found

    def _refuse_loop(self, request: Request) -> None:
        if self.upstream.config.is_loop(request.joined_headers.get(b"via", b"").decode("latin-1")):
            raise Unavailable(
                "This index is its own upstream index. Change upstream.url.", code=UPSTREAM_LOOP
            )

    async def _ask(self, name: NormalizedName, client: str, *, is_forced: bool) -> FoundPage | None:
        """
        Return the page of a name; wait for an upstream with all others that need it.

        If that takes long, a page that is known is returned instead, while the question goes on;
        not if it `is_forced`, as the caller wants no such page.
        """
        pages = self.upstream.pages
        self._require_guesses(client)

        async def ask() -> FoundPage | None:
            get = self._refreshed if is_forced else pages.get
            page = await self._run_asking(client, partial(get, name))
            if page is None:
                self._unknown_names.record_failure((_guesses_of(client),))
            return page

        if is_forced:
            return await self._in_flight.run(("refresh", name), ask)
        return await self._in_flight.run(name, ask, partial(pages.stale, name))

    def _refreshed(self, name: NormalizedName) -> FoundPage | None:
        try:
            return self.upstream.pages.refresh(name)
        except Unavailable:
            return self.upstream.pages.get(name)  # what can be served all the same

    def _require_guesses(self, client: str) -> None:
        """Raise Unavailable if a client has asked for too many names that no index has."""
        wait = self._unknown_names.seconds_until((_guesses_of(client),))
        if wait:
            raise Unavailable(
                "Too many names were asked for that no index has. Check the names.",
                code=RATE_LIMITED,
                retry_after=ceil(wait),
            )


def _wants_newest(request: Request) -> bool:
    """Return whether a request is for a page that comes from no cache, of who may have that."""
    stated = request.joined_headers.get(b"cache-control", b"").lower().split(b",")
    # not max-age=0: pip says so with each request
    is_stated = b"no-cache" in map(bytes.strip, stated)
    return is_stated and request.caller.may_anywhere(Action.UPLOAD)


def _guesses_of(client: str) -> str:
    return f"names-{client}"
