"""Cache of rendered pages: each is rendered, hashed and compressed once per document version."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from weakref import ref

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import LruCache
from wheelyard.http.protocol.conditional_requests import is_not_modified
from wheelyard.http.protocol.content_encoding import Encoding, encode_body
from wheelyard.http.protocol.messages import NOSNIFF, HeaderList, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.storage.base import ObjectVersion

Render = Callable[[], bytes]
Variant = tuple[MediaType, Encoding]


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page rendered from one document version, in every encoding; if small, in IDENTITY only."""

    key: Hashable
    version: ObjectVersion
    digest: str
    """The hash of the body before compression, for the ETag."""
    bodies: dict[Encoding, bytes]
    headers: HeaderList
    responses: dict[Variant, tuple[Response, Response]] = field(default_factory=dict)
    """The 200 and the 304 response by media type and encoding, made at the first request."""

    def response(
        self, media_type: MediaType, encoding: Encoding, if_none_match: bytes | None
    ) -> Response:
        """
        Return the page (200), or 304 if If-None-Match has its ETag of any encoding.

        If the page has no body in `encoding`, it is sent in IDENTITY.
        """
        if encoding not in self.bodies:
            encoding = Encoding.IDENTITY
        both = self.responses.get((media_type, encoding))
        if both is None:
            both = self.responses[media_type, encoding] = self._responses(media_type, encoding)
        # an ETag of any encoding matches: media type and body are equal
        return both[is_not_modified(if_none_match, self._etag_prefix(media_type).encode())]

    def _etag_prefix(self, media_type: MediaType) -> str:
        return f'"{self.digest}-{media_type.value.etag_letter}'

    def _responses(self, media_type: MediaType, encoding: Encoding) -> tuple[Response, Response]:
        body = self.bodies[encoding]
        etag = f'{self._etag_prefix(media_type)}{encoding.value}"'.encode()
        common = ((b"etag", etag), NOSNIFF, *self.headers)
        length = (b"content-length", b"%d" % len(body))
        content = [(b"content-type", media_type.value.content_type), length]
        if encoding is not Encoding.IDENTITY:
            content.append((b"content-encoding", encoding.name.lower().encode()))
        return Response(200, (*content, *common), body), Response(304, common)


class PageCache:
    """A cache of rendered pages by key, which takes at most `capacity` bytes of memory."""

    def __init__(self, capacity: int) -> None:
        self._pages: LruCache[Hashable, CachedPage] = LruCache(capacity)

    def get(self, key: Hashable, version: ObjectVersion) -> CachedPage | None:
        """Return the page cached under `key`; None if there is none of this document version."""
        page = self._pages.get(key)
        return page if page is not None and page.version == version else None

    def get_or_render(
        self, key: Hashable, version: ObjectVersion, render: Render, headers: HeaderList
    ) -> CachedPage:
        """Return the page of `key` and `version`; if it is not cached, render and cache it."""
        page = self.get(key, version)
        if page is None:
            body = render()
            bodies = encode_body(body)
            digest = urlsafe_b64encode(blake2b(body, digest_size=15).digest()).decode()
            page = CachedPage(key, version, digest, bodies, headers)
            # a page takes about 4 KiB besides its bodies
            self._pages.put(key, page, 4096 + sum(map(len, bodies.values())))
        return page


def repeat_cached(
    response: Response, is_current: Callable[[], bool]
) -> Callable[[], Response | None]:
    """
    Return a function that returns `response`, one of a cached page, as long as it `is_current`.

    The function returns None once the page has left the cache: it keeps no page in memory, and does
    not count as a use of it. It may raise Unavailable.
    """
    found = ref(response)
    return lambda: found() if is_current() else None


def detail_page_key(name: NormalizedName, media_type: MediaType) -> tuple[str, bool]:
    """Return the cache key of a project's page: HTML types share one, JSON types share one."""
    return (name, media_type.value.is_json)
