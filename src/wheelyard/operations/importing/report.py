"""The report of an import: the number of files by status, and those that it names."""

from collections import Counter
from enum import Enum
from typing import Final

from msgspec import Struct, field

from wheelyard.model.decoding import counted

MAX_NAMED: Final = 10_000
"""The refused files that a report keeps, and the skipped ones; more are only counted."""


class FileStatus(Enum):
    """The status of one entry of a source after the import."""

    NEW = "new"
    """It was added; in a dry run it would be."""
    THERE = "there"
    """It was listed already with equal bytes."""
    DELETED = "deleted"
    """It was deleted from the index, and is not added again."""
    PASSED_OVER = "passed_over"
    """It is not a distribution, or not one that the source lists."""
    SKIPPED = "skipped"
    """It is a distribution in a format that no index takes any more."""
    REFUSED = "refused"


class Outcome(Struct, frozen=True, kw_only=True):
    """The status of one entry of a source after the import, and the reason."""

    location: str
    """The location in the source."""
    status: FileStatus
    code: str = ""
    """The error code of a refusal, as in docs/errors.md."""
    why: str = ""
    """Why it was not added, in one or two sentences."""
    waived_rules: tuple[str, ...] = ()
    """The codes of the rules that it breaks and that were waived."""
    is_retryable: bool = False
    """Whether the reason of a refusal may pass, as it is not about the file itself."""


class Report(Struct):
    """The number of files by status so far, and the outcomes of the first that were not taken."""

    counts: Counter[FileStatus] = field(default_factory=Counter)
    waived_rules: Counter[str] = field(default_factory=Counter)
    """The number of new files for each waived rule."""
    refused: list[Outcome] = []
    """The first refused files, at most `MAX_NAMED`."""
    skipped: list[Outcome] = []
    """The first skipped files, at most `MAX_NAMED`."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; keep it if it is one of the first of a file that was not taken."""
        self.counts[outcome.status] += 1
        self.waived_rules.update(outcome.waived_rules)
        named = {FileStatus.REFUSED: self.refused, FileStatus.SKIPPED: self.skipped}
        outcomes = named.get(outcome.status)
        if outcomes is not None and len(outcomes) < MAX_NAMED:
            outcomes.append(outcome)

    def summary(self, *, dry_run: bool = False) -> str:
        """Return one line of text with the number of files by status, for operators."""
        counts = self.counts
        parts = [
            f"{'would import' if dry_run else 'imported'} {counted(counts[FileStatus.NEW], 'file')}"
        ]
        words = (
            (FileStatus.THERE, "there already"),
            (FileStatus.DELETED, "deleted here before"),
            (FileStatus.PASSED_OVER, "passed over"),
            (FileStatus.SKIPPED, "skipped"),
            (FileStatus.REFUSED, "refused"),
        )
        parts += [f"{counts[status]} {word}" for status, word in words if counts[status]]
        return ", ".join(parts)


class ImportProgress:
    """Receives the progress of an import; this base class ignores it."""

    __slots__ = ()

    def read(self, size: int) -> None:
        """Called by worker threads after each read, with the number of bytes."""

    def done(self, outcome: Outcome) -> None:
        """Called with each outcome, in no particular order, by the thread that runs the import."""
