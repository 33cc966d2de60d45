"""The grants and groups of a server, as the commands use them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.api_client.connection import ApiConnection
from wheelyard.authentication.explain import AccessExplanation
from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange


class _History(Struct, frozen=True):
    commits: tuple[AccessCommit, ...]


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """The grants and groups of a server; only an administrator may see or change them."""

    connection: ApiConnection

    def show(self) -> AccessList:
        """Return all grants and groups."""
        return self.connection.send("GET", "access", AccessList)

    def history(self, after: int = 0) -> Iterator[AccessCommit]:
        """Yield the changes of those in the store behind number `after`, oldest first."""
        yield from self.connection.send("GET", f"access/history?after={after}", _History).commits

    def grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""
        return self.connection.send("POST", "access/grant", AddedGrant, fields)

    def revoke(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""
        fields = {"id": grant_id, "note": note}
        self.connection.send("POST", "access/revoke", type(None), fields, repeats=False)

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""
        fields = {"change": change, "name": name, "who": members, "note": note}
        self.connection.send("POST", "access/group", type(None), fields, repeats=False)

    def explain(self, who: str, project: NormalizedName, action: str) -> AccessExplanation:
        """Return whether somebody may do something, and why."""
        query = urlencode({"who": who, "project": project, "action": action})
        return self.connection.send("GET", f"access/explain?{query}", AccessExplanation)
