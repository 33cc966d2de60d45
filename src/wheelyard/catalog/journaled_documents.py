"""
The documents that have a journal, and the stored form of projects, of which nothing is lost.

Grants, groups, trusted publishers, namespaces and webhooks are beside the tokens, so that a process
which may only write packages cannot change rights. Decisions about packages of upstream indexes are
made by operators, and are outside of `upstream/`, whose content can be fetched again. So backups
have them.

The parts of a project that a newer version of wheelyard has written are kept: fields that this
version does not know, and commits byte for byte, since their digests are the hash chain of the
journal. If the document names an event that every reader has to know, and this version does not, it
is not read at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import C, Commits, Committed, D, E, Intent, JournalKind
from wheelyard.catalog.document_cache import Codec, MaxAge, Snapshot, lost
from wheelyard.errors import NEWER_DOCUMENT, Invalid, Unavailable
from wheelyard.model import grants, public_packages
from wheelyard.model.decoding import TABLE, ExtensibleCodec, encode_all_fields
from wheelyard.model.grants import AccessCommit, AccessRules, AnyAccessEvent
from wheelyard.model.project import KNOWN_KINDS, Commit, Event, File, Project, read_commit
from wheelyard.model.project_changes import apply, unknown_parts, with_commit
from wheelyard.model.public_packages import Decision, DecisionCommit, DecisionList
from wheelyard.model.stored_indexes import INDEX_KIND, AnyIndexEvent, IndexCommit, IndexList
from wheelyard.model.stored_namespaces import (
    NAMESPACE_KIND,
    AnyNamespaceEvent,
    NamespaceCommit,
    NamespaceList,
)
from wheelyard.model.stored_publishers import (
    PUBLISHER_KIND,
    AnyPublisherEvent,
    PublisherCommit,
    PublisherList,
)
from wheelyard.model.stored_tables import TableKind, TableList
from wheelyard.model.stored_webhooks import (
    WEBHOOK_KIND,
    AnyWebhookEvent,
    WebhookCommit,
    WebhookList,
)
from wheelyard.storage.base import Key

J = TypeVar("J", bound=AccessRules | DecisionList | TableList[Any])
_RAW_LIST: Final = Decoder(list[Raw])
_NEEDS: Final = Decoder(dict[str, str])


class JournaledDocument(Struct, Generic[D, C, E], frozen=True):
    """
    Reads and changes the only document of its kind.

    Threads may share an object. Every method raises Unavailable if the store does not answer, or
    the document is damaged. A snapshot has no value if the store has no such document.
    """

    kind: JournalKind[D, C]
    commits: Commits[D, C, E]

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[D] | None:
        """Return the document if it is cached and at most `max_age` old, else None."""
        return self.commits.documents.peek(self.kind.key, max_age)

    def get(self, max_age: MaxAge = "fresh") -> Snapshot[D]:
        """Return a snapshot of the document, from the cache or the store."""
        return self.commits.documents.get(self.kind.key, max_age)

    def read_ahead(self) -> Snapshot[D]:
        """Return the document as it is in the store now, and cache it as one that is not fresh."""
        return self.commits.documents.read_ahead(self.kind.key)

    def has_journal(self) -> bool:
        """Return whether the journal has an entry, so that the store has had the document."""
        return next(self.commits.store.list(self.kind.entries), None) is not None

    def require_not_lost(self, unknown_fact: str) -> None:
        """
        Raise Unavailable if the store has had the document, and has it no more.

        `unknown_fact` is, for the message, what nobody can know without the document.
        """
        # read again, as the document may have been made just now
        if self.has_journal() and self.get("current").value is None:
            raise lost(f"The document {self.kind.key} is lost: {unknown_fact} cannot be said.")

    def change(self, intent: Intent[D, E]) -> Committed[D, E]:
        """
        Commit the events of `intent`, and return the result.

        Raises the error of `intent`. Raises Unavailable if the store does not answer, in which case
        the commit may have been made, or if the document cannot be changed.
        """
        return self.commits.submit(self.kind, intent)

    def take_away(self, intent: Intent[D, E]) -> Committed[D, E]:
        """
        Do what `change` does, even on a full disk.

        It is for events that end access or block a package.
        """
        return self.commits.store.with_reserve(partial(self.change, intent))

    def history(self, after: int = 0) -> Iterator[C]:
        """
        Return an iterator of the commits after the number `after`, oldest first.

        The iterator raises Unavailable when it comes to a commit that the journal has lost.
        """
        document = self.get("current").value or self.kind.empty
        numbers = range(after + 1, document.revision + 1)
        return self.commits.journal(self.kind, document).read_all(numbers)


class ProjectCodec(Codec[Project]):
    """
    The codec of projects.

    The encoded files of a project are kept, so that only a new file is encoded.
    """

    def __init__(self) -> None:
        super().__init__(Project)
        self._files = ExtensibleCodec(File)
        self._projects = ExtensibleCodec(Project)

    def encode(self, value: Project) -> bytes:
        """Return the bytes to store for `value`."""
        if value.other_fields or value.trash:
            return self._encode_table(value)
        first_file = value.files[:1]
        if not first_file:
            return super().encode(value)
        # Encode the project with one file, and put the stored bytes of all files in its place. No
        # text contains the separator, as its quotes would be escaped.
        separator = b'"files":' + self._encoder.encode(first_file)
        with_one_file = super().encode(replace(value, files=first_file))
        head, _, tail = with_one_file.partition(separator)
        # each stored file begins with a comma
        stored_files = value.stored_files
        chunks = [head, b'"files":[', stored_files[0][1:]]
        chunks += stored_files[1:]
        chunks += [b"]", tail]
        return b"".join(chunks)

    def require_whole(self, key: Key, value: Project, size: int) -> None:
        """Do nothing, as parts that this version does not know are kept."""

    def _read(self, key: Key, body: bytes) -> Project:
        """
        Return the project in stored bytes.

        Raises DecodeError if the bytes are invalid, and Unavailable (code `newer_document`) if only
        a newer version may read them.
        """
        try:
            project = self._decoder.decode(body)
        except ValidationError:
            project = self._read_table(key, body)
        _require_known(key, project.needs)
        if not project.stored_commit:
            return project
        commit = read_commit(bytes(project.stored_commit))
        # a copy, as the decoded Raw would keep the whole body in memory
        project = replace(project, stored_commit=Raw(commit.stored))
        vars(project)["commit"] = commit
        return project

    def _read_table(self, key: Key, body: bytes) -> Project:
        """Return the project of a document with fields that this version does not know."""
        table = TABLE.decode(body)
        # first, as this version may not know the form of any other field
        _require_known(key, _NEEDS.decode(table.get("needs", b"{}")))
        files = self._read_files(table.pop("files", b"[]"))
        trash = self._read_files(table.pop("trash", b"[]"))
        unknown = self._projects.take_unknown(table)
        project = self._decoder.decode(encode(table))
        return replace(project, files=files, trash=trash, other_fields=unknown)

    def _read_files(self, body: bytes | Raw) -> tuple[File, ...]:
        """Return the files of a document, each of which may have unknown fields."""
        raw_files = _RAW_LIST.decode(body)
        return tuple(self._files.decode(raw_file) for raw_file in raw_files)

    def _encode_table(self, value: Project) -> bytes:
        """Return the bytes of a project that may have unknown fields anywhere."""
        table = TABLE.decode(self._encoder.encode(value))
        for field, files in (("files", value.files), ("trash", value.trash)):
            if files:
                encoded_files = [encode_all_fields(file) for file in files]
                table[field] = Raw(b"[%b]" % b",".join(encoded_files))
        table.pop("", None)
        return self._encoder.encode(table | dict(value.other_fields)) + b"\n"


class CommitCodec(Codec[Commit]):
    """The codec of commits of projects, whose bytes stay as they were written."""

    def __init__(self) -> None:
        super().__init__(Commit)

    def encode(self, value: Commit) -> bytes:
        """Return the bytes to store for `value`."""
        return value.stored + b"\n"

    def require_whole(self, key: Key, value: Commit, size: int) -> None:
        """Do nothing, as parts that this version does not know are kept."""

    def _read(self, key: Key, body: bytes) -> Commit:
        """Return the commit in stored bytes. Raises DecodeError if they are invalid."""
        del key
        return read_commit(body.removesuffix(b"\n"))


def _require_known(key: Key, needs: Mapping[str, str]) -> None:
    """Raise Unavailable if a document needs a kind of event that this version does not know."""
    version_by_kind = {kind: version for kind, version in needs.items() if kind not in KNOWN_KINDS}
    if version_by_kind:
        kinds = ", ".join(sorted(version_by_kind))
        versions = " and ".join(sorted(set(version_by_kind.values())))
        raise Unavailable(
            f"The document {key} has changes that this version of wheelyard does not know "
            f"({kinds}). Upgrade to wheelyard {versions} or newer.",
            code=NEWER_DOCUMENT,
        )


AccessRecords: TypeAlias = JournaledDocument[AccessRules, AccessCommit, AnyAccessEvent]
"""The grants and groups in the store."""
PublisherRecords: TypeAlias = JournaledDocument[PublisherList, PublisherCommit, AnyPublisherEvent]
"""The trusted publishers in the store."""
NamespaceRecords: TypeAlias = JournaledDocument[NamespaceList, NamespaceCommit, AnyNamespaceEvent]
"""The namespaces in the store."""
WebhookRecords: TypeAlias = JournaledDocument[WebhookList, WebhookCommit, AnyWebhookEvent]
"""The webhooks in the store."""
DecisionRecords: TypeAlias = JournaledDocument[DecisionList, DecisionCommit, Decision]
"""The decisions in the store."""
IndexRecords: TypeAlias = JournaledDocument[IndexList, IndexCommit, AnyIndexEvent]
"""The definitions of indexes in the store."""


class RevisedCodec(Codec[J]):
    """The codec of a document with a journal, which always has a revision and its last commit."""

    def _read(self, key: Key, body: bytes) -> J:
        """Return the document. Raises DecodeError if it has not the commit of its revision."""
        value = super()._read(key, body)
        if not value.revision:
            raise DecodeError("it has no revision")
        if value.commit is None or value.commit.number != value.revision:
            raise DecodeError("it has not the commit of its revision")
        return value


class EventJournal(JournalKind[D, C], Generic[D, C, E], frozen=True, kw_only=True):
    """The properties of a document with a journal that is of no project."""

    commit: Callable[..., C]
    """Makes a commit: the method `of_events` of the class of its commits."""
    change: Callable[[D, E], D]
    """Returns a document after an event, with its revision and last commit unchanged."""

    def new_commit(self, number: int, commit_id: str, previous: str, events: Sequence[E]) -> C:
        """
        Return a commit of these events, which are at least one.

        `previous` is the digest of the commit before it.
        """
        return self.commit(number=number, id=commit_id, previous=previous, events=tuple(events))

    def apply(self, document: D, event: E) -> D:
        """Return a document after an event, with its revision and last commit unchanged."""
        return self.change(document, event)


def table_journal(
    kind: TableKind[Any, Any, Any], key: Key, entries: str, consequence: str
) -> EventJournal[Any, Any, Any]:
    """
    Return the properties of the document and the journal of a kind of tables.

    `key` is the key of the document, and `entries` the prefix of the keys of its journal.
    `consequence` is the effect of a damaged document.
    """
    return EventJournal(
        what=f"the {kind.title}",
        consequence=consequence,
        key=key,
        entries=entries,
        empty=kind.document(),
        documents=RevisedCodec(kind.document),
        commits=Codec(kind.commit),
        commit=kind.commit.of_events,
        change=kind.apply,
    )


class AccessJournal(
    EventJournal[AccessRules, AccessCommit, AnyAccessEvent], frozen=True, kw_only=True
):
    """The properties of the document and the journal of grants and groups."""

    def require_valid(self, document: AccessRules) -> None:
        """Raise Invalid for a grant that wheelyard cannot have written."""
        grants.grants_of(document)


class ProjectJournal(JournalKind[Project, Commit], frozen=True, kw_only=True):
    """The properties of the document and the journal of a project."""

    def new_commit(
        self, number: int, commit_id: str, previous: str, events: Sequence[Event]
    ) -> Commit:
        """
        Return a commit of these events, which are at least one.

        `previous` is the digest of the commit before it.
        """
        return Commit(number=number, id=commit_id, previous=previous, events=tuple(events))

    def apply(self, document: Project, event: Event) -> Project:
        """Return a project after an event, with its revision and last commit unchanged."""
        return apply(document, event)

    def with_commit(self, document: Project, commit: Commit) -> Project:
        """Return a project with a commit as its last one, after its events were applied."""
        return with_commit(document, commit)

    def makes_name(self, before: Project, after: Project) -> bool:
        """Return whether a change makes a project, whose name an index may take as well."""
        return after.exists and not before.exists

    def unknown_parts(self, document: Project, commits: Iterable[Commit]) -> Mapping[str, str]:
        """
        Return the parts of a project and its commits that only a newer version knows.

        The keys are names of these parts, for messages. The values are the versions of wheelyard
        that know the parts, or empty texts.
        """
        return unknown_parts(document, commits)

    def require_valid(self, document: Project) -> None:
        """Raise Invalid if the document is that of another project."""
        if document.name != self.project:
            raise Invalid(f"The document of {self.project} is that of another project.")


ACCESS: Final = AccessJournal(
    what="the grants and groups",
    consequence="servers may refuse callers who have a grant",
    key=keys.ACCESS,
    entries=keys.ACCESS_JOURNAL,
    empty=AccessRules(),
    documents=RevisedCodec(AccessRules),
    commits=Codec(AccessCommit),
    commit=AccessCommit.of_events,
    change=grants.apply,
)
PUBLISHERS: Final[EventJournal[PublisherList, PublisherCommit, AnyPublisherEvent]] = table_journal(
    PUBLISHER_KIND, keys.PUBLISHERS, keys.PUBLISHERS_JOURNAL, "CI jobs may get no token"
)
NAMESPACES: Final[EventJournal[NamespaceList, NamespaceCommit, AnyNamespaceEvent]] = table_journal(
    NAMESPACE_KIND,
    keys.NAMESPACES,
    keys.NAMESPACES_JOURNAL,
    "servers may refuse new projects, and public packages",
)
WEBHOOKS: Final[EventJournal[WebhookList, WebhookCommit, AnyWebhookEvent]] = table_journal(
    WEBHOOK_KIND, keys.WEBHOOKS, keys.WEBHOOKS_JOURNAL, "webhooks may be told of nothing"
)
DECISIONS: Final = EventJournal(
    what="the decisions about upstream packages",
    consequence="servers may refuse packages of upstream indexes",
    key=keys.DECISIONS,
    entries=keys.DECISIONS_JOURNAL,
    empty=DecisionList(),
    documents=RevisedCodec(DecisionList),
    commits=Codec(DecisionCommit),
    commit=DecisionCommit.of_events,
    change=public_packages.apply,
)
INDEX_LIST: Final[EventJournal[IndexList, IndexCommit, AnyIndexEvent]] = table_journal(
    INDEX_KIND, keys.INDEX_LIST, keys.INDEX_LIST_JOURNAL, "servers may answer with errors"
)
DOCUMENTS: Final[tuple[EventJournal[Any, Any, Any], ...]] = (
    ACCESS,
    PUBLISHERS,
    NAMESPACES,
    WEBHOOKS,
    DECISIONS,
    INDEX_LIST,
)
"""All documents that have a journal, but those of projects."""
_PROJECTS: Final = ProjectCodec()
_COMMITS: Final = CommitCodec()


def project_journal(name: NormalizedName) -> ProjectJournal:
    """Return the properties of the document and the journal of a project."""
    return ProjectJournal(
        what=f"the project {name}",
        consequence="clients may see other files than they should",
        key=keys.project(name),
        entries=keys.journal(name),
        empty=Project(name=name),
        documents=_PROJECTS,
        commits=_COMMITS,
        project=name,
    )
