"""
The fetching of one file from an upstream index, for everybody who waits for it.

The bytes go into a file of the spool with a known name, and readers follow it there. The process
that has locked that file fetches. Other processes with the same spool read along, and compute the
digest for themselves. If the fetching process dies, its lock ends, and the next request begins
anew with an empty file. Once size and digest agree, the file gets its final key.
"""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from fcntl import LOCK_UN, flock
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable, WheelyardError
from wheelyard.storage.base import CHUNK_BYTES
from wheelyard.storage.filesystem import storage_faults, write_all
from wheelyard.storage.spool import Spool, try_lock
from wheelyard.upstream.file_cache import FileCache, StoredFile
from wheelyard.upstream.file_check import FileCheck
from wheelyard.upstream.file_source import FileSource, check_size
from wheelyard.upstream.growing_file import GrowingFile, OpenDescriptor
from wheelyard.upstream.observation import Kind, Observation
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.passed_on_file import PassedOnFile

ROOM_CHECK_BYTES: Final = 32 * 1024**2
"""The room on the disk is looked at again after so many bytes."""
FOLLOW_PAUSE_SECONDS: Final = 0.02
"""Between two looks at a file that another process writes."""
FOLLOW_PATIENCE_SECONDS: Final = 120.0
"""How long another process may write nothing before its readers are given up."""

FetchedFile = StoredFile | GrowingFile | PassedOnFile
"""What a reader can read from: the store, the spool, or the upstream itself."""

logger = logging.getLogger("wheelyard")


class FetchTools(Struct, frozen=True, kw_only=True):
    """What all fetches of a process use."""

    source: FileSource
    spool: Spool
    runtime: Runtime
    observation: Observation
    pass_on: Callable[[str, NormalizedName, UpstreamFile], PassedOnFile]
    """Returns a file that readers get from the upstream while the spool cannot be used."""


class FileFetch:
    """
    One file on its way from the upstream through the spool, to readers and into the store.

    A file of more than `max_kept_bytes` is not stored. `received` is called with the number of
    bytes of each chunk.
    """

    def __init__(
        self,
        tools: FetchTools,
        cache: FileCache,
        name: NormalizedName,
        file: UpstreamFile,
        max_kept_bytes: int | None,
        received: Callable[[int], None],
    ) -> None:
        self.started: Future[FetchedFile] = Future()
        """What readers read from, once there are bytes; or why there are none."""
        self.stored: Future[StoredFile] = Future()
        """The file in the store, or why it is not there."""
        for future in (self.started, self.stored):
            future.set_running_or_notify_cancel()  # one client that leaves must not cancel it
        self._tools = tools
        self._cache = cache
        self._name = name
        self._file = file
        self._max_kept_bytes = max_kept_bytes
        self._received = received
        self._growing: GrowingFile | None = None
        self._path: Path | None = None
        """The file in the spool, while it is ours."""
        self._is_ours = False
        """Whether this process writes the file in the spool, and does not read another's."""
        self._is_stopped = False

    def run(self, forget: Callable[[], None]) -> None:
        """
        Fetch the file; every error goes to those who wait.

        `forget` is called before they know that it has ended, so that nobody joins it any more.
        """
        try:
            while (stored := self._fetch_once()) is None:
                pass  # another process has failed, so it is our turn
        except WheelyardError as error:
            forget()
            self._give_up(error)
        except Exception:
            forget()
            if not self._is_stopped:  # else its file in the spool was removed
                logger.exception("a file of an upstream index could not be fetched")
            self._give_up(Unavailable("The server could not fetch this file. Tell its operator."))
        else:
            forget()
            self._answer(stored)
            self.stored.set_result(stored)

    def stop(self) -> None:
        """End the fetch, and remove its file from the spool: the process is about to end."""
        self._is_stopped = True
        self._remove()

    def _fetch_once(self) -> StoredFile | None:
        """Return the stored file; None to try again, as the process that was followed failed."""
        try:
            path, number, self._is_ours = self._open_spool_file()
        except Unavailable as error:
            self._answer(self._tools.pass_on(self._cache.upstream, self._name, self._file))
            self._note_not_stored(error)
            raise
        descriptor = OpenDescriptor(number)
        try:
            if not self._is_ours:
                return self._follow(descriptor)
            self._path = path
            return self._cache.find_again(self._name, self._file) or self._receive(descriptor, path)
        finally:
            self._remove()
            flock(number, LOCK_UN)  # readers may have it open for long

    def _open_spool_file(self) -> tuple[Path, int, bool]:
        file, spool = self._file, self._tools.spool
        with storage_faults("a file in the spool folder"):
            spool.require_room(file.size or 0)
        if file.sha256:
            identity = f"{self._cache.upstream}/{self._name}/{file.sha256}/{file.filename}"
            return spool.open_shared(sha256(identity.encode()).hexdigest()[:32])
        # other processes could not tell whether the bytes are the right ones
        return spool.open_shared(self._tools.runtime.new_id())

    def _receive(self, descriptor: OpenDescriptor, path: Path) -> StoredFile:
        """Fetch the file into the spool, and store it."""
        file, cache = self._file, self._cache
        opened = self._tools.source.open_file(cache.upstream, self._name, file.url, Kind.FILE)
        with closing(opened):
            growing = self._grow(descriptor, check_size(file, opened.size))
            check = self._copy(opened.chunks(), growing, self._writer(growing))
        check.list_digest()
        return self._keep(path, check)

    def _writer(self, growing: GrowingFile) -> Callable[[bytes], None]:
        """Return what writes to the file; if there is no room, its readers go on elsewhere."""
        unchecked = 0

        def write(chunk: bytes) -> None:
            nonlocal unchecked
            try:
                with storage_faults("a file of an upstream index"):
                    write_all(growing.descriptor.number, chunk)
                    unchecked += len(chunk)
                    if unchecked >= ROOM_CHECK_BYTES:  # others write, and the size may be unknown
                        unchecked = 0
                        self._tools.spool.require_room(0)
            except WheelyardError as error:
                growing.lose()
                self._answer(growing)
                self._note_not_stored(error)
                raise

        return write

    def _follow(self, descriptor: OpenDescriptor) -> StoredFile | None:
        """
        Read along with another process; return the file once that process has stored it.

        Return None if it has failed before anybody had a byte, or has not stored the file.
        """
        growing = self._grow(descriptor, self._file.size)
        chunks = self._chunks_of_other(descriptor.number)
        try:
            self._copy(chunks, growing, lambda _: None)
        except WheelyardError:
            if growing.has_begun or self._is_stopped:
                raise
            return None
        for _ in self._pauses():
            if try_lock(descriptor.number):
                break
        return self._cache.find(self._name, self._file)

    def _chunks_of_other(self, descriptor: int) -> Iterator[bytes]:
        """Yield what another process writes, until all is there or that process has ended."""
        position, pauses = 0, self._pauses()
        while position != self._file.size:
            has_ended = try_lock(descriptor)  # before the read, so that nothing is missed
            with storage_faults("a file in the spool folder"):
                chunk = os.pread(descriptor, CHUNK_BYTES, position)
            if chunk:
                position, pauses = position + len(chunk), self._pauses()
                yield chunk
            elif has_ended:
                return
            else:
                next(pauses)

    def _pauses(self) -> Iterator[None]:
        """Pause before each item but the first; raise Unavailable if another process hangs."""
        for _ in range(round(FOLLOW_PATIENCE_SECONDS / FOLLOW_PAUSE_SECONDS)):
            yield
            if self._is_stopped:
                break
            self._tools.runtime.pause(FOLLOW_PAUSE_SECONDS)
        message = "The process that fetches this file does not go on."
        raise Unavailable(message, retry_after=RETRY_AFTER_SECONDS)

    def _grow(self, descriptor: OpenDescriptor, size: int | None) -> GrowingFile:
        elsewhere = self._tools.pass_on(self._cache.upstream, self._name, self._file)
        monotonic = self._tools.runtime.monotonic
        self._growing = GrowingFile(descriptor, size, elsewhere.body_from, monotonic)
        return self._growing

    def _copy(
        self, chunks: Iterator[bytes], growing: GrowingFile, write: Callable[[bytes], None]
    ) -> FileCheck:
        """Give readers the chunks, the last ones once all are verified; return the check."""
        check = FileCheck(
            self._name, self._file, growing.size, self._cache.digests, self._tools.observation
        )
        for chunk in chunks:
            if self._is_stopped:
                message = "The server is about to stop."
                raise Unavailable(message, retry_after=RETRY_AFTER_SECONDS)
            check.add(chunk)
            write(chunk)
            self._received(len(chunk))
            growing.add(len(chunk))
            if growing.has_begun:
                self._answer(growing)
        check.finish()
        growing.verify()
        self._answer(growing)
        return check

    def _keep(self, path: Path, check: FileCheck) -> StoredFile:
        """Store the verified file; raise WheelyardError if it is not stored."""
        file, size = replace(self._file, sha256=check.received.sha256), check.received.size
        if self._max_kept_bytes is not None and size > self._max_kept_bytes:
            raise Unavailable(f"{file.filename} is larger than upstream.max_cache_file_mb.")
        try:
            if not self._cache.is_local and (stored := self._cache.find(self._name, file)):
                return stored  # another instance was faster: to send it twice takes long
            return self._cache.put(self._name, file, path, size)
        except WheelyardError as error:
            self._note_not_stored(error)
            raise

    def _note_not_stored(self, error: WheelyardError) -> None:
        self._tools.observation.not_stored(self._name, self._file.filename, error.message)

    def _answer(self, opened: FetchedFile) -> None:
        if not self.started.done():
            self.started.set_result(opened)

    def _give_up(self, error: WheelyardError) -> None:
        # these refer to frames, and so to the file, which has to be closed at once
        error.__traceback__ = error.__cause__ = error.__context__ = None
        if self._growing is not None:
            self._growing.fail(error)
            self._growing.discard(is_ours=self._is_ours)
        if not self.started.done():
            self.started.set_exception(error)
        self.stored.set_exception(error)

    def _remove(self) -> None:
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                path.unlink()
