"""Builds the contexts that request handlers get: one of the process, and one of each index."""

import os
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from wheelyard.authentication.authenticator import MAX_PASSWORD_CHECKS
from wheelyard.catalog.files import CoreMetadataCache
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.threads import Turns
from wheelyard.http.context import IndexContext, ProcessContext, StaticSite
from wheelyard.http.file_delivery import FileDelivery
from wheelyard.http.logs import StoreErrorLog
from wheelyard.http.page_cache import PageCache
from wheelyard.http.work_limits import (
    MAX_WAITING_PASSWORDS,
    ConcurrencyLimit,
    NoThreads,
    ThreadPools,
)
from wheelyard.operations.check_store import Reason
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.documentation import Documentation, find_folder
from wheelyard.operations.index_definitions import KnownIndexes
from wheelyard.operations.server_state import ServerState
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.settings.sections import MIB
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.upstream_reader import UpstreamReader


LOCAL_READ_THREADS: Final = 8
REMOTE_READ_THREADS: Final = 32
"""More than for a folder, as reads from a bucket mostly wait for the network."""
LONG_READ_PART: Final = 4
"""Long answers have the threads for reads divided by this."""
REMOTE_METADATA_BYTES: Final = 8 * MIB
"""The memory for core metadata of a bucket. A folder is read again each time, at little cost."""
DAY_CACHE_PART: Final = 16
"""Pages of a day have the memory of an index divided by this: there may be many days."""


def build_context(
    index: Index, write_failure: Reason, site: StaticSite | None = None
) -> IndexContext:
    """
    Return the context of the index that a process begins with, and the context of the process.

    `index` is main for a server, or the index of a static site. `site` is that site, or None for a
    server. The `Server` gets a new `state`. With an upstream index, the list of private names in
    the store is completed unless the server is read-only. Then raises Invalid if something that the
    policy needs is wrong, and Unavailable if it cannot be read.
    """
    index.server.state = ServerState(index.server.runtime.now(), write_failure)
    process = _build_process(index, write_failure, site)
    index.server.state.watch(process.long_read_limit)
    index = replace(index, fixed_repository=index.repository)
    only_this_index = KnownIndexes(index.definition, {}, {}, frozenset())
    return _context(process, index, only_this_index, _upstream_reader(index))


def context_of_index(
    main_context: IndexContext, index: Index, in_force: KnownIndexes
) -> IndexContext:
    """
    Return the context of another index than main, or of main once any definition has changed.

    The context has pages of its own, and shares the process and the threads that ask upstream
    indexes with `main_context`. Raises NotFound if the index, or a layer of it, is not served any
    more. Raises Unavailable if the store does not say what they are.
    """
    upstream = None
    if main_context.upstream is not None and index.upstream is not None:
        upstream = main_context.upstream.of_another_index(index.upstream)
    # `App` looks at each request whether the definitions `in_force` are still the current ones
    repositories = index.server.indexes.repositories
    repository = index.fixed_repository
    if repository is None and index.definition.is_main:
        repository = repositories.of_main(index)
    elif repository is None:
        repository = repositories.get(index.name, in_force.definitions)
    index = replace(index, fixed_repository=repository)
    return _context(main_context.process, index, in_force, upstream)


def _build_process(index: Index, write_failure: Reason, site: StaticSite | None) -> ProcessContext:
    """Return what request handlers share for all indexes of a process."""
    server = index.server
    is_local = server.is_local
    read_threads = LOCAL_READ_THREADS if is_local else REMOTE_READ_THREADS
    metadata_bytes = 0 if is_local else REMOTE_METADATA_BYTES

    # one thread stays free for passwords that were correct lately
    processors = os.cpu_count() or 1
    unknown_passwords = max(1, min(processors, MAX_PASSWORD_CHECKS) - 1)
    password_threads = unknown_passwords + 1
    core_metadata = CoreMetadataCache(index.files, LruCache(metadata_bytes))
    documents = index.stores.documents

    # a static site and a read-only server do not store the descriptions that they make
    if site or server.settings.server.read_only:
        documents = ReadOnlyStore(documents)
    return ProcessContext(
        server=server,
        pools=_thread_pools(index, read_threads, password_threads, is_for_site=site is not None),
        descriptions=Descriptions(documents, server.runtime.monotonic, waits=site is not None),
        documentation=Documentation(find_folder()),
        file_delivery=FileDelivery(index),
        core_metadata=core_metadata,
        password_limit=_password_limit(unknown_passwords),
        known_password_limit=_password_limit(password_threads),
        long_read_limit=ConcurrencyLimit(read_threads // LONG_READ_PART, "long answers"),
        store_errors=StoreErrorLog(server.runtime, is_local=server.is_local),
        site=site,
        write_failure=write_failure,
    )


def _thread_pools(
    index: Index, read_threads: int, password_threads: int, *, is_for_site: bool
) -> ThreadPools:
    """Return the thread pools of a server process, or of one that makes a static site."""
    server = index.server
    # on a bucket, uploads wait for the network more than they compute
    turns = Turns(server.runtime.monotonic) if server.is_local else None
    # a static site is made page by page: on a folder, no read is worth a change of threads
    pools_class = NoThreads if is_for_site and server.is_local else ThreadPools
    providers = [table.name for table in server.settings.sign_in_providers]
    uploads = server.settings.http.concurrent_uploads
    return pools_class(read_threads, uploads, password_threads, turns, providers)


def _context(
    process: ProcessContext,
    index: Index,
    in_force: KnownIndexes,
    upstream: "UpstreamReader | None",
) -> IndexContext:
    """Return the context of an index, whose pages have memory of their own."""
    cache_bytes = process.server.settings.http.page_cache * MIB
    if index.definition.day is not None:
        cache_bytes //= DAY_CACHE_PART
    page_memory = LruCache[Any, Any](cache_bytes)
    read_policy = index.read_policy
    files_from_page = FILES_FROM_DETAIL
    if process.site is not None:
        # whoever can load a page of the site may read everything on it
        read_policy = replace(read_policy, visitor=process.site.caller)
        files_from_page = process.site.files_url or FILES_FROM_DETAIL
    downloads = None
    if process.counts_downloads:
        downloads = index.downloads
    public_url = index.settings.server.public_url.rstrip("/")
    provenance_root = ""
    if public_url.startswith("https://"):
        provenance_root = f"{public_url}/integrity"
    uploads = replace(index.uploads, descriptions=process.descriptions)
    return IndexContext(
        process=process,
        index=replace(index, uploads=uploads),
        known_indexes=in_force,
        upstream=upstream,
        read_policy=read_policy,
        pages=PageCache(page_memory),
        page_memory=page_memory,
        downloads=downloads,
        files_from_page=files_from_page,
        provenance_root=provenance_root,
    )


def _upstream_reader(index: Index) -> "UpstreamReader | None":
    """
    Return the reader of pages of upstream indexes, or None if the index has no upstream index.

    Raises Invalid or Unavailable as `build_context` does.
    """
    if index.upstream is None:
        return None
    # no server without an upstream index needs it
    from wheelyard.http.upstream_reader import UpstreamReader  # noqa: PLC0415

    index.upstream.policy.load()
    reader = UpstreamReader(index.upstream, is_local=index.server.is_local)
    if index.server.state is not None:
        index.server.state.watch(reader.limit)
    if not index.settings.server.read_only:
        reader.complete_names()
    return reader


def _password_limit(count: int) -> ConcurrencyLimit:
    """Return the limit by which at most `count` passwords are hashed at a time."""
    return ConcurrencyLimit(count, "logins", wait_timeout=10.0, max_waiting=MAX_WAITING_PASSWORDS)
