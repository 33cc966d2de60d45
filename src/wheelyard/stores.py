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
from wheelyard.catalog.documents import Belief
from wheelyard.catalog.opening import read_format
from wheelyard.concurrency.pacing import Ambient
from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.settings.sections import MEMORY, MIB, Settings, StoreSettings
from wheelyard.storage.base import Store
from wheelyard.storage.cloud.location import is_bucket, parse_location
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.split import SplitStore
from wheelyard.storage.spool import Spool
from wheelyard.storage.timed import Tally

CREDENTIALS: Final = "credentials/"
"""Of the keys of tokens and claims."""
DOCUMENT_CAPACITY: Final = 16 * MIB
"""Bytes of memory for the documents of one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """What an index has to know of the kind of its store."""

    is_near: bool = True
    """Whether a look at an object costs next to nothing; a bucket's costs money and time."""
    tally: Tally = field(default_factory=Tally)
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
class Opened:
    """A store that is open."""

    store: Store
    spool: Spool
    traits: StoreTraits


def open_store(settings: Settings, ambient: Ambient, *, create: bool) -> Opened:
    """
    Return the store that the settings name; that of credentials may be another one.

    Raises:
        Invalid: The location is none that this version knows, or there is no store and none was to
            be made.
        Unavailable: The store does not answer.
    """
    location, apart = settings.store.location, settings.access.credentials_store
    if location == MEMORY:
        return Opened(MemoryStore(time.time), scratch_spool(), StoreTraits())
    if is_bucket(location):
        opened = _bucket(settings, location, Tally(), ambient)
        files = _place_of_files(opened.store, settings.store, create=create)
        if files:
            opened = _bucket(settings, location, opened.traits.tally, ambient, files)
            opened.store.get(keys.TRIAL)  # where the bucket of the files is missing, it says so
    elif "://" in location:
        raise Invalid(
            f"The store {escaped(location)} is of a kind that this version cannot open. Give "
            "--store a folder, or gs://BUCKET/PREFIX.",
            code="bad_setting",
        )
    elif not create and not Path(location, keys.FORMAT).is_file():
        raise _no_store(location)
    else:
        opened = _folder(location, Tally(), ambient)
    if not apart:
        return opened
    other = _of_credentials(apart, opened.traits.tally, ambient)
    is_near = opened.traits.is_near and other.traits.is_near  # as far as the farther of them
    traits = replace(opened.traits, is_near=is_near, credentials=apart)
    return Opened(SplitStore(opened.store, other.store, CREDENTIALS), opened.spool, traits)


def no_store() -> Opened:
    """Return a store for what asks none, and writes nothing."""
    return Opened(MemoryStore(time.time), Spool(Path(gettempdir())), StoreTraits())


def belief_in(traits: StoreTraits, settings: StoreSettings) -> Belief:
    """Return how long the documents of a store are believed."""
    return Belief(
        near=traits.is_near,
        freshness=settings.freshness,
        capacity=DOCUMENT_CAPACITY,
        stale_if_error=settings.stale_if_error,
    )


def store_in(bucket: str, tally: Tally | None = None) -> Store:
    """
    Return a store in a bucket, of which nothing is asked yet, and from which nobody is sent there.

    Raises:
        Invalid: Google's library is not installed (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    return _of_credentials(bucket, tally or Tally(), real_ambient()).store


def scratch_spool() -> Spool:
    """Return this user's temporary folder for bodies on their way into a bucket or memory."""
    folder = Path(gettempdir(), f"wheelyard-{os.getuid()}")
    with storage_faults(f"the folder {folder} for uploads on their way"):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(EPERM, "it belongs to others as well")
    return Spool(folder)


def real_ambient() -> Ambient:
    """Return the clocks of this machine, and its own source of chance."""
    return Ambient(
        now=partial(datetime.now, UTC),
        monotonic=time.monotonic,
        pause=time.sleep,
        random=SystemRandom(),
    )


def _of_credentials(location: str, tally: Tally, ambient: Ambient) -> Opened:
    if not is_bucket(location):
        return _folder(location, tally, ambient)
    place = StoreSettings(location=location, downloads="proxy")  # nobody is sent there
    return _bucket(Settings(store=place), location, tally, ambient)


def _folder(location: str, tally: Tally, ambient: Ambient) -> Opened:
    store = LocalStore(Path(location), ambient.random)
    return Opened(store, store.spool, StoreTraits(tally=tally))


def _bucket(
    settings: Settings, location: str, tally: Tally, ambient: Ambient, files: str = ""
) -> Opened:
    try:
        # Google's libraries take 40 MB of memory, which a folder has no use for
        from wheelyard.storage.cloud.opening import (  # noqa: PLC0415
            Request,
            Surroundings,
            open_bucket,
        )
    except ImportError as error:
        raise Invalid(
            "A bucket needs google-cloud-storage, which is not installed. Install "
            "'wheelyard[gcs]', or in a clone requirements/gcs.txt.",
            code="bad_setting",
        ) from error
    request = Request(
        place=parse_location(location),
        files_prefix=keys.FILES,
        files_place=parse_location(files) if files else None,
        downloads=settings.store.downloads,
    )
    surroundings = Surroundings(
        now=ambient.seconds,
        monotonic=ambient.monotonic,
        pause=ambient.pause,
        random=ambient.random,
        tally=tally,
    )
    opened = open_bucket(request, surroundings)
    traits = StoreTraits(is_near=False, tally=tally, identity=lambda: opened.identity, files=files)
    return Opened(opened.store, scratch_spool(), traits)


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
