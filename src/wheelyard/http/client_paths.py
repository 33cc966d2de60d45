"""
Paths as clients see them, below the path of the public URL.

A proxy may take the path of the public URL away before it forwards a request, so that the server
gets a shorter path. No header of a request is believed about that: only the settings are.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from wheelyard.settings.sections import ServerSettings

_SECRET: Final = re.compile(rb"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)


def build_path(server: ServerSettings, segments: Sequence[str] = (), query: bytes = b"") -> str:
    """
    Return the path by which clients reach a page, for links and redirects that are not relative.

    The path ends with a slash, and has the query unless that may have a secret. `segments` are
    decoded, and lie below `server.public_path`.
    """
    path = server.public_path
    for segment in segments:
        path += f"/{quote(segment, safe='')}"
    if not query or may_have_secret(query):
        return f"{path}/"
    quoted_query = quote(query, safe="=&%+:,;@!*-._~/?")
    return f"{path}/?{quoted_query}"


def may_have_secret(text: bytes) -> bool:
    """Return whether a part of a URL may have a credential, which no link repeats."""
    return _SECRET.search(text) is not None


def client_path(raw_path: bytes, server: ServerSettings) -> bytes:
    """Return the raw path that a client has sent, from the path that a proxy has passed on."""
    prefix = server.path_prefix.encode()
    if not raw_path.startswith(prefix + b"/"):
        return raw_path
    return server.public_path.encode() + raw_path.removeprefix(prefix)
