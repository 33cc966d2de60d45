"""
Validation of member names, and the paths that members are unpacked to.

Only folders, and in a tar archive files with equal bytes, may share a path. If others did, some
programs would write through the first one, which may be a link, and others would replace it. Names
that differ only in case or Unicode normal form are one path on some file systems.
"""

import re
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from unicodedata import is_normalized, normalize

from msgspec import Struct

from wheelyard.archive.rules import ArchiveLimits, invalid_archive, unsafe_archive

_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line ends, and Bidi_Control, which changes how a name is displayed."""
_MAX_COMPONENT_BYTES = 255
"""Between two slashes; usual file systems allow no more."""
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_PORTABLE = re.compile(r"[^/]*[^/. ](?:/[^/]*[^/. ])*")
_DEVICE = re.compile(
    r"(?:^|/)(?:CON|CONIN\$|CONOUT\$|PRN|AUX|NUL|(?:COM|LPT)[0-9\xb9\xb2\xb3])(?:/|$)",
    re.IGNORECASE,
)
"""Windows device names. With an extension they are ordinary files, as modules of that name."""


def check_portable_name(name: str, limits: ArchiveLimits, project: str = "") -> None:
    """
    Raise Invalid (code `unsafe_archive`) unless the name is valid on every platform.

    The top-level folder of a wheel may have the name of a Windows device if `project` has it, too.
    """
    check_relative_name(name, limits)
    path = name.removesuffix("/")
    top, slash, rest = name.partition("/")
    if slash and top.lower() == project:
        path = f"_/{rest}".removesuffix("/")
    if "\\" in path or ":" in path or not _PORTABLE.fullmatch(path) or _DEVICE.search(path):
        raise unsafe_archive("a member has a name that not every platform can have", name)


def check_relative_name(name: str, limits: ArchiveLimits) -> None:
    """Raise Invalid (`unsafe_archive`) unless a name is relative, has no `..`, and is sound."""
    check_text(name, limits)
    path = name.replace("\\", "/")
    if _ABSOLUTE.match(path) or ".." in path.split("/"):
        raise unsafe_archive("a member's name leads outside the archive", name)


def check_text(name: str, limits: ArchiveLimits) -> None:
    """Raise Invalid (`unsafe_archive`) for control characters, or a name over the limits."""
    if _CONTROL.search(name):
        raise unsafe_archive("a member's name has a control character", name)
    raw = name.encode(errors="replace")
    if len(raw) > limits.member_name:
        raise unsafe_archive(f"a member's name is longer than {limits.member_name} bytes", name)
    if name.replace("\\", "/").count("/") >= limits.depth:
        raise unsafe_archive(f"a member lies deeper than {limits.depth} folders", name)
    if len(raw) > _MAX_COMPONENT_BYTES and max(map(len, raw.split(b"/"))) > _MAX_COMPONENT_BYTES:
        reason = f"a part of a member's name is longer than {_MAX_COMPONENT_BYTES} bytes"
        raise unsafe_archive(reason, name)


def find_case_collision(names: Iterable[str]) -> str | None:
    """Return the first name that equals an earlier one except for case, or None."""
    seen: set[int] = set()
    for name in names:
        # Hashes take a tenth of the memory; a collision (1 in 2**61) only causes a warning.
        folded = hash(name.casefold())
        if folded in seen:
            return name
        seen.add(folded)
    return None


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
        Add a member of the archive; raise Invalid if it repeats a path.

        Two folders may share a path; two files may, too, and their path is in `duplicates`.
        """
        before = self._kinds.get(path)
        if before is None:
            self._kinds[path] = kind
        elif before is kind is MemberKind.FILE:
            self.duplicates.add(path)
        elif not before is kind is MemberKind.FOLDER:
            raise invalid_archive("two members have one name", path)

    def kind(self, path: str) -> MemberKind | None:
        """Return the kind of the member that was added at this path, or None."""
        return self._kinds.get(path)

    def check(self) -> None:
        """Raise Invalid for a member below a file or link, or names that differ in normal form."""
        # NUL is in no name and sorts first, so children directly follow their folder.
        keys = sorted(path.replace("/", "\0") for path in self._kinds)
        for upper, lower in pairwise(keys):
            is_below = lower.startswith(upper + "\0")
            if is_below and self._kinds[upper.replace("\0", "/")] is not MemberKind.FOLDER:
                raise unsafe_archive("a file lies below another file", lower.replace("\0", "/"))
        if not all(is_normalized("NFC", key) for key in keys):
            _check_normal_forms(keys)


def _check_normal_forms(keys: list[str]) -> None:
    # Sorted by normal form, names with a common form, or a common folder, are neighbours.
    spelled = sorted((normalize("NFC", key), key) for key in keys)
    for (normal, key), (next_normal, next_key) in pairwise(spelled):
        columns = (each.split("\0") for each in (normal, next_normal, key, next_key))
        for form, next_form, part, next_part in zip(*columns, strict=False):
            if form != next_form:
                break
            if part != next_part:
                reason = "two names differ only in their Unicode normal form"
                raise invalid_archive(reason, next_key.replace("\0", "/"))
