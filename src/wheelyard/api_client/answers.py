"""The JSON of `/api/v1/`, and its conversion to the values of the model."""

from collections.abc import Iterator
from datetime import date, datetime

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import ListedToken
from wheelyard.model.access import Action, Pattern
from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.decisions import Decision, DecisionCommit
from wheelyard.model.project import METADATA_SUFFIX, Commit, File, Project, Status, with_commit
from wheelyard.model.project_json import CommitJson
from wheelyard.model.token import Rotation, TokenRecord
from wheelyard.operations.lifecycle import Changed
from wheelyard.operations.names import PrivateName


class _Name(Struct, frozen=True):
    name: NormalizedName


class NamesAnswer(Struct, frozen=True):
    """The names of projects."""

    projects: tuple[_Name, ...]


class PrivateNamesAnswer(Struct, frozen=True):
    """The private names."""

    names: list[PrivateName]


class ReservationAnswer(Struct, frozen=True):
    """A name that is private now."""

    is_new: bool
    """Whether it was not private before."""


class _FileAnswer(Struct, frozen=True, rename="kebab"):
    filename: str
    version: str
    sha256: str
    size: int
    upload_time: datetime
    uploaded_by: str
    yanked: bool | str
    core_metadata: str
    uploaded_by_name: str = ""
    requires_python: str | None = None
    imported: datetime | None = None
    waived_rules: tuple[str, ...] = ()

    def file(self) -> File:
        """Return the file."""
        reason = "" if self.yanked is True else self.yanked or None
        return File(
            filename=self.filename,
            version=self.version,
            sha256=self.sha256,
            size=self.size,
            uploaded_at=self.upload_time,
            uploaded_by=self.uploaded_by,
            sidecars={METADATA_SUFFIX: self.core_metadata} if self.core_metadata else {},
            requires_python=self.requires_python,
            yanked=reason,
            imported_at=self.imported,
            waived_rules=self.waived_rules,
            uploaded_by_name=self.uploaded_by_name,
        )


class _StatusAnswer(Struct, frozen=True):
    status: Status
    reason: str = ""


class ProjectAnswer(Struct, frozen=True):
    """A project."""

    name: NormalizedName
    revision: int
    files: tuple[_FileAnswer, ...]
    deleted: tuple[str, ...]
    summary: str
    commit: CommitJson | None
    status: _StatusAnswer = field(name="project-status")

    def project(self) -> Project:
        """Return the project."""
        project = Project(
            name=self.name,
            revision=self.revision,
            status=self.status.status,
            reason=self.status.reason,
            summary=self.summary,
            files=tuple(each.file() for each in self.files),
            deleted_filenames=self.deleted,
        )
        return with_commit(project, self.commit.commit()) if self.commit else project


class ChangeAnswer(ProjectAnswer, frozen=True, kw_only=True):
    """A project after a change, and the files that were changed."""

    changed: tuple[_FileAnswer, ...]

    def changed_files(self) -> Changed:
        """Return the result of the change."""
        return Changed(self.project(), tuple(each.file() for each in self.changed))


class TokenAnswer(Struct, frozen=True, rename="kebab"):
    """A token, and its text if it was just created."""

    id: str
    name: str
    owner: str | None
    can: tuple[str, ...]
    projects: tuple[Pattern, ...]
    state: str
    created: datetime
    created_by: str
    expires: datetime
    last_used: date | None = None
    revoked: datetime | None = None
    replaced_by: str = ""
    publishers: tuple[str, ...] = ()
    token: str = ""
    """Its text."""

    @property
    def record(self) -> TokenRecord:
        """The record of the token; its digest and its first expiry are not known here."""
        actions = sum(action for action in Action if action.word in self.can)
        return TokenRecord(
            id=self.id,
            sha256="",
            name=self.name,
            actions=actions,
            projects=self.projects,
            created_at=self.created,
            created_by=self.created_by,
            expires_at=self.expires,
            revoked_at=self.revoked,
            rotation=Rotation(self.replaced_by, self.expires) if self.replaced_by else None,
            publishers=self.publishers,
            owner=self.owner or "",
        )

    def listed(self) -> ListedToken:
        """Return the token as `wheelyard token list` shows it."""
        return ListedToken(self.record, self.state, self.last_used)


class RotationAnswer(TokenAnswer, frozen=True, kw_only=True):
    """A new token, and the one that it replaces."""

    replaces: TokenAnswer


class JournalPage(Struct, frozen=True):
    """Some commits of a journal."""

    revision: int
    """The number of the last commit of the project."""
    commits: tuple[CommitJson, ...]
    next: int = 0
    """The number of the last commit of this page, if there are more."""

    @property
    def end(self) -> int:
        """The number of the last commit that the page may have."""
        return self.next or self.revision

    def newest_first(self, after: int, end: int) -> Iterator[tuple[int, Commit | None]]:
        """Yield the commits `after + 1` to `end` with their numbers; None for a lost one."""
        known = {each.number: each for each in self.commits}
        for number in range(end, after, -1):
            shown = known.get(number)
            yield number, shown.commit() if shown else None


class TokensAnswer(Struct, frozen=True):
    """The tokens that the caller may see."""

    tokens: tuple[TokenAnswer, ...]


class AccessHistory(Struct, frozen=True):
    """Changes of the grants and groups in the store."""

    commits: tuple[AccessCommit, ...]


class DecisionsAnswer(Struct, frozen=True):
    """Decisions about public packages."""

    decisions: tuple[Decision, ...]


class DecisionHistory(Struct, frozen=True):
    """Every decision about public packages."""

    commits: tuple[DecisionCommit, ...]
