"""
The documents that have a journal, and the stored form of projects, of which nothing is lost.

Grants and groups lie beside the tokens, so that a process which may write packages only cannot
change rights. Decisions about packages of upstream indexes are the operator's own, so they lie
outside of `upstream/`, whose content can be fetched again: a backup has them.

What a newer version of wheelyard has written is kept: fields that this version does not know, and
commits byte for byte, since their digests are the hash chain of the journal. If the document says
that a reader has to know an event which this version does not, it is not read at all.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final, TypeAlias, TypeVar

from msgspec import Raw, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import JournaledDocument, JournalKind
from wheelyard.catalog.document_cache import Codec
from wheelyard.errors import NEWER_DOCUMENT, Invalid, Unavailable
from wheelyard.model import grants, public_packages
from wheelyard.model.decoding import TABLE, ExtensibleCodec, encode_all_fields
from wheelyard.model.grants import AccessCommit, AccessRules, AnyAccessEvent, Grants
from wheelyard.model.project import (
    KNOWN_KINDS,
    Commit,
    File,
    Project,
    apply,
    read_commit,
    unknown_parts,
    with_commit,
)
from wheelyard.model.public_packages import Decision, DecisionCommit, DecisionList
from wheelyard.storage.base import Key

_LIST: Final = Decoder(list[Raw])
_NEEDS: Final = Decoder(dict[str, str])


class ProjectCodec(Codec[Project]):
    """The codec of projects, which encodes a file that was added, and not all the others again."""

    def __init__(self) -> None:
        super().__init__(Project)
        self._files = ExtensibleCodec(File)
        self._projects = ExtensibleCodec(Project)

    def encode(self, value: Project) -> bytes:
        """Return the bytes to store for `value`."""
        if value.other_fields or value.trash:
            return self._encode_table(value)
        first = value.files[:1]
        if not first:
            return super().encode(value)
        # no text contains the separator: its quotes would be escaped
        separator = b'"files":' + self._encoder.encode(first)
        head, _, tail = super().encode(replace(value, files=first)).partition(separator)
        stored = value.stored_files
        return b"".join((head, b'"files":[', stored[0][1:], *stored[1:], b"]", tail))

    def require_whole(self, key: Key, value: Project, size: int) -> None:
        """Do nothing: what this version does not know is kept."""

    def _read(self, key: Key, body: bytes) -> Project:
        """
        Return the project.

        Raises Unavailable (`newer_document`) if it must not be read.
        """
        try:
            project = self._decoder.decode(body)
        except ValidationError:
            project = self._read_table(key, body)
        _require_known(key, project.needs)
        if not project.stored_commit:
            return project
        commit = read_commit(bytes(project.stored_commit))
        # the raw value would keep the whole body in memory
        project = replace(project, stored_commit=Raw(commit.stored))
        vars(project)["commit"] = commit
        return project

    def _read_table(self, key: Key, body: bytes) -> Project:
        """Return the project of a document that has fields which this version does not know."""
        table = TABLE.decode(body)
        # first, as any other field may be of a form that this version does not know
        _require_known(key, _NEEDS.decode(table.get("needs", b"{}")))
        files, trash = (
            tuple(map(self._files.decode, _LIST.decode(table.pop(field, b"[]"))))
            for field in ("files", "trash")
        )
        others = self._projects.take_unknown(table)
        project = self._decoder.decode(encode(table))
        return replace(project, files=files, trash=trash, other_fields=others)

    def _encode_table(self, value: Project) -> bytes:
        """Return the bytes of a project that may have unknown fields anywhere."""
        table = TABLE.decode(self._encoder.encode(value))
        for field, files in (("files", value.files), ("trash", value.trash)):
            if files:
                table[field] = Raw(b"[%b]" % b",".join(map(encode_all_fields, files)))
        table.pop("", None)
        return self._encoder.encode(table | dict(value.other_fields)) + b"\n"


class CommitCodec(Codec[Commit]):
    """The codec of commits, whose bytes stay as they were written."""

    def __init__(self) -> None:
        super().__init__(Commit)

    def encode(self, value: Commit) -> bytes:
        """Return the bytes to store for `value`."""
        return value.stored + b"\n"

    def require_whole(self, key: Key, value: Commit, size: int) -> None:
        """Do nothing: what this version does not know is kept."""

    def _read(self, key: Key, body: bytes) -> Commit:
        del key
        return read_commit(body.removesuffix(b"\n"))


def _require_known(key: Key, needs: Mapping[str, str]) -> None:
    """Raise Unavailable if a reader of a document needs to know events that are unknown here."""
    unknown = {kind: version for kind, version in needs.items() if kind not in KNOWN_KINDS}
    if unknown:
        versions = " and ".join(sorted(set(unknown.values())))
        raise Unavailable(
            f"The document {key} has changes that this version of wheelyard does not know "
            f"({', '.join(sorted(unknown))}). Upgrade to wheelyard {versions} or newer.",
            code=NEWER_DOCUMENT,
        )


AccessRecords: TypeAlias = JournaledDocument[AccessRules, AccessCommit, AnyAccessEvent]
"""The grants and groups in the store."""
DecisionRecords: TypeAlias = JournaledDocument[DecisionList, DecisionCommit, Decision]
"""The decisions in the store."""

R = TypeVar("R", AccessRules, DecisionList)


def _with_commit(document: R, commit: AccessCommit | DecisionCommit) -> R:
    return replace(document, revision=commit.number, commit=commit)


ACCESS: Final[JournalKind[AccessRules, AccessCommit]] = JournalKind(
    what="the grants and groups",
    consequence="servers may refuse callers who have a grant",
    key=keys.ACCESS,
    entries=keys.ACCESS_JOURNAL,
    empty=AccessRules(),
    documents=Codec(AccessRules),
    commits=Codec(AccessCommit),
    new_commit=AccessCommit.of_events,
    apply=grants.apply,
    with_commit=_with_commit,
    require_valid=partial(grants.merge, Grants()),
)
DECISIONS: Final[JournalKind[DecisionList, DecisionCommit]] = JournalKind(
    what="the decisions about upstream packages",
    consequence="servers may refuse packages of upstream indexes",
    key=keys.DECISIONS,
    entries=keys.DECISIONS_JOURNAL,
    empty=DecisionList(),
    documents=Codec(DecisionList),
    commits=Codec(DecisionCommit),
    new_commit=DecisionCommit.of_events,
    apply=public_packages.apply,
    with_commit=_with_commit,
)
_PROJECTS: Final = ProjectCodec()
_COMMITS: Final = CommitCodec()


def project_journal(name: NormalizedName) -> JournalKind[Project, Commit]:
    """Return what the document and the journal of a project are."""

    def require_name(project: Project) -> None:
        if project.name != name:
            raise Invalid(f"The document of {name} is that of another project.")

    return JournalKind(
        what=f"the project {name}",
        consequence="clients may see other files than they should",
        key=keys.project(name),
        entries=keys.journal(name),
        empty=Project(name=name),
        documents=_PROJECTS,
        commits=_COMMITS,
        new_commit=Commit,
        apply=apply,
        with_commit=with_commit,
        project=name,
        unknown_parts=unknown_parts,
        require_valid=require_name,
    )
