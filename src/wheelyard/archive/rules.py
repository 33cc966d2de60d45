"""
Rules for reading one archive: limits against archive bombs, waived rules, and errors.

Some rules are younger than the files of an old collection. A lenient import waives them, and the
index lists the waived rules of each file. Rules that protect this index or an installer (unsafe
paths, archive bombs, archives that two programs read differently, commands that are written into
code) are never waived.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid, quoted

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def invalid_file(code: str, reason: str, member: str | bytes | None = None) -> Invalid:
    """
    Return the Invalid error for a rejected distribution file.

    Args:
        code: The error code.
        reason: What is wrong, as the rest of a sentence; without values from the archive.
        member: The name of the member at fault, as the archive spells it.
    """
    if isinstance(member, bytes):
        member = member.decode(errors="backslashreplace")
    where = "" if member is None else f" ({quoted(member)})"
    return Invalid(
        f"The file is refused: {reason}{where}. Build it again with a current build tool.",
        code=code,
    )


invalid_archive = partial(invalid_file, "invalid_archive")
"""Programs would read the archive in different ways."""
unsafe_archive = partial(invalid_file, "unsafe_archive")
"""The archive could write outside the folder that it is unpacked to."""
archive_bomb = partial(invalid_file, "archive_bomb")
"""The archive costs more to read than the limits allow."""
missing_metadata = partial(invalid_file, "missing_metadata")
"""The archive lacks the files that describe a distribution."""
invalid_metadata = partial(invalid_file, "invalid_metadata")
"""The files that describe the distribution are malformed."""
record_mismatch = partial(invalid_file, "record_mismatch")
"""The files of the wheel differ from its RECORD."""


class Rule(StrEnum):
    """A rule that a lenient import waives; the value is the error code for breaking it."""

    OBSOLETE_FORMAT = "invalid_filename"
    """The file has an obsolete format, which clients skip."""
    RECORD = "record_mismatch"
    """RECORD is missing or not that of the files; installers write their own."""
    HAS_METADATA = "missing_metadata"
    """An sdist has no PKG-INFO, so the index offers no metadata."""
    METADATA = "invalid_metadata"
    """The metadata is malformed; clients read it in the file itself."""
    NAME = "name_mismatch"
    """The name of the metadata or of an sdist's folder is spelled otherwise than the file's."""
    VERSION = "version_mismatch"
    """The version is another than in the filename, whose version counts."""


WAIVABLE_CODES: Final = frozenset[str](Rule)
_MORE_CODES: Final = {
    Rule.RECORD: frozenset({"missing_metadata"}),
    Rule.METADATA: frozenset({"invalid_name", "invalid_version"}),
}
"""The error codes that a rule covers besides its own."""


class Leniency(Struct):
    """Whether rules are waived for one file, and which of them were waived so far."""

    is_lenient: bool
    waived: set[Rule] = set()

    def waiving(self, rule: Rule) -> "RuleWaiver":
        """Return a context manager that suppresses and records errors of `rule`, if lenient."""
        return RuleWaiver(self, rule)


class RuleWaiver(Struct, frozen=True):
    """A context manager that suppresses and records errors of one rule in a lenient import."""

    leniency: Leniency
    rule: Rule

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        codes = {self.rule, *_MORE_CODES.get(self.rule, ())}
        if not (self.leniency.is_lenient and isinstance(error, Invalid) and error.code in codes):
            return False
        self.leniency.waived.add(self.rule)
        return True


class ArchiveLimits(Struct, frozen=True, kw_only=True):
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


class ReadContext(Struct, frozen=True):
    """An open distribution file, with the limits and the leniency that apply to it."""

    descriptor: int
    """The file descriptor, open for reading."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency
