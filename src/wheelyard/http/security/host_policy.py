"""
Checks of the `Host` header and of the scheme, before routing (`trusted_hosts`, `require_https`).

Health probes are answered under any host: a load balancer knows an address and no host name.
"""

from typing import Final

from msgspec import Struct

from wheelyard.errors import Forbidden, Invalid
from wheelyard.http.protocol.client_address import has_forwarding_header
from wheelyard.http.protocol.error_responses import UNKNOWN_HOST
from wheelyard.http.protocol.messages import AsgiScope, Headers
from wheelyard.http.security.csrf import header_text, strip_port
from wheelyard.http.security.session_cookie import SessionCookie, session_of
from wheelyard.settings.sections import Settings, is_loopback

HTTPS: Final = "https"


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
            raise Invalid(message, code=UNKNOWN_HOST, short="Unknown host.")
        needs_https = self.requires_https and self._has_credential(scope, headers)
        if needs_https and not self._is_encrypted(scope, headers):
            raise Forbidden(
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL.",
                code="https_required",
                short="Use https.",
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
