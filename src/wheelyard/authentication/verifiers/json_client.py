"""
HTTPS client for small JSON documents of hosts that the operator has configured; SSRF-safe.

It follows no redirects, connects to no private address unless that is allowed, and limits size and
time. One timeout covers a whole request. A connection serves one request: requests are rare here,
and no response can be mixed with the rest of another.
"""

import json
from collections.abc import Mapping
from contextlib import closing
import dataclasses
from http import HTTPStatus
from operator import attrgetter
from typing import Final
from urllib.parse import urlencode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.address_policy import AddressPolicy, FetchError
from wheelyard.http_client.client import Network, Requester
from wheelyard.http_client.urls import BadUrl, parse_url

BODY_LIMIT_BYTES: Final = 256 * 1024

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclasses.dataclass(frozen=True, slots=True)
class JsonResponse:
    """A response of any status, with its body in memory."""

    status: int
    body: bytes = dataclasses.field(repr=False)

    def document(self) -> dict[str, object]:
        """Return the JSON object in the body; raise FetchError unless it is one, of status 200."""
        if self.status != HTTPStatus.OK:
            raise FetchError(f"it answered {self.status}")
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FetchError("its answer is not JSON") from error
        if not isinstance(document, dict):
            raise FetchError("its answer is not a JSON object")
        return document


class JsonClient:
    """Fetches JSON by HTTPS; with `allow_private` also from private hosts, and loopback by HTTP."""

    def __init__(self, runtime: Runtime, *, allow_private: bool = False) -> None:
        policies = {"https": AddressPolicy()}
        if allow_private:
            policies["https"] = AddressPolicy(is_allowed=lambda _: True)
            policies["http"] = AddressPolicy(is_allowed=attrgetter("is_loopback"))
        self._requester = Requester(runtime, Network(policies=policies))

    def fetch(
        self,
        url: str,
        *,
        timeout: float,
        bearer: str = "",
        form: Mapping[str, str] | None = None,
    ) -> JsonResponse:
        """
        Return the response to a GET request, or to a POST request with a form, of any status.

        `bearer` is a token for the Authorization header; `timeout` is in seconds. Raise FetchError
        if the URL or the address is not allowed, or there is no complete response in time.
        """
        try:
            target = parse_url(url)
        except BadUrl as error:
            raise FetchError("its URL makes no sense") from error
        if target.login is not None or not (url.isascii() and url.isprintable()):
            raise FetchError("its URL makes no sense")
        headers, method, content = dict(_HEADERS), "GET", None
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            method, content = "POST", urlencode(form).encode()
        with (
            self._requester.deadline(timeout),
            closing(self._requester.send(method, target, headers, content)) as response,
        ):
            return JsonResponse(response.status, bytes(response.body(BODY_LIMIT_BYTES)))

    def close(self) -> None:
        """Close every connection, and stop the threads that resolve host names."""
        self._requester.close()
