"""The grants and groups that a command manages: of a store, or with `--server` of a server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wheelyard.model.access_rules import AccessCommit
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.wiring.index import Index


class ManagedAccess(Protocol):
    """What the commands do with grants and groups."""

    def show(self) -> AccessList:
        """Return all grants and groups."""

    def history(self, after: int = 0) -> Iterator[AccessCommit]:
        """Yield the changes of those in the store behind number `after`, oldest first."""

    def grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""

    def revoke(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""


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
