"""Candidates of an import, the source protocol, and the errors of all sources."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

from wheelyard.errors import Invalid, Unavailable

EMPTY_MAPPING: Final[Mapping[str, str]] = MappingProxyType({})
OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a file; yields its bytes in chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file of a source that an import may add; it has not been read or checked yet."""

    filename: str  # the last segment of its path
    location: str  # path or URL for reports, without credentials
    path: str = ""  # relative to the folder or bucket, with slashes; empty elsewhere
    version: str = ""  # differs after each change, if the source tells one
    read: OpenChunks = field(repr=False)  # raises OSError or WheelyardError
    size: int | None = None  # bytes, if known
    hashes: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)  # hex, by algorithm
    uploaded_at: datetime | None = None  # when it was uploaded to the source, UTC, if known
    uploaded_by: str = ""  # the uploader's name in the source, if known
    yanked: str | None = None  # like `File.yanked`: None, or the reason, which may be empty
    changed_at: float | None = None  # last change of the bytes, seconds since the epoch, if known
    last_modified: Callable[[], datetime | None] | None = field(default=None, repr=False)
    """
    Returns when the source last changed the file, UTC; used if `uploaded_at` is None. May send a
    request if `read` was not opened; raises nothing.
    """
    attributes: Mapping[str, str] | None = field(default_factory=lambda: EMPTY_MAPPING)
    """Custom metadata; empty outside of buckets. None if a listing lacks it, and `find` has it."""


class Skipped(Struct, frozen=True):
    """An entry of a source, such as a file or a line, that is not imported, with the reason."""

    location: str
    why: str
    """A sentence without its full stop."""
    is_error: bool = False
    """Whether the report counts it as an error: a damaged line, a missing file."""


SourceItem = Candidate | Skipped


class Source(Protocol):
    """An import source; each kind of source has one implementation."""

    def candidates(self) -> Iterator[SourceItem]:
        """Yield all items in a stable order; raise WheelyardError if the source is unusable."""
        ...


def bad_source(message: str) -> Invalid:
    """Return Invalid (code `bad_source`) for a source that cannot be imported from."""
    return Invalid(message, code="bad_source")


def unavailable(message: str) -> Unavailable:
    """Return Unavailable (code `source_unavailable`) for a source that does not answer."""
    return Unavailable(message, code="source_unavailable")


def unreadable(why: str) -> OSError:
    """Return the OSError for one unreadable file, which does not end the import."""
    return OSError(errno.EIO, why)
