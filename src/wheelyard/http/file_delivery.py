"""
The bytes and the core metadata of listed files, as they reach clients.

A file of this machine goes to the kernel as its path. Where the store signs a URL, the client is
sent there. Else, or while it cannot sign, the bytes are read here.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from errno import ELOOP, EMFILE, ENFILE
from hashlib import sha256
from math import inf
from pathlib import Path
from stat import S_ISREG
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import NotFound, Unavailable
from wheelyard.http.protocol.range_requests import ByteRange
from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File
from wheelyard.storage.base import Key
from wheelyard.storage.disk import link_error, open_no_follow
from wheelyard.wiring.index import Index

NO_SIGNATURE: Final = frozenset({"signing_denied", "signing_unavailable"})
"""Codes that leave the bytes themselves within reach."""

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True)
class CoreMetadataCache:
    """The core metadata of listed files; each verb may wait for the store."""

    files: Files
    cache: LruCache[str, bytes]
    """By digest; holds nothing where the store is near."""

    def load(self, name: NormalizedName, file: File) -> CoreMetadata:
        """Return what a listed file says of itself, or raise Unavailable."""
        try:
            raw = self.load_bytes(name, file) if file.has_metadata else None
        except NotFound as error:
            raise missing_file_error(file) from error
        return parse_any(raw, name, file.version)

    def load_bytes(self, name: NormalizedName, file: File) -> bytes:
        """Return a file's core metadata; raise NotFound if it is lost, damaged or deleted."""
        held = self.cache.get(file.core_metadata)
        if held is not None:
            return held
        content = self.files.core_metadata(name, file)
        if sha256(content).hexdigest() != file.core_metadata:
            raise NotFound(f"The core metadata of {file.filename} is not what it was.")
        self.cache.put(file.core_metadata, content, 256 + len(content))
        return content


def missing_file_error(file: File) -> Unavailable:
    """Return the fault for a listed file whose bytes are not there."""
    # not 404: installers take that for "not here" and go elsewhere
    return Unavailable(
        f"The store has lost {file.filename}. Run 'wheelyard check' and restore it from a backup.",
        short="The file is missing from storage.",
    )


class FileDelivery:
    """The files of an index, as they reach a client."""

    def __init__(self, index: Index) -> None:
        self._files = index.files
        self._lifetime = timedelta(minutes=index.settings.store.signed_url_minutes)
        self._monotonic = index.runtime.monotonic
        self._warnings = LogRateLimit(1, self._monotonic)
        self._rests_until = -inf

    def open_body(
        self, name: NormalizedName, file: File, span: ByteRange | None
    ) -> Path | Iterator[bytes] | str:
        """Return a file or part of it, or a URL; raise NotFound if it is lost or deleted."""
        key = keys.distribution(name, file.sha256, file.filename)
        path = self._files.store.path_of(key)
        if path is not None:
            _require(path, file)
            if span is None:
                return path
        elif (url := self._signed(key)) is not None:
            return url
        start, stop = (span.start, span.stop) if span else (0, file.size)
        chunks = _Exactly(self._files.store.read(key, start, stop), stop - start)
        chunks.begin()
        return chunks

    def _signed(self, key: Key) -> str | None:
        if self._monotonic() < self._rests_until:
            return None
        try:
            return self._files.store.sign(key, self._lifetime)
        except Unavailable as fault:
            if fault.code not in NO_SIGNATURE:
                raise
            self._rests_until = self._monotonic() + 30  # to ask takes time, too
            if self._warnings.take() is not None:
                logger.warning("downloads go through the index itself: %s", fault.message)
            return None


def _require(path: Path, file: File) -> None:
    """Return if a file is there, and no link is on the way to it."""
    # the server opens it once more: who may write to the store can put a link there in between
    try:
        descriptor = open_no_follow(str(path), os.O_RDONLY)
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):  # Granian would answer 404
            raise Unavailable(
                "The server has too many files open to send another. Try again in a moment; its "
                "operator raises the limit of file descriptors.",
                short="Too many open files.",
            ) from error
        if error.errno == ELOOP:
            raise link_error(file.filename) from error
        raise NotFound(f"{file.filename} cannot be reached.") from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_size != file.size or not S_ISREG(found.st_mode):
        raise NotFound(f"{file.filename} is not what it was.")


class _Exactly:
    """Chunks; too few bytes are a fault: a short body looks complete."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self._missing = size
        self._first = b""

    def begin(self) -> None:
        """Read the first chunk, while a refusal can still be sent."""
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
        getattr(self._chunks, "close", lambda: None)()
