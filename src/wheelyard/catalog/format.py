"""
What is in a store: its format, and the catalog, wired.

`wheelyard.json` names the format, so that an older version never writes into a newer store.
"""

from dataclasses import dataclass, replace
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Commits, EventListener
from wheelyard.catalog.conflict_retry import ConflictRetries, remote_conflict_retries
from wheelyard.catalog.document_cache import DAMAGED, CachePolicy, Codec, DocumentCache
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import NameList, ProjectNames, Projects
from wheelyard.catalog.token_records import TokenRecords, UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.model.token import TokenRecord
from wheelyard.storage.base import Store, Stored, create

FORMAT: Final = 2
"""Of the stores that this version writes; of no other does it read anything."""
TOKEN_FRESHNESS: Final = 14.0
"""
Seconds that a token's record is believed on a far store.

A server believes who it has recognised for one second more, so a token outlives its revocation by
15 seconds at most.
"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What an index knows."""

    is_new: bool
    """Whether its store has just been made."""
    projects: Projects
    files: Files
    credentials: TokenRecords
    claims: UsedIdTokens


def open_catalog(
    store: Store,
    runtime: Runtime,
    cache_policy: CachePolicy,
    on_event: EventListener,
    files: str = "",
) -> Catalog:
    """
    Return the catalog that is kept in a store, which gets a format if it has none.

    Args:
        store: Where.
        runtime: The clock, and chance.
        cache_policy: How long documents are cached.
        on_event: Called with each event after its commit.
        files: Where a new store keeps its distributions, if that is a bucket of their own.
    """
    is_new = ensure_format(store, files)
    retries = (
        ConflictRetries(runtime=runtime)
        if cache_policy.is_local
        else remote_conflict_retries(runtime)
    )
    token_belief = replace(cache_policy, freshness=max(TOKEN_FRESHNESS, cache_policy.freshness))
    documents = DocumentCache(store, Codec(Project), runtime, cache_policy, is_permanent=True)
    name_lists = DocumentCache(store, Codec(NameList), runtime, cache_policy, is_permanent=True)
    records = DocumentCache(store, Codec(TokenRecord), runtime, token_belief)
    commits = Commits(store, documents, runtime, retries, on_event)
    return Catalog(
        is_new=is_new,
        projects=Projects(store, documents, ProjectNames(name_lists, retries), commits),
        files=Files(store, retries),
        credentials=TokenRecords(store, records, retries),
        claims=UsedIdTokens(store),
    )


class StoreFormat(Struct, frozen=True, omit_defaults=True):
    """The stored form of this store."""

    format: int
    files: str = ""
    """Where its distributions are, if that is a bucket of their own."""


def read_format(store: Store) -> StoreFormat | None:
    """
    Return the format of a store, None where there is no store.

    Raises:
        Invalid: The format is another one than `FORMAT` (code `newer_store` or `older_store`), or
            `wheelyard.json` is damaged (code `damaged_document`).
    """
    found = store.get(keys.FORMAT)
    if not isinstance(found, Stored):
        return None
    try:
        written = Codec(StoreFormat).decode(keys.FORMAT, found.body)
    except Unavailable as fault:
        raise Invalid(
            f"{keys.FORMAT} of this store is damaged. Restore it from a backup: "
            f'{{"format":{FORMAT}}}.',
            code=fault.code,
        ) from fault
    if written.format > FORMAT:
        raise Invalid(
            f"This store has format {written.format}, and this version of wheelyard knows "
            f"{FORMAT}. Upgrade wheelyard.",
            code="newer_store",
        )
    if written.format < FORMAT:
        raise Invalid(
            f"This store has format {written.format}, which no release of wheelyard wrote: "
            "make a new store, and import its 'files' folder there with 'wheelyard import'.",
            code="older_store",
        )
    return written


def ensure_format(store: Store, files: str = "") -> bool:
    """
    See to it that the store has a format that we read, and return whether it is new.

    Args:
        store: Where it is written.
        files: Where a new store keeps its distributions, if that is a bucket of their own.

    Raises:
        Invalid: As `read_format` does, and where a store has projects but no format (code
            `damaged_document`).
    """
    if read_format(store) is not None:
        return False
    if any(True for _ in store.list(keys.PROJECTS)):
        raise Invalid(
            f"There are projects here, and no {keys.FORMAT}. Restore it from a backup: "
            f'{{"format":{FORMAT}}}.',
            code=DAMAGED,
        )
    try:
        create(store, keys.FORMAT, Codec(StoreFormat).encode(StoreFormat(FORMAT, files)))
    except Conflict:
        read_format(store)  # somebody else has just begun the store
        return False
    return True


def rewrite_format(store: Store, retries: ConflictRetries) -> None:
    """Write the format of a store again as it is: whoever can do that can commit, too."""
    for _ in retries.attempts():
        found = store.get(keys.FORMAT)
        if not isinstance(found, Stored):
            raise NotFound(f"There is no {keys.FORMAT} in this store.")
        try:
            store.put(keys.FORMAT, found.body, found.version)
        except Conflict:  # another server does the same
            continue
        return
    raise retries.exhausted(keys.FORMAT)
