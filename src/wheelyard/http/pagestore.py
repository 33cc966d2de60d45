"""
Rendered pages, kept until the document that they show has another version.

A page is rendered once for each version of its document, hashed for a strong ETag, compressed once
with gzip and once with zstd, and its replies are put together once: a request for it is a look-up.
"""

import gzip
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import zstandard

from wheelyard.catalog.cache import WeighedCache
from wheelyard.http.exchange import NOSNIFF, Header, Reply
from wheelyard.http.negotiation import Encoding, Form
from wheelyard.storage.base import ObjectVersion

SMALLEST_COMPRESSED: Final = 1024
"""Bytes; a shorter page is sent as it is."""
GZIP_LEVEL: Final = 6
ZSTD_LEVEL: Final = 9
ETAG_BYTES: Final = 16
PAGE_OVERHEAD: Final = 4096
"""Bytes of memory that a page costs besides its bodies, about."""

_CODINGS: Final[dict[Encoding, tuple[Header, ...]]] = {
    Encoding.IDENTITY: (),
    Encoding.GZIP: ((b"content-encoding", b"gzip"),),
    Encoding.ZSTD: ((b"content-encoding", b"zstd"),),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One body in every encoding, made from one version of a document."""

    version: ObjectVersion
    digest: str
    """Of the body as it is before any encoding."""
    bodies: dict[Encoding, bytes]
    headers: tuple[Header, ...]
    """What every reply with this page carries."""
    replies: dict[tuple[Form, Encoding], tuple[Reply, Reply]] = field(default_factory=dict)
    """Put together when first asked for: the page, and "not modified"."""

    def reply(self, form: Form, encoding: Encoding, if_none_match: bytes | None) -> Reply:
        """Return the page, or 304 where the client has it already."""
        if encoding not in self.bodies:
            encoding = Encoding.IDENTITY
        both = self.replies.get((form, encoding))
        if both is None:
            both = self.replies[form, encoding] = self._put_together(form, encoding)
        if if_none_match is None or not self._is_known(form, if_none_match):
            return both[0]
        return both[1]

    @property
    def weight(self) -> int:
        """Bytes of memory, about."""
        return PAGE_OVERHEAD + sum(len(body) for body in self.bodies.values())

    def _put_together(self, form: Form, encoding: Encoding) -> tuple[Reply, Reply]:
        body = self.bodies[encoding]
        etag = f'"{self.digest}-{form.value.mark}{encoding.value}"'.encode()
        common = ((b"etag", etag), NOSNIFF, *self.headers)
        whole = (
            (b"content-type", form.value.content_type),
            (b"content-length", b"%d" % len(body)),
            *_CODINGS[encoding],
        )
        return Reply(200, (*whole, *common), body), Reply(304, common)

    def _is_known(self, form: Form, if_none_match: bytes) -> bool:
        # the same body and type in any encoding is what the client has; W/ makes no difference
        mark = f'"{self.digest}-{form.value.mark}'.encode()
        return mark in if_none_match or if_none_match.strip() == b"*"


def make_page(version: ObjectVersion, body: bytes, headers: tuple[Header, ...]) -> Page:
    """Return `body` as a page, compressed where that is worth it."""
    bodies = {Encoding.IDENTITY: body}
    if len(body) >= SMALLEST_COMPRESSED:
        bodies[Encoding.GZIP] = gzip.compress(body, GZIP_LEVEL, mtime=0)
        bodies[Encoding.ZSTD] = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
    digest = blake2b(body, digest_size=ETAG_BYTES).hexdigest()
    return Page(version, digest, bodies, headers)


class PageStore:
    """
    Pages by what they show.

    Args:
        capacity: Bytes of memory for all of them.
    """

    def __init__(self, capacity: int) -> None:
        self._pages: WeighedCache[Hashable, Page] = WeighedCache(capacity)

    def get(self, subject: Hashable, version: ObjectVersion) -> Page | None:
        """Return the page about `subject` if it was made from this version."""
        page = self._pages.get(subject)
        return page if page is not None and page.version == version else None

    def made(
        self,
        subject: Hashable,
        version: ObjectVersion,
        render: Callable[[], bytes],
        headers: tuple[Header, ...],
    ) -> Page:
        """Return the same; where there is none, make one, and keep it in the place of an older."""
        page = self.get(subject, version)
        if page is None:
            page = make_page(version, render(), headers)
            self._pages.put(subject, page, page.weight)
        return page
