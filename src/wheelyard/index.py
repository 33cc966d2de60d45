"""
The index: every part, wired once.

This is the only place that makes stores, catalogs and operations, and the only one that reads the
clock. A route or a command gets an `Index` and asks it; nothing here is a singleton.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from tempfile import mkdtemp
from typing import Final, TypeVar

from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec
from wheelyard.catalog.commits import Commits
from wheelyard.catalog.credentials import Credentials
from wheelyard.catalog.documents import Belief, Documents
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import ensure_format
from wheelyard.catalog.names import NameList, Names
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.races import Retries
from wheelyard.errors import Invalid
from wheelyard.model.access import ANYONE_READS, Pattern, Scope
from wheelyard.model.ambient import Ambient
from wheelyard.model.project import Project
from wheelyard.model.text import escaped
from wheelyard.model.token import TokenRecord
from wheelyard.operations.check import Check
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.tokens import Tokens
from wheelyard.operations.upload import UploadRules, Uploads
from wheelyard.settings import MIB, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool

MEMORY: Final = "memory:"

DOCUMENT_CAPACITY: Final = 16 * MIB
"""Bytes of memory for the documents of one kind."""
FRESHNESS: Final = 1.0
"""Seconds that a document of a far store is believed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A private package index."""

    settings: Settings
    ambient: Ambient
    spool: Spool
    files: Files
    projects: Projects
    uploads: Uploads
    lifecycle: Lifecycle
    tokens: Tokens
    check: Check
    public_scopes: tuple[Scope, ...]
    """What everybody may do, without any credential."""
    private_patterns: tuple[Pattern, ...]


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
    location = settings.store.location
    ambient = real_ambient()
    if location == MEMORY:
        spool = Spool(Path(mkdtemp(prefix="wheelyard-")))
        return index_over(MemoryStore(time.time), spool, settings, ambient)
    if "://" in location:
        raise Invalid(
            f"The store {location} is of a kind that this version cannot open. Give --store a "
            "folder.",
            code="bad_setting",
        )
    if not create and not is_store(location):
        raise Invalid(
            f"There is no store at {escaped(location)}. Name one with --store, or make one with "
            "'wheelyard serve' or 'wheelyard upload'.",
            code="bad_setting",
        )
    store = LocalStore(Path(location), ambient.random)
    return index_over(store, store.spool, settings, ambient)


def is_store(location: str) -> bool:
    """Return whether there is a store in a folder already."""
    return Path(location, keys.FORMAT).is_file()


def index_over(store: Store, spool: Spool, settings: Settings, ambient: Ambient) -> Index:
    """Return an index that keeps everything in `store`, which must be near."""
    belief = Belief(near=True, freshness=FRESHNESS, capacity=DOCUMENT_CAPACITY)
    retries = Retries(ambient=ambient)
    ensure_format(store)

    def documents(kind: type[T]) -> Documents[T]:
        return Documents(store, Codec(kind), ambient, belief)

    projects_documents = documents(Project)
    names = Names(store, documents(NameList), retries)
    commits = Commits(store, projects_documents, ambient, retries)
    projects = Projects(store, projects_documents, names, commits)
    files = Files(store, retries)
    credentials = Credentials(store, documents(TokenRecord), retries)
    public = () if settings.access.private else (ANYONE_READS,)
    rules = UploadRules(
        max_size=settings.uploads.max_file_size * MIB, zip_sdists=settings.uploads.zip_sdists
    )
    return Index(
        settings=settings,
        ambient=ambient,
        spool=spool,
        files=files,
        projects=projects,
        uploads=Uploads(projects, files, spool, ambient, rules),
        lifecycle=Lifecycle(projects, files, ambient),
        tokens=Tokens(credentials, ambient, public, settings.token_lifetime_limit),
        check=Check(store, spool, projects, ambient),
        public_scopes=public,
        private_patterns=settings.private_patterns,
    )


def real_ambient() -> Ambient:
    """Return the clocks of this machine, and its own source of chance."""
    return Ambient(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        pause=time.sleep,
        random=SystemRandom(),
    )
