"""How what request handlers get is built: once for a process, and for each index."""

import os
from typing import TYPE_CHECKING, Any

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


def build_context(
    index: Index, write_failure: Reason, site: StaticSite | None = None
) -> IndexContext:
    """
    Return the context of the index that a process begins with, and with it what all of them share.

    That index is main for a server, or the one of a static site. Its server gets a new `state`.
    With an upstream index, the list of private names in the store is completed unless the server is
    read-only. Then raises Invalid if what its policy needs is wrong, and Unavailable if it cannot
    be read.
    """
    index.server.state = ServerState(index.server.runtime.now(), write_failure)
    process = _build_process(index, write_failure, site)
    index.server.state.watch(process.long_read_limit)
    index = replace(index, fixed_repository=index.repository)
    alone = KnownIndexes(index.definition, {}, {}, frozenset())
    return _context(process, index, alone, _upstream_reader(index))


def context_of_index(first: IndexContext, index: Index, in_force: KnownIndexes) -> IndexContext:
    """
    Return the context of another index than `first`, or of main once any definition has changed.

    It has pages of its own, and shares the threads that ask upstream indexes. Raises NotFound if
    the index, or a layer of it, is not served any more. Raises Unavailable if the store does not
    say what they are.
    """
    upstream = None
    if first.upstream is not None and index.upstream is not None:
        upstream = first.upstream.of_another_index(index.upstream)
    # whoever routes a request looks whether these definitions are still the current ones
    repositories = index.server.indexes.repositories
    repository = index.fixed_repository
    if repository is None and index.definition.is_main:
        repository = repositories.of_main(index)
    elif repository is None:
        repository = repositories.get(index.name, in_force.definitions)
    index = replace(index, fixed_repository=repository)
    return _context(first.process, index, in_force, upstream)


def _build_process(index: Index, write_failure: Reason, site: StaticSite | None) -> ProcessContext:
    """Return what request handlers share for all indexes of a process."""
    server = index.server
    http = server.settings.http

    # remote reads mostly wait for the network
    read_threads = 8 if server.is_local else 32

    # from a folder, a document is read again: that costs little
    metadata_bytes = 0 if server.is_local else 8 * MIB

    # one thread stays free for passwords that were correct lately
    unknown_passwords = max(1, min(os.cpu_count() or 1, MAX_PASSWORD_CHECKS) - 1)

    # on a bucket, uploads wait for the network more than they compute
    turns = Turns(server.runtime.monotonic) if server.is_local else None

    # a static site is made page by page: on a folder, no read is worth a change of threads
    pools_class = NoThreads if site and server.is_local else ThreadPools
    providers = [table.name for table in server.settings.sign_in_providers]
    documents = index.stores.documents

    # neither writes the descriptions that it makes into the store
    if site or server.settings.server.read_only:
        documents = ReadOnlyStore(documents)
    return ProcessContext(
        server=server,
        pools=pools_class(
            read_threads, http.concurrent_uploads, unknown_passwords + 1, turns, providers
        ),
        descriptions=Descriptions(documents, server.runtime.monotonic, waits=site is not None),
        documentation=Documentation(find_folder()),
        file_delivery=FileDelivery(index),
        core_metadata=CoreMetadataCache(index.files, LruCache(metadata_bytes)),
        password_limit=_password_limit(unknown_passwords),
        known_password_limit=_password_limit(unknown_passwords + 1),
        long_read_limit=ConcurrencyLimit(read_threads // 4, "long answers"),
        store_errors=StoreErrorLog(server.runtime, is_local=server.is_local),
        site=site,
        write_failure=write_failure,
    )


def _context(
    process: ProcessContext,
    index: Index,
    in_force: KnownIndexes,
    upstream: "UpstreamReader | None",
) -> IndexContext:
    """Return the context of an index, whose pages have memory of their own."""
    size = process.server.settings.http.page_cache * MIB
    if index.definition.day is not None:  # there may be many of them
        size //= 16
    responses = LruCache[Any, Any](size)
    policy = index.read_policy
    files_from_page = FILES_FROM_DETAIL
    if process.site is not None:
        # whoever can load a page of the site may read what is on it
        policy = replace(policy, visitor=process.site.caller)
        files_from_page = process.site.files_url or FILES_FROM_DETAIL
    downloads = None
    if process.counts_downloads:
        downloads = index.downloads
    url = index.settings.server.public_url.rstrip("/")
    provenance_root = ""
    if url.startswith("https://"):
        provenance_root = f"{url}/integrity"
    return IndexContext(
        process=process,
        index=replace(index, uploads=replace(index.uploads, descriptions=process.descriptions)),
        in_force=in_force,
        upstream=upstream,
        read_policy=policy,
        pages=PageCache(responses),
        remembered=responses,
        downloads=downloads,
        files_from_page=files_from_page,
        provenance_root=provenance_root,
    )


def _upstream_reader(index: Index) -> "UpstreamReader | None":
    """Return what reads pages of upstream indexes, or None if the index has none."""
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
    """Return the limit of so many passwords that are hashed at a time."""
    return ConcurrencyLimit(count, "logins", wait_timeout=10.0, max_waiting=MAX_WAITING_PASSWORDS)
