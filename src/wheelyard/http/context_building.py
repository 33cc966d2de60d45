"""How the objects that request handlers share are built: once for each process or each index."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wheelyard.authentication.authenticator import MAX_PASSWORD_CHECKS
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.threads import Turns
from wheelyard.http.context import ServerContext, StaticSite
from wheelyard.http.file_delivery import CoreMetadataCache, FileDelivery
from wheelyard.http.logs import StoreErrorLog
from wheelyard.http.page_cache import PageCache
from wheelyard.http.work_limits import (
    MAX_WAITING_PASSWORDS,
    ConcurrencyLimit,
    NoThreads,
    ThreadPools,
)
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.operations.check_store import Reason
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.documentation import Documentation, find_folder
from wheelyard.operations.server_state import ServerState
from wheelyard.settings.sections import MIB
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.upstream_reader import UpstreamReader


def build_context(
    index: Index, write_failure: Reason, site: StaticSite | None = None
) -> ServerContext:
    """
    Return the `ServerContext` of a process that serves `index`, or makes a static site of it.

    Raises Invalid or Unavailable, as `Policy.load` does, if there is an upstream index.
    """
    http = index.settings.http
    read_threads = 8 if index.server.is_local else 32  # remote reads mostly wait for the network
    unknown_passwords = max(1, min(os.cpu_count() or 1, MAX_PASSWORD_CHECKS) - 1)
    # on a bucket, uploads wait for the network more than they compute
    turns = Turns(index.server.runtime.monotonic) if index.server.is_local else None
    kind = NoThreads if site and index.server.is_local else ThreadPools
    providers = [table.name for table in index.settings.sign_in_providers]
    pools = kind(read_threads, http.concurrent_uploads, unknown_passwords + 1, turns, providers)
    responses, policy = LruCache[Any, Any](http.page_cache * MIB), index.read_policy
    documents = index.stores.documents
    if site or index.settings.server.read_only:
        documents = ReadOnlyStore(documents)
    descriptions = Descriptions(documents, index.server.runtime.monotonic, waits=site is not None)
    state = ServerState(index.server.runtime.now(), write_failure)
    index.server.state = state
    index = replace(
        index,
        uploads=replace(index.uploads, descriptions=descriptions),
        fixed_repository=index.repository,  # of main it never changes
    )
    long_read_limit = ConcurrencyLimit(read_threads // 4, "long answers")
    state.watch(long_read_limit)
    return ServerContext(
        index=index,
        definitions={},
        pools=pools,
        upstream=_upstream_reader(index),
        read_policy=replace(policy, anonymous=site.caller) if site else policy,
        pages=PageCache(responses),
        remembered=responses,
        descriptions=descriptions,
        documentation=Documentation(find_folder()),
        file_delivery=FileDelivery(index),
        core_metadata=CoreMetadataCache(
            index.files, LruCache(0 if index.server.is_local else 8 * MIB)
        ),
        password_limit=_password_limit(unknown_passwords),
        known_password_limit=_password_limit(unknown_passwords + 1),
        long_read_limit=long_read_limit,
        store_errors=StoreErrorLog(index.server.runtime, is_local=index.server.is_local),
        site=site,
        write_failure=write_failure,
    )


def context_of_index(
    whole: ServerContext,
    index: Index,
    definitions: Mapping[str, IndexDefinition],
) -> ServerContext:
    """
    Return the `ServerContext` of an index but main, in the process of `whole`.

    It has pages of its own, and shares threads, limits, and what is found by digest. Raises
    Unavailable if the grants cannot be read.
    """
    size = index.settings.http.page_cache * MIB
    if index.definition.day is not None:  # there may be many of them
        size //= 16
    responses = LruCache[Any, Any](size)
    uploads = replace(index.uploads, descriptions=whole.descriptions)
    upstream = None
    if whole.upstream is not None and index.upstream is not None:
        upstream = whole.upstream.of_another_index(index.upstream)
    policy = index.read_policy
    # whoever routes a request looks whether these definitions are still the current ones
    repository = index.fixed_repository or index.server.indexes.repositories.get(
        index.name, definitions
    )
    return replace(
        whole,
        index=replace(index, uploads=uploads, fixed_repository=repository),
        definitions=definitions,
        upstream=upstream,
        read_policy=replace(policy, anonymous=whole.site.caller) if whole.site else policy,
        pages=PageCache(responses),
        remembered=responses,
    )


def _upstream_reader(index: Index) -> "UpstreamReader | None":
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
    return ConcurrencyLimit(count, "logins", wait_timeout=10.0, max_waiting=MAX_WAITING_PASSWORDS)
