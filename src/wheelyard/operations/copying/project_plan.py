"""What a copy knows of a project, from when its documents are read until its commits are added."""

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.project import Project
from wheelyard.storage.base import Entry, Key


class MissingObject(Struct, frozen=True):
    """An object of a project that has to be copied, as the target lacks it."""

    name: NormalizedName
    key: Key
    sha256: str
    filename: str
    is_deleted: bool = False
    """Whether the file is in the trash, so that its bytes may be gone from the source."""

    def __str__(self) -> str:
        return self.name


class ProjectPlan(Struct, frozen=True, kw_only=True):
    """What the target needs, so that it has a project as the source had it at the moment."""

    name: NormalizedName
    revision: int
    sha256: str
    """The digest of the document of this revision."""
    is_released: bool
    """Whether the name of the project was given up."""
    missing: tuple[MissingObject, ...]
    """The objects that have to be copied before the commits."""
    is_complete: bool = False
    """Whether the target has all commits of the project already."""

    def __str__(self) -> str:
        return self.name


class ComparedProject(Struct, frozen=True):
    """A project that is compared in both stores."""

    name: NormalizedName
    entries: tuple[Entry, ...] | None
    """The objects of the project in the target, or None if they were not listed."""

    def __str__(self) -> str:
        return self.name


class ProjectPair(Struct, frozen=True):
    """A project as both stores had it when it was compared."""

    source_project: Project
    target_project: Project
    entries: tuple[Entry, ...] | None
    """The objects of the project in the target, or None if they were not listed."""

    @property
    def records(self) -> int:
        """How many records of files and objects the pair keeps in memory."""
        # at least one, so that projects without files count, too
        count = 1
        for project in (self.source_project, self.target_project):
            count += len(project.files) + len(project.trash)
        if self.entries is not None:
            count += len(self.entries)
        return count
