"""
Which hosts and pages a request may come from, and to which page a person is sent back.

A browser adds a stored password to a request, whichever page has made the request (CSRF). It also
names the site of the page in `Sec-Fetch-Site` or `Origin`, which no page can forge. Other clients
send neither header.

A page can make its own host name resolve to this machine (DNS rebinding), and then has the same
origin as the index. So if the index listens on loopback only, or allows anonymous uploads, browsers
may change something only under an IP address, `localhost`, or the host of `public_url`. With
`trusted_hosts`, `HostPolicy` checks the host instead, before routing; health probes are answered
under any host, as a load balancer knows an address and no host name.
"""

import re
from collections.abc import Awaitable
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wheelyard.errors import Forbidden, Invalid
from wheelyard.http.protocol.error_responses import UNKNOWN_HOST
from wheelyard.http.protocol.messages import AsgiScope, Header, Headers
from wheelyard.http.protocol.requests import has_forwarding_header
from wheelyard.http.security.request_authentication import SessionCookie, session_of
from wheelyard.settings.sections import ServerSettings, Settings, is_loopback

SAFE_FETCH_SITES: Final = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of requests that are not cross-site; `none`: the user has typed the URL."""

HTTPS: Final = "https"

MAX_PATH_CHARS: Final = 2048

_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""Printable ASCII without a backslash; browsers read `//host` and `/\\host` as another host."""
_PLAIN_PATH: Final = re.compile(r"(?!.*(?://|\.\.))[!-\[\]-~]*")
"""As above without `//` and `..`, which lead out of the index; no name or version has them."""
MAX_ENCODINGS: Final = 3
"""How often what stands in a path may be percent-encoded."""
_SECRET: Final = re.compile(r"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)
_SIGNING: Final = re.compile(r"/-/sign-(?:in|out)(?![^/?#])")

HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""For a year. Other names of the domain are not this server's to decide about."""


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
        "A page of another site has sent this request, or a page under an unknown host name. "
        "Nothing was changed. Send it from a program, or from a page of the index itself.",
        code="cross_site",
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


class HostPolicy(Struct, frozen=True):
    """Which values of the Host header are allowed, and whether credentials need HTTPS."""

    hosts: frozenset[str]
    """The allowed values of Host, in lower case; empty allows any."""
    exempt_paths: frozenset[bytes]
    """Raw paths of health probes, which are answered under any host."""
    requires_https: bool
    session_cookie: SessionCookie | None
    """The cookie that is a credential, too."""
    sign_in_path: bytes
    """The raw path of the form that asks for a credential, which needs HTTPS as well."""
    trusted_proxies: int
    """The number of reverse proxies whose X-Forwarded-Proto is trusted."""

    @classmethod
    def of(cls, settings: Settings) -> "HostPolicy | None":
        """Return the policy of the settings; None if they restrict neither host nor scheme."""
        access, server = settings.access, settings.server
        if not access.trusted_hosts and not access.require_https:
            return None
        hosts = frozenset(host.lower() for host in access.trusted_hosts)
        prefixes, probes = ("", server.path_prefix), ("/health", "/ready")
        paths = frozenset(f"{prefix}{path}".encode() for prefix in prefixes for path in probes)
        cookie, sign_in = SessionCookie.of(settings), f"{server.path_prefix}/-/sign-in/".encode()
        return cls(hosts, paths, access.require_https, cookie, sign_in, server.trusted_proxies)

    def check(self, scope: AsgiScope, headers: Headers) -> None:
        """Raise Invalid (421) if the host is unknown, Forbidden for a credential without HTTPS."""
        if not self._is_allowed_host(headers) and scope["raw_path"] not in self.exempt_paths:
            message = "This index has another host name. Use the URL that its operator gave you."
            raise Invalid(message, code=UNKNOWN_HOST)
        needs_https = self.requires_https and self._has_credential(scope, headers)
        if needs_https and not self._is_encrypted(scope, headers):
            raise Forbidden(
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL.",
                code="https_required",
            )

    def _is_allowed_host(self, headers: Headers) -> bool:
        host = header_text(headers, b"host")
        return not self.hosts or host in self.hosts or strip_port(host) in self.hosts

    def _has_credential(self, scope: AsgiScope, headers: Headers) -> bool:
        if b"authorization" in headers or scope["raw_path"] == self.sign_in_path:
            return True
        return bool(session_of(headers, self.session_cookie))

    def _is_encrypted(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether the client used HTTPS, or is on this machine and is no proxy."""
        if not self.trusted_proxies:
            if scope.get("scheme") == HTTPS:
                return True
            peer = str((scope.get("client") or ("",))[0])
            return is_loopback(peer) and not has_forwarding_header(headers)
        # each proxy appends, as to X-Forwarded-For
        seen = [each.strip() for each in header_text(headers, b"x-forwarded-proto").split(",")]
        return seen[-self.trusted_proxies if len(seen) >= self.trusted_proxies else 0] == HTTPS


def local_path(text: str, server: ServerSettings) -> str:
    """Return `text` if it is the path of a page to return to, with its query; else that of home."""
    home = f"{server.path_prefix}/"
    is_local = len(text) <= MAX_PATH_CHARS and _LOCAL.fullmatch(text) and text.startswith(home)
    if not is_local or "#" in text or not _stays_below(text):
        return home
    return home if _SIGNING.match(text.removeprefix(server.path_prefix)) else text


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


class HttpsOnly:
    """An ASGI application that adds the header to each response of another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""

        def send_with_header(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], HTTPS_ONLY]}
            return send(message)

        is_added = scope["type"] == "http" and _is_for_other_machines(scope)
        await self._app(scope, receive, send_with_header if is_added else send)


def _is_for_other_machines(scope: Scope) -> bool:
    """Return whether a request names a host that is not, or not always, a client's own machine."""
    host = strip_port(header_text(dict(scope["headers"]), b"host")).strip("[]").removesuffix(".")
    return bool(host) and not (is_loopback(host) or host.endswith(".localhost"))
