"""
The feed: which projects have changed, in one order over all projects.

A commit gets its serial in two steps.

1. Right before the commit its writer puts a mark, an object of its own (`mark_commit`). It is empty
   unless the commit comes from another store by `wheelyard copy`. If that adds several commits of a
   project at once, the mark has all but the last, else the one.
2. Whoever asks for changes lists the marks, and reads the revisions of the marked projects. It adds
   an entry with a serial for each that has changed, by one compare-and-swap of `changes.json`. Then
   it deletes the marks of the commits that have a serial.

So no commit waits for an object that commits of other projects write. A commit without a serial has
a mark, also if its writer has died, or whoever gave serials.

`changes.json` has the newest entries. The older ones are sealed: they are in objects that never
change. Each of these has the serial before its first entry, so that a lost one is noticed.

A serial tells when it was given, and so when its commit was made at the latest. After a copy, or
when the feed was made again, that is far too late: the feed then says when the commit was made.
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
"""How old its mark may be when a commit is made: half of that age, as clocks differ."""
BATCH: Final = 500
"""The most entries that are added by one write of `changes.json`."""
MOST_ENTRIES: Final = 1_000
"""As soon as `changes.json` has so many entries, the next write seals the first of them."""
SEALED_ENTRIES: Final = 500
"""The entries that are sealed at a time."""
SERIALS_BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""When the serial 0 was. Counted in seconds, serials fit into the 32 bits of XML-RPC until 2088."""
NO_SERIAL: Final = 0
"""The serial of a change that has none yet."""
CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""How much earlier than the commit before it an event may be: clocks differ, and uploads wait."""
SEALED_IN_MEMORY: Final = 64
"""The objects of `SEALED_ENTRIES` entries that a process keeps."""

Moments = Mapping[int, int]
"""The serial that the clock had when a commit was made, of some entries by their serials."""
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
    Mark that a project may get the commit `number`, which has to be made right after.

    Return the key of the mark.

    `copied` are stored commits of another store: those that are added with it and that the journal
    does not have yet, or without any, the commit itself. If the writer dies, whoever gives the
    serial writes the former into the journal, and knows which commits were copied.

    Raises Unavailable if the store does not answer. Raises Unavailable if putting the mark took so
    long that it may be deleted before the commit.
    """
    began = runtime.monotonic()
    body = b""
    if copied:
        body = _COPIED.encode([Raw(commit.rstrip()) for commit in copied])
    # a key of its own: nobody else writes it, or deletes it as an old one while it is needed
    key = keys.pending_mark(name, number, runtime.new_id())
    store.put(key, body, None)
    if runtime.monotonic() - began > COMMIT_SECONDS:
        fact = "This process stood still for too long during a commit."
        raise Unavailable(f"{fact} Try again.", retry_after=RETRY_AFTER_SECONDS)
    return key


class ProjectChange(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry: at this serial, a project had this revision, and perhaps a newer one since."""

    serial: int
    project: NormalizedName
    revision: int


class CommitRange(Struct, frozen=True):
    """Commits of a project that got one serial."""

    serial: int
    project: NormalizedName
    first: int
    """The number of the first one. Some of the first ones may have an earlier serial, too."""
    last: int
    is_copied: bool
    """Whether all of them came from another store. Else none did."""


class FeedEnd(Struct, frozen=True):
    """How far a feed is. Two that are equal are of one write."""

    newest: int
    """The highest serial that was given."""
    write_id: str


class BoundedChange(NamedTuple):
    """A change, and the times of the commits that it may be about, in seconds since the epoch."""

    bound: float
    """The time that no commit of this change, or of those after it, is later than."""
    change: ProjectChange | None
    """None for one that counts no more, as only its bound is needed."""
    latest: float
    """The time that no commit of this change alone is later than."""


def latest_first(changes: Iterable[BoundedChange]) -> Iterator[tuple[ProjectChange, float]]:
    """
    Yield changes with the time that no commit of them is later than, the latest time first.

    They come in the order of their bounds, the latest first, and are read as they are needed.
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
    """Entries that never change."""

    previous: int
    """The serial of the entry before these."""
    entries: tuple[ProjectChange, ...]
    made: dict[int, int] = {}
    """The `Moments` of the entries that got their serial more than `CLOCK_TOLERANCE` later."""
    first: dict[int, int] = {}
    """The first commit of the entries that are about several, by their serials."""
    copied: dict[int, int] = {}
    """The last commit of the entries whose commits came from another store, by their serials."""


class ChangeLog(Extensible, frozen=True, dict=True, forbid_unknown_fields=True, omit_defaults=True):
    """The stored document `changes.json`."""

    revision: int
    write_id: str
    """A random id of this write."""
    start: int
    """The serial after which the feed begins. Not 0 if it was made again."""
    previous: int
    """The serial of the last sealed entry. `start` if there is none."""
    entries: tuple[ProjectChange, ...]
    # the facts about entries move with these when they are sealed
    made: dict[int, int] = field(default_factory=dict)
    """The `Moments` of the entries that got their serial more than `CLOCK_TOLERANCE` later."""
    first: dict[int, int] = field(default_factory=dict)
    """The first commit of the entries that are about several, by their serials."""
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
        """The revision in the newest entry of each project that has one here."""
        return {entry.project: entry.revision for entry in self.entries}


NO_CHANGES: Final = ChangeLog(revision=0, write_id="", start=0, previous=0, entries=())

_Piece = SealedChanges | ChangeLog
"""One of the documents that the feed consists of: all but the newest are sealed."""


class _Moment(Struct, frozen=True):
    """What is read of an event."""

    at: datetime | None = None


class _Link(Struct, frozen=True):
    """What is read of a commit: which it is, the digest of the one before, and when it was made."""

    number: int = 0
    id: str = ""
    previous: str = ""
    events: tuple[_Moment, ...] = ()


class _Document(Struct, frozen=True):
    """What is read of a project's document: also of one that only a newer version can show."""

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

    Threads and processes may share it. Serials rise, with gaps. A client that has seen a serial
    never finds a new change at it or below. Serials follow the clock if that is ahead of them, so
    that a feed that was made again, or is another store's copy, does not repeat serials which
    somebody has seen. A project's serial is that of its newest entry. After a crash a project may
    have two entries with one revision.

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
    """Whether this process gives no serials, as a server that is not meant to write."""
    sealed: LruCache[Key, SealedChanges] = field(default_factory=lambda: LruCache(SEALED_IN_MEMORY))
    """Sealed objects that were read for the newest changes."""

    def since(self, serial: int, limit: int | None = None) -> tuple[list[ProjectChange], int]:
        """
        Return the changes after a serial that was returned before, and the newest serial.

        0 is the beginning. First gives a serial to each commit that has none. So each that was made
        before this call is among the changes, unless there are more than `limit`, which is None for
        all. Changes that got no serial, because nothing could be written, come last, with
        `NO_SERIAL`, and again each time until they have one. So do those of a project whose
        document is damaged or lost, with the revision 0.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial, since the store was
        restored from a backup, or the feed made again.
        """
        log, unnumbered = self._sequenced()
        later = self._later(log, serial, limit) + unnumbered
        return later[:limit], log.newest

    def commits_since(self, serial: int, limit: int) -> tuple[list[CommitRange], int]:
        """
        Return the commits that got a serial after one that was returned before, and the newest.

        First gives a serial to each commit that has none. So each that was made before this call is
        among them, unless there are more than `limit` serials, or it could get none.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial, since the store was
        restored from a backup, or the feed made again.
        """
        log, _ = self._sequenced()
        pieces = self._pieces(log, serial, limit)
        _require_serial(pieces, serial)
        ranges = list[CommitRange]()
        for piece in pieces:
            ranges += _ranges(piece, serial)
        return ranges[:limit], log.newest

    def end(self) -> FeedEnd:
        """Return the end of the feed, after giving a serial to each commit that has none."""
        log, _ = self._sequenced()
        return FeedEnd(log.newest, log.write_id)

    def touch(self) -> None:
        """
        Write the feed again as it is, so that whoever compares its `end` looks at everything.

        Raises Unavailable if it cannot be written, as by a process that may not, or (code
        `overloaded`) if too many writers change it.
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
        Return the changes of this log after a serial, and its newest serial, and give no serials.

        Raises NotFound (code `unknown_serial`) if the feed has no such serial.
        """
        return self._later(log, serial), log.newest

    def made_since(self, moment: datetime) -> tuple[list[ProjectChange], int]:
        """
        Return all changes that were made since a moment, some older ones, and the newest serial.

        First gives a serial to each commit that has none. Changes that got none come last, with
        `NO_SERIAL`. Clocks differ, so `moment` must be earlier than what is wanted.
        """
        log, unnumbered = self._sequenced()
        # a serial is not below the seconds at which it was given, which is after the commit
        serial = _seconds_of_serials(moment) - 1
        # a serial that nobody was given will do: it only says where to begin
        entries = _entries_after(self._pieces(log, serial), serial)
        return entries + unnumbered, log.newest

    def newest_first(self) -> Iterator[tuple[ProjectChange, float]]:
        """
        Yield the newest change of each project with the time that no commit of it is later than.

        First gives a serial to each commit that has none. Those that got none come first, with the
        time `inf`, and then the one with the latest time, in seconds since the epoch. Older parts
        of the feed are read as they are needed: all parts whose serials are later.
        """
        log, unnumbered = self._sequenced()
        for change in unnumbered:
            yield change, inf
        yielded = {change.project for change in unnumbered}
        yield from latest_first(self._bounded(log, yielded))

    def _bounded(self, log: ChangeLog, yielded: set[NormalizedName]) -> Iterator[BoundedChange]:
        """Yield all changes, the highest serial first, of which the first of a project counts."""
        for change, made in chain(_dated(log), self._sealed_newest_first(log)):
            # serials rise, and an entry is never of a commit that is newer than its serial
            bound = _latest(change.serial)
            newest = None if change.project in yielded else change
            yielded.add(change.project)
            yield BoundedChange(bound, newest, _latest(made))

    def _sealed_newest_first(self, log: ChangeLog) -> Iterator[tuple[ProjectChange, int]]:
        number = log.previous
        while number > log.start:
            key = keys.sealed_changes(number)
            sealed = self.sealed.get(key)
            if sealed is None:
                _, sealed = self._sealed(number)
                self.sealed.put(key, sealed, 1)
            yield from _dated(sealed)
            number = sealed.previous

    def newest(self) -> int:
        """
        Return the newest serial, after giving one to each commit that has none.

        It is 0 before the first commit. If nothing can be written, newer commits have no serial.
        """
        return self._sequenced()[0].newest

    def remove_stale(self, now: float) -> int:
        """
        Delete the marks that are older than a day and have no commit, and return their number.

        First gives a serial to each commit that has none. The mark of a project whose document is
        damaged stays. `now` is in seconds since the epoch, best by the store's clock.
        """
        # all commits get serials first: what is still marked then has none, or is damaged
        self._sequenced()
        limit = now - MARK_AGE.total_seconds()
        removed = 0
        for entry in self.store.list(keys.PENDING):
            mark = keys.parse_pending_mark(entry.key)
            if mark is None or entry.modified >= limit:
                continue
            document = self._document(mark.project)
            # the writer of such an old mark gives up its commit (see `COMMIT_SECONDS`)
            if document is not None and document.revision < mark.number:
                self.store.delete(entry.key)
                removed += 1
        return removed

    def complete_journals(self) -> None:
        """
        Write the journal entries that a writer of several commits left out because it died.

        What is damaged is left out.
        """
        for marks in self._marks().values():
            for mark in marks:
                with UnreadableIgnored():
                    self._write_earlier(mark)

    def unmarked(self, revisions: Mapping[NormalizedName, int]) -> dict[NormalizedName, int]:
        """
        Return those of `revisions`, read before this call, that have neither serial nor mark.

        It gives no serials.
        """
        # in this order: a mark that is missing here was deleted after its serial was written
        marks = self._marks()
        log = self.documents.get(keys.CHANGES, "current").value
        pieces = list[_Piece]()
        if log is not None:
            pieces = self._pieces(log, 0)
        newest = dict[NormalizedName, int]()
        for piece in pieces:
            newest |= {entry.project: entry.revision for entry in piece.entries}
        missing = dict[NormalizedName, int]()
        for name, revision in revisions.items():
            is_marked = name in marks and marks[name][0].number <= revision
            if newest.get(name, 0) < revision and not is_marked:
                missing[name] = revision
        # without a log, a project that has a commit and no mark shows that there was one
        if missing and log is None:
            raise self._lost(keys.CHANGES)
        return missing

    def mark(self, revisions: Mapping[NormalizedName, int]) -> None:
        """Put marks, so that these revisions of projects get a serial."""
        for name, revision in revisions.items():
            mark_commit(self.store, self.runtime, name, revision)

    def rebuild(self, revisions: Mapping[NormalizedName, int]) -> None:
        """
        Begin the feed again, without any old serial, and have these projects get new ones.

        Call `unmarked` afterwards: marks may have been deleted by a process that knew the feed as
        it was. Raises Conflict if the feed was changed meanwhile. Then only marks were put.
        """
        stored = self.store.get(keys.CHANGES)
        # marks first: a crash after them changes nothing, and one after the new log loses nothing
        self.mark(revisions)
        last = _seconds_of_serials(self.runtime.now())
        for entry in self.store.list(keys.SEALED_CHANGES):
            last = max(last, keys.entry_number(keys.SEALED_CHANGES, entry.key) or 0)
        # entries that are lost had serials by the clock, or after those of the sealed ones
        start = last + MOST_ENTRIES + BATCH
        log = ChangeLog(1, self.runtime.new_id(), start, start, ())
        version = stored.version if isinstance(stored, Stored) else ABSENT
        self.store.put(keys.CHANGES, self.documents.codec.encode(log), version)

    def _sequenced(self) -> tuple[ChangeLog, list[ProjectChange]]:
        """
        Give a serial to each commit made before.

        Returns the log, and the changes that got none.
        """
        # listed before the log is read: whoever deleted a mark had written its serial before
        marks = self._marks()
        names = sorted(marks)
        log = NO_CHANGES
        unnumbered = list[ProjectChange]()
        # once without any mark, too: that reads the log
        for start in range(0, max(len(names), 1), BATCH):
            batch = {name: marks[name] for name in names[start : start + BATCH]}
            log, changed = self._sequence(batch)
            unnumbered += [ProjectChange(NO_SERIAL, name, revision) for name, revision in changed]
        return log, unnumbered

    def _sequence(self, marks: Marks) -> tuple[ChangeLog, list[tuple[NormalizedName, int]]]:
        """
        Give serials to those marked projects that have changed, and delete their marks.

        Returns the log, and the revisions of the projects that got no serial. The revision of a
        damaged project is 0.
        """
        log = NO_CHANGES
        unnumbered = list[tuple[NormalizedName, int]]()

        # out of attempts, the changes are told without serials, and get them from the next caller
        for _ in self.retries.attempts():
            before = self.documents.get(keys.CHANGES, "current")
            if before.value is None:
                self._require_new()
            log = before.value or NO_CHANGES
            # read after the log, so that none is older than what the log says of its project
            made, damaged_names = self._marked_documents(marks)
            changed = list[tuple[NormalizedName, int]]()
            for name, document in made.items():
                if log.revisions.get(name) != document.revision:
                    changed.append((name, document.revision))
            unnumbered = changed + damaged_names
            if self.is_read_only:
                break
            try:
                if changed:
                    moments = [made[name].made for name, _ in changed]
                    after = self._extended(log, changed, moments, marks)
                    # if the answer is lost, the next attempt finds the entries, or adds them
                    if not self.documents.swap(keys.CHANGES, after, before.version):
                        continue
                    log = after
                    unnumbered = damaged_names
                # a crash before all marks are deleted costs a look at them: the entries are there
                done = list[keys.PendingMark]()
                for name, document in made.items():
                    done += [mark for mark in marks[name] if mark.number <= document.revision]
                for _ in prefetch_map(self._finish, done, self.threads):
                    pass
            except Unavailable as fault:
                # nothing can be written now, so the changes are told without serials
                if fault.code == DAMAGED:
                    raise
            break
        return log, unnumbered

    def _marked_documents(
        self, marks: Marks
    ) -> tuple[dict[NormalizedName, _Document], list[tuple[NormalizedName, int]]]:
        """
        Return the documents of the projects that have a marked commit, and the damaged projects.

        A damaged or lost one comes with the revision 0.
        """
        made = dict[NormalizedName, _Document]()
        damaged_names = list[tuple[NormalizedName, int]]()
        documents = prefetch_map(self._document, marks, self.threads)
        for (name, marks_of_project), document in zip(marks.items(), documents, strict=True):
            # no document (0) is right only for a project whose first commit is marked
            if document is None or (document.revision == 0 and marks_of_project[-1].number > 1):
                damaged_names.append((name, 0))
            # a mark above the revision is of a commit that is under way, or was never made
            if document is not None and document.revision >= marks_of_project[0].number:
                made[name] = document
        return made, damaged_names

    def _finish(self, mark: keys.PendingMark) -> None:
        """Delete the mark of a commit that was made, once the journal has all commits before it."""
        # a damaged project keeps its mark, so that it gets its serial once it is repaired
        with UnreadableIgnored():
            self._write_earlier(mark)
            self.store.delete(mark.key)

    def _write_earlier(self, mark: keys.PendingMark) -> None:
        """Write the commits that came with the one of a mark, if that was made."""
        for commit in self._copied_by(mark):
            if commit.number < mark.number:
                with suppress(Conflict):  # it is there
                    self.store.put(keys.commit(mark.project, commit.number), commit.body, ABSENT)

    def _copied_by(self, mark: keys.PendingMark) -> list[_CopiedCommit]:
        """Return the commits of another store that a mark has, or none if these were not made."""
        # the mark of a commit that was made here is empty, and need not be read
        stored = self.store.get(mark.key) if mark.size else None
        if not isinstance(stored, Stored):
            return []
        key = self.store.whole_key(mark.key)
        bodies = [bytes(commit) + b"\n" for commit in _COPIED.decode(key, stored.body)]
        # of two writers of commits with one number, the mark may be the loser's
        made = self._link(mark)
        if not bodies or made is None:
            return []
        last = _LINKS.decode(mark.key, bodies[-1])
        if last.number == mark.number:  # a mark of one commit has that itself
            if last.id != made.id:
                return []
            return [_CopiedCommit(mark.number, bodies[-1])]
        if made.previous != digest(bodies[-1]):
            return []
        first = mark.number - len(bodies)
        return [_CopiedCommit(number, body) for number, body in enumerate(bodies, first)]

    def _link(self, mark: keys.PendingMark) -> _Link | None:
        """Return what is read of the commit with the number of a mark, or None without any."""
        key = keys.project(mark.project)
        stored = self.store.get(key)
        if isinstance(stored, Stored):
            document = _DOCUMENTS.decode(key, stored.body)
            if document.revision == mark.number:
                return document.commit
        # whoever has committed after it has put it into the journal before
        key = keys.commit(mark.project, mark.number)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return None
        return _LINKS.decode(key, stored.body)

    def _copied_numbers(self, marks: Iterable[keys.PendingMark]) -> set[int]:
        """Return the numbers of the commits of marks that came from another store."""
        numbers = set[int]()
        for mark in marks:
            # one that is damaged is told as a commit of this store, and not left out
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
        made = [mark for mark in marks if mark.number <= revision]
        copies = self._copied_numbers(made)
        # a listing may lack a mark and have a later one, so the log says it if it can
        first = log.revisions.get(name, 0) + 1
        if name not in log.revisions:
            first = min({made[0].number, revision} | copies)
        # a revision below that of the log is of a document that was restored: it gets a serial
        numbers = range(min(first, revision), revision + 1)
        # each serial is of copied commits alone, or of others alone
        for is_copied, group in groupby(numbers, copies.__contains__):
            commits = tuple(group)
            yield CommitRange(serial, name, commits[0], commits[-1], is_copied)
            serial += 1

    def _extended(
        self,
        log: ChangeLog,
        changed: Sequence[tuple[NormalizedName, int]],
        moments: Sequence[int | None],
        marks: Marks,
    ) -> ChangeLog:
        """
        Return the log with entries for these revisions of projects, and when these were made.

        The marks say which commits came with a revision, and which of these from another store.

        Writes the oldest entries to an object of their own if the log has too many.
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
            # before the log without them: a crash leaves an object that the next write puts again
            # the bytes follow from the log: whoever writes the same key writes the same
            self.store.put(keys.sealed_changes(previous), _SEALED.encode(document), None)
        new = list[ProjectChange]()
        late = dict[int, int]()
        several = dict[int, int]()
        copied = dict[int, int]()

        # not below the clock, so that a feed that was made again repeats no serial
        serial = max(log.newest + 1, _seconds_of_serials(self.runtime.now()))
        for (name, revision), made in zip(changed, moments, strict=True):
            for commits in self._ranges_from(log, name, revision, marks[name], serial):
                serial = commits.serial
                new.append(ProjectChange(serial, name, commits.last))
                if made is not None and serial - made > CLOCK_TOLERANCE.total_seconds():
                    late[serial] = made
                if commits.first < commits.last:
                    several[serial] = commits.first
                if commits.is_copied:
                    copied[serial] = commits.last
            serial += 1
        write_id = self.runtime.new_id()
        return replace(
            log,
            revision=log.revision + 1,
            write_id=write_id,
            previous=previous,
            entries=entries + tuple(new),
            made=_facts_of(entries, log.made) | late,
            first=_facts_of(entries, log.first) | several,
            copied=_facts_of(entries, log.copied) | copied,
        )

    def _document(self, name: NormalizedName) -> _Document | None:
        """Return what is read of a project's document, or None if that is damaged."""
        key = keys.project(name)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return _NO_DOCUMENT
        with UnreadableIgnored():
            return _DOCUMENTS.decode(key, stored.body)
        return None

    def _marks(self) -> Marks:
        marks = dict[NormalizedName, list[keys.PendingMark]]()
        for entry in self.store.list(keys.PENDING):
            mark = keys.parse_pending_mark(entry.key, entry.size)
            if mark is not None:
                marks.setdefault(mark.project, []).append(mark)
        return marks

    def _require_new(self) -> None:
        """Raise Unavailable if a project has no mark: then the log of this store is lost."""
        # marks and log again, in this order: another process may give the first serials just now
        if not has_no_serials(self.store) and self.store.get(keys.CHANGES) is None:
            raise self._lost(keys.CHANGES)

    def _sealed(self, number: int) -> tuple[int, SealedChanges]:
        """Return the sealed changes of which the last has this serial, and the serial."""
        key = keys.sealed_changes(number)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            raise self._lost(key)
        return number, _SEALED.decode(self.store.whole_key(key), stored.body)

    def _later(self, log: ChangeLog, serial: int, limit: int | None = None) -> list[ProjectChange]:
        """Return the entries after a serial. Raises NotFound if no entry ever had it."""
        pieces = self._pieces(log, serial, limit)
        _require_serial(pieces, serial)
        return _entries_after(pieces, serial)

    def _pieces(self, log: ChangeLog, serial: int, limit: int | None = None) -> list[_Piece]:
        """
        Return what has the entries after a serial, and perhaps older ones, the oldest first.

        Once `limit` are there, no more objects are read.
        """
        end = max(serial, log.start)
        pieces = list[_Piece]()
        count = 0
        # those who want few entries need few objects, and nobody else reads so many at a time
        threads = 1 if limit else self.threads
        numbers = self._sealed_numbers(end, log.previous)
        for number, sealed in prefetch_map(self._sealed, numbers, threads):
            # the objects form a chain: a gap means that the one in between is lost
            if sealed.previous > end:
                raise self._lost(keys.sealed_changes(sealed.previous))
            pieces.append(sealed)
            end = number
            count += sum(entry.serial > serial for entry in sealed.entries)
            if limit and count >= limit:
                return pieces
        if end < log.previous:
            raise self._lost(keys.sealed_changes(log.previous))
        pieces.append(log)
        return pieces

    def _sealed_numbers(self, after: int, last: int) -> Iterator[int]:
        """Yield the serials in the keys of sealed changes that follow `after`, up to `last`."""
        # nearly all who ask know the sealed ones already: a listing costs as much as a write
        if after >= last:
            return
        for entry in self.store.list(keys.SEALED_CHANGES, keys.sealed_changes(after)):
            number = keys.entry_number(keys.SEALED_CHANGES, entry.key)
            # a higher one is just being sealed, by a process that has not written its log yet
            if number is not None and number <= last:
                yield number

    def _lost(self, key: Key) -> Unavailable:
        return lost(
            f"{self.store.whole_key(key)} is lost, which says in what order projects have changed."
        )


def has_no_serials(store: Store) -> bool:
    """
    Return whether each project of a store has a mark, so that no log was ever written there.

    Raises Unavailable if the store does not answer.
    """
    names = {keys.project_of(entry.key) for entry in store.list(keys.PROJECTS)} - {None}
    marks = (keys.parse_pending_mark(entry.key) for entry in store.list(keys.PENDING))
    return names <= {mark.project for mark in marks if mark is not None}


def time_of(serial: int) -> datetime:
    """Return a moment after the commits that had this serial, by the clock that has given it."""
    return SERIALS_BEGIN + timedelta(seconds=serial + 1)


def _dated(log: ChangeLog | SealedChanges) -> Iterator[tuple[ProjectChange, int]]:
    """Yield the newest entry first, each with the serial that the clock had when it was made."""
    for change in reversed(log.entries):
        yield change, log.made.get(change.serial, change.serial)


def _latest(serial: int) -> float:
    """Return the time that no commit is later than which was made when the clock had a serial."""
    return (time_of(serial) + CLOCK_TOLERANCE).timestamp()


def _facts_of(entries: Sequence[ProjectChange], facts: Mapping[int, int]) -> dict[int, int]:
    """Return those of the facts that are about these entries."""
    if not facts:
        return {}
    serials = (change.serial for change in entries)
    return {serial: facts[serial] for serial in serials if serial in facts}


def _entries_after(pieces: Iterable[_Piece], serial: int) -> list[ProjectChange]:
    """Return the entries after a serial, the oldest first."""
    entries = list[ProjectChange]()
    for piece in pieces:
        entries += [entry for entry in piece.entries if entry.serial > serial]
    return entries


def _require_serial(pieces: Sequence[_Piece], serial: int) -> None:
    """Raise NotFound if no entry ever had a serial."""
    given = {0, pieces[0].previous}
    for piece in pieces:
        given.update(entry.serial for entry in piece.entries)
    if serial not in given:
        fact = f"No change has the serial {serial} here: begin again with 0."
        raise NotFound(fact, code="unknown_serial")


def _ranges(piece: _Piece, serial: int) -> Iterator[CommitRange]:
    """Yield the commits of the entries after a serial."""
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
