"""
Responses with files of upstream indexes, and with their core metadata.

A file is served if its name is not private, if its page lists it with the digest of the URL, and if
the policy allows it: each time, also if the store has it. It is then sent as a private one is; or,
if the store does not have it yet, while it is fetched.
"""

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.errors import Forbidden, NotFound
from wheelyard.http.caching.cache_headers import file_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.file_responses import (
    Body,
    FileToSend,
    IsCurrent,
    core_metadata_key,
    core_metadata_response,
    file_response,
    redirect_to_file,
    response_without_bytes,
)
from wheelyard.http.page_responses import cached_page
from wheelyard.http.protocol.conditional_requests import ByteRange
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import BegunBody, Request, Response, until_readable
from wheelyard.http.upstream_reader import FROM_UPSTREAM, UpstreamReader
from wheelyard.storage.base import ObjectVersion
from wheelyard.upstream.file_cache import StoredFile
from wheelyard.upstream.growing_file import RANGES_LIMIT_BYTES, GrowingFile
from wheelyard.upstream.index import ServedPage
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.passed_on_file import PassedOnFile

HEADERS: Final = (*file_cache_headers(is_public=False), FROM_UPSTREAM)
"""No shared cache may keep a file: it may be blocked, or its name become private, any time."""


class UpstreamDownload(Struct, frozen=True):
    """One request for a file that a page of an upstream index may list."""

    request: Request
    context: ServerContext
    reader: UpstreamReader
    page: ServedPage

    async def response(self, digest: str | None, filename: str, *, is_metadata: bool) -> Response:
        """
        Return the response with a file, or with its core metadata.

        `digest` is that of the URL, None if it has none. Raises Forbidden, NotFound or Unavailable.
        """
        refusal, page = self.page.refusal, self.page.content.page
        if refusal is not None:
            raise Forbidden(refusal.text, code=refusal.code, on_page=refusal.on_page)
        file = page.by_filename.get(filename)
        if file is None and digest and not is_metadata:
            return await self._removed_file(digest, filename)
        if file is None or digest not in (None, file.sha256):
            return file_not_found()
        if is_metadata and not file.serves_metadata:
            return file_not_found()
        return await (self._core_metadata(file) if is_metadata else self._distribution(file))

    async def _removed_file(self, digest: str, filename: str) -> Response:
        """Return the response with a file that its page does not list any more; never fetch it."""
        upstream, page = self.reader.upstream, self.page.content.page
        removed = (each for each in page.removed if each.filename == filename)
        file = next((each for each in removed if each.sha256 == digest), None)
        if file is None or not upstream.config.keep_removed:
            return file_not_found()
        find = partial(upstream.files.find, page, file)
        stored = await self.reader.if_allowed(self.page, file, find)
        if stored is None:
            return file_not_found()
        return await file_response(self.request, self._stored(stored))

    async def _distribution(self, file: UpstreamFile) -> Response:
        files, page = self.reader.upstream.files, self.page.content.page
        url = files.redirect_url(file)
        find = partial(files.find, page, file)
        stored = await self.reader.if_allowed(self.page, file, (lambda: None) if url else find)
        if url:
            return redirect_to_file(url)
        if stored is not None:
            try:
                return await file_response(self.request, self._stored(stored))
            except NotFound:  # removed from the store a moment ago
                pass
        response = response_without_bytes(self.request, self._expected(file))
        if response is not None:
            return response
        fetched = await self.reader.fetched(page.name, partial(files.fetch, page, file))
        if isinstance(fetched, StoredFile):
            return await file_response(self.request, self._stored(fetched))
        return await file_response(self.request, self._fetched(file, fetched))

    async def _core_metadata(self, file: UpstreamFile) -> Response:
        files, page = self.reader.upstream.files, self.page.content.page
        # without a digest nobody can say whether it has changed
        version = ObjectVersion(file.core_metadata)
        is_rendered = bool(version) and self._is_rendered(version)
        find = partial(files.find_metadata, page, file)
        body = await self.reader.if_allowed(
            self.page, file, (lambda: None) if is_rendered else find
        )
        if body is None and not is_rendered:
            body = await self.reader.fetched(page.name, partial(files.fetch_metadata, page, file))
        if body is not None:
            version = version or ObjectVersion(sha256(body).hexdigest())
        return await core_metadata_response(
            self.request,
            self.context,
            version,
            lambda: body or files.bring_metadata(page, file),
            self._is_current() if file.core_metadata else None,
            is_public=False,
        )

    def _is_rendered(self, version: ObjectVersion) -> bool:
        key = core_metadata_key(version, is_public=False)
        return cached_page(self.context, self.request, key, version) is not None

    def _stored(self, stored: StoredFile) -> FileToSend:
        is_local = self.reader.upstream.is_local

        def open_at_once(part: ByteRange | None) -> Body:
            delivery = self.context.file_delivery
            return delivery.open_body(stored.name, stored.file, part, stored.files)

        async def open_body(part: ByteRange | None) -> Body:
            if is_local:
                return open_at_once(part)
            return await self.context.pools.run_read(partial(open_at_once, part))

        return FileToSend(
            sha256=stored.file.sha256,
            size=stored.file.size,
            headers=HEADERS,
            open_body=open_body,
            open_again=open_at_once if is_local else None,
            is_current=self._is_current(),
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

    def _is_current(self) -> IsCurrent | None:
        return self.reader.watch(self.page.content.page.name, self.page)
