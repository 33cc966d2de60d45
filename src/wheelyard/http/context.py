"""The parts of a running server, made from its index."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from wheelyard.concurrency.caches import LruCache
from wheelyard.http.caching.document_reads import DocumentReads
from wheelyard.http.caching.page_cache import PageCache
from wheelyard.http.concurrency_limit import ConcurrencyLimit
from wheelyard.http.file_delivery import CoreMetadataCache, FileDelivery
from wheelyard.http.observability.store_error_log import StoreErrorLog
from wheelyard.http.security.read_policy import ReadPolicy
from wheelyard.http.threads import Threads
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.operations.store_probe import Reason
from wheelyard.settings.sections import MIB
from wheelyard.wiring.index import Index

HASHING_LIMIT: Final = 4
"""Passwords that are hashed at a time, on however many processors."""
LOGIN_PATIENCE: Final = 10.0
"""Seconds that a password waits for that."""
LOGIN_QUEUE: Final = 64
"""Passwords of one network that wait; one more is refused at once."""
CORE_METADATA_CACHE: Final = 8 * MIB
"""Bytes of memory for core metadata, where the store is far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The parts of a running server, each about one subject."""

    index: Index
    threads: Threads
    reads: DocumentReads
    audience: ReadPolicy
    pages: PageCache
    downloads: FileDelivery
    core_metadata: CoreMetadataCache
    logins: ConcurrencyLimit
    """Turns at hashing a password: one less than there are threads."""
    known_logins: ConcurrencyLimit
    """The same for passwords that were right of late; guesses never take all."""
    long_reads: ConcurrencyLimit
    """Turns for what keeps a thread for reading for long."""
    store_errors: StoreErrorLog
    unwritable: Reason
    """Tells why the store has taken no write since the start."""


def build_context(index: Index, unwritable: Reason) -> ServerContext:
    """Return the parts of a server of `index`."""
    http = index.settings.http
    readers = 8 if index.is_local else 32  # far, they mostly wait for the network
    strangers = max(1, min(os.cpu_count() or 1, HASHING_LIMIT) - 1)
    threads = Threads(
        readers=ThreadPoolExecutor(readers, "read"),
        streamers=ThreadPoolExecutor(64, "stream"),
        writers=ThreadPoolExecutor(http.concurrent_uploads, "write"),
        hashers=ThreadPoolExecutor(strangers + 1, "hash"),
        verifiers=ThreadPoolExecutor(16, "verify"),
    )
    anybody = Caller(ANONYMOUS, index.authenticator.rights.public)
    memory = 0 if index.is_local else CORE_METADATA_CACHE
    return ServerContext(
        index=index,
        threads=threads,
        reads=DocumentReads(index, threads),
        audience=ReadPolicy(anybody, index.settings.private_patterns, http.public_max_age),
        pages=PageCache(http.page_cache * MIB),
        downloads=FileDelivery(index),
        core_metadata=CoreMetadataCache(index.files, LruCache(memory)),
        logins=_turns(strangers),
        known_logins=_turns(strangers + 1),
        long_reads=ConcurrencyLimit(readers // 4, "long answers"),
        store_errors=StoreErrorLog(index.runtime.monotonic, is_local=index.is_local),
        unwritable=unwritable,
    )


def _turns(count: int) -> ConcurrencyLimit:
    return ConcurrencyLimit(count, "logins", patience=LOGIN_PATIENCE, queue=LOGIN_QUEUE)
