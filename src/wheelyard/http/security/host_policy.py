"""
Which `Host` headers and which schemes are answered; the rest is refused before anything else.

Probes are answered under any host: a load balancer that probes knows an address and no name.
"""

from dataclasses import dataclass
from typing import Final

from wheelyard.http.protocol.client_address import has_forwarding_header
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import AsgiScope, Headers, Response
from wheelyard.http.security.csrf import _text, _without_port
from wheelyard.settings.sections import Settings, is_loopback

HTTPS: Final = "https"


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
            return error_response(421, "unknown_host", f"{message}.", "Unknown host.")
        is_secret = self.needs_https and b"authorization" in headers
        if is_secret and not self._is_private(scope, headers):
            message = (
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL."
            )
            return error_response(403, "https_required", message, "Use https.")
        return None

    def _is_ours(self, headers: Headers) -> bool:
        host = _text(headers, b"host")
        return not self.hosts or host in self.hosts or _without_port(host) in self.hosts

    def _is_private(self, scope: AsgiScope, headers: Headers) -> bool:
        if scope.get("scheme") == HTTPS:
            return True
        if not self.proxies:
            peer = str((scope.get("client") or ("",))[0])
            return is_loopback(peer) and not has_forwarding_header(headers)
        # each proxy adds to the end, as with X-Forwarded-For
        seen = [each.strip() for each in _text(headers, b"x-forwarded-proto").split(",")]
        return seen[-self.proxies if len(seen) >= self.proxies else 0] == HTTPS
