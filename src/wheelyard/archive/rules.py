"""
What holds while an archive is read: limits, refusals, and which of today's rules may be failed.

These rules have come over the years, and what was built before them is in every old collection. A
lenient import takes such a file as it is, and the index says which rules it fails. Whatever
protects this index or an installer (where members lead, how much there is to inflate, archives that
two programs read differently, commands that are written into code) is never excused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Final

from wheelyard.errors import Invalid, quoted

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def refusal(code: str, reason: str, member: str | bytes | None = None) -> Invalid:
    """
    Return the refusal of a distribution file.

    Args:
        code: The stable name of this kind of refusal.
        reason: What is wrong, as the rest of a sentence; no values from the archive.
        member: The name of the member at fault, as the archive has it, text or bytes.
    """
    if isinstance(member, bytes):
        member = member.decode(errors="backslashreplace")
    where = "" if member is None else f" ({quoted(member)})"
    return Invalid(
        f"The file is refused: {reason}{where}. Build it again with a current build tool.",
        code=code,
        short=f"Invalid distribution file: {reason}.",
    )


invalid_archive = partial(refusal, "invalid_archive")
"""Programs would read the archive in different ways."""
unsafe_archive = partial(refusal, "unsafe_archive")
"""The archive could write outside the place it is unpacked to."""
archive_bomb = partial(refusal, "archive_bomb")
"""The archive costs more to read than the limits allow."""
missing_metadata = partial(refusal, "missing_metadata")
"""The archive lacks the files that describe a distribution."""
invalid_metadata = partial(refusal, "invalid_metadata")
"""The files that describe the distribution cannot be read."""
record_mismatch = partial(refusal, "record_mismatch")
"""The wheel is not what its RECORD says."""

RETIRED_FORMAT: Final = "invalid_filename"
RECORD: Final = "record_mismatch"
NO_METADATA: Final = "missing_metadata"
METADATA: Final = "invalid_metadata"
NAME: Final = "name_mismatch"
VERSION: Final = "version_mismatch"

EXCUSABLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        RETIRED_FORMAT: "Its format is retired. Clients that do not know it pass it over.",
        RECORD: "It has no RECORD, or not the one of its files. Installers write their own.",
        NO_METADATA: "It is an sdist or an egg without PKG-INFO. Nobody is promised any metadata.",
        METADATA: "Its metadata breaks a rule. Clients read it in the file itself as they can.",
        NAME: "It spells its name otherwise than its filename, by which it is asked for.",
        VERSION: "It spells its version otherwise than its filename, by which it is asked for.",
    }
)
"""From the code of a rule to what a file that fails it is like."""

_STANDS_FOR: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        RECORD: frozenset({RECORD, NO_METADATA}),
        METADATA: frozenset({METADATA, "invalid_name", "invalid_version"}),
    }
)
"""The codes of refusals that are excused as a rule, where that is not its own alone."""


class Leniency:
    """What is excused in one file."""

    __slots__ = ("_found", "is_lenient")

    def __init__(self, *, is_lenient: bool) -> None:
        self.is_lenient = is_lenient
        self._found: set[str] = set()

    @property
    def excused(self) -> tuple[str, ...]:
        """The codes of the rules that the file fails, sorted."""
        return tuple(sorted(self._found))

    def excusing(self, rule: str) -> "Excusing":
        """Return a block that is left without an error where the file fails an excused `rule`."""
        return Excusing(self, rule)

    def excuses(self, rule: str, fault: Invalid) -> bool:
        """Return whether a refusal is of a rule that is excused here; if so it is remembered."""
        stands_for = _STANDS_FOR.get(rule, frozenset({rule}))
        if not self.is_lenient or fault.code not in stands_for:
            return False
        self._found.add(rule)
        return True


@dataclass(frozen=True, slots=True)
class Excusing:
    """A block in which a file may fail one rule."""

    leniency: Leniency
    rule: str

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, Invalid) and self.leniency.excuses(self.rule, error)


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
class ReadLimits:
    """One file that is being read, and what holds meanwhile."""

    descriptor: int
    """Of the file, open for reading."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency
