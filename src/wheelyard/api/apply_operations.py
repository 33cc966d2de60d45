"""
Operations that show, and put into force, what describes the index.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from wheelyard.api.operation import Call, Note
from wheelyard.errors import Invalid
from wheelyard.model.decoding import require_one_line
from wheelyard.model.index_file import WRONG_FILE, IndexTables, read_tables
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.applying import ApplyOptions, ApplyReport, SourcedTables

MAX_FILES = 16
SOURCE_LIMIT_CHARS = 100
Source = Annotated[str, Meta(title="Source")]
"""One line of text that is not empty."""
Tables = Annotated[dict[str, Any], Meta(title="Tables")]


class FileToApply(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that describes the index."""

    source: Source
    """The name of the file, which the things that the file makes or changes keep."""
    tables: Tables
    """The tables of the file, as TOML has them, without the sections of the settings."""


class ApplyRequest(ApplyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files to apply, one after the other, and how."""

    files: Annotated[tuple[FileToApply, ...], Meta(min_length=1, max_length=MAX_FILES)]
    note: Note = ""
    """Why the files are applied, or where the files come from, for the journal."""


class ApplyAnswer(Struct, frozen=True):
    """What files change, or have changed."""

    files: tuple[ApplyReport, ...]


def show_tables(call: Call) -> IndexTables:
    """Show what describes the index, as a file has it."""
    return call.index.server.applying.show()


def apply_files(call: Call, body: ApplyRequest) -> ApplyAnswer:
    """
    Put into force what files say of the index.

    In a dry run nothing is written, and the answer says what would change. Otherwise nothing is
    written unless all files can be applied. A file that was applied last of its source is only
    applied again with `again`.

    Raises Invalid if a file (code `wrong_file`) or the note is malformed, or if an index, a group
    or a grant of a file does not fit into what is there. Raises Conflict if an index that has to go
    has packages, or there would be too many webhooks (code `too_many_webhooks`). Raises Conflict
    (code `namespace_overlaps`) if a namespace is in, or around, one of other owners, and (code
    `changed_meanwhile`) if somebody else changes the same things at the same time. Raises Conflict
    until it is confirmed that the caller is no administrator afterwards (code `own_access`), that
    an index opens what needs a right in another (code `opens_index`), or that public packages in
    use are not served any more (code `hides_public_names`).
    """
    require_one_line(body.note, "A note", NOTE_LIMIT_CHARS)
    files = list[SourcedTables]()
    for file in body.files:
        # sent by the caller, so that unknown keys and wrong values are refused here
        tables = read_tables(file.tables, ())
        files.append(SourcedTables(_checked_source(file), tables))
    # kept, as a mistake in a file could leave the server without an administrator
    keep_admin = call.caller.principals
    if body.even_if_own:
        keep_admin = frozenset()
    reports = call.index.server.applying.apply(tuple(files), call.by, body, keep_admin)
    return ApplyAnswer(reports)


def _checked_source(file: FileToApply) -> str:
    """Return the source of a file, or raise Invalid unless it is one line that is not empty."""
    require_one_line(file.source, "The name of a source", SOURCE_LIMIT_CHARS)
    if not file.source:
        raise Invalid("Name the source of each file.", code=WRONG_FILE)
    return file.source
