"""
Protection against cross-site request forgery (CSRF) and DNS rebinding.

A browser adds a stored password to a request, whichever page has made the request. It also names
the site of the page in `Sec-Fetch-Site` or `Origin`, which no page can forge. Other clients send
neither header.

A page can make its own host name resolve to this machine (DNS rebinding), and then has the same
origin as the index. So if the index listens on loopback only, or allows anonymous uploads, browsers
may change something only under an IP address, `localhost`, or the host of `public_url`. With
`trusted_hosts`, `host_policy.py` checks the host instead.
"""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from wheelyard.errors import Forbidden
from wheelyard.http.protocol.messages import Headers
from wheelyard.settings.sections import ServerSettings, Settings

SAFE_FETCH_SITES: Final = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of requests that are not cross-site; `none`: the user has typed the URL."""


def is_cross_site(headers: Headers, settings: Settings) -> bool:
    """Return whether a page of another site, or under an unknown host name, made the request."""
    return _has_other_origin(headers, settings.server) or _is_dns_rebinding(headers, settings)


def is_same_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser's headers say that a page of this index has made the request."""
    if _has_other_origin(headers, server):
        return False
    return b"origin" in headers or header_text(headers, b"sec-fetch-site") == "same-origin"


def cross_site_error() -> Forbidden:
    """Return the error of a cross-site request."""
    return Forbidden(
        "A page of another site has sent this request, or a page under an unknown host name. Send "
        "it from a program or a page of the index, whose URL [server] public_url has to be.",
        code="cross_site",
        short="Cross-site request.",
        on_page="A page of another site has sent this, or the index has another address than the "
        "one that you have opened. Nothing was changed.",
    )


def public_origin(server: ServerSettings) -> str:
    """Return `public_url` without its path, such as `https://host:8443`; empty if it is not set."""
    parts = urlsplit(server.public_url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def _has_other_origin(headers: Headers, server: ServerSettings) -> bool:
    if header_text(headers, b"sec-fetch-site", "none") not in SAFE_FETCH_SITES:
        return True
    if b"origin" not in headers:
        return False
    origin, public = header_text(headers, b"origin"), public_origin(server)
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host:
        return True
    if host == public.partition("://")[2]:
        return origin != public
    return host != header_text(headers, b"host")


def _is_dns_rebinding(headers: Headers, settings: Settings) -> bool:
    server, access = settings.server, settings.access
    if access.trusted_hosts or not (b"origin" in headers or b"sec-fetch-site" in headers):
        return False
    is_public = server.public_url or server.trusted_proxies or not server.is_loopback
    if is_public and not access.anonymous_uploads:  # the page's origin has no stored password
        return False
    host = header_text(headers, b"host")
    return host != public_origin(server).partition("://")[2] and not _is_local(host)


def _is_local(host: str) -> bool:
    name = strip_port(host).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def header_text(headers: Headers, name: bytes, default: str = "") -> str:
    """Return the value of a header, stripped and in lower case; `default` if it is missing."""
    return headers.get(name, default.encode()).decode("latin-1").strip().lower()


def strip_port(host: str) -> str:
    """Return the value of a Host header without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
