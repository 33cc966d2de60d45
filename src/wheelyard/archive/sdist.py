"""
An sdist: one folder named for its file, with PKG-INFO in it, and nothing that leads outside.

Follows the source distribution format (PEP 517, 625, 643), and takes the folder in the older
spellings as well. Old ones are ZIP files, or tar archives in other formats than gzip.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple
from unicodedata import is_normalized

from wheelyard.archive.archive_errors import (
    archive_bomb,
    invalid_archive,
    invalid_file,
    missing_metadata,
    unsafe_archive,
)
from wheelyard.archive.decompression import decompress_tar
from wheelyard.archive.leniency import MISSING_METADATA_RULE, NAME_RULE
from wheelyard.archive.limits import MIB, Deadline, ReadContext
from wheelyard.archive.member_names import (
    MemberKind,
    MemberPaths,
    check_relative_name,
    check_text,
    normalized_path,
)
from wheelyard.archive.tar_members import TarMember, TarStream, tar_members
from wheelyard.archive.zip_members import open_zip
from wheelyard.model.distribution_filename import ZIP_SUFFIX, Sdist, is_stem_of

_PKG_INFO = "PKG-INFO"
_FOLDER_ENDS = ("/", "/.")


class _Found(NamedTuple):
    top: str
    """The one folder of an sdist."""
    pkg_info: bytes | None


def read_sdist(reading: ReadContext, sdist: Sdist) -> bytes | None:
    """
    Return the PKG-INFO of an sdist that every client unpacks alike; None if excused.

    It is not compared here with what the filename promises.
    """
    is_zip = sdist.suffix == ZIP_SUFFIX
    found = _read_zip(reading) if is_zip else _read_tar(reading, sdist.suffix)
    stem = sdist.filename.removesuffix(sdist.suffix)
    with reading.leniency.waiving(NAME_RULE):
        if found.top != stem and not is_stem_of(found.top, sdist):
            raise invalid_file("name_mismatch", "its folder is not named for the file", found.top)
    with reading.leniency.waiving(MISSING_METADATA_RULE):
        if found.pkg_info is None:
            raise missing_metadata("it has no PKG-INFO", f"{found.top}/{_PKG_INFO}")
    return found.pkg_info


def _read_zip(reading: ReadContext) -> _Found:
    archive = open_zip(reading, check_relative_name)
    tree = _Tree()
    found = None
    for member in archive.members.values():
        if tree.add(member.name, MemberKind.FOLDER if member.is_folder else MemberKind.FILE):
            found = archive.read(member, reading.limits.metadata)
        else:
            archive.check(member)
    return tree.finished(found)


def _members(reading: ReadContext, suffix: str) -> Iterator[tuple[TarMember, TarStream]]:
    """Read a tar archive from its beginning; behind each member comes its data."""
    stream = TarStream(decompress_tar(suffix, reading))
    for member in tar_members(stream, reading):
        yield member, stream


def _read_tar(reading: ReadContext, suffix: str) -> _Found:
    limits = reading.limits
    tree = _Tree()
    found = None
    for member, stream in _members(reading, suffix):
        check_relative_name(member.name, limits)
        if member.kind is MemberKind.SYMBOLIC_LINK:
            check_text(member.target, limits)
        if tree.add(member.name, member.kind, member.target):
            if member.size > limits.metadata:
                raise archive_bomb(f"PKG-INFO is larger than {limits.metadata} bytes", member.name)
            found = stream.take(member.size)
    if tree.paths.repeated:
        _check_repeated(_members(reading, suffix), tree.paths.repeated, reading.deadline)
    return tree.finished(found)


def _check_repeated(
    members: Iterable[tuple[TarMember, TarStream]], repeated: set[str], deadline: Deadline
) -> None:
    """Refuse an archive, read again, unless the files of each of these paths are the same."""
    digests: dict[str, bytes] = {}
    for member, stream in members:
        path = normalized_path(member.name)
        if path not in repeated:
            continue
        digest = sha256()
        for at in range(0, member.size, MIB):
            deadline.check()
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
        self.paths = MemberPaths()

    def add(self, name: str, kind: MemberKind, target: str = "") -> bool:
        """Take in a member whose name is relative; return whether it is the PKG-INFO."""
        path = normalized_path(name)
        top, slash, _ = path.partition("/")
        if not path or (not slash and kind is not MemberKind.FOLDER):
            raise invalid_archive("it has files outside of its one folder", name)
        self._top = self._top or top
        if top != self._top:
            raise invalid_archive("it has more than one folder at its top", name)
        if kind is MemberKind.HARD_LINK:
            self._check_hard_link(target, name)
        elif kind is MemberKind.SYMBOLIC_LINK:
            self._check_symbolic_link(path, target, name)
        is_pkg_info = self._is_pkg_info(path, kind)
        self.paths.add(path, kind)
        return is_pkg_info

    def finished(self, pkg_info: bytes | None) -> _Found:
        """Return what is in a tree that is complete."""
        self.paths.check()
        for path in self._folders_of_links:
            if self.paths.kind(path) not in {None, MemberKind.FOLDER}:
                raise invalid_archive("a symbolic link takes a file for a folder", path)
        return _Found(self._top, pkg_info)

    def _check_hard_link(self, target: str, name: str) -> None:
        _check_normal(target, name)
        is_file = self.paths.kind(normalized_path(target)) in {
            MemberKind.FILE,
            MemberKind.HARD_LINK,
        }
        if not is_file or target.startswith("/") or target.endswith(_FOLDER_ENDS):
            raise unsafe_archive("a hard link leads to nothing that came before it", name)

    def _check_symbolic_link(self, path: str, target: str, name: str) -> None:
        _check_normal(target, name)
        parts = path.split("/")
        steps = normalized_path(target.replace("\\", "/")).split("/")
        upwards = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
        # Upwards only first: behind another link it would not lead where the text says.
        inside = upwards < len(parts) - 1 and ".." not in steps[upwards:]
        if not inside or not target or target.startswith(("/", "\\")) or ":" in steps[0]:
            raise unsafe_archive("a symbolic link leads outside", name)
        if target.endswith(_FOLDER_ENDS):
            beginning = parts[: len(parts) - 1 - upwards]
            self._folders_of_links.append("/".join((*beginning, *steps[upwards:])))

    def _is_pkg_info(self, path: str, kind: MemberKind) -> bool:
        if path != f"{self._top}/{_PKG_INFO}":
            return False
        if kind is not MemberKind.FILE:
            raise unsafe_archive("PKG-INFO is not a plain file", path)
        if self._has_pkg_info:
            raise invalid_archive("it has two PKG-INFO", path)
        self._has_pkg_info = True
        return True


def _check_normal(target: str, name: str) -> None:
    # Some programs bring names into this form, and some only those of a PAX header.
    if not is_normalized("NFC", target):
        raise invalid_archive("the target of a link is not in Unicode normal form C", name)
