"""What a copy knows of a project, from the first look at it to its commits."""

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.project import Project
from wheelyard.storage.base import Entry, Key


class MissingObject(Struct, frozen=True):
    """An object of a project that the target lacks."""

    name: NormalizedName
    key: Key
    sha256: str
    filename: str
    is_deleted: bool = False
    """Whether the file is in the trash. Its bytes may be gone, and then it cannot be restored."""

    def __str__(self) -> str:
        return self.name


class ProjectPlan(Struct, frozen=True, kw_only=True):
    """What the target needs of a project, so that it has it as it was at the moment."""

    name: NormalizedName
    revision: int
    sha256: str
    """The digest of the document of this revision."""
    is_released: bool
    """Whether its name was given up."""
    missing: tuple[MissingObject, ...]
    is_complete: bool = False
    """Whether the target has all of its commits."""

    def __str__(self) -> str:
        return self.name


class ComparedProject(Struct, frozen=True):
    """A project to look at."""

    name: NormalizedName
    entries: tuple[Entry, ...] | None
    """Its objects in the target, or None if nobody has listed them."""

    def __str__(self) -> str:
        return self.name


class ProjectPair(Struct, frozen=True):
    """A project as both stores had it when they were looked at first."""

    in_source: Project
    in_target: Project
    entries: tuple[Entry, ...] | None
    """The objects of the project in the target, or None if nobody has listed them."""

    @property
    def records(self) -> int:
        """How many records of files and objects it keeps in memory."""
        projects = (self.in_source, self.in_target)
        files = sum(len(project.files) + len(project.trash) for project in projects)
        return files + len(self.entries or ()) + 1
