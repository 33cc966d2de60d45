"""
Which names the members of an archive may have, and the paths that they are unpacked to.

Each path stands for one thing. Where two members have one path, some programs write into what the
first one left, through a link for example, and others replace it. Where two names are one to a file
system, it depends on the file system.
"""

import re
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from unicodedata import is_normalized, normalize

from wheelyard.archive.archive_errors import invalid_archive, unsafe_archive
from wheelyard.archive.limits import ArchiveLimits

_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""With the ends of lines, and what Unicode calls Bidi_Control: it changes how a name is shown."""
_PART = 255
"""Bytes of a name between two slashes; more, and no usual file system takes it."""
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_PORTABLE = re.compile(r"[^/]*[^/. ](?:/[^/]*[^/. ])*")
_DEVICE = re.compile(
    r"(?:^|/)(?:CON|CONIN\$|CONOUT\$|PRN|AUX|NUL|(?:COM|LPT)[0-9\xb9\xb2\xb3])(?:/|$)",
    re.IGNORECASE,
)
"""Devices of Windows; with an extension they are files by now, and modules are called that."""


def check_portable_name(name: str, limits: ArchiveLimits, project: str = "") -> None:
    """
    Raise Invalid (code `unsafe_archive`) unless a wheel's member can have this name everywhere.

    The top-level folder of a wheel may be named for a device of Windows, if its `project` is.
    """
    check_relative_name(name, limits)
    path = name.removesuffix("/")
    top, slash, rest = name.partition("/")
    if slash and top.lower() == project:
        path = f"_/{rest}".removesuffix("/")
    if "\\" in path or ":" in path or not _PORTABLE.fullmatch(path) or _DEVICE.search(path):
        raise unsafe_archive("a member has a name that not every platform can have", name)


def check_relative_name(name: str, limits: ArchiveLimits) -> None:
    """Raise Invalid (code `unsafe_archive`) for a name that leads outside, or is no sound text."""
    check_text(name, limits)
    path = name.replace("\\", "/")
    if _ABSOLUTE.match(path) or ".." in path.split("/"):
        raise unsafe_archive("a member's name leads outside the archive", name)


def check_text(name: str, limits: ArchiveLimits) -> None:
    """Raise Invalid (code `unsafe_archive`) for control characters, or a text over the limits."""
    if _CONTROL.search(name):
        raise unsafe_archive("a member's name has a control character", name)
    raw = name.encode(errors="replace")
    if len(raw) > limits.member_name:
        raise unsafe_archive(f"a member's name is longer than {limits.member_name} bytes", name)
    if name.replace("\\", "/").count("/") >= limits.depth:
        raise unsafe_archive(f"a member lies deeper than {limits.depth} folders", name)
    if len(raw) > _PART and max(map(len, raw.split(b"/"))) > _PART:
        raise unsafe_archive(f"a part of a member's name is longer than {_PART} bytes", name)


def find_case_collision(names: Iterable[str]) -> str | None:
    """Return a name that another one equals but for upper and lower case, or None."""
    seen: set[int] = set()
    for name in names:
        # Hashes take a tenth of the memory; a false alarm in 2**61 is only a warning.
        folded = hash(name.casefold())
        if folded in seen:
            return name
        seen.add(folded)
    return None


class MemberKind(Enum):
    """What a member of an archive is."""

    FILE = "file"
    FOLDER = "folder"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"


def normalized_path(name: str) -> str:
    """Return the path that a name stands for: without empty parts, `.` and a slash at its end."""
    return "/".join([part for part in name.split("/") if part and part != "."])


class MemberPaths:
    """The paths of one archive."""

    __slots__ = ("_kinds", "repeated")

    def __init__(self) -> None:
        self._kinds: dict[str, MemberKind] = {}
        self.repeated: set[str] = set()
        """Paths that more than one plain file has."""

    def add(self, path: str, kind: MemberKind) -> None:
        """Take in a member; refuse a second one at its path, unless both are folders or files."""
        before = self._kinds.get(path)
        if before is None:
            self._kinds[path] = kind
        elif before is kind is MemberKind.FILE:
            self.repeated.add(path)
        elif not before is kind is MemberKind.FOLDER:
            raise invalid_archive("two members have one name", path)

    def kind(self, path: str) -> MemberKind | None:
        """Return what the member with this path is, None if there is none so far."""
        return self._kinds.get(path)

    def check(self) -> None:
        """Refuse what lies below a file or a link, and names that differ in normal form alone."""
        # NUL, which no name has, sorts before every character: what lies below a name follows it.
        keys = sorted(path.replace("/", "\0") for path in self._kinds)
        for upper, lower in pairwise(keys):
            is_below = lower.startswith(upper + "\0")
            if is_below and self._kinds[upper.replace("\0", "/")] is not MemberKind.FOLDER:
                raise unsafe_archive("a file lies below another file", lower.replace("\0", "/"))
        if not all(is_normalized("NFC", key) for key in keys):
            _check_normal_forms(keys)


def _check_normal_forms(keys: list[str]) -> None:
    # Sorted by their normal form, names that share it, or that of a folder, are neighbours.
    spelled = sorted((normalize("NFC", key), key) for key in keys)
    for (normal, key), (next_normal, next_key) in pairwise(spelled):
        columns = (each.split("\0") for each in (normal, next_normal, key, next_key))
        for form, next_form, part, next_part in zip(*columns, strict=False):
            if form != next_form:
                break
            if part != next_part:
                reason = "two names differ only in their Unicode normal form"
                raise invalid_archive(reason, next_key.replace("\0", "/"))
