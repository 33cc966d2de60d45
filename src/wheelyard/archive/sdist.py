"""
An sdist: one folder named for its file, with PKG-INFO in it, and nothing that leads outside.

Follows the source distribution format (PEP 517, 625, 643), and takes the folder in the older
spellings as well. Old ones are ZIP files, or tar archives in other formats than gzip.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wheelyard.archive.compressions import tar_pieces
from wheelyard.archive.deadline import Deadline
from wheelyard.archive.excuses import NAME, NO_METADATA, Leniency
from wheelyard.archive.faults import (
    archive_bomb,
    invalid_archive,
    missing_metadata,
    refusal,
    unsafe_archive,
)
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_relative_name, check_tree, is_named_for
from wheelyard.archive.tar_members import Kind, tar_members
from wheelyard.archive.tar_stream import TarStream
from wheelyard.archive.zip_members import member_pieces, read_member
from wheelyard.archive.zip_structure import read_structure
from wheelyard.model.distribution import ZIP_SUFFIX, Sdist

_PKG_INFO = "PKG-INFO"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in an sdist."""

    top: str
    """Its one folder."""
    pkg_info: bytes | None


def read_sdist(
    descriptor: int, sdist: Sdist, limits: ArchiveLimits, deadline: Deadline, leniency: Leniency
) -> bytes | None:
    """
    Return the bytes of an sdist's PKG-INFO, None where that is missing and excused.

    Args:
        descriptor: Of the file, open for reading.
        sdist: What its filename promises; PKG-INFO is not compared with it here.
        limits: Of what is read.
        deadline: Asked between pieces of work.
        leniency: What may be otherwise than it should be.

    Raises:
        Invalid: The file is not an sdist that every client unpacks in the same way.
    """
    if sdist.suffix == ZIP_SUFFIX:
        found = _read_zip(descriptor, limits, deadline)
    else:
        found = _read_tar(tar_pieces(sdist.suffix, descriptor, limits, deadline), limits, deadline)
    stem = sdist.filename.removesuffix(sdist.suffix)
    with leniency.excusing(NAME):
        if found.top != stem and not is_named_for(found.top, sdist):
            raise refusal("name_mismatch", "its folder is not named for the file", found.top)
    with leniency.excusing(NO_METADATA):
        if found.pkg_info is None:
            raise missing_metadata("it has no PKG-INFO", f"{found.top}/{_PKG_INFO}")
    return found.pkg_info


def _read_zip(descriptor: int, limits: ArchiveLimits, deadline: Deadline) -> Found:
    archive = read_structure(descriptor, check_relative_name, limits, deadline)
    tree = _Tree()
    found = None
    for member in archive.members.values():
        is_pkg_info = tree.add(member.name, Kind.FOLDER if member.is_folder else Kind.FILE)
        if is_pkg_info:
            found = read_member(archive, member, limits.metadata, deadline)
        else:
            for _ in member_pieces(archive, member, deadline):
                pass
    return tree.finished(found)


def _read_tar(pieces: Iterator[bytes], limits: ArchiveLimits, deadline: Deadline) -> Found:
    stream = TarStream(pieces)
    tree = _Tree()
    found = None
    for member in tar_members(stream, limits, deadline):
        check_relative_name(member.name, limits)
        is_pkg_info = tree.add(member.name, member.kind, member.target)
        if is_pkg_info and member.size > limits.metadata:
            raise archive_bomb(f"PKG-INFO is larger than {limits.metadata} bytes", member.name)
        if is_pkg_info:
            found = stream.take(member.size)
    return tree.finished(found)


class _Tree:
    """The paths in an sdist, and where its links lead."""

    __slots__ = ("_files", "_has_pkg_info", "_links", "_top")

    def __init__(self) -> None:
        self._top = ""
        self._files: set[str] = set()
        self._links: set[str] = set()
        self._has_pkg_info = False

    def add(self, name: str, kind: Kind, target: str = "") -> bool:
        """Take in a member whose name is relative; return whether it is the PKG-INFO."""
        parts = _parts(name)
        if not parts or (len(parts) == 1 and kind is not Kind.FOLDER):
            raise invalid_archive("it has files outside of its one folder", name)
        self._top = self._top or parts[0]
        if parts[0] != self._top:
            raise invalid_archive("it has more than one folder at its top", name)
        path = "/".join(parts)
        if kind is Kind.HARD_LINK and "/".join(_parts(target)) not in self._files:
            raise unsafe_archive("a hard link leads to nothing that came before it", name)
        if kind is Kind.SYMBOLIC_LINK:
            _check_symbolic_link(parts, target, name)
            self._links.add(path)
        elif kind is not Kind.FOLDER:
            self._files.add(path)
        return self._is_pkg_info(path, kind)

    def finished(self, pkg_info: bytes | None) -> Found:
        """Return what is in a tree that is complete."""
        check_tree(self._files | self._links)
        return Found(self._top, pkg_info)

    def _is_pkg_info(self, path: str, kind: Kind) -> bool:
        if path != f"{self._top}/{_PKG_INFO}":
            return False
        if kind is not Kind.FILE:
            raise unsafe_archive("PKG-INFO is not a plain file", path)
        if self._has_pkg_info:
            raise invalid_archive("it has two PKG-INFO", path)
        self._has_pkg_info = True
        return True


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]


def _check_symbolic_link(parts: list[str], target: str, name: str) -> None:
    steps = _parts(target.replace("\\", "/"))
    upwards = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
    # Upwards only first: behind another link it would not lead where the text says.
    inside = upwards < len(parts) - 1 and ".." not in steps[upwards:]
    if not inside or not steps or target.startswith(("/", "\\")) or ":" in steps[0]:
        raise unsafe_archive("a symbolic link leads outside", name)
