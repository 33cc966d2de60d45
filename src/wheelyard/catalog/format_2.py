"""
A store of format 2, shown as one of format 3, so that `wheelyard copy` can read it.

Commits keep their numbers and ids. Their bytes are others, so the digests of the commits before
them are computed anew, and a document is the fold of its converted journal. What format 2 lacks is
looked up: the digests of approvals that versions before it wrote, on the page that is stored.

Its pages of upstream indexes are compressed with Zstandard, which wheelyard needs for nothing else.
Without a module that reads it, only the owner of a name arrives, as the key says it.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Final, Literal, Protocol, TypeVar, cast

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, encode
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Journal
from wheelyard.catalog.document_cache import damaged, digest, gzipped
from wheelyard.catalog.journaled_documents import DECISIONS, project_journal
from wheelyard.catalog.private_names import upstream_ids
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import METADATA_SUFFIX, Commit, Event, EventKind, File, Project, Status
from wheelyard.model.project_changes import apply, with_commit
from wheelyard.model.public_packages import Decision, DecisionCommit, Verdict
from wheelyard.storage.base import Entry, Found, Key, ObjectVersion, Store, Stored
from wheelyard.storage.forwarding import ForwardingStore, ReadOnlyStore

NUMBER: Final = 2
CACHED_BYTES: Final = 256 * 1024**2
"""Bytes of converted projects that are kept, so that each journal is read once."""
NEVER_FETCHED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a page was fetched of which only the owner is known: any other one is later."""
CHECK: Final = "Run 'wheelyard check' there, of the version that wrote it."
_WORDS: Final = {"name reserved": EventKind.RESERVED, "name released": EventKind.RELEASED}
"""How the reason of a status began with which a name was reserved, or given up."""
_ENTRY: Final = re.compile(rf"{keys.JOURNAL}([a-z0-9-]+)/([0-9]{{10}})\.json")
_PAGE: Final = re.compile(
    rf"({keys.UPSTREAM}([^/]+)/{keys.UPSTREAM_PAGES}([a-z0-9-]+)\.json)\.(?:gz|zst)"
)

T = TypeVar("T")
C = TypeVar("C", bound="_Commit | DecisionCommit")


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of format 2, without unknown fields: no version wrote others, so none is lost."""


class _File(_Strict, frozen=True, kw_only=True):
    filename: str
    version: str
    sha256: str
    size: int
    uploaded_at: datetime
    uploaded_by: str
    core_metadata: str
    requires_python: str | None = None
    yanked: str | None = None
    imported_at: datetime | None = None
    waived_rules: tuple[str, ...] = ()
    uploaded_by_name: str = ""

    @property
    def converted(self) -> File:
        """The file with its core metadata as a sidecar."""
        fields = asdict(self)
        core_metadata = fields.pop("core_metadata")
        return File(sidecars={METADATA_SUFFIX: core_metadata} if core_metadata else {}, **fields)


class _Event(_Strict, frozen=True, kw_only=True):
    what: Literal["uploaded", "yanked", "unyanked", "deleted", "status"]
    at: datetime
    by: str
    by_name: str = ""
    file: _File | None = None
    summary: str = ""
    filenames: tuple[str, ...] = ()
    status: Status = Status.ACTIVE
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.what == "uploaded") != (self.file is not None):
            raise ValueError("only an upload has a file")

    def converted(self, project: Project) -> Event:
        """Return the event in format 3, as one of `project` before it."""
        at, by, by_name = self.at, self.by, self.by_name
        if self.file is not None:
            file = self.file.converted
            return Event.uploaded(file, self.summary, at=at, by=by, by_name=by_name)
        if self.what != "status":
            return Event(
                what=self.what,
                at=at,
                by=by,
                by_name=by_name,
                files=self.filenames,
                reason=self.reason,
            )
        reason = self.reason
        word = next((word for word in _WORDS if reason.startswith(word)), "")
        if not word or project.files or self.status is not Status.ACTIVE:
            return Event.status_set(self.status, reason, at=at, by=by, by_name=by_name)
        reason = reason.removeprefix(word).removeprefix(": ")
        return Event(what=_WORDS[word], at=at, by=by, by_name=by_name, reason=reason)


class _Commit(_Strict, frozen=True, kw_only=True):
    number: int
    id: str
    previous: str
    events: tuple[_Event, ...]


class _Project(_Strict, frozen=True, kw_only=True):
    name: NormalizedName
    revision: int = 0
    status: Status = Status.ACTIVE
    reason: str = ""
    summary: str = ""
    files: tuple[_File, ...] = ()
    deleted_filenames: tuple[str, ...] = ()
    commit: Raw

    def is_like(self, project: Project) -> bool:
        """Return whether it is what the journal of `project` says, but for words in reasons."""
        files = tuple(file.converted for file in self.files)
        ours = self.status, self.summary, self.deleted_filenames, files
        return ours == (project.status, project.summary, project.deleted_filenames, project.files)


class _DecisionList(_Strict, frozen=True, kw_only=True):
    revision: int = 0
    decisions: tuple[Decision, ...] = ()
    commit: Raw


class _Incoming(_Strict, frozen=True, kw_only=True):
    commits: tuple[Raw, ...]


class _PageFile(Struct, frozen=True):
    version: str
    filename: str
    sha256: str = ""


class _Page(Struct, frozen=True, omit_defaults=True):
    """What is read of a page."""

    name: NormalizedName
    upstream: str
    fetched_at: datetime
    files: tuple[_PageFile, ...] = ()
    changed: tuple[_PageFile, ...] = ()
    removed: tuple[_PageFile, ...] = ()


class _Pin(Struct, frozen=True):
    sha256: str


class _Pins(Struct, frozen=True):
    files: dict[str, _Pin]


_PROJECTS: Final = Decoder(_Project)
_COMMITS: Final = Decoder(_Commit)
_INCOMING: Final = Decoder(_Incoming)
_DECISION_LISTS: Final = Decoder(_DecisionList)
_DECISION_COMMITS: Final = Decoder(DecisionCommit)
_PAGES: Final = Decoder(_Page)
_PINS: Final = Decoder(_Pins)


class _Converted(Struct, frozen=True):
    """A document in format 3, and its whole journal."""

    version: ObjectVersion
    """That of the document in format 2."""
    document: bytes
    commits: tuple[bytes, ...]


class Format2Documents(ForwardingStore):
    """
    The documents of a store of format 2, as those of one of format 3.

    No document can be written. It converts what a copy reads: projects and decisions with their
    journals. `upstream` has the pages of upstream indexes, `target` what an earlier copy has
    converted. Reading raises Unavailable for what format 2 cannot have written: it is damaged.
    """

    def __init__(self, inner: Store, upstream: "Format2Upstream", target: Store) -> None:
        self.inner = ReadOnlyStore(inner)
        self._upstream = upstream
        self._target = target
        self._converted: LruCache[Key, _Converted] = LruCache(CACHED_BYTES)

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`. What is converted is returned whatever `unless` is."""
        entry = _ENTRY.fullmatch(key)
        name = NormalizedName(entry[1]) if entry else keys.project_of(key)
        if name is not None:
            return self._part(key, keys.project(name), keys.journal(name))
        if key == keys.DECISIONS or key.startswith(keys.DECISIONS_JOURNAL):
            return self._part(key, keys.DECISIONS, keys.DECISIONS_JOURNAL)
        return self.inner.get(key, unless)

    def _part(self, key: Key, document: Key, entries: str) -> Found:
        """Return a document, or the entry of its journal that has the key."""
        number = keys.entry_number(entries, key)
        converted = self._converted.get(document)
        # a copy reads a document first, and then its entries, which must be those of that document
        if converted is None or number is None:
            stored = self.inner.get(document, converted.version if converted else None)
            if isinstance(stored, Stored):
                is_project = document != keys.DECISIONS
                convert = self._project if is_project else self._decisions
                converted = convert(document, stored)
                size = len(converted.document) + sum(map(len, converted.commits))
                self._converted.put(document, converted, size)
            if stored is None or converted is None:
                return None
        if number is None:
            return Stored(converted.document, converted.version)
        if not 0 < number <= len(converted.commits):
            return None
        return Stored(converted.commits[number - 1], ObjectVersion(str(key)))

    def _project(self, key: Key, stored: Stored) -> _Converted:
        old = _decoded(_PROJECTS, key, stored.body)
        journal, bodies = project_journal(old.name), list[bytes]()
        if journal.key != key:
            raise _damaged(key, "it is that of another project")
        project = journal.empty
        for commit in self._commits(journal.entries, old, _COMMITS):
            before, events = project, list[Event]()
            for event in commit.events:
                events.append(event.converted(project))
                project = apply(project, events[-1])
            # the bytes of each commit are others now, so the hash chain is made anew
            number, previous = commit.number, journal.digest(before)
            new = Commit(number=number, id=commit.id, previous=previous, events=tuple(events))
            project = with_commit(project, new)
            bodies.append(journal.commits.encode(new))
        if not old.is_like(project):
            raise _damaged(key, "it is not what its journal says")
        return _Converted(stored.version, journal.documents.encode(project), tuple(bodies))

    def _decisions(self, key: Key, stored: Stored) -> _Converted:
        old = _decoded(_DECISION_LISTS, key, stored.body)
        commits = [*self._commits(keys.DECISIONS_JOURNAL, old, _DECISION_COMMITS)]
        events = [commit.event for commit in commits]
        before, after, bodies = DECISIONS.empty, DECISIONS.empty, list[bytes]()
        for number, commit in enumerate(commits, 1):
            before = DECISIONS.fold(before, commit)
            event = self._with_digests(commit, events[number:])
            new = replace(commit, previous=DECISIONS.digest(after), event=event)
            after = DECISIONS.fold(after, new)
            bodies.append(DECISIONS.commits.encode(new))
        if before.decisions != old.decisions:
            raise _damaged(key, "it is not what its journal says")
        self._upstream.without_files = {
            decision.target
            for decision in after.decisions
            if decision.version and decision.sha256 == ()
        }
        return _Converted(stored.version, DECISIONS.documents.encode(after), tuple(bodies))

    def _commits(
        self, entries: str, document: "_Project | _DecisionList", commits: Decoder[C]
    ) -> Iterator[C]:
        """Yield the commits of a document, of which the newest may be missing in the journal."""
        previous = ""
        for number in range(1, document.revision + 1):
            key = keys.numbered_entry(entries, number)
            body = bytes(document.commit) + b"\n"
            if number < document.revision:
                body = self._entry(key)
            commit = _decoded(commits, key, body)
            if (commit.number, commit.previous) != (number, previous):
                raise _damaged(key, "it does not continue the journal")
            previous = digest(body)
            yield commit

    def _entry(self, key: Key) -> bytes:
        """
        Return the bytes of a journal entry, which a copy that died may have left in `incoming/`.

        Raises Unavailable if it is lost.
        """
        stored = self.inner.get(key)
        if isinstance(stored, Stored):
            return stored.body
        of_project = _ENTRY.fullmatch(key)
        if of_project is not None:
            incoming = keys.format_2_incoming(NormalizedName(of_project[1]))
            stored = self.inner.get(incoming)
            body = stored.body if isinstance(stored, Stored) else b'{"commits":[]}'
            for commit in _decoded(_INCOMING, incoming, body).commits:
                if _decoded(_COMMITS, incoming, commit).number == int(of_project[2]):
                    return bytes(commit) + b"\n"
        raise damaged(f"The journal has no {key}. {CHECK}")

    def _with_digests(self, commit: DecisionCommit, later: Sequence[Decision]) -> Decision:
        """
        Return the decision of a commit, an approval of a version with the digests of its files.

        Early versions wrote none. A server then bound such an approval to the files of its page, by
        a later decision. If none has done that, the copy does it, and a later copy leaves it so.
        """
        decision = commit.event
        needs_digests = decision.verdict is Verdict.APPROVED and bool(decision.version)
        if not needs_digests or decision.sha256 is not None:
            return decision
        # what an earlier copy has written is kept: with other digests the journals would diverge
        there, _ = DECISIONS.read(self._target)
        if there.revision >= commit.number:
            copied = Journal(DECISIONS, self._target, there).read(commit.number)
            if copied.id == commit.id:
                return copied.event
        for other in later:
            if other.sha256 is not None and replace(other, sha256=None) == decision:
                return other
        return replace(decision, sha256=self._upstream.digests_of(decision))


class Format2Upstream(ForwardingStore):
    """
    What a store of format 2 has of upstream indexes, as format 3 has it.

    No document can be written. It converts pages, and notes what it cannot convert completely.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = ReadOnlyStore(inner)
        self._zstd = _zstd_module()
        self.without_files = set[str]()
        """The approvals in force that are about no file, in words."""
        self._owners_only = set[Key]()

    @property
    def notes(self) -> list[str]:
        """What of the objects that were read has no equal in format 3, as sentences."""
        notes = [
            f"The approval of {target} is about no file: it has no digests, and no page of it was "
            "stored. Approve it again."
            for target in sorted(self.without_files)
        ]
        if self._owners_only:
            notes.append(
                f"{counted(len(self._owners_only), 'page')} of upstream indexes could not be read, "
                "so only the owner of these names was copied, and not which digests their files "
                "had. If you want those, install the package zstandard beside wheelyard, and copy "
                "again."
            )
        return notes

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`. A page is returned whatever `unless` is."""
        page = _PAGE.fullmatch(key)
        if page is None:
            return self.inner.get(key, unless)
        return self._page(key, page[2], NormalizedName(page[3]))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`. The sizes are those of format 2."""
        for entry in self.inner.list(prefix, after):
            page = _PAGE.fullmatch(entry.key)
            yield entry._replace(key=Key(f"{page[1]}.gz")) if page else entry

    def digests_of(self, decision: Decision) -> tuple[str, ...]:
        """
        Return the digests of the files of an approved version, or none if no page is stored.

        Raises Conflict if nothing can decompress the page. Raises Unavailable if the store does not
        answer, or if the digests beside the page are damaged.
        """
        name = decision.project
        for upstream_id in upstream_ids(self.inner):
            stored = self.inner.get(_old_page(upstream_id, name))
            if not isinstance(stored, Stored):
                continue
            if self._zstd is None:
                raise Conflict(
                    f"the approval of {decision.target} has no digests of files, and the page that "
                    "has them is compressed with Zstandard. Install the package zstandard beside "
                    "wheelyard, or approve it again by the version that wrote it; then copy again."
                )
            page = self._read_page(stored.body, upstream_id, name)
            if page is None:
                continue
            key = Key(f"{keys.upstream(upstream_id)}{keys.upstream_digests(name)}")
            stored = self.inner.get(key)
            pins = _decoded(_PINS, key, stored.body).files if isinstance(stored, Stored) else {}
            digests = {
                file.sha256 or (pins[file.filename].sha256 if file.filename in pins else "")
                for file in (*page.decoded.files, *page.decoded.changed, *page.decoded.removed)
                if strip_trailing_zeros(file.version) == decision.key
            }
            return tuple(sorted(digests - {""}))
        return ()

    def _page(self, key: Key, upstream_id: str, name: NormalizedName) -> Found:
        """Return a page, compressed with gzip, and without files if it cannot be read."""
        stored = self.inner.get(_old_page(upstream_id, name))
        if not isinstance(stored, Stored):
            return None
        page = self._read_page(stored.body, upstream_id, name)
        if page is None:
            self._owners_only.add(key)
            owner = _Page(name=name, upstream=upstream_id, fetched_at=NEVER_FETCHED)
            page = _ReadPage(owner, encode(owner))
        return Stored(gzipped(page.json), stored.version)

    def _read_page(self, body: bytes, upstream_id: str, name: NormalizedName) -> "_ReadPage | None":
        """Return a page, or None if it is damaged, or nothing can decompress it."""
        if self._zstd is None:
            return None
        try:
            json = self._zstd.decompress(body)
            page = _PAGES.decode(json)
        except (self._zstd.ZstdError, DecodeError):
            return None
        is_it = (page.name, page.upstream) == (name, upstream_id)
        return _ReadPage(page, json) if is_it else None


class _ReadPage(Struct, frozen=True):
    decoded: _Page
    json: bytes


class _Zstd(Protocol):
    """The modules that read Zstandard have these in common."""

    ZstdError: type[Exception]

    def decompress(self, data: bytes, /) -> bytes: ...


def _zstd_module() -> _Zstd | None:
    """Return Python's module for Zstandard, since 3.14, or the package, None without either."""
    for name in ("compression.zstd", "zstandard"):
        with suppress(ImportError):
            return cast(_Zstd, import_module(name))
    return None


def _old_page(upstream_id: str, name: NormalizedName) -> Key:
    return Key(f"{keys.upstream(upstream_id)}{keys.UPSTREAM_PAGES}{name}.json.zst")


def _decoded(decoder: Decoder[T], key: Key, body: bytes | Raw) -> T:
    try:
        return decoder.decode(body)
    except (DecodeError, UnicodeDecodeError) as error:
        raise _damaged(key, str(error)) from error


def _damaged(key: Key, why: str) -> Unavailable:
    return damaged(f"{key} is damaged: {why}. {CHECK}")
