"""
The page to which a person returns after signing in: a path of this index, never another site.

It comes from the link to the sign-in page (`next`), or from the page that has this link (Referer).
"""

import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from wheelyard.http.protocol.messages import Headers
from wheelyard.http.security.csrf import header_text, public_origin
from wheelyard.settings.sections import ServerSettings

MAX_PATH_CHARS: Final = 2048

_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""Printable ASCII without a backslash; browsers read `//host` and `/\\host` as another host."""
_PLAIN_PATH: Final = re.compile(r"(?!.*(?://|\.\.))[!-\[\]-~]*")
"""As above without `//` and `..`, which lead out of the index; no name or version has them."""
MAX_ENCODINGS: Final = 3
"""How often what stands in a path may be percent-encoded."""
_SECRET: Final = re.compile(r"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)
_SIGNING: Final = re.compile(r"/-/sign-(?:in|out)(?![^/?#])")


def local_path(text: str, server: ServerSettings) -> str:
    """Return `text` if it is the path of a page to return to, with its query; else that of home."""
    home = f"{server.path_prefix}/"
    is_local = len(text) <= MAX_PATH_CHARS and _LOCAL.fullmatch(text) and text.startswith(home)
    is_page = (
        is_local
        and _stays_below(text)
        and not _SIGNING.match(text.removeprefix(server.path_prefix))
    )
    return text if is_page and "#" not in text else home


def referring_page(headers: Headers, server: ServerSettings) -> str:
    """Return the path of the page of this index whose link was followed; else that of home."""
    try:
        referer = urlsplit(headers.get(b"referer", b"").decode("ascii"))
    except ValueError:
        return local_path("", server)
    origins = (header_text(headers, b"host"), public_origin(server).partition("://")[2])
    if referer.netloc.lower() not in filter(None, origins):
        return local_path("", server)
    return local_path(referer.path + (f"?{referer.query}" if referer.query else ""), server)


def sign_in_url(raw_path: bytes, query: bytes, server: ServerSettings) -> str:
    """Return the path of the sign-in page, with a `next` that leads back to a page."""
    text = raw_path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
    target = local_path("" if _SECRET.search(text) else text, server)
    return f"{server.path_prefix}/-/sign-in/?next={quote(target, safe='/')}"


def _stays_below(text: str) -> bool:
    """
    Return whether no reader of a path takes it for one above its beginning.

    Browsers and proxies resolve `..` in many spellings: encoded once or twice, with a semicolon or
    a backslash after it.
    """
    path = text.partition("?")[0]
    for _ in range(MAX_ENCODINGS):
        path = unquote(path)
    return bool(_PLAIN_PATH.fullmatch(path)) and unquote(path) == path
