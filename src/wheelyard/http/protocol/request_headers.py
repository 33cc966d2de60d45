"""What URL and headers of a request may be (RFC 9110, RFC 9112), and the client's address."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.http.protocol.error_responses import HEADERS_TOO_LARGE, URI_TOO_LONG
from wheelyard.http.protocol.messages import AsgiScope, Header, Headers

URL_LIMIT_BYTES: Final = 4096
"""The longest URL: raw path and query together."""
HEADERS_LIMIT_BYTES: Final = 32 * 1024
"""The size of all request headers together: names and values."""
MAX_HEADERS: Final = 100

HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z._~!$&'()*+,;=%:-]+\])(?::[0-9]*)?"
)
"""Matches a valid Host header (RFC 9110, 7.2), which may be empty."""
_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_NOT_REPEATABLE: Final = frozenset({b"authorization", b"host", b"content-length", b"content-type"})

UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - stands for a connection without an address
_FORWARDING_HEADERS: Final = frozenset(
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-forwarded-for "
    b"x-envoy-external-address cf-connecting-ip fastly-client-ip true-client-ip".split()
)
"""Request headers that reverse proxies add, besides `X-Forwarded-*`."""
_WITH_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]*)?|([^:]+):[0-9]*")


def join_headers(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """
    Return headers by name; the values of a repeated one are joined by commas (RFC 9110, 5.3).

    HTTP/2 repeats Cookie, whose values are joined by semicolons (RFC 9113, 8.2.3).
    """
    if len(found := dict(headers)) == len(headers):
        return found
    values: dict[bytes, list[bytes]] = {name: [] for name in found}
    for name, value in headers:
        values[name].append(value)
    joined = {name: b", ".join(each) for name, each in values.items()}
    if b"cookie" in values:
        joined[b"cookie"] = b"; ".join(values[b"cookie"])
    return joined


def size_of(headers: Iterable[Header]) -> int:
    """Return how many bytes the names and values of headers have."""
    return sum(len(name) + len(value) for name, value in headers)


def check_limits(scope: AsgiScope, joined: Headers) -> None:
    """Raise Invalid if the URL or headers are too long, repeated, malformed or missing."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > URL_LIMIT_BYTES:
        raise Invalid("The URL is too long.", code=URI_TOO_LONG)
    headers = scope["headers"]
    if size_of(headers) > HEADERS_LIMIT_BYTES or len(headers) > MAX_HEADERS:
        message = "The headers are too long. Send fewer or shorter ones."
        raise Invalid(message, code=HEADERS_TOO_LARGE)
    names = [name for name, _ in headers if name in _NOT_REPEATABLE]
    if len(set(names)) != len(names):
        message = "A header is repeated that may be sent only once. Send it once."
        raise Invalid(message)
    if not _CONTENT_LENGTH.fullmatch(joined.get(b"content-length", b"0")):
        message = "The Content-Length is not a number of bytes. Send it in at most 19 digits."
        raise Invalid(message)
    if scope["http_version"] == "1.1" and not joined.get(b"host"):
        raise Invalid("The request names no host.")


def check_host_and_coding(headers: Headers) -> None:
    """Raise Invalid if Host is malformed, or the transfer coding is unknown."""
    if not HOST.fullmatch(headers.get(b"host", b"")):
        message = "The Host header is not valid. Send a name or an IP address, and maybe a port."
        raise Invalid(message)
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        message = "The Transfer-Encoding is not supported. Send the body as it is, or chunked."
        raise Invalid(message)


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
