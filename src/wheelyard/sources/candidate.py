"""Candidates of an import, the source protocol, and the errors of all sources."""

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
"""The code of an Unavailable that concerns the source, not the store."""

OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a file; yields its bytes in chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    One file of a source that can be imported; it has not been read or checked yet.

    Args:
        filename: The last segment of its path.
        location: Its path or URL for reports, without credentials.
        read: Opens it and yields its bytes in chunks; raises OSError or WheelyardError.
        size: Bytes, or None if unknown.
        hashes: Expected digests, hexadecimal, by the names of hashlib.
        uploaded_at: When it was uploaded to the source, UTC; None if unknown.
        uploaded_by: The uploader's name in the source; empty if unknown.
        yanked: As `File.yanked`: None, or the reason, which may be empty.
        changed_at: When the bytes were last changed, seconds since the epoch; None if unknown.
        last_modified: Returns when the source last changed the file, UTC, or None; used if
            `uploaded_at` is None. May send a request if `read` was not opened; raises nothing.
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
    """A file or line of a source that is not imported, with the reason."""

    location: str
    why: str
    """A sentence without its full stop."""
    is_error: bool = False
    """Whether the report counts it as an error: a damaged line, a missing file."""


SourceItem = Candidate | Skipped


class Source(Protocol):
    """An import source; each kind of source has one implementation."""

    def candidates(self) -> Iterator[SourceItem]:
        """Yield all files in a stable order; raise WheelyardError if the source is unusable."""
        ...


def bad_source(message: str) -> Invalid:
    """Return the error for something that cannot be imported from."""
    return Invalid(message, code="bad_source", short="Not a source to import from.")


def unavailable(message: str) -> Unavailable:
    """Return the error for a source that does not answer."""
    return Unavailable(message, code=SOURCE_UNAVAILABLE, short="The source does not answer.")


def unreadable(why: str) -> OSError:
    """Return the error for one file that cannot be read; the import continues with others."""
    return OSError(errno.EIO, why)
