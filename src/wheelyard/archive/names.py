"""Which names a member of an archive may have."""

import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from wheelyard.archive.faults import archive_bomb, unsafe_archive
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.errors import Invalid
from wheelyard.model.distribution import Distribution, parse_name, parse_version

_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""With the ends of lines, and what Unicode calls Bidi_Control: it changes how a name is shown."""
_PART = 255
"""Bytes of a name between two slashes; more, and no usual file system takes it."""
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_PORTABLE = re.compile(r"[^/]*[^/. ](?:/[^/]*[^/. ])*")
_ODD = re.compile(r"[^a-z0-9]+")
_DEVICE = re.compile(
    r"(?:^|/)(?:CON|CONIN\$|CONOUT\$|PRN|AUX|NUL|(?:COM|LPT)[0-9\xb9\xb2\xb3])(?:/|$)",
    re.IGNORECASE,
)
"""Devices of Windows; with an extension they are files by now, and modules are called that."""


def check_portable_name(name: str, limits: ArchiveLimits, project: str = "") -> None:
    """
    Accept the name of a wheel's member: relative, and a possible path on every platform.

    Args:
        name: In the archive.
        limits: Of its length and depth.
        project: The normalised name of the wheel's own project, whose top-level folder may be
            named for a device of Windows, as the project is.

    Raises:
        Invalid: It is none (code `unsafe_archive`).
    """
    check_relative_name(name, limits)
    path = name.removesuffix("/")
    top, slash, rest = name.partition("/")
    if slash and top.lower() == project:
        path = f"_/{rest}".removesuffix("/")
    if "\\" in path or ":" in path or not _PORTABLE.fullmatch(path) or _DEVICE.search(path):
        raise unsafe_archive("a member has a name that not every platform can have", name)


def check_relative_name(name: str, limits: ArchiveLimits) -> None:
    """
    Accept the name of an sdist's member: within the place that the archive is unpacked to.

    Raises:
        Invalid: It is absolute, leads outside, or `check_text` refuses it (code
            `unsafe_archive`).
    """
    check_text(name, limits)
    path = name.replace("\\", "/")
    if _ABSOLUTE.match(path) or ".." in path.split("/"):
        raise unsafe_archive("a member's name leads outside the archive", name)


def check_text(name: str, limits: ArchiveLimits) -> None:
    """
    Accept the text of a name, or of the target of a link, wherever it leads.

    Raises:
        Invalid: It has control characters, or is longer or deeper than the limits (code
            `unsafe_archive`).
    """
    if _CONTROL.search(name):
        raise unsafe_archive("a member's name has a control character", name)
    raw = name.encode(errors="replace")
    if len(raw) > limits.member_name:
        raise unsafe_archive(f"a member's name is longer than {limits.member_name} bytes", name)
    if name.replace("\\", "/").count("/") >= limits.depth:
        raise unsafe_archive(f"a member lies deeper than {limits.depth} folders", name)
    if len(raw) > _PART and max(map(len, raw.split(b"/"))) > _PART:
        raise unsafe_archive(f"a part of a member's name is longer than {_PART} bytes", name)


def same_when_folded(names: Iterable[str]) -> str | None:
    """Return a name that another one equals but for upper and lower case, or None."""
    seen: set[int] = set()
    for name in names:
        # Hashes take a tenth of the memory; a false alarm in 2**61 is only a warning.
        folded = hash(name.casefold())
        if folded in seen:
            return name
        seen.add(folded)
    return None


def is_named_for(folder: str, distribution: Distribution) -> bool:
    """Return whether `folder` is `name-version` of the distribution, in whatever spelling."""
    name, _, version = folder.rpartition("-")
    try:
        return (parse_name(name), parse_version(version)) == (
            distribution.project,
            distribution.version,
        )
    except Invalid:
        return False


def is_of_project(folder: str, distribution: Distribution) -> bool:
    """Return whether `folder` is `name-` of the distribution and anything; installers ask that."""
    return canonicalize_name(folder).startswith(f"{distribution.project}-")


def is_spelled_like(name: str, distribution: Distribution) -> bool:
    """Return whether a name has the letters and digits of the project's name, in their order."""
    return _ODD.sub("", name.lower()) == _ODD.sub("", distribution.project)


def check_count(count: int, limits: ArchiveLimits) -> None:
    """
    Accept a number of members.

    Raises:
        Invalid: There are more than the limit (code `archive_bomb`).
    """
    if count > limits.entries:
        raise archive_bomb(f"it has more than {limits.entries} members")
