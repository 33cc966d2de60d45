"""
What a store knows of the deliveries of a webhook: how far they are, what waits, and what was sent.

The events of a project have an order, so a journal of which a message has failed waits as a whole.
It is noted with the place of that message, and not with all that is behind it.
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
"""How long after each failed try the next one is. Together they are a day."""
MOST_ATTEMPTS: Final = 50
"""The deliveries that a webhook remembers."""
MOST_WAITING: Final = 200
"""The journals that may wait. As long as so many do, nothing new is read for the webhook."""
MOST_DEAD: Final = 1_000
"""The dead letters that are kept. Of more, the oldest one is dropped."""
ACCESS: Final = "-access"
"""The beginning of the names of journals that are about rights, which no index has."""
REQUESTS: Final = "-requests"
"""What messages about requests for public packages have in place of a journal."""


class MessagePlace(Struct, frozen=True):
    """Where a message comes from: it follows from the journal alone, and so is always the same."""

    journal: str
    """`INDEX/PROJECT`, or the name of a journal that is no project's."""
    number: int
    """That of the commit."""
    position: int = 0
    """Which message of the commit, counted from 0."""

    @property
    def index(self) -> str:
        """The index of the project, or empty for another journal."""
        if "/" not in self.journal:
            return ""
        return self.journal.partition("/")[0]

    @property
    def project(self) -> str:
        """The project, or empty for another journal."""
        return self.journal.partition("/")[2]


class WaitingJournal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A journal whose next message has failed, or was not tried yet."""

    place: MessagePlace
    """That of the next message."""
    ranges: tuple[tuple[int, int], ...]
    """The first and the last number of the commits that wait, in their order."""
    copied: tuple[tuple[int, int], ...] = ()
    """The first and the last number of those among them that came from another store."""
    due: datetime
    """When the next message is tried again, UTC."""
    since: datetime
    """Since when this message is the next one, UTC."""
    attempts: int = 0
    """How often it was tried."""
    event: str = ""
    """What it is about, as it was at the first try."""
    subject: str = ""
    """The same in words, if it was tried: `acme 1.0 in main`."""
    error: str = ""
    """Why the last try has failed."""
    body: str = ""
    """What is sent, if no journal has it."""
    id: str = ""
    """The id of the message, if no journal has it."""

    def with_commits(self, first: int, last: int, *, is_copied: bool) -> "WaitingJournal":
        """
        Return the journal with further commits that wait.

        Their numbers are those from `first` to `last`. One that waits already is there once.
        `is_copied` says that they came from another store.
        """
        copied = self.copied
        if is_copied and (first, last) not in copied:
            copied = (*copied, (first, last))
        ranges = list(self.ranges)
        # the feed may tell of a commit twice, and a range that goes on is kept as one
        if ranges and ranges[-1][1] + 1 >= first:
            start, end = ranges[-1]
            ranges[-1] = start, max(end, last)
        else:
            ranges.append((first, last))
        return replace(self, ranges=tuple(ranges), copied=copied)

    def from_place(self, place: MessagePlace) -> "WaitingJournal":
        """Return the journal when all messages before a place are done with."""
        # a range that the place is in stays whole: the place says which message of it is next
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
    """What is sent, if no journal has it."""


class DeliveryAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A try to deliver a message."""

    id: str
    event: str
    subject: str
    """What it is about, in words: `acme 1.0 in main`."""
    at: datetime
    """UTC."""
    seconds: float = 0.0
    """How long it took."""
    status: int = 0
    """The HTTP status, or 0 if there was none."""
    error: str = ""
    """Why it has failed, or empty if it was delivered."""
    answer: str = ""
    """The beginning of the answer, without secrets."""

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
    """When the webhook was added that it is about."""
    cursors: dict[str, int] = field(default_factory=dict)
    """The serial up to which the feed of an index was read, and how far each other journal was."""
    waiting: dict[str, WaitingJournal] = field(default_factory=dict)
    """By the names of journals."""
    announced: dict[str, datetime] = field(default_factory=dict)
    """When a message has told of a request for a public package."""
    last_request_at: datetime | None = None
    """When the last message about requests was made."""
    again: tuple[DeadLetter, ...] = ()
    """Dead letters that somebody wants to be sent again."""
    dead: tuple[DeadLetter, ...] = ()
    """The oldest one first."""
    dropped: int = 0
    """How many dead letters were dropped, as there were too many."""
    attempts: tuple[DeliveryAttempt, ...] = ()
    """The newest one first."""
    note: str = ""
    """What was passed over, and why, in a sentence."""

    def with_attempts(self, attempts: Iterable[DeliveryAttempt]) -> "WebhookState":
        """Return the state with further attempts, given in the order in which they were made."""
        newest = list(attempts)
        newest.reverse()
        newest += self.attempts
        return replace(self, attempts=tuple(newest[:MOST_ATTEMPTS]))

    def with_dead(self, letters: Iterable[DeadLetter]) -> "WebhookState":
        """Return the state with further dead letters."""
        # the document is read and written as a whole, so it has to stay small
        dead = self.dead + tuple(letters)
        excess = max(len(dead) - MOST_DEAD, 0)
        return replace(self, dead=dead[excess:], dropped=self.dropped + excess)

    def sent_again(self, ids: Iterable[str]) -> "WebhookState":
        """Return the state in which these dead letters wait to be sent again."""
        named = frozenset(ids)
        again = tuple(letter for letter in self.dead if letter.id in named)
        dead = tuple(letter for letter in self.dead if letter.id not in named)
        return replace(self, again=self.again + again, dead=dead)

    def begun_at(self, starts: Mapping[str, int], places: Collection[str]) -> "WebhookState":
        """
        Return the state in which these feeds and journals begin anew.

        `places` are all that the webhook is told of. What it is told of no more is forgotten.
        """
        kept = {place: number for place, number in self.cursors.items() if place in places}
        return replace(self, cursors={**kept, **starts})


def pause_after(attempts: int) -> timedelta | None:
    """Return how long after a failed try the next one is, or None if there is none."""
    if attempts > len(PAUSES):
        return None
    return PAUSES[attempts - 1]
