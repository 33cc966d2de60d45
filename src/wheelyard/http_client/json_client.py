"""
JSON of another server, by HTTPS: keys of issuers, and what providers say of people and tokens.

`JsonClient` follows no redirects, connects to no private address unless that is allowed, and limits
size and time. One timeout covers a whole request. A connection serves one request: requests are
rare here, and no response can be mixed with the rest of another.
"""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from operator import attrgetter
from typing import Final
from urllib.parse import urlencode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import Network, Requester
from wheelyard.http_client.hosts import AddressPolicy, FetchError, every_address
from wheelyard.http_client.urls import BadUrl, parse_url

BODY_LIMIT_BYTES: Final = 256 * 1024
NO_PRIVATE_HOST: Final = (
    "its host {host} has a private address. If that is meant, set allow_private, or for a "
    "publisher trusted_publishing.private_issuers"
)

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "wheelyard",  # GitHub answers nobody without one
}


@dataclasses.dataclass(frozen=True, slots=True)
class JsonResponse:
    """A response of any status, with its body in memory."""

    status: int
    body: bytes = dataclasses.field(repr=False)

    def value(self) -> object:
        """Return the JSON in the body. Raises FetchError for a status but 200, or for no JSON."""
        if self.status != HTTPStatus.OK:
            raise FetchError(f"it answered {self.status}")
        try:
            return json.loads(self.body)
        # a stranger's bytes: also deep nesting, and numbers of more digits than Python reads
        except (ValueError, RecursionError) as error:
            raise FetchError("its answer is not JSON") from error

    def document(self) -> dict[str, object]:
        """Return the JSON object in the body. Raises FetchError as `value`, or for no object."""
        document = self.value()
        if not isinstance(document, dict):
            raise FetchError("its answer is not a JSON object")
        return document


class JsonClient:
    """
    Fetches JSON by HTTPS from public hosts.

    With `allow_private`, it also fetches from private hosts, and from this machine by plain HTTP.
    """

    def __init__(self, runtime: Runtime, *, allow_private: bool = False) -> None:
        # A URL may come from a document of another server. No request may reach a service inside
        # our network, such as the metadata server of a cloud, which trusts whoever can connect.
        policies = {"https": AddressPolicy(refusal=NO_PRIVATE_HOST)}
        if allow_private:
            policies["https"] = AddressPolicy(is_allowed=every_address)
            # plain HTTP inside of this machine alone, where nobody can listen or change an answer
            policies["http"] = AddressPolicy(is_allowed=attrgetter("is_loopback"))
        self._requester = Requester(runtime, Network(policies=policies))

    def fetch(
        self,
        url: str,
        *,
        timeout: float,
        authorization: str = "",
        form: Mapping[str, str] | None = None,
    ) -> JsonResponse:
        """
        Return the response to a GET request, or to a POST request with a form, of any status.

        `authorization` is the value of the header Authorization, which is not sent if that is
        empty. `timeout` is in seconds. Raises FetchError if the URL or the address is not allowed,
        if there is no complete response in time, or if its body is larger than `BODY_LIMIT_BYTES`.
        """
        try:
            target = parse_url(url)
        except BadUrl as error:
            raise FetchError("its URL makes no sense") from error
        is_plain_text = url.isascii() and url.isprintable()
        if target.login is not None or not is_plain_text:
            raise FetchError("its URL makes no sense")
        headers = dict(_HEADERS)
        method = "GET"
        content = None
        if authorization:
            headers["Authorization"] = authorization
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            method = "POST"
            content = urlencode(form).encode()
        with (
            self._requester.deadline(timeout),
            closing(self._requester.send(method, target, headers, content)) as response,
        ):
            body = response.body(BODY_LIMIT_BYTES)
            return JsonResponse(response.status, bytes(body))

    def close(self) -> None:
        """Close every connection, and stop the threads that resolve host names."""
        self._requester.close()
