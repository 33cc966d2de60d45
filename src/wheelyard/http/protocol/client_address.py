"""The address of the client, behind the proxies that are trusted."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from wheelyard.http.protocol.messages import AsgiScope

UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - what a connection without an address is counted as
_FORWARDING: Final = frozenset(
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-forwarded-for "
    b"x-envoy-external-address cf-connecting-ip fastly-client-ip true-client-ip".split()
)
"""What proxies add, besides `X-Forwarded-`."""
_WITH_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]*)?|([^:]+):[0-9]*")


def client_address(scope: AsgiScope, proxies: int) -> str:
    """
    Return the address of the client.

    Each trusted proxy adds the address that it sees to the end of X-Forwarded-For; the client can
    invent what stands before those.
    """
    peer = str((scope.get("client") or (UNKNOWN_ADDRESS,))[0])
    if proxies:
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        seen = b",".join(lines).decode("latin-1").split(",")
        peer = seen[-proxies if len(seen) >= proxies else 0].strip() or peer
    peer = peer.partition("%")[0]  # what follows is the zone of an interface, and may be any text
    try:
        return str(ip_address(peer))
    except ValueError:
        return _without_port(peer)


def has_forwarding_header(headers: Iterable[bytes]) -> bool:
    """Return whether a proxy has added one of these headers."""
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name in headers)


def _without_port(peer: str) -> str:
    # some proxies write `1.2.3.4:port` or `[v6]:port`
    found = _WITH_PORT.fullmatch(peer)
    try:
        return str(ip_address(found[1] or found[2])) if found else UNKNOWN_ADDRESS
    except ValueError:
        return UNKNOWN_ADDRESS
