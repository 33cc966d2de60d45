"""Where an import lists files: in the index, or, to see what would become of them, nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from packaging.utils import NormalizedName

from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.projects import Projects
from wheelyard.model.project import Project, apply
from wheelyard.operations.listing import Checked
from wheelyard.operations.upload import Uploads


@dataclass(frozen=True, slots=True)
class Ledger:
    """The index itself."""

    uploads: Uploads
    projects: Projects

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it is."""
        return self.projects.latest(name)

    def commit(self, name: NormalizedName, checked: Sequence[Checked], intent: Intent) -> Committed:
        """Store the bytes of files, carry out the intent that lists them, and return the change."""
        self.uploads.keep(name, checked)
        return self.projects.commits.submit(name, intent)

    def ensure(self, names: set[NormalizedName]) -> None:
        """See to it that names are in the list of projects."""
        self.projects.names.ensure(*names)


@dataclass(frozen=True, slots=True)
class Rehearsal(Ledger):
    """What the index would be like; nothing is written anywhere."""

    _changed: dict[NormalizedName, Project] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def latest(self, name: NormalizedName) -> Project:
        """Return a project as it would be by now."""
        return self._changed.get(name) or self.projects.latest(name)

    def commit(self, name: NormalizedName, checked: Sequence[Checked], intent: Intent) -> Committed:
        """Return what an intent would change."""
        del checked
        with self._lock:
            before = after = self.latest(name)
            for event in intent(before):
                after = apply(after, event)
            self._changed[name] = after
            return Committed(before, after)

    def ensure(self, names: set[NormalizedName]) -> None:
        """Do nothing."""
