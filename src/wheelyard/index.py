"""
The index: every part, wired once.

This is the only place that makes stores, catalogs and operations, and the only one that reads the
clock. A route or a command gets an `Index` and asks it; nothing here is a singleton.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from errno import EPERM
from pathlib import Path
from random import SystemRandom
from stat import S_ISDIR
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final, TypeVar

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Commits
from wheelyard.catalog.credentials import Claims, Credentials
from wheelyard.catalog.documents import Belief, Codec, Documents
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import ensure_format, read_format
from wheelyard.catalog.projects import NameList, Names, Projects
from wheelyard.catalog.races import Retries
from wheelyard.entrance import doors_of
from wheelyard.errors import Invalid
from wheelyard.model.access import Pattern, Scope
from wheelyard.model.ambient import Ambient
from wheelyard.model.project import Project
from wheelyard.model.text import escaped
from wheelyard.model.token import TokenRecord
from wheelyard.operations.audit import note_event
from wheelyard.operations.check import Check
from wheelyard.operations.doors import Doors
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.search import SearchIndex
from wheelyard.operations.spent import Spent
from wheelyard.operations.tokens import Tokens
from wheelyard.operations.upload import UploadRules, Uploads
from wheelyard.settings.reading import google_endpoints, process_environment
from wheelyard.settings.sections import MEMORY, MIB, Settings, StoreSettings
from wheelyard.storage.base import Store
from wheelyard.storage.cloud.location import is_bucket, parse_location
from wheelyard.storage.disk import storage_faults
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.split import SplitStore
from wheelyard.storage.spool import Spool
from wheelyard.storage.timed import Stopwatch, Tally, TimedStore
from wheelyard.trust.endpoints import GOOGLE, GoogleEndpoints

if TYPE_CHECKING:
    from wheelyard.storage.cloud.opening import Surroundings

CREDENTIALS: Final = "credentials/"
"""Of the keys of tokens and claims."""

DOCUMENT_CAPACITY: Final = 16 * MIB
"""Bytes of memory for the documents of one kind."""
CHECKERS: Final = 16
"""Projects that are checked at a time on a bucket, which answers slowly."""
TOKEN_FRESHNESS: Final = 14.0
"""
Seconds that a token's record is believed on a far store.

A server believes who it has recognised for one second more, so a token outlives its revocation by
15 seconds at most.
"""

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A private package index."""

    settings: Settings
    ambient: Ambient
    spool: Spool
    is_new: bool
    """Whether its store has just been made."""
    traits: StoreTraits
    files: Files
    projects: Projects
    watch: Stopwatch
    """How long its store took for what."""
    uploads: Uploads
    search: SearchIndex
    lifecycle: Lifecycle
    tokens: Tokens
    doors: Doors
    check: Check
    private_patterns: tuple[Pattern, ...]

    @property
    def is_near(self) -> bool:
        """Whether the store may be asked on the way, without a thread to wait in."""
        return self.traits.is_near

    @property
    def public_scopes(self) -> tuple[Scope, ...]:
        """What everybody may do, without any credential."""
        return self.doors.rights.public

    @property
    def apart(self) -> tuple[str, ...]:
        """The prefix of the keys of whatever has a place of its own."""
        places = {
            keys.FILES: self.traits.files,
            CREDENTIALS: self.settings.access.credentials_store,
        }
        return tuple(prefix for prefix, place in places.items() if place)

    @property
    def tally(self) -> Tally:
        """What the store was asked so far."""
        return self.traits.tally


def open_index(settings: Settings, *, create: bool = True) -> Index:
    """
    Return the index that the settings describe.

    Args:
        settings: Where it is, and what its operator decided.
        create: Make a store where there is none.

    Raises:
        Invalid: The location is none that this version knows, has a newer format, or there is no
            store and none was to be made.
        Unavailable: The store does not answer.
    """
    location, ambient = settings.store.location, real_ambient()
    google = google_endpoints(process_environment())
    if location == MEMORY:
        store = MemoryStore(time.time)
        return index_over(store, scratch_spool(), settings, ambient, google=google)
    opened = _of_packages(settings, ambient, create=create)
    apart = settings.access.credentials_store
    if apart:
        opened = opened.with_credentials_in(_of_credentials(apart, opened.traits.tally, ambient))
    return index_over(opened.store, opened.spool, settings, ambient, opened.traits, google)


def doors_of_settings(settings: Settings) -> Doors:
    """
    Return the ways in that the settings open, without a look at their store.

    Raises:
        Invalid: A file that they name cannot be read, or makes no sense (code `bad_setting`).
    """
    ambient = real_ambient()
    spool = Spool(Path(gettempdir()))  # which nothing is written to
    store, google = MemoryStore(time.time), google_endpoints(process_environment())
    return index_over(store, spool, settings, ambient, google=google).doors


def store_in(bucket: str, tally: Tally | None = None) -> Store:
    """
    Return a store in a bucket, of which nothing is asked yet, and from which nobody is sent there.

    Args:
        bucket: Where.
        tally: Counts what it is asked.

    Raises:
        Invalid: Google's library is not installed (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    return _of_credentials(bucket, tally or Tally(), real_ambient()).store


@dataclass(frozen=True, slots=True)
class _Opened:
    """A store that is open."""

    store: Store
    spool: Spool
    traits: StoreTraits

    def with_credentials_in(self, other: "_Opened") -> "_Opened":
        """Return the two as one; as far as the farther of them is."""
        traits = replace(self.traits, is_near=self.traits.is_near and other.traits.is_near)
        store = SplitStore(self.store, other.store, CREDENTIALS)
        return replace(self, store=store, traits=traits)


def _of_packages(settings: Settings, ambient: Ambient, *, create: bool) -> _Opened:
    location = settings.store.location
    if is_bucket(location):
        opened = _bucket(settings, location, Tally(), ambient)
        files = _place_of_files(opened.store, settings.store, create=create)
        if files:
            opened = _bucket(settings, location, opened.traits.tally, ambient, files)
            opened.store.get(keys.TRIAL)  # where the bucket of the files is missing, it says so
        return opened
    if "://" in location:
        raise Invalid(
            f"The store {escaped(location)} is of a kind that this version cannot open. Give "
            "--store a folder, or gs://BUCKET/PREFIX.",
            code="bad_setting",
        )
    if not create and not Path(location, keys.FORMAT).is_file():
        raise _no_store(location)
    return _folder(location, Tally(), ambient)


def _of_credentials(location: str, tally: Tally, ambient: Ambient) -> _Opened:
    """Open the place that tokens and claims have for themselves."""
    if not is_bucket(location):
        return _folder(location, tally, ambient)
    place = StoreSettings(location=location, downloads="proxy")  # nobody is sent there
    return _bucket(Settings(store=place), location, tally, ambient)


def _folder(location: str, tally: Tally, ambient: Ambient) -> _Opened:
    store = LocalStore(Path(location), ambient.random)
    return _Opened(store, store.spool, StoreTraits(tally=tally))


def _bucket(
    settings: Settings, location: str, tally: Tally, ambient: Ambient, files: str = ""
) -> _Opened:
    try:
        # Google's libraries take 40 MB of memory, which a folder has no use for
        from wheelyard.storage.cloud.opening import (  # noqa: PLC0415
            Request,
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
    opened = open_bucket(request, surroundings_of(ambient, tally))
    traits = StoreTraits(is_near=False, tally=tally, identity=lambda: opened.identity, files=files)
    return _Opened(opened.store, scratch_spool(), traits)


def surroundings_of(ambient: Ambient, tally: Tally) -> "Surroundings":
    """Return what a bucket needs of the world; asked for only where Google's library is there."""
    from wheelyard.storage.cloud.opening import Surroundings  # noqa: PLC0415 - as above

    return Surroundings(
        now=lambda: ambient.now().timestamp(),
        monotonic=ambient.monotonic,
        pause=ambient.pause,
        random=ambient.random,
        tally=tally,
    )


def _place_of_files(store: Store, asked: StoreSettings, *, create: bool) -> str:
    """Return where the files of a bucket's store are, if that is a bucket of their own."""
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


def index_over(
    store: Store,
    spool: Spool,
    settings: Settings,
    ambient: Ambient,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
) -> Index:
    """Return an index that keeps everything in `store`, which is near unless `traits` say else."""
    traits = traits or StoreTraits()
    watch = Stopwatch(ambient.monotonic)
    store = TimedStore(store, watch)
    is_new = ensure_format(store, traits.files)
    retries = Retries(ambient=ambient) if traits.is_near else far_retries(ambient)
    belief = Belief(
        near=traits.is_near,
        freshness=settings.store.freshness,
        capacity=DOCUMENT_CAPACITY,
        stale_if_error=settings.store.stale_if_error,
    )
    token_belief = replace(belief, freshness=max(TOKEN_FRESHNESS, belief.freshness))

    projects_documents = Documents(store, Codec(Project), ambient, belief, is_kept=True)
    names_documents = Documents(store, Codec(NameList), ambient, belief, is_kept=True)
    token_documents = Documents(store, Codec(TokenRecord), ambient, token_belief)
    names = Names(names_documents, retries)
    commits = Commits(store, projects_documents, ambient, retries, note_event)
    projects = Projects(store, projects_documents, names, commits)
    files = Files(store, retries)
    credentials = Credentials(store, token_documents, retries)
    limit, notes = settings.token_lifetime_limit, not settings.server.read_only
    tokens = Tokens(credentials, ambient, limit, notes_uses=notes)
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    spent = Spent(Claims(store), credentials, ambient, lifetime)
    doors = doors_of(settings, tokens, spent, ambient, google)
    rules = UploadRules(
        max_size=settings.uploads.max_file_size * MIB, zip_sdists=settings.uploads.zip_sdists
    )
    return Index(
        settings=settings,
        ambient=ambient,
        spool=spool,
        is_new=is_new,
        traits=traits,
        watch=watch,
        files=files,
        projects=projects,
        uploads=Uploads(projects, files, spool, ambient, rules),
        search=SearchIndex(projects, traits.is_near),
        lifecycle=Lifecycle(projects, files, ambient),
        tokens=tokens,
        doors=doors,
        check=Check(store, spool, projects, ambient, spent, 1 if traits.is_near else CHECKERS),
        private_patterns=settings.private_patterns,
    )


def far_retries(ambient: Ambient) -> Retries:
    """
    Return how lost races are retried on a bucket.

    It takes about one write a second for one object, so there is no use in coming back sooner.
    """
    return Retries(ambient=ambient, first_pause=0.5, longest_pause=1.5)


def scratch_spool() -> Spool:
    """
    Return this user's folder for bodies on their way into a bucket or into memory.

    It is in the system's folder for temporary files.

    Raises:
        Unavailable: It cannot be made, or belongs to somebody else.
    """
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
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        pause=time.sleep,
        random=SystemRandom(),
    )
