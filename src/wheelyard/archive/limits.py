"""Limits on sizes, counts and time while an archive is read, against archive bombs."""

from collections.abc import Callable
from dataclasses import dataclass

from wheelyard.archive.archive_errors import archive_bomb
from wheelyard.archive.leniency import Leniency

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """
    Limits for reading one archive; sizes are in bytes.

    An archive may inflate to `free_inflated` or to `inflated_ratio` times its own size, whichever
    is larger, but never to more than the absolute limit of its format.
    """

    entries: int = 100_000
    central_directory: int = 32 * MIB
    member_name: int = 1024
    depth: int = 64
    """Components of a member's name."""
    metadata: int = 4 * MIB
    """METADATA or PKG-INFO."""
    wheel_file: int = 64 * KIB
    """The file WHEEL of a wheel."""
    entry_points: int = 1 * MIB
    record: int = 32 * MIB
    record_lines: int = 200_000
    tar_extension: int = 64 * KIB
    """One long name or PAX header."""
    tar_extensions: int = 32 * MIB
    """All long names and PAX headers together; build tools write 30 to 200 bytes per member."""
    free_inflated: int = 64 * MIB
    inflated_ratio: int = 50
    zip_inflated: int = 16 * GIB
    tar_inflated: int = 8 * GIB
    opaque: int = 128 * MIB
    """A file whose format cannot be read, such as a Windows installer."""

    def inflatable(self, file_size: int, absolute: int) -> int:
        """Return how many bytes a file of `file_size` bytes may inflate to, at most `absolute`."""
        return min(absolute, max(self.free_inflated, self.inflated_ratio * file_size))

    def check_count(self, count: int) -> None:
        """Raise Invalid (code `archive_bomb`) if `count` members are too many for an archive."""
        if count > self.entries:
            raise archive_bomb(f"it has more than {self.entries} members")


class Deadline:
    """A time limit for reading one archive: `seconds` from now, on a monotonic clock."""

    __slots__ = ("_clock", "_end")

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        """Raise Invalid (code `archive_bomb`) if the time is up; readers call it for each chunk."""
        if self._clock() > self._end:
            raise archive_bomb("reading it takes too long")


@dataclass(frozen=True, slots=True)
class ReadContext:
    """An open distribution file, with the limits and the leniency that apply to it."""

    descriptor: int
    """The file descriptor, open for reading."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency
