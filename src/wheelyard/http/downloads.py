"""
The bytes of a listed file: from the disk by the kernel, from a bucket itself, or through us.

The store decides: a file of this machine goes to the kernel as its path; where the store signs a
URL, the client is sent there; else the bytes are read here. A store that could sign, and
cannot just now, is read as well: a slow download is better than none.
"""

import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from errno import ELOOP, EMFILE, ENFILE
from math import inf
from stat import S_ISREG
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.errors import NotFound, Unavailable
from wheelyard.http.exchange import FileOnDisk, Stream
from wheelyard.http.negotiation import Span
from wheelyard.index import Index
from wheelyard.model.project import File
from wheelyard.storage.base import Key
from wheelyard.storage.in_place import linked, open_in_place

NO_SIGNATURE: Final = frozenset({"signing_denied", "signing_unavailable"})
"""The codes of an Unavailable that leaves the bytes themselves within reach."""
REST: Final = 30.0
"""Seconds that nothing is asked to sign after it could not: asking may take longer than reading."""
WARNING_PAUSE: Final = 60.0
"""Seconds from one warning that nothing is signed to the next."""

logger = logging.getLogger("wheelyard")


class Downloads:
    """
    The files of an index, as they reach a client.

    Args:
        files: Where they are.
        lifetime: How long a signed URL holds.
        monotonic: Seconds that never jump.
    """

    def __init__(self, files: Files, lifetime: timedelta, monotonic: Callable[[], float]) -> None:
        self._files = files
        self._lifetime = lifetime
        self._monotonic = monotonic
        self._lock = Lock()
        self._rests_until = -inf
        self._quiet_until = -inf

    @classmethod
    def of(cls, index: Index) -> "Downloads":
        """Return the downloads of an index."""
        lifetime = timedelta(minutes=index.settings.store.signed_url_minutes)
        return cls(index.files, lifetime, index.ambient.monotonic)

    def body(
        self, name: NormalizedName, file: File, span: Span | None
    ) -> FileOnDisk | Stream | str:
        """
        Return a listed file or part of it, waiting for the store; a string is a URL that has it.

        Raises:
            NotFound: The store has lost it.
            Unavailable: The store does not answer.
        """
        key = keys.distribution(name, file.sha256, file.filename)
        path = self._files.path_of(key)
        if path is not None:
            on_disk = _on_disk(str(path), file)
            if span is None:
                return on_disk
        elif (url := self._signed(key)) is not None:
            return url
        start, stop = (span.start, span.stop) if span else (0, file.size)
        chunks = _Exactly(self._files.read(key, start, stop), stop - start)
        chunks.begin()
        return Stream(chunks)

    def _signed(self, key: Key) -> str | None:
        if self._monotonic() < self._rests_until:
            return None
        try:
            return self._files.sign(key, self._lifetime)
        except Unavailable as fault:
            if fault.code not in NO_SIGNATURE:
                raise
            self._rest(fault)
            return None

    def _rest(self, fault: Unavailable) -> None:
        """Ask for no signature for a while, and say so once in a longer one."""
        now = self._monotonic()
        with self._lock:
            self._rests_until = now + REST
            is_news = now >= self._quiet_until
            if is_news:
                self._quiet_until = now + WARNING_PAUSE
        if is_news:
            logger.warning("downloads go through the index itself: %s", fault.message)


def _on_disk(path: str, file: File) -> FileOnDisk:
    """
    Return a file, which is there and no link is on the way to it.

    The server opens the path once more, a moment later: whoever may write to the store can put a
    link there in between.
    """
    try:
        descriptor = open_in_place(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):  # the server would take it for a file that is not there
            raise Unavailable(
                "The server has too many files open to send another. Try again in a moment; its "
                "operator raises the limit of file descriptors.",
                short="Too many open files.",
            ) from error
        if error.errno == ELOOP:
            raise linked(file.filename) from error
        raise NotFound(f"{file.filename} cannot be reached.") from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_size != file.size or not S_ISREG(found.st_mode):
        raise NotFound(f"{file.filename} is not what it was.")
    return FileOnDisk(path)


class _Exactly:
    """Chunks, broken off with a fault where a short body would look like a complete one."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self._missing = size
        self._first = b""

    def begin(self) -> None:
        """
        Read the first chunk, while it can still be said that it cannot be had.

        Raises:
            Unavailable: It cannot.
        """
        self._first = next(self, b"")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        for chunk in self._chunks:
            self._missing -= len(chunk)
            if chunk:  # an empty one would end the body
                return chunk
        if self._missing:
            raise Unavailable("The store has fewer bytes of this file than it was given.")
        raise StopIteration

    def close(self) -> None:
        """Let go of the store's own stream."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
