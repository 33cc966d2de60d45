"""The index of a server, as the commands use it: each method is a request to `/api/v1/`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api_client.answers import (
    AccessHistory,
    ChangeAnswer,
    DecisionHistory,
    DecisionsAnswer,
    JournalPage,
    NamesAnswer,
    PrivateNamesAnswer,
    ProjectAnswer,
    ReservationAnswer,
    RotationAnswer,
    TokenAnswer,
    TokensAnswer,
)
from wheelyard.api_client.connection import ApiConnection
from wheelyard.api_client.upload_form import open_form
from wheelyard.authentication.api_tokens import ListedToken, TokenRequest, require_token_id
from wheelyard.authentication.explain import AccessExplanation
from wheelyard.authentication.token_rotation import RotatedToken
from wheelyard.errors import Invalid
from wheelyard.model.access import Action
from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.decisions import (
    Decision,
    DecisionCommit,
    ProjectDecisions,
    decisions_about,
)
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Commit, Project, Status
from wheelyard.model.token import ApiToken, TokenRecord, has_token_prefix, parse_token, token_id_in
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.operations.journal import BEGINNING
from wheelyard.operations.lifecycle import Changed, ReleaseAction, Selection
from wheelyard.operations.names import PrivateName
from wheelyard.operations.upload import PublishedFile

if TYPE_CHECKING:
    from wheelyard.model.public_packages import Explanation, RefreshedPage
    from wheelyard.operations.client_projects import ClientProjects

DAY: Final = timedelta(days=1)


class RemoteIndex:
    """What a person may do with the index of a server; errors are those of the local commands."""

    is_local: Final = False
    """Each read is a request."""
    concurrent_uploads: Final = 4
    """The server shares its places for uploads between its callers."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection = connection
        self._token_names: dict[str, str] | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Close the connections to the server."""
        self._connection.close()

    @property
    def url(self) -> str:
        """The root URL of the server, without a slash at its end."""
        return self._connection.server.redacted.rstrip("/")

    def name_of(self, principal: str) -> str:
        """Return the name of the API token that is this principal, if the caller may know it."""
        if not principal.startswith("token:"):
            return ""
        with self._lock:
            if self._token_names is None:
                tokens = self.tokens() if self._connection.has_credential else []
                self._token_names = {f"token:{each.record.id}": each.record.name for each in tokens}
            return self._token_names.get(principal, "")

    def journals(self, only: NormalizedName | None) -> "RemoteJournals":
        """Return the journals of all projects, or that of one."""
        return RemoteJournals(self._connection, self.name_of, only)

    def names(self) -> Sequence[NormalizedName]:
        """Return the names of the projects that the caller may read, sorted."""
        found = self._connection.send("GET", "projects", NamesAnswer)
        return [each.name for each in found.projects]

    def project(self, name: NormalizedName) -> Project:
        """Return a project; raise NotFound if it does not exist or the caller may not read it."""
        return self._connection.send("GET", f"projects/{name}", ProjectAnswer).project()

    def client_projects(self, wanted: Sequence[NormalizedName]) -> "ClientProjects":
        """Return the projects that the settings of a client name, if it wants these."""
        from wheelyard.operations.client_projects import (  # noqa: PLC0415 - other commands need none
            ClientProjects,
        )

        query = urlencode([("project", name) for name in wanted])
        return self._connection.send("GET", f"client-projects?{query}", ClientProjects)

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
        versions, is_one = selection.versions, isinstance(selection.versions, Version)
        fields = {
            "version" if is_one else "versions": str(versions),
            "file": selection.filename,
            "reason": reason,
            "dry_run": dry_run,
        }
        path = f"projects/{name}/{action}"
        return self._connection.send("POST", path, ChangeAnswer, fields).changed_files()

    def set_status(self, name: NormalizedName, status: Status, reason: str) -> Project:
        """Set a project's status; return the changed project."""
        fields = {"status": status, "reason": reason}
        path = f"projects/{name}/status"
        return self._connection.send("POST", path, ProjectAnswer, fields).project()

    def private_names(self) -> list[PrivateName]:
        """Return the private names, sorted; for an administrator."""
        return self._connection.send("GET", "names", PrivateNamesAnswer).names

    def reserve_name(self, name: NormalizedName, reason: str) -> bool:
        """Make a name private; return False if it is private already."""
        path = f"projects/{name}/reserve"
        return self._connection.send("POST", path, ReservationAnswer, {"reason": reason}).is_new

    def release_name(self, name: NormalizedName, reason: str) -> None:
        """Give up a private name without files."""
        path = f"projects/{name}/release"
        self._connection.send("POST", path, type(None), {"reason": reason}, repeats=False)

    def approve(
        self,
        name: NormalizedName,
        version: Version | None,
        reason: str,
        despite: Sequence[str] = (),
        sha256: Sequence[str] = (),
    ) -> ProjectDecisions:
        """Approve a public project or one version; return all decisions about the project."""
        fields = {"reason": reason, "despite": despite, "sha256": sha256}
        return self._decide("approve", name, version, fields)

    def block(self, name: NormalizedName, version: Version | None, reason: str) -> ProjectDecisions:
        """Block a public project or one version; return all decisions about the project."""
        return self._decide("block", name, version, {"reason": reason})

    def _decide(
        self,
        change: str,
        name: NormalizedName,
        version: Version | None,
        fields: Mapping[str, object],
    ) -> ProjectDecisions:
        sent = {"project": name, "version": str(version or ""), **fields}
        found = self._connection.send("POST", f"upstream/{change}", DecisionsAnswer, sent)
        return decisions_about(found.decisions)

    def decisions(self) -> Sequence[Decision]:
        """Return the decisions in force about public packages."""
        return self._connection.send("GET", "upstream/decisions", DecisionsAnswer).decisions

    def decision_history(self, after: int = 0) -> Iterator[DecisionCommit]:
        """Yield every decision about public packages behind number `after`, oldest first."""
        path = f"upstream/decisions/history?after={after}"
        yield from self._connection.send("GET", path, DecisionHistory).commits

    def explain_upstream(self, name: NormalizedName, version: Version | None) -> "Explanation":
        """Return what clients get for a name or one version of it, and why."""
        from wheelyard.model.public_packages import Explanation  # noqa: PLC0415 - other commands need none

        query = urlencode({"project": name, "version": str(version or "")})
        return self._connection.send("GET", f"upstream/why?{query}", Explanation)

    def refresh_upstream(self, name: NormalizedName) -> "RefreshedPage":
        """Ask the upstream indexes for a project now; return what has come."""
        from wheelyard.model.public_packages import RefreshedPage  # noqa: PLC0415 - ditto

        return self._connection.send("POST", "upstream/refresh", RefreshedPage, {"project": name})

    def upload(self, path: Path, progress: Callable[[int], None]) -> PublishedFile:
        """Upload a file; call `progress` with the size of each chunk."""
        form = open_form(path, self._connection.runtime.new_id(), progress)
        send = self._connection.post_form
        return send("legacy/", form.headers, form, form.size, PublishedFile)

    def tokens(self) -> list[ListedToken]:
        """Return all tokens for an administrator, else the caller's own, oldest first."""
        found = self._connection.send("GET", "tokens", TokensAnswer)
        return [each.listed() for each in found.tokens]

    def create_token(self, request: TokenRequest) -> tuple[str, TokenRecord]:
        """Create a token; return its text and its record."""
        days, rest = divmod(request.lifetime, DAY)
        expires = self._connection.runtime.now() + request.lifetime
        fields = {
            "name": request.name,
            "projects": request.projects,
            "can": [each.word for each in Action if each & request.actions],
            "owner": ",".join(each for each in request.owner_names if ":" in each) or None,
            **({"expires": expires} if rest else {"days": days}),
        }
        made = self._connection.send("POST", "tokens", TokenAnswer, fields, repeats=False)
        return self._token(made).text, made.record

    def rotate_token(self, text: str, overlap: timedelta) -> RotatedToken:
        """Replace a token, given by its name, its id or in full; only name or id are sent."""
        token = text if token_id_in(text) is None and not has_token_prefix(text) else None
        fields = {
            "token": token or require_token_id(text),
            "hours": overlap / timedelta(hours=1),
        }
        path = "tokens/rotate"
        made = self._connection.send("POST", path, RotationAnswer, fields, repeats=False)
        return RotatedToken(self._token(made), made.record, made.replaces.record)

    def _token(self, made: TokenAnswer) -> ApiToken:
        token = parse_token(made.token)
        if token is None or token.id != made.id:
            raise Invalid(
                f"{self.url} has made a token that is none. See 'wheelyard token list' there.",
                code="no_index",
            )
        return token

    def revoke_token(self, text: str) -> str:
        """Revoke a token, given by its id or in full; return its id. Only the id is sent."""
        token_id = require_token_id(text)
        self._connection.send("DELETE", f"tokens/{token_id}", type(None))
        return token_id

    def access(self) -> AccessList:
        """Return all grants and groups; for an administrator, as all that follows."""
        return self._connection.send("GET", "access", AccessList)

    def access_history(self, after: int = 0) -> Iterator[AccessCommit]:
        """Yield the changes of those in the store behind number `after`, oldest first."""
        path = f"access/history?after={after}"
        yield from self._connection.send("GET", path, AccessHistory).commits

    def add_grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""
        return self._connection.send("POST", "access/grant", AddedGrant, fields)

    def revoke_grant(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""
        fields = {"id": grant_id, "note": note}
        self._connection.send("POST", "access/revoke", type(None), fields, repeats=False)

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""
        fields = {"change": change, "name": name, "who": members, "note": note}
        self._connection.send("POST", "access/group", type(None), fields, repeats=False)

    def explain_access(self, who: str, project: NormalizedName, action: str) -> AccessExplanation:
        """Return whether somebody may do something, and why."""
        query = urlencode({"who": who, "project": project, "action": action})
        return self._connection.send("GET", f"access/explain?{query}", AccessExplanation)


@dataclass(slots=True)
class RemoteJournals:
    """The journals of a server: those of all projects, or that of the project `only`."""

    connection: ApiConnection
    name_of: Callable[[str], str]
    """Returns the name of the API token that is a principal, or an empty text."""
    only: NormalizedName | None = None
    _looked_at: datetime = field(default=BEGINNING, init=False)

    def changed(self, since: datetime) -> Sequence[NormalizedName]:
        """Return the projects that may have changed since that time, and since the last call."""
        if self.only is not None:
            return (self.only,)
        moment = max(since, self._looked_at)
        looked_at = self.connection.runtime.now()
        # with a time the server looks at the documents, of which released names have one, too
        query = f"changed-since={quote(moment.isoformat())}"
        found = self.connection.send("GET", f"projects?{query}", NamesAnswer)
        self._looked_at = looked_at
        return [each.name for each in found.projects]

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, Commit | None]]:
        """Yield the commits of a project, newest first: the oldest page, then pages backwards."""
        first = self._page(name, after)
        size, end = max(first.end - after, 1), first.revision
        while end > first.end:
            begin = max(end - size, first.end)
            yield from self._page(name, begin).newest_first(begin, end)
            end = begin
        yield from first.newest_first(after, first.end)

    def _page(self, name: NormalizedName, after: int) -> JournalPage:
        return self.connection.send("GET", f"projects/{name}/journal?after={after}", JournalPage)
