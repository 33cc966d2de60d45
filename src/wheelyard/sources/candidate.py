"""What a source offers, and the refusals that all sources share."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from wheelyard.errors import Invalid, Unavailable

EMPTY_MAPPING: Final[Mapping[str, str]] = MappingProxyType({})
SOURCE_UNAVAILABLE: Final = "source_unavailable"
"""The code of an Unavailable that is about where files come from, and not about the store."""

OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a file, and gives its bytes in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    One file that a source offers; nothing of it has been read, or checked.

    Args:
        filename: The last part of its path.
        place: Where it is, as a report names it: never with a credential in it.
        read: Opens it, and gives its bytes in pieces; raises OSError or WheelyardError.
        size: Bytes, if the source knows it.
        hashes: Hexadecimal digests by the names of hashlib: what the bytes must have.
        uploaded_at: When it was uploaded there, UTC; None if the source does not tell.
        uploaded_by: By whom, as the source says it, or nothing.
        yanked: As `File.yanked`: None, or the reason, which may be empty.
        changed_at: When the bytes were last touched, seconds since the epoch; None if unknown.
        dated: Where `uploaded_at` is None: asks when the source last changed the file, UTC. Costs
            nothing once `read` was opened, else a request; raises nothing.
    """

    filename: str
    location: str
    read: OpenChunks = field(repr=False)
    size: int | None = None
    hashes: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)
    uploaded_at: datetime | None = None
    uploaded_by: str = ""
    yanked: str | None = None
    changed_at: float | None = None
    last_modified: Callable[[], datetime | None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a source has and that is no candidate."""

    location: str
    why: str
    """A sentence, without its full stop."""
    is_error: bool = False
    """Whether it ought to have been one: a damaged line, a file that cannot be had."""


SourceItem = Candidate | Skipped


class Source(Protocol):
    """A place to import from."""

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is, in a stable order; raise WheelyardError if it is no source."""
        ...


def bad_source(message: str) -> Invalid:
    """Return the refusal of something that cannot be imported from."""
    return Invalid(message, code="bad_source", short="Not a source to import from.")


def source_unavailable(message: str) -> Unavailable:
    """Return the fault of a source that does not answer any more."""
    return Unavailable(message, code=SOURCE_UNAVAILABLE, short="The source does not answer.")


def unreadable_file(why: str) -> OSError:
    """Return the fault of one file that cannot be had, while others may."""
    return OSError(errno.EIO, why)
