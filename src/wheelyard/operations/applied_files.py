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
    Applies files at the start of a server, and compares what is in force with them.

    Threads may share it.

    Args:
        applying: Applies and compares the files.
        files: What the files say, in the order in which they are applied.
        retries: Repeats the applying if another server starts at the same time.
    """

    def __init__(
        self, applying: Applying, files: Sequence[SourcedTables], retries: ConflictRetries
    ) -> None:
        self._applying = applying
        self._files = tuple(files)
        self._retries = retries
        self._logged_differences = 0
        """How many differences there were when they were logged last."""

    def put_into_force(self) -> tuple[ApplyReport, ...]:
        """
        Apply the files, unless the same ones were applied last, and return what that changes.

        Nothing is pruned, and public packages that are in use stop no file. If another server
        changes the same things at the same time, the files are applied again.

        Raises Invalid or Conflict if a file cannot be applied. Raises Unavailable if other servers
        do not stop changing the same things (code `overloaded`), if the store does not answer, or
        if a document is damaged.
        """
        # nobody answers a question at the start, and what clients have asked for decides no start
        options = ApplyOptions(note=f"serve on {node()}", even_if_public=True)
        # Servers that start together have the same files. The one that is later makes its plan
        # again, by which nothing is left to do.
        for _ in self._retries.attempts():
            try:
                return self._applying.apply(self._files, BY, options)
            except Conflict as fault:
                # any other conflict stays, such as that of a file that removes an index with
                # packages
                if fault.code != CHANGED_MEANWHILE:
                    raise
        raise self._retries.exhausted("what describes the index")

    def drifts(self) -> Iterator[FileDrift]:
        """
        Yield for each file how what is in force differs from it, also if nothing differs.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        state = self._applying.read_state()
        reports = self._applying.compare(self._files, state)
        for file, report in zip(self._files, reports, strict=True):
            last_applied = state.indexes.applied.get(file.source)
            differences = len(report.changes)
            sentences = [_describe_last_applied(file, last_applied)]
            if differences:
                changes = report.changes[:NAMED_DIFFERENCES]
                names = ", ".join(f"{change.kind} {change.name}" for change in changes)
                count_text = counted(differences, "difference")
                sentences.append(f"{count_text} to what is in force: {names}.")
            yield FileDrift(source=file.source, differences=differences, text=" ".join(sentences))

    def count_differences(self) -> int:
        """
        Return how many things differ from the files, and warn of them if the number has changed.

        One warning about each file is logged if the number is another than at the last call, also
        about files without differences, and also if it is 0 now. The first call compares with 0.
        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        drifts = tuple(self.drifts())
        differences = sum(drift.differences for drift in drifts)
        # two threads that count at once may both log them, which does no harm
        if differences != self._logged_differences:
            for drift in drifts:
                logger.warning("file %s: %s", drift.source, drift.text)
        self._logged_differences = differences
        return differences


def _describe_last_applied(file: SourcedTables, last_applied: AppliedFile | None) -> str:
    """Return which file with the name of `file` was applied last, and by whom, in a sentence."""
    if last_applied is None:
        return "It was never applied."
    beginning = "It was applied last"
    if last_applied.digest != file.tables.digest:
        beginning = "Another file of this name was applied last"
    author = last_applied.by
    if last_applied.note:
        author = f"{author}, {last_applied.note}"
    return f"{beginning} on {last_applied.at:%Y-%m-%d %H:%M} UTC by {author}."
