"""Pages: rendered, hashed and compressed once for each version of a document."""

import gzip
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import zstandard
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import LruCache
from wheelyard.http.protocol.messages import NOSNIFF, Header, Response
from wheelyard.http.protocol.negotiation import Encoding, MediaType, best_encoding, best_media_type
from wheelyard.settings.sections import MIB
from wheelyard.storage.base import ObjectVersion

MIN_COMPRESSED_BYTES: Final = 1024
"""Bytes; a shorter page is sent as it is."""

CACHED_PATH_LIMIT_BYTES: Final = 256
"""Bytes of a path that is remembered."""
MAX_CACHED_ACCEPT_VALUES: Final = 256
"""Values of Accept and of Accept-Encoding whose answer is remembered."""


@dataclass(frozen=True, slots=True)
class CachedPage:
    """One body in every encoding, made from one version of a document."""

    version: ObjectVersion
    digest: str
    """Of the body as it is before any encoding."""
    bodies: dict[Encoding, bytes]
    headers: tuple[Header, ...]
    replies: dict[tuple[MediaType, Encoding], tuple[Response, Response]] = field(
        default_factory=dict
    )
    """Put together when first asked for: the page, and "not modified"."""

    def response(
        self, form: MediaType, encoding: Encoding, if_none_match: bytes | None
    ) -> Response:
        """Return the page, or 304 where the client has it already."""
        if encoding not in self.bodies:
            encoding = Encoding.IDENTITY
        both = self.replies.get((form, encoding))
        if both is None:
            both = self.replies[form, encoding] = self._put_together(form, encoding)
        if if_none_match is None:
            return both[0]
        # the same body and type in any encoding will do
        is_known = self._mark(form).encode() in if_none_match or if_none_match.strip() == b"*"
        return both[is_known]

    def _mark(self, form: MediaType) -> str:
        return f'"{self.digest}-{form.value.mark}'

    def _put_together(self, form: MediaType, encoding: Encoding) -> tuple[Response, Response]:
        body = self.bodies[encoding]
        etag = f'{self._mark(form)}{encoding.value}"'.encode()
        common = ((b"etag", etag), NOSNIFF, *self.headers)
        kind = (b"content-type", form.value.content_type)
        length = (b"content-length", b"%d" % len(body))
        coding = (b"content-encoding", encoding.name.lower().encode())
        whole = (kind, length) if encoding is Encoding.IDENTITY else (kind, length, coding)
        return Response(200, (*whole, *common), body), Response(304, common)


class PageCache:
    """Pages by what they show, in at most `capacity` bytes of memory."""

    def __init__(self, capacity: int) -> None:
        self._pages: LruCache[Hashable, CachedPage] = LruCache(capacity)

    def get(self, subject: Hashable, version: ObjectVersion) -> CachedPage | None:
        """Return the page about `subject` if it is of this version."""
        page = self._pages.get(subject)
        return page if page is not None and page.version == version else None

    def get_or_render(
        self,
        subject: Hashable,
        version: ObjectVersion,
        render: Callable[[], bytes],
        headers: tuple[Header, ...],
    ) -> CachedPage:
        """Return the same, made and kept where there is none."""
        page = self.get(subject, version)
        if page is None:
            body = render()
            bodies = {Encoding.IDENTITY: body}
            if len(body) >= MIN_COMPRESSED_BYTES:
                bodies[Encoding.GZIP] = gzip.compress(body, 6, mtime=0)
                bodies[Encoding.ZSTD] = zstandard.ZstdCompressor(level=9).compress(body)
            digest = blake2b(body, digest_size=16).hexdigest()
            page = CachedPage(version, digest, bodies, headers)
            self._pages.put(subject, page, 4096 + sum(map(len, bodies.values())))
        return page


def detail_page_key(name: NormalizedName, form: MediaType) -> tuple[str, bool]:
    """Return what a project's page is kept under."""
    return (name, form.value.is_json)


class FastPath:
    """Where requests for pages have led, and which form of a page they got."""

    def __init__(self) -> None:
        self.paths: LruCache[bytes, NormalizedName] = LruCache(4 * MIB)
        """
        Projects, by the mark of a caller who has had the page, and the raw path.

        So a denial takes others the same time, whatever there is.
        """
        self.form_for = lru_cache(MAX_CACHED_ACCEPT_VALUES)(best_media_type)
        self.encoding_for = lru_cache(MAX_CACHED_ACCEPT_VALUES)(best_encoding)

    def remember(self, mark: bytes, raw_path: bytes, name: NormalizedName) -> None:
        """Remember that a caller has had the page of a project at a path."""
        if len(raw_path) <= CACHED_PATH_LIMIT_BYTES:
            self.paths.put(mark + raw_path, name, 256 + 2 * len(raw_path))
