"""
Paths as clients see them, below the path of the public URL.

A proxy may take that away before it forwards a path, so that the server gets another one. No header
of a request says so: only the settings are believed.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from wheelyard.settings.sections import ServerSettings

_SECRET: Final = re.compile(rb"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)


def build_path(server: ServerSettings, segments: Sequence[str] = (), query: bytes = b"") -> str:
    """
    Return the path by which clients reach a page: for each link and redirect that is not relative.

    It ends with a slash, and has the query unless that may have a secret. `segments` are decoded,
    and lie below `server.public_path`.
    """
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    if not query or may_have_secret(query):
        return f"{server.public_path}{path}/"
    return f"{server.public_path}{path}/?{quote(query, safe='=&%+:,;@!*-._~/?')}"


def may_have_secret(text: bytes) -> bool:
    """Return whether a part of a URL may have a credential, which no link repeats."""
    return _SECRET.search(text) is not None


def client_path(raw_path: bytes, server: ServerSettings) -> bytes:
    """Return the raw path of a request as its client has sent it: a proxy may have shortened it."""
    prefix = server.path_prefix.encode()
    if not raw_path.startswith(prefix + b"/"):
        return raw_path
    return server.public_path.encode() + raw_path.removeprefix(prefix)
