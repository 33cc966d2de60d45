"""A private project as a repository finds it, and the versions of documents that say so."""

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
    """The name of the index that has the document."""
    version: ObjectVersion


class FoundProject(Struct, frozen=True):
    """A private project as a repository shows it, from one index."""

    index: str
    """The name of the index whose own packages have the project."""
    projects: Projects
    """The stored projects of that index."""
    project: Project
    """The project with the files that are shown."""
    version: ObjectVersion
    """
    Changes with the files that are shown, and with those that are hidden and why.

    ABSENT if the project has no document.
    """
    hidden: Mapping[str, tuple[File, FileReason]] = {}
    """The files that are hidden, and why, by filename."""
    changes_at: datetime | None = None
    """When time alone may show other files, or None if it never does."""
    is_filtered: bool = False
    """Whether rules or a day decide which files are shown."""
    is_after_day: bool = False
    """Whether the project and all of its files came after the day that is looked at."""
