"""
Which credential goes to which server: what pip users expect, and never to anybody else.

What stands in the URL of the index, or was handed over beside it, is for that scheme, host and port
alone. What stands in a link or a redirect is for nobody: a stranger has written it. An entry of the
netrc file names a host and no port, so it is for https on the usual port there, and for the index
itself. Its `default` is not used, because it would go to whatever host a page or a redirect names.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from netrc import NetrcParseError, netrc
from pathlib import Path

from wheelyard.outgoing.urls import PORTS, Login, Url


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that may be shown to servers."""

    index: Url
    """The URL that the operator has named."""
    login: Login | None = None
    """What the operator has given beside it; only a password is enough."""
    known: Mapping[str, Login] = field(default_factory=dict, repr=False)
    """By host, what the netrc file has."""

    def header_for(self, url: Url) -> str | None:
        """Return what the Authorization header of a request to `url` says."""
        is_index = url.origin == self.index.origin
        is_usual = url.is_secure and url.port == PORTS["https"]
        known = self.known.get(url.host.strip("[]")) if is_index or is_usual else None
        login = self._completed(known) if is_index else known
        if login is None:
            return None
        pair = f"{login.username}:{login.password}".encode()
        return f"Basic {b64encode(pair).decode()}"

    def _completed(self, known: Login | None) -> Login | None:
        """Return what the index's URL says of a credential, with a password found elsewhere."""
        written = self.index.login
        if written is not None and written.password:
            return written
        if self.login is not None:
            return self.login if written is None else replace(self.login, username=written.username)
        if written is None or (known is not None and known.username == written.username):
            return known
        return written


def read_netrc(path: Path) -> dict[str, Login]:
    """Return what a netrc file has for each host; nothing if there is no such file, as for pip."""
    try:
        hosts = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError):
        return {}
    return {
        host.lower(): Login(entry[0], entry[2] or "")
        for host, entry in hosts.items()
        if host != "default"
    }
