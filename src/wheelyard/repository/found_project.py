"""What a repository finds, and the versions of documents that it follows from."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from wheelyard.catalog.projects import Projects
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import FileReason
from wheelyard.storage.base import ObjectVersion


class DocumentVersion(Struct, frozen=True):
    """A version of a document that an answer follows from."""

    kind: Literal["project", "names", "table"]
    """The document of the project, the list of names, or the table of all that is shown."""
    index: str
    """The name of the index that it is of."""
    version: ObjectVersion


class FoundProject(Struct, frozen=True):
    """A private project as a repository shows it, from one index."""

    index: str
    """The name of the index whose own packages it is one of."""
    projects: Projects
    """Those of that index."""
    project: Project
    """With the files that are shown."""
    version: ObjectVersion
    """Another one for each other content, also of what is hidden. ABSENT without a document."""
    hidden: Mapping[str, tuple[File, FileReason]] = {}
    """The files that are hidden, and why, by filename."""
    changes_at: datetime | None = None
    """When time alone may show other files, or None if it never does."""
    is_filtered: bool = False
    """Whether rules or a day decide which files are shown."""
    came_later: bool = False
    """Whether all of it came after the day that is looked at."""
