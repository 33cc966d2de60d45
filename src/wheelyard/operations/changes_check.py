"""Verification of the feed: the last commit of each project has a serial, or will get one."""

from collections.abc import Mapping

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.errors import DAMAGED, WheelyardError
from wheelyard.operations.findings import Findings


class ChangesCheck(Struct, frozen=True):
    """Checks the list of changes, and marks commits that have no serial; adds to `findings`."""

    changes: Changes
    findings: Findings

    def run(self, revisions: Mapping[NormalizedName, int], *, rebuild: bool) -> None:
        """Check that projects with these revisions are in the list; `rebuild` a damaged one."""
        self._note_foreign_objects()
        try:
            unmarked = self._unmarked(revisions, rebuild=rebuild)
            self.changes.mark(unmarked)
        except WheelyardError as fault:
            advice = fault.message
            if fault.code == DAMAGED:
                advice = (
                    f"{fault.message} With --rebuild the list of changes begins again, and whoever "
                    "follows it has to look at all projects once more"
                )
            self.findings.problems.append(f"the list of changes cannot be read: {advice}")
        else:
            self.findings.repaired += [
                f"{name}: its last change will be in the list of changes" for name in unmarked
            ]

    def _unmarked(
        self, revisions: Mapping[NormalizedName, int], *, rebuild: bool
    ) -> Mapping[NormalizedName, int]:
        try:
            return self.changes.unmarked(revisions)
        except WheelyardError as fault:
            if not rebuild or fault.code != DAMAGED:
                raise
        self.changes.rebuild(revisions)
        self.findings.repaired.append(f"{keys.CHANGES}: the list of changes begins again")
        return self.changes.unmarked(revisions)

    def _note_foreign_objects(self) -> None:
        for entry in self.changes.store.list(keys.PENDING):
            if keys.parse_pending_mark(entry.key) is None:
                self.findings.add_foreign_object(entry.key)
        for entry in self.changes.store.list(keys.SEALED_CHANGES):
            if keys.entry_number(keys.SEALED_CHANGES, entry.key) is None:
                self.findings.add_foreign_object(entry.key)
