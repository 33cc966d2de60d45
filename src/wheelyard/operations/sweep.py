"""
Sweeps: bytes of uploads and deletions that died, and what is past its time.

The docstring of this package says in which order, and what the lease is for.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, islice
from threading import Thread
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.document_cache import Codec, UnreadableIgnored, read_usable
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.catalog.session_records import CLOCK_SKEW
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.downloads.folding import fold
from wheelyard.errors import Conflict, WheelyardError
from wheelyard.model.api_token import is_token_id
from wheelyard.model.decoding import counted
from wheelyard.operations.descriptions.descriptions import remove_old
from wheelyard.operations.findings import Findings, JournaledCheck
from wheelyard.storage.base import (
    ABSENT,
    STORAGE_DENIED,
    Entry,
    Key,
    ObjectVersion,
    Store,
    Stored,
    Stores,
)
from wheelyard.storage.forwarding import PrefixedStore

ORPHAN_AGE: Final = timedelta(days=1)
"""The age from which a sweep removes files that no project lists."""
RENEWAL_AGE: Final = ORPHAN_AGE / 2
"""The age from which a copy writes equal bytes again, so that a sweep does not remove them."""
KEPT_VARIANTS_AGE: Final = timedelta(days=3)
"""
The age from which a document of an older page is deleted (`http/variants.py`).

A page writes it on the day on which it is shown, and it is served for a day after that.
"""
LEASE_TIME: Final = timedelta(minutes=10)
"""How long the job waits for a process that has died."""
RENEWAL_SECONDS: Final = 120.0
"""The age from which a lease is renewed."""


class LeaseDocument(Struct, frozen=True, omit_defaults=True):
    """The stored document of a lease."""

    revision: int = 0
    holder: str = ""
    """A random text that, with `revision`, makes each write another one."""
    ends: datetime | None = None
    completed: datetime | None = None
    """When the job was done last."""


_CODEC: Final = Codec(LeaseDocument)


class JobLease:
    """
    The lease of one job, as one process has it.

    For one thread at a time. Times are those of the store's clock. One in the document that is
    later than any correct clock can have written counts for nothing, and so does a document that is
    damaged. Each method raises Unavailable if the store does not answer.
    """

    def __init__(self, store: Store, job: str, clock: StoreClock) -> None:
        self._store = store
        self._key = keys.lease(job)
        self._clock = clock
        self._monotonic = clock.runtime.monotonic
        self._holder = clock.runtime.new_id()
        self._document = LeaseDocument()
        self._version = ABSENT
        self._renew_at = 0.0

    def take(self, every: timedelta) -> timedelta:
        """
        Take the lease if nobody has it, and the job was not done within `every`.

        Return zero if it was taken, else after how long to try again.
        """
        self._document, self._version = self._read()
        document = self._document
        now = self._clock.now()
        others = document.ends if document.holder != self._holder else None
        done_until = document.completed and document.completed + every
        wait = max(_until(others, now, LEASE_TIME), _until(done_until, now, every))
        if wait:
            return wait
        try:
            self._put(ends=now + LEASE_TIME)
        except Conflict:  # another process has taken it since it was read
            return LEASE_TIME
        return timedelta()

    def renew(self) -> None:
        """
        Renew the lease if that is due.

        Raises Conflict if another process has taken it.
        """
        if self._monotonic() >= self._renew_at:
            self._put(ends=self._clock.now() + LEASE_TIME)

    def complete(self) -> None:
        """
        Give the lease back, and write that the job is done.

        Raises Conflict if another process has taken it.
        """
        now = self._clock.now()
        self._put(ends=now, completed=now)

    def give_back(self) -> None:
        """
        Give the lease back, though the job is not done.

        Raises Conflict if another process has taken it.
        """
        self._put(ends=self._clock.now())

    def _read(self) -> tuple[LeaseDocument, ObjectVersion]:
        return read_usable(self._store, self._key, _CODEC, LeaseDocument())

    def _put(self, *, ends: datetime, completed: datetime | None = None) -> None:
        before = self._document
        document = replace(
            before,
            revision=before.revision + 1,
            holder=self._holder,
            ends=ends,
            completed=completed or before.completed,
        )
        body = _CODEC.encode(document)
        version = self._version
        # sweeps and retention make room
        put = partial(self._store.put, self._key, body, version)
        self._version = self._store.with_reserve(put)
        self._document = document
        self._renew_at = self._monotonic() + RENEWAL_SECONDS


def last_completed(store: Store, job: str) -> datetime | None:
    """
    Return when a job was done last, or None if it never was, or that is not known.

    Raises Unavailable if the store does not answer.
    """
    return read_usable(store, keys.lease(job), _CODEC, LeaseDocument())[0].completed


def _until(moment: datetime | None, now: datetime, longest: timedelta) -> timedelta:
    """Return how long it is until `moment`, or zero if that has passed, or is too far away."""
    wait = moment - now if moment else timedelta()
    return wait if timedelta() < wait <= longest + LEASE_TIME else timedelta()


_NAMES: Final = Codec(NameList)


class Orphans(Struct, frozen=True):
    """The objects of a project's files that no index lists."""

    project: NormalizedName
    entries: Sequence[Entry]
    deleted: frozenset[Key]
    """Those whose filename was deleted, and is never used again."""


class Sweep(Struct, frozen=True):
    """Finds and deletes the leftovers of uploads and deletions, while servers may run."""

    stores: Stores
    removal: FileRemoval
    threads: int
    """The number of projects whose documents are read concurrently."""

    def find(
        self, now: datetime, findings: Findings | None = None, lease: JobLease | None = None
    ) -> list[Orphans]:
        """
        Return what no index lists, by project.

        `now` is by the store's clock, and says which deleted files are still kept.
        The keys below `files/` that are none of a file are added to `findings`, and `lease` is
        renewed after each project. Raises Unavailable if a document of any project cannot be read,
        and Conflict as `JobLease.renew`.
        """
        indexes = tuple(self.removal.indexes())
        orphans = list[Orphans]()
        find_orphans = partial(self._orphans, indexes, now)
        for project_orphans in prefetch_map(
            find_orphans, self._projects(indexes, findings), self.threads
        ):
            if lease is not None:
                lease.renew()
            if project_orphans.entries:
                orphans.append(project_orphans)
        return orphans

    def run(self, now: datetime, lease: JobLease | None = None) -> int:
        """
        Delete all leftovers, and return how many.

        `now` is by the store's clock. Raises as `find`.
        """
        count = 0
        # the whole list first: an unreadable document of any project ends the sweep before
        # anything is deleted
        for orphans in self.find(now, lease=lease):
            if lease is not None:
                lease.renew()
            count += self.remove(orphans, now)
        return count

    def remove(self, orphans: Orphans, now: datetime) -> int:
        """
        Delete those of a project's orphans that are a day old, or whose file was deleted.

        None is deleted if the project is inconsistent, or perhaps lost. Return how many were.
        Raises Unavailable if the store does not answer, or a document of the project is damaged.
        """
        before = (now - ORPHAN_AGE).timestamp()
        candidates = [entry.key for entry in orphans.entries if entry.modified < before]
        old = [key for key in candidates if key not in orphans.deleted]
        has_any = orphans.deleted or old
        if not has_any or not self._is_certain(orphans.project, tuple(self.removal.indexes())):
            return 0
        count = self.removal.remove(orphans.project, orphans.deleted) if orphans.deleted else 0
        return count + (self.removal.remove(orphans.project, old, before) if old else 0)

    def _projects(
        self, indexes: Sequence[str], findings: Findings | None
    ) -> Iterator[tuple[NormalizedName, list[Entry]]]:
        """Yield each project that has files or a document, with the entries of its files."""
        documents = {
            name
            for prefix in indexes
            for entry in self.stores.documents.list(f"{prefix}{keys.PROJECTS}")
            if (name := keys.project_of(Key(entry.key.removeprefix(prefix))))
        }
        for name, group in groupby(self.stores.files.list(keys.FILES), _project_of):
            if name is None:
                for entry in group:
                    if findings is not None:
                        findings.add_foreign_object(entry.key)
            else:
                documents.discard(name)
                yield name, list(group)
        yield from ((name, []) for name in documents)

    def _orphans(
        self, indexes: Sequence[str], now: datetime, project: tuple[NormalizedName, list[Entry]]
    ) -> Orphans:
        name, entries = project
        projects = self.removal.documents(name, indexes)
        kept = self.removal.kept(projects, now)
        unlisted = [entry for entry in entries if entry.key not in kept]
        deleted = frozenset[Key]()
        if len(indexes) == 1 and unlisted and projects:
            # with several indexes, another one may just be publishing the file
            names = frozenset(projects[0].deleted_filenames)
            deleted = frozenset(entry.key for entry in unlisted if _filename(entry.key) in names)
        return Orphans(name, unlisted, deleted)

    def _is_certain(self, name: NormalizedName, indexes: Sequence[str]) -> bool:
        """Return whether each index has an intact document of a project, or never had any."""
        has_document = False
        for prefix in indexes:
            findings = Findings()
            store = PrefixedStore(self.stores.documents, prefix)
            project = JournaledCheck(project_journal(name), store, findings).run(rebuild=False)
            if findings.problems:
                return False
            has_document = has_document or project is not None
        return has_document or all(self._never_had(name, prefix) for prefix in indexes)

    def _never_had(self, name: NormalizedName, prefix: str) -> bool:
        key = Key(f"{prefix}{keys.PROJECT_NAMES}")
        stored = self.stores.documents.get(key)
        # without the list of names, any project may have existed
        return isinstance(stored, Stored) and name not in _NAMES.decode(key, stored.body).as_set


def _project_of(entry: Entry) -> NormalizedName | None:
    owner = keys.parse_file_key(entry.key)
    return NormalizedName(owner.project) if owner else None


def _filename(key: Key) -> str:
    owner = keys.parse_file_key(key)
    return owner.filename if owner else ""


JOB: Final = "sweep"
EVERY: Final = timedelta(days=1)
FIRST_LOOK_SECONDS: Final = (10.0, 60.0)
"""The range of the pause after a start, which leaves the machine to the first requests."""
SPREAD_SECONDS: Final = 3600.0
"""The longest random pause before a later look at the lease: servers take turns, and time moves."""

logger = logging.getLogger("wheelyard")


class DailySweep:
    """Sweeps each day, unless another process does, and gives serials to all changes."""

    def __init__(self, sweep: Sweep, changes: Changes, runtime: Runtime) -> None:
        self._sweep = sweep
        self._changes = changes
        self._runtime = runtime
        self._clock = sweep.removal.clock
        self._lease = JobLease(sweep.stores.documents, JOB, self._clock)
        self._logged = ""
        """The last failure that the log has. Each is there once."""

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="sweep", daemon=True).start()

    def run(self) -> None:
        """Sweep whenever it is due, for ever."""
        self._runtime.pause(self._runtime.random.uniform(*FIRST_LOOK_SECONDS))
        while True:
            wait = self.sweep_if_due().total_seconds()
            self._runtime.pause(wait + self._runtime.random.uniform(0.0, SPREAD_SECONDS))

    def sweep_if_due(self) -> timedelta:
        """
        Sweep if that is due, and return after how long to try again.

        A failure of the store is logged, and not raised.
        """
        try:
            if next(self._sweep.stores.files.list(keys.FILES), None) is None:
                return EVERY  # perhaps a store that the first upload makes
            now = self._clock.require_agreement()
            wait = self._lease.take(EVERY)
            if wait:
                return wait
            self._run_sweep(now)
            self._lease.complete()
            # without the lease: any process may do that at any time
            self._remove_old(now.timestamp())
        except Conflict:  # this process was stopped, and another one has taken the lease
            return EVERY
        except WheelyardError as error:
            self._log_failure("no sweep today, so leftovers of uploads stay in the store", error)
            return timedelta()
        return EVERY

    def _run_sweep(self, now: datetime) -> None:
        try:
            count = self._sweep.run(now, self._lease)
        except Conflict:
            raise
        except WheelyardError as error:
            why = "this server may not delete" if error.code == STORAGE_DENIED else "no sweep today"
            self._log_failure(f"{why}, so leftovers of uploads stay in the store", error)
        else:
            self._logged = ""
            if count:
                logger.info("swept %s of uploads and deletions", counted(count, "leftover"))

    def _remove_old(self, now: float) -> None:
        try:
            self._sweep.stores.documents.with_reserve(partial(self._changes.remove_stale, now))
            for prefix in self._sweep.removal.indexes():
                store = PrefixedStore(self._sweep.stores.documents, prefix)
                remove_old(store, now)
                _remove_kept_variants(store, now)
        except WheelyardError as error:
            self._log_failure("marks of commits and what was made of pages stay", error)
        try:
            for prefix in self._sweep.removal.indexes():
                fold(PrefixedStore(self._sweep.stores.documents, prefix), now)
        except WheelyardError as error:
            self._log_failure("counts of downloads are not added up today", error)

    def _log_failure(self, what: str, error: WheelyardError) -> None:
        if error.message != self._logged:
            self._logged = error.message
            logger.warning("%s: %s", what, error.message)


def _remove_kept_variants(store: Store, now: float) -> None:
    """Delete what pages have linked to that nobody shows any more, at a time in seconds."""
    for entry in store.list(keys.KEPT_VARIANTS):
        if entry.modified < now - KEPT_VARIANTS_AGE.total_seconds():
            store.delete(entry.key)


RETENTION: Final = timedelta(hours=1)
"""How long the record of a minted API token stays after it expires."""


class PublishingCleanup(Struct, frozen=True):
    """Removes the records of used ID tokens, and of the expired API tokens minted for them."""

    used_id_tokens: UsedIdTokens
    token_records: TokenRecords
    runtime: Runtime
    token_lifetime: timedelta

    def run(self, at_most: int | None = None) -> int:
        """
        Remove used ID tokens with their API tokens, once both expired an hour ago or earlier.

        At most `at_most` are checked, or all. Return how many ID tokens were removed. Raises
        Unavailable if the store does not answer.
        """
        now = self.runtime.now()
        removed = 0
        # not while a server whose clock is behind accepts the ID token, and would exchange it again
        expired = self.used_id_tokens.expired_before(
            now - self.token_lifetime - RETENTION - CLOCK_SKEW
        )
        for key in list(islice(expired, at_most)):
            token_id = self.used_id_tokens.token_of(key)
            # the API token goes first: whoever dies in between finds it again by the ID token
            if token_id is None or self._remove_token(token_id, now - RETENTION):
                self.used_id_tokens.store.delete(key)
                removed += 1
        return removed

    def _remove_token(self, token_id: str, limit: datetime) -> bool:
        """
        Remove the record of a minted API token that expired by `limit`.

        Return False if the token expires later, so that the record of its ID token has to stay;
        else True, even if there was nothing to remove.
        """
        if not is_token_id(token_id):
            return True
        with UnreadableIgnored():  # else it is no credential any more
            snapshot = self.token_records.documents.get(keys.token(token_id), "current")
            record = snapshot.value
            if record is None or not record.publishers:
                return True
            if record.expires_at > limit:
                return False
            self.token_records.store.delete(keys.token(token_id))
        return True
