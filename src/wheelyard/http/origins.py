"""
Whether a request was made by a page of another site, with what a browser adds by itself.

A browser sends a password that it has once been given, and whatever lets somebody through a proxy,
along with requests that any page makes. It also says where the page is from: `Sec-Fetch-Site`, or
`Origin`, which no page can forge. Clients on a command line send neither.

A page can also make the name that it came from lead to this machine, and is then of the same origin
as whatever listens here. Where an index for this machine alone knows no name of its own, or takes
uploads from everybody, browsers change something by an address, by `localhost`, or by the name that
`public_url` says.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Reply
from wheelyard.http.guards import without_port
from wheelyard.settings.sections import ServerSettings, Settings

OWN_PAGE: Final = b"same-origin"
OWN_OR_PERSON: Final = frozenset({OWN_PAGE, b"none"})
"""What a browser says of a page of ours, and of what somebody has typed or bookmarked."""

Headers = Mapping[bytes, bytes]


def is_foreign(headers: Headers, settings: Settings) -> bool:
    """Return whether a page made the request that is not of this index."""
    return _is_of_another(headers, settings.server) or _is_misled(headers, settings)


def is_own(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a page of this index made the request, by the browser's word."""
    if _is_of_another(headers, server):
        return False
    return b"origin" in headers or headers.get(b"sec-fetch-site", b"").strip().lower() == OWN_PAGE


def cross_site() -> Reply:
    """Return the refusal of what a page of another site has sent."""
    message = (
        "A page of another site sent this, or one under a name that the index does not know. Send "
        "it from a program, or from the index itself; [server] public_url says how that is called."
    )
    return refuse(403, "cross_site", message, "Cross-site request.")


def public_origin(server: ServerSettings) -> str:
    """Return scheme and host that people reach the index by, empty if nobody has said."""
    parts = urlsplit(server.public_url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def _is_of_another(headers: Headers, server: ServerSettings) -> bool:
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site.strip().lower() not in OWN_OR_PERSON:
        return True
    return origin is not None and not _is_own(origin, headers, server)


def _is_own(origin: bytes, headers: Headers, server: ServerSettings) -> bool:
    asked = origin.decode("latin-1").strip().lower()
    scheme, _, host = asked.partition("://")
    if scheme not in ("http", "https") or not host:
        return False
    public = public_origin(server)
    if host == public.partition("://")[2]:
        return asked == public
    return host == headers.get(b"host", b"").decode("latin-1").strip().lower()


def _is_misled(headers: Headers, settings: Settings) -> bool:
    """Return whether a browser may have been led to this machine by a name that is not ours."""
    server, access = settings.server, settings.access
    if access.trusted_hosts or not (b"origin" in headers or b"sec-fetch-site" in headers):
        return False
    is_named = server.public_url or server.trusted_proxies or not server.is_loopback
    if is_named and not access.anonymous_uploads:  # or a credential is asked for, which it has not
        return False
    host = headers.get(b"host", b"").decode("latin-1").strip().lower()
    return host != public_origin(server).partition("://")[2] and not _is_local(host)


def _is_local(host: str) -> bool:
    """Return whether a value of Host is an address or `localhost`: nobody's to point elsewhere."""
    name = without_port(host.strip().lower()).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
