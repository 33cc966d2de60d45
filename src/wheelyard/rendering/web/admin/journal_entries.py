"""The rows of the page of the journal, each for one entry or for several in a row."""

from collections.abc import Iterable
from itertools import groupby

from msgspec import Struct

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted
from wheelyard.model.project_json import JournalEntry
from wheelyard.rendering.project_facts import versions_of


class EntryRow(Struct, frozen=True):
    """The row of one entry, or of several entries about files of one release, by one principal."""

    entry: JournalEntry
    """The newest of the entries."""
    files: tuple[str, ...]
    """The files of all entries, the oldest first."""

    @property
    def what(self) -> str:
        """
        What has happened, in words without the files and the reason.

        Raises Invalid (code `invalid_filename` or `invalid_version`) if a file cannot be of the
        project.
        """
        entry = self.entry
        if entry.change:
            return entry.change
        versions = versions_of(self.files, entry.project)
        if entry.what == "status":
            return f"set the status to {entry.status}"
        detail = f" {entry.other_index}".rstrip()
        if entry.at_once:
            detail = " at once"
        names_releases = len(self.files) > 1 or bool(detail)
        if versions and names_releases:
            releases = counted(len(versions), "release")
            if len(versions) == 1:
                releases = versions[0]
            return f"{entry.verb} {releases}{detail}"
        if entry.what in {"reserved", "released"}:
            return f"{entry.what} the name"
        # the page names the single file beside these words
        return entry.what

    @property
    def who(self) -> str:
        """The principal in words."""
        return describe_principal(self.entry.by, self.entry.by_name, self.entry.owner)


def entry_rows(entries: Iterable[JournalEntry]) -> list[EntryRow]:
    """
    Return the rows for entries, which are in the order of the page, the newest first.

    Raises Invalid (code `invalid_filename` or `invalid_version`) if an upload is of a file that
    cannot be of its project.
    """
    rows: list[EntryRow] = []
    # `groupby` joins neighbours only, so the order of the journal stays
    for _, entries_of_row in groupby(entries, _row_key):
        newest_first = list(entries_of_row)
        filenames: list[str] = []
        for entry in reversed(newest_first):
            filenames += entry.files
        rows.append(EntryRow(newest_first[0], tuple(filenames)))
    return rows


def _row_key(entry: JournalEntry) -> tuple[object, ...]:
    """Return a key that entries in a row have in common if they are one row of the page."""
    # imported files may say who uploaded them elsewhere, which may differ from file to file
    if entry.what in {"uploaded", "imported", "promoted"} and not entry.uploaded_by:
        source = (entry.by, entry.by_name, entry.index)
        versions = versions_of(entry.files, entry.project)
        return entry.what, entry.in_index, entry.project, *source, *versions
    # no other entry has this key
    return (id(entry),)
