"""
What the upstream indexes answer when they are asked for the page of a project.

The first index that has a name owns it. At each renewal the indexes before the owner are asked,
too: if one of them has the name now, it is not shown until an operator has decided. If the owner
says that it has no such project any more, all are asked, but none of them gets the name. An index
whose patterns exclude a name is never asked for it.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Literal

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.http_client.address_policy import FetchError
from wheelyard.sources.web.simple_page import FetchedPage
from wheelyard.upstream.client import Missing, NotChanged, UpstreamClient
from wheelyard.upstream.clients import UpstreamClients
from wheelyard.upstream.faults import unanswered
from wheelyard.upstream.index_proof import IndexProof
from wheelyard.upstream.observation import SSRF, Kind, Observation
from wheelyard.upstream.page import NO_DIGESTS, UpstreamPage, gains_digests, gone, merge
from wheelyard.upstream.parsing import parse_page


class PageRequests:
    """Asks the upstream indexes for pages; safe to share between threads."""

    def __init__(
        self,
        clients: UpstreamClients,
        runtime: Runtime,
        observation: Observation,
        proof: IndexProof,
        first_fetched: Callable[[UpstreamPage], Mapping[str, str]],
    ) -> None:
        self._clients = clients
        self._proof = proof
        self._first_fetched = first_fetched
        self._runtime = runtime
        self._observation = observation

    def find(self, name: NormalizedName, kind: Kind) -> UpstreamPage | None:
        """
        Return the page of the first index that has a name, None if none has it.

        Raise Unavailable if one does not say.
        """
        for client in self._clients.asked_for(name):
            answer = self._answer(client, name, kind, "")
            if isinstance(answer, UpstreamPage):
                return merge(answer, None, answer.fetched_at)[0]
        return None

    def renew(self, known: UpstreamPage, kind: Kind) -> UpstreamPage | None:
        """
        Return the page that takes the place of the `known` one; None if that stays.

        Raise Unavailable if the owner of the name does not say what it has, or an index before it
        whether it has the name.
        """
        answer = self._ask_owner(known, kind)
        page = answer or known
        # what its owner has taken away goes at once, also while another index is silent
        if page.is_gone or not page.status.serves_files:
            return answer
        for client in self._before(known):
            if isinstance(self._answer(client, known.name, kind, ""), UpstreamPage):
                other = client.server.label
                self._observation.owner_change(
                    known.name, self._clients[known.upstream].server.label, other
                )
                return gone(page, self._runtime.now(), other, is_contested=True)
        return answer

    def _ask_owner(self, known: UpstreamPage, kind: Kind) -> UpstreamPage | None:
        client, name = self._clients[known.upstream], known.name
        is_read = known.reading == client.server.reading
        answer = self._answer(client, name, kind, known.etag if is_read else "")
        if isinstance(answer, NotChanged):
            return None
        if isinstance(answer, Missing):
            moved_to = self._moved_to(name, kind, client)
            if known.is_gone and known.moved_to == moved_to:
                return None
            is_contested = moved_to in [each.server.label for each in self._before(known)]
            return gone(known, self._runtime.now(), moved_to, is_contested=is_contested)
        first = self._first_fetched(known) if gains_digests(answer, known) else NO_DIGESTS
        page, new_changes = merge(answer, known, answer.fetched_at, first)
        for filename in new_changes:
            self._observation.digest_change(name, filename)
        return None if replace(page, fetched_at=known.fetched_at) == known else page

    def _answer(
        self, client: UpstreamClient, name: NormalizedName, kind: Kind, etag: str
    ) -> UpstreamPage | NotChanged | Missing:
        label = client.server.label
        with self._observation.request(kind, name, label) as request:

            def parse(received: FetchedPage) -> UpstreamPage:
                request.size = len(received.body)
                return parse_page(received, name, client.server, self._runtime.now())

            failure: Unavailable | None = None
            answer: UpstreamPage | NotChanged | Missing = Missing()
            try:
                answer = client.page(name, parse, etag)
            except FetchError as fault:
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                failure = unanswered(label, name, fault)
            if failure is not None:
                # not within `except`: its context would hold the bytes of the page
                raise failure
            request.status = _status_of(answer)
            if isinstance(answer, UpstreamPage):
                self._proof.record(answer)
            if isinstance(answer, UpstreamPage) and answer.refused_hosts:
                self._observation.blocked(SSRF)
                request.why = f"files on {answer.refused_hosts[0]} are left out"
            self._observation.stale(0.0)
            return answer

    def _before(self, known: UpstreamPage) -> Iterator[UpstreamClient]:
        """Yield the clients that are asked for a name before its owner."""
        owner = self._clients[known.upstream]
        return takewhile(lambda each: each is not owner, self._clients.asked_for(known.name))

    def _moved_to(self, name: NormalizedName, kind: Kind, owner: UpstreamClient) -> str:
        """
        Return the label of an index that has a name that its owner has given up; else empty.

        Raise Unavailable if that cannot be said, and an upload depends on it.
        """
        for other in self._clients.asked_for(name):
            if other is not owner and self._has(other, name, kind):
                label = other.server.label
                self._observation.owner_change(name, owner.server.label, label)
                return label
        return ""

    def _has(self, client: UpstreamClient, name: NormalizedName, kind: Kind) -> bool:
        try:
            return isinstance(self._answer(client, name, kind, ""), UpstreamPage)
        except Unavailable:
            if kind is Kind.CHECK:
                raise
            return False


def _status_of(answer: UpstreamPage | NotChanged | Missing) -> Literal["200", "304", "404"]:
    if isinstance(answer, UpstreamPage):
        return "200"
    return "304" if isinstance(answer, NotChanged) else "404"
