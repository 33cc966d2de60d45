"""The credentials of a netrc file, by host."""

from netrc import NetrcParseError, netrc
from pathlib import Path

from wheelyard.http_client.urls import UserPassword


def read_netrc(path: Path) -> dict[str, UserPassword]:
    """Return the netrc entries by host, without `default`; empty if missing or invalid."""
    try:
        hosts = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError):
        return {}
    return {
        host.lower(): UserPassword(entry[0], entry[2] or "")
        for host, entry in hosts.items()
        if host != "default"
    }
