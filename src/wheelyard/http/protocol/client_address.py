"""The client's IP address, from the connection or from `X-Forwarded-For` of trusted proxies."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from wheelyard.http.protocol.messages import AsgiScope

UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - stands for a connection without an address
_FORWARDING_HEADERS: Final = frozenset(
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-forwarded-for "
    b"x-envoy-external-address cf-connecting-ip fastly-client-ip true-client-ip".split()
)
"""Request headers that reverse proxies add, besides `X-Forwarded-*`."""
_WITH_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]*)?|([^:]+):[0-9]*")


def client_address(scope: AsgiScope, trusted_proxies: int) -> str:
    """
    Return the IP address of the client, which is behind `trusted_proxies` proxies (0: none).

    Each trusted proxy appends the address that it sees to X-Forwarded-For. Earlier entries may be
    invented by the client, and are not used. An address that is not valid becomes 0.0.0.0.
    """
    peer = str((scope.get("client") or (UNKNOWN_ADDRESS,))[0])
    if trusted_proxies:
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        seen = b",".join(values).decode("latin-1").split(",")
        peer = seen[-trusted_proxies if len(seen) >= trusted_proxies else 0].strip() or peer
    return _normalized(peer)


@lru_cache(1024)  # the same few clients and proxies send all requests of a moment
def _normalized(peer: str) -> str:
    peer = peer.partition("%")[0]  # an IPv6 zone may be any text
    try:
        return str(ip_address(peer))
    except ValueError:
        return _without_port(peer)


def has_forwarding_header(headers: Iterable[bytes]) -> bool:
    """Return whether reverse proxies add a header with one of these (lower-case) names."""
    return any(name in _FORWARDING_HEADERS or name.startswith(b"x-forwarded-") for name in headers)


def _without_port(peer: str) -> str:
    # some proxies write `1.2.3.4:port` or `[v6]:port`
    found = _WITH_PORT.fullmatch(peer)
    try:
        return str(ip_address(found[1] or found[2])) if found else UNKNOWN_ADDRESS
    except ValueError:
        return UNKNOWN_ADDRESS
