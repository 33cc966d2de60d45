"""
Files of upstream indexes: found in the store, or fetched while their first readers read them.

Whether a name is private, and whether a policy allows a file, is decided before, for each request.
"""

from collections import Counter
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from threading import Lock
from typing import Final, Literal

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.storage.base import Store
from wheelyard.storage.spool import Spool
from wheelyard.upstream.file_cache import FileCache, FileUses, StoredFile
from wheelyard.upstream.file_fetch import (
    FetchedFile,
    FetchTools,
    FileFetch,
    FileSource,
    PassedOnFiles,
    RunningFetches,
)
from wheelyard.upstream.growing_file import too_long, too_short
from wheelyard.upstream.observation import CacheResult, Kind, Observation
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.sidecars import Sidecar

FETCH_THREADS: Final = 64
"""
Files that a process fetches at a time.

Half of them are of one upstream index, and half of those for one client.
"""
SMALL_THREADS: Final = 32
"""Sidecars that a process fetches at a time: a resolver must not wait for large files."""

SIDECAR_LIMIT_BYTES: Final = 4 * 1024**2
"""The largest core metadata, which is that of an upload too, and the largest provenance."""
RECENT_SECONDS: Final = 60.0
"""How long a sidecar that is not stored is remembered: its client may ask again."""
RECENT_BYTES: Final = 256 * 1024
"""The largest sidecar that is remembered in this way."""
MAX_RECENT: Final = 100
"""How many sidecars are remembered in this way at a time."""


class FileRules(Struct, frozen=True, kw_only=True):
    """How the operator wants files to be sent."""

    mode: Literal["cache", "proxy"] = "cache"
    """Whether files are kept in the store, or only passed on."""
    max_kept_bytes: int | None = None
    """Larger files are only passed on. None if files of any size are kept."""


class UpstreamFiles:
    """
    Finds and fetches files, and the documents about files.

    Threads may share it. Every method that reads the store may raise Unavailable.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        source: FileSource,
        retries: ConflictRetries,
        observation: Observation,
        rules: FileRules,
    ) -> None:
        self.store = store
        self._source = source
        self._retries = retries
        self._observation = observation
        self._rules = rules
        self._threads = DaemonThreads(FETCH_THREADS, "upstream")
        self._small_threads = DaemonThreads(SMALL_THREADS, "upstream")
        self._uses = FileUses(retries.runtime, self._small_threads.submit)
        self._passed_on = PassedOnFiles(source, observation)
        self._running = RunningFetches()
        self._tools = FetchTools(
            source=source,
            spool=spool,
            runtime=retries.runtime,
            observation=observation,
            passed_on=self._passed_on,
            running=self._running,
        )
        self._caches: dict[str, FileCache] = {}
        self._sidecars: dict[tuple[str, ...], Future[bytes]] = {}
        """The sidecars that are fetched now, by their identity."""
        self._recent = ExpiringCache[tuple[str, ...], bytes](retries.runtime.monotonic, MAX_RECENT)
        """Sidecars that were fetched a moment ago, and are not in the store."""
        self._kept_metadata = Counter[NormalizedName]()
        """How many files had their core metadata stored since the start, by project."""
        self._lock = Lock()

    def find(self, page: UpstreamPage, file: UpstreamFile) -> StoredFile | None:
        """
        Return a file if the store has it, and note its use, else return None.

        A file without a digest is never found. On a bucket, this may be a request to it.
        """
        stored_file = self._find(page, file)
        result = CacheResult.HIT if stored_file else CacheResult.MISS
        self._observation.cache(Kind.FILE, result)
        return stored_file

    def fetch(
        self, page: UpstreamPage, file: UpstreamFile, client: str = ""
    ) -> Future[FetchedFile]:
        """
        Begin to fetch a file, unless that has begun already, and return what it can be read from.

        The file is stored then, unless the rules say that it is only passed on. One index has at
        most half of the threads, and one client, if it is named, half of those. The future has its
        result with the first bytes.

        The future raises NotFound if the index has no such file. It raises Unavailable (a code of
        `UPSTREAM_CODES`) if the index does not answer, refuses the file, or sends what cannot be
        used, such as a small file that is not what its page says. It raises Unavailable (code
        `overloaded`) if too many files are passed on, and Unavailable if the store or the spool
        fails.
        """
        limit = self._rules.max_kept_bytes
        is_too_large = limit is not None and file.size is not None and file.size > limit
        if self._rules.mode != "cache" or is_too_large:
            cache = self.cache(page.upstream)
            begin = partial(self._passed_on.begin, cache, page.name, file)
            return self._threads.start(begin, page.upstream, client)
        return self._join(page, file, limit, client).started

    def bring(self, page: UpstreamPage, file: UpstreamFile) -> StoredFile:
        """
        Return a file once it is in the store, whatever the rules say, and fetch it if necessary.

        This blocks. Raises NotFound if the index has no such file. Raises Unavailable (a code of
        `UPSTREAM_CODES`) if the index does not answer, refuses the file, or sends what is not the
        file of the page. Raises Unavailable if the store does not take the file, or the spool has
        no room.
        """
        stored_file = self._find(page, file)
        if stored_file is not None:
            return stored_file
        return self._join(page, file, None, "").stored.result()

    def with_digests(self, page: UpstreamPage) -> UpstreamPage:
        """Return a page with the digests of fetched files for which the page says none."""
        if page.has_all_digests:
            return page
        return self.cache(page.upstream).digests.complete(page)

    def find_sidecar(self, sidecar: Sidecar) -> bytes | None:
        """Return a document about a file if it is stored or was fetched a moment ago, else None."""
        body = sidecar.find_stored(self.cache(sidecar.page.upstream).store)
        if body is None:
            body = self._recent.get(sidecar.identity)
        result = CacheResult.HIT if body else CacheResult.MISS
        self._observation.cache(sidecar.kind, result)
        return body

    def fetch_sidecar(self, sidecar: Sidecar, client: str = "") -> Future[bytes]:
        """
        Begin to fetch a document about a file, unless that has begun already, and keep it.

        It is no error if the store does not take the document. The future raises NotFound if the
        index has no such document. It raises Unavailable (a code of `UPSTREAM_CODES`) if the index
        does not answer, refuses the document, or sends what is not what its page says.
        """
        with self._lock:
            future = self._sidecars.get(sidecar.identity)
            if future is None:
                receive = partial(self._receive_sidecar, sidecar)
                future = self._small_threads.start(receive, sidecar.page.upstream, client)
                self._sidecars[sidecar.identity] = future
                forget_future = partial(self._forget_future, sidecar)
                future.add_done_callback(forget_future)
            return future

    def _forget_future(self, sidecar: Sidecar, future: Future[bytes]) -> None:
        """Forget the future of a document that was fetched."""
        del future
        # this may run at once, in the thread that holds the lock, and so takes no lock
        self._sidecars.pop(sidecar.identity, None)

    def bring_sidecar(self, sidecar: Sidecar) -> bytes:
        """
        Return a document about a file, from the store or the upstream.

        This blocks. A document that is fetched is kept. Raises NotFound if the index has no such
        document. Raises Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer,
        refuses the document, or sends what is not what its page says.
        """
        body = self.find_sidecar(sidecar)
        if body:
            return body
        return self.fetch_sidecar(sidecar).result()

    def metadata_kept(self, name: NormalizedName) -> int:
        """Return how many files of a project had their core metadata stored by this process."""
        return self._kept_metadata[name]

    def forget_sidecar(self, sidecar: Sidecar) -> None:
        """
        Remove a stored document about a file. It is no error if the store has none.

        A store that is only read keeps the document.
        """
        if sidecar.key is not None:
            # a document that stays is compared again, and only fetched once more
            with suppress(Unavailable):
                self.cache(sidecar.page.upstream).store.delete(sidecar.key)

    def close(self) -> None:
        """End all fetches, and remove their files from the spool."""
        self._running.stop()

    def cache(self, upstream: str) -> FileCache:
        """Return the cache of the files of the upstream index with this id."""
        cache = self._caches.get(upstream)
        if cache is None:
            cache = FileCache(upstream, self.store, self._retries, self._uses)
            # two threads that make a cache both get that of the first
            cache = self._caches.setdefault(upstream, cache)
        return cache

    def _find(self, page: UpstreamPage, file: UpstreamFile) -> StoredFile | None:
        """Return a file if the store has it, else None."""
        # a file is stored under its digest, so without one nobody knows its key
        if not file.sha256:
            return None
        return self.cache(page.upstream).find(page.name, file)

    def _join(
        self, page: UpstreamPage, file: UpstreamFile, max_kept_bytes: int | None, client: str
    ) -> FileFetch:
        """Return the fetch of a file, which is begun unless it is running already."""
        cache = self.cache(page.upstream)
        new_fetch = FileFetch(self._tools, cache, page.name, file, max_kept_bytes)
        fetch = self._running.join_or_add(new_fetch)
        if not fetch.has_begun:
            # the fetch runs once, but a client that comes while it waits may have a free thread
            self._threads.submit(fetch.run, page.upstream, client)
        return fetch

    def _receive_sidecar(self, sidecar: Sidecar) -> bytes:
        """Fetch a document about a file, in a thread of `_small_threads`, and keep it."""
        # another fetch may have ended after the caller has looked
        recent = self._recent.get(sidecar.identity)
        if recent is not None:
            return recent
        page = sidecar.page
        response = self._source.open_file(page.upstream, page.name, sidecar.url, sidecar.kind)
        body = bytearray()
        with closing(response):
            # a stranger's bytes: no more than the limit, whatever the answer says
            for chunk in response.chunks():
                body += chunk
                if len(body) > SIDECAR_LIMIT_BYTES:
                    raise too_long(sidecar.title)
        if response.size not in (None, len(body)):
            raise too_short(sidecar.title)
        mismatch = sidecar.mismatch(bytes(body))
        if mismatch is not None:
            if sidecar.kind is Kind.METADATA:  # a provenance has no digest on the page
                self._observation.digest_mismatch(page.name, sidecar.title)
            raise mismatch
        self._keep_sidecar(sidecar, bytes(body))
        return bytes(body)

    def _keep_sidecar(self, sidecar: Sidecar, body: bytes) -> None:
        """Keep a document about a file that has agreed with the page."""
        page = sidecar.page
        if sidecar.key is not None and self._rules.mode == "cache":
            try:
                self.cache(page.upstream).store.put_file(sidecar.key, body)
            except WheelyardError as error:
                self._observation.not_stored(page.name, sidecar.title, error.message)
            else:
                if sidecar.kind is Kind.METADATA:
                    with self._lock:
                        self._kept_metadata[page.name] += 1
                return
        if len(body) <= RECENT_BYTES:
            self._recent.put(sidecar.identity, body, RECENT_SECONDS)
