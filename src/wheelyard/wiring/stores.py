"""Opens the stores that the settings name: a folder, memory, or buckets."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from errno import EPERM
from functools import partial
from pathlib import Path
from random import SystemRandom
from stat import S_ISDIR
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.changes import ChangeLog, Changes
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache
from wheelyard.catalog.format import ensure_format, read_format
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, remote_conflict_retries
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.model.decoding import escaped
from wheelyard.operations.check_store import failures_of, read_steps, write_steps
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import MEMORY_LOCATION, MIB, Settings, StoreSettings
from wheelyard.settings.value_checks import bad_setting
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.buckets import open_bucket
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.forwarding import OperationCounter, PrefixedStore, ReadOnlyStore
from wheelyard.storage.local import OTHERS_RIGHTS, LocalStore, is_open_to_others, require_place
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool

if TYPE_CHECKING:
    from wheelyard.storage.bucket_store import Downloads


DOCUMENT_CAPACITY: Final = 16 * MIB
"""Bytes of memory for the documents of one kind, half as many where a read is that of a file."""


class StoreTraits(Struct, frozen=True, kw_only=True):
    """Properties of a store that decide how the index uses it."""

    is_local: bool = True
    """Whether a read is fast and free, as in a folder or memory."""
    operation_counter: OperationCounter = field(default_factory=OperationCounter)
    account_email: Callable[[], str | None] = lambda: None
    """Returns the e-mail of the account that opened a bucket, if it is known."""
    files: str = ""
    """The location of the distributions, if they have a bucket of their own."""
    credentials: str = ""
    """The location of `credentials/`, if it is a separate one."""


class OpenedStore(Struct, frozen=True):
    """The stores of an index, the spool for uploads to it, and its properties."""

    stores: Stores
    spool: Spool
    traits: StoreTraits


def open_store(settings: Settings, runtime: Runtime, *, create: bool) -> OpenedStore:
    """
    Return the store that the settings name, with `credentials/` in its own location if they say so.

    Missing folders are made with `create`, and `wheelyard.json` is not written. Raises Invalid if a
    folder or a store is missing without `create`, or the settings cannot be used. Raises
    Unavailable if a store does not answer, or a folder cannot be used.
    """
    credentials = settings.access.credentials_store
    counter = OperationCounter()
    if settings.store.location == MEMORY_LOCATION:
        return OpenedStore(Stores.of(MemoryStore(time.time)), scratch_spool(), StoreTraits())
    if not create:
        _require_folders(settings)  # before one is opened, which would make it
    opened = _open_main(settings, counter, runtime, create=create)
    if not credentials:
        return opened
    other = _open_separate(credentials, counter, runtime, private="")
    traits = replace(
        opened.traits,
        is_local=opened.traits.is_local and other.traits.is_local,
        credentials=credentials,
    )
    stores = replace(opened.stores, credentials=other.stores.documents)
    return OpenedStore(stores, opened.spool, traits)


def whole_place(location: str) -> str:
    """Return the location of a store as all processes of this machine understand it."""
    if not location or is_bucket(location):
        return location
    return str(Path(location).resolve())


def require_credentials_place(documents: Store, traits: StoreTraits) -> None:
    """
    Raise Invalid unless this process keeps credentials where the servers of the store do.

    Raises Unavailable if the store does not answer.
    """
    stored_format = read_format(documents)
    if stored_format is None or stored_format.credentials == whole_place(traits.credentials):
        return
    place = stored_format.credentials or "the store itself"
    raise bad_setting(
        f"access.credentials_store: the servers of this store keep grants and publishers in "
        f"{escaped(place)}, so that what is written elsewhere has no effect. Give their settings "
        "by --config"
    )


def has_store(settings: Settings) -> bool:
    """Return whether all folders of the settings are there, with a store in that of the index."""
    return not any(_missing_folders(settings))


def makes_store(settings: Settings) -> bool:
    """
    Return whether a server of these settings makes its store, as there is none.

    Raises Invalid or Unavailable if a bucket cannot be asked.
    """
    location = settings.store.location
    if settings.server.read_only:
        return False
    if is_bucket(location):
        return read_format(store_in(location)) is None
    return not has_store(settings)


def _require_folders(settings: Settings) -> None:
    for setting, folder in _missing_folders(settings):
        if setting == "store.location":
            raise _missing_store(folder)
        raise bad_setting(
            f"{setting}: there is no folder {escaped(folder)}. Make it",
            Advice(Remedy.START_SERVER),
        )


def require_places(settings: Settings) -> None:
    """
    Check that each folder of the settings may be made, or written, without making one.

    Raises Unavailable if one may not.
    """
    for _, folder in _folders(settings):
        require_place(Path(folder))


def _missing_folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting whose folder is not there, or has no store, and the folder."""
    for setting, folder in _folders(settings):
        path = Path(folder)
        if _has_no_store(path) if setting == "store.location" else not path.is_dir():
            yield setting, folder


def _folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting that names a folder for a store, and the folder."""
    location = settings.store.location
    upstream = settings.upstream
    if location != MEMORY_LOCATION and "://" not in location:
        yield "store.location", location
    for setting, folder in (
        ("access.credentials_store", settings.access.credentials_store),
        ("upstream.bucket", upstream.bucket if upstream.is_on else ""),
    ):
        if folder and not is_bucket(folder):
            yield setting, folder


def _open_main(
    settings: Settings, counter: OperationCounter, runtime: Runtime, *, create: bool
) -> OpenedStore:
    location = settings.store.location
    if is_bucket(location):
        downloads = settings.store.downloads
        opened = _open_bucket(location, downloads, counter, runtime)
        # an existing store says itself where its files are, whatever the settings say
        files = _files_location(opened.stores.documents, settings.store, create=create)
        if not files:
            return opened
        opened = _open_bucket(location, downloads, counter, runtime, files)
        opened.stores.files.get(keys.PROBE)  # raises if the bucket of the files is missing
        return opened
    if "://" in location:
        why = "is of a kind that this version cannot open"
        raise bad_setting(f"The store {escaped(location)} {why}. Name a folder, {BUCKET_FORMS}")
    return _open_separate(location, counter, runtime)


def empty_store() -> OpenedStore:
    """Return an empty store in memory, for commands that need an index but no stored data."""
    return OpenedStore(Stores.of(MemoryStore(time.time)), Spool(Path(gettempdir())), StoreTraits())


def cache_policy_in(traits: StoreTraits, settings: StoreSettings) -> CachePolicy:
    """Return the cache policy for the documents of a store with these properties and settings."""
    return CachePolicy(
        is_local=traits.is_local,
        freshness=settings.freshness,
        capacity=DOCUMENT_CAPACITY // 2 if traits.is_local else DOCUMENT_CAPACITY,
        stale_if_error=settings.stale_if_error,
    )


def store_in(
    location: str,
    operation_counter: OperationCounter | None = None,
    downloads: "Downloads" = "proxy",
) -> Store:
    """
    Return the store at a bucket, or at a folder, which is made.

    Raises Unavailable if the folder cannot be used. Raises Invalid or Unavailable as `open_bucket`
    does, which sends no request.
    """
    counter = operation_counter or OperationCounter()
    opened = _open_separate(location, counter, system_runtime(), downloads=downloads)
    return opened.stores.documents


def upstream_store(settings: Settings, stores: Stores, counter: OperationCounter) -> Store:
    """
    Return the store with what is kept of upstream indexes, for these stores of an index.

    It is `upstream.bucket`, a bucket or a folder, if that is set. Raises as `store_in` does.
    """
    location = settings.upstream.bucket
    downloads = settings.store.downloads
    if not location:
        return stores.documents
    return store_in(location, counter, "proxy" if downloads == "proxy" else "auto")


def bucket_errors(settings: Settings) -> Iterator[WheelyardError]:
    """Try the operations of an index on its buckets, and yield each error."""
    runtime = system_runtime()
    # an object of this command alone, as several may run at once
    key = keys.probe("", runtime.new_id())
    try:
        for store in _buckets(settings):
            steps = [*read_steps(store, key)]
            if not settings.server.read_only:
                steps += write_steps(store, key, remote_conflict_retries(runtime))
            yield from failures_of(steps)
    except WheelyardError as fault:
        yield fault


def _buckets(settings: Settings) -> Iterator[Store]:
    """Yield a store for each bucket that the settings, or the format document, name."""
    location = settings.store.location
    files = settings.store.files
    if is_bucket(location):
        store = store_in(location)
        yield store
        with suppress(WheelyardError):  # `read_steps` reports this error
            stored_format = read_format(store)
            files = stored_format.files if stored_format else files
    upstream = settings.upstream.bucket if settings.upstream.is_on else ""
    for location in (files, settings.access.credentials_store, upstream):
        if is_bucket(location):
            yield store_in(location)


def exposed_credentials(settings: Settings) -> Iterator[Path]:
    """Yield each folder of credentials that others than its owner may enter."""
    folders = [Path(settings.store.location, keys.CREDENTIALS)]
    if settings.access.credentials_store:
        folders.append(Path(settings.access.credentials_store))
    yield from filter(is_open_to_others, folders)


def scratch_spool() -> Spool:
    """
    Return a spool in a private temporary folder.

    Raises Unavailable if it cannot be made, or others may enter it.
    """
    folder = Path(gettempdir(), f"wheelyard-{os.getuid()}")
    with storage_faults(f"the folder {folder} for uploads on their way"):
        folder.mkdir(mode=0o700, exist_ok=True)
        mode = folder.lstat().st_mode
        owner = folder.lstat().st_uid
        if not S_ISDIR(mode) or owner != os.getuid() or mode & OTHERS_RIGHTS:
            raise PermissionError(EPERM, "other users have access to it")
    return Spool(folder)


def system_runtime() -> Runtime:
    """Return a runtime with the clocks and the secure random source of this machine."""
    return Runtime(
        now=partial(datetime.now, UTC),
        monotonic=time.monotonic,
        thread_time=time.thread_time,
        pause=time.sleep,
        random=SystemRandom(),
    )


def _open_separate(
    location: str,
    counter: OperationCounter,
    runtime: Runtime,
    private: str = keys.CREDENTIALS,
    downloads: "Downloads" = "proxy",
) -> OpenedStore:
    """Open a bucket, or a folder, which is made, with `private` as of `LocalStore`."""
    if is_bucket(location):
        return _open_bucket(location, downloads, counter, runtime)
    store = LocalStore(
        Path(location), runtime.random, private=private, refetchable=keys.REFETCHABLE
    )
    return OpenedStore(Stores.of(store), store.spool, StoreTraits(operation_counter=counter))


def _has_no_store(folder: Path) -> bool:
    """Return whether a folder, existing or not, has neither a store nor the rest of one."""
    if folder.exists() and not folder.is_dir():
        return False
    return not ((folder / keys.FORMAT).exists() or any((folder / keys.PROJECTS).glob("*")))


def _open_bucket(
    bucket: str,
    downloads: "Downloads",
    counter: OperationCounter,
    runtime: Runtime,
    files: str = "",
) -> OpenedStore:
    location = parse_location(bucket)
    files_location = parse_location(files) if files else None
    if files_location is not None and files_location.scheme != location.scheme:
        why = f"{escaped(files)} is of another service than {escaped(bucket)}"
        raise bad_setting(f"store.files: {why}. Choose a bucket of the service of store.location")
    opened = open_bucket(
        location, runtime, counter, files_location=files_location, downloads=downloads
    )
    traits = StoreTraits(
        is_local=False,
        operation_counter=counter,
        account_email=opened.documents.account_email,
        files=files,
    )
    stores = Stores(opened.documents, opened.documents, opened.files)
    return OpenedStore(stores, scratch_spool(), traits)


def _files_location(store: Store, settings: StoreSettings, *, create: bool) -> str:
    stored_format = read_format(store)
    if stored_format is None:
        if not create:
            next(store.list(keys.FORMAT), None)  # raises if the bucket is missing
            raise _missing_store(settings.location)
        return settings.files
    if settings.files and settings.files != stored_format.files:
        place = escaped(stored_format.files or settings.location)
        raise bad_setting(f"store.files: the files of this store are in {place}. Leave it out")
    return stored_format.files


def _missing_store(location: str) -> Invalid:
    return Invalid(
        f"There is no store at {escaped(location)}. Name the place of one.",
        code="bad_setting",
        advice=Advice(Remedy.MAKE_STORE),
    )


class CopySource(Struct, frozen=True):
    """A store to copy from."""

    stores: Stores
    upstream: Store
    """What is kept of upstream indexes."""
    traits: StoreTraits
    changes: Changes
    """Its feed."""
    changes_of: Callable[[str], Changes]
    """Returns the feed of an index."""


def open_copy_source(settings: Settings) -> CopySource:
    """
    Return the store of the settings.

    Raises Invalid if it is missing, or cannot be copied. Raises Unavailable if it does not answer.
    """
    runtime = system_runtime()
    opened = open_store(settings, runtime, create=False)
    stores = opened.stores
    traits = opened.traits
    upstream = upstream_store(settings, stores, traits.operation_counter)
    ensure_format(stores.documents)
    # a copy writes nothing there, so it gives no serials
    documents = ReadOnlyStore(stores.documents)
    policy = cache_policy_in(traits, settings.store)
    threads = 1 if traits.is_local else PREFETCH_THREADS

    def changes_in(store: Store) -> Changes:
        logs = DocumentCache(store, Codec(ChangeLog), runtime, policy)
        return Changes(store, logs, runtime, ConflictRetries(runtime=runtime), threads)

    def changes_of(name: str) -> Changes:
        return changes_in(PrefixedStore(documents, keys.index_folder(name)))

    return CopySource(stores, upstream, traits, changes_in(documents), changes_of)
