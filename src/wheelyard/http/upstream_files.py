"""
Responses with files of upstream indexes, and with their core metadata.

A file is served if its name is not private, if its page lists it with the digest of the URL, and if
the policy allows it: each time, also if the store has it. It is then sent as a private one is; or,
if the store does not have it yet, while it is fetched.
"""

from asyncio import wrap_future
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.errors import Forbidden, NotFound
from wheelyard.http.caching.cache_headers import file_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.file_responses import (
    Body,
    FileToSend,
    IsCurrent,
    WantedFile,
    core_metadata_key,
    core_metadata_response,
    file_response,
    redirect_to_file,
    response_without_bytes,
    stored_file,
)
from wheelyard.http.page_responses import FROM_UPSTREAM, cached_page
from wheelyard.http.protocol.conditional_requests import ByteRange
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import BegunBody, Request, Response, until_readable
from wheelyard.http.upstream_reader import UpstreamReader
from wheelyard.storage.base import ObjectVersion, Store
from wheelyard.upstream.file_cache import StoredFile
from wheelyard.upstream.growing_file import RANGES_LIMIT_BYTES, GrowingFile
from wheelyard.upstream.index import UpstreamListing
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.pages import LOOK_SECONDS
from wheelyard.upstream.passed_on_file import PassedOnFile

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata

T = TypeVar("T")

HEADERS: Final = (*file_cache_headers(is_public=False), FROM_UPSTREAM)
"""No shared cache may keep a file: it may be blocked, or its name become private, any time."""


class PublicFiles(Struct, frozen=True):
    """The files of a project of an upstream index, by one page of it."""

    context: ServerContext
    reader: UpstreamReader
    listing: UpstreamListing

    @property
    def store(self) -> Store:
        """Where those files are kept that were fetched."""
        return self.reader.upstream.files.cache(self._page.upstream).store

    @property
    def _page(self) -> UpstreamPage:
        return self.listing.origin.page

    def watch(self) -> IsCurrent | None:
        """Return a function that tells whether the same page would be found again, or None."""
        upstream, origin = self.reader.upstream, self.listing.origin
        page, view, now = origin.page, origin.view, upstream.runtime.monotonic
        # digests that a page lacks become known as soon as the files are fetched; and while nothing
        # is fetched, a page changes with the files that are brought into the store
        is_open = not page.has_all_digests or upstream.config.offline
        is_unclaimed = None if origin.is_stale or is_open else upstream.names.watch(page.name)
        if is_unclaimed is None:
            return None
        is_same_policy = upstream.policy.watch(view.generation)
        if is_same_policy is None:
            return None
        # a refusal ends with the decision alone
        left = inf if origin.refused_for else upstream.pages.ttl(page) - origin.age
        seconds = min(left, LOOK_SECONDS)
        if view.changes_at is not None:
            seconds = min(seconds, (view.changes_at - upstream.runtime.now()).total_seconds())
        is_latest, end = partial(upstream.pages.is_latest, page), now() + seconds
        return lambda: now() < end and is_latest() and is_same_policy() and is_unclaimed()

    async def core_metadata(self, filename: str) -> "CoreMetadata | None":
        """Return the core metadata of a file that is shown; see OpenFiles."""
        # no page of the Simple API needs it
        from wheelyard.model.lenient_metadata import parse_any  # noqa: PLC0415

        page, files, raw = self._page, self.reader.upstream.files, None
        file = next(file for file in self.listing.files if file.filename == filename)
        if file.serves_metadata:
            listed = page.by_filename[filename]
            try:
                raw = await self._if_allowed(listed, partial(files.find_metadata, page, listed))
                if raw is None:
                    raw = await wrap_future(files.fetch_metadata(page, listed))
            except NotFound:
                return None
            finally:  # also after an error, which a page may hide
                await self.reader.require_public(page.name)
        core = parse_any(raw, page.name, file.version)
        if canonicalize_name(core.name) == page.name:
            return core
        return parse_any(None, page.name, file.version)  # it is that of another project

    async def response(self, request: Request, wanted: WantedFile) -> Response:
        """
        Return the response with a file, or with its core metadata, perhaps 404.

        Raises Forbidden, NotFound or Unavailable.
        """
        refusal, page = self.listing.origin.refused_for, self._page
        if refusal is not None:
            raise Forbidden(refusal.text, code=refusal.code, on_page=refusal.on_page)
        file = page.by_filename.get(wanted.filename)
        if file is None and wanted.sha256 and not wanted.is_metadata:
            return await self._removed_file(request, wanted)
        if file is None or not wanted.is_served(file):
            return file_not_found()
        send = self._core_metadata if wanted.is_metadata else self._distribution
        return await send(request, file)

    async def _if_allowed(self, file: UpstreamFile, work: Callable[[], T]) -> T:
        """
        Run work that only reads the store, if the policy allows to download a file.

        Both are done in one thread. Raise Forbidden if the policy does not allow it, and NotFound
        if the name has become private while a licence was fetched.
        """
        upstream = self.reader.upstream

        def run() -> T:
            reason = upstream.policy.refuses_file(self._page, file)
            if reason is None:
                return work()
            upstream.observation.blocked(reason.code)
            raise Forbidden(reason.text, code=reason.code, on_page=reason.on_page)

        if upstream.waits_for_licences:
            try:
                return await self.reader.run_waiting(run)
            finally:  # also after a refusal, which is about a public package
                await self.reader.require_public(self._page.name)
        return await self.context.pools.run_read(run)

    async def _removed_file(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a file that its page does not list any more; never fetch it."""
        upstream, page = self.reader.upstream, self._page
        removed = (file for file in page.removed if file.filename == wanted.filename)
        file = next((file for file in removed if file.sha256 == wanted.sha256), None)
        if file is None or not upstream.config.keep_removed:
            return file_not_found()
        stored = await self._if_allowed(file, partial(upstream.files.find, page, file))
        if stored is None:
            return file_not_found()
        return await file_response(request, self._stored(stored))

    async def _distribution(self, request: Request, file: UpstreamFile) -> Response:
        files, page = self.reader.upstream.files, self._page
        url = files.redirect_url(file)
        find = partial(files.find, page, file)
        stored = await self._if_allowed(file, (lambda: None) if url else find)
        if url:
            return redirect_to_file(url)
        if stored is not None:
            try:
                return await file_response(request, self._stored(stored))
            except NotFound:  # removed from the store a moment ago
                pass
        response = response_without_bytes(request, self._expected(file))
        if response is not None:
            return response
        fetched = await self.reader.fetched(page.name, partial(files.fetch, page, file))
        if isinstance(fetched, StoredFile):
            return await file_response(request, self._stored(fetched))
        return await file_response(request, self._fetched(file, fetched))

    async def _core_metadata(self, request: Request, file: UpstreamFile) -> Response:
        files, page = self.reader.upstream.files, self._page
        # without a digest nobody can say whether it has changed
        version = ObjectVersion(file.core_metadata)
        is_rendered = bool(version) and self._is_rendered(request, version)
        find = partial(files.find_metadata, page, file)
        body = await self._if_allowed(file, (lambda: None) if is_rendered else find)
        if body is None and not is_rendered:
            body = await self.reader.fetched(page.name, partial(files.fetch_metadata, page, file))
        if body is not None:
            version = version or ObjectVersion(sha256(body).hexdigest())
        return await core_metadata_response(
            request,
            self.context,
            version,
            lambda: body or files.bring_metadata(page, file),
            self.watch() if file.core_metadata else None,
            is_public=False,
        )

    def _is_rendered(self, request: Request, version: ObjectVersion) -> bool:
        key = core_metadata_key(version, is_public=False)
        return cached_page(self.context, request, key, version) is not None

    def _stored(self, stored: StoredFile) -> FileToSend:
        delivery, is_local = self.context.file_delivery, self.reader.upstream.is_local
        open_body = partial(delivery.open_body, stored.name, stored.file, files=stored.files)
        return stored_file(
            self.context, stored.file, HEADERS, open_body, self.watch(), is_local=is_local
        )

    def _expected(self, file: UpstreamFile) -> FileToSend:
        """Return a file as its page describes it, without its bytes."""

        async def no_body(_: ByteRange | None) -> Body:
            return b""

        return FileToSend(
            sha256=file.sha256,
            size=file.size,
            takes_ranges=file.size is not None and file.size <= RANGES_LIMIT_BYTES,
            headers=HEADERS,
            open_body=no_body,
        )

    def _fetched(self, file: UpstreamFile, fetched: GrowingFile | PassedOnFile) -> FileToSend:
        async def open_body(part: ByteRange | None) -> Body:
            if isinstance(fetched, PassedOnFile):
                body: bytes | Iterator[bytes] = fetched.body()
            else:
                body = fetched.body(part.start, part.stop) if part else fetched.body()
            if isinstance(body, bytes):
                return body
            # as long as an error response can still be sent
            await until_readable(body)
            first = await self.context.pools.run_in(
                self.context.pools.streams, lambda: next(body, b"")
            )
            return BegunBody(first, body)

        return FileToSend(
            sha256=file.sha256,
            size=fetched.size,
            takes_ranges=fetched.takes_ranges,
            headers=HEADERS,
            open_body=open_body,
        )
