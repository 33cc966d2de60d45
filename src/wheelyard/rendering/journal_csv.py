"""
The journal as CSV (RFC 4180), in UTF-8, for spreadsheets and programs.

It begins with a byte-order mark: without one, Excel takes UTF-8 for the code page of the machine.
"""

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Final

from wheelyard.model.project_json import JournalEntry

COLUMNS: Final = (
    "at",
    "project",
    "what",
    "status",
    "files",
    "by",
    "by_name",
    "credential",
    "reason",
    "sha256",
    "uploaded_by",
    "commit",
    "owner",
    "in_index",
)
CHUNK_CHARS: Final = 32 * 1024
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With what a cell begins that a spreadsheet may take for a formula, and run."""


def journal_csv(entries: Iterable[JournalEntry | str]) -> Iterator[bytes]:
    """
    Yield the table of entries in chunks, with a row for each.

    A text is a problem: why something is missing. It is the `reason` of a row that has `problem`
    as `what`. A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    text.write("\ufeff")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow(map(_harmless, _cells(entry)))
        if text.tell() >= CHUNK_CHARS:
            yield _taken(text)
    yield _taken(text)


def _cells(entry: JournalEntry | str) -> Iterator[str]:
    if isinstance(entry, str):
        values = {"what": "problem", "reason": entry}
        yield from (values.get(column, "") for column in COLUMNS)
        return
    for column in COLUMNS:
        match column:
            case "at":
                yield f"{entry.at:%Y-%m-%dT%H:%M:%S.%fZ}"
            case "files":
                yield " ".join(entry.files)  # no filename has a blank
            case _:
                yield str(getattr(entry, column) or "")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULAS) else cell


def _taken(text: StringIO) -> bytes:
    # texts of a store may have lone surrogates
    chunk = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return chunk
