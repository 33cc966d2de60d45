"""
Requests for pages of upstream indexes, the stored pages, and the proof of an index.

A wrong URL answers 404 for every name, so each of them would be free for an upload. An index is
proven once a page with files was read from it, which the stored pages remember, or if its root is a
list of projects. Nothing is asked as long as nobody wants to know.

A page can be fetched again, so one that is damaged is as good as missing.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace as replace_fields
from itertools import islice
from threading import Lock
from typing import Final, Literal, NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import gunzipped, gzipped
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.http_client.hosts import FetchError
from wheelyard.model.decoding import escaped
from wheelyard.rendering.simple_pages import json_with_list
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.storage.base import ABSENT, Key, NotModified, ObjectVersion, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.upstream.file_cache import load_pins
from wheelyard.upstream.file_hosts import find_file_hosts
from wheelyard.upstream.kept_folders import is_same_url
from wheelyard.upstream.observation import SSRF, Kind, Observation, UpstreamRequest
from wheelyard.upstream.page import NO_DIGESTS, UpstreamPage, gains_digests, merge, remembered_page
from wheelyard.upstream.parsing import parse_page, why_no_index
from wheelyard.upstream.settings import UpstreamServer, is_outage, unanswered, unproven
from wheelyard.upstream.upstream_client import Missing, NotChanged, UpstreamClient, UpstreamClients

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest page that is read, before compression."""
MAX_LOOKED_AT: Final = 20
"""Stored pages that are looked at for one with files. Nearly each has some."""
UNOWNED: Final = "unowned:"
"""
Stands before the id in the stored page of an index that does not own the name.

An earlier version, which may run beside this one, took each stored page for that of the owner. It
takes one with another id for damaged, and so for none.
"""
AGAIN_SECONDS: Final = 5.0
"""Seconds for which an index that does not show itself as one is not asked for that again."""
MAX_INDEXES: Final = 1000
"""Indexes of which it is remembered that they do not show themselves as ones."""
THE_LIST: Final = NormalizedName("(all projects)")
"""What the log calls the root."""
_PAGES: Final = Decoder(UpstreamPage)

logger = logging.getLogger("wheelyard")


class StoredPage(NamedTuple):
    """What the store has of the page of a project."""

    page: UpstreamPage | None
    """None if there is none, or it is damaged."""
    version: ObjectVersion
    """That of the object."""


class StoredPages(Struct, frozen=True):
    """
    Reads and writes pages of upstream indexes in a store.

    Every method may raise Unavailable.
    """

    store: Store

    def load(
        self, upstream_id: str, name: NormalizedName, unless: ObjectVersion | None = None
    ) -> StoredPage | None:
        """
        Return what the store has of the page, or None if its object still has the version `unless`.

        Its `page` is None if there is none, and then its version is ABSENT. It is None, too, if the
        page is damaged, which is logged and no error. With ABSENT as `unless`, the page is read.
        """
        stored = self.store.get(keys.upstream_page(upstream_id, name), unless or None)
        if isinstance(stored, NotModified):
            return None
        if stored is None:
            return StoredPage(None, ABSENT)
        page = _decode_page(stored.body)
        if page is not None and page.name == name and is_same_url(page.upstream, upstream_id):
            is_unowned = page.upstream.startswith(UNOWNED)
            # it may have been written under another label of the same URL
            page = replace(page, upstream=upstream_id, is_unowned=is_unowned)
            return StoredPage(page, stored.version)
        # no error, by which nobody could install the project: the page can be fetched again
        logger.warning(
            "upstream: the stored page of %s is damaged, so its owner and the known digests of "
            "its files are lost; they are taken from the next answer",
            name,
        )
        return StoredPage(None, stored.version)

    def has_files(self, upstream_id: str) -> bool:
        """
        Return whether one of the first pages of an index that are stored has listed a file.

        A damaged page counts as one without files.
        """
        entries = self.store.list(f"{keys.upstream(upstream_id)}{keys.UPSTREAM_PAGES}")
        for entry in islice(entries, MAX_LOOKED_AT):
            stored = self.store.get(entry.key)
            if not isinstance(stored, Stored):  # removed since the listing
                continue
            page = _decode_page(stored.body)
            if page is not None and (page.files or page.removed or page.changed):
                return True
        return False

    def first_fetched(self, page: UpstreamPage) -> Mapping[str, str]:
        """Return the SHA-256 of fetched files of a project whose page said none, by filename."""
        store = PrefixedStore(self.store, keys.upstream(page.upstream))
        pins, _ = load_pins(store, page.name)
        return {filename: pin.sha256 for filename, pin in pins.items()}

    def save(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion:
        """
        Write a page over the version `expect`, and return its version.

        Raises Conflict if there is another version.
        """
        fields = asdict(page)
        if fields.pop("is_unowned"):
            fields["upstream"] = f"{UNOWNED}{page.upstream}"
        files = fields.pop("files")
        body = json_with_list(fields, "files", files)
        return self.store.put(keys.upstream_page(page.upstream, page.name), gzipped(body), expect)

    def delete(self, upstream_id: str, name: NormalizedName) -> None:
        """
        Delete the page of a project, and the digests that its files had.

        It is no error if there are none.
        """
        below = keys.upstream(upstream_id)
        self.store.delete(keys.upstream_page(upstream_id, name))
        self.store.delete(Key(f"{below}{keys.upstream_digests(name)}"))
        # the pins of single files, which are not in the page's list if a process was killed
        for entry in list(self.store.list(f"{below}{keys.upstream_digest_folder(name)}")):
            self.store.delete(entry.key)


def _decode_page(body: bytes) -> UpstreamPage | None:
    """Return the page in an object of the store, or None if the object is damaged."""
    try:
        return _PAGES.decode(gunzipped(body, SIZE_LIMIT) or b"")
    except (DecodeError, UnicodeDecodeError):
        return None


class IndexProof:
    """Knows which upstream indexes are proven to be ones. Threads may share it."""

    def __init__(self, stored: StoredPages, runtime: Runtime, observation: Observation) -> None:
        self._stored = stored
        self._observation = observation
        self._proven = set[str]()
        self._faults: ExpiringCache[str, str] = ExpiringCache(runtime.monotonic, MAX_INDEXES)
        self._locks = defaultdict[str, Lock](Lock)
        """By the id of the index: one that is slow does not delay questions about others."""

    def record(self, page: UpstreamPage) -> None:
        """
        Note a page that was read.

        One without files proves nothing, as it may be anything.
        """
        if page.files:
            self._proven.add(page.upstream)

    def require(self, clients: Iterable[UpstreamClient]) -> None:
        """
        Go on only if each of the indexes is proven.

        It may ask an index for its root. Raises Unavailable (code `upstream_unproven`) if one is
        not proven. Raises Unavailable if the store does not answer.
        """
        for client in clients:
            why = self.why_not(client)
            if why:
                raise unproven(client.server, why)

    def why_not(self, client: UpstreamClient) -> str:
        """
        Return why an index is not proven, in a few words, or an empty text if it is.

        It may ask the index. Raises Unavailable if the store does not answer.
        """
        upstream_id = client.server.id
        if upstream_id in self._proven:
            return ""
        # an import asks about many new names at once: one thread asks, and the others wait for it
        with self._locks[upstream_id]:
            if upstream_id in self._proven:
                return ""
            if self.is_stored(upstream_id):  # another process may have read a page
                why = ""
            else:
                why = self._faults.get(upstream_id) or self.ask(client)
            if not why:
                # never taken back: an index that was one stays one
                self._proven.add(upstream_id)
            return why

    def is_stored(self, upstream_id: str) -> bool:
        """
        Return whether the store remembers a page with files.

        Raises Unavailable if it does not answer.
        """
        return self._stored.has_files(upstream_id)

    def ask(self, client: UpstreamClient) -> str:
        """
        Return why the root of an index shows no index, or an empty text if it does.

        The reason is remembered for a few seconds, in which `why_not` does not ask again.
        """
        with self._observation.request(Kind.ROOT, THE_LIST, client.server.label) as request:
            try:
                root = client.root()
            except FetchError as fault:
                request.fail(fault)
                why = f"at its root {fault.why}"
            else:
                request.status = "200"
                request.size = len(root.body)
                why = why_no_index(root)
                request.why = why
        if why:
            self._faults.put(client.server.id, why, AGAIN_SECONDS)
        return why


class PageRequests:
    """Asks the upstream indexes for pages. Threads may share it."""

    def __init__(
        self,
        clients: UpstreamClients,
        runtime: Runtime,
        observation: Observation,
        proof: IndexProof,
        stored: StoredPages,
    ) -> None:
        self._clients = clients
        self._proof = proof
        self._stored = stored
        self._runtime = runtime
        self._observation = observation
        self._finding = Lock()
        self._no_hosts = ExpiringCache[str, FetchError](runtime.monotonic, MAX_INDEXES)
        """Why the hosts of files were not found a moment ago, by the id of the index."""

    def find(self, client: UpstreamClient, name: NormalizedName, kind: Kind) -> UpstreamPage | None:
        """
        Return the page that an index has of a project, or None if it has none.

        Raises Unavailable (a code of `UPSTREAM_CODES`) if it does not answer, refuses the name, or
        sends what cannot be used.
        """
        answer = self._answer(client, name, kind, "")
        if not isinstance(answer, UpstreamPage):
            return None
        return merge(answer, None, answer.fetched_at).page

    def renew(self, last: UpstreamPage, kind: Kind) -> UpstreamPage | None:
        """
        Return the page that takes the place of the `last` one, or None if that stays.

        If the index has the project no more, it is a page that is gone. Changed digests are counted
        and logged. Raises Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer,
        refuses the name, or sends what cannot be used. Raises Unavailable if the store does not
        answer.
        """
        client = self._clients[last.upstream]
        etag = last.etag
        if last.reading != client.server.reading:
            # it was parsed by other settings, and has to be sent as a whole to be parsed again
            etag = ""
        answer = self._answer(client, last.name, kind, etag)
        if isinstance(answer, NotChanged):
            return None
        if isinstance(answer, Missing):
            if last.is_gone:
                return None
            return remembered_page(last, self._runtime.now())
        first_fetched: Mapping[str, str] = NO_DIGESTS
        if gains_digests(answer, last):
            # a digest that comes late has to be that of the bytes which clients have already got
            first_fetched = self._stored.first_fetched(last)
        page, new_changes = merge(answer, last, answer.fetched_at, first_fetched)
        for filename in new_changes:
            self._observation.digest_change(last.name, filename)

        # the page stays the same object, and so does all that was made of it
        if replace(page, fetched_at=last.fetched_at) == last:
            return None
        return page

    def _answer(
        self, client: UpstreamClient, name: NormalizedName, kind: Kind, etag: str
    ) -> UpstreamPage | NotChanged | Missing:
        """Return what an index answers, and note it in log and metrics. Raises Unavailable."""
        label = client.server.label
        with self._observation.request(kind, name, label) as request:
            failure: Unavailable | None = None
            answer: UpstreamPage | NotChanged | Missing = Missing()
            try:
                answer = self._received(client, name, kind, etag, request)
            except FetchError as fault:
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                failure = unanswered(label, name, fault)
            if failure is not None:
                # not within `except`, and the page is no variable here: either would keep its bytes
                # as long as the error
                raise failure
            # from here on, the index has answered
            request.status = _status_of(answer)
            if isinstance(answer, UpstreamPage):
                self._proof.record(answer)
                if answer.refused_hosts:
                    self._observation.blocked(SSRF)
                    request.why = f"files on {answer.refused_hosts[0]} are left out"
            self._observation.stale(0.0)
            return answer

    def _received(
        self,
        client: UpstreamClient,
        name: NormalizedName,
        kind: Kind,
        etag: str,
        request: UpstreamRequest,
    ) -> UpstreamPage | NotChanged | Missing:
        """
        Return what an index answers.

        Raises FetchError if it does not answer, refuses the page, or sends what cannot be used.
        """
        # the threads that wait for pages are limited for each index; an upload waits in its own
        with client.page(name, etag, has_slot=kind is Kind.PAGE) as received:
            if not isinstance(received, FetchedPage):
                return received
            request.size = len(received.body)
            # the first page is parsed only once it is known on which hosts its files may be
            server = self._with_file_hosts(client)
            return parse_page(received, name, server, self._runtime.now())

    def _with_file_hosts(self, client: UpstreamClient) -> UpstreamServer:
        """
        Return an index with the hosts of its files.

        They are found if neither the settings nor the start has said them. Of an index that does
        not show itself as one, they are its own host alone. Raises FetchError if the index is not
        reached, or its address is refused.
        """
        # of the threads with the first requests of clients, one asks, and the others wait for it
        with self._finding:
            if client.server.file_hosts is not None:
                return client.server
            fault = self._no_hosts.get(client.server.id)
            if fault is None:
                try:
                    hosts = find_file_hosts(client, self._runtime.now())
                except FetchError as error:
                    # a copy has no traceback, which would keep what its frames refer to in memory
                    fault = copy(error)
                    self._no_hosts.put(client.server.id, fault, AGAIN_SECONDS)
                else:
                    if hosts is not None:
                        client.set_file_hosts(hosts.hosts)
                        place = client.server.url.redacted
                        logger.info("upstream: %s", escaped(hosts.sentence(place)))
                    return client.server
        if is_outage(fault) or fault.is_refused:
            raise copy(fault)  # other threads may raise the same one
        return replace_fields(client.server, file_hosts=())


def _status_of(answer: UpstreamPage | NotChanged | Missing) -> Literal["200", "304", "404"]:
    """Return the status that the log has for an answer, after all redirects."""
    if isinstance(answer, UpstreamPage):
        return "200"
    if isinstance(answer, NotChanged):
        return "304"
    return "404"
