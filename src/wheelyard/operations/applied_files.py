"""The files that a server puts into force at its start, and what differs from them since."""

import logging
from collections.abc import Iterator, Sequence
from platform import node
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict
from wheelyard.model.decoding import counted
from wheelyard.operations.applying import (
    CHANGED_MEANWHILE,
    Applying,
    ApplyOptions,
    ApplyReport,
    SourcedTables,
)

BY: Final = "serve"
"""The principal of a server that applies a file at its start."""

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

    def put_into_force(self) -> tuple[ApplyReport, ...]:
        """
        Apply the files, unless the same ones were applied last, and return what that changes.

        Nothing is pruned. Raises as `Applying.apply`, but for what another server changes at the
        same time.
        """
        # nobody answers a question at the start, and what clients have asked for decides no start
        options = ApplyOptions(note=f"serve on {node()}", even_if_public=True)
        for _ in self._retries.attempts():
            try:
                return self._applying.apply(self._files, BY, options)
            except Conflict as fault:
                if fault.code != CHANGED_MEANWHILE:
                    raise
        raise self._retries.exhausted("what describes the index")

    def drifts(self) -> Iterator[FileDrift]:
        """
        Yield how what is in force differs from each file.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        state = self._applying.read_state()
        reports = self._applying.compare(self._files, state)
        for file, report in zip(self._files, reports, strict=True):
            number = len(report.changes)
            last = state.indexes.applied.get(file.source)
            sentences = ["It was never applied."]
            if last is not None:
                what = "It was applied last"
                if last.digest != file.tables.digest:
                    what = "Another file of this name was applied last"
                who = f"{last.by}, {last.note}" if last.note else last.by
                sentences = [f"{what} on {last.at:%Y-%m-%d %H:%M} UTC by {who}."]
            if number:
                names = ", ".join(f"{change.kind} {change.name}" for change in report.changes[:9])
                sentences.append(f"{counted(number, 'difference')} to what is in force: {names}.")
            yield FileDrift(source=file.source, differences=number, text=" ".join(sentences))

    def count_differences(self) -> int:
        """
        Return how many things differ from the files, and log them if that has changed.

        Raises Unavailable as `drifts`.
        """
        drifts = tuple(self.drifts())
        number = sum(drift.differences for drift in drifts)
        if number != self._logged:
            for drift in drifts:
                logger.warning("file %s: %s", drift.source, drift.text)
        self._logged = number
        return number
