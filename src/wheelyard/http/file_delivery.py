"""
File delivery: response bodies of distributions.

In a folder, a small file is read at once, and a larger one is sent by its path. If the store can
sign URLs, the client is redirected to a signed URL. Otherwise (or while signing fails) this process
reads the bytes chunk by chunk.
"""

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from errno import ELOOP, EMFILE, ENFILE
from hashlib import sha256
from math import inf
from pathlib import Path
from stat import S_ISREG
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.concurrency.runtime import LogRateLimit
from wheelyard.errors import DAMAGED, NotFound, Unavailable
from wheelyard.http.messages import BegunBody, close_chunks
from wheelyard.http.representation import ByteRange
from wheelyard.model.project import File
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Key, Store
from wheelyard.storage.filesystem import link_error, open_no_follow, storage_faults
from wheelyard.wiring.index import Index

SIGNING_ERRORS: Final = frozenset({"signing_denied", "signing_unavailable"})
"""Error codes of URL signing after which this process sends the file's bytes itself."""

SMALL_FILE_BYTES: Final = 65_536
"""The largest file in a folder that is read at once: opening it takes longer than reading it."""

SIGNING_PAUSE_SECONDS: Final = 30
"""How long no URL is signed after a failed attempt, as each attempt takes time."""

logger = logging.getLogger("wheelyard")


class StoredBody(Struct, frozen=True):
    """The body of a distribution in the store, which is opened after all other checks."""

    delivery: "FileDelivery"
    name: NormalizedName
    file: File
    files: Files | None = None
    """The files among which the file is, or None for a private file."""

    def open(self, byte_range: ByteRange | None) -> bytes | Path | Iterator[bytes] | str:
        """
        Return a path, a signed URL, or the bytes or chunks of a range (None: of the file).

        A path or a URL is for the whole file. Raises NotFound, Unavailable or OSError as
        `FileDelivery.open_body` does.
        """
        return self.delivery.open_body(self.name, self.file, byte_range, self.files)


class FileDelivery:
    """Decides how a distribution is sent: at once, by its path or a signed URL, or in chunks."""

    def __init__(self, index: Index) -> None:
        self._files = index.files
        self._lifetime = timedelta(minutes=index.settings.store.signed_url_minutes)
        self._monotonic = index.server.runtime.monotonic
        self._warnings = LogRateLimit(1, self._monotonic)
        self._signing_paused_until = -inf

    def open_body(
        self,
        name: NormalizedName,
        file: File,
        byte_range: ByteRange | None,
        files: Files | None = None,
    ) -> bytes | Path | Iterator[bytes] | str:
        """
        Return a path, a signed URL, or the bytes or chunks of a range (None: of the file).

        A path or a URL is for the whole file. `files` has the file, unless it is a private one. If
        no URL can be signed now, that is logged, and not tried again for `SIGNING_PAUSE_SECONDS`.

        Raises NotFound if the store lacks the file, or a folder has one of another size. Raises
        Unavailable if the store does not answer, or has other bytes or a link in its place. Raises
        OSError if this process can open no more files. The iterator raises Unavailable if the
        further bytes cannot be read, or are damaged.
        """
        start = 0
        stop = file.size
        digest = file.sha256
        if byte_range is not None:
            start = byte_range.start
            stop = byte_range.stop
            digest = ""  # nobody knows the digest of a part
        key = keys.distribution(name, file.sha256, file.filename)
        store = (files or self._files).store
        path = store.path_of(key)
        if path is not None:
            content = _read_if_small(path, file)
            if content is not None:
                return content[start:stop]
            # the web server sends a whole file by its path, and no part of it
            if byte_range is None:
                return path
        else:
            url = self._signed_url(store, key)
            if url is not None:
                return url
        stored_chunks = store.read(key, start, stop)
        chunks = _verified(stored_chunks, stop - start, digest)

        # the first chunk is read now, while an error response can still be sent
        first_chunk = next(chunks, b"")
        return BegunBody(first_chunk, chunks)

    def _signed_url(self, store: Store, key: Key) -> str | None:
        """Return the signed URL of a file, or None if the store cannot sign one, or not now."""
        if self._monotonic() < self._signing_paused_until:
            return None
        try:
            return store.sign(key, self._lifetime)
        except Unavailable as error:
            if error.code not in SIGNING_ERRORS:
                raise
            self._signing_paused_until = self._monotonic() + SIGNING_PAUSE_SECONDS
            if self._warnings.acquire() is not None:
                logger.warning("downloads go through the index itself: %s", error.message)
            return None


def _read_if_small(path: Path, file: File) -> bytes | None:
    """
    Check the file at `path`, and return its bytes, or None if it is above `SMALL_FILE_BYTES`.

    Raises NotFound unless there is a file of the listed size, and Unavailable if there is a link.
    Raises OSError if this process or the machine can open no more files.
    """
    # Granian opens a path that is sent again: a writer to the store could put a link there before
    try:
        descriptor = open_no_follow(str(path), os.O_RDONLY)
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):  # 503, and never 404, as Granian would answer
            raise
        if error.errno == ELOOP:
            raise link_error(file.filename) from error
        raise NotFound(f"{file.filename} cannot be reached.") from error
    try:
        status = os.fstat(descriptor)
        if status.st_size != file.size or not S_ISREG(status.st_mode):
            raise NotFound(f"{file.filename} has changed in the store.")
        if file.size > SMALL_FILE_BYTES:
            return None
        with storage_faults(file.filename):
            content = os.read(descriptor, file.size)
        if len(content) != file.size:
            raise NotFound(f"{file.filename} has just been changed in the store.")
        return content
    finally:
        os.close(descriptor)


def _verified(chunks: Iterator[bytes], size: int, digest: str) -> Iterator[bytes]:
    """
    Yield chunks, but the last one only if all bytes are the expected ones, and close the iterator.

    A service may send a damaged file, and not every library notices it. Raises Unavailable if the
    chunks have not `size` bytes, or have another SHA-256 than `digest`, unless that is empty.
    """
    # a client that lacks the last chunk knows by Content-Length that the body is incomplete
    hasher = sha256()
    held_chunk = b""
    remaining_bytes = size
    try:
        for chunk in chunks:
            remaining_bytes -= len(chunk)
            if digest:
                hasher.update(chunk)
            if held_chunk:  # an empty chunk would end the body
                yield held_chunk
            held_chunk = chunk
        has_other_digest = digest != "" and hasher.hexdigest() != digest
        if remaining_bytes != 0 or has_other_digest:
            raise Unavailable(
                "The store has other bytes of this file than it was given.",
                code=DAMAGED,
                advice=Advice(Remedy.CHECK_STORE),
            )
        if held_chunk:
            yield held_chunk
    finally:
        close_chunks(chunks)
