"""
From where a request comes: the connection's own address, or what trusted proxies say of it.

A proxy on the same machine forwards strangers over a connection from this machine. So what was
forwarded is not from here, whether or not the proxy is trusted to say from where it is.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from wheelyard.http.exchange import Scope

NOWHERE: Final = "0.0.0.0"  # noqa: S104 - what a connection without an address is counted as

_FORWARDING: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-forwarded-for",
        b"x-envoy-external-address",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"true-client-ip",
    }
)
"""What proxies add, besides everything that begins with `X-Forwarded-`."""
_WITH_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]*)?|([^:]+):[0-9]*")


def address_of(scope: Scope, proxies: int) -> str:
    """
    Return the address of the client.

    Args:
        scope: Of the request.
        proxies: How many proxies stand before the server. Each adds the address that it sees to
            the end of X-Forwarded-For; whatever stands before those is the client's own invention.
    """
    peer = str((scope.get("client") or (NOWHERE,))[0])
    if proxies:
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        seen = b",".join(lines).decode("latin-1").split(",")
        said = seen[-proxies] if len(seen) >= proxies else seen[0]
        peer = said.strip() or peer
    peer = peer.partition("%")[0]  # what follows is the zone of an interface, and may be any text
    try:
        return str(ip_address(peer))
    except ValueError:
        return _without_port(peer)


def is_forwarded(headers: Iterable[bytes]) -> bool:
    """Return whether one of these names of headers is a proxy's."""
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name in headers)


def _without_port(peer: str) -> str:
    """Return the address in `1.2.3.4:port` or `[v6]:port`, as some proxies write it."""
    found = _WITH_PORT.fullmatch(peer)
    try:
        return str(ip_address(found[1] or found[2])) if found else NOWHERE
    except ValueError:
        return NOWHERE
