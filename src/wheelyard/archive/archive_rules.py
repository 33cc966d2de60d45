"""Rules for reading one archive: limits, member names, waived rules, and errors."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum, StrEnum
from functools import partial
from itertools import pairwise
from typing import Final
from unicodedata import is_normalized, normalize

from msgspec import Struct

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import TOO_BUSY, Invalid, Unavailable, quoted

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MAX_READ_SECONDS: Final = 600.0
"""How long reading one archive may take, by a clock on the wall."""
READ_AGAIN_SECONDS: Final = 60
"""Seconds after which a busy machine is asked again."""
TAR_BLOCK_BYTES = 512
TAR_CHECKSUM = slice(148, 156)
"""Where a tar header has its checksum."""
TAR_CHECKSUM_BYTES = 8
_CONTROL_CHARACTER = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""Control characters, line ends, and Bidi_Control, which changes how a name is displayed."""
_MAX_COMPONENT_BYTES = 255
"""The most bytes of a name between two slashes: common file systems allow no more."""
_ABSOLUTE_START = re.compile(r"/|[A-Za-z]:")
_PORTABLE_PATH = re.compile(r"[^/]*[^/. ](?:/[^/]*[^/. ])*")
_DEVICE_NAME = re.compile(
    r"(?:^|/)(?:CON|CONIN\$|CONOUT\$|PRN|AUX|NUL|(?:COM|LPT)[0-9\xb9\xb2\xb3])(?:/|$)",
    re.IGNORECASE,
)
"""Windows device names. Such a name with an extension, as of a module, is an ordinary file."""
_WINDOWS_RESERVED_CHARACTER = re.compile('[<>:"|?*]')
"""Characters that Windows allows in no name."""

_BUILD_AGAIN: Final = "Build it again with a current build tool."


def invalid_file(
    code: str, reason: str, member: str | bytes | None = None, *, advice: str = _BUILD_AGAIN
) -> Invalid:
    """
    Return the Invalid error for a rejected distribution file.

    Args:
        code: The error code.
        reason: What is wrong, as the rest of a sentence. Without values from the archive.
        member: The name of the member at fault, as the archive spells it.
        advice: What helps, as a sentence.
    """
    if isinstance(member, bytes):
        member = member.decode(errors="backslashreplace")
    in_parentheses = "" if member is None else f" ({quoted(member)})"
    return Invalid(f"The file is refused: {reason}{in_parentheses}. {advice}", code=code)


invalid_archive = partial(invalid_file, "invalid_archive")
"""Programs would read the archive in different ways."""
damaged_archive = partial(
    invalid_file,
    "invalid_archive",
    advice="Send it again. If that does not help, the file was damaged before: get it anew.",
)
"""The archive is cut off, or its bytes were changed after it was made."""
unsafe_archive = partial(
    invalid_file,
    "unsafe_archive",
    advice="Rename that file of the project, or leave it out, and build again.",
)
"""The archive could write outside the folder that it is unpacked to."""
archive_bomb = partial(
    invalid_file,
    "archive_bomb",
    advice="Put less into the package: a program can fetch large data when it needs them.",
)
"""The archive costs more to read than the limits allow."""
missing_metadata = partial(invalid_file, "missing_metadata")
"""The archive lacks the files that describe a distribution."""
invalid_metadata = partial(
    invalid_file, "invalid_metadata", advice="Correct that in the project, and build again."
)
"""The files that describe the distribution are malformed."""
record_mismatch = partial(
    invalid_file,
    "record_mismatch",
    advice="Build it again. Whoever changes a wheel writes a new RECORD, as 'wheel pack' does.",
)
"""The files of the wheel differ from its RECORD."""
other_project = partial(
    invalid_file, advice="Upload the file under the name that the build tool has given it."
)
"""The archive is that of another project or version than the filename names."""


class ArchiveRule(StrEnum):
    """A rule that a lenient import waives, by the error code for breaking it."""

    OBSOLETE_FORMAT = "invalid_filename"
    """The file has an obsolete format, which clients skip."""
    RECORD = "record_mismatch"
    """RECORD is missing or not that of the files. Installers write their own."""
    HAS_METADATA = "missing_metadata"
    """An sdist has no PKG-INFO, so the index offers no metadata."""
    METADATA = "invalid_metadata"
    """The metadata is malformed. Clients read it in the file itself."""
    NAME = "name_mismatch"
    """The name of the metadata or of an sdist's folder is spelled otherwise than the file's."""
    VERSION = "version_mismatch"
    """The version is another than in the filename, whose version counts."""


WAIVABLE_CODES: Final = frozenset[str](ArchiveRule)
_FURTHER_CODES: Final = {
    ArchiveRule.RECORD: frozenset({"missing_metadata"}),
    ArchiveRule.METADATA: frozenset({"invalid_name", "invalid_version"}),
}
"""The error codes that a rule covers besides its own."""


class Leniency(Struct):
    """Whether rules are waived for one file, and which of them were waived so far."""

    is_lenient: bool
    waived: set[ArchiveRule] = set()

    def waive_or_raise(self, rule: ArchiveRule, error: Invalid) -> None:
        """
        Record that `rule` is waived.

        Raises `error` if no rule is waived for the file, or if the error is about another rule.
        """
        covered_codes = {rule.value} | _FURTHER_CODES.get(rule, frozenset())
        if not self.is_lenient or error.code not in covered_codes:
            raise error
        self.waived.add(rule)


class ArchiveLimits(Struct, frozen=True, kw_only=True):
    """
    Limits for reading one archive, with sizes in bytes.

    An archive may inflate to `free_inflated` or to `inflated_ratio` times its
    own size, whichever is larger, but never to more than the absolute limit of its format.
    """

    entries: int = 100_000
    central_directory: int = 32 * MIB
    member_name: int = 1024
    depth: int = 64
    """The most components of a member's name."""
    metadata: int = 4 * MIB
    """The file METADATA of a wheel, or PKG-INFO of an sdist."""
    wheel_file: int = 64 * KIB
    """The file WHEEL of a wheel."""
    entry_points: int = 1 * MIB
    record: int = 32 * MIB
    record_lines: int = 200_000
    tar_extension: int = 64 * KIB
    """One long name or PAX header."""
    tar_extensions: int = 32 * MIB
    """All long names and PAX headers together. Build tools write 30 to 200 bytes per member."""
    free_inflated: int = 64 * MIB
    inflated_ratio: int = 50
    zip_inflated: int = 16 * GIB
    tar_inflated: int = 8 * GIB

    def max_inflated_bytes(self, file_size: int, format_limit: int) -> int:
        """Return how many bytes a file may inflate to, at most the `format_limit` of its format."""
        # small files may compress to far less than a fiftieth, which costs little memory
        limit_by_size = max(self.free_inflated, self.inflated_ratio * file_size)
        return min(format_limit, limit_by_size)

    def check_count(self, count: int) -> None:
        """Raise Invalid (code `archive_bomb`) if `count` members are too many for an archive."""
        if count > self.entries:
            raise archive_bomb(f"it has more than {self.entries} members")


class Deadline:
    """
    The time limits for reading one archive, in the thread that makes the object.

    The archive decides how much processor time reading takes. How long the thread waits for the
    processor depends on the machine, so there is a limit for each.

    Args:
        thread_time: The clock of the thread's processor time.
        processor_seconds: How much processor time the archive may take.
        monotonic: The clock that goes on while the thread gets no processor.
    """

    __slots__ = ("_monotonic", "_monotonic_end", "_processor_end", "_thread_time")

    def __init__(self, thread_time: Clock, processor_seconds: float, monotonic: Clock) -> None:
        self._thread_time = thread_time
        self._processor_end = thread_time() + processor_seconds
        self._monotonic = monotonic
        self._monotonic_end = monotonic() + MAX_READ_SECONDS

    def check(self) -> None:
        """
        Raise Invalid (code `archive_bomb`) if the archive has taken more than its processor time.

        Raises Unavailable (code `too_busy`) if reading goes on after `MAX_READ_SECONDS`.
        """
        # readers call this for each member and chunk, of which none takes long by itself
        if self._thread_time() > self._processor_end:
            raise archive_bomb("reading it takes too much processor time")
        if self._monotonic() > self._monotonic_end:
            raise Unavailable(
                "This machine is too busy: it could not read the file within 10 minutes.",
                code=TOO_BUSY,
                retry_after=READ_AGAIN_SECONDS,
            )


class ReadContext(Struct, frozen=True):
    """An open distribution file, with the limits and the leniency that apply to it."""

    descriptor: int
    """The file descriptor, open for reading."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency


def check_portable_name(name: str, limits: ArchiveLimits, project: str = "") -> None:
    """
    Raise Invalid (code `unsafe_archive`) unless the name is valid on every platform.

    Of the characters that Windows alone refuses, only a colon and a backslash are refused. The
    top-level folder of a wheel may have the name of a Windows device if the normalised name
    `project` is the same.
    """
    check_relative_name(name, limits)
    path = name.removesuffix("/")
    top_folder, slash, path_below = name.partition("/")
    # a project named `aux` cannot be installed on Windows, and elsewhere it may
    if slash and top_folder.lower() == project:
        path = f"_/{path_below}".removesuffix("/")
    if not _is_portable(path):
        raise unsafe_archive("a member has a name that not every platform can have", name)


def _is_portable(path: str) -> bool:
    """Return whether every platform allows a relative path, apart from the characters `<>"|?*`."""
    if "\\" in path or ":" in path or _DEVICE_NAME.search(path):
        return False
    return _PORTABLE_PATH.fullmatch(path) is not None


def check_relative_name(name: str, limits: ArchiveLimits) -> None:
    """
    Raise Invalid (code `unsafe_archive`) unless a name leads to a place inside of the archive.

    A name with a control character or over a limit is refused, too.
    """
    check_text(name, limits)
    # on Windows a backslash separates folders, too
    path = name.replace("\\", "/")
    if _ABSOLUTE_START.match(path) or ".." in path.split("/"):
        raise unsafe_archive("a member's name leads outside the archive", name)


def check_text(name: str, limits: ArchiveLimits) -> None:
    """
    Raise Invalid (code `unsafe_archive`) for a control character, or a name over a limit.

    The limits are those of the bytes of a name, of each of its parts, and of its depth.
    """
    if _CONTROL_CHARACTER.search(name):
        raise unsafe_archive("a member's name has a control character", name)
    encoded_name = name.encode(errors="replace")
    if len(encoded_name) > limits.member_name:
        raise unsafe_archive(f"a member's name is longer than {limits.member_name} bytes", name)
    if name.replace("\\", "/").count("/") >= limits.depth:
        raise unsafe_archive(f"a member lies deeper than {limits.depth} folders", name)
    if len(encoded_name) <= _MAX_COMPONENT_BYTES:  # as nearly all names
        return
    components = encoded_name.split(b"/")
    if any(len(component) > _MAX_COMPONENT_BYTES for component in components):
        reason = f"a part of a member's name is longer than {_MAX_COMPONENT_BYTES} bytes"
        raise unsafe_archive(reason, name)


def unportable_warnings(names: Iterable[str]) -> tuple[str, ...]:
    """Return a warning about the first name that Windows cannot have, or no warning."""
    for name in names:
        if _WINDOWS_RESERVED_CHARACTER.search(name):
            return (f"Windows cannot have a file of this name: {quoted(name)}.",)
    return ()


def find_case_collision(names: Iterable[str]) -> str | None:
    """Return the first name that equals an earlier one except for case, or None."""
    hashes: set[int] = set()
    for name in names:
        # a hash takes a tenth of the memory; a collision (1 in 2**61) only causes a warning
        hash_of_name = hash(name.casefold())
        if hash_of_name in hashes:
            return name
        hashes.add(hash_of_name)
    return None


def tar_checksum(header: bytes) -> int:
    """Return the sum of the bytes of a tar header, as if its checksum field were blanks."""
    field = header[TAR_CHECKSUM]
    return sum(header) - sum(field) + TAR_CHECKSUM_BYTES * ord(" ")


class MemberKind(Enum):
    """The type of a member of an archive."""

    FILE = "file"
    FOLDER = "folder"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"


def normalized_path(name: str) -> str:
    """Return a name without empty components, `.` components, and a slash at the end."""
    return "/".join([part for part in name.split("/") if part and part != "."])


class MemberPaths(Struct):
    """The path and the kind of each member of one archive."""

    duplicates: set[str] = set()
    """Paths that two or more plain files have."""
    _kinds: dict[str, MemberKind] = {}

    def add(self, path: str, kind: MemberKind) -> None:
        """
        Add a member of the archive.

        Two folders may share a path. So may two files, whose path is then in `duplicates`. Raises
        Invalid (code `invalid_archive`) if members of other kinds share one.
        """
        earlier_kind = self._kinds.get(path)
        if earlier_kind is None:
            self._kinds[path] = kind
        elif earlier_kind is kind is MemberKind.FILE:
            # whether they have equal bytes, only their reader can tell
            self.duplicates.add(path)
        elif not earlier_kind is kind is MemberKind.FOLDER:
            raise invalid_archive("two members have one name", path)

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the paths."""
        return iter(self._kinds)

    def kind(self, path: str) -> MemberKind | None:
        """Return the kind of the member that was added at this path, or None if there is none."""
        return self._kinds.get(path)

    def check(self) -> None:
        """
        Raise Invalid (code `unsafe_archive`) if a member lies below a file or a link.

        Raises Invalid (code `invalid_archive`) if two names differ only in their normal form.
        """
        # NUL is in no name and sorts first, so children directly follow their folder.
        keys = sorted(path.replace("/", "\0") for path in self._kinds)
        for upper, lower in pairwise(keys):
            is_below = lower.startswith(upper + "\0")
            if is_below and self._kinds[upper.replace("\0", "/")] is not MemberKind.FOLDER:
                raise unsafe_archive("a file lies below another file", lower.replace("\0", "/"))
        if not all(is_normalized("NFC", key) for key in keys):
            _check_normal_forms(keys)


def _check_normal_forms(keys: list[str]) -> None:
    """Raise Invalid if two names have a common normal form: macOS has one file for both."""
    # Sorted by normal form, names with a common form, or a common folder, are neighbours.
    spellings = sorted((normalize("NFC", key), key) for key in keys)
    for (form, key), (next_form, next_key) in pairwise(spellings):
        columns = zip(
            form.split("\0"),
            next_form.split("\0"),
            key.split("\0"),
            next_key.split("\0"),
            strict=False,
        )
        for component_form, next_component_form, component, next_component in columns:
            if component_form != next_component_form:
                break
            if component != next_component:
                reason = "two names differ only in their Unicode normal form"
                raise invalid_archive(reason, next_key.replace("\0", "/"))
