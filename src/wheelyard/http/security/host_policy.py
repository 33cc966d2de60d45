"""
What is refused first: by host, by scheme, and by the page that sent it.

Probes are answered under any host: whoever probes knows an address, and no name.

A browser sends a password that it has once been given along with requests that any page makes. It
also says where the page is from, in `Sec-Fetch-Site` or `Origin`, which no page can forge. Programs
send neither.

A page can make its own name lead to this machine (DNS rebinding), and is then of the same origin.
So where an index is for this machine alone, or takes uploads from everybody, browsers change
something by an address, by `localhost`, or by the name that `public_url` says.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from wheelyard.http.error_responses import refusal_response
from wheelyard.http.observability.request_record import is_forwarded
from wheelyard.http.protocol.messages import AsgiScope, Headers, Response
from wheelyard.settings.sections import ServerSettings, Settings, is_loopback

HTTPS: Final = "https"
OWN_PAGE: Final = "same-origin"
OWN_OR_PERSON: Final = frozenset({OWN_PAGE, "none"})
"""What a browser says of our page, and of what a person has typed."""


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """Which hosts are answered, and whether credentials need HTTPS."""

    hosts: frozenset[str]
    """The only hosts that are answered, in lower case; none for any."""
    open_paths: frozenset[bytes]
    """Raw paths that are answered under every name."""
    needs_https: bool
    proxies: int
    """How many proxies are trusted to say what a request came over."""

    @classmethod
    def of(cls, settings: Settings) -> "HostPolicy | None":
        """Return the guards that the settings ask for, if any."""
        access, server = settings.access, settings.server
        if not access.trusted_hosts and not access.require_https:
            return None
        probes = ("/health", "/ready")
        paths = {f"{prefix}{path}" for prefix in ("", server.path_prefix) for path in probes}
        return cls(
            frozenset(host.lower() for host in access.trusted_hosts),
            frozenset(path.encode() for path in paths),
            access.require_https,
            server.trusted_proxies,
        )

    def refused(self, scope: AsgiScope, headers: Headers) -> Response | None:
        """Return the refusal of a request, or None."""
        if not self._is_ours(headers) and scope["raw_path"] not in self.open_paths:
            message = "This index does not answer to that host name. Use the URL that you were told"
            return refusal_response(421, "unknown_host", f"{message}.", "Unknown host.")
        is_secret = self.needs_https and b"authorization" in headers
        if is_secret and not self._is_private(scope, headers):
            message = (
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL."
            )
            return refusal_response(403, "https_required", message, "Use https.")
        return None

    def _is_ours(self, headers: Headers) -> bool:
        host = _text(headers, b"host")
        return not self.hosts or host in self.hosts or _without_port(host) in self.hosts

    def _is_private(self, scope: AsgiScope, headers: Headers) -> bool:
        if scope.get("scheme") == HTTPS:
            return True
        if not self.proxies:
            peer = str((scope.get("client") or ("",))[0])
            return is_loopback(peer) and not is_forwarded(headers)
        # each proxy adds to the end, as with X-Forwarded-For
        seen = [each.strip() for each in _text(headers, b"x-forwarded-proto").split(",")]
        return seen[-self.proxies if len(seen) >= self.proxies else 0] == HTTPS


def is_cross_site(headers: Headers, settings: Settings) -> bool:
    """Return whether a page made the request that is not of this index."""
    return _is_of_another(headers, settings.server) or _is_dns_rebinding(headers, settings)


def is_same_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser says that a page of ours made the request."""
    if _is_of_another(headers, server):
        return False
    return b"origin" in headers or _text(headers, b"sec-fetch-site") == OWN_PAGE


def cross_site_refusal() -> Response:
    """Return the refusal of what a page of another site has sent."""
    message = (
        "A page of another site sent this, or one under a name that the index does not know. Send "
        "it from a program, or from the index itself; [server] public_url says how that is called."
    )
    return refusal_response(403, "cross_site", message, "Cross-site request.")


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
