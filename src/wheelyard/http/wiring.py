"""The parts of a running server, made from its index: the threads, and what pages are kept in."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from wheelyard.catalog.cache import WeighedCache
from wheelyard.http.desk import Desk
from wheelyard.http.downloads import Downloads
from wheelyard.http.errors import Troubles
from wheelyard.http.exchange import Header
from wheelyard.http.pagestore import PageStore
from wheelyard.http.slots import Slots
from wheelyard.index import Index
from wheelyard.operations.trial import Reason
from wheelyard.settings.sections import MIB, HttpSettings

READER_THREADS: Final = 8
FAR_READER_THREADS: Final = 32
"""The same where the store is far: there threads mostly wait for the network."""
STREAM_THREADS: Final = 64
"""Threads for bodies that are read on the way to a client."""
HASHING_LIMIT: Final = 4
"""Passwords that are hashed at a time, on however many processors."""
LOGIN_PATIENCE: Final = 10.0
"""Seconds that a password waits for that."""
LOGIN_QUEUE: Final = 64
"""Passwords of one network that wait; one more is refused at once."""
VERIFIER_THREADS: Final = 16
"""Threads in which signatures are checked, and Google is asked."""
READERS_TO_A_LONG_READ: Final = 4
"""Of so many threads for reading, journals may take one at a time."""
CORE_METADATA_CACHE: Final = 8 * MIB
"""Bytes of memory for core metadata, where the store is far."""


def desk_of(index: Index, unwritable: Reason) -> Desk:
    """Return the parts of a server of `index`; `unwritable` is for `Desk`."""
    settings = index.settings
    threads = READER_THREADS if index.is_near else FAR_READER_THREADS
    strangers = max(1, min(os.cpu_count() or 1, HASHING_LIMIT) - 1)
    return Desk(
        index=index,
        pages=PageStore(settings.http.page_cache * MIB),
        readers=ThreadPoolExecutor(threads, "read"),
        streamers=ThreadPoolExecutor(STREAM_THREADS, "stream"),
        writers=ThreadPoolExecutor(settings.http.concurrent_uploads, "write"),
        cache_control=page_cache_control(settings.http, is_public=bool(index.public_scopes)),
        long_reads=Slots(threads // READERS_TO_A_LONG_READ, "long answers"),
        downloads=Downloads.of(index),
        hashers=ThreadPoolExecutor(strangers + 1, "hash"),
        logins=_turns(strangers),
        known_logins=_turns(strangers + 1),
        verifiers=ThreadPoolExecutor(VERIFIER_THREADS, "verify"),
        core_metadata_cache=WeighedCache(0 if index.is_near else CORE_METADATA_CACHE),
        troubles=Troubles(index.ambient.monotonic, is_near=index.is_near),
        unwritable=unwritable,
    )


def close(desk: Desk) -> None:
    """Let the changes that are under way finish, and nothing else."""
    desk.writers.shutdown()
    for threads in (desk.readers, desk.streamers, desk.hashers, desk.verifiers):
        threads.shutdown(cancel_futures=True)


def _turns(count: int) -> Slots:
    return Slots(count, "logins", patience=LOGIN_PATIENCE, queue=LOGIN_QUEUE)


def page_cache_control(settings: HttpSettings, *, is_public: bool) -> Header:
    """Return how long a page may be kept; without a CDN it is asked for anew each time."""
    if is_public and settings.public_max_age:
        value = f"public, max-age={settings.public_max_age}"
    else:
        value = "public, no-cache" if is_public else "private, no-cache"
    return (b"cache-control", value.encode())
