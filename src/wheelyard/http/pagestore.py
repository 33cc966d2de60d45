"""
What is kept in memory so that a page is a look-up: rendered pages, and where requests have led.

A page is rendered, hashed and compressed once for each version of its document.
"""

import gzip
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import zstandard
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import WeighedCache
from wheelyard.http.exchange import NOSNIFF, Header, Headers, Reply
from wheelyard.http.negotiation import Encoding, Form, encoding_for, form_for
from wheelyard.settings.sections import MIB
from wheelyard.storage.base import ObjectVersion

SMALLEST_COMPRESSED: Final = 1024
"""Bytes; a shorter page is sent as it is."""
PAGE_OVERHEAD: Final = 4096
"""Bytes of memory that a page costs besides its bodies, about."""
PATHS: Final = 4 * MIB
"""Bytes of memory for remembered paths."""
PATH_LIMIT: Final = 256
"""Bytes of such a path."""
ACCEPTS: Final = 128 * 1024
"""Bytes of memory for remembered pairs of Accept and Accept-Encoding."""
ACCEPT_LIMIT: Final = 1024
"""Bytes of such a pair; a longer one is no client's."""
OVERHEAD: Final = 256
"""Bytes of memory that one of them takes besides its own, about."""

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
    replies: dict[tuple[Form, Encoding], tuple[Reply, Reply]] = field(default_factory=dict)
    """Put together when first asked for: the page, and "not modified"."""

    def reply(self, form: Form, encoding: Encoding, if_none_match: bytes | None) -> Reply:
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

    @property
    def weight(self) -> int:
        """Bytes of memory, about."""
        return PAGE_OVERHEAD + sum(len(body) for body in self.bodies.values())

    def _mark(self, form: Form) -> str:
        return f'"{self.digest}-{form.value.mark}'

    def _put_together(self, form: Form, encoding: Encoding) -> tuple[Reply, Reply]:
        body = self.bodies[encoding]
        etag = f'{self._mark(form)}{encoding.value}"'.encode()
        common = ((b"etag", etag), NOSNIFF, *self.headers)
        whole = (
            (b"content-type", form.value.content_type),
            (b"content-length", b"%d" % len(body)),
            *_CODINGS[encoding],
        )
        return Reply(200, (*whole, *common), body), Reply(304, common)


def make_page(version: ObjectVersion, body: bytes, headers: tuple[Header, ...]) -> Page:
    """Return `body` as a page, compressed where that is worth it."""
    bodies = {Encoding.IDENTITY: body}
    if len(body) >= SMALLEST_COMPRESSED:
        bodies[Encoding.GZIP] = gzip.compress(body, 6, mtime=0)
        bodies[Encoding.ZSTD] = zstandard.ZstdCompressor(level=9).compress(body)
    digest = blake2b(body, digest_size=16).hexdigest()
    return Page(version, digest, bodies, headers)


class PageStore:
    """Pages by what they show, in at most `capacity` bytes of memory."""

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
        """Return the same, made and kept where there is none."""
        page = self.get(subject, version)
        if page is None:
            page = make_page(version, render(), headers)
            self._pages.put(subject, page, page.weight)
        return page


def detail_subject(name: NormalizedName, form: Form) -> tuple[str, bool]:
    """Return what a project's page is kept under."""
    return (name, form.value.is_json)


class Hot:
    """What one process remembers of requests for pages that it has answered before."""

    def __init__(self) -> None:
        self._paths: WeighedCache[bytes, NormalizedName] = WeighedCache(PATHS)
        self._accepts: WeighedCache[tuple[bytes, bytes], tuple[Form | None, Encoding]] = (
            WeighedCache(ACCEPTS)
        )

    def name(self, mark: bytes, raw_path: bytes) -> NormalizedName | None:
        """
        Return the project whose page a raw path has led this caller to, if to any.

        A denial takes others the same time whether there is such a name or not.
        """
        return self._paths.get(mark + raw_path)

    def remember(self, mark: bytes, raw_path: bytes, name: NormalizedName) -> None:
        """Remember that a caller has had the page of a project at a path."""
        if len(raw_path) <= PATH_LIMIT:
            self._paths.put(mark + raw_path, name, OVERHEAD + 2 * len(raw_path))

    def negotiated(self, head: Headers) -> tuple[Form | None, Encoding]:
        """Return which form of a page is asked for, if there is one, and in which encoding."""
        asked = (head.get(b"accept", b""), head.get(b"accept-encoding", b""))
        known = self._accepts.get(asked)
        if known is None:
            known = (form_for(asked[0]), encoding_for(asked[1]))
            length = len(asked[0]) + len(asked[1])
            if length <= ACCEPT_LIMIT:
                self._accepts.put(asked, known, OVERHEAD + length)
        return known
