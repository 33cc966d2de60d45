"""
The documents that have a journal: those of projects, the grants and groups, the decisions.

Grants and groups lie beside the tokens, so that a process which may write packages only cannot
change rights. Decisions about packages of upstream indexes are the operator's own, so they lie
outside of `upstream/`, whose content can be fetched again: a backup has them.
"""

from functools import partial
from typing import Final, TypeAlias, TypeVar

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import JournaledDocument, JournalKind
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.project_codec import CommitCodec, ProjectCodec
from wheelyard.errors import Invalid
from wheelyard.model import grants, public_packages
from wheelyard.model.grants import AccessCommit, AccessRules, AnyAccessEvent, Grants
from wheelyard.model.project import Commit, Project, apply, unknown_parts, with_commit
from wheelyard.model.public_packages import Decision, DecisionCommit, DecisionList

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
    new_commit=AccessCommit.of,
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
    new_commit=DecisionCommit.of,
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
