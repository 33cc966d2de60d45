"""
Protection against requests that another site's page makes a browser send: CSRF and DNS rebinding.

A browser sends a stored password along with requests that any page makes. It also says where the
page is from, in `Sec-Fetch-Site` or `Origin`, which no page can forge. Other clients send neither.

A page can make its own host name resolve to this machine (DNS rebinding), and is then of the same
origin. So where the index listens for this machine only, or takes uploads from everybody, browsers
may change something only by an IP address, by `localhost`, or by the host of `public_url`.
"""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import Headers, Response
from wheelyard.settings.sections import ServerSettings, Settings

OWN_PAGE: Final = "same-origin"
OWN_OR_PERSON: Final = frozenset({OWN_PAGE, "none"})
"""What a browser says of our page, and of what a person has typed."""


def is_cross_site(headers: Headers, settings: Settings) -> bool:
    """Return whether a page made the request that is not of this index."""
    return _is_of_another(headers, settings.server) or _is_dns_rebinding(headers, settings)


def is_same_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser says that a page of ours made the request."""
    if _is_of_another(headers, server):
        return False
    return b"origin" in headers or _text(headers, b"sec-fetch-site") == OWN_PAGE


def cross_site_error() -> Response:
    """Return the refusal of what a page of another site has sent."""
    message = (
        "A page of another site sent this, or one under a name that the index does not know. Send "
        "it from a program, or from the index itself; [server] public_url says how that is called."
    )
    return error_response(403, "cross_site", message, "Cross-site request.")


def public_origin(server: ServerSettings) -> str:
    """Return scheme and host of `public_url`, empty if there is none."""
    parts = urlsplit(server.public_url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def _is_of_another(headers: Headers, server: ServerSettings) -> bool:
    if b"sec-fetch-site" in headers and _text(headers, b"sec-fetch-site") not in OWN_OR_PERSON:
        return True
    if b"origin" not in headers:
        return False
    origin, public = _text(headers, b"origin"), public_origin(server)
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host:
        return True
    if host == public.partition("://")[2]:
        return origin != public
    return host != _text(headers, b"host")


def _is_dns_rebinding(headers: Headers, settings: Settings) -> bool:
    server, access = settings.server, settings.access
    if access.trusted_hosts or not (b"origin" in headers or b"sec-fetch-site" in headers):
        return False
    is_named = server.public_url or server.trusted_proxies or not server.is_loopback
    if is_named and not access.anonymous_uploads:  # it has no credential
        return False
    host = _text(headers, b"host")
    return host != public_origin(server).partition("://")[2] and not _is_local(host)


def _is_local(host: str) -> bool:
    name = _without_port(host).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").strip().lower()


def _without_port(host: str) -> str:
    # an IPv6 address keeps its brackets
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
