"""
Which host a client asks for, and whether it is on the list. Pure functions.

A client passes a URL first, and if it got nothing, some then pass the host alone. That is answered
nothing, for it does not tell whether the credential would travel over http.

The list has hosts with or without a port, and no patterns. Everything that two programs could read
in different ways is no host at all: backslashes, blanks, control characters, escapes, and letters
outside of ASCII, which the two versions of the standard map differently. Whoever has such a name
lists, and asks for, its `xn--` form.
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
class Asked:
    """
    The host that a client asks for.

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
        """Whether what is sent there cannot be read on the way."""
        return self.scheme == "https" or _LOOPBACK.fullmatch(self.name) is not None

    @property
    def address(self) -> str:
        """The host as it stands in a URL, with its port if it is not the scheme's own."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def root(self) -> str:
        """The URL of the host, without a slash at its end."""
        return f"{self.scheme}://{self.address}"


@dataclass(frozen=True)
class Listed:
    """
    A host on the list.

    Args:
        name: As in `RequestedOptions`.
        port: None for that of the scheme.
    """

    name: str
    port: int | None

    def covers(self, asked: Asked) -> bool:
        """Whether this is the host that is asked for; says nothing of the scheme."""
        port = DEFAULT_PORTS[asked.scheme] if self.port is None else self.port
        return (self.name, port) == (asked.name, asked.port)


def parse_service(service: str) -> Asked | None:
    """Return the host of the URL that a client passes for a service, None if it is no such URL."""
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
    return Asked(parts.scheme, host.name, port, parts.path)


def parse_host(text: str) -> Listed | None:
    """Return `host` or `host:port`, None if it is anything else."""
    match = _AUTHORITY.fullmatch(text)
    name = match and _canonical(match["name"])
    if not match or not name:
        return None
    return Listed(name, int(match["port"]) if match["port"] else None)


def _canonical(name: str) -> str | None:
    """Return the one spelling of a name, None if it has none or is not a name."""
    if name.startswith("["):
        return _address(name[1:-1])
    lower = name.lower().removesuffix(".")
    return lower if name.isascii() and _NAME.fullmatch(lower) else None


def _address(text: str) -> str | None:
    from ipaddress import IPv6Address  # noqa: PLC0415 - hardly anybody asks for one

    try:
        return None if "%" in text else str(IPv6Address(text))
    except ValueError:
        return None
