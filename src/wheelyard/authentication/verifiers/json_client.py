"""
Small JSON documents over https, from hosts that an operator has named.

Nothing is followed, nothing private is reached, nothing large or slow is read to its end. One
deadline covers a whole exchange, however the time is spent. A connection serves one request: calls
are rare here, and none can be handed the remains of another.
"""

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import attrgetter
from typing import Final
from urllib.parse import urlencode

from wheelyard.http_client.address_policy import AddressPolicy, FetchError
from wheelyard.http_client.client import HttpClient
from wheelyard.http_client.urls import BadUrl, parse_url

BODY_LIMIT_BYTES: Final = 256 * 1024
"""Bytes of a reply."""

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)

    def document(self) -> dict[str, object]:
        """Return the JSON object of a reply that is OK, or raise FetchError."""
        if self.status != HTTPStatus.OK:
            raise FetchError(f"it answered {self.status}")
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FetchError("its answer is not JSON") from error
        if not isinstance(found, dict):
            raise FetchError("its answer is not a JSON object")
        return found


class JsonClient:
    """
    Fetches documents; safe to share between threads.

    Where it may `allow_private` addresses, it reaches loopback by plain http too.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        reach = AddressPolicy(is_allowed=lambda _: True) if allow_private else AddressPolicy()
        secure = HttpClient(monotonic, reach, tls)
        self._clients = {"https": secure}
        if allow_private:
            loopback = AddressPolicy(is_allowed=attrgetter("is_loopback"))
            self._clients["http"] = HttpClient(monotonic, loopback, secure.tls)

    def get(self, url: str, *, timeout: float, bearer: str | None = None) -> JsonResponse:
        """
        Return what the server answers to a GET, within a timeout for everything together.

        The bearer is a token for the Authorization header.

        Raises:
            FetchError: The URL or the address is refused, or there is no whole answer in time.
        """
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return self._exchange("GET", url, headers, None, timeout)

    def post_form(self, url: str, form: Mapping[str, str], *, timeout: float) -> JsonResponse:
        """Return what the server answers to a form, which is in the body; else as `get`."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange("POST", url, headers, urlencode(form).encode(), timeout)

    def close(self) -> None:
        """Let go of the threads that look up names."""
        for client in self._clients.values():
            client.close()

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], content: bytes | None, timeout: float
    ) -> JsonResponse:
        try:
            where = parse_url(url)
        except BadUrl as error:
            raise FetchError("its URL makes no sense") from error
        if where.login is not None or not (url.isascii() and url.isprintable()):
            raise FetchError("its URL makes no sense")
        client = self._clients.get(where.scheme)
        if client is None:
            raise FetchError("its URL is not https")
        with (
            client.deadline(timeout),
            closing(client.send(method, where, _HEADERS | headers, content)) as answer,
        ):
            return JsonResponse(
                answer.status, answer.headers, _body(answer.headers, answer.chunks())
            )


def _body(headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError("its answer is packed, which nobody asked for")
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > BODY_LIMIT_BYTES:
            raise FetchError("its answer is too large")
    return bytes(found)
