"""
The quotas of one index, as its uploads check them.

The quota of a project is exact, as the commit of a file checks it with the document that the commit
changes. The usage of an index is the sum over its search table, which has each commit of this
process, and those of other processes after `MAX_AGE_SECONDS` at most. So uploads at the same time
may exceed the quota of an index by their own files.
"""

from typing import Final

from msgspec import Struct

from wheelyard.errors import TooLarge
from wheelyard.model.project import Project
from wheelyard.model.quotas import (
    FileSize,
    ListedAmount,
    Quota,
    Quotas,
    Room,
    index_room,
    project_room,
    used_by,
)
from wheelyard.operations.search.search_index import SearchIndex

MAX_AGE_SECONDS: Final = 5.0
"""The age up to which a search table is used that may lack the uploads of other processes."""


class FileQuotas(Struct, frozen=True):
    """What the quotas leave for the files of one commit."""

    project: Quota
    """The quota of each project."""
    index: Room | None
    """What the quota of the index left before the commit, or None without such a quota."""

    def rooms(self, project: Project) -> list[Room]:
        """Return what each quota leaves for more files of a project."""
        rooms = list[Room]()
        if self.index is not None:
            rooms.append(self.index)
        if self.project.is_set:
            rooms.append(project_room(project.name, self.project, used_by(project)))
        return rooms

    def require_room(self, project: Project, size: FileSize) -> None:
        """Raise TooLarge (code `quota_exceeded`) if a quota has no room for files of this size."""
        for room in self.rooms(project):
            refusal = room.refusal(size)
            if refusal is not None:
                raise refusal


class QuotaCheck(Struct, frozen=True):
    """The quotas of an index, and how much of them is used."""

    index: str
    """The name of the index."""
    quotas: Quotas
    search: SearchIndex
    """Has the usage of the index."""

    def for_files(self) -> FileQuotas:
        """
        Return what the quotas leave now.

        Raises Unavailable if the store does not answer.
        """
        index_quota = self.quotas.index
        room: Room | None = None
        # without a quota of the index, nobody needs the search table
        if index_quota.is_set:
            room = index_room(self.index, index_quota, self._usage())
        return FileQuotas(self.quotas.project, room)

    def index_refusal(self, size: FileSize) -> TooLarge | None:
        """
        Return the error if the index has no room for a file of any project, else None.

        Raises Unavailable if the store does not answer.
        """
        room = self.for_files().index
        if room is None:
            return None
        return room.refusal(size)

    def _usage(self) -> ListedAmount:
        """Return how much the index lists, by a search table that may be some seconds old."""
        return self.search.table(MAX_AGE_SECONDS).usage
