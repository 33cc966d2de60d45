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
"""Characters of each part of it between two dots."""
_SAFE: Final = "/%:@!$&'()*+,;=~-._[]"


class BadUrl(ValueError):
    """A text is not an http or https URL. The message does not repeat the text."""


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)

    @property
    def authorization(self) -> str:
        """The value of an Authorization header with both (RFC 7617)."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL, in parts."""

    scheme: str
    host: str  # in lower case; IPv6 in brackets
    port: int  # also if it is the default one
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
        """The host, with the port unless it is the default one."""
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

        Raises BadUrl unless it is a URL of http or https.
        """
        # before `urljoin`: a page may have links of any length
        if len(reference) > MAX_URL_LENGTH:
            raise BadUrl("it is too long")
        try:
            url = parse_url(urljoin(self.without_userinfo, reference.strip()))
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
        folder = self.path.rpartition("/")[0]
        return replace(self, path=f"{folder}/{name}/", query="", fragment="", login=None)

    def as_folder(self) -> "Url":
        """Return the URL with a slash at its end, or unchanged if it ends with .html or .htm."""
        if self.path.endswith(("/", ".html", ".htm")):
            return self
        return replace(self, path=f"{self.path}/")

    def contains(self, other: "Url") -> bool:
        """Return whether another URL has this origin, and is below this URL's folder."""
        folder = self.path.rpartition("/")[0] + "/"
        return other.origin == self.origin and other.path.startswith(folder)


def parse_url(text: str) -> Url:
    """
    Return the parts of a URL, also its credential.

    Raises BadUrl unless it is a URL of http or https.
    """
    if len(text) > MAX_URL_LENGTH:
        raise BadUrl("it is too long")
    try:
        parts = urlsplit(text)
        port = parts.port  # parsed here: ValueError for what is no number
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
        path = quote(parts.path or "/", safe=_SAFE)
        query = quote(parts.query, safe=_SAFE + "?")
    except ValueError as error:  # UnicodeError is one
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
    if not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#%"):
        return False
    if ":" in host:
        return True
    labels = host.removesuffix(".").split(".")
    has_lengths = all(0 < len(label) <= MAX_LABEL_LENGTH for label in labels)
    return has_lengths and len(host) <= MAX_HOST_LENGTH


def is_url(text: str) -> bool:
    """Return whether a text begins with `http://` or `https://`, in any case."""
    return text.lower().startswith(("http://", "https://"))


def redact_url(text: str) -> str:
    """
    Return a location (URL, bucket or path) for messages, without credentials and query.

    What is no URL is returned as it is, but for a part that may be the password of a mistyped one.
    """
    try:
        return parse_url(text.strip()).redacted
    except BadUrl:
        pass
    # it may be a mistyped URL with a password in it, so it is not repeated as a whole
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.strip().lower() == "gs" or not ("@" in rest or "?" in rest):
        return text
    if rest.startswith("/") or "?" in rest:  # a malformed URL, whose parts are not known
        return f"{scheme.rpartition('@')[2]}:..."
    return "..." + rest.rpartition("@")[2]


def proxy_for(url: Url) -> Url | None:
    """
    Return the proxy that the environment has for `url`, or None.

    It is that of `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY`, and `NO_PROXY` has the exceptions.
    Raises FetchError if the proxy has no URL of http or https.
    """
    proxies = getproxies()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or proxy_bypass(url.authority):
        return None
    # curl takes HOST:PORT for a proxy as well, so many environments have that
    if not is_url(text) and "://" not in text:
        text = f"http://{text}"
    try:
        return parse_url(text)
    except BadUrl as error:
        raise FetchError("the proxy of the environment has no URL of http or https") from error
