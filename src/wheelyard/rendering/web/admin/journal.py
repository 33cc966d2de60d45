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
    """The newest of them."""
    files: tuple[str, ...]
    """Of all of them."""

    @property
    def what(self) -> str:
        """What has happened, without its files and its reason."""
        entry = self.entry
        if entry.change:
            return entry.change
        versions = versions_of(self.files, entry.project)
        if entry.what == "status":
            return f"set the status to {entry.status}"
        detail = " at once" if entry.at_once else f" {entry.other_index}".rstrip()
        if versions and (len(self.files) > 1 or detail):
            of = versions[0] if len(versions) == 1 else counted(len(versions), "release")
            return f"{entry.verb} {of}{detail}"
        return {"reserved": "reserved the name", "released": "released the name"}.get(
            entry.what, entry.what
        )

    @property
    def who(self) -> str:
        """The principal in words."""
        return describe_principal(self.entry.by, self.entry.by_name, self.entry.owner)


def entry_rows(entries: Iterable[JournalEntry]) -> list[EntryRow]:
    """Return the rows for entries, which come newest first."""
    groups = (list(group) for _, group in groupby(entries, _together))
    return [
        EntryRow(group[0], tuple(file for entry in reversed(group) for file in entry.files))
        for group in groups
    ]


def _together(entry: JournalEntry) -> tuple[object, ...]:
    """Return what entries in a row have in common that are one row."""
    if entry.what in {"uploaded", "imported", "promoted"} and not entry.uploaded_by:
        who = (entry.by, entry.by_name, entry.index)
        versions = versions_of(entry.files, entry.project)
        return entry.what, entry.in_index, entry.project, *who, *versions
    return (id(entry),)  # so that it is alone
