"""
The history of a project, newest first.

Of a private one it is its journal, on several pages; of a public one, what was decided about it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted
from wheelyard.model.grants import with_name
from wheelyard.model.journal_entry import JournalEntry
from wheelyard.model.public_packages import Decision, describe
from wheelyard.rendering.project_facts import versions_of
from wheelyard.rendering.simple_pages import seconds_text


class HistoryLinks(Struct, frozen=True):
    """The numbers of the pages beside one page of a history; 1 is the oldest."""

    number: int | None
    """Of this page; None is the newest one, which has no number."""
    count: int
    """How many pages have a number."""

    @property
    def older(self) -> str:
        """The URL of the next older page, relative to this one; empty if this is the oldest."""
        if self.number is None:
            return f"{self.count}/" if self.count else ""
        return f"../{self.number - 1}/" if self.number > 1 else ""

    @property
    def newer(self) -> str:
        """The URL of the next newer page, relative to this one; empty if this is the newest."""
        if self.number is None:
            return ""
        return f"../{self.number + 1}/" if self.number < self.count else "../"

    @property
    def root(self) -> str:
        """The home page, relative to this page."""
        return "../../../" if self.number is None else "../../../../"


NEWEST: Final = HistoryLinks(None, 0)
"""The only page."""


class Change(Struct, frozen=True):
    """One change, or several of one kind in a row, as one item of the page."""

    at: str
    """The time of the newest of them."""
    who: str
    credential: str
    what: str
    """A sentence without its subject: `uploaded 1.0`."""
    files: tuple[str, ...]
    reason: str


class History(Struct, frozen=True, kw_only=True):
    """One page of a history."""

    name: NormalizedName
    changes: Sequence[Change]
    """Newest first."""
    links: HistoryLinks = NEWEST
    lost: Sequence[int] = ()
    """The commits that the journal has lost."""
    is_public: bool = False
    is_whole: bool = True
    """Whether all decisions about a public project are on the page."""


def changes_of(entries: Sequence[JournalEntry]) -> list[Change]:
    """Return entries as changes, newest first; uploads of one release by one person are one."""
    return [_change(list(group)) for _, group in groupby(reversed(entries), key=_group)]


def _group(entry: JournalEntry) -> tuple[object, ...]:
    """Return what entries in a row have in common that are shown as one change."""
    if entry.what == "uploaded":
        return (entry.what, entry.by, entry.by_name, *versions_of(entry.files))
    if entry.what == "imported":
        return (entry.what, entry.by, entry.by_name)
    return (id(entry),)


def _change(entries: Sequence[JournalEntry]) -> Change:
    newest = entries[0]
    return Change(
        at=seconds_text(newest.at),
        who=with_name(newest.by, newest.by_name),
        credential=newest.credential,
        what=_in_words(newest, versions_of(file for each in entries for file in each.files)),
        files=tuple(_files(entries)),
        reason=newest.reason,
    )


def change_by(decision: Decision) -> Change:
    """Return a decision as a change; its reason is among its words."""
    return Change(seconds_text(decision.at), decision.by, "", describe(decision), (), "")


def _in_words(entry: JournalEntry, versions: Sequence[str]) -> str:
    match entry.what:
        case "status":
            return f"set the status to {entry.status}"
        case "granted" | "revoked" | "group" | "group-deleted":
            return "changed who may do what"
        case "reserved" | "released":
            return f"{entry.what} the name"
    of = versions[0] if len(versions) == 1 else counted(len(versions), "release")
    return f"{entry.what} {of}"


def _files(entries: Sequence[JournalEntry]) -> Iterator[str]:
    """Yield the files of all entries in order, an imported one with who uploaded it elsewhere."""
    for entry in reversed(entries):
        source = f" (uploaded elsewhere by {entry.uploaded_by})" if entry.uploaded_by else ""
        yield from (f"{file}{source}" for file in entry.files)
