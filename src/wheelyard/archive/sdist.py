"""
Validation of an sdist: one top-level folder named for the file, PKG-INFO in it, and safe links.

Follows the source distribution format (PEP 517, 625, 643), and accepts older spellings of the
folder's name. Old sdists are ZIP files.
"""

from hashlib import sha256
from unicodedata import is_normalized

from msgspec import Struct, field

from wheelyard.archive import archive_rules
from wheelyard.archive.archive_rules import ArchiveRule, MemberKind, ReadContext, invalid_archive
from wheelyard.archive.tar_members import tar_members
from wheelyard.archive.zip_members import open_zip
from wheelyard.model.distribution_filename import ZIP_SUFFIX, Sdist, is_stem_of
from wheelyard.model.metadata import LICENSE_VERSION, CoreMetadata

_PKG_INFO = "PKG-INFO"
_FOLDER_ENDS = ("/", "/.")


class OpenSdist(Struct, frozen=True):
    """A valid sdist with the bytes of its PKG-INFO, not yet parsed."""

    folder: str
    """The top-level folder, without a slash at the end."""
    metadata: bytes | None
    """The bytes of PKG-INFO, or None if the sdist has none."""
    paths: archive_rules.MemberPaths

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what is valid but not recommended."""
        return archive_rules.unportable_warnings(self.paths)

    def check(self, core: CoreMetadata, leniency: archive_rules.Leniency) -> None:
        """
        Raise Invalid (code `invalid_metadata`) unless the sdist has the licence files of `core`.

        `core` is the parsed PKG-INFO. If `leniency` waives the rule, the error is not raised, and
        `leniency` notes the rule.
        """
        if core.format < LICENSE_VERSION:
            return
        for path in core.license_files:
            name = f"{self.folder}/{path}"
            kind = self.paths.kind(archive_rules.normalized_path(name))
            if kind in {None, MemberKind.FOLDER}:
                error = archive_rules.invalid_metadata(
                    "a License-File of PKG-INFO is not in the sdist", name
                )
                leniency.waive_or_raise(ArchiveRule.METADATA, error)


def read_sdist(context: ReadContext, sdist: Sdist) -> OpenSdist:
    """
    Return an sdist that is valid, but for what its PKG-INFO says.

    Raises Invalid (code `invalid_archive`, `unsafe_archive` or `archive_bomb`) if the file is no
    sdist. Raises Invalid if its folder is not that of the filename (code `name_mismatch`), or it
    has no PKG-INFO (code `missing_metadata`), unless the leniency of `context` waives and notes
    that rule.
    """
    opened = open_sdist(context, sdist.filename)
    folder = opened.folder
    stem = sdist.filename.removesuffix(sdist.suffix)
    if folder != stem and not is_stem_of(folder, sdist):
        reason = "its folder is not named for the file"
        mismatch = archive_rules.other_project("name_mismatch", reason, folder)
        context.leniency.waive_or_raise(ArchiveRule.NAME, mismatch)
    if opened.metadata is None:
        error = archive_rules.missing_metadata("it has no PKG-INFO", f"{folder}/{_PKG_INFO}")
        context.leniency.waive_or_raise(ArchiveRule.HAS_METADATA, error)
    return opened


def open_sdist(context: ReadContext, filename: str) -> OpenSdist:
    """
    Return an sdist of any project, with PKG-INFO or without.

    `filename` decides whether the file is read as ZIP or as tar. Raises Invalid (code
    `invalid_archive`, `unsafe_archive` or `archive_bomb`) if the file is no sdist.
    """
    if filename.endswith(ZIP_SUFFIX):
        return _read_zip(context)
    return _read_tar(context)


def _read_zip(context: ReadContext) -> OpenSdist:
    """Return a ZIP sdist, or raise Invalid."""
    archive = open_zip(context, archive_rules.check_relative_name)
    tree = _SdistTree()
    pkg_info = None
    for member in archive.members.values():
        if tree.add(member.name, member.kind):
            pkg_info = archive.read(member, context.limits.metadata)
        else:
            # nobody needs the data, but only reading to its end shows that its size is true
            archive.verify(member)
    return OpenSdist(tree.finish(), pkg_info, tree.paths)


def _read_tar(context: ReadContext) -> OpenSdist:
    """Return a tar sdist, or raise Invalid."""
    limits = context.limits
    tree = _SdistTree()
    pkg_info = None
    for member, stream in tar_members(context):
        archive_rules.check_relative_name(member.name, limits)
        if member.kind is MemberKind.SYMBOLIC_LINK:
            archive_rules.check_text(member.target, limits)
        if tree.add(member.name, member.kind, member.target):
            if member.size > limits.metadata:
                raise archive_rules.archive_bomb(
                    f"PKG-INFO is larger than {limits.metadata} bytes", member.name
                )
            pkg_info = stream.read(member.size)
    # a second pass over the archive, which few need
    if tree.paths.duplicates:
        _check_duplicates(context, tree.paths.duplicates)
    return OpenSdist(tree.finish(), pkg_info, tree.paths)


def _check_duplicates(context: ReadContext, duplicates: set[str]) -> None:
    """Raise Invalid unless the files at each duplicate path have equal bytes."""
    digests: dict[str, bytes] = {}
    for member, stream in tar_members(context):
        path = archive_rules.normalized_path(member.name)
        if path not in duplicates:
            continue
        # compared by digests, as two large files must not be in memory together
        digest = sha256()
        for offset in range(0, member.size, archive_rules.MIB):
            context.deadline.check()
            digest.update(stream.read(min(archive_rules.MIB, member.size - offset)))
        if digests.setdefault(path, digest.digest()) != digest.digest():
            raise invalid_archive("two members have one name, and other bytes", member.name)


class _SdistTree(Struct):
    """The paths of an sdist, and the targets of its links."""

    top_folder: str = ""
    link_folders: list[str] = []
    """The paths that symbolic links lead to, of targets that are spelled as folders."""
    paths: archive_rules.MemberPaths = field(default_factory=archive_rules.MemberPaths)

    def add(self, name: str, kind: MemberKind, target: str = "") -> bool:
        """
        Add a member with a relative name, and return whether the member is PKG-INFO.

        Raises Invalid (code `invalid_archive` or `unsafe_archive`) if an sdist cannot have it.
        """
        path = archive_rules.normalized_path(name)
        top_folder, slash, _ = path.partition("/")
        is_in_folder = bool(slash) or kind is MemberKind.FOLDER
        if not path or not is_in_folder:
            raise invalid_archive("it has files outside of its one folder", name)
        self.top_folder = self.top_folder or top_folder
        if top_folder != self.top_folder:
            raise invalid_archive("it has more than one folder at its top", name)
        if kind is MemberKind.HARD_LINK:
            self._check_hard_link(target, name)
        elif kind is MemberKind.SYMBOLIC_LINK:
            self._check_symbolic_link(path, target, name)
        is_pkg_info = self._is_pkg_info(path, kind)
        self.paths.add(path, kind)
        return is_pkg_info

    def finish(self) -> str:
        """Return the top-level folder, or raise Invalid if there is none, or if paths conflict."""
        if not self.top_folder:
            raise invalid_archive("it is empty", "")
        self.paths.check()
        for path in self.link_folders:
            if self.paths.kind(path) not in {None, MemberKind.FOLDER}:
                raise invalid_archive("a symbolic link takes a file for a folder", path)
        return self.top_folder

    def _check_hard_link(self, target: str, name: str) -> None:
        """Raise Invalid unless a hard link leads to a file of the archive."""
        _check_target_form(target, name)
        # the file must come before the link, as programs unpack in the order of the archive
        kind = self.paths.kind(archive_rules.normalized_path(target))
        is_file = kind in {MemberKind.FILE, MemberKind.HARD_LINK}
        if not is_file or target.startswith("/") or target.endswith(_FOLDER_ENDS):
            raise archive_rules.unsafe_archive(
                "a hard link leads to nothing that came before it", name
            )

    def _check_symbolic_link(self, path: str, target: str, name: str) -> None:
        """Raise Invalid if a symbolic link leads outside of the top-level folder."""
        _check_target_form(target, name)
        folders_above = path.split("/")[:-1]  # from the top folder on
        # on Windows a backslash separates folders, too
        steps = archive_rules.normalized_path(target.replace("\\", "/")).split("/")
        steps_up = 0
        while steps_up < len(steps) and steps[steps_up] == "..":
            steps_up += 1
        # ".." only at the beginning: behind the name of another link it would lead elsewhere
        is_inside = steps_up < len(folders_above) and ".." not in steps[steps_up:]
        is_absolute = target.startswith(("/", "\\")) or ":" in steps[0]
        if not target or is_absolute or not is_inside:
            raise archive_rules.unsafe_archive("a symbolic link leads outside", name)
        if target.endswith(_FOLDER_ENDS):
            # the target may come later, so only `finish` can ask whether it is a folder
            path_of_target = folders_above[: len(folders_above) - steps_up] + steps[steps_up:]
            self.link_folders.append("/".join(path_of_target))

    def _is_pkg_info(self, path: str, kind: MemberKind) -> bool:
        """Return whether a member is PKG-INFO, or raise Invalid for another one at its path."""
        # the path is added later, so a kind at this path is that of an earlier member
        if path != f"{self.top_folder}/{_PKG_INFO}":
            return False
        if kind is not MemberKind.FILE:
            raise archive_rules.unsafe_archive("PKG-INFO is not a plain file", path)
        if self.paths.kind(path) is not None:
            raise invalid_archive("it has two PKG-INFO", path)
        return True


def _check_target_form(target: str, name: str) -> None:
    """Raise Invalid if the target of a link is not in Unicode normal form C."""
    # some programs normalize all names, and some only those of a PAX header
    if not is_normalized("NFC", target):
        raise invalid_archive("the target of a link is not in Unicode normal form C", name)
