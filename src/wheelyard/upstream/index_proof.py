"""
Whether the URL of an upstream index is that of an index at all.

A wrong URL answers 404 for every name, so each of them would be free for an upload. An index is
proven once a page with files was read from it, which the stored pages remember, or if its root is a
list of projects. Nothing is asked as long as nobody wants to know.
"""

from collections.abc import Iterable
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.address_policy import FetchError
from wheelyard.upstream.client import UpstreamClient
from wheelyard.upstream.faults import unproven
from wheelyard.upstream.observation import Kind, Observation
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.root_page import why_no_index
from wheelyard.upstream.stored_pages import StoredPages

AGAIN_SECONDS: Final = 5.0
"""Seconds for which a root that shows no index is not asked for again."""
MAX_INDEXES: Final = 1000
THE_LIST: Final = NormalizedName("(all projects)")
"""What the log calls the root."""


class IndexProof:
    """Knows which upstream indexes are proven to be ones; safe to share between threads."""

    def __init__(self, stored: StoredPages, runtime: Runtime, observation: Observation) -> None:
        self._stored = stored
        self._observation = observation
        self._proven = set[str]()
        self._faults: ExpiringCache[str, str] = ExpiringCache(runtime.monotonic, MAX_INDEXES)
        self._lock = Lock()

    def record(self, page: UpstreamPage) -> None:
        """Note a page that was read; one without files may be anything."""
        if page.files:
            self._proven.add(page.upstream)

    def require(self, clients: Iterable[UpstreamClient]) -> None:
        """
        Raise Unavailable (code `upstream_unproven`) unless each of the indexes is proven.

        May ask an index for its root.
        """
        for client in clients:
            why = self.why_not(client)
            if why:
                raise unproven(client.server, why)

    def why_not(self, client: UpstreamClient) -> str:
        """Return why an index is not proven, in a few words; empty if it is. May ask it."""
        upstream_id = client.server.id
        if upstream_id in self._proven:
            return ""
        with self._lock:  # of an import with many new names, one thread asks
            if upstream_id in self._proven:
                return ""
            why = ""
            if not self.is_stored(upstream_id):  # another process may have read a page
                why = self._faults.get(upstream_id) or self.ask(client)
            if not why:
                self._proven.add(upstream_id)
            return why

    def is_stored(self, upstream_id: str) -> bool:
        """Return whether the store remembers a page; raise Unavailable if it does not answer."""
        return self._stored.has_files(upstream_id)

    def ask(self, client: UpstreamClient) -> str:
        """Return why the root of an index shows no index; empty if it does."""
        with self._observation.request(Kind.ROOT, THE_LIST, client.server.label) as request:
            try:
                root = client.root()
            except FetchError as fault:
                request.fail(fault)
                why = f"at its root {fault.why}"
            else:
                request.status, request.size = "200", len(root.body)
                why = request.why = why_no_index(root)
        if why:
            self._faults.put(client.server.id, why, AGAIN_SECONDS)
        return why
