"""
Whether a request was made by a page of another site, with what a browser adds by itself.

A browser sends a password that it has once been given, and whatever lets somebody through a proxy,
along with requests that any page makes. It also says where the page is from: `Sec-Fetch-Site`, or
`Origin`, which no page can forge. Clients on a command line send neither.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Reply
from wheelyard.settings.sections import ServerSettings

OWN_PAGE: Final = b"same-origin"
OWN_OR_PERSON: Final = frozenset({OWN_PAGE, b"none"})
"""What a browser says of a page of ours, and of what somebody has typed or bookmarked."""

Headers = Mapping[bytes, bytes]


def is_foreign(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a page made the request that is not of this index."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site.strip().lower() not in OWN_OR_PERSON:
        return True
    return origin is not None and not _is_own(origin, headers, server)


def is_own(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a page of this index made the request, by the browser's word."""
    if is_foreign(headers, server):
        return False
    return b"origin" in headers or headers.get(b"sec-fetch-site", b"").strip().lower() == OWN_PAGE


def cross_site() -> Reply:
    """Return the refusal of what a page of another site has sent."""
    message = "A page of another site sent this. Send it from a program, or from the index itself."
    return refuse(403, "cross_site", message, "Cross-site request.")


def public_origin(server: ServerSettings) -> str:
    """Return scheme and host that people reach the index by, empty if nobody has said."""
    parts = urlsplit(server.public_url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def _is_own(origin: bytes, headers: Headers, server: ServerSettings) -> bool:
    asked = origin.decode("latin-1").strip().lower()
    scheme, _, host = asked.partition("://")
    if scheme not in ("http", "https") or not host:
        return False
    public = public_origin(server)
    if host == public.partition("://")[2]:
        return asked == public
    return host == headers.get(b"host", b"").decode("latin-1").strip().lower()
