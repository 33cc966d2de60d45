"""
Requests to the examined server, through a proxy if one applies, with short time limits.

Built on the standard library, whose steps (name, connection, tunnel, TLS) can be told apart.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPSConnection,
    IncompleteRead,
    RemoteDisconnected,
)
from threading import Event, Timer
from typing import Final
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from wheelyard.doctor.findings import shown
from wheelyard.http_client.urls import BadUrl, Url, UserPassword, parse_url

TIMEOUT_SECONDS: Final = 5.0
"""How long a connection, and each part of a response, may take."""
TOTAL_SECONDS: Final = 10.0
"""How long a whole response may take."""
BODY_LIMIT_BYTES: Final = 64 * 1024**2
MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
USER_AGENT: Final = "wheelyard-doctor"


class RequestFailed(Exception):
    """There is no response; the message is a clause without a secret."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy that a variable names for a scheme."""

    url: Url
    variable: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its whole body."""

    url: Url
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The variables for proxies, as pip and uv read them."""

    environ: Mapping[str, str] = field(repr=False)

    def proxy_for(self, url: Url) -> "Proxy | None":
        """Return the proxy for a URL, or None. Raise RequestFailed if its variable is no URL."""
        found = self._variable(f"{url.scheme}_proxy") or self._variable("all_proxy")
        if not found or self.is_bypassed(url):
            return None
        text = self.environ[found]
        try:
            return Proxy(parse_url(text if "://" in text else f"http://{text}"), found)
        except BadUrl:
            raise RequestFailed(f"the variable {found} is no URL of an HTTP proxy") from None

    def is_bypassed(self, url: Url) -> bool:
        """Return whether no_proxy names the host of a URL."""
        text = self.environ.get(self._variable("no_proxy"), "")
        host = url.host.strip("[]")
        return bool(proxy_bypass_environment(f"{host}:{url.port}", {"no": text})) or bool(
            proxy_bypass_environment(host, {"no": text})
        )

    def names(self) -> list[str]:
        """Return the names of all variables for proxies that are set."""
        return sorted(
            name for name, text in self.environ.items() if text and name.lower().endswith("_proxy")
        )

    def _variable(self, name: str) -> str:
        """Return which spelling of a variable is set; programs prefer the one in lower case."""
        upper = name.upper()
        return next((each for each in (name, upper) if self.environ.get(each)), "")


@dataclass(frozen=True, slots=True)
class Connections:
    """Makes connections with one list of authorities and the rules for proxies."""

    tls: ssl.SSLContext
    proxies: ProxyRules

    def request(self, url: Url, headers: Mapping[str, str], login: UserPassword | None) -> Answer:
        """Send GET, follow redirects and return the response; raise RequestFailed."""
        origin = url.origin
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._request(url, headers, login if url.origin == origin else None)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer
            try:
                following = url.resolved(answer.headers["location"])
            except BadUrl:
                raise RequestFailed("it redirects to what is no URL") from None
            if url.is_secure and not following.is_secure:
                raise RequestFailed(f"it redirects from https to {shown(following)}")
            url = following
        raise RequestFailed("it redirects again and again")

    def connect(self, url: Url) -> HTTPConnection:
        """Return an open connection to the server of a URL; errors are those of the sockets."""
        proxy, host = self.proxies.proxy_for(url), url.host.strip("[]")
        target = (host, url.port) if proxy is None else (proxy.url.host.strip("[]"), proxy.url.port)
        if not url.is_secure:
            connection = HTTPConnection(*target, timeout=TIMEOUT_SECONDS)
        else:
            connection = HTTPSConnection(*target, timeout=TIMEOUT_SECONDS, context=self.tls)
            if proxy is not None:
                connection.set_tunnel(host, url.port, _proxy_headers(proxy))
        connection.connect()
        return connection

    def _request(self, url: Url, headers: Mapping[str, str], login: UserPassword | None) -> Answer:
        proxy = self.proxies.proxy_for(url)
        sent = {"Host": url.authority, "User-Agent": USER_AGENT, **headers}
        if login is not None:
            sent["Authorization"] = login.authorization
        target = url.target
        if proxy is not None and not url.is_secure:
            target = url.without_userinfo
            sent |= _proxy_headers(proxy)
        try:
            with closing(self.connect(url)) as connection, _deadline(connection):
                connection.request("GET", target, headers=sent)
                response = connection.getresponse()
                known = {name.lower(): text for name, text in response.getheaders()}
                body = response.read(BODY_LIMIT_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise RequestFailed(explained(error)) from None
        if len(body) > BODY_LIMIT_BYTES:
            raise RequestFailed("its response is too large")
        return Answer(url, response.status, known, body)


@contextmanager
def _deadline(connection: HTTPConnection) -> Iterator[None]:
    """Break a connection off after TOTAL_SECONDS; then raise RequestFailed, whatever has come."""
    is_over, opened = Event(), connection.sock  # which the response takes over

    def end() -> None:
        is_over.set()
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    timer = Timer(TOTAL_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_over.is_set():
            raise RequestFailed(f"its response takes more than {TOTAL_SECONDS:.0f} seconds")


def _proxy_headers(proxy: Proxy) -> dict[str, str]:
    return {} if proxy.url.login is None else {"Proxy-Authorization": proxy.url.login.authorization}


def explained(error: Exception) -> str:
    """Return a clause for an error of a connection; none of them quotes what was sent."""
    match error:
        case IncompleteRead() | RemoteDisconnected():
            return "the connection breaks off"
        case TimeoutError():
            return f"it does not answer within {TIMEOUT_SECONDS:.0f} seconds"
        case ssl.SSLCertVerificationError():
            return f"its certificate cannot be verified: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS fails: {error.reason or 'no TLS is spoken there'}"
        case OSError():
            return error.strerror or str(error) or "the connection fails"
    return f"it answers with what is no HTTP ({type(error).__name__})"
