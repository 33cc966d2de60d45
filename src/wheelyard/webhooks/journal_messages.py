"""Makes messages from the journals of projects, and from those about rights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, takewhile

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
from wheelyard.operations.webhooks import AccessJournals, FindIndexes, ends_of

Ranges = Sequence[tuple[int, int]]
"""The first and the last number of commits, in their order."""


class LostCommit(Exception):
    """A commit that a message would be about cannot be read."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
        self.why = why


class MessageSource:
    """
    Makes the messages about what is in journals.

    Threads may share it. Each method raises Unavailable if the store does not answer.

    Args:
        find_indexes: Returns the journals and the feed of each index of the store, by name.
        access: The journals about rights, by name.
        urls: The URLs in messages.
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
        return ends_of(self.access)

    def messages(
        self, place: MessagePlace, ranges: Ranges, event: str, copied: Ranges = ()
    ) -> Iterator[Outgoing]:
        """
        Yield the messages about these commits of a journal, from a place on.

        `event` is what the first one is about, if that was found out before, else empty: it depends
        on what else the project has. The commits in `copied` came from another store.

        The iterator raises NotFound if the journal or its index is gone, and LostCommit when it
        comes to a damaged commit. The number of that is the one of the place if the document is
        damaged.
        """
        if place.index:
            return self._of_project(place, ranges, event, copied)
        return self._of_access(place, ranges)

    def _of_project(
        self, place: MessagePlace, ranges: Ranges, event: str, copied: Ranges
    ) -> Iterator[Outgoing]:
        """Yield the messages about these commits of a project: one for each group of events."""
        index = self.find_indexes().get(place.index)
        if index is None:
            raise NotFound(f"There is no index {place.index} any more.")
        name = NormalizedName(place.project)
        with _damage_at(place.number):
            project = index.projects.documents.get(keys.project(name), "current").value
        if project is None:
            raise NotFound(f"There is no project {name} any more.")
        journal = index.projects.journal(project)
        for number in _numbers(ranges, place.number):
            with _damage_at(number):
                commit = journal.read(number)
            for group in webhook_messages.groups_of(name, commit.events):
                here = MessagePlace(place.journal, number, group.position)
                # of the first commit, some messages may be done with already
                if number == place.number and group.position < place.position:
                    continue
                about = self._event_of(group, commit, project, journal)
                if event and here == place:
                    about = WebhookEvent(event)
                with _damage_at(number):  # the files may be in an earlier commit that is damaged
                    files = self._files(journal, project, number, group.filenames)
                message = webhook_messages.message_of(
                    group, about, index.index, name, files, self.urls
                )
                if any(start <= number <= end for start, end in copied):
                    message = replace(message, imported=True)
                # the id follows from the commit: a message that is sent again has the same one
                yield Outgoing(
                    id=webhook_messages.message_id(here, commit),
                    place=here,
                    event=about,
                    subject=f"{name} {group.release}".rstrip() + f" in {index.index}",
                    message=message,
                )

    @staticmethod
    def _event_of(
        group: EventGroup, commit: Commit, project: Project, journal: Journal[Project, Commit]
    ) -> WebhookEvent:
        """
        Return what a group of events is about.

        An upload is the first of its release unless another file of that came before. The journal
        says it of the last hours, in which clocks of servers may contradict it.
        """
        if group.event is not WebhookEvent.RELEASED:
            return group.event
        at = group.events[0].at
        if webhook_messages.has_older_file(project, group.release, at - CLOCK_TOLERANCE):
            return WebhookEvent.FILE_ADDED
        earlier = takewhile(lambda event: event not in group.events, commit.events)
        if webhook_messages.has_release(earlier, group.release):
            return WebhookEvent.FILE_ADDED
        # back to where no clock of a server can have been so wrong
        for number in range(commit.number - 1, 0, -1):
            earlier_commit = journal.find(number)
            if earlier_commit is None:  # it is damaged, and others may tell
                continue
            if webhook_messages.has_release(earlier_commit.events, group.release):
                return WebhookEvent.FILE_ADDED
            if earlier_commit.events[-1].at < at - 2 * CLOCK_TOLERANCE:
                break
        return WebhookEvent.RELEASED

    def _of_access(self, place: MessagePlace, ranges: Ranges) -> Iterator[Outgoing]:
        """Yield a message about each of these commits of a journal about rights."""
        records = self.access[place.journal]
        with _damage_at(place.number):
            document = records.get("current").value
        if document is None:
            raise NotFound("The journal is gone.")
        journal = records.commits.journal(records.kind, document)
        for number in _numbers(ranges, place.number):
            with _damage_at(number):
                commit = journal.read(number)
            entries = [other_entry_of(number, event, "") for event in commit.events]
            here = MessagePlace(place.journal, number)
            yield Outgoing(
                id=webhook_messages.message_id(here, commit),
                place=here,
                event=WebhookEvent.ACCESS_CHANGED,
                subject=entries[0].reason,
                message=webhook_messages.AccessMessage(
                    type="access.changed",
                    time=entries[0].at,
                    by=entries[0].by,
                    changes=tuple(entry.reason for entry in entries),
                    url=self.urls.of_journal,
                ),
            )

    def _files(
        self,
        journal: Journal[Project, Commit],
        project: Project,
        number: int,
        filenames: Sequence[str],
    ) -> dict[str, File]:
        """
        Return the records of files, by their names, also of those that are gone for good.

        What a message says of them never changes, so any document that has them will do.
        """
        records = dict[str, File]()
        for file in chain(project.files, project.trash):
            if file.filename in filenames:
                records[file.filename] = file
        missing = set(filenames) - records.keys()
        # only of files that were deleted for good: the journal has them
        for earlier in range(number, 0, -1):
            if not missing:
                break
            commit = journal.find(earlier)
            if commit is None:  # it is damaged, and the file may be in another one
                continue
            for event in commit.events:
                if event.what == EventKind.UPLOADED and event.file.filename in missing:
                    records[event.file.filename] = event.file
                    missing.discard(event.file.filename)
        return records


def _numbers(ranges: Ranges, first: int) -> Iterator[int]:
    """Yield the numbers of commits, from one on."""
    for start, end in ranges:
        yield from range(max(start, first), end + 1)


@contextmanager
def _damage_at(number: int) -> Iterator[None]:
    """Raise LostCommit with the number of a commit if a document is damaged or lost."""
    try:
        yield
    except Unavailable as fault:
        if fault.code in UNREADABLE_CODES:
            raise LostCommit(number, fault.message) from fault
        raise
