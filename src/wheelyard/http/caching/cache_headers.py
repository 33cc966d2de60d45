"""Response headers for caches: `Cache-Control` and `Vary` of pages and files."""

from typing import Final

from wheelyard.http.protocol.messages import Header

VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
VARY_BY_CALLER: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Authorization, Cookie")
VARY_BY_COOKIE: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Cookie")
"""Of public pages for people, if they can sign in: the page then has their name."""
VARY_FILE: Final[Header] = (b"vary", b"Authorization, Cookie")
VARY_METADATA: Final[Header] = (b"vary", b"Accept-Encoding")
VARY_METADATA_BY_CALLER: Final[Header] = (b"vary", b"Accept-Encoding, Authorization, Cookie")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")


def page_cache_headers(public_max_age: int, *, is_public: bool) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a page; `public_max_age` is for public ones, in seconds."""
    if not is_public:
        return (VARY_BY_CALLER, PRIVATE_PAGE)
    lifetime = f"max-age={public_max_age}" if public_max_age else "no-cache"
    return (VARY, (b"cache-control", f"public, {lifetime}".encode()))


def file_cache_headers(*, is_public: bool) -> tuple[Header, ...]:
    """Return the Cache-Control of a file (fresh for a year), and Vary unless it is public."""
    return (PUBLIC_FILE,) if is_public else (PRIVATE_FILE, VARY_FILE)


def metadata_cache_headers(*, is_public: bool) -> tuple[Header, ...]:
    """Return Cache-Control and Vary of a file's core metadata, which is compressed as pages are."""
    if is_public:
        return (PUBLIC_FILE, VARY_METADATA)
    return (PRIVATE_FILE, VARY_METADATA_BY_CALLER)
