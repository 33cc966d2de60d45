"""From where a request comes: the connection's own address, or what trusted proxies say of it."""

from ipaddress import ip_address
from typing import Final

from wheelyard.http.exchange import Scope

NOWHERE: Final = "0.0.0.0"  # noqa: S104 - what a connection without an address is counted as


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
        peer = seen[-proxies].strip() if len(seen) >= proxies else seen[0].strip() or peer
    try:
        return str(ip_address(peer))
    except ValueError:
        return NOWHERE
