"""The journals and the feed of one index of a store."""

from datetime import datetime

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.changes import Changes
from wheelyard.catalog.projects import Projects
from wheelyard.model.index_name import MAIN


class IndexJournals(Struct, frozen=True):
    """The journals of the projects of an index, and the feed of their changes."""

    index: str
    """The name of the index."""
    projects: Projects
    changes: Changes
    created: datetime | None = None
    """When the index was made, UTC, or None for main."""

    def journal_name(self, project: NormalizedName) -> str:
        """Return the name of the journal of a project, with `INDEX/` in front unless it is main."""
        if self.index == MAIN:
            return project
        return f"{self.index}/{project}"
