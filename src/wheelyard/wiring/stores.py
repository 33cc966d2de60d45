"""The stores that the settings name, opened: a folder, memory, or buckets."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from errno import EPERM
from functools import partial
from pathlib import Path
from random import SystemRandom
from stat import S_ISDIR
from tempfile import gettempdir
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.format import read_format
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.settings.sections import MEMORY_LOCATION, MIB, Settings, StoreSettings
from wheelyard.storage.base import Store
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.gcs.location import is_bucket, parse_location
from wheelyard.storage.instrumented import OperationCounter
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.split import SplitStore
from wheelyard.storage.spool import Spool

CREDENTIALS: Final = "credentials/"
"""Of the keys of tokens and claims."""
DOCUMENT_CAPACITY: Final = 16 * MIB
"""Bytes of memory for the documents of one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """What an index has to know of the kind of its store."""

    is_local: bool = True
    """Whether a look at an object costs next to nothing; a bucket's costs money and time."""
    operation_counter: OperationCounter = field(default_factory=OperationCounter)
    """What it was asked."""
    identity: Callable[[], str | None] = lambda: None
    """Tells the e-mail of the credentials that open it, if there are any."""
    files: str = ""
    """Where its distributions are, if that is a bucket of their own."""
    credentials: str = ""
    """Where tokens and claims are, if that is a place of their own."""

    @property
    def apart(self) -> tuple[str, ...]:
        """The prefix of the keys of whatever has a place of its own."""
        places = {keys.FILES: self.files, CREDENTIALS: self.credentials}
        return tuple(prefix for prefix, place in places.items() if place)


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store that is open."""

    store: Store
    spool: Spool
    traits: StoreTraits


def open_store(settings: Settings, runtime: Runtime, *, create: bool) -> OpenedStore:
    """
    Return the store that the settings name; that of credentials may be another one.

    Raises:
        Invalid: The location is none that this version knows, or there is no store and none was to
            be made.
        Unavailable: The store does not answer.
    """
    location, apart = settings.store.location, settings.access.credentials_store
    if location == MEMORY_LOCATION:
        return OpenedStore(MemoryStore(time.time), scratch_spool(), StoreTraits())
    if is_bucket(location):
        opened = _bucket(settings, location, OperationCounter(), runtime)
        files = _place_of_files(opened.store, settings.store, create=create)
        if files:
            opened = _bucket(settings, location, opened.traits.operation_counter, runtime, files)
            opened.store.get(keys.PROBE)  # where the bucket of the files is missing, it says so
    elif "://" in location:
        raise Invalid(
            f"The store {escaped(location)} is of a kind that this version cannot open. Give "
            "--store a folder, or gs://BUCKET/PREFIX.",
            code="bad_setting",
        )
    elif not create and not Path(location, keys.FORMAT).is_file():
        raise _no_store(location)
    else:
        opened = _folder(location, OperationCounter(), runtime)
    if not apart:
        return opened
    other = _of_credentials(apart, opened.traits.operation_counter, runtime)
    is_local = opened.traits.is_local and other.traits.is_local  # as far as the farther of them
    traits = replace(opened.traits, is_local=is_local, credentials=apart)
    return OpenedStore(SplitStore(opened.store, other.store, CREDENTIALS), opened.spool, traits)


def no_store() -> OpenedStore:
    """Return a store for what asks none, and writes nothing."""
    return OpenedStore(MemoryStore(time.time), Spool(Path(gettempdir())), StoreTraits())


def cache_policy_in(traits: StoreTraits, settings: StoreSettings) -> CachePolicy:
    """Return how long the documents of a store are believed."""
    return CachePolicy(
        is_local=traits.is_local,
        freshness=settings.freshness,
        capacity=DOCUMENT_CAPACITY,
        stale_if_error=settings.stale_if_error,
    )


def store_in(bucket: str, operation_counter: OperationCounter | None = None) -> Store:
    """
    Return a store in a bucket, of which nothing is asked yet, and from which nobody is sent there.

    Raises:
        Invalid: Google's library is not installed (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    return _of_credentials(bucket, operation_counter or OperationCounter(), system_runtime()).store


def scratch_spool() -> Spool:
    """Return this user's temporary folder for bodies on their way into a bucket or memory."""
    folder = Path(gettempdir(), f"wheelyard-{os.getuid()}")
    with storage_faults(f"the folder {folder} for uploads on their way"):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(EPERM, "it belongs to others as well")
    return Spool(folder)


def system_runtime() -> Runtime:
    """Return the clocks of this machine, and its own source of chance."""
    return Runtime(
        now=partial(datetime.now, UTC),
        monotonic=time.monotonic,
        pause=time.sleep,
        random=SystemRandom(),
    )


def _of_credentials(
    location: str, operation_counter: OperationCounter, runtime: Runtime
) -> OpenedStore:
    if not is_bucket(location):
        return _folder(location, operation_counter, runtime)
    place = StoreSettings(location=location, downloads="proxy")  # nobody is sent there
    return _bucket(Settings(store=place), location, operation_counter, runtime)


def _folder(location: str, operation_counter: OperationCounter, runtime: Runtime) -> OpenedStore:
    store = LocalStore(Path(location), runtime.random)
    return OpenedStore(store, store.spool, StoreTraits(operation_counter=operation_counter))


def _bucket(
    settings: Settings,
    location: str,
    operation_counter: OperationCounter,
    runtime: Runtime,
    files: str = "",
) -> OpenedStore:
    try:
        # Google's libraries take 40 MB of memory, which a folder has no use for
        from wheelyard.storage.gcs.connect import (  # noqa: PLC0415
            BucketOptions,
            GcsDependencies,
            open_bucket,
        )
    except ImportError as error:
        raise Invalid(
            "A bucket needs google-cloud-storage, which is not installed. Install "
            "'wheelyard[gcs]', or in a clone requirements/gcs.txt.",
            code="bad_setting",
        ) from error
    request = BucketOptions(
        place=parse_location(location),
        files_prefix=keys.FILES,
        files_place=parse_location(files) if files else None,
        downloads=settings.store.downloads,
    )
    dependencies = GcsDependencies(
        now=runtime.seconds,
        monotonic=runtime.monotonic,
        pause=runtime.pause,
        random=runtime.random,
        operation_counter=operation_counter,
    )
    opened = open_bucket(request, dependencies)
    traits = StoreTraits(
        is_local=False,
        operation_counter=operation_counter,
        identity=lambda: opened.identity,
        files=files,
    )
    return OpenedStore(opened.store, scratch_spool(), traits)


def _place_of_files(store: Store, asked: StoreSettings, *, create: bool) -> str:
    found = read_format(store)
    if found is None:
        if not create:
            next(store.list(keys.FORMAT), None)  # where the very bucket is missing, it says so
            raise _no_store(asked.location)
        return asked.files
    if asked.files and asked.files != found.files:
        raise Invalid(
            f"The files of this store are in {escaped(found.files or asked.location)}, and [store] "
            f"files says {escaped(asked.files)}. Leave it out.",
            code="bad_setting",
        )
    return found.files


def _no_store(location: str) -> Invalid:
    return Invalid(
        f"There is no store at {escaped(location)}. Name one with --store, or make one with "
        "'wheelyard serve' or 'wheelyard upload'.",
        code="bad_setting",
    )
