"""
Requests for pages of upstream indexes, the stored pages, and the proof of an index.

A wrong URL answers 404 for every name, so every name would be free for an upload. An index is
proven once a page with files was read from it, which the stored pages remember, or if its root is a
list of projects. The root is only asked for when somebody needs the proof.

A page can be fetched again, so a stored page that is damaged counts as missing.
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
from wheelyard.upstream.page import (
    NO_DIGESTS,
    UpstreamPage,
    continue_page,
    gains_digests,
    gone_page,
)
from wheelyard.upstream.parsing import parse_page, why_no_index
from wheelyard.upstream.settings import UpstreamServer, is_outage, unanswered_error, unproven_error
from wheelyard.upstream.upstream_client import Missing, NotChanged, UpstreamClient, UpstreamClients

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest page that is read, before compression."""
MAX_LOOKED_AT: Final = 20
"""Stored pages that are looked at for a page with files. Nearly each page has files."""
UNOWNED: Final = "unowned:"
"""
Stands before the id in the stored page of an index that does not own the name.

An earlier version, which may run beside this one, took each stored page for that of the owner. It
takes a page with another id for damaged, and so for missing.
"""
FAULT_SECONDS: Final = 5.0
"""Seconds for which an index is not asked again after it has not shown itself as an index."""
MAX_INDEXES: Final = 1000
"""Indexes that are remembered because they do not show themselves as indexes."""
ALL_PROJECTS: Final = NormalizedName("(all projects)")
"""Stands for the name of a project where the log tells of a root."""
_PAGE_DECODER: Final = Decoder(UpstreamPage)

logger = logging.getLogger("wheelyard")


class StoredPage(NamedTuple):
    """What the store has of the page of a project."""

    page: UpstreamPage | None
    """The page, or None if the store has none, or it is damaged."""
    version: ObjectVersion
    """The version of the object, or ABSENT without one."""


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

        The result has no page if the store has none, and then its version is ABSENT. It has no
        page, too, if the stored one is damaged, which is logged and no error. With ABSENT as
        `unless`, the page is read.
        """
        stored_object = self.store.get(keys.upstream_page(upstream_id, name), unless or None)
        if isinstance(stored_object, NotModified):
            return None
        if stored_object is None:
            return StoredPage(None, ABSENT)
        page = _decode_page(stored_object.body)
        if page is not None and page.name == name and is_same_url(page.upstream, upstream_id):
            is_unowned = page.upstream.startswith(UNOWNED)
            # the page may have been written under another label of the same URL
            page = replace(page, upstream=upstream_id, is_unowned=is_unowned)
            return StoredPage(page, stored_object.version)
        # with an error, nobody could install the project, and the page can be fetched again
        logger.warning(
            "upstream: the stored page of %s is damaged, so its owner and the known digests of "
            "its files are lost; they are taken from the next answer",
            name,
        )
        return StoredPage(None, stored_object.version)

    def has_files(self, upstream_id: str) -> bool:
        """
        Return whether one of the first stored pages of an index lists a file, or has listed one.

        A damaged page counts as a page without files.
        """
        entries = self.store.list(f"{keys.upstream(upstream_id)}{keys.UPSTREAM_PAGES}")
        for entry in islice(entries, MAX_LOOKED_AT):
            stored_object = self.store.get(entry.key)
            if not isinstance(stored_object, Stored):  # removed since the listing
                continue
            page = _decode_page(stored_object.body)
            if page is not None and (page.files or page.removed or page.changed):
                return True
        return False

    def load_fetched_digests(self, page: UpstreamPage) -> Mapping[str, str]:
        """
        Return the SHA-256 of files of a project, by filename, as they were when first fetched.

        These are the files for which the page said no SHA-256.
        """
        store = PrefixedStore(self.store, keys.upstream(page.upstream))
        pins, _ = load_pins(store, page.name)
        return {filename: pin.sha256 for filename, pin in pins.items()}

    def save(self, page: UpstreamPage, expect: ObjectVersion) -> ObjectVersion:
        """
        Write a page over the version `expect`, and return its new version.

        Raises Conflict if the store has another version.
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

        It is no error if the store has none.
        """
        folder = keys.upstream(upstream_id)
        self.store.delete(keys.upstream_page(upstream_id, name))
        self.store.delete(Key(f"{folder}{keys.upstream_digests(name)}"))
        # the pins of single files, which are not in the page's list if a process was killed
        pins = list(self.store.list(f"{folder}{keys.upstream_digest_folder(name)}"))
        for pin in pins:
            self.store.delete(pin.key)


def _decode_page(body: bytes) -> UpstreamPage | None:
    """Return the page in an object of the store, or None if the object is damaged."""
    raw = gunzipped(body, SIZE_LIMIT)
    if raw is None:
        return None
    try:
        return _PAGE_DECODER.decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return None


class IndexProof:
    """Knows which upstream indexes are proven to be indexes. Threads may share it."""

    def __init__(self, stored: StoredPages, runtime: Runtime, observation: Observation) -> None:
        self._stored = stored
        self._observation = observation
        self._proven = set[str]()
        self._faults: ExpiringCache[str, str] = ExpiringCache(runtime.monotonic, MAX_INDEXES)
        self._locks = defaultdict[str, Lock](Lock)
        """A lock for each index, by its id: a slow index does not delay questions about others."""

    def record(self, page: UpstreamPage) -> None:
        """
        Note that a page was read, which proves its index if the page has files.

        A page without files proves nothing, as it may be anything.
        """
        if page.files:
            self._proven.add(page.upstream)

    def require(self, clients: Iterable[UpstreamClient]) -> None:
        """
        Check that each of the indexes is proven.

        An index may be asked for its root. Raises Unavailable (code `upstream_unproven`) if an
        index is not proven. Raises Unavailable if the store does not answer.
        """
        for client in clients:
            why = self.why_not(client)
            if why:
                raise unproven_error(client.server, why)

    def why_not(self, client: UpstreamClient) -> str:
        """
        Return why an index is not proven, in a few words, or an empty text if it is.

        The index may be asked for its root. Raises Unavailable if the store does not answer.
        """
        upstream_id = client.server.id
        if upstream_id in self._proven:
            return ""
        # an import asks about many new names at once: one thread asks, and the others wait for it
        with self._locks[upstream_id]:
            if upstream_id in self._proven:
                return ""
            why = ""
            if not self.is_stored(upstream_id):  # another process may have read a page
                why = self._faults.get(upstream_id) or self.ask(client)
            if not why:
                # a proof is never taken back
                self._proven.add(upstream_id)
            return why

    def is_stored(self, upstream_id: str) -> bool:
        """
        Return whether the store remembers a page with files.

        Raises Unavailable if the store does not answer.
        """
        return self._stored.has_files(upstream_id)

    def ask(self, client: UpstreamClient) -> str:
        """
        Ask an index for its root, and return why that shows no index, or an empty text if it does.

        The reason is remembered for a few seconds, in which `why_not` does not ask again.
        """
        with self._observation.request(Kind.ROOT, ALL_PROJECTS, client.server.label) as request:
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
            self._faults.put(client.server.id, why, FAULT_SECONDS)
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
        self._finding_hosts = Lock()
        self._host_faults = ExpiringCache[str, FetchError](runtime.monotonic, MAX_INDEXES)
        """Why the hosts of files were not found a moment ago, by the id of the index."""

    def find(self, client: UpstreamClient, name: NormalizedName, kind: Kind) -> UpstreamPage | None:
        """
        Ask an index for the page of a project, and return it, or None if the index has none.

        Raises Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer, refuses the
        name, or sends what cannot be used.
        """
        answer = self._ask(client, name, kind, "")
        if not isinstance(answer, UpstreamPage):
            return None
        return continue_page(answer, None, answer.fetched_at).page

    def renew(self, last_page: UpstreamPage, kind: Kind) -> UpstreamPage | None:
        """
        Return the page that takes the place of the last page, or None if the last page stays.

        If the index has the project no more, it is a page that is gone. Changed digests are counted
        and logged. Raises Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer,
        refuses the name, or sends what cannot be used. Raises Unavailable if the store does not
        answer.
        """
        client = self._clients[last_page.upstream]
        etag = last_page.etag
        if last_page.reading != client.server.reading:
            # the page was parsed by other settings, and has to be sent whole to be parsed again
            etag = ""
        answer = self._ask(client, last_page.name, kind, etag)
        if isinstance(answer, NotChanged):
            return None
        if isinstance(answer, Missing):
            if last_page.is_gone:
                return None
            return gone_page(last_page, self._runtime.now())
        fetched_digests: Mapping[str, str] = NO_DIGESTS
        if gains_digests(answer, last_page):
            # a digest that comes late has to be that of the bytes which clients have already got
            fetched_digests = self._stored.load_fetched_digests(last_page)
        page, new_changes = continue_page(answer, last_page, answer.fetched_at, fetched_digests)
        for filename in new_changes:
            self._observation.digest_change(last_page.name, filename)

        # the last page stays the same object, and so does all that was made of it
        if replace(page, fetched_at=last_page.fetched_at) == last_page:
            return None
        return page

    def _ask(
        self, client: UpstreamClient, name: NormalizedName, kind: Kind, etag: str
    ) -> UpstreamPage | NotChanged | Missing:
        """
        Ask an index for a page, and return its answer, which is noted in log and metrics.

        Raises Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer, refuses the
        page, or sends what cannot be used.
        """
        label = client.server.label
        with self._observation.request(kind, name, label) as request:
            failure: Unavailable | None = None
            answer: UpstreamPage | NotChanged | Missing = Missing()
            try:
                answer = self._receive(client, name, kind, etag, request)
            except FetchError as fault:
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                failure = unanswered_error(label, name, fault)
            if failure is not None:
                # not within `except`, and the received page is no variable here: in both cases the
                # error would keep its bytes in memory
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

    def _receive(
        self,
        client: UpstreamClient,
        name: NormalizedName,
        kind: Kind,
        etag: str,
        request: UpstreamRequest,
    ) -> UpstreamPage | NotChanged | Missing:
        """
        Ask an index for a page, and return its answer, parsed.

        Raises FetchError if the index does not answer, refuses the page, or sends what cannot be
        used.
        """
        # the threads that wait for pages of an index are limited; an upload waits in its own thread
        with client.page(name, etag, has_slot=kind is Kind.PAGE) as received:
            if not isinstance(received, FetchedPage):
                return received
            request.size = len(received.body)
            # the first page is parsed only once it is known on which hosts its files may be
            server = self._with_file_hosts(client)
            return parse_page(received, name, server, self._runtime.now())

    def _with_file_hosts(self, client: UpstreamClient) -> UpstreamServer:
        """
        Return the server of an index with the hosts of its files.

        The hosts are looked for if neither the settings nor the start of this process has said
        them. If the index does not show itself as one, they are its own host alone. Raises
        FetchError if the index is not reached, or its address is refused.
        """
        # of the threads with the first requests of clients, one asks, and the others wait for it
        with self._finding_hosts:
            fault: FetchError | None = None
            if client.server.file_hosts is None:
                fault = self._host_faults.get(client.server.id) or self._find_hosts(client)
            if fault is None:
                return client.server
        if is_outage(fault) or fault.is_refused:
            raise copy(fault)  # other threads may raise the same fault
        return replace_fields(client.server, file_hosts=())

    def _find_hosts(self, client: UpstreamClient) -> FetchError | None:
        """
        Look for the hosts of the files of an index, and give them to its client.

        Returns why they were not found, which is remembered for `FAULT_SECONDS`, or None.
        """
        try:
            found_hosts = find_file_hosts(client, self._runtime.now())
        except FetchError as error:
            # a copy has no traceback, which would keep what its frames refer to in memory
            fault = copy(error)
            self._host_faults.put(client.server.id, fault, FAULT_SECONDS)
            return fault
        if found_hosts is not None:
            client.set_file_hosts(found_hosts.hosts)
            sentence = found_hosts.sentence(client.server.url.redacted)
            logger.info("upstream: %s", escaped(sentence))
        return None


def _status_of(answer: UpstreamPage | NotChanged | Missing) -> Literal["200", "304", "404"]:
    """Return the status that the log has for an answer, after all redirects."""
    if isinstance(answer, UpstreamPage):
        return "200"
    if isinstance(answer, NotChanged):
        return "304"
    return "404"
