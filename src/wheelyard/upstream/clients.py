"""The clients of all upstream indexes of a process, and the files that are fetched by them."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import at_minimum_rate, is_number
from wheelyard.http_client.urls import BadUrl, parse_url
from wheelyard.upstream.client import UpstreamClient
from wheelyard.upstream.config import UpstreamConfig
from wheelyard.upstream.faults import is_offline, unanswered
from wheelyard.upstream.google_token import GoogleToken
from wheelyard.upstream.observation import SSRF, Kind, Observation, UpstreamRequest

WINDOW_SECONDS: Final = 30.0
"""Seconds of waiting for a file in which the minimum rate has to be reached."""


class FileDownload(Struct, frozen=True):
    """The response with a file, whose body is still to be read; the caller closes it."""

    size: int | None
    """Bytes of the body; None if the response does not say."""
    _label: str
    _name: NormalizedName
    _chunks: Iterator[bytes]
    _request: UpstreamRequest
    _cleanup: ExitStack

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; raise Unavailable if they break off, or come too slowly."""
        try:
            for chunk in self._chunks:
                self._request.size += len(chunk)
                yield chunk
        except FetchError as fault:
            self._request.fail(fault)
            raise unanswered(self._label, self._name, fault) from None

    def close(self) -> None:
        """End the response, and release its connection."""
        self._cleanup.close()


class UpstreamClients:
    """The clients of the upstream indexes, in their order; safe to share between threads."""

    def __init__(self, config: UpstreamConfig, runtime: Runtime, observation: Observation) -> None:
        self.in_order = tuple(
            UpstreamClient(
                server,
                config,
                runtime,
                GoogleToken() if server.google else None,
                partial(observation.breaker, server.label),
            )
            for server in config.servers
        )
        self._is_offline = config.offline
        self._by_id = {client.server.id: client for client in self.in_order}
        self._runtime = runtime
        self._observation = observation

    def __getitem__(self, upstream: str) -> UpstreamClient:
        return self._by_id[upstream]

    def asked_for(self, name: NormalizedName) -> tuple[UpstreamClient, ...]:
        """
        Return the clients of the indexes that are asked for a name, in their order.

        They are all if the settings exclude it from each of them: then no page of it is shown, so
        only an upload asks.
        """
        accepting = tuple(each for each in self.in_order if each.server.names.accepts(name))
        return accepting or self.in_order

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> FileDownload:
        """
        Ask for a file of the upstream with the id `upstream`; return its answer, once it begins.

        Raises:
            NotFound: The upstream has no such file.
            Unavailable: It does not answer (code `upstream_unavailable`), or with what cannot be
                used, or nothing may be fetched from this URL (code `bad_upstream`).
        """
        client = self._by_id[upstream]
        if self._is_offline:
            raise is_offline(f"this file of {name}")
        label = client.server.label
        with ExitStack() as stack:
            request = stack.enter_context(self._observation.request(kind, name, label))
            try:
                response = client.open_file(parse_url(url))
            except (FetchError, BadUrl) as error:
                fault = error if isinstance(error, FetchError) else FetchError("its URL is none")
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                raise unanswered(label, name, fault) from None
            if response is None:
                request.status = "404"
                raise NotFound(
                    f"The upstream index {label} lists a file of {name} that it does not have. Try "
                    "again later, or use another version."
                )
            stack.callback(response.close)
            request.status = "200"
            length = response.headers.get("content-length", "")
            chunks = at_minimum_rate(response.chunks(), self._runtime.monotonic, WINDOW_SECONDS)
            return FileDownload(
                int(length) if is_number(length) else None,
                label,
                name,
                chunks,
                request,
                stack.pop_all(),
            )

    def close(self) -> None:
        """Close every connection."""
        for client in self.in_order:
            client.close()
