"""Fetches files of upstream indexes: into the spool and the store, or only on to one reader."""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable, WheelyardError
from wheelyard.storage.filesystem import storage_faults, sync_file, write_all
from wheelyard.storage.spool import Spool
from wheelyard.upstream.file_cache import FileCache, StoredFile
from wheelyard.upstream.growing_file import (
    HELD_BACK_BYTES,
    FileCheck,
    GrowingFile,
    OpenDescriptor,
    check_size,
    limit_of,
)
from wheelyard.upstream.observation import Kind, Observation
from wheelyard.upstream.page import UpstreamFile

PASSED_ON_LIMIT: Final = 48
"""Files that a process passes on at a time: each occupies a thread until its reader has it all."""
PASSED_ON_LIMIT_OF_INDEX: Final = 32
"""Files of one upstream index that are passed on, so that a slow index does not hold up others."""
ROOM_CHECK_BYTES: Final = 32 * 1024**2
"""Bytes after which the room on the disk is looked at again."""

FetchKey = tuple[str, NormalizedName, str, str]
"""The id of the upstream index, the project, the filename and the digest."""

logger = logging.getLogger("wheelyard")


class FileResponse(Protocol):
    """An answer of an upstream index whose body is still to be read. The caller must close it."""

    @property
    def size(self) -> int | None:
        """How many bytes the index announces, or None if it does not say."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the body.

        Raises Unavailable if the body breaks off or comes too slowly.
        """
        ...

    def close(self) -> None:
        """End the answer, and release its connection."""
        ...


class FileSource(Protocol):
    """The servers that have the files. Threads may share this."""

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> FileResponse:
        """
        Ask an upstream index for a file, and return its answer, once it begins.

        `upstream` is the id of the index. Raises NotFound if the index has no such file. Raises
        Unavailable (a code of `UPSTREAM_CODES`) if the index does not answer, refuses the file, or
        sends what cannot be used, or if nothing may be fetched from this URL.
        """
        ...


class _SendSlots:
    """The slots of files that are passed on. Threads may share this."""

    def __init__(self) -> None:
        self._taken = Counter[str]()
        """How many slots are taken, by the id of the upstream index."""
        self._lock = Lock()

    def require(self, upstream: str) -> None:
        """Raise Unavailable (code `overloaded`) if there is no slot for an upstream."""
        with self._lock:
            self._require(upstream)

    def take(self, upstream: str) -> None:
        """Take a slot for an upstream, or raise Unavailable (code `overloaded`)."""
        with self._lock:
            self._require(upstream)
            self._taken[upstream] += 1

    def free(self, upstream: str) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken -= Counter((upstream,))  # this drops an id whose count is 0

    def _require(self, upstream: str) -> None:
        """Raise Unavailable if there is no slot for an upstream. The caller holds the lock."""
        is_full = self._taken.total() >= PASSED_ON_LIMIT
        if is_full or self._taken[upstream] >= PASSED_ON_LIMIT_OF_INDEX:
            raise Unavailable(
                "Too many files of upstream indexes are sent at the moment.",
                code=OVERLOADED,
                retry_after=RETRY_AFTER_SECONDS,
            )


class _SlottedResponse:
    """The answer of an upstream index, with a slot that is freed when it is closed or forgotten."""

    def __init__(self, answer: FileResponse, slots: _SendSlots, upstream: str) -> None:
        self.size = answer.size
        self.chunks = answer.chunks
        self._answer = answer
        self._slots: _SendSlots | None = slots
        self._upstream = upstream

    def close(self) -> None:
        """End the answer, and give its slot back, in the first call."""
        slots = self._slots
        self._slots = None
        if slots is not None:
            slots.free(self._upstream)
            self._answer.close()

    def __del__(self) -> None:
        self.close()  # the client has left before it was sent anything


class PassedOnFiles:
    """Passes files on to readers, a limited number at a time. Threads may share this."""

    def __init__(self, source: FileSource, observation: Observation) -> None:
        self.observation = observation
        self._source = source
        self._slots = _SendSlots()

    def begin(self, cache: FileCache, name: NormalizedName, file: UpstreamFile) -> "PassedOnFile":
        """
        Ask the upstream index for a file now, and return what its one reader reads from.

        Raises NotFound if the index has no such file. Raises Unavailable (code `overloaded`) if too
        many files are passed on already. Raises Unavailable (a code of `UPSTREAM_CODES`) if the
        index does not answer, refuses the file, or sends what cannot be used, such as an answer of
        another size.
        """
        # No slot is held until the answer begins: slow files of one index would take all slots. The
        # threads that call this limit how many files wait for an answer: one index has half of the
        # threads, and one client of the index half of those.
        upstream = cache.upstream
        self._slots.require(upstream)
        answer = self._ask(cache, name, file)
        try:
            size = check_size(file, answer.size)
            self._slots.take(upstream)
        except WheelyardError:
            answer.close()
            raise
        response = _SlottedResponse(answer, self._slots, upstream)
        return PassedOnFile(self, cache, name, file, size, response)

    def open(self, cache: FileCache, name: NormalizedName, file: UpstreamFile) -> FileResponse:
        """
        Ask for a file to pass on, in the thread that sends it, and return the answer.

        Raises NotFound if the index has no such file. Raises Unavailable (code `overloaded`) if too
        many files are passed on already. Raises Unavailable (a code of `UPSTREAM_CODES`) if the
        index does not answer, refuses the file, or sends what cannot be used.
        """
        self._slots.take(cache.upstream)
        try:
            answer = self._ask(cache, name, file)
        except BaseException:
            self._slots.free(cache.upstream)
            raise
        return _SlottedResponse(answer, self._slots, cache.upstream)

    def _ask(self, cache: FileCache, name: NormalizedName, file: UpstreamFile) -> FileResponse:
        return self._source.open_file(cache.upstream, name, file.url, Kind.FILE)


class PassedOnFile(Struct, frozen=True):
    """A file that readers get from the upstream index, verified on the way. Nothing is kept."""

    source: PassedOnFiles
    cache: FileCache
    name: NormalizedName
    file: UpstreamFile
    size: int | None
    """Bytes, or None if neither the page nor the answer has said it."""
    response: FileResponse | None = None
    """The answer of the upstream index, or None if each reader asks for its own."""

    @property
    def takes_ranges(self) -> bool:
        """Whether a part of the file can be asked for: never, as a part cannot be verified."""
        return False

    def body(self) -> Iterator[bytes]:
        """
        Yield the chunks of the whole file, the last bytes once all are verified.

        A digest that the page does not say is pinned in the store. Raises Unavailable (code
        `bad_upstream`) if the bytes are not those of the page. Raises Unavailable if they break
        off, or the store does not take the pin.

        If each reader asks for its own answer, raises NotFound if the index has no such file, and
        Unavailable if it does not answer, or too many files are passed on already (code
        `overloaded`).
        """
        observation = self.source.observation
        check = FileCheck(self.name, self.file, self.size, self.cache.digests, observation)
        response = self.response
        if response is None:
            response = self.source.open(self.cache, self.name, self.file)
        held_back = b""
        with closing(response):
            for chunk in response.chunks():
                check.add(chunk)
                held_back += chunk
                if len(held_back) > HELD_BACK_BYTES:
                    yield held_back[:-HELD_BACK_BYTES]
                    held_back = held_back[-HELD_BACK_BYTES:]
        # the last bytes of a wrong file are not sent, so that it never looks complete
        check.finish()
        check.list_digest()
        if held_back:
            yield held_back


FetchedFile = StoredFile | GrowingFile | PassedOnFile
"""What a reader can read from: the store, the spool, or the upstream index itself."""


class RunningFetches:
    """The fetches of a process that have not ended, one for each file. Threads may share this."""

    def __init__(self) -> None:
        self._by_key: dict[FetchKey, FileFetch] = {}
        self._lock = Lock()

    def join_or_add(self, fetch: "FileFetch") -> "FileFetch":
        """Return the running fetch of the same file, or else add `fetch`, and return it."""
        with self._lock:
            return self._by_key.setdefault(fetch.key, fetch)

    def remove(self, fetch: "FileFetch") -> None:
        """Forget a fetch: from now on, nobody joins it."""
        with self._lock:
            del self._by_key[fetch.key]

    def stop(self) -> None:
        """End all fetches."""
        with self._lock:
            fetches = list(self._by_key.values())
        # not under the lock, for which fetches that end meanwhile would wait
        for fetch in fetches:
            fetch.stop()


class FetchTools(Struct, frozen=True, kw_only=True):
    """What all fetches of a process use."""

    source: FileSource
    spool: Spool
    runtime: Runtime
    observation: Observation
    passed_on: PassedOnFiles
    """How readers get a file while the spool cannot be used."""
    running: RunningFetches


class FileFetch:
    """
    One file on its way from an upstream index through the spool, to readers and into the store.

    A file of more than `max_kept_bytes` is not stored.
    """

    def __init__(
        self,
        tools: FetchTools,
        cache: FileCache,
        name: NormalizedName,
        file: UpstreamFile,
        max_kept_bytes: int | None,
    ) -> None:
        self.started: Future[FetchedFile] = Future()
        """What readers read from, once there are bytes, or why there are none."""
        self.stored: Future[StoredFile] = Future()
        """The file in the store, or why it is not there."""
        for future in (self.started, self.stored):
            future.set_running_or_notify_cancel()  # a client that leaves must not cancel the fetch
        self._tools = tools
        self._cache = cache
        self._name = name
        self._file = file
        self._max_kept_bytes = max_kept_bytes
        self._growing: GrowingFile | None = None
        self._path: Path | None = None
        """The file in the spool, while it is there."""
        self._unchecked_bytes = 0
        """Bytes that were written since the last look at the room on the disk."""
        self._is_stopped = False
        self._begun = Lock()
        """Held from the first call of `run`."""

    @property
    def key(self) -> FetchKey:
        """What the fetches of the same file have in common."""
        file = self._file
        return self._cache.upstream, self._name, file.filename, file.sha256

    @property
    def has_begun(self) -> bool:
        """Whether `run` was called."""
        return self._begun.locked()

    def run(self) -> None:
        """Fetch the file, in the first call. Every error goes to the clients that wait."""
        # each client that joins starts a thread for the fetch; the first thread does the work
        if not self._begun.acquire(blocking=False):
            return
        # removed from the running fetches before its end is known, so that nobody joins a fetch
        # that has ended, such as a failed one
        running = self._tools.running
        try:
            stored_file = self._cache.find_again(self._name, self._file) or self._fetch()
        except WheelyardError as error:
            running.remove(self)
            self._give_up(error)
        except Exception:
            running.remove(self)
            if not self._is_stopped:  # else its file in the spool was removed
                logger.exception("a file of an upstream index could not be fetched")
            self._give_up(Unavailable("The server could not fetch this file. Tell its operator."))
        else:
            running.remove(self)
            self._answer(stored_file)
            self.stored.set_result(stored_file)

    def stop(self) -> None:
        """End the fetch, and remove its file from the spool, as the process is about to end."""
        self._is_stopped = True
        self._remove()

    def _fetch(self) -> StoredFile:
        """Fetch the file into the spool, and store it."""
        upstream = self._cache.upstream
        response = self._tools.source.open_file(upstream, self._name, self._file.url, Kind.FILE)
        with closing(response):
            size = check_size(self._file, response.size)
            # a process that is killed leaves this file in the spool; the next one removes it at its
            # start
            path, descriptor = self._open_spool_file(size)
            self._path = path
            try:
                self._growing = GrowingFile(descriptor, size, self._tools.runtime)
                check = self._copy(response, self._growing)
                # readers have all bytes by now; what follows only keeps the file for later readers
                check.list_digest()
                return self._keep(path, self._growing, check)
            finally:
                self._remove()

    def _open_spool_file(self, size: int | None) -> tuple[Path, OpenDescriptor]:
        """
        Open a new file in the spool, and return its path and descriptor.

        Raises Unavailable if there is no room. Before that, the clients that wait are told to read
        the file as it is passed on.
        """
        spool = self._tools.spool
        try:
            with storage_faults("a file in the spool folder"):
                spool.require_room(limit_of(size))
                path, number = spool.open_new()
        except Unavailable as error:
            file = self._file
            # a full disk must not stop installations: each reader asks the upstream for itself
            passed_on = PassedOnFile(
                self._tools.passed_on, self._cache, self._name, file, file.size
            )
            self._answer(passed_on)
            self._note_not_stored(error)
            raise
        return Path(path), OpenDescriptor(number)

    def _copy(self, response: FileResponse, growing: GrowingFile) -> FileCheck:
        """
        Write the chunks of a response into the spool, where readers follow, and return the check.

        Readers get the last bytes once all are verified.
        """
        check = FileCheck(
            self._name, self._file, growing.size, self._cache.digests, self._tools.observation
        )
        for chunk in response.chunks():
            if self._is_stopped:
                message = "The server is about to stop."
                raise Unavailable(message, retry_after=RETRY_AFTER_SECONDS)
            # counted and hashed before it is written, so that too many bytes never reach the disk
            check.add(chunk)
            self._write(chunk, growing)
            growing.add(len(chunk))
            if growing.has_begun:
                self._answer(growing)
        # this pins an unknown digest, so it comes before any reader has the last bytes
        check.finish()
        growing.verify()
        self._answer(growing)
        return check

    def _write(self, chunk: bytes, growing: GrowingFile) -> None:
        """Write a chunk into the spool, or raise Unavailable if there is no room for it."""
        self._unchecked_bytes += len(chunk)
        try:
            with storage_faults("a file of an upstream index"):
                write_all(growing.descriptor.number, chunk)
                if self._unchecked_bytes >= ROOM_CHECK_BYTES:  # others write meanwhile
                    self._unchecked_bytes = 0
                    self._tools.spool.require_room(0)
        except WheelyardError as error:
            self._note_not_stored(error)
            raise

    def _keep(self, path: Path, growing: GrowingFile, check: FileCheck) -> StoredFile:
        """
        Store the verified file, and return it.

        Raises WheelyardError if the file is not stored.
        """
        size = check.received.size
        file = replace(self._file, sha256=check.received.sha256)
        # the size is only known now if the page did not say it
        if self._max_kept_bytes is not None and size > self._max_kept_bytes:
            raise Unavailable(f"{file.filename} is larger than upstream.max_cache_file_mb.")
        try:
            if not self._cache.is_local:
                stored_file = self._cache.find(self._name, file)
                # another instance was faster, and to send the file again takes long
                if stored_file is not None:
                    return stored_file
            if file.size is None:  # without a size on the page, nobody would see a cut-off file
                with storage_faults("a file of an upstream index"):
                    sync_file(growing.descriptor.number)
            return self._cache.put(self._name, file, path, size)
        except WheelyardError as error:
            self._note_not_stored(error)
            raise

    def _note_not_stored(self, error: WheelyardError) -> None:
        """Count and log why the file is not in the store, although a reader may have it."""
        self._tools.observation.not_stored(self._name, self._file.filename, error.message)

    def _answer(self, fetched_file: FetchedFile) -> None:
        """Tell the clients that wait what they read from, unless they know it already."""
        if not self.started.done():
            self.started.set_result(fetched_file)

    def _give_up(self, error: WheelyardError) -> None:
        """Tell all clients that wait, and all readers, that the file does not come."""
        # these attributes refer to frames, and so to the file, which has to be closed at once
        error.__traceback__ = None
        error.__cause__ = None
        error.__context__ = None
        if self._growing is not None:
            self._growing.fail(error)
        if not self.started.done():
            self.started.set_exception(error)
        self.stored.set_exception(error)

    def _remove(self) -> None:
        """Remove the file from the spool, in the first call: readers keep it open."""
        path = self._path
        self._path = None
        if path is not None:
            with suppress(OSError):
                path.unlink()
