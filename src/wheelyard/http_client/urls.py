"""
URLs taken apart, so that a credential in one is never shown, and never sent elsewhere.

What pages link to is written by hand as often as not: blanks and other letters are quoted.
"""

from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_LENGTH: Final = 8192
"""Characters of a URL."""
MAX_HOST_LENGTH, MAX_LABEL_LENGTH = 253, 63
"""Characters of a host's name, and of each part between its dots."""
_SAFE: Final = "/%:@!$&'()*+,;=~-._[]"


class BadUrl(ValueError):
    """A text is no URL of http or https; says so without repeating it."""


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Url:
    """
    An absolute URL of http or https.

    Args:
        scheme: `http` or `https`.
        host: In lower case; IPv6 in brackets.
        port: The number, also where it is the usual one.
        path: Quoted, with a slash at its beginning.
        query: Quoted, without its question mark.
        fragment: As it was written.
        login: What stood before the host; nothing where a page or a server has written the URL.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = field(default="", repr=False)
    fragment: str = ""
    login: UserPassword | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who answers: what a credential is for."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The host, with the port where it is not the usual one."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """What a request asks the server for."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def redacted(self) -> str:
        """The URL as people may see it: no credential, and no query, which may have one."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def without_userinfo(self) -> str:
        """The URL with its query, and without a credential."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return unquote(self.path.rpartition("/")[2])

    @property
    def is_secure(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.scheme == "https"

    def resolved(self, reference: str) -> "Url":
        """Return what a page at this URL means by a reference; raise BadUrl if it means none."""
        if len(reference) > MAX_URL_LENGTH:
            raise BadUrl("it is too long")
        try:
            found = parse_url(urljoin(self.without_userinfo, reference.strip()))
        except BadUrl:
            raise
        except ValueError as error:
            raise BadUrl("it is no URL") from error
        return replace(found, login=None)

    def child_folder(self, name: str) -> "Url":
        """Return the folder of a name, which has nothing to be quoted in it, beside this page."""
        folder = self.path.rpartition("/")[0]
        return replace(self, path=f"{folder}/{name}/", query="", fragment="", login=None)

    def as_folder(self) -> "Url":
        """Return the URL with a slash at its end, unless it names a page."""
        if self.path.endswith(("/", ".html", ".htm")):
            return self
        return replace(self, path=f"{self.path}/")

    def contains(self, other: "Url") -> bool:
        """Return whether another URL is in the folder that this one is, or is a page of."""
        folder = self.path.rpartition("/")[0] + "/"
        return other.origin == self.origin and other.path.startswith(folder)


def parse_url(text: str) -> Url:
    """Return the URL that is written so; raise BadUrl if it is none, or of another scheme."""
    if len(text) > MAX_URL_LENGTH:
        raise BadUrl("it is too long")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
        host = host.encode("idna").decode() if not host.isascii() else host
        path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE + "?")
    except ValueError as error:  # UnicodeError is one
        raise BadUrl("it is no URL") from error
    if parts.scheme not in DEFAULT_PORTS or not _is_host(host) or port == 0:
        raise BadUrl("it is no URL of http or https")
    login = None
    if parts.username is not None:
        login = UserPassword(unquote(parts.username), unquote(parts.password or ""))
    return Url(
        scheme=parts.scheme,
        host=f"[{host}]" if ":" in host else host,
        port=DEFAULT_PORTS[parts.scheme] if port is None else port,
        path=path,
        query=query,
        fragment=parts.fragment,
        login=login,
    )


def _is_host(host: str) -> bool:
    if not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#%"):
        return False
    labels = host.removesuffix(".").split(".")
    is_name = len(host) <= MAX_HOST_LENGTH and all(
        0 < len(each) <= MAX_LABEL_LENGTH for each in labels
    )
    return ":" in host or is_name


def is_http_url(text: str) -> bool:
    """Return whether a source is meant to be a URL of http or https."""
    return text.lower().startswith(("http://", "https://"))


def redact_credentials(text: str) -> str:
    """Return what somebody has named as people may see it: no credential, and no query of a URL."""
    try:
        return parse_url(text.strip()).redacted
    except BadUrl:
        pass
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.strip().lower() == "gs" or not ("@" in rest or "?" in rest):
        return text
    if rest.startswith("/") or "?" in rest:  # a URL with a mistake in it: which part is which?
        return f"{scheme.rpartition('@')[2]}:..."
    return "..." + rest.rpartition("@")[2]
