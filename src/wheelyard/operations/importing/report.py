"""What became of the files of a source."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from wheelyard.model.text import counted

MAX_REFUSALS: Final = 10_000
"""Refusals that a report has in full; of the others it has the number."""


class FileStatus(Enum):
    """What became of one thing that a source has."""

    NEW = "new"
    """It is listed now; in a dry run it would be."""
    THERE = "there"
    """The very same bytes were listed already."""
    DELETED = "deleted"
    """It was deleted from the index, and so stays away."""
    PASSED_OVER = "passed_over"
    """It is no distribution."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one thing that a source has, and why."""

    location: str
    """Where it is, as the source says it."""
    status: FileStatus
    code: str = ""
    """Of the refusal, as in docs/errors.md."""
    why: str = ""
    """Why it is not listed, one sentence or two."""
    excused: tuple[str, ...] = ()
    """The codes of the rules that it fails and was taken in spite of."""
    may_pass: bool = False
    """Whether a refusal is not about the file itself: it may be taken another time."""


@dataclass(slots=True)
class Report:
    """What became of everything that a source has, so far."""

    counts: Counter[FileStatus] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    """How many of the new files fail which rule."""
    refused: list[Outcome] = field(default_factory=list)
    """The first refusals."""

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.counts[outcome.status] += 1
        self.excused.update(outcome.excused)
        if outcome.status is FileStatus.REFUSED and len(self.refused) < MAX_REFUSALS:
            self.refused.append(outcome)

    def summary(self, *, dry_run: bool = False) -> str:
        """Return it in one line."""
        counts = self.counts
        parts = [
            f"{'would import' if dry_run else 'imported'} {counted(counts[FileStatus.NEW], 'file')}"
        ]
        words = (
            (FileStatus.THERE, "there already"),
            (FileStatus.DELETED, "deleted here before"),
            (FileStatus.PASSED_OVER, "passed over"),
            (FileStatus.REFUSED, "refused"),
        )
        parts += [f"{counts[status]} {word}" for status, word in words if counts[status]]
        return ", ".join(parts)


class Progress:
    """What is told how far an import has come; this takes no notice."""

    __slots__ = ()

    def read(self, size: int) -> None:
        """Take note that so many bytes were read just now; called by several threads."""

    def done(self, outcome: Outcome) -> None:
        """Take note of what became of something; called by one thread, and not in their order."""
