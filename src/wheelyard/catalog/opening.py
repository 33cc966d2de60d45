"""The parts of the catalog of a store, and how they are built from its objects."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import journaled_documents as journaled
from wheelyard.catalog import keys
from wheelyard.catalog.changes import ChangeLog, Changes, has_no_serials
from wheelyard.catalog.commits import C, Commits, D, E, JournaledCache, ProjectCommits
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import ensure_format, writable
from wheelyard.catalog.package_request_list import RequestRecords
from wheelyard.catalog.person_records import PeopleRecords, PersonNames
from wheelyard.catalog.projects import (
    FreeNames,
    NameList,
    ProjectNames,
    Projects,
    RemainingIndex,
    VanishedProjects,
)
from wheelyard.catalog.removed import ChangedPasswords, OutdatedLines
from wheelyard.catalog.serials import ProjectSerials
from wheelyard.catalog.session_records import EndedSession, SessionKey, SessionRecords
from wheelyard.catalog.stored_tokens import LastUses, TokenRecords
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.catalog.webhook_records import SealedSecret, WebhookSecrets, WebhookStates
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, remote_conflict_retries
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.package_requests import RequestList
from wheelyard.model.person import Person
from wheelyard.model.webhook_state import WebhookState
from wheelyard.storage.base import Key, Store, Stores
from wheelyard.storage.forwarding import PrefixedStore

TOKEN_FRESHNESS: Final = 14.0
"""
Seconds for which tokens, sessions, passwords and grants are cached with a remote store.

A server caches an authenticated caller for one second more, so a token, a session or a grant works
for at most 15 seconds after its end.
"""


class Catalog(Struct, frozen=True):
    """The parts of the catalog that `open_catalog` returns."""

    is_new: bool
    """Whether `open_catalog` has created the store."""
    is_older: bool
    """Whether a version below `OLDEST_VERSION` could still write to the store when it was read."""
    stores: Stores
    """The objects. A write raises an error if only a newer version may write."""
    retries: ConflictRetries
    """How a write that has lost a race is tried again."""
    projects: Projects
    changes: Changes
    serials: ProjectSerials
    files: Files
    token_records: TokenRecords
    used_id_tokens: UsedIdTokens
    access_records: journaled.AccessRecords
    publisher_records: journaled.PublisherRecords
    namespace_records: journaled.NamespaceRecords
    webhook_records: journaled.WebhookRecords
    webhook_states: WebhookStates
    webhook_secrets: WebhookSecrets
    decision_records: journaled.DecisionRecords
    index_records: journaled.IndexRecords
    request_records: RequestRecords
    people: PeopleRecords
    outdated_lines: OutdatedLines
    person_names: PersonNames
    session_records: SessionRecords

    @property
    def rights(
        self,
    ) -> tuple[journaled.AccessRecords, journaled.PublisherRecords]:
        """The documents that give rights to projects."""
        return self.access_records, self.publisher_records

    @property
    def credential_documents(
        self,
    ) -> tuple[
        journaled.AccessRecords,
        journaled.PublisherRecords,
        journaled.NamespaceRecords,
        journaled.WebhookRecords,
    ]:
        """The documents below `credentials/` that have a journal."""
        return (
            self.access_records,
            self.publisher_records,
            self.namespace_records,
            self.webhook_records,
        )


def open_catalog(
    stores: Stores,
    runtime: Runtime,
    policy: CachePolicy,
    files_location: str = "",
    *,
    gives_serials: bool = True,
) -> Catalog:
    """
    Return the catalog of main, and write `wheelyard.json` if the store is new.

    `files_location` is that of a new store's distributions, if they have a bucket of their own. A
    server that may not write does not give serials. If only a newer version may write to the store,
    each write raises Unavailable (code `newer_store`). Raises Invalid if this version may not read
    the store (code `older_store` or `newer_store`), or if `wheelyard.json` is damaged or lost (code
    `damaged_document`). Raises Unavailable if the store does not answer, or a new one cannot be
    written.
    """
    # before anything else is read: an older version must not misread a newer store
    stored_format = ensure_format(stores.documents, files_location)
    stores = writable(stores, stored_format)
    store = stores.documents
    credentials = stores.credentials
    retries = _retries(policy, runtime)
    # cached longer than other documents, as each request with a token needs its record
    token_policy = replace(policy, freshness=max(TOKEN_FRESHNESS, policy.freshness))
    token_cache = DocumentCache(credentials, Codec(TokenRecord), runtime, token_policy)
    people_cache = DocumentCache(credentials, Codec(Person), runtime, token_policy)
    password_cache = DocumentCache(credentials, Codec(ChangedPasswords), runtime, token_policy)
    threads = _read_threads(policy)
    last_uses = LastUses(credentials, runtime, threads=threads)
    indexes = _journaled(journaled.INDEX_LIST, store, policy, retries)
    projects = open_projects(store, store, retries, policy, FreeNames(indexes))
    changes = open_changes(store, retries, policy, gives_serials=gives_serials)
    sessions = _sessions(credentials, token_policy, runtime)
    return Catalog(
        is_new=stored_format is None,
        is_older=stored_format is not None and stored_format.is_older,
        stores=stores,
        retries=retries,
        projects=projects,
        changes=changes,
        serials=ProjectSerials(changes, projects, runtime),
        files=Files(stores.files),
        token_records=TokenRecords(credentials, token_cache, retries, last_uses, threads),
        used_id_tokens=UsedIdTokens(credentials),
        access_records=_journaled(journaled.ACCESS, credentials, token_policy, retries),
        publisher_records=_journaled(journaled.PUBLISHERS, credentials, token_policy, retries),
        namespace_records=_journaled(journaled.NAMESPACES, credentials, token_policy, retries),
        webhook_records=_journaled(journaled.WEBHOOKS, credentials, policy, retries),
        webhook_states=_webhook_states(store, policy, retries),
        webhook_secrets=_webhook_secrets(credentials, token_policy, sessions),
        decision_records=_journaled(journaled.DECISIONS, store, policy, retries),
        index_records=indexes,
        request_records=_package_requests(store, policy, retries),
        people=PeopleRecords(credentials, people_cache, runtime, threads),
        outdated_lines=OutdatedLines(password_cache),
        person_names=PersonNames(credentials, retries),
        session_records=sessions,
    )


def open_index_catalog(
    catalog: Catalog,
    name: str,
    policy: CachePolicy,
    *,
    gives_serials: bool,
    is_stored: bool = False,
) -> Catalog:
    """
    Return the catalog of an index other than main, in the store of `catalog`.

    `is_stored` says that a command has made the index, so that a command may remove it. A server
    that may not write does not give serials. Nothing is read or written: the objects of an index
    begin with its first project.
    """
    retries = catalog.retries
    documents = PrefixedStore(catalog.stores.documents, keys.index_folder(name))
    remaining = RemainingIndex(catalog.index_records, name) if is_stored else None
    root = catalog.stores.documents
    projects = open_projects(documents, root, retries, policy, remaining)
    projects = replace(projects, index=name)
    changes = open_changes(documents, retries, policy, gives_serials=gives_serials)
    return replace(
        catalog,
        stores=replace(catalog.stores, documents=documents),
        projects=projects,
        changes=changes,
        serials=ProjectSerials(changes, projects, retries.runtime),
    )


def _retries(policy: CachePolicy, runtime: Runtime) -> ConflictRetries:
    """Return how often, and with which pauses, writers of a document try again."""
    if policy.is_local:
        return ConflictRetries(runtime=runtime)
    # a bucket accepts about one write of an object per second, so writers wait longer there
    return remote_conflict_retries(runtime=runtime)


def _read_threads(policy: CachePolicy) -> int:
    """Return how many objects are read concurrently."""
    if policy.is_local:
        return 1  # a read of a folder takes less than to hand it to a thread
    return PREFETCH_THREADS


def open_projects(
    store: Store,
    root: Store,
    retries: ConflictRetries,
    policy: CachePolicy,
    require_free: Callable[[NormalizedName], object] | None = None,
) -> Projects:
    """
    Return the projects whose documents are in a store.

    `root` is the store of main. `require_free` raises an error if no new project may take a name.
    With None, every name may be taken.
    """
    runtime = retries.runtime

    def is_list_unknown(_key: Key) -> bool:
        # only called once `vanished` is there: it needs the names, and their cache needs it
        return vanished.is_list_unknown()

    list_cache = DocumentCache(
        store,
        Codec(NameList),
        runtime,
        policy,
        is_permanent=True,
        is_unknown=is_list_unknown,
    )
    names = ProjectNames(list_cache, retries)
    vanished = VanishedProjects(store, root, names, runtime.now)
    document_cache = DocumentCache(
        store,
        journaled.ProjectCodec(),
        runtime,
        policy,
        is_permanent=True,
        is_unknown=vanished.is_unknown,
    )
    commits = ProjectCommits(store, document_cache, retries, _read_threads(policy), require_free)
    return Projects(store, document_cache, names, commits, vanished)


def open_changes(
    store: Store, retries: ConflictRetries, policy: CachePolicy, *, gives_serials: bool
) -> Changes:
    """
    Return the feed of the projects whose documents are in a store.

    A server that may not write does not give serials.
    """
    log_cache = DocumentCache(
        store,
        Codec(ChangeLog),
        retries.runtime,
        policy,
        is_permanent=True,
        is_unknown=lambda _key: has_no_serials(store),
    )
    return Changes(
        store,
        log_cache,
        retries.runtime,
        retries,
        threads=_read_threads(policy),
        is_read_only=not gives_serials,
    )


def _webhook_states(store: Store, policy: CachePolicy, retries: ConflictRetries) -> WebhookStates:
    """Return the states of webhooks in a store."""
    cache = DocumentCache(store, Codec(WebhookState), retries.runtime, policy)
    return WebhookStates(store, cache, retries)


def _webhook_secrets(store: Store, policy: CachePolicy, sessions: SessionRecords) -> WebhookSecrets:
    """Return the secrets of webhooks in a store."""
    cache = DocumentCache(store, Codec(SealedSecret), sessions.runtime, policy)
    return WebhookSecrets(store, cache, sessions)


def _package_requests(
    store: Store, policy: CachePolicy, retries: ConflictRetries
) -> RequestRecords:
    """Return the requests for public packages in a store."""
    cache = DocumentCache(store, Codec(RequestList), retries.runtime, policy)
    return RequestRecords(cache, retries)


def _journaled(
    kind: journaled.EventJournal[D, C, E],
    store: Store,
    policy: CachePolicy,
    retries: ConflictRetries,
) -> journaled.JournaledDocument[D, C, E]:
    """Return the document with a journal of a kind in a store."""
    cache = JournaledCache(kind, store, retries.runtime, policy)
    commits: Commits[D, C, E] = Commits(store, cache, retries, _read_threads(policy))
    return journaled.JournaledDocument(kind, commits)


def _sessions(store: Store, policy: CachePolicy, runtime: Runtime) -> SessionRecords:
    """Return the sessions in a store."""
    session_keys = DocumentCache(store, Codec(SessionKey), runtime, policy)
    ended = DocumentCache(store, Codec(EndedSession), runtime, policy)
    return SessionRecords(store, session_keys, ended, runtime)
