"""
The choice of the client whose commands somebody wants to see, in a cookie of the browser.

A page with another choice than the usual one is for this browser alone, so that no shared cache
gives it to somebody else. Without the cookie, a page stays as public as it is.
"""

import re
from typing import Final

from wheelyard.http.messages import Header
from wheelyard.rendering.client_settings import INSTALL_CHOICES
from wheelyard.settings.sections import ServerSettings

COOKIE: Final = "wheelyard-client"
"""The script of the pages knows this name, too."""
SECONDS: Final = 365 * 24 * 3600
"""How long a browser keeps the choice: a year."""

_USUAL_CLIENT: Final = next(iter(INSTALL_CHOICES))
"""The first of the clients to choose from."""
_COOKIE_PATTERN: Final = re.compile(
    rb"(?:^|;)[ \t]*%s=([a-z-]{1,20})[ \t]*(?:;|$)" % COOKIE.encode()
)


def chosen_client(cookies: bytes) -> str:
    """
    Return the client in a Cookie header, one of `INSTALL_CHOICES`.

    The result is empty without the cookie, and for the usual client, which pages show anyway.
    """
    match = _COOKIE_PATTERN.search(cookies)
    if match is None:
        return ""
    client = match[1].decode()
    # a cookie may have any text, also the name of a client that nobody can choose any more
    if client not in INSTALL_CHOICES or client == _USUAL_CLIENT:
        return ""
    return client


def remember_client(client: str, server: ServerSettings) -> Header:
    """Return the header with which a browser keeps the choice."""
    text = f"{COOKIE}={client}; Max-Age={SECONDS}; Path={server.public_path}/; SameSite=Lax"
    return (b"set-cookie", text.encode())
