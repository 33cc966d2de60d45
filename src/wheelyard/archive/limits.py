"""
What holds while an archive is read: limits, refusals, and which of today's rules may be failed.

These rules have come over the years, and what was built before them is in every old collection. A
lenient import takes such a file as it is, and the index says which rules it fails. Whatever
protects this index or an installer (where members lead, how much there is to inflate, archives that
two programs read differently, commands that are written into code) is never excused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wheelyard.archive.archive_errors import (
    archive_bomb,
)
from wheelyard.archive.leniency import Leniency

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """
    Bounds that hold while reading, so a small file can never cost much; sizes are in bytes.

    An archive may inflate to `free_inflated` whatever its own size, and beyond that to
    `inflated_ratio` times its own size, but never beyond the absolute bound of its format.
    """

    entries: int = 100_000
    central_directory: int = 32 * MIB
    member_name: int = 1024
    depth: int = 64
    """Components of a member's name."""
    metadata: int = 4 * MIB
    """METADATA and PKG-INFO."""
    wheel_file: int = 64 * KIB
    """The file WHEEL of a wheel."""
    entry_points: int = 1 * MIB
    record: int = 32 * MIB
    record_lines: int = 200_000
    tar_extension: int = 64 * KIB
    """One long name or PAX header."""
    tar_extensions: int = 32 * MIB
    """
    All long names and PAX headers of an archive; none is kept.

    Build tools write one of about 30 bytes for every member, and 200 for a long path.
    """
    free_inflated: int = 64 * MIB
    inflated_ratio: int = 50
    zip_inflated: int = 16 * GIB
    tar_inflated: int = 8 * GIB
    opaque: int = 128 * MIB
    """A file of a kind that cannot be looked into."""

    def inflatable(self, file_size: int, absolute: int) -> int:
        """Return the bytes that a file of `file_size` bytes may inflate to, at most `absolute`."""
        return min(absolute, max(self.free_inflated, self.inflated_ratio * file_size))

    def check_count(self, count: int) -> None:
        """Raise Invalid (code `archive_bomb`) for a number of members over the limit."""
        if count > self.entries:
            raise archive_bomb(f"it has more than {self.entries} members")


class Deadline:
    """The end of the `seconds`, by a monotonic clock, that reading one archive may take."""

    __slots__ = ("_clock", "_end")

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        """Raise Invalid (code `archive_bomb`) if the time is up; asked between chunks of work."""
        if self._clock() > self._end:
            raise archive_bomb("reading it takes too long")


@dataclass(frozen=True, slots=True)
class ReadContext:
    """One file that is being read, and what holds meanwhile."""

    descriptor: int
    """Of the file, open for reading."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency
