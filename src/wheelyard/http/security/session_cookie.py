"""
The cookie of a session: its name, its attributes, and how it is found in a request.

Its name ends in a digest of the port and the path of the index: a browser sends the cookies of a
host to all its ports, and those that begin with `__Host-` to all paths, so that two indexes of one
host would overwrite each other's.

On https its name begins with `__Host-`: a browser then takes it from this host over https alone, so
that no other host of the domain can plant one. `SameSite=Strict` keeps it from requests that pages
of other sites make; also from a link there, so that one arrives as if signed out.
"""

import re
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from wheelyard.http.protocol.messages import Header, Headers
from wheelyard.model.session import MAX_COOKIE_CHARS
from wheelyard.settings.sections import Settings

NAME: Final = "wheelyard-session"

_VALUE: Final = re.compile(rb"[A-Za-z0-9_.-]{1,%d}" % MAX_COOKIE_CHARS)


class SessionCookie(Struct, frozen=True):
    """The name and the attributes of the cookie on one index."""

    name: str
    attributes: str
    pattern: re.Pattern[bytes]
    """Finds each value of the cookie in a Cookie header."""

    @classmethod
    def of(cls, settings: Settings) -> "SessionCookie | None":
        """Return the cookie by the settings; None if `cookie_login` is off."""
        if not settings.access.cookie_login:
            return None
        attributes = "HttpOnly; SameSite=Strict"
        url = urlsplit(settings.base_url)
        is_secure = url.scheme == "https"
        index = f"{url.port or (443 if is_secure else 80)}{url.path}".encode()
        name = f"{NAME}-{blake2b(index, digest_size=4).hexdigest()}"
        if is_secure:
            name, place = f"__Host-{name}", "Path=/; Secure"
        else:
            place = f"Path={settings.server.path_prefix}/"
        pattern = re.compile(rb"(?:^|;)[ \t]*%s=([^;]*)" % name.encode())
        return cls(name, f"{place}; {attributes}", pattern)

    def value_in(self, header: bytes) -> bytes:
        """
        Return the value of the cookie in a Cookie header; empty if it has none of the right form.

        Also empty if there are several, of which one may be planted.
        """
        found = self.pattern.findall(header)
        return found[0] if len(found) == 1 and _VALUE.fullmatch(found[0]) else b""

    def header(self, value: str, seconds: int) -> Header:
        """Return the header that gives a browser the cookie for so many seconds."""
        text = f"{self.name}={value}; Max-Age={seconds}; {self.attributes}"
        return (b"set-cookie", text.encode("ascii"))

    def removal(self) -> Header:
        """Return the header that takes the cookie from a browser."""
        return self.header("", 0)


def session_of(headers: Headers, cookie: SessionCookie | None) -> bytes:
    """Return the value of the session's cookie; empty with an Authorization header, which wins."""
    if cookie is None or b"authorization" in headers:
        return b""
    return cookie.value_in(headers.get(b"cookie", b""))
