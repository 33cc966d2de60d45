"""
What is refused before anything is looked at: unknown hosts, and credentials over plain HTTP.

Both are off unless a setting asks for them. Probes are answered under any name: whoever asks them
knows an address, and no host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from wheelyard.http.address import is_forwarded
from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Reply, Scope
from wheelyard.settings.sections import Settings

HTTPS: Final = "https"


@dataclass(frozen=True, slots=True)
class Guards:
    """
    The guards of an index that has any.

    Args:
        hosts: The only values of Host that are answered, in lower case; none for any.
        open_paths: Raw paths that are answered under every name.
        needs_https: Whether credentials have to come over HTTPS.
        proxies: How many proxies before the server are trusted to say what they came over.
    """

    hosts: frozenset[str]
    open_paths: frozenset[bytes]
    needs_https: bool
    proxies: int

    @classmethod
    def of(cls, settings: Settings) -> "Guards | None":
        """Return the guards that the settings ask for, None where there are none to keep."""
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

    def refused(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Reply | None:
        """Return the refusal of a request that gets no further, else None."""
        if not self._is_ours(headers) and scope["raw_path"] not in self.open_paths:
            message = "This index does not answer to that host name. Use the URL that you were told"
            return refuse(421, "unknown_host", f"{message}.", "Unknown host.")
        is_secret = self.needs_https and b"authorization" in headers
        if is_secret and not self._is_private(scope, headers):
            message = (
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL."
            )
            return refuse(403, "https_required", message, "Use https.")
        return None

    def _is_ours(self, headers: Mapping[bytes, bytes]) -> bool:
        if not self.hosts:
            return True
        host = headers.get(b"host", b"").decode("latin-1").lower()
        return host in self.hosts or without_port(host) in self.hosts

    def _is_private(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether nobody on the way could read the request."""
        if scope.get("scheme") == HTTPS:
            return True
        if not self.proxies:
            return is_loopback(scope) and not is_forwarded(headers)
        # each proxy that adds to the header does so at its end, as with X-Forwarded-For
        said = headers.get(b"x-forwarded-proto", b"").decode("latin-1")
        seen = [each.strip().lower() for each in said.split(",")]
        return seen[-self.proxies if len(seen) >= self.proxies else 0] == HTTPS


def without_port(host: str) -> str:
    """Return a value of Host without the port in it; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def is_loopback(scope: Scope) -> bool:
    """Return whether the connection comes from this machine."""
    try:
        return ip_address(str((scope.get("client") or ("",))[0])).is_loopback
    except ValueError:
        return False
