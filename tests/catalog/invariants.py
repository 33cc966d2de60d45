"""Invariants of a store that hold after every single step, and after a crash of any writer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import decode, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution
from tests.fake_time import START
from tests.operations.in_memory_index import ALICE, remove_now
from wheelyard.catalog import keys
from wheelyard.catalog.changes import ChangeLog, ProjectChange, SealedChanges
from wheelyard.catalog.commits import C, D, JournalKind
from wheelyard.catalog.document_cache import Codec, digest
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.journaled_documents import ACCESS, DECISIONS, ProjectCodec, project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.model.grants import Granted, GrantFields, Revoked
from wheelyard.model.project import Commit, Event, EventKind, Project
from wheelyard.model.retention_rules import parse_rules
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.retention.judgements import Choice, RuleInForce
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.upstream.decisions import Deciding
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
ONE = Version("1.0")
PROD = "indexes/prod/"


@dataclass(frozen=True)
class WriteIntent:
    """
    The intent of one writer, about a distribution: to upload it, unless it is something else.

    It is deleted or restored, or leftovers are swept of what others do.
    """

    made: Distribution
    delete: bool = False
    sweep: bool = False
    restore: bool = False
    days: float = 0
    """How many days later it is by the clock of the store when this writer asks for it."""
    in_prod: bool = False
    """Whether it is about the index `prod`, and not about main."""
    whole: bool = False
    """Whether the release is deleted or restored, with all its files."""

    def documents(self, store: Store) -> Store:
        """Return the documents of the index that this is about."""
        return PrefixedStore(store, PROD) if self.in_prod else store


@dataclass(frozen=True)
class RecordIntent:
    """The intent of one writer to change the grants, or the decisions about packages."""

    what: Literal["grant", "revoke", "block"]
    by: str
    who: str = "user:bo@acme.dev"
    """Who has the grant."""

    def fulfil(self, index: Index) -> None:
        """Make the change; revoke nothing if there is no such grant."""
        if self.what == "block":
            Deciding(index.server.decisions, self.by).block(DEMO, None, "")
        elif self.what == "grant":
            index.server.access.grant(
                GrantFields(who=(self.who,), projects=(DEMO,), actions=("read",)), self.by
            )
        else:
            for grant in index.server.access.show().grants:
                if grant.who == (self.who,):
                    index.server.access.revoke(grant.id, self.by)

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if its writer was told that the change is made, or not yet."""
        rules = [event for commit in committed(store, ACCESS) for event in commit.events]
        decisions = [event for commit in committed(store, DECISIONS) for event in commit.events]
        own = [event for event in (*rules, *decisions) if event.by == self.by]
        if len(own) > 1:
            yield f"{self.by} has made its change {len(own)} times"
        if not is_done:
            return
        granted = [event for event in rules if isinstance(event, Granted)]
        ours = {event.id for event in granted if event.grant.who == (self.who,)}
        revoked = {event.id for event in rules if isinstance(event, Revoked)}
        if self.what == "block" and not own:
            yield f"it was said that {self.by} has blocked, and it is in no commit"
        if self.what == "grant" and not ours:
            yield f"it was said that {self.by} has granted, and it is in no commit"
        if self.what == "revoke" and not ours & revoked:
            yield f"it was said that {self.by} has revoked, and it is in no commit"


@dataclass(frozen=True)
class CopyIntent:
    """The intent of a copy to add commits of another store to the project."""

    commits: tuple[Commit, ...]

    def fulfil(self, index: Index) -> None:
        """Add the commits."""
        index.projects.commits.add(project_journal(DEMO), self.commits)

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if the copy was told that the commits are there, or not yet."""
        all_commits = committed(store, project_journal(DEMO))
        there = [commit for commit in self.commits if commit in all_commits]
        if is_done and len(there) < len(self.commits):
            yield "it was said that commits are added, and not all of them are there"


@dataclass(frozen=True)
class PromotionIntent:
    """The intent to promote the release of a distribution to the index `prod`."""

    made: Distribution

    def fulfil(self, index: Index) -> None:
        """Promote it."""
        source, target = (
            IndexSide(uploads=each.uploads, caller=ALICE) for each in (index, index.named("prod"))
        )
        Promotion(source, target, index.server.runtime).promote(DEMO, ONE)

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if it was said that the release is promoted, or not yet."""
        notes, arrivals = _promotions(store), _promotions(PrefixedStore(store, PROD))
        if len(notes) > len({*notes}) or len(arrivals) > len({*arrivals}):
            yield "a file was promoted twice"
        if not {*arrivals} <= {*notes}:
            yield "a file was promoted, and its source does not say so"
        yield from _overlooked(store)
        if is_done and self.made.filename not in _uploaded(PrefixedStore(store, PROD)):
            yield "it was said that a release is promoted, and it never was listed"


@dataclass(frozen=True)
class YankIntent:
    """The intent to yank a release."""

    def fulfil(self, index: Index) -> None:
        """Yank it."""
        index.lifecycle.change("yank", ALICE, DEMO, Selection(ONE), "broken")

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if it was said that the release is yanked, or not yet."""
        files = document(store).files
        if is_done and any(file.version == str(ONE) and file.yanked is None for file in files):
            yield "it was said that a release is yanked, and a file of it is not"
        for before, event in _events(store):
            yanked = {file.filename for file in before.files if file.yanked is not None}
            if event.what == EventKind.PROMOTED_TO and yanked & {*event.files}:
                yield "a release was promoted although it is yanked"


@dataclass(frozen=True)
class RemovalIntent:
    """The intent to remove a distribution with its bytes, perhaps from all indexes."""

    made: Distribution
    everywhere: bool = False
    is_public: bool = False
    """Whether it is an ordinary delete, where everybody can read the bucket."""
    has_uploads: bool = False
    """
    Whether others upload the same: a refused upload may leave bytes that nobody is given.

    An upload to another index may lose its bytes to the removal until both have succeeded.
    """

    def fulfil(self, index: Index) -> None:
        """Remove it."""
        if self.is_public:
            lifecycle = index.lifecycle
            removal = replace(lifecycle.removal, keeps_deleted=False)
            replace(lifecycle, removal=removal).change("delete", ALICE, DEMO, Selection(ONE), "")
        else:
            remove_now(index, self.made.sha256, everywhere=self.everywhere)

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if it was said that the distribution is removed, or not yet."""
        if not is_done:
            return
        project = document(store)
        if self.made.filename in project.by_filename:
            yield "it was said that a file is removed, and it is listed"
        if any(file.filename == self.made.filename for file in project.trash):
            yield "it was said that a file is removed, and it can be restored"
        if self.is_public:
            return
        if self.has_uploads:
            return
        if self.made.filename in document(PrefixedStore(store, PROD)).by_filename:
            yield "it was said that a file is removed at once, and another index lists it"
        if any(store.list(keys.files_of(DEMO))):
            yield "it was said that bytes are removed, and they are there"


@dataclass(frozen=True)
class RetentionIntent:
    """The intent to delete all releases but the last, perhaps where bytes are not kept."""

    is_public: bool = False

    def fulfil(self, index: Index) -> None:
        """Apply the rule to the project."""
        lifecycle = index.lifecycle
        if self.is_public:
            lifecycle = replace(lifecycle, removal=replace(lifecycle.removal, keeps_deleted=False))
        rules = [RuleInForce(rule) for rule in parse_rules([{"keep_last": 1}])]
        lifecycle.delete_chosen(ALICE, DEMO, Choice(rules, index.server.runtime.now()))

    def broken(self, store: Store, *, is_done: bool) -> Iterator[str]:
        """Yield what is wrong if it was said that the rule was applied, or not yet."""
        files = document(store).files
        if is_done and any(file.version == "1.0" and not file.promoted_to for file in files):
            yield "it was said that old releases are deleted, and one is listed"
        deleted = [
            (event.what, event.files)
            for commit in committed(store, project_journal(DEMO))
            for event in commit.events
            if event.what in {EventKind.PROMOTED_TO, EventKind.DELETED}
        ]
        if len(deleted) > 1:
            yield "a release was deleted although its promotion is noted"


def _events(store: Store) -> Iterator[tuple[Project, Event]]:
    """Yield each event of the project in an index, with the project before it."""
    kind = project_journal(DEMO)
    project = kind.empty
    for commit in committed(store, kind):
        for event in commit.events:
            yield project, event
            project = kind.apply(project, event)
        project = kind.with_commit(project, commit)


def _promotions(store: Store) -> list[str]:
    """Return the filenames in all events of promotions in the journal of an index."""
    filenames = list[str]()
    for _, event in _events(store):
        if event.what == EventKind.PROMOTED_TO:
            filenames += event.files
        elif event.what == EventKind.UPLOADED and event.file.promoted_at:
            filenames.append(event.file.filename)
    return filenames


def _uploaded(store: Store) -> set[str]:
    """Return the filenames that an index ever had."""
    uploads = (event for _, event in _events(store) if event.what == EventKind.UPLOADED)
    return {event.file.filename for event in uploads}


def _overlooked(store: Store) -> Iterator[str]:
    """Yield what is wrong if a release is promoted without a file that it has at that moment."""
    for before, event in _events(store):
        if event.what == EventKind.PROMOTED_TO:
            for file in before.files:
                is_noted = file.promoted_to or file.filename in event.files
                if file.version == str(ONE) and not is_noted:
                    yield f"a release was promoted without {file.filename}, which it has"


def _restored_damaged(store: Store) -> Iterator[str]:
    """Yield what is wrong if a file was restored whose bytes are damaged."""
    for before, event in _events(store):
        if event.what == EventKind.RESTORED:
            for file in before.trash:
                body = _body(store, keys.distribution(DEMO, file.sha256, file.filename))
                if (
                    file.filename in event.files
                    and body
                    and sha256(body).hexdigest() != file.sha256
                ):
                    yield f"{file.filename} was restored, and its bytes are damaged"


DoneByThemselves = (
    RecordIntent | CopyIntent | PromotionIntent | YankIntent | RemovalIntent | RetentionIntent
)
"""Intents that say how they are carried out, and what is wrong then."""
AnyIntent = WriteIntent | DoneByThemselves


class Seen(Struct, frozen=True):
    """What a follower has seen: all changes up to a serial."""

    newest: int
    entries: tuple[ProjectChange, ...]

    @property
    def text(self) -> str:
        """This as an answer."""
        return encode(self).decode()

    @classmethod
    def of(cls, answer: str) -> "Seen | None":
        """Return what a follower has seen, if the answer is a follower's."""
        return decode(answer, type=cls) if answer.startswith("{") else None


def violations(
    store: Store,
    intents: Mapping[str, AnyIntent],
    answers: Mapping[str, str],
    at: datetime = START,
) -> Iterator[str]:
    """Yield every promise that this state of the store breaks at a time."""
    project = document(store)
    yield from lost_bytes(store, document(store), at)
    with_uploads = any(
        isinstance(wish, RemovalIntent) and wish.has_uploads for wish in intents.values()
    )
    may_lose = with_uploads and any(answers.get(name) != "ok" for name in intents)
    if not may_lose:
        yield from lost_bytes(store, document(PrefixedStore(store, PROD)), at)
    for documents in (store, PrefixedStore(store, PROD)):
        yield from broken_journal(documents, project_journal(DEMO))
    yield from _restored_damaged(store)
    yield from broken_journal(store, ACCESS)
    yield from broken_journal(store, DECISIONS)
    yield from _broken_feed(store, project, answers)
    yield from _broken_answers(store, intents, answers)


def lost_bytes(store: Store, project: Project, at: datetime) -> Iterator[str]:
    """Yield each object that a project needs, and that is not there."""
    for file in (*project.files, *project.kept_files(at)):
        for key, _ in listed_objects(project.name, file):
            if store.get(key) is None:
                yield f"{file.filename} is listed or kept and {key} is not there"


def commit_key(name: NormalizedName, number: int) -> Key:
    """Return the key of a commit in the journal of a project."""
    return project_journal(name).entry_key(number)


def document(store: Store, name: NormalizedName = DEMO) -> Project:
    """Return the document of a project, or an empty project."""
    key = keys.project(name)
    stored_object = store.get(key)
    if not isinstance(stored_object, Stored):
        return Project(name=name)
    return ProjectCodec().decode(key, stored_object.body)


def _entries(store: Store, kind: JournalKind[D, C]) -> list[bytes | None]:
    """Return the stored commits of a document, if need be from itself and from marks."""
    current, _ = kind.read(store)
    entries = [_body(store, kind.entry_key(n)) for n in range(1, current.revision + 1)]
    last = kind.last_commit(current)
    if entries and entries[-1] is None and last is not None:
        entries[-1] = kind.commits.encode(last)
    for entry in store.list(keys.PENDING) if kind.project else ():
        mark, body = keys.parse_pending_mark(entry.key), _body(store, entry.key)
        earlier = [bytes(commit) + b"\n" for commit in decode(body, type=list[Raw])] if body else []
        is_ours = mark is not None and mark.project == kind.project
        if mark is not None and is_ours and entries[mark.number - 1 : mark.number] != [None]:
            for number, commit in enumerate(earlier, mark.number - len(earlier)):
                if 1 <= number <= len(entries) and entries[number - 1] is None:
                    entries[number - 1] = commit
    return entries


def committed(store: Store, kind: JournalKind[D, C]) -> list[C]:
    """Return all commits of a document."""
    return [kind.commits.decode(kind.key, body) for body in _entries(store, kind) if body]


def broken_journal(store: Store, kind: JournalKind[D, C]) -> Iterator[str]:
    """Dense, chained by the digest of stored bytes, and folding to the document's very bytes."""
    entries = _entries(store, kind)
    folded, previous = kind.empty, ""
    for number, body in enumerate(entries, 1):
        if body is None:
            yield f"journal entry {number} of {len(entries)} is missing"
            return
        commit = kind.commits.decode(kind.entry_key(number), body)
        if (commit.number, commit.previous) != (number, previous):
            yield f"the hash chain is broken at {number}"
        folded, previous = kind.fold(folded, commit), digest(body)
    body_now = _body(store, kind.key)
    if body_now is not None and kind.documents.encode(folded) != body_now:
        yield "the journal does not fold to the document"
    if len([*store.list(kind.entries)]) > len(entries):
        yield "the journal is ahead of the document"


def changes_in(store: Store) -> tuple[ProjectChange, ...]:
    """Return all changes that have a serial."""
    body = _body(store, keys.CHANGES)
    if body is None:
        return ()
    log = Codec(ChangeLog).decode(keys.CHANGES, body)
    entries, previous = log.entries, log.previous
    while previous:
        key = keys.sealed_changes(previous)
        sealed = Codec(SealedChanges).decode(key, _body(store, key) or b"")
        entries, previous = (*sealed.entries, *entries), sealed.previous
    return entries


def _broken_feed(store: Store, project: Project, answers: Mapping[str, str]) -> Iterator[str]:
    """Each commit has a serial, or a mark; what was seen stays what it was; serials rise."""
    entries = changes_in(store)
    marks = [keys.parse_pending_mark(entry.key) for entry in store.list(keys.PENDING)]
    numbers = [mark.number for mark in marks if mark is not None and mark.project == DEMO]
    newest = max((entry.revision for entry in entries), default=0)
    if newest < project.revision < min(numbers, default=project.revision + 1):
        yield f"commit {project.revision} has neither a serial nor a mark"
    serials = [entry.serial for entry in entries]
    if serials != sorted(set(serials)):
        yield "serials do not rise"
    for name, answer in answers.items():
        seen = Seen.of(answer)
        if seen and seen.entries != tuple(
            entry for entry in entries if entry.serial <= seen.newest
        ):
            yield f"{name} has seen other changes up to {seen.newest} than there are"


def _broken_answers(
    store: Store, intents: Mapping[str, AnyIntent], answers: Mapping[str, str]
) -> Iterator[str]:
    accepted: dict[str, set[str]] = {}
    for writer, answer in answers.items():
        if answer == "surprised":
            yield f"{writer} met an error that nobody foresaw"
        wish = intents.get(writer)
        if isinstance(wish, DoneByThemselves):
            yield from wish.broken(store, is_done=answer == "ok")
            continue
        if wish is None or answer != "ok" or wish.sweep:
            continue
        comes_back = any(
            isinstance(other, WriteIntent) and other.restore for other in intents.values()
        )
        documents = wish.documents(store)
        held = document(documents)
        yield from _broken_answer(documents, held, wish, comes_back=comes_back)
        if not (wish.delete or wish.restore):
            index_and_name = f"{wish.in_prod} {wish.made.filename}"
            accepted.setdefault(index_and_name, set()).add(wish.made.sha256)
    if any(len(contents) > 1 for contents in accepted.values()):
        yield "two contents of one filename were both accepted"


def _broken_answer(
    store: Store, project: Project, wish: WriteIntent, *, comes_back: bool
) -> Iterator[str]:
    filename = wish.made.filename
    listed = project.by_filename.get(filename)
    if wish.delete:
        if listed is not None and not comes_back:
            yield f"it was said that {filename} is deleted, and it is listed"
        return
    if filename not in project.deleted_filenames and (
        listed is None or listed.sha256 != wish.made.sha256
    ):
        yield f"an upload was answered and {filename} is not listed"
    if not is_named(store):
        yield "an upload was answered and the project is not in the list"


def is_named(store: Store) -> bool:
    """Return whether the name list has the project."""
    body = _body(store, keys.PROJECT_NAMES)
    return body is not None and DEMO in Codec(NameList).decode(keys.PROJECT_NAMES, body).as_set


def _body(store: Store, key: Key) -> bytes | None:
    stored_object = store.get(key)
    return stored_object.body if isinstance(stored_object, Stored) else None
