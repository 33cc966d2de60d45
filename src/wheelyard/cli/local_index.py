"""The index of a store, as the commands use it; `RemoteIndex` has the same methods for a server."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.authentication.api_tokens import ListedToken, TokenRequest
from wheelyard.authentication.token_rotation import RotatedToken
from wheelyard.errors import Invalid
from wheelyard.model.access import Caller
from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.decisions import Decision, DecisionCommit, ProjectDecisions
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Project, Status
from wheelyard.model.token import TokenRecord
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.operations.journal import JournalSource, StoreJournals
from wheelyard.operations.lifecycle import Changed, ReleaseAction, Selection
from wheelyard.operations.names import PrivateName
from wheelyard.operations.upload import PublishedFile
from wheelyard.wiring.index import Index

if TYPE_CHECKING:  # most commands need none of them
    from wheelyard.model.public_packages import Explanation, RefreshedPage
    from wheelyard.operations.client_projects import ClientProjects
    from wheelyard.upstream.index import UpstreamIndex
    from wheelyard.upstream.policy.deciding import Deciding

BUCKET_UPLOADS: Final = 8
"""Concurrent uploads to a bucket, which answers slowly; files of one project share a commit."""


class LocalIndex(Struct, frozen=True):
    """The index of a store, and the caller that stands for the user of the command."""

    index: Index
    caller: Caller

    @property
    def url(self) -> str:
        """The root URL for clients, without a slash at its end; empty if it is not known."""
        settings = self.index.settings
        return settings.base_url if settings.server.public_url else ""

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads cost next to nothing."""
        return self.index.is_local

    def name_of(self, principal: str) -> str:
        """Return the name of the API token that is this principal, or an empty text."""
        return self.index.tokens.records.name_of(principal)

    def journals(self, only: NormalizedName | None) -> JournalSource:
        """Return the journals of all projects, or that of one."""
        return StoreJournals(self.index.projects, self.index.tokens.records, only)

    def names(self) -> Sequence[str]:
        """Return the names of the projects, sorted."""
        known = self.index.projects.names.get().value
        return known.names if known else ()

    def project(self, name: NormalizedName) -> Project:
        """Return a project; raise NotFound if there is none."""
        return self.index.projects.get(name)

    def client_projects(self, wanted: Sequence[NormalizedName]) -> "ClientProjects":
        """Return the projects that the settings of a client name, if it wants these."""
        return self.index.client_projects.read(self.caller, wanted)

    def change(
        self,
        action: ReleaseAction,
        name: NormalizedName,
        selection: Selection,
        reason: str,
        *,
        dry_run: bool = False,
    ) -> Changed:
        """Yank, unyank or delete files; return the result."""
        return self.index.lifecycle.change(
            action, self.caller, name, selection, reason, dry_run=dry_run
        )

    def set_status(self, name: NormalizedName, status: Status, reason: str) -> Project:
        """Set a project's status; return the changed project."""
        return self.index.lifecycle.set_status(self.caller, name, status, reason)

    def private_names(self) -> list[PrivateName]:
        """Return the private names, sorted."""
        return list(self.index.names.all())

    def reserve_name(self, name: NormalizedName, reason: str) -> bool:
        """Make a name private; return False if it is private already."""
        return self.index.names.reserve(self.caller, name, reason)

    def release_name(self, name: NormalizedName, reason: str) -> None:
        """Give up a private name without files."""
        self.index.names.release(self.caller, name, reason)

    @property
    def concurrent_uploads(self) -> int:
        """The number of files to upload at a time."""
        return 1 if self.index.is_local else BUCKET_UPLOADS

    def upload(self, path: Path, progress: Callable[[int], None]) -> PublishedFile:
        """Upload a file; call `progress` with the size of each chunk."""
        return self.index.uploads.accept_path(path, self.caller, progress).published

    def tokens(self) -> list[ListedToken]:
        """Return the tokens, oldest first."""
        index = self.index
        records, now = index.tokens.all(), index.runtime.now()
        days = index.tokens.last_uses([each for each in records if not each.publishers])
        return [ListedToken(each, each.state(now), days.get(each.id)) for each in records]

    def create_token(self, request: TokenRequest) -> tuple[str, TokenRecord]:
        """Create a token; return its text and its record."""
        token, record = self.index.tokens.create(request, by=self.caller.principal)
        return token.text, record

    def rotate_token(self, text: str, overlap: timedelta) -> RotatedToken:
        """Replace a token, given by its name, its id or in full, by a new one; return both."""
        return self.index.caller_tokens.rotate(self.caller, None, text, overlap)

    def revoke_token(self, text: str) -> str:
        """Revoke a token, given by its id or in full; return its id."""
        return self.index.tokens.revoke(text, by=self.caller.principal).id

    def access(self) -> AccessList:
        """Return all grants and groups, of the settings and of the store."""
        return self.index.access.show()

    def access_history(self, after: int = 0) -> Iterator[AccessCommit]:
        """Yield the changes of those in the store behind number `after`, oldest first."""
        return self.index.access.history(after)

    def approve(
        self,
        name: NormalizedName,
        version: Version | None,
        reason: str,
        despite: Sequence[str] = (),
        sha256: Sequence[str] = (),
    ) -> ProjectDecisions:
        """Approve a public project or one version; return all decisions about the project."""
        return self._deciding().approve(name, version, reason, despite, sha256)

    def block(self, name: NormalizedName, version: Version | None, reason: str) -> ProjectDecisions:
        """Block a public project or one version; return all decisions about the project."""
        return self._deciding().block(name, version, reason)

    def decisions(self) -> Sequence[Decision]:
        """Return the decisions in force about public packages."""
        known = self.index.decisions.get("current").value
        return known.decisions if known else ()

    def decision_history(self, after: int = 0) -> Iterator[DecisionCommit]:
        """Yield every decision about public packages behind number `after`, oldest first."""
        return self.index.decisions.history(after)

    def explain_upstream(self, name: NormalizedName, version: Version | None) -> "Explanation":
        """Return what clients get for a name or one version of it, and why."""
        return self._upstream().explain(name, version)

    def refresh_upstream(self, name: NormalizedName) -> "RefreshedPage":
        """Ask the upstream indexes for a project now; return what has come."""
        return self._upstream().refresh(name)

    def _upstream(self) -> "UpstreamIndex":
        if self.index.upstream is None:
            raise Invalid(
                "This index has no upstream index: [upstream] is not enabled in the settings of "
                "this command. Give the --config of the server, or --server.",
                code="bad_setting",
            )
        return self.index.upstream

    def _deciding(self) -> "Deciding":
        from wheelyard.upstream.policy.deciding import Deciding  # other commands need none of it

        index = self.index
        return Deciding(
            index.decisions, self.caller.principal, index.projects.names, index.upstream
        )

    def add_grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""
        return self.index.add_grant(fields, self.caller.principal)

    def revoke_grant(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""
        self.index.access.revoke(grant_id, self.caller.principal, note)

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""
        self.index.access.edit_group(change, name, members, self.caller.principal, note)
