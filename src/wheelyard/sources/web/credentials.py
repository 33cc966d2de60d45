"""
Which credential goes to which server: what pip users expect, and never to anybody else.

What stands in the URL of the index, or was handed over beside it, is for that scheme, host and port
alone. An entry of the netrc file is for its host, as the file says; its `default` is not used,
because it would go to whatever host a page or a redirect names. It goes over https only, unless
the index itself is at that very host and port by http.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from netrc import NetrcParseError, netrc
from pathlib import Path

from wheelyard.sources.web.urls import Login, Url

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Everything that may be shown to servers.

    Args:
        index: The URL that the operator has named.
        login: What the operator has given beside it; only a password is enough.
        known: By host, what the netrc file has.
    """

    index: Url
    login: Login | None = None
    known: Mapping[str, Login] = field(default_factory=dict, repr=False)

    def header_for(self, url: Url) -> str | None:
        """Return what the Authorization header of a request to `url` says."""
        is_index = url.origin == self.index.origin
        login = self._completed(url.login or (self.index.login if is_index else None), url)
        if login is None:
            return None
        pair = f"{login.username}:{login.password}".encode()
        return f"Basic {b64encode(pair).decode()}"

    def _completed(self, written: Login | None, url: Url) -> Login | None:
        """Return what a URL says of a credential, with the password that is found elsewhere."""
        if written is not None and written.password:
            return written
        if self.login is not None and url.origin == self.index.origin:
            return self.login if written is None else replace(self.login, username=written.username)
        is_safe = url.is_secure or url.origin == self.index.origin
        known = self.known.get(url.host.strip("[]")) if is_safe else None
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
        if host != DEFAULT
    }
