"""
The operation that lists entries of all journals together, for administrators.

It raises Unavailable if the store does not answer.
"""

import re
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from wheelyard.api.operation import Call, OptionalIndex, OptionalName
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.project_json import JournalEntry, require_entry_kind
from wheelyard.operations.index_definitions import unknown_index
from wheelyard.operations.journal_reader import BEGINNING
from wheelyard.operations.merged_journal import JournalFilter, JournalPlace

EntryKind = Annotated[str, Meta(title="EntryKind")]
"""What `require_entry_kind` takes, or an empty text."""
JournalPlaceText = Annotated[str, Meta(title="JournalPlace")]
"""What an answer has as `next`, or an empty text."""
JOURNALS: Final = "see the journals of all projects"
"""What only administrators may do."""
LOCAL_COMMITS: Final = 5_000
REMOTE_COMMITS: Final = 500
"""The most commits that are read for one answer. On a bucket each of them is a request."""
_PLACE_PATTERN: Final = re.compile(
    r"([0-9TZ:.-]{27})/((?:[a-z0-9-]{1,40}/)?-?[a-z0-9-]{1,200})/([0-9]{1,15})", re.ASCII
)
_PLACE_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"

Moment = Annotated[datetime, Meta(tz=True)] | None


class JournalQuery(Struct, frozen=True, kw_only=True):
    """A query for entries of all journals. Empty fields mean all."""

    index: OptionalIndex = ""
    """The name of an index, or an empty text for all indexes."""
    project: OptionalName = ""
    by: str = ""
    """
    Whose entries are listed: a principal, whose own tokens count, an id or a name of a token, or an
    e-mail address. An empty text lists those of everybody.
    """
    what: EntryKind = ""
    """
    The kind of the entries, such as `uploaded`, `yanked`, `granted` or `promoted to`, or an empty
    text for all kinds.
    """
    since: Moment = None
    until: Moment = None
    """
    The moment before which the listed entries were made. Without a moment, there is no such limit.
    """
    before: JournalPlaceText = ""
    """
    The `next` of an earlier answer, to list what follows that answer. An empty text begins with the
    newest entry.
    """
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """
    How many entries are enough. The entries of one commit stay together, so there may be more.
    """

    @property
    def parsed(self) -> JournalFilter:
        """
        The filter for the merged journal.

        Raises Invalid if the name of the project is malformed, or `what` means no entry.
        """
        if self.what:
            require_entry_kind(self.what)
        project = ""
        if self.project:
            project = parse_name(self.project)
        return JournalFilter(
            index=self.index,
            project=project,
            by=self.by,
            what=self.what,
            since=max(self.since or BEGINNING, BEGINNING),
            until=self.until,
        )


class JournalEntries(Struct, frozen=True):
    """Entries of all journals, the newest first."""

    entries: tuple[JournalEntry, ...]
    next: str
    """
    The `before` of the next query, also if this answer has no entries, or an empty text at the end
    of the journals.
    """
    looked_back_to: datetime | None
    """
    The time of the oldest commit that was looked at for this answer, or None without a commit.
    """
    problems: tuple[str, ...]
    """Sentences about what could not be read."""


def list_entries(call: Call, body: JournalQuery) -> JournalEntries:
    """
    List entries of the journals of all indexes, of grants and of decisions, the newest first.

    The commits that are read for one answer are limited in number. So an answer may have fewer
    entries than `limit`, or none, and still a `next`. It may have more, too, as no commit is
    divided. A journal that cannot be read is one of its `problems`, and no error. Raises Invalid if
    the name of the project or `before` is malformed, or `what` means no entry, and NotFound if
    there is no such index.
    """
    _require_index(call, body)
    server = call.index.server
    journal_filter = body.parsed
    start = _parse_place(body.before)
    problems = list[str]()
    entries = list[JournalEntry]()
    commits_left = LOCAL_COMMITS if server.is_local else REMOTE_COMMITS
    place: JournalPlace | None = None
    next_place = ""

    # the reader has added all `problems` only when it is closed
    with closing(server.merged_journal.read(journal_filter, problems, start)) as steps:
        for step in steps:
            entries += step.entries
            place = step.place
            commits_left -= 1
            # the number of commits is limited, as few entries may pass the filter
            if len(entries) >= body.limit or not commits_left:
                next_place = _encode_place(place)
                break
    looked_back_to = None
    if place is not None:
        looked_back_to = place.at
    return JournalEntries(
        entries=tuple(entries),
        next=next_place,
        looked_back_to=looked_back_to,
        problems=tuple(dict.fromkeys(problems)),
    )


def _require_index(call: Call, body: JournalQuery) -> None:
    """Raise NotFound if the store has no index of this name, whether or not it is served now."""
    names = call.index.server.definitions.names()
    if body.index not in {"", MAIN} and body.index not in names:
        raise unknown_index(body.index)


def _encode_place(place: JournalPlace) -> str:
    """Return a place as the text that `_parse_place` reads."""
    return f"{place.at.astimezone(UTC).strftime(_PLACE_TIME_FORMAT)}/{place.name}/{place.number}"


def _parse_place(text: str) -> JournalPlace | None:
    """
    Return the place in a text, or None for an empty text.

    Raises Invalid if the text is no place.
    """
    if not text:
        return None
    match = _PLACE_PATTERN.fullmatch(text)
    if match is not None:
        # the pattern also matches months and days that do not exist
        try:
            at = datetime.strptime(match[1], _PLACE_TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            pass
        else:
            return JournalPlace(at, match[2], int(match[3]))
    raise Invalid("before is no place. Send the `next` of an answer.", code="invalid_field")
