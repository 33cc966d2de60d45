"""
The feed: which projects have changed, in one order over all projects.

A commit gets its serial in two steps.

1. Right before the commit its writer puts a mark, an object of its own (`mark_commit`). The mark is
   empty unless the commit comes from another store by `wheelyard copy`. If a copy adds several
   commits of a project at once, the mark has all of them but the last. Otherwise it has the one.
2. A process that reads changes lists the marks, and reads the revisions of the marked projects. It
   adds an entry with a serial for each project that has changed, by one compare-and-swap of
   `changes.json`. Then it deletes the marks of the commits that have a serial.

So no commit waits for an object that commits of other projects write. A commit without a serial has
a mark, even if its writer, or the process that gave serials, has died.

`changes.json` has the newest entries. The older entries are sealed, in objects that never change.
Each sealed object has the serial before its first entry, so that a lost object is noticed.

A serial tells when it was given, and so when its commit was made at the latest. After a copy, or
when the feed was made again, that is far too late: then the feed also has the time of the commit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from heapq import heappop, heappush
from itertools import chain, groupby
from math import inf
from typing import Final, NamedTuple

from msgspec import Raw, Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import (
    Codec,
    DocumentCache,
    UnreadableIgnored,
    digest,
    lost,
)
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import DAMAGED, RETRY_AFTER_SECONDS, Conflict, NotFound, Unavailable
from wheelyard.model.decoding import Extensible
from wheelyard.storage.base import ABSENT, Key, Store, Stored

MARK_AGE: Final = timedelta(days=1)
"""The age from which a mark without a commit is deleted."""
COMMIT_SECONDS: Final = (MARK_AGE / 2).total_seconds()
"""The most seconds from a mark to its commit: half of that age, as clocks differ."""
BATCH: Final = 500
"""The most entries that are added by one write of `changes.json`."""
MOST_ENTRIES: Final = 1_000
"""The number of entries of `changes.json` from which the next write seals the oldest ones."""
SEALED_ENTRIES: Final = 500
"""The number of entries that are sealed at a time."""
SERIALS_BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""The time of the serial 0. Seconds since then fit into 32 bits (XML-RPC) until 2088."""
NO_SERIAL: Final = 0
"""The serial of a change that has none yet."""
CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""How much earlier an event may be than the commit before it: clocks differ, and uploads wait."""
SEALED_IN_MEMORY: Final = 64
"""The most sealed objects that a process keeps in memory."""

Moments = Mapping[int, int]
"""For some entries, by serial: the serial that the clock had when their commit was made."""
Marks = Mapping[NormalizedName, Sequence[keys.PendingMark]]
"""The marks of each project, by their numbers, as a listing has them."""

_COPIED: Final = Codec(list[Raw])


def mark_commit(
    store: Store,
    runtime: Runtime,
    name: NormalizedName,
    number: int,
    copied: Sequence[bytes] = (),
) -> Key:
    """
    Mark that a project may get the commit `number`, and return the key of the mark.

    The commit has to be made right after. `copied` are stored commits of another store: the earlier
    commits that are added with this one, or if there are none, this commit itself. If the writer
    dies, the process that gives the serial writes the earlier commits into the journal. The mark
    also says which commits were copied.

    Raises Unavailable if the store does not answer, or if putting the mark took so long that it may
    be deleted before the commit.
    """
    began_at = runtime.monotonic()
    body = b""
    if copied:
        body = _COPIED.encode([Raw(commit.rstrip()) for commit in copied])
    # a key of its own, which no other writer uses, and nobody deletes as an old mark meanwhile
    key = keys.pending_mark(name, number, runtime.new_id())
    store.put(key, body, None)
    if runtime.monotonic() - began_at > COMMIT_SECONDS:
        fact = "This process stood still for too long during a commit."
        raise Unavailable(f"{fact} Try again.", retry_after=RETRY_AFTER_SECONDS)
    return key


class ProjectChange(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry of the feed: at this serial, a project had this revision."""

    serial: int
    project: NormalizedName
    revision: int


class CommitRange(Struct, frozen=True):
    """Commits of a project that got one serial."""

    serial: int
    project: NormalizedName
    first: int
    """The number of the first commit. This and the next ones may have an earlier serial, too."""
    last: int
    """The number of the last commit."""
    is_copied: bool
    """Whether all of these commits came from another store. Otherwise none did."""


class FeedEnd(Struct, frozen=True):
    """The end of a feed at one moment. If two ends are equal, nothing was written in between."""

    newest: int
    """The highest serial that was given."""
    write_id: str
    """The random id of the last write of `changes.json`."""


class BoundedChange(NamedTuple):
    """
    A change with limits of the times of its commits.

    The times are in seconds since the epoch.
    """

    bound: float
    """The time that no commit of this change, or of the changes after it, is later than."""
    change: ProjectChange | None
    """The change, or None if its project has a newer one, and only the bound is needed."""
    latest: float
    """The time that no commit of this change is later than."""


def latest_first(changes: Iterable[BoundedChange]) -> Iterator[tuple[ProjectChange, float]]:
    """
    Yield each change with the time that no commit of it is later than, the latest time first.

    `changes` are in the order of their bounds, the latest first, and are read as they are needed.
    """
    waiting = list[tuple[float, NormalizedName, ProjectChange]]()
    for bound, change, latest in changes:
        if change is not None:
            heappush(waiting, (-latest, change.project, change))
        while waiting and -waiting[0][0] >= bound:
            negative, _, next_change = heappop(waiting)
            yield next_change, -negative
    while waiting:
        negative, _, next_change = heappop(waiting)
        yield next_change, -negative


class SealedChanges(Struct, frozen=True, omit_defaults=True):
    """The content of a sealed object: entries that never change."""

    previous: int
    """The serial of the entry before the first one."""
    entries: tuple[ProjectChange, ...]
    made: dict[int, int] = {}
    """The `Moments` of the entries that got their serial more than `CLOCK_TOLERANCE` later."""
    first: dict[int, int] = {}
    """The first commit of the entries that are about several commits, by their serials."""
    copied: dict[int, int] = {}
    """The last commit of the entries whose commits came from another store, by their serials."""


class ChangeLog(Extensible, frozen=True, dict=True, forbid_unknown_fields=True, omit_defaults=True):
    """The stored document `changes.json`."""

    revision: int
    write_id: str
    """A random id of this write."""
    start: int
    """The serial after which the feed begins, which is not 0 if the feed was made again."""
    previous: int
    """The serial of the last sealed entry, or `start` if there is none."""
    entries: tuple[ProjectChange, ...]
    # the next three fields are about entries, and move with them into a sealed object
    made: dict[int, int] = field(default_factory=dict)
    """The `Moments` of the entries that got their serial more than `CLOCK_TOLERANCE` later."""
    first: dict[int, int] = field(default_factory=dict)
    """The first commit of the entries that are about several commits, by their serials."""
    copied: dict[int, int] = field(default_factory=dict)
    """The last commit of the entries whose commits came from another store, by their serials."""

    @property
    def newest(self) -> int:
        """The highest serial that was given."""
        if not self.entries:
            return self.previous
        return self.entries[-1].serial

    @cached_property
    def revisions(self) -> Mapping[NormalizedName, int]:
        """The revision in the newest entry of each project that has an entry in this document."""
        return {entry.project: entry.revision for entry in self.entries}


NO_CHANGES: Final = ChangeLog(revision=0, write_id="", start=0, previous=0, entries=())

_Piece = SealedChanges | ChangeLog
"""One of the documents of which the feed consists. All but the newest are sealed."""


class _Moment(Struct, frozen=True):
    """The part of an event that the feed reads."""

    at: datetime | None = None


class _Link(Struct, frozen=True):
    """The part of a commit that the feed reads: its id, its predecessor's digest, and its time."""

    number: int = 0
    id: str = ""
    previous: str = ""
    events: tuple[_Moment, ...] = ()


class _Document(Struct, frozen=True):
    """The part of a project's document that the feed reads, which all versions have."""

    revision: int
    commit: _Link = _Link()

    @property
    def made(self) -> int | None:
        """The serial that the clock had at the newest commit, or None if that is unknown."""
        moments = [event.at for event in self.commit.events if event.at is not None]
        if not moments:
            return None
        return _seconds_of_serials(max(moments))


class _CopiedCommit(NamedTuple):
    """A commit of another store, as it is stored."""

    number: int
    body: bytes


_NO_DOCUMENT: Final = _Document(0)

_LINKS: Final = Codec(_Link)
_DOCUMENTS: Final = Codec(_Document)
_SEALED: Final = Codec(SealedChanges)


class Changes(Struct, frozen=True):
    """
    The changes of all projects, each with its serial.

    Threads and processes may share the feed. Serials rise, with gaps. A client that has seen a
    serial never finds a new change at or below it. Serials follow the clock if that is ahead of
    them, so that a feed that was made again, or that belongs to a copy, does not repeat serials
    that a client has seen. The serial of a project is that of its newest entry. After a crash a
    project may have two entries with one revision.

    Every method raises Unavailable if the store does not answer, or if a document of the feed is
    damaged or lost.
    """

    store: Store
    documents: DocumentCache[ChangeLog]
    runtime: Runtime
    retries: ConflictRetries
    threads: int
    """The number of documents that are read concurrently."""
    is_read_only: bool = False
    """Whether this process gives no serials, such as a server that may not write."""
    sealed: LruCache[Key, SealedChanges] = field(default_factory=lambda: LruCache(SEALED_IN_MEMORY))
    """Sealed objects that were read for the newest changes."""

    def since(self, serial: int, limit: int | None = None) -> tuple[list[ProjectChange], int]:
        """
        Return the changes after a serial that was returned before, and the newest serial.

        The serial 0 is the beginning. At most `limit` changes are returned, or all for None. First,
        each commit without a serial gets one, so that each commit that was made before this call is
        among the changes. Changes that get no serial, because nothing can be written, come last,
        with `NO_SERIAL`, and again at each call until they have one. So do changes of a project
        whose document is damaged or lost, with the revision 0.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial, since the store was
        restored from a backup, or the feed made again.
        """
        log, unnumbered = self._give_serials()
        later_changes = self._later_changes(log, serial, limit) + unnumbered
        return later_changes[:limit], log.newest

    def commits_since(self, serial: int, limit: int) -> tuple[list[CommitRange], int]:
        """
        Return the commits with a serial above one that was returned before, and the newest serial.

        First, each commit without a serial gets one, so that each commit that was made before this
        call is returned. Those above `limit` serials, and those that can get no serial, are left
        out.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial, since the store was
        restored from a backup, or the feed made again.
        """
        log, _ = self._give_serials()
        pieces = self._pieces(log, serial, limit)
        _require_serial(pieces, serial)
        ranges = list[CommitRange]()
        for piece in pieces:
            ranges += _ranges(piece, serial)
        return ranges[:limit], log.newest

    def end(self) -> FeedEnd:
        """Give a serial to each commit that has none, and return the end of the feed."""
        log, _ = self._give_serials()
        return FeedEnd(log.newest, log.write_id)

    def touch(self) -> None:
        """
        Write `changes.json` again as it is, so that its `end` is another one.

        Processes that compare ends then look at all webhooks, as after a change. Raises Unavailable
        if the document cannot be written, or (code `overloaded`) if too many writers change it.
        """
        for _ in self.retries.attempts():
            before = self.documents.get(keys.CHANGES, "current")
            if before.value is None:
                self._require_new()
            log = before.value or NO_CHANGES
            after = replace(log, revision=log.revision + 1, write_id=self.runtime.new_id())
            if self.documents.swap(keys.CHANGES, after, before.version):
                return
        raise self.retries.exhausted(keys.CHANGES)

    def given_since(self, log: ChangeLog, serial: int) -> tuple[list[ProjectChange], int]:
        """
        Return the changes of `log` after a serial, and its newest serial, without giving serials.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial.
        """
        return self._later_changes(log, serial), log.newest

    def made_since(self, moment: datetime) -> tuple[list[ProjectChange], int]:
        """
        Return all changes that were made since a moment, some older ones, and the newest serial.

        First, each commit without a serial gets one. Changes that get none come last, with
        `NO_SERIAL`. As clocks differ, `moment` must be earlier than the changes that are wanted.
        """
        log, unnumbered = self._give_serials()
        # a serial is not below the seconds at which it was given, which is after the commit
        serial = _seconds_of_serials(moment) - 1
        # it only says where to begin, and need not be the serial of an entry
        entries = _entries_after(self._pieces(log, serial), serial)
        return entries + unnumbered, log.newest

    def newest_first(self) -> Iterator[tuple[ProjectChange, float]]:
        """
        Yield the newest change of each project with the time that no commit of it is later than.

        The times are in seconds since the epoch, and the latest is the first. First, each commit
        without a serial gets one. Changes that get none come before all others, with the time
        `inf`. Older parts of the feed are only read as far as they are needed.
        """
        log, unnumbered = self._give_serials()
        for change in unnumbered:
            yield change, inf
        yielded = {change.project for change in unnumbered}
        yield from latest_first(self._bounded_changes(log, yielded))

    def _bounded_changes(
        self, log: ChangeLog, yielded: set[NormalizedName]
    ) -> Iterator[BoundedChange]:
        """
        Yield all changes, the highest serial first.

        Only the first change of a project counts, and none of a project that was `yielded` before.
        """
        for change, made in chain(_with_moments(log), self._sealed_newest_first(log)):
            # serials rise, and no commit of an entry is newer than its serial
            bound = _latest_time(change.serial)
            newest_change = None if change.project in yielded else change
            yielded.add(change.project)
            yield BoundedChange(bound, newest_change, _latest_time(made))

    def _sealed_newest_first(self, log: ChangeLog) -> Iterator[tuple[ProjectChange, int]]:
        """Yield the sealed entries, the newest first, as `_with_moments` does."""
        number = log.previous
        while number > log.start:
            key = keys.sealed_changes(number)
            sealed = self.sealed.get(key)
            if sealed is None:
                _, sealed = self._read_sealed(number)
                self.sealed.put(key, sealed, 1)
            yield from _with_moments(sealed)
            number = sealed.previous

    def newest(self) -> int:
        """
        Give a serial to each commit that has none, and return the newest serial.

        It is 0 before the first commit. If nothing can be written, newer commits have no serial.
        """
        return self._give_serials()[0].newest

    def remove_stale(self, now: float) -> int:
        """
        Delete the marks that are older than a day and have no commit, and return their number.

        First, each commit without a serial gets one. The mark of a project whose document is
        damaged stays. `now` is in seconds since the epoch, best by the store's clock.
        """
        # the marks that are left then have no commit, or their project is damaged
        self._give_serials()
        limit = now - MARK_AGE.total_seconds()
        removed = 0
        for entry in self.store.list(keys.PENDING):
            mark = keys.parse_pending_mark(entry.key)
            if mark is None or entry.modified >= limit:
                continue
            document = self._read_document(mark.project)
            # the writer of such an old mark gives up its commit (see `COMMIT_SECONDS`)
            if document is not None and document.revision < mark.number:
                self.store.delete(entry.key)
                removed += 1
        return removed

    def complete_journals(self) -> None:
        """
        Write the journal entries that an interrupted copy of several commits has left out.

        Damaged marks and documents are left out.
        """
        for marks in self._marks().values():
            for mark in marks:
                with UnreadableIgnored():
                    self._write_earlier_commits(mark)

    def unmarked(self, revisions: Mapping[NormalizedName, int]) -> dict[NormalizedName, int]:
        """
        Return those of `revisions` of projects that have neither serial nor mark.

        The revisions have to be read before this call. No serials are given.
        """
        # in this order: a mark that is missing here was deleted after its serial was written
        marks = self._marks()
        log = self.documents.get(keys.CHANGES, "current").value
        pieces = list[_Piece]()
        if log is not None:
            pieces = self._pieces(log, 0)
        newest_revisions = dict[NormalizedName, int]()
        for piece in pieces:
            newest_revisions |= {entry.project: entry.revision for entry in piece.entries}
        unmarked = dict[NormalizedName, int]()
        for name, revision in revisions.items():
            is_marked = name in marks and marks[name][0].number <= revision
            if newest_revisions.get(name, 0) < revision and not is_marked:
                unmarked[name] = revision
        # a commit without a mark has had a serial, so the store has had a log
        if unmarked and log is None:
            raise self._lost_error(keys.CHANGES)
        return unmarked

    def mark(self, revisions: Mapping[NormalizedName, int]) -> None:
        """Put a mark for each of these revisions of projects, so that it gets a serial."""
        for name, revision in revisions.items():
            mark_commit(self.store, self.runtime, name, revision)

    def rebuild(self, revisions: Mapping[NormalizedName, int]) -> None:
        """
        Begin the feed again, without any old serial, and mark these revisions for new serials.

        It works also if the feed is damaged or lost. Call `unmarked` with the same revisions
        afterwards, and `mark` for what it returns, as a process that has read the old feed may have
        deleted marks meanwhile. Raises Conflict if the feed was changed meanwhile. Then only marks
        were put.
        """
        stored = self.store.get(keys.CHANGES)
        # the marks first: a crash after them changes nothing, and a crash after the new log loses
        # nothing
        self.mark(revisions)
        highest_known = _seconds_of_serials(self.runtime.now())
        for entry in self.store.list(keys.SEALED_CHANGES):
            sealed_serial = keys.entry_number(keys.SEALED_CHANGES, entry.key) or 0
            highest_known = max(highest_known, sealed_serial)
        # lost entries had serials by the clock, or serials right after those of the sealed entries
        start = highest_known + MOST_ENTRIES + BATCH
        log = ChangeLog(1, self.runtime.new_id(), start, start, ())
        version = stored.version if isinstance(stored, Stored) else ABSENT
        self.store.put(keys.CHANGES, self.documents.codec.encode(log), version)

    def _give_serials(self) -> tuple[ChangeLog, list[ProjectChange]]:
        """
        Give a serial to each commit that was made before this call.

        Return the log, and the changes that got no serial.
        """
        # listed before the log is read, as a mark is deleted after its serial was written
        marks = self._marks()
        names = sorted(marks)
        log = NO_CHANGES
        unnumbered = list[ProjectChange]()
        # once even without any mark, to read the log
        for start in range(0, max(len(names), 1), BATCH):
            batch = {name: marks[name] for name in names[start : start + BATCH]}
            log, without_serial = self._give_serials_to(batch)
            for name, revision in without_serial:
                unnumbered.append(ProjectChange(NO_SERIAL, name, revision))
        return log, unnumbered

    def _give_serials_to(self, marks: Marks) -> tuple[ChangeLog, list[tuple[NormalizedName, int]]]:
        """
        Give serials to those marked projects that have changed, and delete their marks.

        Return the log, and the names and revisions of the projects that got no serial. The revision
        of a damaged project is 0.
        """
        log = NO_CHANGES
        unnumbered = list[tuple[NormalizedName, int]]()

        # after the last attempt, the changes are returned without serials, which the next caller
        # gives
        for _ in self.retries.attempts():
            before = self.documents.get(keys.CHANGES, "current")
            if before.value is None:
                self._require_new()
            log = before.value or NO_CHANGES
            # read after the log, so that no document is older than the log's entry of its project
            documents, damaged_projects = self._marked_documents(marks)
            changed = list[tuple[NormalizedName, int]]()
            for name, document in documents.items():
                if log.revisions.get(name) != document.revision:
                    changed.append((name, document.revision))
            unnumbered = changed + damaged_projects
            if self.is_read_only:
                break
            try:
                if changed:
                    moments = [documents[name].made for name, _ in changed]
                    after = self._with_entries(log, changed, moments, marks)
                    # if the answer is lost, the next attempt finds the entries, or adds them
                    if not self.documents.swap(keys.CHANGES, after, before.version):
                        continue
                    log = after
                    unnumbered = damaged_projects
                self._delete_marks(marks, documents)
            except Unavailable as fault:
                # nothing can be written now, so the changes are returned without serials
                if fault.code == DAMAGED:
                    raise
            break
        return log, unnumbered

    def _delete_marks(self, marks: Marks, documents: Mapping[NormalizedName, _Document]) -> None:
        """Delete the marks of the commits that these documents have."""
        # after a crash in between, the next caller deletes the others, and adds no entries
        numbered_marks = list[keys.PendingMark]()
        for name, document in documents.items():
            for mark in marks[name]:
                if mark.number <= document.revision:
                    numbered_marks.append(mark)
        for _ in prefetch_map(self._finish, numbered_marks, self.threads):
            pass

    def _marked_documents(
        self, marks: Marks
    ) -> tuple[dict[NormalizedName, _Document], list[tuple[NormalizedName, int]]]:
        """
        Return the documents that have a marked commit, and the damaged projects.

        A project whose document is damaged or lost comes with the revision 0.
        """
        documents = dict[NormalizedName, _Document]()
        damaged_projects = list[tuple[NormalizedName, int]]()
        read_documents = prefetch_map(self._read_document, marks, self.threads)
        for (name, project_marks), document in zip(marks.items(), read_documents, strict=True):
            # a project without a document (revision 0) can only have a mark of its first commit
            is_lost = (
                document is not None and document.revision == 0 and project_marks[-1].number > 1
            )
            if document is None or is_lost:
                damaged_projects.append((name, 0))
            # the commit of a mark above the revision is not made yet, or was never made
            if document is not None and document.revision >= project_marks[0].number:
                documents[name] = document
        return documents, damaged_projects

    def _finish(self, mark: keys.PendingMark) -> None:
        """Delete the mark of a commit, after writing the earlier commits into the journal."""
        # the mark of a damaged project stays, so that it gets its serial once it is repaired
        with UnreadableIgnored():
            self._write_earlier_commits(mark)
            self.store.delete(mark.key)

    def _write_earlier_commits(self, mark: keys.PendingMark) -> None:
        """Write the earlier commits that a mark has into the journal, if its commit was made."""
        for commit in self._copied_by(mark):
            if commit.number < mark.number:
                with suppress(Conflict):  # the journal has it
                    self.store.put(keys.commit(mark.project, commit.number), commit.body, ABSENT)

    def _copied_by(self, mark: keys.PendingMark) -> list[_CopiedCommit]:
        """Return the commits of another store that a mark has, or none if they were not added."""
        # the mark of any other commit is empty, and need not be read
        stored = self.store.get(mark.key) if mark.size else None
        if not isinstance(stored, Stored):
            return []
        key = self.store.whole_key(mark.key)
        bodies = [bytes(commit) + b"\n" for commit in _COPIED.decode(key, stored.body)]
        # another writer may have made a commit with this number, instead of the one of the mark
        made_commit = self._read_link(mark)
        if not bodies or made_commit is None:
            return []
        last = _LINKS.decode(mark.key, bodies[-1])
        if last.number == mark.number:  # the mark of a single commit has this commit itself
            if last.id != made_commit.id:
                return []
            return [_CopiedCommit(mark.number, bodies[-1])]
        if made_commit.previous != digest(bodies[-1]):
            return []
        first_number = mark.number - len(bodies)
        return [_CopiedCommit(number, body) for number, body in enumerate(bodies, first_number)]

    def _read_link(self, mark: keys.PendingMark) -> _Link | None:
        """Return the link of the commit with the number of a mark, or None if there is none."""
        key = keys.project(mark.project)
        stored = self.store.get(key)
        if isinstance(stored, Stored):
            document = _DOCUMENTS.decode(key, stored.body)
            if document.revision == mark.number:
                return document.commit
        # if there is a later commit, its writer has put this one into the journal before
        key = keys.commit(mark.project, mark.number)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return None
        return _LINKS.decode(key, stored.body)

    def _copied_numbers(self, marks: Iterable[keys.PendingMark]) -> set[int]:
        """Return the numbers of the commits of marks that came from another store."""
        numbers = set[int]()
        for mark in marks:
            # commits of a damaged mark count as commits of this store, and are not left out
            with UnreadableIgnored():
                copied = self._copied_by(mark)
                if copied:
                    numbers.add(mark.number)
                    numbers.update(commit.number for commit in copied)
        return numbers

    def _ranges_from(
        self,
        log: ChangeLog,
        name: NormalizedName,
        revision: int,
        marks: Iterable[keys.PendingMark],
        serial: int,
    ) -> Iterator[CommitRange]:
        """Yield the commits of a project that get serials now, from this serial on."""
        marks_of_commits = [mark for mark in marks if mark.number <= revision]
        copied_numbers = self._copied_numbers(marks_of_commits)
        if name in log.revisions:
            # not by the marks, as a listing may lack one and have a later one
            first = log.revisions[name] + 1
        else:
            first = min({marks_of_commits[0].number, revision} | copied_numbers)
        # a document that was restored has a lower revision than the log: it gets a serial, too
        numbers = range(min(first, revision), revision + 1)
        # all commits of a serial are copied, or none is
        for is_copied, group in groupby(numbers, copied_numbers.__contains__):
            commit_numbers = tuple(group)
            yield CommitRange(serial, name, commit_numbers[0], commit_numbers[-1], is_copied)
            serial += 1

    def _with_entries(
        self,
        log: ChangeLog,
        changed: Sequence[tuple[NormalizedName, int]],
        moments: Sequence[int | None],
        marks: Marks,
    ) -> ChangeLog:
        """
        Return the log with entries for these revisions of projects.

        `moments` are the serials that the clock had when the revisions were made. The marks say
        which commits came with a revision, and which of these from another store. If the log has
        too many entries, the oldest ones are written to a sealed object.
        """
        previous = log.previous
        entries = log.entries
        if len(entries) >= MOST_ENTRIES:
            sealed = entries[:SEALED_ENTRIES]
            entries = entries[SEALED_ENTRIES:]
            document = SealedChanges(
                previous,
                sealed,
                made=_facts_of(sealed, log.made),
                first=_facts_of(sealed, log.first),
                copied=_facts_of(sealed, log.copied),
            )
            previous = sealed[-1].serial
            # Before the log without these entries: after a crash, the next write puts the object
            # again. All processes write the same bytes, which follow from the log.
            self.store.put(keys.sealed_changes(previous), _SEALED.encode(document), None)
        new_entries = list[ProjectChange]()
        new_made = dict[int, int]()
        new_first = dict[int, int]()
        new_copied = dict[int, int]()

        # not below the clock, so that a feed that was made again repeats no serial
        serial = max(log.newest + 1, _seconds_of_serials(self.runtime.now()))
        for (name, revision), moment in zip(changed, moments, strict=True):
            for commits in self._ranges_from(log, name, revision, marks[name], serial):
                serial = commits.serial
                new_entries.append(ProjectChange(serial, name, commits.last))
                if moment is not None and serial - moment > CLOCK_TOLERANCE.total_seconds():
                    new_made[serial] = moment
                if commits.first < commits.last:
                    new_first[serial] = commits.first
                if commits.is_copied:
                    new_copied[serial] = commits.last
            serial += 1
        write_id = self.runtime.new_id()
        return replace(
            log,
            revision=log.revision + 1,
            write_id=write_id,
            previous=previous,
            entries=entries + tuple(new_entries),
            made=_facts_of(entries, log.made) | new_made,
            first=_facts_of(entries, log.first) | new_first,
            copied=_facts_of(entries, log.copied) | new_copied,
        )

    def _read_document(self, name: NormalizedName) -> _Document | None:
        """Return the revision and the last commit of a project, or None if it is damaged."""
        key = keys.project(name)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return _NO_DOCUMENT
        with UnreadableIgnored():
            return _DOCUMENTS.decode(key, stored.body)
        return None

    def _marks(self) -> Marks:
        """List the marks of all projects."""
        marks = dict[NormalizedName, list[keys.PendingMark]]()
        for entry in self.store.list(keys.PENDING):
            mark = keys.parse_pending_mark(entry.key, entry.size)
            if mark is not None:
                marks.setdefault(mark.project, []).append(mark)
        return marks

    def _require_new(self) -> None:
        """Raise Unavailable unless the store is new, so that it need not have a log."""
        # first the marks and then the log, as another process may give the first serials just now
        if not has_no_serials(self.store) and self.store.get(keys.CHANGES) is None:
            raise self._lost_error(keys.CHANGES)

    def _read_sealed(self, number: int) -> tuple[int, SealedChanges]:
        """Return the serial `number`, and the sealed changes whose last entry has it."""
        key = keys.sealed_changes(number)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            raise self._lost_error(key)
        return number, _SEALED.decode(self.store.whole_key(key), stored.body)

    def _later_changes(
        self, log: ChangeLog, serial: int, limit: int | None = None
    ) -> list[ProjectChange]:
        """Return the entries after a serial. Raises NotFound if no entry ever had the serial."""
        pieces = self._pieces(log, serial, limit)
        _require_serial(pieces, serial)
        return _entries_after(pieces, serial)

    def _pieces(self, log: ChangeLog, serial: int, limit: int | None = None) -> list[_Piece]:
        """
        Return the documents that have the entries after a serial, the oldest document first.

        They may have older entries, too. Once they have `limit` entries after the serial, no more
        objects are read.
        """
        end = max(serial, log.start)
        pieces = list[_Piece]()
        count = 0
        # with a limit, few objects are needed, so they are not read ahead
        threads = 1 if limit else self.threads
        numbers = self._sealed_numbers(end, log.previous)
        for number, sealed in prefetch_map(self._read_sealed, numbers, threads):
            # each object has the serial before its first entry: a gap means that one is lost
            if sealed.previous > end:
                raise self._lost_error(keys.sealed_changes(sealed.previous))
            pieces.append(sealed)
            end = number
            count += sum(entry.serial > serial for entry in sealed.entries)
            if limit and count >= limit:
                return pieces
        if end < log.previous:
            raise self._lost_error(keys.sealed_changes(log.previous))
        pieces.append(log)
        return pieces

    def _sealed_numbers(self, after: int, last: int) -> Iterator[int]:
        """Yield the serials in the keys of sealed changes that follow `after`, up to `last`."""
        # nearly no caller needs sealed entries, and a listing costs as much as a write
        if after >= last:
            return
        for entry in self.store.list(keys.SEALED_CHANGES, keys.sealed_changes(after)):
            number = keys.entry_number(keys.SEALED_CHANGES, entry.key)
            # a process that has not written its log yet may be sealing a higher one
            if number is not None and number <= last:
                yield number

    def _lost_error(self, key: Key) -> Unavailable:
        """Return the error for a lost object of the feed."""
        return lost(
            f"{self.store.whole_key(key)} is lost, which says in what order projects have changed."
        )


def has_no_serials(store: Store) -> bool:
    """
    Return whether each project of a store has a mark, so that no log was ever written there.

    Raises Unavailable if the store does not answer.
    """
    names = set[NormalizedName]()
    for entry in store.list(keys.PROJECTS):
        name = keys.project_of(entry.key)
        if name is not None:
            names.add(name)
    marked_names = set[NormalizedName]()
    for entry in store.list(keys.PENDING):
        mark = keys.parse_pending_mark(entry.key)
        if mark is not None:
            marked_names.add(mark.project)
    return names <= marked_names


def time_of(serial: int) -> datetime:
    """Return a time that no commit of a serial is later than, by the clock that has given it."""
    return SERIALS_BEGIN + timedelta(seconds=serial + 1)


def _with_moments(log: ChangeLog | SealedChanges) -> Iterator[tuple[ProjectChange, int]]:
    """Yield the entries, the newest first, each with the serial of the clock at its commit."""
    for change in reversed(log.entries):
        yield change, log.made.get(change.serial, change.serial)


def _latest_time(serial: int) -> float:
    """Return the time that no commit is later than which was made at this serial of the clock."""
    return (time_of(serial) + CLOCK_TOLERANCE).timestamp()


def _facts_of(entries: Sequence[ProjectChange], facts: Mapping[int, int]) -> dict[int, int]:
    """Return the facts about these entries, by their serials."""
    if not facts:  # as is usual
        return {}
    facts_of_entries = dict[int, int]()
    for entry in entries:
        if entry.serial in facts:
            facts_of_entries[entry.serial] = facts[entry.serial]
    return facts_of_entries


def _entries_after(pieces: Iterable[_Piece], serial: int) -> list[ProjectChange]:
    """Return the entries after a serial, the oldest first."""
    entries = list[ProjectChange]()
    for piece in pieces:
        entries += [entry for entry in piece.entries if entry.serial > serial]
    return entries


def _require_serial(pieces: Sequence[_Piece], serial: int) -> None:
    """Raise NotFound if a serial is neither 0 nor that of an entry."""
    given_serials = {0, pieces[0].previous}
    for piece in pieces:
        given_serials.update(entry.serial for entry in piece.entries)
    if serial not in given_serials:
        fact = f"No change has the serial {serial} here: begin again with 0."
        raise NotFound(fact, code="unknown_serial")


def _ranges(piece: _Piece, serial: int) -> Iterator[CommitRange]:
    """Yield the commits of each entry after a serial."""
    for entry in piece.entries:
        if entry.serial > serial:
            yield CommitRange(
                serial=entry.serial,
                project=entry.project,
                first=piece.first.get(entry.serial, entry.revision),
                last=entry.revision,
                is_copied=entry.serial in piece.copied,
            )


def _seconds_of_serials(moment: datetime) -> int:
    """Return the serial that the clock has at a moment."""
    return int((moment - SERIALS_BEGIN).total_seconds())
