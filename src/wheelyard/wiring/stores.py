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
from wheelyard.storage.location import BUCKET_FORMS, BucketLocation, is_bucket, parse_location
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
    folder or a store is missing without `create`, the settings cannot be used, or this version
    cannot read the store in a bucket. Raises Unavailable if a store does not answer, or a folder
    cannot be used.
    """
    credentials = settings.access.credentials_store
    counter = OperationCounter()
    if settings.store.location == MEMORY_LOCATION:
        return OpenedStore(Stores.of(MemoryStore(time.time)), scratch_spool(), StoreTraits())
    if not create:
        # before one is opened, which would make it
        _require_folders(settings)
    opened = _open_main(settings, counter, runtime, create=create)
    if not credentials:
        return opened
    # all of it is for its owner alone, so the private part is the whole
    separate = _open_separate(credentials, counter, runtime, private="")
    traits = replace(
        opened.traits,
        is_local=opened.traits.is_local and separate.traits.is_local,
        credentials=credentials,
    )
    stores = replace(opened.stores, credentials=separate.stores.documents)
    return OpenedStore(stores, opened.spool, traits)


def resolved_location(location: str) -> str:
    """Return the location of a store as all processes of this machine understand it."""
    if not location or is_bucket(location):
        return location
    return str(Path(location).resolve())


def require_credentials_place(documents: Store, traits: StoreTraits) -> None:
    """
    Raise Invalid unless this process keeps credentials where the servers of the store do.

    A store without `wheelyard.json` has no servers yet. Raises Invalid, too, if this version cannot
    read the store. Raises Unavailable if it does not answer.
    """
    # An earlier server has written it there. Grants in another place would have no effect, and the
    # command that adds them would not say so.
    stored_format = read_format(documents)
    if stored_format is None or stored_format.credentials == resolved_location(traits.credentials):
        return
    place = stored_format.credentials or "the store itself"
    raise bad_setting(
        f"access.credentials_store: the servers of this store keep grants and publishers in "
        f"{escaped(place)}, so that what is written elsewhere has no effect. Give their settings "
        "by --config"
    )


def has_store(settings: Settings) -> bool:
    """
    Return whether all folders of the settings are there, with a store in that of the index.

    Buckets are not looked at.
    """
    return not any(_missing_folders(settings))


def makes_store(settings: Settings) -> bool:
    """
    Return whether a server of these settings makes its store, as there is none.

    Raises Invalid if a bucket cannot be opened, or this version cannot read the store in it. Raises
    Unavailable if the bucket does not answer, or there are no credentials for it.
    """
    location = settings.store.location
    # it writes nothing, so it fails if there is none
    if settings.server.read_only:
        return False
    if is_bucket(location):
        return read_format(store_in(location)) is None
    return not has_store(settings)


def _require_folders(settings: Settings) -> None:
    """Raise Invalid unless all folders of the settings are there, with a store in the index's."""
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

    A temporary file is made and removed. Raises Unavailable if one of them may not be.
    """
    for _, folder in _folders(settings):
        require_place(Path(folder))


def _missing_folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting whose folder is not there, or has no store, and the folder."""
    for setting, folder in _folders(settings):
        path = Path(folder)
        is_missing = not path.is_dir()
        if setting == "store.location":
            # a file there is told of as what it is, when it is opened
            is_missing = _has_no_store(path)
        if is_missing:
            yield setting, folder


def _folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting that names a folder for a store, and the folder."""
    location = settings.store.location
    if location != MEMORY_LOCATION and "://" not in location:
        yield "store.location", location
    credentials = settings.access.credentials_store
    if credentials and not is_bucket(credentials):
        yield "access.credentials_store", credentials
    # while `[upstream]` is off, nothing opens it
    upstream = settings.upstream
    if upstream.is_on and upstream.bucket and not is_bucket(upstream.bucket):
        yield "upstream.bucket", upstream.bucket


def _open_main(
    settings: Settings, counter: OperationCounter, runtime: Runtime, *, create: bool
) -> OpenedStore:
    """Return the store of the settings, with its credentials where its documents are."""
    location = settings.store.location
    if is_bucket(location):
        downloads = settings.store.downloads
        opened = _open_bucket(location, downloads, counter, runtime)
        # an existing store says itself where its files are, whatever the settings say
        files = _files_location(opened.stores.documents, settings.store, create=create)
        if not files:
            return opened
        opened = _open_bucket(location, downloads, counter, runtime, files)
        # raises if the bucket of the files is missing: at the start, and not at the first upload
        opened.stores.files.get(keys.PROBE)
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
    capacity = DOCUMENT_CAPACITY
    if traits.is_local:
        capacity = DOCUMENT_CAPACITY // 2
    return CachePolicy(
        is_local=traits.is_local,
        freshness=settings.freshness,
        capacity=capacity,
        stale_if_error=settings.stale_if_error,
    )


def store_in(
    location: str,
    operation_counter: OperationCounter | None = None,
    downloads: "Downloads" = "proxy",
) -> Store:
    """
    Return the store at a bucket, or at a folder, which is made.

    No request is sent. `downloads` is how clients get files from a bucket.

    Raises Unavailable if the folder cannot be used, or there are no credentials for the bucket.
    Raises Invalid (code `bad_setting`) if its URL is malformed, or its library or something of the
    environment is missing.
    """
    counter = operation_counter or OperationCounter()
    opened = _open_separate(location, counter, system_runtime(), downloads=downloads)
    return opened.stores.documents


def upstream_store(settings: Settings, stores: Stores, counter: OperationCounter) -> Store:
    """
    Return the store with what is kept of upstream indexes, for these stores of an index.

    It is `upstream.bucket`, a bucket or a folder, which is made. If that is not set, it is the
    store of the documents.

    Raises Unavailable if the folder cannot be used, or there are no credentials for the bucket.
    Raises Invalid (code `bad_setting`) if the bucket cannot be used otherwise.
    """
    location = settings.upstream.bucket
    if not location:
        return stores.documents
    # this bucket need not be public where that of the index is, so its URLs are signed
    downloads: Downloads = "auto"
    if settings.store.downloads == "proxy":
        downloads = "proxy"
    return store_in(location, counter, downloads)


def bucket_errors(settings: Settings) -> Iterator[WheelyardError]:
    """
    Try the operations of an index on its buckets, and yield each error.

    Unless the server is read-only, that writes `wheelyard.json` again with its own bytes, or writes
    and deletes a trial object.
    """
    runtime = system_runtime()
    # an object of this command alone, as several may run at once
    key = keys.probe("", runtime.new_id())
    try:
        for store in _buckets(settings):
            steps = list(read_steps(store, key))
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
        # `read_steps` reports an error of the bucket
        with suppress(WheelyardError):
            stored_format = read_format(store)
            if stored_format is not None:
                files = stored_format.files
    locations = [files, settings.access.credentials_store]
    if settings.upstream.is_on:
        locations.append(settings.upstream.bucket)
    for separate_location in locations:
        if is_bucket(separate_location):
            yield store_in(separate_location)


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
        # Anybody may have made it before, in a folder for all users, or a link in its place. Who
        # can write to it could change an upload after it was validated.
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
    if (folder / keys.FORMAT).exists():
        return False
    # projects without the document about the format: it is lost, and whoever opens it says so
    return not any((folder / keys.PROJECTS).glob("*"))


def _open_bucket(
    bucket: str,
    downloads: "Downloads",
    counter: OperationCounter,
    runtime: Runtime,
    files: str = "",
) -> OpenedStore:
    """Return a store in a bucket, with its files in another one if `files` names it."""
    location = parse_location(bucket)
    files_location: BucketLocation | None = None
    if files:
        files_location = parse_location(files)
        if files_location.scheme != location.scheme:
            why = f"{escaped(files)} is of another service than {escaped(bucket)}"
            raise bad_setting(
                f"store.files: {why}. Choose a bucket of the service of store.location"
            )
    opened = open_bucket(
        location, runtime, counter, files_location=files_location, downloads=downloads
    )
    traits = StoreTraits(
        is_local=False,
        operation_counter=counter,
        account_email=opened.documents.account_email,
        files=files,
    )

    # without a folder of its own, credentials are in the bucket of the documents
    stores = Stores(opened.documents, opened.documents, opened.files)
    return OpenedStore(stores, scratch_spool(), traits)


def _files_location(store: Store, settings: StoreSettings, *, create: bool) -> str:
    """Return where the files of a store in a bucket are, or an empty text if they are in it."""
    stored_format = read_format(store)
    if stored_format is None:
        if not create:
            # raises if the bucket is missing, which is another mistake than a missing store
            next(store.list(keys.FORMAT), None)
            raise _missing_store(settings.location)
        return settings.files
    # else two processes would look for the same files in two places
    if settings.files and settings.files != stored_format.files:
        place = escaped(stored_format.files or settings.location)
        raise bad_setting(f"store.files: the files of this store are in {place}. Leave it out")
    return stored_format.files


def _missing_store(location: str) -> Invalid:
    """Return the error for a place without a store."""
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
    # a store of a newer version has to be copied by that version
    ensure_format(stores.documents)
    threads = PREFETCH_THREADS
    if traits.is_local:
        threads = 1
    feeds = _Feeds(
        # a copy writes nothing there, so it gives no serials
        ReadOnlyStore(stores.documents),
        cache_policy_in(traits, settings.store),
        runtime,
        threads,
    )
    return CopySource(stores, upstream, traits, feeds.of_main(), feeds.of)


class _Feeds(Struct, frozen=True):
    """The feeds of a store that is only read."""

    documents: Store
    caching: CachePolicy
    runtime: Runtime
    threads: int

    def of_main(self) -> Changes:
        """Return the feed of main."""
        return self._in(self.documents)

    def of(self, name: str) -> Changes:
        """Return the feed of another index."""
        return self._in(PrefixedStore(self.documents, keys.index_folder(name)))

    def _in(self, store: Store) -> Changes:
        """Return the feed of an index with these documents."""
        logs = DocumentCache(store, Codec(ChangeLog), self.runtime, self.caching)
        retries = ConflictRetries(runtime=self.runtime)
        return Changes(store, logs, self.runtime, retries, self.threads)
