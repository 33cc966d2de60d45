"""
An sdist: one folder named for its file, with PKG-INFO in it, and nothing that leads outside.

Follows the source distribution format (PEP 517, 625, 643), and takes the folder in the older
spellings as well. Old ones are ZIP files, or tar archives in other formats than gzip.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from unicodedata import is_normalized

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
from wheelyard.archive.limits import MIB, ArchiveLimits
from wheelyard.archive.names import check_relative_name, check_text, is_named_for
from wheelyard.archive.paths import Kind, Paths, path_of
from wheelyard.archive.tar_members import TarMember, tar_members
from wheelyard.archive.tar_stream import TarStream
from wheelyard.archive.zip_members import member_pieces, read_member
from wheelyard.archive.zip_structure import read_structure
from wheelyard.model.distribution import ZIP_SUFFIX, Sdist

_PKG_INFO = "PKG-INFO"
_FOLDER_ENDS = ("/", "/.")


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
        found = _read_tar(_Tar(sdist.suffix, descriptor, limits, deadline))
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


@dataclass(frozen=True, slots=True)
class _Tar:
    suffix: str
    descriptor: int
    limits: ArchiveLimits
    deadline: Deadline

    def members(self) -> Iterator[tuple[TarMember, TarStream]]:
        """Read the archive from its beginning; yield each member, with the stream at its data."""
        pieces = tar_pieces(self.suffix, self.descriptor, self.limits, self.deadline)
        stream = TarStream(pieces)
        for member in tar_members(stream, self.limits, self.deadline):
            yield member, stream


def _read_tar(tar: _Tar) -> Found:
    tree = _Tree()
    found = None
    for member, stream in tar.members():
        check_relative_name(member.name, tar.limits)
        if member.kind is Kind.SYMBOLIC_LINK:
            check_text(member.target, tar.limits)
        is_pkg_info = tree.add(member.name, member.kind, member.target)
        if is_pkg_info and member.size > tar.limits.metadata:
            raise archive_bomb(f"PKG-INFO is larger than {tar.limits.metadata} bytes", member.name)
        if is_pkg_info:
            found = stream.take(member.size)
    if tree.paths.repeated:
        _check_repeated(tar, tree.paths.repeated)
    return tree.finished(found)


def _check_repeated(tar: _Tar, repeated: set[str]) -> None:
    """Read the archive again, and accept it if the files of each of these paths are the same."""
    digests: dict[str, bytes] = {}
    for member, stream in tar.members():
        path = path_of(member.name)
        if path not in repeated:
            continue
        digest = sha256()
        for at in range(0, member.size, MIB):
            tar.deadline.check()
            digest.update(stream.take(min(MIB, member.size - at)))
        if digests.setdefault(path, digest.digest()) != digest.digest():
            raise invalid_archive("two members have one name, and other bytes", member.name)


class _Tree:
    """The paths in an sdist, and where its links lead."""

    __slots__ = ("_folders_of_links", "_has_pkg_info", "_top", "paths")

    def __init__(self) -> None:
        self._top = ""
        self._folders_of_links: list[str] = []
        """Where links lead whose targets end as a folder's name does."""
        self._has_pkg_info = False
        self.paths = Paths()

    def add(self, name: str, kind: Kind, target: str = "") -> bool:
        """Take in a member whose name is relative; return whether it is the PKG-INFO."""
        path = path_of(name)
        top, slash, _ = path.partition("/")
        if not path or (not slash and kind is not Kind.FOLDER):
            raise invalid_archive("it has files outside of its one folder", name)
        self._top = self._top or top
        if top != self._top:
            raise invalid_archive("it has more than one folder at its top", name)
        if kind is Kind.HARD_LINK:
            self._check_hard_link(target, name)
        elif kind is Kind.SYMBOLIC_LINK:
            self._check_symbolic_link(path, target, name)
        is_pkg_info = self._is_pkg_info(path, kind)
        self.paths.add(path, kind)
        return is_pkg_info

    def finished(self, pkg_info: bytes | None) -> Found:
        """Return what is in a tree that is complete."""
        self.paths.check()
        for path in self._folders_of_links:
            if self.paths.kind(path) not in {None, Kind.FOLDER}:
                raise invalid_archive("a symbolic link takes a file for a folder", path)
        return Found(self._top, pkg_info)

    def _check_hard_link(self, target: str, name: str) -> None:
        _check_normal(target, name)
        is_file = self.paths.kind(path_of(target)) in {Kind.FILE, Kind.HARD_LINK}
        if not is_file or target.startswith("/") or target.endswith(_FOLDER_ENDS):
            raise unsafe_archive("a hard link leads to nothing that came before it", name)

    def _check_symbolic_link(self, path: str, target: str, name: str) -> None:
        _check_normal(target, name)
        parts = path.split("/")
        steps = path_of(target.replace("\\", "/")).split("/")
        upwards = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
        # Upwards only first: behind another link it would not lead where the text says.
        inside = upwards < len(parts) - 1 and ".." not in steps[upwards:]
        if not inside or not target or target.startswith(("/", "\\")) or ":" in steps[0]:
            raise unsafe_archive("a symbolic link leads outside", name)
        if target.endswith(_FOLDER_ENDS):
            beginning = parts[: len(parts) - 1 - upwards]
            self._folders_of_links.append("/".join((*beginning, *steps[upwards:])))

    def _is_pkg_info(self, path: str, kind: Kind) -> bool:
        if path != f"{self._top}/{_PKG_INFO}":
            return False
        if kind is not Kind.FILE:
            raise unsafe_archive("PKG-INFO is not a plain file", path)
        if self._has_pkg_info:
            raise invalid_archive("it has two PKG-INFO", path)
        self._has_pkg_info = True
        return True


def _check_normal(target: str, name: str) -> None:
    # Some programs bring names into this form, and some only those of a PAX header.
    if not is_normalized("NFC", target):
        raise invalid_archive("the target of a link is not in Unicode normal form C", name)
