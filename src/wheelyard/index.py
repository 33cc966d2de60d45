"""The index: every part, wired once. A route or a command gets an `Index`, and asks it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from wheelyard.catalog.files import Files
from wheelyard.catalog.opening import catalog_over
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.pacing import Ambient
from wheelyard.entrance import doors_of
from wheelyard.operations.audit import note_event
from wheelyard.operations.check import Check
from wheelyard.operations.doors import Doors
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.search import SearchIndex
from wheelyard.operations.spent import Spent
from wheelyard.operations.tokens import Tokens
from wheelyard.operations.upload import UploadRules, Uploads
from wheelyard.settings.reading import google_endpoints, process_environment
from wheelyard.settings.sections import MIB, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.spool import Spool
from wheelyard.storage.timed import Stopwatch, TimedStore
from wheelyard.stores import StoreTraits, belief_in, no_store, open_store, real_ambient
from wheelyard.trust.endpoints import GOOGLE, GoogleEndpoints

CHECKERS: Final = 16
"""Projects that are checked at a time on a bucket, which answers slowly."""


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

    @property
    def is_near(self) -> bool:
        """Whether the store may be asked on the way, without a thread to wait in."""
        return self.traits.is_near


def open_index(settings: Settings, *, create: bool = True) -> Index:
    """
    Return the index that the settings describe; with `create`, make a store where there is none.

    Raises:
        Invalid: The location is none that this version knows, has a newer format, or there is no
            store and none was to be made.
        Unavailable: The store does not answer.
    """
    ambient, google = real_ambient(), google_endpoints(process_environment())
    opened = open_store(settings, ambient, create=create)
    return index_over(opened.store, opened.spool, settings, ambient, opened.traits, google)


def doors_of_settings(settings: Settings) -> Doors:
    """
    Return the ways in that the settings open, without a look at their store.

    Raises:
        Invalid: A file that they name cannot be read, or makes no sense (code `bad_setting`).
    """
    opened, google = no_store(), google_endpoints(process_environment())
    return index_over(opened.store, opened.spool, settings, real_ambient(), google=google).doors


def index_over(
    store: Store,
    spool: Spool,
    settings: Settings,
    ambient: Ambient,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
) -> Index:
    """Return an index over a store, which is near unless `traits` say else."""
    traits = traits or StoreTraits()
    watch = Stopwatch(ambient.monotonic)
    store = TimedStore(store, watch)
    belief = belief_in(traits, settings.store)
    catalog = catalog_over(store, ambient, belief, note_event, traits.files)
    projects, files, credentials = catalog.projects, catalog.files, catalog.credentials
    limit, notes = settings.token_lifetime_limit, not settings.server.read_only
    tokens = Tokens(credentials, ambient, limit, notes_uses=notes)
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    spent = Spent(catalog.claims, credentials, ambient, lifetime)
    rules = UploadRules(
        max_size=settings.uploads.max_file_size * MIB, zip_sdists=settings.uploads.zip_sdists
    )
    return Index(
        settings=settings,
        ambient=ambient,
        spool=spool,
        is_new=catalog.is_new,
        traits=traits,
        watch=watch,
        files=files,
        projects=projects,
        uploads=Uploads(projects, files, spool, ambient, rules),
        search=SearchIndex(projects, traits.is_near),
        lifecycle=Lifecycle(projects, files, ambient),
        tokens=tokens,
        doors=doors_of(settings, tokens, spent, ambient, google),
        check=Check(store, spool, projects, ambient, spent, 1 if traits.is_near else CHECKERS),
    )
