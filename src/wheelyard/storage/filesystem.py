"""
File system access of stores: durable writes, no symbolic links, errors as Unavailable, mounts.

A write is durable once the file, and the folder that has its name, were synced.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from errno import EDQUOT, EFBIG, ELOOP, ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.threads import waiting
from wheelyard.errors import RETRY_AFTER_SECONDS, STORAGE_FULL, Unavailable
from wheelyard.storage.base import CHUNK_BYTES, FileBody

FILE_MODE: Final = 0o640
"""The mode of every file of a store, independent of the umask."""
DESCRIPTOR_LINKS: Final = "/proc/self/fd"
"""The folder in which Linux has a link to the path of each open file."""
DELETED_SUFFIX: Final = " (deleted)"
"""The suffix that Linux adds to the path of an open file that was deleted or replaced."""
MOUNT_TABLE: Final = Path("/proc/self/mounts")
"""The list of mounts on Linux. Elsewhere no network file system is detected."""
NETWORK_TYPES = ("nfs", "cifs", "smb", "fuse.gcsfuse", "fuse.sshfs", "fuse.s3fs", "9p", "afs")


class storage_faults(Struct, frozen=True):  # noqa: N801 - used as a function, like `contextlib.suppress`
    """
    Turns an OSError of a block into an Unavailable.

    `what` is the object of the message. The code is `storage_full` if there is no room left.
    """

    what: str

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        # EFBIG: the limit of the process for the size of a file (RLIMIT_FSIZE), or that of the disk
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            raise Unavailable(
                f"There is no room left to store {self.what}. Free some space and try again.",
                code=STORAGE_FULL,
            ) from error
        reason = error.strerror or type(error).__name__
        raise Unavailable(
            f"The store could not use {self.what}: {reason}. If it stays so, look at the disk.",
            retry_after=RETRY_AFTER_SECONDS,
        ) from error


def write_all(descriptor: int, body: FileBody) -> None:
    """Write all bytes to a file descriptor, or raise OSError."""
    if isinstance(body, Path):
        with body.open("rb", buffering=0) as source:
            while chunk := source.read(CHUNK_BYTES):
                write_all(descriptor, chunk)
        return
    view = memoryview(body)
    # one `os.write` may write only some of the bytes
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(descriptor: int) -> None:
    """Make the bytes of an open file durable, or raise OSError."""
    # a disk may take milliseconds, in which another upload may compute
    with waiting():
        os.fsync(descriptor)


def sync_folder(path: str) -> None:
    """
    Make the names in a folder durable, or raise OSError.

    Does nothing if the folder was deleted meanwhile.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)


def open_no_follow(path: str, flags: int) -> int:
    """
    Return a descriptor of the file, or with O_DIRECTORY of the folder, at an absolute path.

    Raises OSError if it cannot be opened, with ELOOP if the path has a symbolic link in it. On
    Linux the path of the open file is compared, so a link is noticed whenever it was made.
    Elsewhere the path is resolved after the file was opened, so a link that was there only while
    the file was opened is not noticed.
    """
    # O_NOFOLLOW would report a link to a folder as "not a folder"; `_is_at` finds that link
    if not flags & os.O_DIRECTORY:
        # O_NONBLOCK: opening a named pipe must not wait for its writer
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    if not _is_at(descriptor, path):
        os.close(descriptor)
        raise OSError(ELOOP, os.strerror(ELOOP), path)
    return descriptor


def walk_no_follow(
    root: str, prefix: str, after: str = "", folder: str = ""
) -> Iterator[tuple[str, os.stat_result]]:
    """
    Yield the visible files whose paths begin with `prefix` and are greater than `after`, sorted.

    Paths are relative to `root`. Anything that is no folder counts as a file, also a symbolic link,
    which has its own status. Names that begin with a dot are left out. A missing folder has no
    files. Raises OSError if a folder cannot be read, with ELOOP if `root` or `folder` leads through
    a symbolic link.

    `folder` is only for the recursion: the folder to read, with a slash at its end.
    """
    if not folder:
        # the longest folder in which all these files are
        folder = prefix[: prefix.rfind("/") + 1]
    for name, is_folder in _visible_names(f"{root}/{folder}".rstrip("/")):
        path = f"{folder}{name}"
        if is_folder:
            may_have_prefix = path.startswith(prefix[: len(path)])
            may_be_greater = path >= after[: len(path)]
            if may_have_prefix and may_be_greater:
                yield from walk_no_follow(root, prefix, after, path)
        elif path.startswith(prefix) and path > after:
            with suppress(FileNotFoundError):  # deleted since its folder was read
                yield path, os.lstat(f"{root}/{path}")


def _visible_names(folder: str) -> list[tuple[str, bool]]:
    """
    Return the names in a folder that do not begin with a dot, sorted, each with its kind.

    The second value is whether the name is that of a folder. Such a name ends with a slash, so
    names are in the order of the keys below them. A missing folder has no names.
    """
    try:
        descriptor = open_no_follow(folder, os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = []
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name.startswith("."):  # the spool, the locks and the reserve
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append((f"{entry.name}/", True))
                else:
                    names.append((entry.name, False))
    finally:
        os.close(descriptor)
    return sorted(names)


def require_no_links(path: Path) -> None:
    """Raise Unavailable if an absolute path has a symbolic link in it."""
    if os.path.realpath(path) != str(path):
        raise link_error(str(path))


def link_error(what: str) -> Unavailable:
    """Return the Unavailable for a symbolic link in the store."""
    return Unavailable(
        f"{what} is a link, or behind one, and the store follows none. Put the file or the folder "
        "itself there."
    )


def remote_file_system(folder: Path, mounts: Path = MOUNT_TABLE) -> str | None:
    """Return the type of `folder`'s network file system, or None if it is local or unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    longest_path = ""
    file_system = ""
    for line in lines:
        # device, mount point, type: fstab(5), where a space in a path is \040
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004 - the fields above
            continue
        path = fields[1].replace("\\040", " ")
        # the mount with the longest path has the folder, and a later mount hides an earlier one
        if path and folder.resolve().is_relative_to(path) and len(path) >= len(longest_path):
            longest_path = path
            file_system = fields[2]
    if file_system.startswith(NETWORK_TYPES):
        return file_system
    return None


def _is_at(descriptor: int, path: str) -> bool:
    """
    Return whether an open file is at a path, and the path has no link.

    A file that was replaced or deleted after it was opened counts as being at its path.
    """
    try:
        actual_path = os.readlink(f"{DESCRIPTOR_LINKS}/{descriptor}")  # noqa: PTH115 - hot
    except OSError:  # not Linux, or without /proc
        return os.path.realpath(path) == path
    return actual_path in (path, path + DELETED_SUFFIX)
