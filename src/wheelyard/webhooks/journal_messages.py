"""Makes the messages to webhooks from the journals of projects and the journals about rights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, takewhile

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import CLOCK_TOLERANCE
from wheelyard.catalog.commits import Journal
from wheelyard.errors import UNREADABLE_CODES, NotFound, Unavailable
from wheelyard.model import webhook_messages
from wheelyard.model.project import Commit, EventKind, File, Project
from wheelyard.model.project_json import other_entry_of
from wheelyard.model.stored_webhooks import WebhookEvent
from wheelyard.model.webhook_messages import EventGroup, Outgoing
from wheelyard.model.webhook_state import MessagePlace
from wheelyard.operations.webhooks import AccessJournals, FindIndexes, last_commit_numbers

Ranges = Sequence[tuple[int, int]]
"""The first and the last number of commits, in their order."""


class _OpenedProject(Struct, frozen=True):
    """A project, and its journal."""

    index: str
    """The name of the index."""
    name: NormalizedName
    project: Project
    journal: Journal[Project, Commit]


class LostCommit(Exception):
    """The commit that the next message is about cannot be read, as it is damaged or missing."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
        self.why = why


class MessageSource:
    """
    Makes the messages about the commits of journals.

    Threads may share it. Each method raises Unavailable if the store does not answer.

    Args:
        find_indexes: Returns the journals and the feed of each index of the store, by name.
        access: The journals about rights, by name.
        urls: Makes the URLs in messages.
    """

    def __init__(
        self,
        find_indexes: FindIndexes,
        access: AccessJournals,
        urls: webhook_messages.MessageUrls,
    ) -> None:
        self.find_indexes = find_indexes
        self.access = access
        self.urls = urls

    def access_ends(self) -> dict[str, int]:
        """Return the number of the last commit of each journal about rights."""
        return last_commit_numbers(self.access)

    def messages(
        self, place: MessagePlace, ranges: Ranges, event: str, imported: Ranges = ()
    ) -> Iterator[Outgoing]:
        """
        Yield the messages about commits of a journal, from a place on.

        `ranges` are the numbers of the commits. `imported` are those of them that have come from
        another store: a message about one of these says of a project that it is imported, and a
        journal about rights has no such messages. `event` is the event of the first message if an
        earlier try has determined it, else empty: it depends on the other files of the project, so
        it may be another one now.

        The iterator raises NotFound if the journal or its index is gone. It raises LostCommit when
        it comes to a damaged or missing commit, or at once if the document with the journal's end
        is damaged, or this version knows no journal of that name.
        """
        if place.index:
            return self._project_messages(place, ranges, event, imported)
        return self._access_messages(place, ranges)

    def _project_messages(
        self, place: MessagePlace, ranges: Ranges, first_event: str, imported: Ranges
    ) -> Iterator[Outgoing]:
        """Yield the messages about commits of a project: one for each group of events."""
        index = self.find_indexes().get(place.index)
        if index is None:
            raise NotFound(f"There is no index {place.index} any more.")
        name = NormalizedName(place.project)
        with _damage_at(place.number):
            project = index.projects.documents.get(keys.project(name), "current").value
        if project is None:
            raise NotFound(f"There is no project {name} any more.")
        opened = _OpenedProject(index.index, name, project, index.projects.journal(project))
        for number in _numbers(ranges, place.number):
            with _damage_at(number):
                commit = opened.journal.read(number)
            is_imported = any(start <= number <= end for start, end in imported)
            for group in webhook_messages.group_events(name, commit.events):
                # of the first commit, some messages may be done with already
                if number == place.number and group.position < place.position:
                    continue
                outgoing = self._message_of_group(opened, commit, group, place, first_event)
                if is_imported:
                    outgoing = replace(outgoing, message=replace(outgoing.message, imported=True))
                yield outgoing

    def _message_of_group(
        self,
        opened: _OpenedProject,
        commit: Commit,
        group: EventGroup,
        first_place: MessagePlace,
        first_event: str,
    ) -> Outgoing:
        """
        Return the message about a group of events of a commit.

        The message at `first_place` has the event `first_event` unless that is empty. No other
        message was tried before.
        """
        number = commit.number
        place = MessagePlace(first_place.journal, number, group.position)
        event = _find_event(group, commit, opened.project, opened.journal)
        if first_event and place == first_place:
            event = WebhookEvent(first_event)
        with _damage_at(number):  # the files may be in an earlier commit that is damaged
            files = _find_files(opened.journal, opened.project, number, group.filenames)
        message = webhook_messages.message_of(
            group, event, opened.index, opened.name, files, self.urls
        )
        release = f"{opened.name} {group.release}".rstrip()  # or a project alone
        # the id follows from the commit: a message that is sent again has the same one
        return Outgoing(
            id=webhook_messages.message_id(place, commit),
            place=place,
            event=event,
            subject=f"{release} in {opened.index}",
            message=message,
        )

    def _access_messages(self, place: MessagePlace, ranges: Ranges) -> Iterator[Outgoing]:
        """Yield a message about each of these commits of a journal about rights."""
        records = self.access.get(place.journal)
        if records is None:
            # a server of a later version beside this one knows the journal, and sends it
            raise LostCommit(place.number, f"This version has no journal {place.journal}.")
        with _damage_at(place.number):
            document = records.get("current").value
        if document is None:
            raise NotFound("The journal is gone.")
        journal = records.commits.journal(records.kind, document)
        for number in _numbers(ranges, place.number):
            with _damage_at(number):
                commit = journal.read(number)
            entries = [other_entry_of(number, event, "") for event in commit.events]
            message = webhook_messages.AccessMessage(
                type="access.changed",
                time=entries[0].at,
                by=entries[0].by,
                changes=tuple(entry.reason for entry in entries),
                url=self.urls.of_journal,
            )
            message_place = MessagePlace(place.journal, number)
            yield Outgoing(
                id=webhook_messages.message_id(message_place, commit),
                place=message_place,
                event=WebhookEvent.ACCESS_CHANGED,
                subject=entries[0].reason,
                message=message,
            )


def _find_event(
    group: EventGroup, commit: Commit, project: Project, journal: Journal[Project, Commit]
) -> WebhookEvent:
    """
    Return the event that a message about a group of events has.

    An upload is a release unless another file of the release came before it. Older files are in
    the document of the project. Of files of the last hours, only the journal has the order, as
    clocks of servers differ.
    """
    if group.event is not WebhookEvent.RELEASED:
        return group.event
    uploaded_at = group.events[0].at
    if webhook_messages.has_older_file(project, group.release, uploaded_at - CLOCK_TOLERANCE):
        return WebhookEvent.FILE_ADDED
    events_before = takewhile(lambda event: event not in group.events, commit.events)
    if webhook_messages.has_release(events_before, group.release):
        return WebhookEvent.FILE_ADDED
    # back to a commit that is older whatever the clocks of servers say
    for number in range(commit.number - 1, 0, -1):
        earlier_commit = journal.find(number)
        if earlier_commit is None:  # it is damaged, and others may have the release
            continue
        if webhook_messages.has_release(earlier_commit.events, group.release):
            return WebhookEvent.FILE_ADDED
        if earlier_commit.events[-1].at < uploaded_at - 2 * CLOCK_TOLERANCE:
            break
    return WebhookEvent.RELEASED


def _find_files(
    journal: Journal[Project, Commit],
    project: Project,
    last_number: int,
    filenames: Sequence[str],
) -> dict[str, File]:
    """
    Return the records of files, by their names, also of files that were deleted for good.

    The document of the project has most of them; the others are in the commits of the journal up
    to `last_number`. The fields that a message shows are the same in both.
    """
    records = dict[str, File]()
    for file in chain(project.files, project.trash):
        if file.filename in filenames:
            records[file.filename] = file
    missing = set(filenames) - records.keys()
    for number in range(last_number, 0, -1):
        if not missing:
            break
        commit = journal.find(number)
        if commit is None:  # it is damaged, and the file may be in another one
            continue
        for event in commit.events:
            if event.what == EventKind.UPLOADED and event.file.filename in missing:
                records[event.file.filename] = event.file
                missing.discard(event.file.filename)
    return records


def _numbers(ranges: Ranges, first: int) -> Iterator[int]:
    """Yield the numbers of the commits in ranges, without those below `first`."""
    for start, end in ranges:
        yield from range(max(start, first), end + 1)


@contextmanager
def _damage_at(number: int) -> Iterator[None]:
    """Raise LostCommit with this number if the block meets a damaged or missing object."""
    try:
        yield
    except Unavailable as fault:
        if fault.code in UNREADABLE_CODES:
            raise LostCommit(number, fault.message) from fault
        raise
