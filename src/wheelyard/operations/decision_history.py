"""What was decided about one public package, for people; how much is read is bounded."""

from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.journals import DecisionRecords
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.model.decisions import Decision

DECISION_COMMITS: Final = 200
"""The commits that are read; decisions in force are known without them."""


class ToldDecisions(Struct, frozen=True):
    """The decisions about one project, newest first."""

    decisions: tuple[Decision, ...]
    is_whole: bool
    """Whether these are all, also those that others have replaced."""


def decision_history(
    records: DecisionRecords, name: NormalizedName, *, is_local: bool
) -> ToldDecisions:
    """
    Return the decisions in force about a project, and the others that were made lately.

    The journal is that of all projects, and its last `DECISION_COMMITS` commits are read. Raise
    Unavailable at an entry that is damaged or missing.
    """
    document = records.get().value
    if document is None:
        return ToldDecisions((), is_whole=True)
    first = max(1, document.revision - DECISION_COMMITS + 1)
    read = partial(records.kind.read_commit, records.store, document)
    numbers = range(document.revision, first - 1, -1)
    # handing work to threads takes longer than reading a file
    commits = map(read, numbers) if is_local else prefetch_map(read, numbers)
    recent = [each.event for each in commits if each.event.project == name]
    in_force = [each for each in document.decisions if each.project == name and each not in recent]
    in_force.sort(key=lambda each: each.at, reverse=True)
    return ToldDecisions((*recent, *in_force), is_whole=first == 1)
