"""The grants and groups that a command manages: of a store, or with `--server` of a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wheelyard.model.access_rules import AnyAccessEvent
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.wiring.index import Index


class ManagedAccess(Protocol):
    """What the commands do with grants and groups."""

    def show(self) -> AccessList:
        """Return all grants and groups."""

    def history(self) -> Sequence[AnyAccessEvent]:
        """Return the changes of those in the store, oldest first."""

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

    def history(self) -> Sequence[AnyAccessEvent]:
        """Return the changes of those in the store, oldest first."""
        return [each.event for each in self.index.access.history()]

    def grant(self, fields: GrantFields) -> AddedGrant:
        """Add a grant to the store; an equal one that is there stays, and is returned."""
        return self.index.add_grant(fields, self.by)

    def revoke(self, grant_id: str, note: str) -> None:
        """Remove a grant from the store."""
        self.index.access.revoke(grant_id, self.by, note)

    def edit_group(self, change: GroupChange, name: str, members: Sequence[str], note: str) -> None:
        """Change a group of the store."""
        self.index.access.edit_group(change, name, members, self.by, note)
