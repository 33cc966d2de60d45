"""The files that a server puts into force at its start, and what differs from them since."""

import logging
from collections.abc import Iterator, Sequence
from platform import node
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict
from wheelyard.model.decoding import counted
from wheelyard.model.stored_indexes import AppliedFile
from wheelyard.operations.applying import (
    CHANGED_MEANWHILE,
    Applying,
    ApplyOptions,
    ApplyReport,
    SourcedTables,
)

BY: Final = "serve"
"""The principal of a server that applies a file at its start."""
NAMED_DIFFERENCES: Final = 9
"""How many things that differ a text names: a line of the log has to stay readable."""

logger = logging.getLogger("wheelyard")


class FileDrift(Struct, frozen=True, kw_only=True):
    """How what is in force differs from a file."""

    source: str
    differences: int
    """How many things differ."""
    text: str
    """Which file was applied last and by whom, and what differs from this one, in sentences."""


class AppliedFiles:
    """
    Applies files at the start of a server, and knows what differs from them. Threads may share it.

    Args:
        applying: Applies them.
        files: What they say.
        retries: What repeats that if another server starts at the same time.
    """

    def __init__(
        self, applying: Applying, files: Sequence[SourcedTables], retries: ConflictRetries
    ) -> None:
        self._applying = applying
        self._files = tuple(files)
        self._retries = retries
        self._logged = 0
        """The differences that the log has told of last."""

    def put_into_force(self) -> tuple[ApplyReport, ...]:
        """
        Apply the files, unless the same ones were applied last, and return what that changes.

        Nothing is pruned, and public packages that are in use stop no file. Raises Invalid or
        Conflict if a file cannot be applied. It is tried again if another server changes the same
        things at the same time. Raises Unavailable if that goes on (code `overloaded`), the store
        does not answer, or a document is damaged.
        """
        # nobody answers a question at the start, and what clients have asked for decides no start
        options = ApplyOptions(note=f"serve on {node()}", even_if_public=True)
        # Servers that start together have the same files. The one that is later makes its plan
        # again, by which nothing is left to do.
        for _ in self._retries.attempts():
            try:
                return self._applying.apply(self._files, BY, options)
            except Conflict as fault:
                # no other one goes away by itself, such as an index with packages that has to go
                if fault.code != CHANGED_MEANWHILE:
                    raise
        raise self._retries.exhausted("what describes the index")

    def drifts(self) -> Iterator[FileDrift]:
        """
        Yield for each file how what is in force differs from it, also if it does not.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        state = self._applying.read_state()
        reports = self._applying.compare(self._files, state)
        for file, report in zip(self._files, reports, strict=True):
            number = len(report.changes)
            sentences = [_last_applied_text(file, state.indexes.applied.get(file.source))]
            if number:
                changes = report.changes[:NAMED_DIFFERENCES]
                names = ", ".join(f"{change.kind} {change.name}" for change in changes)
                sentences.append(f"{counted(number, 'difference')} to what is in force: {names}.")
            yield FileDrift(source=file.source, differences=number, text=" ".join(sentences))

    def count_differences(self) -> int:
        """
        Return how many things differ from the files, and log them if that has changed.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        drifts = tuple(self.drifts())
        number = sum(drift.differences for drift in drifts)
        # Two threads that count at once may both log it, which does no harm.
        if number != self._logged:
            for drift in drifts:
                logger.warning("file %s: %s", drift.source, drift.text)
        self._logged = number
        return number


def _last_applied_text(file: SourcedTables, last: AppliedFile | None) -> str:
    """Return which file of this name was applied last, and by whom, in a sentence."""
    if last is None:
        return "It was never applied."
    what = "It was applied last"
    if last.digest != file.tables.digest:
        what = "Another file of this name was applied last"
    who = last.by
    if last.note:
        who = f"{who}, {last.note}"
    return f"{what} on {last.at:%Y-%m-%d %H:%M} UTC by {who}."
