"""The page of the journal: what its template shows of an entry."""

from collections.abc import Iterable
from itertools import groupby

from msgspec import Struct

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted
from wheelyard.model.project_json import JournalEntry
from wheelyard.rendering.project_facts import versions_of


class EntryRow(Struct, frozen=True):
    """An entry on the page, or several in a row: files of one release, by one principal."""

    entry: JournalEntry
    """The newest of the entries."""
    files: tuple[str, ...]
    """The files of all entries, the oldest first."""

    @property
    def what(self) -> str:
        """
        What has happened, without its files and its reason.

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
        if versions and (len(self.files) > 1 or detail):
            releases = counted(len(versions), "release")
            if len(versions) == 1:
                releases = versions[0]
            return f"{entry.verb} {releases}{detail}"
        if entry.what in {"reserved", "released"}:
            return f"{entry.what} the name"
        # the page names the file beside it
        return entry.what

    @property
    def who(self) -> str:
        """The principal in words."""
        return describe_principal(self.entry.by, self.entry.by_name, self.entry.owner)


def entry_rows(entries: Iterable[JournalEntry]) -> list[EntryRow]:
    """
    Return the rows for entries, which come newest first.

    Raises Invalid (code `invalid_filename` or `invalid_version`) if an upload is of a file that
    cannot be of its project.
    """
    rows: list[EntryRow] = []
    # neighbours only, so that the order of the journal stays
    for _, group in groupby(entries, _row_key):
        newest_first = list(group)
        filenames: list[str] = []
        for entry in reversed(newest_first):
            filenames += entry.files
        rows.append(EntryRow(newest_first[0], tuple(filenames)))
    return rows


def _row_key(entry: JournalEntry) -> tuple[object, ...]:
    """Return what entries in a row have in common that are one row."""
    # what was imported may say who uploaded it elsewhere, and that may differ from file to file
    if entry.what in {"uploaded", "imported", "promoted"} and not entry.uploaded_by:
        who = (entry.by, entry.by_name, entry.index)
        versions = versions_of(entry.files, entry.project)
        return entry.what, entry.in_index, entry.project, *who, *versions
    return (id(entry),)  # so that it is alone
