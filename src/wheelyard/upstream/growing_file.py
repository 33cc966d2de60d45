"""
A file that is being received: one thread writes it, readers follow, and its bytes are checked.

A reader gets bytes as soon as they are there. It gets the last bytes only after the digest of all
bytes has agreed, so that wrong bytes never look complete: neither to a client that counts them, nor
as an archive, which begins or ends with them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from hashlib import sha256
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import BAD_UPSTREAM, Unavailable, WheelyardError
from wheelyard.storage.base import CHUNK_BYTES
from wheelyard.storage.filesystem import storage_faults
from wheelyard.upstream.file_cache import Pin, PinnedDigests
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page import UpstreamFile

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher


HELD_BACK_BYTES: Final = 1024
"""The last bytes of a body that are not sent before the digest has agreed."""
SMALL_FILE_BYTES: Final = CHUNK_BYTES
"""A file of at most this size is verified before any of it is sent."""
SMALL_FILE_SECONDS: Final = 2.0
"""Seconds after which even a small file is sent as it comes, so that no client gives up."""
RANGES_LIMIT_BYTES: Final = 16 * 1024**2
"""The largest file of which a part can be asked for while it arrives."""
NOTICE_BYTES: Final = CHUNK_BYTES
"""New bytes after which readers that wait are woken."""
NOTICE_SECONDS: Final = 0.02
"""Seconds after which readers that wait are woken again, if there are any new bytes."""
MAX_UNKNOWN_BYTES: Final = 4 * 1024**3
"""The largest file whose size neither its page nor the upstream's answer says."""


class _WaitingReader(NamedTuple):
    """A reader that waits."""

    position: int
    stop: int | None
    """The position before which it stops, or None for the end of the file."""
    call: Callable[[], None]
    """What wakes the reader."""


class OpenDescriptor:
    """A file descriptor that is closed when nobody has this object any more, or before."""

    __slots__ = ("_is_closed", "_lock", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._is_closed = False
        self._lock = Lock()

    def read(self, size: int, position: int) -> bytes:
        """Return bytes of the file: no bytes at its end, and after it was closed."""
        with self._lock:  # so that the number does not become that of another file meanwhile
            if self._is_closed:
                return b""
            # not `read`: the readers and the writing thread share one position in the file
            return os.pread(self.number, size, position)

    def close(self) -> None:
        """Close the file, if it is open."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.number)

    def __del__(self) -> None:
        self.close()


class GrowingFile:
    """
    A file in the spool that one thread writes while readers follow.

    `size` is the size that the file will have, or None if nobody has said it.
    """

    def __init__(self, descriptor: OpenDescriptor, size: int | None, runtime: Runtime) -> None:
        self.descriptor = descriptor
        self.size = size
        self._runtime = runtime
        # changed by the writing thread alone; readers see `_noticed`, which changes under the lock
        self._written = 0
        self._noticed = 0
        """Bytes of which readers have been told."""
        self._noticed_at = -1.0
        """When readers were told last, by the monotonic clock."""
        self._patient_until = runtime.monotonic() + SMALL_FILE_SECONDS
        self._is_verified = False
        self._error: WheelyardError | None = None
        self._changed = Condition()
        self._waiting: list[_WaitingReader] = []

    @property
    def takes_ranges(self) -> bool:
        """
        Whether a part can be asked for: only of a file that has arrived or is not large.

        A part is sent when the whole file is verified. A client that wants the end of a large file
        would give up before that. If the client gets the whole file, the first bytes come at once.
        """
        if self._is_verified:
            return True
        return self.size is not None and self.size <= RANGES_LIMIT_BYTES

    @property
    def has_begun(self) -> bool:
        """Whether readers have been told of any bytes."""
        return self._noticed > HELD_BACK_BYTES or self._is_verified

    def body(self, start: int = 0, stop: int | None = None) -> "bytes | FollowedBody":
        """
        Return the bytes from `start` up to `stop` (None: to the end), or an iterator of chunks.

        The result is bytes if all of them are verified, and they are few. Raises Unavailable if the
        spool cannot be read. The iterator raises this as well, and the error that `fail` was given.
        """
        # read once: if the file is verified meanwhile, the body may be an iterator all the same
        is_verified = self._is_verified
        if stop is None:
            stop = self.size
        body = FollowedBody(self, start, stop)
        if is_verified and body.remaining <= CHUNK_BYTES:
            return b"".join(body)
        return body

    def add(self, size: int) -> None:
        """Note that `size` more bytes were written, and wake the readers from time to time."""
        self._written += size
        now = self._runtime.monotonic()
        is_small = self.size is not None and self.size <= SMALL_FILE_BYTES
        if self._written == self.size or (is_small and now < self._patient_until):
            return  # the file is verified in a moment, and if it is wrong, nothing has been sent
        is_late = now - self._noticed_at >= NOTICE_SECONDS
        if is_late or self._written - self._noticed >= NOTICE_BYTES:
            self._noticed_at = now
            self._notify()

    def verify(self) -> None:
        """Note that all bytes are written, and that they are those of the page."""
        # readers have the last bytes from now on; the size first, as they read it without the lock
        self.size = self._written
        self._is_verified = True
        self._notify()

    def fail(self, error: WheelyardError) -> None:
        """
        Break off all readers with an error, unless they have all bytes, and close the file.

        Its disk space is given back at once, as readers may keep it open.
        """
        if not self._is_verified:
            # readers that have noticed bytes before it get this error instead of the rest
            self._error = error
            self._wake()
            # after the readers know: none takes the shorter file for the whole one
            with suppress(OSError):
                os.ftruncate(self.descriptor.number, 0)
            self.descriptor.close()

    def when_readable(self, position: int, stop: int | None, call: Callable[[], None]) -> bool:
        """
        Return whether a reader at `position` can go on, or has to end.

        If it cannot, call `call` once it can, in any thread.
        """
        with self._changed:
            # under the lock that `_wake` takes, so nobody is forgotten between look and note
            can_go_on = self._can_go_on(position, stop)
            if not can_go_on:
                self._waiting.append(_WaitingReader(position, stop, call))
            return can_go_on

    def wait_beyond(self, position: int, stop: int | None) -> int:
        """
        Wait until a reader at `position` can go on, and return up to where it can read.

        At the end, return `position`. Raises the error of the file if it has failed.
        """
        with self._changed:
            while not self._can_go_on(position, stop):
                self._changed.wait()
            limit = self._readable(stop)
            if limit <= position:
                self.check()
            return limit

    def check(self) -> None:
        """Raise the error of the file if it has failed."""
        if self._error is not None:
            # a copy, as its traceback refers to this object, which must not outlive its readers
            raise copy(self._error)

    def _can_go_on(self, position: int, stop: int | None) -> bool:
        """Return whether there are bytes for a reader at `position`, or no more will come."""
        has_ended = self._is_verified or self._error is not None
        return has_ended or self._readable(stop) > position

    def _readable(self, stop: int | None) -> int:
        """Return the position up to which a reader that wants the bytes before `stop` may read."""
        if self._is_verified:
            return self._written if stop is None else min(stop, self._written)
        noticed = self._noticed if stop is None else min(stop, self._noticed)
        # the end of a part is held back as well: wrong bytes must not look complete either
        return noticed - HELD_BACK_BYTES

    def _notify(self) -> None:
        """Let readers have the bytes that are written by now."""
        with self._changed:
            self._noticed = self._written
        self._wake()

    def _wake(self) -> None:
        """Wake the readers that can go on, or have to end."""
        with self._changed:
            ready = list[_WaitingReader]()
            waiting = list[_WaitingReader]()
            for reader in self._waiting:
                if self._can_go_on(reader.position, reader.stop):
                    ready.append(reader)
                else:
                    waiting.append(reader)
            self._waiting = waiting
            self._changed.notify_all()
        for reader in ready:  # not under the lock: this calls code of the server
            reader.call()


class FollowedBody:
    """Iterator of the chunks of a part of a growing file, for one reader."""

    def __init__(self, file: GrowingFile, start: int, stop: int | None) -> None:
        self._file = file
        self._position = start
        self._stop = stop

    @property
    def remaining(self) -> int:
        """How many bytes are still to be read, or 0 or less if nobody knows where they end."""
        return (self._stop or 0) - self._position

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        limit = self._file.wait_beyond(self._position, self._stop)
        if limit <= self._position:
            raise StopIteration
        return self._read(limit)

    def when_ready(self, call: Callable[[], None]) -> bool:
        """
        Return whether the next chunk is there, or the body has to end.

        If neither is so, call `call` once it is, in any thread.
        """
        return self._file.when_readable(self._position, self._stop, call)

    def _read(self, limit: int) -> bytes:
        """Return the next chunk, of bytes before the position `limit`."""
        size = min(CHUNK_BYTES, limit - self._position)
        with storage_faults("a file in the spool folder"):
            chunk = self._file.descriptor.read(size, self._position)
        if not chunk:
            # the fetch has failed since `limit` was read, or somebody else has cut the file off
            self._file.check()
            raise Unavailable("A file in the spool has been cut off. Ask for it again.")
        self._position += len(chunk)
        return chunk


def bad_file(filename: str, why: str) -> Unavailable:
    """Return the Unavailable (code `bad_upstream`) for a file that is not what its page says."""
    return Unavailable(
        f"The upstream index has sent {filename} {why}. Nothing of it was kept. Try again; if it "
        "stays so, tell the operator of this index.",
        code=BAD_UPSTREAM,
    )


def too_long(filename: str) -> Unavailable:
    """Return the error for a file with more bytes than its page or this index allows."""
    return bad_file(filename, "with more bytes than it may have")


def too_short(filename: str) -> Unavailable:
    """Return the error for a file that has ended before all of its bytes were there."""
    return bad_file(filename, "with fewer bytes than its page says")


def wrong_digest(filename: str) -> Unavailable:
    """Return the error for a file whose bytes have not the digest that its page says."""
    return bad_file(filename, "with another digest than its page says")


def other_provenance(filename: str) -> Unavailable:
    """Return the error for a document that is no provenance, or is about other bytes."""
    return bad_file(
        f"a provenance of {filename}", "that is none, or not about the file that its page lists"
    )


def check_size(file: UpstreamFile, announced: int | None) -> int | None:
    """
    Return the size that a file has to have, or None if neither its page nor the answer says it.

    `announced` is the size that the answer says. Raises Unavailable (code `bad_upstream`) if the
    page says another size.
    """
    if announced is not None and file.size not in (None, announced):
        raise bad_file(file.filename, "with another size than its page says")
    return announced if file.size is None else file.size


def limit_of(size: int | None) -> int:
    """Return the most bytes that are read of a file, whose size may be unknown."""
    return MAX_UNKNOWN_BYTES if size is None else size


class FileCheck:
    """
    The check of one file from its first byte to its last.

    `size` is the number of bytes that the file has to have, or None if nobody has said it.
    """

    def __init__(
        self,
        name: NormalizedName,
        file: UpstreamFile,
        size: int | None,
        pins: PinnedDigests,
        observation: Observation,
    ) -> None:
        self._name = name
        self._file = file
        self._expected_size = size
        self._pins = pins
        self._observation = observation
        self._size = 0
        self._limit = limit_of(size)
        self._sha256 = sha256()
        self._other_hashes = OtherHashes(file.other_hashes)

    def add(self, chunk: bytes) -> None:
        """
        Take the next bytes.

        Raises Unavailable (code `bad_upstream`) if the file has too many bytes.
        """
        # counted first: an upstream must not be able to fill the disk
        self._size += len(chunk)
        if self._size > self._limit:
            raise too_long(self._file.filename)
        self._sha256.update(chunk)
        self._other_hashes.update(chunk)

    @property
    def received(self) -> Pin:
        """The digest and the size of the bytes so far."""
        return Pin(self._sha256.hexdigest(), self._size)

    def finish(self) -> None:
        """
        Check that size and digests are those of the page and of the first fetch.

        The caller does this when all bytes have come, and before the last bytes are sent. A digest
        that the page does not say is pinned. Raises Unavailable (code `bad_upstream`) if the size
        or a digest differs. Raises Unavailable if the store does not take the pin.
        """
        name = self._name
        file = self._file
        if self._expected_size not in (None, self._size):
            raise too_short(file.filename)
        received = self.received
        if file.sha256 not in ("", received.sha256) or not self._other_hashes.agree:
            if self._is_pinned():
                self._observation.digest_change(name, file.filename)
            else:
                self._observation.digest_mismatch(name, file.filename)
            raise wrong_digest(file.filename)
        if file.sha256:
            return
        # of several processes that fetch a file without a digest, the first to pin it is right
        pin = self._pins.pin(name, file.filename, received)
        if pin != received:
            self._observation.digest_change(name, file.filename)
            raise bad_file(file.filename, "with another digest than before")

    def _is_pinned(self) -> bool:
        """Return whether the digest of the file is from an earlier fetch, and not from its page."""
        if not self._file.sha256:
            return False
        pin = self._pins.load(self._name).get(self._file.filename)
        return pin is not None and pin.sha256 == self._file.sha256

    def list_digest(self) -> None:
        """
        Add a pinned digest to those that complete the page of the project.

        If the store does not take it, that is counted and logged, and the next fetch does it.
        """
        filename = self._file.filename
        if self._file.sha256:
            return
        try:
            self._pins.list_on_page(self._name, filename, self.received)
        except Unavailable as error:
            # readers need not know: the pin of the file itself is stored, and decides
            self._observation.not_stored(self._name, filename, error.message)


class OtherHashes:
    """Digests other than SHA-256, each as `ALGORITHM=HEX`, that bytes are compared with."""

    def __init__(self, stated: Iterable[str]) -> None:
        self._hashers: list[tuple[Hasher, str]] = []
        for algorithm_and_digest in stated:
            algorithm, _, digest = algorithm_and_digest.partition("=")
            length = dict[str, int]()
            if algorithm.startswith("blake2"):  # BLAKE2 has digests of many lengths
                length["digest_size"] = len(digest) // 2
            # `sound_digests` lets only these algorithms pass, so a page can name no other attribute
            make: Callable[..., Hasher] = getattr(hashlib, algorithm)
            self._hashers.append((make(usedforsecurity=False, **length), digest))

    def update(self, chunk: bytes | bytearray) -> None:
        """Take the next bytes."""
        for hasher, _ in self._hashers:
            hasher.update(chunk)

    @property
    def agree(self) -> bool:
        """Whether the bytes so far have all of the digests."""
        return all(hasher.hexdigest() == digest for hasher, digest in self._hashers)
