"""
The paths that the members of an archive are unpacked to: each stands for one thing.

Where two members have one path, some programs write into what the first one left, through a link
for example, and others replace it. Where two names are one to a file system, it depends on the
file system.
"""

from enum import Enum
from itertools import pairwise
from unicodedata import is_normalized, normalize

from wheelyard.archive.faults import invalid_archive, unsafe_archive


class Kind(Enum):
    """What a member of an archive is."""

    FILE = "file"
    FOLDER = "folder"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"


def path_of(name: str) -> str:
    """Return the path that a name stands for: without empty parts, `.` and a slash at its end."""
    return "/".join([part for part in name.split("/") if part and part != "."])


class Paths:
    """The paths of one archive."""

    __slots__ = ("_kinds", "repeated")

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self.repeated: set[str] = set()
        """Paths that more than one plain file has."""

    def add(self, path: str, kind: Kind) -> None:
        """
        Take in a member.

        Args:
            path: As `path_of` returns it.
            kind: What the member is.

        Raises:
            Invalid: Another member has this path, and not both are folders or both are files (code
                `invalid_archive`).
        """
        before = self._kinds.get(path)
        if before is None:
            self._kinds[path] = kind
        elif before is kind is Kind.FILE:
            self.repeated.add(path)
        elif not before is kind is Kind.FOLDER:
            raise invalid_archive("two members have one name", path)

    def kind(self, path: str) -> Kind | None:
        """Return what the member with this path is, None if there is none so far."""
        return self._kinds.get(path)

    def check(self) -> None:
        """
        Accept the paths of an archive that has no further members.

        Raises:
            Invalid: A member lies below a file or a link (code `unsafe_archive`), or two names
                differ only in their Unicode normal form (`invalid_archive`).
        """
        # NUL, which no name has, sorts before every character: what lies below a name follows it.
        keys = sorted(path.replace("/", "\0") for path in self._kinds)
        for upper, lower in pairwise(keys):
            is_below = lower.startswith(upper + "\0")
            if is_below and self._kinds[upper.replace("\0", "/")] is not Kind.FOLDER:
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
