"""
Parsed hosts: the one that a client requests, and those of the allow list. Pure functions.

A client passes a URL first; some clients then pass the host alone if they got no credential. A host
alone gets none: it does not show whether the credential would be sent over http.

The list has hosts with or without a port, and no patterns. Text that two programs could parse
differently is rejected: backslashes, blanks, control characters, escapes, and letters outside of
ASCII, which IDNA 2003 and IDNA 2008 map differently. Use the `xn--` form of such a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_AUTHORITY: Final = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?")
_LOOPBACK: Final = re.compile(r"localhost|::1|127(?:\.[0-9]{1,3}){3}")


@dataclass(frozen=True)
class RequestedHost:
    """
    The host that a client requests a credential for.

    Args:
        scheme: `https`, or `http`.
        name: Lower case, without a last dot; an IPv6 address without its brackets.
        port: As given, or the scheme's own.
        path: Of the URL.
    """

    scheme: str
    name: str
    port: int
    path: str

    @property
    def is_safe(self) -> bool:
        """Whether the transport is encrypted, or stays on this machine."""
        return self.scheme == "https" or _LOOPBACK.fullmatch(self.name) is not None

    @property
    def address(self) -> str:
        """The host as in a URL: IPv6 in brackets, and the port unless it is the scheme's own."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def root(self) -> str:
        """The URL of the host, without a path or a trailing slash."""
        return f"{self.scheme}://{self.address}"


@dataclass(frozen=True)
class AllowedHost:
    """
    A host of the allow list.

    Args:
        name: As in `RequestedHost`.
        port: None for the default port of the scheme.
    """

    name: str
    port: int | None

    def covers(self, host: RequestedHost) -> bool:
        """Return whether a requested host has this name and port (None: its scheme's own port)."""
        port = DEFAULT_PORTS[host.scheme] if self.port is None else self.port
        return (self.name, port) == (host.name, host.port)


def parse_service(service: str) -> RequestedHost | None:
    """Return the host of the http or https URL that a client requests; None if it is not one."""
    if " " in service or "\\" in service or not service.isprintable():
        return None
    try:
        parts = urlsplit(service)
    except ValueError:
        return None
    host = parse_host(parts.netloc.rpartition("@")[2])
    if host is None or parts.scheme not in DEFAULT_PORTS:
        return None
    port = DEFAULT_PORTS[parts.scheme] if host.port is None else host.port
    return RequestedHost(parts.scheme, host.name, port, parts.path)


def parse_host(text: str) -> AllowedHost | None:
    """Return the allowed host in `host` or `host:port`; None if the text is neither."""
    match = _AUTHORITY.fullmatch(text)
    name = match and _canonical(match["name"])
    if not match or not name:
        return None
    return AllowedHost(name, int(match["port"]) if match["port"] else None)


def _canonical(name: str) -> str | None:
    """
    Return a host name in lower case without a last dot, or an IPv6 address without brackets.

    Return None if the name is invalid.
    """
    if name.startswith("["):
        return _address(name[1:-1])
    lower = name.lower().removesuffix(".")
    return lower if name.isascii() and _NAME.fullmatch(lower) else None


def _address(text: str) -> str | None:
    from ipaddress import IPv6Address  # noqa: PLC0415 - rarely needed

    try:
        return None if "%" in text else str(IPv6Address(text))
    except ValueError:
        return None
