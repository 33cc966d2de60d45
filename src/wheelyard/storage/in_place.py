"""A file of a store is read at its own path, and through no link that somebody has put there."""

import os
from errno import ELOOP
from pathlib import Path
from typing import Final

from wheelyard.errors import Unavailable

OPENED: Final = "/proc/self/fd"
"""Where Linux says which file each descriptor is."""
DELETED: Final = " (deleted)"
"""What Linux puts behind the path of a file that has been removed, or replaced, since."""


def open_in_place(path: str, flags: int) -> int:
    """
    Return a descriptor of what is at a path, with no link on the way; `open` takes it as an opener.

    On Linux the descriptor itself is asked for its path, so it does not matter when somebody puts a
    link there. Elsewhere the path is looked at once more, and who exchanges a folder for a link in
    between, and back, is not noticed.

    Args:
        path: Absolute, without links, as the root of a store is.
        flags: As for `os.open`; with O_DIRECTORY for a folder.

    Raises:
        OSError: It cannot be opened; ELOOP if there is a link.
    """
    # a link to a folder would be told of as what is no folder; where it leads is looked at below;
    # and a pipe that somebody has put there keeps nobody waiting
    nothing_more = os.O_DIRECTORY if flags & os.O_DIRECTORY else os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags | nothing_more)
    if not _is_at(descriptor, path):
        os.close(descriptor)
        raise OSError(ELOOP, os.strerror(ELOOP), path)
    return descriptor


def names_in_place(folder: str) -> list[tuple[str, bool]]:
    """
    Return the names in a folder that are not hidden, and whether each is a folder, no link to one.

    Raises:
        OSError: It cannot be read; ELOOP if there is a link on the way.
    """
    descriptor = open_in_place(folder, os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            shown = (each for each in entries if not each.name.startswith("."))
            return [(each.name, each.is_dir(follow_symlinks=False)) for each in shown]
    finally:
        os.close(descriptor)


def require_in_place(path: Path) -> None:
    """
    Return if there is no link on the way to a file that is opened later, by its path.

    Raises:
        Unavailable: There is one.
    """
    if os.path.realpath(path) != str(path):
        raise linked(str(path))


def linked(what: str) -> Unavailable:
    """Return the fault for a link in the store."""
    return Unavailable(
        f"{what} is a link, or behind one, and the store follows none. Put the file or the folder "
        "itself there.",
        short="Storage is not available.",
    )


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether an open file is at a path, or was when it was opened."""
    try:
        place = os.readlink(f"{OPENED}/{descriptor}")  # noqa: PTH115 - hot
    except OSError:  # this is not Linux, or /proc is not there
        return os.path.realpath(path) == path
    return place in (path, path + DELETED)
