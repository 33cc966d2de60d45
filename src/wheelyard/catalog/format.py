"""
The format of a store (`wheelyard.json`), and the construction of a store's catalog.

The format keeps an older version of wheelyard from reading or writing a newer store. Within one
format, `reader` and `writer` do, for what an older version would otherwise show or lose.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from wheelyard.catalog import keys
from wheelyard.catalog.changes import ChangeLog, Changes, has_no_serials
from wheelyard.catalog.commits import C, Commits, D, E, JournaledCache, ProjectCommits
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache
from wheelyard.catalog.files import Files
from wheelyard.catalog.journaled_documents import (
    ACCESS,
    DECISIONS,
    INDEX_LIST,
    NAMESPACES,
    PUBLISHERS,
    WEBHOOKS,
    AccessRecords,
    DecisionRecords,
    EventJournal,
    IndexRecords,
    JournaledDocument,
    NamespaceRecords,
    ProjectCodec,
    PublisherRecords,
    WebhookRecords,
)
from wheelyard.catalog.package_requests import RequestRecords
from wheelyard.catalog.people import PeopleRecords, PersonNames
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
from wheelyard.catalog.stored_credentials import (
    EndedSession,
    LastUses,
    SessionKey,
    SessionRecords,
    TokenRecords,
    UsedIdTokens,
)
from wheelyard.catalog.webhook_records import SealedSecret, WebhookSecrets, WebhookStates
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, remote_conflict_retries
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import DAMAGED, NEWER_STORE, Conflict, Invalid, NotFound
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.decoding import Extensible, ExtensibleCodec, encode_all_fields, escaped
from wheelyard.model.package_requests import RequestList
from wheelyard.model.person import Person
from wheelyard.model.webhook_state import WebhookState
from wheelyard.storage.base import ABSENT, Store, Stored, Stores
from wheelyard.storage.forwarding import PrefixedStore, ReadOnlyStore

FORMAT: Final = 3
"""The only format that this version reads and writes."""
OLDEST_VERSION: Final = "0.2.0"
"""The first version of wheelyard that reads and writes it, as this version does."""
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
    """Where the objects are; nothing is written if only a newer version may write."""
    retries: ConflictRetries
    """For writes that lose a race."""
    projects: Projects
    changes: Changes
    serials: ProjectSerials
    files: Files
    token_records: TokenRecords
    used_id_tokens: UsedIdTokens
    access_records: AccessRecords
    publisher_records: PublisherRecords
    namespace_records: NamespaceRecords
    webhook_records: WebhookRecords
    webhook_states: WebhookStates
    webhook_secrets: WebhookSecrets
    decision_records: DecisionRecords
    index_records: IndexRecords
    request_records: RequestRecords
    people: PeopleRecords
    outdated_lines: OutdatedLines
    person_names: PersonNames
    session_records: SessionRecords

    @property
    def rights(self) -> tuple[AccessRecords, PublisherRecords]:
        """The documents that say who has a right to a project."""
        return self.access_records, self.publisher_records

    @property
    def credential_documents(
        self,
    ) -> tuple[AccessRecords, PublisherRecords, NamespaceRecords, WebhookRecords]:
        """The documents below `credentials/` that have a journal."""
        return *self.rights, self.namespace_records, self.webhook_records


def open_catalog(
    stores: Stores,
    runtime: Runtime,
    policy: CachePolicy,
    files: str = "",
    *,
    gives_serials: bool = True,
) -> Catalog:
    """
    Return the catalog of an index, and write `wheelyard.json` if its store is new.

    `files` is the location of a new store's distributions, if they have a bucket of their own. A
    server that is not meant to write gives no serials.

    Raises Invalid as `ensure_format` does. Raises Unavailable if the store does not answer.
    """
    # before anything else is read: an older version must not misread a newer store
    written = ensure_format(stores.documents, files)
    stores = _writable(stores, written)
    store, credentials = stores.documents, stores.credentials
    make_retries = ConflictRetries if policy.is_local else remote_conflict_retries
    retries = make_retries(runtime=runtime)
    # cached longer than other documents, as each request with a token needs its record
    token_policy = replace(policy, freshness=max(TOKEN_FRESHNESS, policy.freshness))
    records = DocumentCache(credentials, Codec(TokenRecord), runtime, token_policy)
    people = DocumentCache(credentials, Codec(Person), runtime, token_policy)
    threads = 1 if policy.is_local else PREFETCH_THREADS
    last_uses = LastUses(credentials, runtime, threads=threads)
    indexes = _journaled(INDEX_LIST, store, policy, retries, threads)
    projects = open_projects(store, store, retries, policy, FreeNames(indexes))
    changes = open_changes(store, retries, policy, gives_serials=gives_serials)
    sessions = _sessions(credentials, token_policy, runtime)
    return Catalog(
        is_new=written is None,
        is_older=written is not None and written.is_older,
        stores=stores,
        retries=retries,
        projects=projects,
        changes=changes,
        serials=ProjectSerials(changes, projects, runtime),
        files=Files(stores.files),
        token_records=TokenRecords(credentials, records, retries, last_uses, threads),
        used_id_tokens=UsedIdTokens(credentials),
        access_records=_journaled(ACCESS, credentials, token_policy, retries, threads),
        publisher_records=_journaled(PUBLISHERS, credentials, token_policy, retries, threads),
        namespace_records=_journaled(NAMESPACES, credentials, token_policy, retries, threads),
        webhook_records=_journaled(WEBHOOKS, credentials, policy, retries, threads),
        webhook_states=_webhook_states(store, policy, retries),
        webhook_secrets=_webhook_secrets(credentials, token_policy, sessions),
        decision_records=_journaled(DECISIONS, store, policy, retries, threads),
        index_records=indexes,
        request_records=_package_requests(store, policy, retries),
        people=PeopleRecords(credentials, people, runtime, threads),
        outdated_lines=OutdatedLines(
            DocumentCache(credentials, Codec(ChangedPasswords), runtime, token_policy)
        ),
        person_names=PersonNames(credentials, retries),
        session_records=sessions,
    )


def open_index(
    catalog: Catalog,
    name: str,
    policy: CachePolicy,
    *,
    gives_serials: bool,
    is_stored: bool = False,
) -> Catalog:
    """
    Return the catalog of an index but main, in the store of `catalog`.

    `is_stored` says that a command has made the index, so that one may remove it. See
    `open_catalog` for the rest. Nothing is read: the index begins with its first project.
    """
    retries, runtime = catalog.retries, catalog.retries.runtime
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
        serials=ProjectSerials(changes, projects, runtime),
    )


def open_projects(
    store: Store,
    root: Store,
    retries: ConflictRetries,
    policy: CachePolicy,
    require_free: Callable[[NormalizedName], object] | None = None,
) -> Projects:
    """
    Return the projects whose documents are in a store.

    `root` is the store of main. `require_free` raises an error if no new
    project may take a name.
    """
    runtime, threads = retries.runtime, 1 if policy.is_local else PREFETCH_THREADS
    lists = DocumentCache(
        store,
        Codec(NameList),
        runtime,
        policy,
        is_permanent=True,
        is_unknown=lambda _key: vanished.is_list_unknown(),
    )
    names = ProjectNames(lists, retries)
    vanished = VanishedProjects(store, root, names, runtime.now)
    documents = DocumentCache(
        store,
        ProjectCodec(),
        runtime,
        policy,
        is_permanent=True,
        is_unknown=vanished.is_unknown,
    )
    commits = ProjectCommits(store, documents, retries, threads, require_free)
    return Projects(store, documents, names, commits, vanished)


def open_changes(
    store: Store, retries: ConflictRetries, policy: CachePolicy, *, gives_serials: bool
) -> Changes:
    """Return the feed of the projects whose documents are in a store."""
    runtime, threads = retries.runtime, 1 if policy.is_local else PREFETCH_THREADS
    logs = DocumentCache(
        store,
        Codec(ChangeLog),
        runtime,
        policy,
        is_permanent=True,
        is_unknown=lambda _key: has_no_serials(store),
    )
    return Changes(store, logs, runtime, retries, threads, not gives_serials)


def _webhook_states(store: Store, policy: CachePolicy, retries: ConflictRetries) -> WebhookStates:
    documents = DocumentCache(store, Codec(WebhookState), retries.runtime, policy)
    return WebhookStates(store, documents, retries)


def _webhook_secrets(store: Store, policy: CachePolicy, sessions: SessionRecords) -> WebhookSecrets:
    documents = DocumentCache(store, Codec(SealedSecret), sessions.runtime, policy)
    return WebhookSecrets(store, documents, sessions)


def _package_requests(
    store: Store, policy: CachePolicy, retries: ConflictRetries
) -> RequestRecords:
    return RequestRecords(
        DocumentCache(store, Codec(RequestList), retries.runtime, policy), retries
    )


def _journaled(
    kind: EventJournal[D, C, E],
    store: Store,
    policy: CachePolicy,
    retries: ConflictRetries,
    threads: int,
) -> JournaledDocument[D, C, E]:
    documents = JournaledCache(kind, store, retries.runtime, policy)
    return JournaledDocument(kind, Commits(store, documents, retries, threads))


def _sessions(store: Store, policy: CachePolicy, runtime: Runtime) -> SessionRecords:
    session_keys = DocumentCache(store, Codec(SessionKey), runtime, policy)
    ended = DocumentCache(store, Codec(EndedSession), runtime, policy)
    return SessionRecords(store, session_keys, ended, runtime)


class StoreFormat(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The content of `wheelyard.json`."""

    format: int
    reader: str = ""
    """The lowest version of wheelyard that may read the store; empty for any."""
    writer: str = ""
    """The lowest version of wheelyard that may write to the store; empty for any."""
    files: str = ""
    """The location of the distributions, if they have a bucket of their own."""
    credentials: str = ""
    """
    The location of tokens, grants and publishers, if the servers keep them elsewhere.

    It is what the server that was started last was told.
    """

    @property
    def is_older(self) -> bool:
        """Whether a version below `OLDEST_VERSION` may read the store."""
        try:
            return not self.reader or Version(self.reader) < Version(OLDEST_VERSION)
        except InvalidVersion:
            return False  # as a newer version may write it


_FORMATS: Final = ExtensibleCodec(StoreFormat)


def read_format(store: Store) -> StoreFormat | None:
    """
    Return the content of `wheelyard.json`, or None if the store has none.

    Raises Invalid if the format is an older one (code `older_store`), if only a newer version of
    wheelyard may read the store (code `newer_store`), or if `wheelyard.json` is damaged (code
    `damaged_document`). Raises Unavailable if the store does not answer.
    """
    stored = store.get(keys.FORMAT)
    if not isinstance(stored, Stored):
        return None
    try:
        written = _FORMATS.decode(stored.body)
    except DecodeError as error:
        raise Invalid(
            f"{keys.FORMAT} of this store is damaged. Restore it from a backup: "
            f'{{"format":{FORMAT}}}.',
            code=DAMAGED,
        ) from error
    if written.format > FORMAT:
        needed = f" to {escaped(written.reader)} or newer" if _is_newer(written.reader) else ""
        raise Invalid(
            f"This store has format {written.format}, and this version of wheelyard knows "
            f"{FORMAT}. Upgrade wheelyard{needed}.",
            code=NEWER_STORE,
        )
    if written.format < FORMAT:
        raise Invalid(
            f"This store has format {written.format}, which no release of wheelyard wrote: make a "
            "new store, and import the folder 'files' of this one into it.",
            code="older_store",
        )
    if _is_newer(written.reader):
        raise Invalid(
            f"Reading this store needs wheelyard {escaped(written.reader)} or newer. Upgrade "
            "wheelyard.",
            code=NEWER_STORE,
        )
    return written


def ensure_format(store: Store, files: str = "") -> StoreFormat | None:
    """
    Return what `wheelyard.json` says, or write it and return None if the store has none.

    `files` is the location of a new store's distributions, if they have a bucket of their own.

    Raises Invalid and Unavailable as `read_format` does. Raises Invalid (code `damaged_document`)
    if the store has projects but no `wheelyard.json`.
    """
    existing = read_format(store)
    if existing is not None:
        return existing
    new = StoreFormat(format=FORMAT, reader=OLDEST_VERSION, writer=OLDEST_VERSION, files=files)
    # a store that lost this one document must not be taken for a new one of the present format
    if any(True for _ in store.list(keys.PROJECTS)):
        raise Invalid(
            f"There are projects here, and no {keys.FORMAT}. Restore it from a backup: "
            f"{encode_all_fields(new).decode()}.",
            code=DAMAGED,
        )
    try:
        store.put(keys.FORMAT, encode_all_fields(new) + b"\n", ABSENT)
    except Conflict:
        return read_format(store)  # another process has just created the store
    return None


def _writable(stores: Stores, written: StoreFormat | None) -> Stores:
    """Return stores that refuse each write if only a newer version of wheelyard may write."""
    if written is None or not _is_newer(written.writer):
        return stores
    why = (
        f"writing to this store needs wheelyard {escaped(written.writer)} or newer. Upgrade "
        "wheelyard."
    )
    guarded = (stores.documents, stores.credentials, stores.files)
    return Stores(*(ReadOnlyStore(store, why, NEWER_STORE) for store in guarded))


def _is_newer(needed: str) -> bool:
    """Return whether a version of wheelyard, or an empty text, is newer than this one."""
    if needed in {"", OLDEST_VERSION}:
        return False
    try:
        return Version(needed) > Version(version("wheelyard"))
    except InvalidVersion:
        return True  # as a newer version may write it


def rewrite_format(store: Store, retries: ConflictRetries, credentials: str | None = None) -> None:
    """
    Write `wheelyard.json` again, to prove that this process can write to the store.

    `credentials` is where a server keeps credentials, or None for a command. A version below
    `OLDEST_VERSION` does not read the store from then on. Raises NotFound if `wheelyard.json` is
    missing, and Unavailable if the store cannot be written.
    """
    for _ in retries.attempts():
        stored = store.get(keys.FORMAT)
        if not isinstance(stored, Stored):
            raise NotFound(f"There is no {keys.FORMAT} in this store.")
        written = _FORMATS.decode(stored.body)
        if written.is_older:
            written = replace(written, reader=OLDEST_VERSION, writer=OLDEST_VERSION)
        if credentials is not None:
            written = replace(written, credentials=credentials)
        try:
            store.put(keys.FORMAT, encode_all_fields(written) + b"\n", stored.version)
        except Conflict:  # another server does this at the moment
            continue
        return
    raise retries.exhausted(keys.FORMAT)
