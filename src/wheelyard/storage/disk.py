"""What stores ask of the disk: files in place, synced files, faults in words."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from errno import EDQUOT, EFBIG, ELOOP, ENOSPC
from pathlib import Path
from typing import Final

from wheelyard.errors import STORAGE_FULL, Unavailable

FSYNC_BATCH: Final = 16
"""Files that `sync_all` has open at a time."""
DESCRIPTOR_LINKS: Final = "/proc/self/fd"
"""Where Linux tells the path of each descriptor."""
DELETED_SUFFIX: Final = " (deleted)"
"""What Linux puts behind the path of a file that has been removed, or replaced, since."""
MOUNT_TABLE: Final = Path("/proc/self/mounts")
"""Linux has it; elsewhere no network file system is detected."""
NETWORK_FILE_SYSTEMS: Final = (
    "nfs",
    "cifs",
    "smb",
    "fuse.gcsfuse",
    "fuse.sshfs",
    "fuse.s3fs",
    "9p",
    "afs",
)


@contextmanager
def storage_faults(what: str) -> Iterator[None]:
    """Raise Unavailable for any OSError inside, with code `storage_full` where there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            raise Unavailable(
                f"There is no room left to store {what}. Free some space and try again.",
                code=STORAGE_FULL,
                short="Storage is full.",
            ) from error
        reason = error.strerror or type(error).__name__
        raise Unavailable(
            f"The store could not use {what}: {reason}. Try again; if it stays, look at the disk.",
            short="Storage is not available.",
        ) from error


def write_all(descriptor: int, body: bytes) -> None:
    """Write bytes to a file, however many calls that takes."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_path(path: Path | str) -> None:
    """Return once a file or a folder is on the disk."""
    with ExitStack() as stack:
        os.fsync(_opened(path, stack))


def fsync_all(paths: Sequence[Path]) -> None:
    """Return once files are on the disk; all are begun before one is waited for."""
    for start in range(0, len(paths), FSYNC_BATCH):
        with ExitStack() as stack:
            descriptors = [_opened(path, stack) for path in paths[start : start + FSYNC_BATCH]]
            if sys.platform == "linux":
                for descriptor in descriptors:
                    # it says that nobody reads it soon, and so Linux begins to write what is new
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for descriptor in descriptors:
                os.fsync(descriptor)


def open_no_follow(path: str, flags: int) -> int:
    """
    Return a descriptor of what is at an absolute path, with no link on the way; ELOOP if so.

    On Linux the descriptor itself is asked for its path, so it does not matter when somebody puts a
    link there. Elsewhere the path is looked at once more, and who exchanges a folder for a link in
    between, and back, is not noticed. With O_DIRECTORY it opens a folder.
    """
    # O_NOFOLLOW would report a link to a folder as "not a folder"; `_is_at` finds that link.
    # O_NONBLOCK: opening a pipe that somebody has put there must not wait for its other end
    nothing_more = os.O_DIRECTORY if flags & os.O_DIRECTORY else os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags | nothing_more)
    if not _is_at(descriptor, path):
        os.close(descriptor)
        raise OSError(ELOOP, os.strerror(ELOOP), path)
    return descriptor


def list_no_follow(folder: str) -> list[tuple[str, bool]]:
    """Return the names in a folder that are not hidden, and whether each is a folder."""
    descriptor = open_no_follow(folder, os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            shown = (each for each in entries if not each.name.startswith("."))
            return [(each.name, each.is_dir(follow_symlinks=False)) for each in shown]
    finally:
        os.close(descriptor)


def require_no_links(path: Path) -> None:
    """Raise Unavailable if there is a link on the way to a file that is opened later."""
    if os.path.realpath(path) != str(path):
        raise link_error(str(path))


def link_error(what: str) -> Unavailable:
    """Return the fault for a link in the store."""
    return Unavailable(
        f"{what} is a link, or behind one, and the store follows none. Put the file or the folder "
        "itself there.",
        short="Storage is not available.",
    )


def remote_file_system(folder: Path, mounts: Path = MOUNT_TABLE) -> str | None:
    """Return the kind of network file system that `folder` lies on, where locks may not work."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = "", ""
    for line in lines:
        _, point, file_system, *_ = [*line.split(" "), "", ""]
        place = point.replace("\\040", " ")
        if place and folder.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, file_system
    return kind if kind.startswith(NETWORK_FILE_SYSTEMS) else None


def _opened(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor


def _is_at(descriptor: int, path: str) -> bool:
    try:
        place = os.readlink(f"{DESCRIPTOR_LINKS}/{descriptor}")  # noqa: PTH115 - hot
    except OSError:  # this is not Linux, or /proc is not there
        return os.path.realpath(path) == path
    return place in (path, path + DELETED_SUFFIX)
