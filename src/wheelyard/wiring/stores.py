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
"""
Bytes of memory for the cached documents of one kind.

A local store, where a read is fast, has half as many.
"""


class StoreTraits(Struct, frozen=True, kw_only=True):
    """The properties of a store on which its use depends."""

    is_local: bool = True
    """Whether a read is fast and free, as in a folder or memory."""
    operation_counter: OperationCounter = field(default_factory=OperationCounter)
    account_email: Callable[[], str | None] = lambda: None
    """Returns the e-mail address of the account that opened a bucket, or None if unknown."""
    files_location: str = ""
    """The location of the distributions if they have a bucket of their own, else empty."""
    credentials_location: str = ""
    """The location of `credentials/` if it is a separate one, else empty."""


class OpenedStore(Struct, frozen=True):
    """The stores of an index, the spool for its uploads, and the properties of the stores."""

    stores: Stores
    spool: Spool
    traits: StoreTraits


def open_stores(settings: Settings, runtime: Runtime, *, create: bool) -> OpenedStore:
    """
    Return the stores that the settings name, with a separate one for `credentials/` if they say so.

    With `create`, missing folders are made; `wheelyard.json` is not written. Raises Invalid if a
    folder or a store is missing without `create`, the settings cannot be used, or this version
    cannot read the store in a bucket. Raises Unavailable if a store does not answer, or a folder
    cannot be used.
    """
    credentials = settings.access.credentials_store
    counter = OperationCounter()
    if settings.store.location == MEMORY_LOCATION:
        return OpenedStore(Stores.of(MemoryStore(time.time)), scratch_spool(), StoreTraits())
    if not create:
        # before a folder is opened, which would make it
        _require_folders(settings)
    opened = _open_main_store(settings, counter, runtime, create=create)
    if not credentials:
        return opened
    # an empty prefix: the whole separate folder is for its owner alone
    separate = _open_location(credentials, counter, runtime, private="")
    are_both_local = opened.traits.is_local and separate.traits.is_local
    traits = replace(opened.traits, is_local=are_both_local, credentials_location=credentials)
    stores = replace(opened.stores, credentials=separate.stores.documents)
    return OpenedStore(stores, opened.spool, traits)


def resolved_location(location: str) -> str:
    """Return the location of a store in the form that does not depend on the current folder."""
    if not location or is_bucket(location):
        return location
    return str(Path(location).resolve())


def require_credentials_place(documents: Store, traits: StoreTraits) -> None:
    """
    Raise Invalid unless this process keeps credentials where the servers of the store do.

    A store without `wheelyard.json` has no servers yet. Raises Invalid, too, if this version cannot
    read the store. Raises Unavailable if the store does not answer.
    """
    # The first server has noted its location of credentials in the store. Grants in another place
    # would have no effect, and the command that adds them would not say so.
    stored_format = read_format(documents)
    if stored_format is None or stored_format.credentials == resolved_location(
        traits.credentials_location
    ):
        return
    place = stored_format.credentials or "the store itself"
    raise bad_setting(
        f"access.credentials_store: the servers of this store keep grants and publishers in "
        f"{escaped(place)}, so that what is written elsewhere has no effect. Give their settings "
        "by --config"
    )


def has_all_folders(settings: Settings) -> bool:
    """
    Return whether all folders of the settings exist, and that of `store.location` has a store.

    Buckets are not looked at.
    """
    missing_folders = list(_missing_folders(settings))
    return not missing_folders


def makes_store_at_start(settings: Settings) -> bool:
    """
    Return whether a server with these settings makes its store at the start, as it has none yet.

    Raises Invalid if a bucket cannot be opened, or this version cannot read the store in it. Raises
    Unavailable if the bucket does not answer, or there are no credentials for it.
    """
    location = settings.store.location
    # such a server writes nothing, and fails without a store
    if settings.server.read_only:
        return False
    if is_bucket(location):
        return read_format(open_single_store(location)) is None
    return not has_all_folders(settings)


def _require_folders(settings: Settings) -> None:
    """Raise Invalid unless all folders exist, and that of `store.location` has a store."""
    for setting, folder in _missing_folders(settings):
        if setting == "store.location":
            raise _no_store_error(folder)
        raise bad_setting(
            f"{setting}: there is no folder {escaped(folder)}. Make it",
            Advice(Remedy.START_SERVER),
        )


def require_places(settings: Settings) -> None:
    """
    Raise Unavailable unless each folder of the settings exists or could be made, and is writable.

    No folder is made; a temporary file is made and removed.
    """
    for _, folder in _folders(settings):
        require_place(Path(folder))


def _missing_folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting whose folder is missing or lacks its store, with the folder."""
    for setting, folder in _folders(settings):
        path = Path(folder)
        is_missing = not path.is_dir()
        if setting == "store.location":
            # a file in place of the folder is not missing: to open it raises its own error
            is_missing = _lacks_store(path)
        if is_missing:
            yield setting, folder


def _folders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting that names a folder for a store, with the folder."""
    location = settings.store.location
    if location != MEMORY_LOCATION and "://" not in location:
        yield "store.location", location
    credentials = settings.access.credentials_store
    if credentials and not is_bucket(credentials):
        yield "access.credentials_store", credentials
    # while `[upstream]` is off, its bucket is not opened
    upstream = settings.upstream
    if upstream.is_on and upstream.bucket and not is_bucket(upstream.bucket):
        yield "upstream.bucket", upstream.bucket


def _open_main_store(
    settings: Settings, counter: OperationCounter, runtime: Runtime, *, create: bool
) -> OpenedStore:
    """Return the store at `store.location`, which has credentials beside its documents."""
    location = settings.store.location
    if is_bucket(location):
        downloads = settings.store.downloads
        opened = _open_bucket(location, downloads, counter, runtime)
        files = _files_location(opened.stores.documents, settings.store, create=create)
        if not files:
            return opened
        opened = _open_bucket(location, downloads, counter, runtime, files)
        # raises an error if the bucket is missing, at the start and not at the first upload
        opened.stores.files.get(keys.PROBE)
        return opened
    if "://" in location:
        why = "is of a kind that this version cannot open"
        raise bad_setting(f"The store {escaped(location)} {why}. Name a folder, {BUCKET_FORMS}")
    return _open_location(location, counter, runtime)


def stores_in_memory() -> OpenedStore:
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


def open_single_store(
    location: str,
    operation_counter: OperationCounter | None = None,
    downloads: "Downloads" = "proxy",
) -> Store:
    """
    Return the one store at a location: in a bucket, or in a folder, which is made if it is missing.

    Its documents, files and credentials are all there. No request is sent. `downloads` is how
    clients get files from a bucket.

    Raises Unavailable if the folder cannot be used, or there are no credentials for the bucket.
    Raises Invalid (code `bad_setting`) if the URL of the bucket is malformed, or its library or a
    variable of the environment is missing.
    """
    counter = operation_counter or OperationCounter()
    opened = _open_location(location, counter, system_runtime(), downloads=downloads)
    return opened.stores.documents


def upstream_store(settings: Settings, stores: Stores, counter: OperationCounter) -> Store:
    """
    Return the store in which pages and files of upstream indexes are kept.

    This is `upstream.bucket`, a bucket or a folder. A missing folder is made. No request is sent,
    so a missing bucket raises nothing yet. Without that setting, it is the store of the documents
    in `stores`.

    Raises Unavailable if the folder cannot be used, or there are no credentials for the bucket.
    Raises Invalid (code `bad_setting`) if the URL of the bucket is malformed, or its library or a
    variable of the environment is missing.
    """
    location = settings.upstream.bucket
    if not location:
        return stores.documents
    # this bucket may be private although that of the index is public, so its URLs are signed
    downloads: Downloads = "auto"
    if settings.store.downloads == "proxy":
        downloads = "proxy"
    return open_single_store(location, counter, downloads)


def bucket_errors(settings: Settings) -> Iterator[WheelyardError]:
    """
    Try the operations of an index on its buckets, and yield each error.

    Unless the server is read-only, this writes `wheelyard.json` again with its own bytes, or writes
    and deletes a trial object.
    """
    runtime = system_runtime()
    # a random key, as several commands may run at once
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
    """Yield the store in each bucket that the settings, or the format document, name."""
    location = settings.store.location
    files = settings.store.files
    if is_bucket(location):
        store = open_single_store(location)
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
            yield open_single_store(separate_location)


def exposed_credentials(settings: Settings) -> Iterator[Path]:
    """Yield each folder of credentials that users other than its owner may enter."""
    folders = [Path(settings.store.location, keys.CREDENTIALS)]
    if settings.access.credentials_store:
        folders.append(Path(settings.access.credentials_store))
    for folder in folders:
        if is_open_to_others(folder):
            yield folder


def scratch_spool() -> Spool:
    """
    Return a spool in a private temporary folder.

    Raises Unavailable if the folder cannot be made, or other users may enter it.
    """
    folder = Path(gettempdir(), f"wheelyard-{os.getuid()}")
    with storage_faults(f"the folder {folder} for uploads on their way"):
        folder.mkdir(mode=0o700, exist_ok=True)
        # Another user may have made the folder before, or a link in its place, as all users may
        # write to the folder above. A user who can write to it could change an upload after it was
        # validated.
        mode = folder.lstat().st_mode
        owner = folder.lstat().st_uid
        is_own_folder = S_ISDIR(mode) and owner == os.getuid()
        if not is_own_folder or mode & OTHERS_RIGHTS:
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


def _open_location(
    location: str,
    counter: OperationCounter,
    runtime: Runtime,
    private: str = keys.CREDENTIALS,
    downloads: "Downloads" = "proxy",
) -> OpenedStore:
    """
    Open the store in a bucket, or in a folder, which is made if it is missing.

    `private` is the prefix of the keys in a folder that its owner alone may read.
    """
    if is_bucket(location):
        return _open_bucket(location, downloads, counter, runtime)
    store = LocalStore(
        Path(location), runtime.random, private=private, refetchable=keys.REFETCHABLE
    )
    return OpenedStore(Stores.of(store), store.spool, StoreTraits(operation_counter=counter))


def _lacks_store(folder: Path) -> bool:
    """Return whether a path is a folder without a store, or nothing exists there."""
    if folder.exists() and not folder.is_dir():
        return False
    if (folder / keys.FORMAT).exists():
        return False
    # a store that has projects and has lost its format document: to open it raises an error
    has_projects = any((folder / keys.PROJECTS).glob("*"))
    return not has_projects


def _open_bucket(
    bucket: str,
    downloads: "Downloads",
    counter: OperationCounter,
    runtime: Runtime,
    files: str = "",
) -> OpenedStore:
    """
    Return the store in a bucket, with its files in another bucket if `files` names one.

    Raises Invalid if the two buckets are of different services.
    """
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
        files_location=files,
    )

    # credentials are in the bucket of the documents
    stores = Stores(opened.documents, opened.documents, opened.files)
    return OpenedStore(stores, scratch_spool(), traits)


def _files_location(store: Store, settings: StoreSettings, *, create: bool) -> str:
    """
    Return the location of the files of a store in a bucket, or an empty text if it is that bucket.

    An existing store says itself where its files are. Raises Invalid if the settings name another
    location, or if there is no store and `create` is not set.
    """
    stored_format = read_format(store)
    if stored_format is None:
        if not create:
            # to list the bucket raises another error if the bucket itself is missing
            next(store.list(keys.FORMAT), None)
            raise _no_store_error(settings.location)
        return settings.files
    # two processes must not look for the files in two places
    if settings.files and settings.files != stored_format.files:
        place = escaped(stored_format.files or settings.location)
        raise bad_setting(f"store.files: the files of this store are in {place}. Leave it out")
    return stored_format.files


def _no_store_error(location: str) -> Invalid:
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
    """The store in which pages and files of upstream indexes are kept."""
    traits: StoreTraits
    changes: Changes
    """The feed of main."""
    changes_of: Callable[[str], Changes]
    """Returns the feed of an index beside main."""


def open_copy_source(settings: Settings) -> CopySource:
    """
    Return the store of the settings as the source of a copy.

    Raises Invalid if the store is missing, or this version cannot copy it. Raises Unavailable if
    the store does not answer.
    """
    runtime = system_runtime()
    opened = open_stores(settings, runtime, create=False)
    stores = opened.stores
    traits = opened.traits
    upstream = upstream_store(settings, stores, traits.operation_counter)
    # a store of a newer version has to be copied by that version
    ensure_format(stores.documents)
    threads = PREFETCH_THREADS
    if traits.is_local:
        threads = 1
    feeds = _Feeds(
        # a copy gives no serials, as it writes nothing to its source
        ReadOnlyStore(stores.documents),
        cache_policy_in(traits, settings.store),
        runtime,
        threads,
    )
    return CopySource(stores, upstream, traits, feeds.of_main(), feeds.of_index)


class _Feeds(Struct, frozen=True):
    """The feeds of a store that is only read."""

    documents: Store
    caching: CachePolicy
    runtime: Runtime
    threads: int

    def of_main(self) -> Changes:
        """Return the feed of main."""
        return self._feed_in(self.documents)

    def of_index(self, name: str) -> Changes:
        """Return the feed of an index beside main."""
        return self._feed_in(PrefixedStore(self.documents, keys.index_folder(name)))

    def _feed_in(self, store: Store) -> Changes:
        """Return the feed of an index, whose documents are in a store."""
        logs = DocumentCache(store, Codec(ChangeLog), self.runtime, self.caching)
        retries = ConflictRetries(runtime=self.runtime)
        return Changes(store, logs, self.runtime, retries, self.threads)
