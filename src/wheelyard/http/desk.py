"""The parts of a running server, made from its index."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from wheelyard.concurrency.caches import WeighedCache
from wheelyard.http.audience import Audience
from wheelyard.http.downloads import CoreMetadataStore, Downloads
from wheelyard.http.errors import Troubles
from wheelyard.http.pagestore import PageStore
from wheelyard.http.slots import Slots
from wheelyard.http.threads import Reads, Threads
from wheelyard.index import Index
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.operations.trial import Reason
from wheelyard.settings.sections import MIB

HASHING_LIMIT: Final = 4
"""Passwords that are hashed at a time, on however many processors."""
LOGIN_PATIENCE: Final = 10.0
"""Seconds that a password waits for that."""
LOGIN_QUEUE: Final = 64
"""Passwords of one network that wait; one more is refused at once."""
CORE_METADATA_CACHE: Final = 8 * MIB
"""Bytes of memory for core metadata, where the store is far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of a running server, each about one subject."""

    index: Index
    threads: Threads
    reads: Reads
    audience: Audience
    pages: PageStore
    downloads: Downloads
    core_metadata: CoreMetadataStore
    logins: Slots
    """Turns at hashing a password: one less than there are threads."""
    known_logins: Slots
    """The same for passwords that were right of late; guesses never take all."""
    long_reads: Slots
    """Turns for what keeps a thread for reading for long."""
    troubles: Troubles
    unwritable: Reason
    """Tells why the store has taken no write since the start."""


def desk_of(index: Index, unwritable: Reason) -> Desk:
    """Return the parts of a server of `index`."""
    http = index.settings.http
    readers = 8 if index.is_near else 32  # far, they mostly wait for the network
    strangers = max(1, min(os.cpu_count() or 1, HASHING_LIMIT) - 1)
    threads = Threads(
        readers=ThreadPoolExecutor(readers, "read"),
        streamers=ThreadPoolExecutor(64, "stream"),
        writers=ThreadPoolExecutor(http.concurrent_uploads, "write"),
        hashers=ThreadPoolExecutor(strangers + 1, "hash"),
        verifiers=ThreadPoolExecutor(16, "verify"),
    )
    anybody = Caller(ANONYMOUS, index.doors.rights.public)
    memory = 0 if index.is_near else CORE_METADATA_CACHE
    return Desk(
        index=index,
        threads=threads,
        reads=Reads(index, threads),
        audience=Audience(anybody, index.settings.private_patterns, http.public_max_age),
        pages=PageStore(http.page_cache * MIB),
        downloads=Downloads(index),
        core_metadata=CoreMetadataStore(index.files, WeighedCache(memory)),
        logins=_turns(strangers),
        known_logins=_turns(strangers + 1),
        long_reads=Slots(readers // 4, "long answers"),
        troubles=Troubles(index.ambient.monotonic, is_near=index.is_near),
        unwritable=unwritable,
    )


def _turns(count: int) -> Slots:
    return Slots(count, "logins", patience=LOGIN_PATIENCE, queue=LOGIN_QUEUE)
