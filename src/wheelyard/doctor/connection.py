"""Connections and requests to the examined server, through a proxy if one applies."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import Final
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from msgspec import Struct

from wheelyard.http_client.address_policy import AddressPolicy, FetchError
from wheelyard.http_client.client import MAX_REDIRECTS, REDIRECT_STATUSES, HttpClient, followed
from wheelyard.http_client.urls import BadUrl, Url, UserPassword, parse_url

TIMEOUT_SECONDS: Final = 5.0
"""How long a connection, and the start of a response, may take."""
TOTAL_SECONDS: Final = 10.0
"""How long a whole response may take."""
USER_AGENT: Final = "wheelyard-doctor"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its body."""

    url: Url
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The variables for proxies, as pip and uv read them."""

    environ: Mapping[str, str] = field(repr=False)

    def variable_for(self, url: Url) -> str:
        """Return the name of the variable with the proxy for a URL; empty if there is none."""
        found = self._variable(f"{url.scheme}_proxy") or self._variable("all_proxy")
        return "" if self.is_bypassed(url) else found

    def proxy_for(self, url: Url) -> Url | None:
        """Return the proxy for a URL, or None; raise FetchError if its variable is no URL."""
        variable = self.variable_for(url)
        text = self.environ.get(variable, "")
        try:
            return parse_url(text if "://" in text else f"http://{text}") if text else None
        except BadUrl:
            raise FetchError(f"the variable {variable} is no URL of an HTTP proxy") from None

    def is_bypassed(self, url: Url) -> bool:
        """Return whether no_proxy names the host of a URL."""
        text, host = self.environ.get(self._variable("no_proxy"), ""), url.host.strip("[]")
        names = (host, f"{host}:{url.port}")
        return any(proxy_bypass_environment(each, {"no": text}) for each in names)

    def names(self) -> list[str]:
        """Return the names of all variables for proxies that are set."""
        return sorted(
            name for name, text in self.environ.items() if text and name.lower().endswith("_proxy")
        )

    def _variable(self, name: str) -> str:
        """Return which spelling of a variable is set; programs prefer the one in lower case."""
        return next((each for each in (name, name.upper()) if self.environ.get(each)), "")


class Connections(Struct, frozen=True):
    """Makes connections with one list of authorities and the rules for proxies."""

    tls: ssl.SSLContext
    proxies: ProxyRules
    monotonic: Callable[[], float]

    def request(
        self, url: Url, headers: Mapping[str, str], login: UserPassword | None, limit: int
    ) -> Answer:
        """
        Send GET, follow redirects and return the response; raise FetchError.

        `login` is for the server of `url` alone. After `limit` bytes the body is cut off.
        """
        origin = url.origin
        for _ in range(MAX_REDIRECTS):
            answer = self._request(url, headers, login if url.origin == origin else None, limit)
            if answer.status not in REDIRECT_STATUSES or "location" not in answer.headers:
                return answer
            url = followed(url, answer.headers["location"])
        raise FetchError("it leads round in circles")

    def _request(
        self, url: Url, headers: Mapping[str, str], login: UserPassword | None, limit: int
    ) -> Answer:
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        if login is not None:
            sent["Authorization"] = login.authorization
        policy, body = AddressPolicy(is_allowed=lambda _: True), bytearray()
        client = HttpClient(self.monotonic, policy, self.tls, self.proxies.proxy_for(url))
        with closing(client), client.deadline(TOTAL_SECONDS):
            with closing(client.send("GET", url, sent, seconds=TIMEOUT_SECONDS)) as response:
                for chunk in response.chunks():
                    body += chunk
                    if len(body) >= limit:
                        break
            return Answer(url, response.status, response.headers, bytes(body[:limit]))

    def connect(self, url: Url) -> HTTPConnection:
        """
        Return an open connection to the server of a URL; errors are those of the sockets.

        Made by the standard library, whose errors tell the steps (tunnel, TLS) apart.
        """
        proxy = self.proxies.proxy_for(url)
        target, host = proxy or url, url.host.strip("[]")
        place = target.host.strip("[]"), target.port
        if not url.is_secure:
            connection = HTTPConnection(*place, timeout=TIMEOUT_SECONDS)
        else:
            connection = HTTPSConnection(*place, timeout=TIMEOUT_SECONDS, context=self.tls)
            if proxy is not None:
                login = proxy.login
                headers = {"Proxy-Authorization": login.authorization} if login else {}
                connection.set_tunnel(host, url.port, headers)
        connection.connect()
        return connection
