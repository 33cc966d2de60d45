"""The grants and groups that a command manages in a store; with `--server` see `api_client`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.wiring.index import Index


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """The grants and groups of a store and its settings, changed by the user of the command."""

    index: Index
    by: str

    def show(self) -> AccessList:
        """Return all grants and groups."""
        return self.index.access.show()

    def history(self, after: int = 0) -> Iterator[AccessCommit]:
        """Yield the changes of those in the store behind number `after`, oldest first."""
        return self.index.access.history(after)

    def grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""
        return self.index.add_grant(fields, self.by)

    def revoke(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""
        self.index.access.revoke(grant_id, self.by, note)

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""
        self.index.access.edit_group(change, name, members, self.by, note)
