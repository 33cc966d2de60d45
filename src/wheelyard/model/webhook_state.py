"""
What a store knows of the deliveries of a webhook: how far they are, what waits, and what was sent.

The events of a project have an order, so a journal waits as a whole if one of its messages fails.
The state has the place of this message, and not the messages that follow.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from wheelyard.model.decoding import Extensible

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=8),
)
"""How long the pause after each failed try is. Together the pauses last a day."""
MOST_ATTEMPTS: Final = 50
"""The most tries that the state of a webhook has."""
MOST_WAITING: Final = 200
"""The most journals that may wait. While so many wait, nothing new is read for the webhook."""
MOST_DEAD: Final = 1_000
"""The most dead letters that are kept. If there are more, the oldest are dropped."""
ACCESS: Final = "-access"
"""The beginning of the names of journals about rights, which belong to no index."""
REQUESTS: Final = "-requests"
"""The name that stands for a journal in messages about requests for public packages."""


class MessagePlace(Struct, frozen=True):
    """The place of a message in a journal, which is the same on each server."""

    journal: str
    """`INDEX/PROJECT`, or the name of a journal that is no project's."""
    number: int
    """The number of the commit."""
    position: int = 0
    """The position of the message in the commit, counted from 0."""

    @property
    def index(self) -> str:
        """The index of the project, or empty for a journal that is no project's."""
        if "/" not in self.journal:
            return ""
        return self.journal.partition("/")[0]

    @property
    def project(self) -> str:
        """The project, or empty for a journal that is no project's."""
        return self.journal.partition("/")[2]


class WaitingJournal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A journal whose next message has failed, or was not tried yet."""

    place: MessagePlace
    """The place of the next message."""
    ranges: tuple[tuple[int, int], ...]
    """The first and the last number of the commits that wait, in their order."""
    copied: tuple[tuple[int, int], ...] = ()
    """The first and the last number of waiting commits that came from another store."""
    due: datetime
    """When the next message is tried again, UTC."""
    since: datetime
    """Since when this message is the next one, UTC."""
    attempts: int = 0
    """How often the next message was tried."""
    event: str = ""
    """The event of the next message, as it was at the first try."""
    subject: str = ""
    """What the next message is about, in words, or empty before a try: `acme 1.0 in main`."""
    error: str = ""
    """Why the last try has failed."""
    body: str = ""
    """The body of the message, if it does not follow from a journal."""
    id: str = ""
    """The id of the message, if it does not follow from a journal."""

    def with_commits(self, first: int, last: int, *, is_copied: bool) -> "WaitingJournal":
        """
        Return the journal with further commits that wait.

        The commits have the numbers from `first` to `last`. Some of them may wait already.
        `is_copied` says that they came from another store.
        """
        copied = self.copied
        if is_copied and (first, last) not in copied:
            copied = (*copied, (first, last))
        ranges = list(self.ranges)
        # the feed may tell of a commit twice, and a range that goes on from the last one is joined
        if ranges and ranges[-1][1] + 1 >= first:
            start, end = ranges[-1]
            ranges[-1] = start, max(end, last)
        else:
            ranges.append((first, last))
        return replace(self, ranges=tuple(ranges), copied=copied)

    def from_place(self, place: MessagePlace) -> "WaitingJournal":
        """Return the journal after all messages before a place were delivered or given up."""
        # a range with the place in it stays whole, as the place says which message is next
        number = place.number
        ranges = tuple((start, end) for start, end in self.ranges if end >= number)
        copied = tuple((start, end) for start, end in self.copied if end >= number)
        return replace(self, place=place, ranges=ranges, copied=copied)

    def is_copied(self, number: int) -> bool:
        """Return whether a commit came from another store."""
        return any(start <= number <= end for start, end in self.copied)


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that was given up."""

    id: str
    place: MessagePlace
    event: str
    subject: str = ""
    """What it is about, in words."""
    at: datetime
    """When it was given up, UTC."""
    error: str
    is_copied: bool = False
    """Whether the commit came from another store."""
    body: str = ""
    """The body of the message, if it does not follow from a journal."""


class DeliveryAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A try to deliver a message."""

    id: str
    event: str
    subject: str
    """What the message is about, in words: `acme 1.0 in main`."""
    at: datetime
    """When the message was tried, in UTC."""
    seconds: float = 0.0
    """How many seconds the try took."""
    status: int = 0
    """The HTTP status of the response, or 0 if there was no response."""
    error: str = ""
    """Why the try has failed, or an empty text if the message was delivered."""
    answer: str = ""
    """The beginning of the response, without secrets."""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return not self.error


class WebhookState(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document about the deliveries of a webhook."""

    revision: int = 0
    write_id: str = ""
    """A random text that makes each write another one."""
    created: datetime | None = None
    """When the webhook was added."""
    cursors: dict[str, int] = field(default_factory=dict)
    """The serial up to which each feed was read, and the number up to which each other journal."""
    waiting: dict[str, WaitingJournal] = field(default_factory=dict)
    """The journals that wait, by name."""
    announced: dict[str, datetime] = field(default_factory=dict)
    """When a message last told of each request for a public package."""
    last_request_at: datetime | None = None
    """When the last message about requests was made."""
    again: tuple[DeadLetter, ...] = ()
    """Dead letters that somebody wants to be sent again."""
    dead: tuple[DeadLetter, ...] = ()
    """The dead letters, the oldest first."""
    dropped: int = 0
    """How many dead letters were dropped, as there were too many."""
    attempts: tuple[DeliveryAttempt, ...] = ()
    """The last tries, the newest first."""
    note: str = ""
    """Which messages were passed over, and why, in a sentence."""

    def with_attempts(self, attempts: Iterable[DeliveryAttempt]) -> "WebhookState":
        """Return the state with further attempts, given in the order in which they were made."""
        newest_first = list(attempts)
        newest_first.reverse()
        newest_first += self.attempts
        return replace(self, attempts=tuple(newest_first[:MOST_ATTEMPTS]))

    def with_dead(self, letters: Iterable[DeadLetter]) -> "WebhookState":
        """Return the state with further dead letters."""
        # the document is read and written as a whole, so it has to stay small
        dead = self.dead + tuple(letters)
        excess = max(len(dead) - MOST_DEAD, 0)
        return replace(self, dead=dead[excess:], dropped=self.dropped + excess)

    def sent_again(self, ids: Iterable[str]) -> "WebhookState":
        """Return the state in which the dead letters with these ids wait to be sent again."""
        ids_to_send = frozenset(ids)
        again = tuple(letter for letter in self.dead if letter.id in ids_to_send)
        dead = tuple(letter for letter in self.dead if letter.id not in ids_to_send)
        return replace(self, again=self.again + again, dead=dead)

    def begun_at(self, starts: Mapping[str, int], places: Collection[str]) -> "WebhookState":
        """
        Return the state in which the feeds and journals in `starts` begin anew.

        `places` are all feeds and journals that the webhook is told of. Any others are forgotten.
        """
        cursors = {place: number for place, number in self.cursors.items() if place in places}
        cursors.update(starts)
        return replace(self, cursors=cursors)


def pause_after(attempts: int) -> timedelta | None:
    """Return the pause after so many failed tries, or None if the message is given up."""
    if attempts > len(PAUSES):
        return None
    return PAUSES[attempts - 1]
