"""
Parsed http and https URLs, with forms for messages and links that have no credential.

Links in pages are often written by hand: spaces and non-ASCII characters are quoted.
"""

from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from wheelyard.http_client.hosts import FetchError

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_LENGTH: Final = 8192
"""Characters of a URL."""
MAX_HOST_LENGTH: Final = 253
"""Characters of a host's name (RFC 1035)."""
MAX_LABEL_LENGTH: Final = 63
"""Characters of each part of a host's name between two dots."""
_UNQUOTED_CHARACTERS: Final = "/%:@!$&'()*+,;=~-._[]"
"""Characters of a path or query, besides letters and digits, that stay as they are."""
_NO_HOST_CHARACTERS: Final = frozenset(" /\\@?#%")
"""Printable characters of ASCII, which `urlsplit` takes, and no host has."""


class BadUrl(ValueError):
    """A text is not an http or https URL. The message does not repeat the text."""


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)

    @property
    def authorization(self) -> str:
        """The value of an Authorization header with user name and password (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + b64encode(pair).decode()


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL, in parts."""

    scheme: str
    host: str  # in lower case; IPv6 in brackets
    port: int  # also the default port of the scheme
    path: str  # quoted, begins with a slash
    query: str = field(default="", repr=False)  # quoted, without the question mark
    fragment: str = ""
    login: UserPassword | None = None  # None if the URL comes from a page or a redirect

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, which decide whether a credential may be sent."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The host, with the port unless that is the default port of the scheme."""
        if self.port == DEFAULT_PORTS[self.scheme]:
            return self.host
        return f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as in the request line."""
        if not self.query:
            return self.path
        return f"{self.path}?{self.query}"

    @property
    def redacted(self) -> str:
        """The URL for messages, without user, password and query, which may be secret."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def without_userinfo(self) -> str:
        """The URL with its query, without user, password and fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def filename(self) -> str:
        """The last segment of the path, with percent-encoding decoded."""
        return unquote(self.path.rpartition("/")[2])

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is https."""
        return self.scheme == "https"

    def resolved(self, reference: str) -> "Url":
        """
        Return the absolute URL, without a credential, of a link on the page at this URL.

        Raises BadUrl unless that is a URL of http or https.
        """
        # before `urljoin`: a page may have links of any length
        if len(reference) > MAX_URL_LENGTH:
            raise BadUrl("it is too long")
        try:
            absolute = urljoin(self.without_userinfo, reference.strip())
            url = parse_url(absolute)
        except BadUrl:
            raise
        except ValueError as error:
            raise BadUrl("it is no URL") from error
        # a page must not decide which credential is sent
        return replace(url, login=None)

    def child_folder(self, name: str) -> "Url":
        """
        Return the URL of folder `name` in this URL's folder, without query and credential.

        `name` must have only characters that need no quoting.
        """
        return replace(self, path=f"{self._folder}{name}/", query="", fragment="", login=None)

    def as_folder(self) -> "Url":
        """Return the URL with a slash at its end, or unchanged if it ends with .html or .htm."""
        if self.path.endswith(("/", ".html", ".htm")):
            return self
        return replace(self, path=f"{self.path}/")

    def contains(self, other: "Url") -> bool:
        """Return whether another URL has this origin, and is below this URL's folder."""
        return other.origin == self.origin and other.path.startswith(self._folder)

    @property
    def _folder(self) -> str:
        """The path up to its last slash."""
        return self.path.rpartition("/")[0] + "/"


def parse_url(text: str) -> Url:
    """
    Return the parts of a URL, also its credential.

    Raises BadUrl unless it is a URL of http or https.
    """
    if len(text) > MAX_URL_LENGTH:
        raise BadUrl("it is too long")
    try:
        parts = urlsplit(text)
        port = parts.port  # raises ValueError for a port that is no number
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
        path = quote(parts.path or "/", safe=_UNQUOTED_CHARACTERS)
        query = quote(parts.query, safe=_UNQUOTED_CHARACTERS + "?")
    except ValueError as error:  # also UnicodeError, which is a ValueError
        raise BadUrl("it is no URL") from error
    if parts.scheme not in DEFAULT_PORTS or not _is_host(host) or port == 0:
        raise BadUrl("it is no URL of http or https")
    login = None
    if parts.username is not None:
        login = UserPassword(unquote(parts.username), unquote(parts.password or ""))
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    if ":" in host:  # an address of IPv6, of which `urlsplit` takes the brackets
        host = f"[{host}]"
    return Url(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=path,
        query=query,
        fragment=parts.fragment,
        login=login,
    )


def _is_host(host: str) -> bool:
    """Return whether a text can be the host of a URL: `urlsplit` takes almost anything."""
    if not host.isascii() or not host.isprintable():
        return False
    if not _NO_HOST_CHARACTERS.isdisjoint(host):
        return False
    # an address of IPv6 is one label, or several if it ends as one of IPv4
    labels = host.removesuffix(".").split(".")
    are_labels_valid = all(0 < len(label) <= MAX_LABEL_LENGTH for label in labels)
    return are_labels_valid and len(host) <= MAX_HOST_LENGTH


def is_url(text: str) -> bool:
    """Return whether a text begins with `http://` or `https://`, in any case."""
    return text.lower().startswith(("http://", "https://"))


def redact_url(text: str) -> str:
    """
    Return a location (URL, bucket or path) for messages, without credentials and query.

    A URL of http or https loses its user, password, query and fragment, and is normalised: a scheme
    and a host in lower case, no port that is that of the scheme, and an encoded path. A location
    `gs:...`, and a text without `@` and `?` behind its first colon, are returned unchanged. Of any
    other text, which may be a mistyped URL with a password, the scheme alone is left, with dots for
    all that follows it. Without a slash behind the colon and without a query, what is left is dots
    and the part behind the last `@`.
    """
    try:
        return parse_url(text.strip()).redacted
    except BadUrl:
        pass
    scheme, colon, after_colon = text.partition(":")
    is_bucket = scheme.strip().lower() == "gs"
    may_have_secret = "@" in after_colon or "?" in after_colon
    if not colon or is_bucket or not may_have_secret:
        return text
    # a mistyped URL with a password or a query, of which nobody can say where its parts are
    if after_colon.startswith("/") or "?" in after_colon:
        scheme_without_user = scheme.rpartition("@")[2]
        return f"{scheme_without_user}:..."
    after_password = after_colon.rpartition("@")[2]
    return f"...{after_password}"


def proxy_for(url: Url) -> Url | None:
    """
    Return the proxy that the environment has for `url`, or None to connect without a proxy.

    `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` name the proxy, and `NO_PROXY` names hosts that are
    asked without it. Raises FetchError if the proxy has no URL of http or https.
    """
    proxies = getproxies()
    proxy_text = proxies.get(url.scheme) or proxies.get("all")
    if not proxy_text or proxy_bypass(url.authority):
        return None
    # curl takes HOST:PORT for a proxy as well, so many environments have that
    if "://" not in proxy_text:
        proxy_text = f"http://{proxy_text}"
    try:
        return parse_url(proxy_text)
    except BadUrl as error:
        raise FetchError("the proxy of the environment has no URL of http or https") from error
