"""Where an import lists files: in the index, or, to see what would become of them, nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from packaging.utils import NormalizedName

from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.projects import Projects
from wheelyard.model.project import Project, apply
from wheelyard.operations.listing import Checked
from wheelyard.operations.upload import Uploads


class Ledger(Protocol):
    """Where files are listed."""

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it is."""
        ...

    def keep(self, name: NormalizedName, checked: Sequence[Checked]) -> None:
        """Store the bytes of files."""
        ...

    def commit(self, name: NormalizedName, intent: Intent) -> Committed:
        """Carry out an intent, and return what it has changed."""
        ...

    def ensure(self, names: set[NormalizedName]) -> None:
        """See to it that names are in the list of projects."""
        ...


@dataclass(frozen=True, slots=True)
class Books:
    """The index itself."""

    uploads: Uploads
    projects: Projects

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it is."""
        return self.projects.latest(name)

    def keep(self, name: NormalizedName, checked: Sequence[Checked]) -> None:
        """Store the bytes of files."""
        self.uploads.keep(name, checked)

    def commit(self, name: NormalizedName, intent: Intent) -> Committed:
        """Carry out an intent, and return what it has changed."""
        return self.projects.commits.submit(name, intent)

    def ensure(self, names: set[NormalizedName]) -> None:
        """See to it that names are in the list of projects."""
        self.projects.names.ensure(*names)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the index would be like; nothing is written anywhere."""

    projects: Projects
    _changed: dict[NormalizedName, Project] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it would be by now."""
        return self._changed.get(name) or self.projects.latest(name)

    def keep(self, name: NormalizedName, checked: Sequence[Checked]) -> None:
        """Do nothing."""

    def commit(self, name: NormalizedName, intent: Intent) -> Committed:
        """Return what an intent would change."""
        with self._lock:
            before = after = self.latest(name)
            for event in intent(before):
                after = apply(after, event)
            self._changed[name] = after
            return Committed(before, after)

    def ensure(self, names: set[NormalizedName]) -> None:
        """Do nothing."""
