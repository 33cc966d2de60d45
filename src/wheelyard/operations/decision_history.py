"""What was decided about one public package, for people; how much is read is bounded."""

from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.journals import DecisionRecords
from wheelyard.model.decisions import Decision, DecisionList

DECISION_COMMITS: Final = 200
"""The commits that are read; decisions in force are known without them."""


def decision_history(records: DecisionRecords, name: NormalizedName) -> tuple[list[Decision], bool]:
    """
    Return the decisions about a project, newest first, and whether these are all.

    They are those in force, and of those that others have replaced the ones that were made lately.

    The journal is that of all projects, and its last `DECISION_COMMITS` commits are read. Raise
    Unavailable at an entry that is damaged or missing.
    """
    document = records.get().value or DecisionList()
    after = max(0, document.revision - DECISION_COMMITS)
    made = [decision for commit in records.history(after) for decision in commit.events]
    recent = [decision for decision in reversed(made) if decision.project == name]
    in_force = (decision for decision in document.decisions if decision.project == name)
    older = [decision for decision in in_force if decision not in recent]
    older.sort(key=lambda decision: decision.at, reverse=True)
    return [*recent, *older], after == 0
