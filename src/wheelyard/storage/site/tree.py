"""
Folders below one root, opened one after the other, never through a link.

A descriptor stays where it is whatever becomes of its path, so nothing can be put in the way
between the look and the write.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from stat import S_ISREG
from typing import Final

from wheelyard.errors import Invalid, quoted
from wheelyard.storage.site.base import BAD_DESTINATION

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe that somebody has put there keeps nobody waiting."""
_IN_THE_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP})


class Tree:
    """
    A root, and what is below it.

    Args:
        root: A folder, made if need be; it may be a link itself.

    Raises:
        OSError: It cannot be made, or is no folder.
    """

    def __init__(self, root: str) -> None:
        os.makedirs(root, exist_ok=True)  # noqa: PTH103 - by the umask, its parents too
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the root."""
        root, self._root = self._root, -1
        os.close(root)

    def open_folder(self, path: str, *, make: bool) -> int | None:
        """
        Return a folder's descriptor, which is the caller's to close; None if it is not there.

        Args:
            path: Segments with a slash behind each; empty for the root.
            make: Make it, and what is above it, unless it is there.

        Raises:
            Invalid: Something in the way is no folder.
        """
        above, parts = self._root, path.split("/")[:-1] or ["."]
        for part in parts:
            try:
                below = _below(above, part, make=make)
            except OSError as error:
                if error.errno in _IN_THE_WAY:
                    raise _in_the_way(path, "a folder") from error
                raise
            finally:
                if above != self._root:
                    os.close(above)
            if below is None:
                return None
            above = below
        return above

    @contextmanager
    def folder_of(self, path: str, *, make: bool = False) -> Iterator[int | None]:
        """Keep the folder open that a path is in; None if it is not there."""
        descriptor = self.open_folder(path[: path.rfind("/") + 1], make=make)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def look(self, path: str) -> os.stat_result | None:
        """Return what the file system knows of a file; None if it is not there."""
        with self.folder_of(path) as folder:
            return None if folder is None else found_in(folder, path)

    def read(self, path: str, size: int | None = None) -> tuple[bytes, os.stat_result] | None:
        """
        Return a file whole; None if it is not there, or has not the size that is asked for.

        Raises:
            Invalid: It is no file.
        """
        with self.folder_of(path) as folder:
            found = None if folder is None else found_in(folder, path)
            if found is None or size not in (None, found.st_size):
                return None
            try:
                file = os.fdopen(os.open(last(path), _FILE, dir_fd=folder), "rb", buffering=0)
            except FileNotFoundError:
                return None
        with file:
            return file.read(), os.fstat(file.fileno())

    def prune(self, path: str) -> None:
        """Remove the folders above a path that are empty."""
        with suppress(OSError):
            while (cut := path.rfind("/")) > 0:
                path = path[:cut]
                os.rmdir(path, dir_fd=self._root)


def _below(descriptor: int, part: str, *, make: bool) -> int | None:
    with suppress(FileNotFoundError):
        return os.open(part, _FOLDER, dir_fd=descriptor)
    if not make:
        return None
    with suppress(FileExistsError):
        os.mkdir(part, dir_fd=descriptor)
    return os.open(part, _FOLDER, dir_fd=descriptor)


def found_in(folder: int, path: str) -> os.stat_result | None:
    """
    Return what the file system knows of the file that a path names, in its folder.

    Raises:
        Invalid: It is no file.
    """
    try:
        found = os.stat(last(path), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not S_ISREG(found.st_mode):
        raise _in_the_way(path, "a plain file")
    return found


def last(path: str) -> str:
    """Return the last part of a path."""
    return path[path.rfind("/") + 1 :]


def _in_the_way(path: str, wanted: str) -> Invalid:
    return Invalid(
        f"What is at {quoted(path)} in the site's folder is not {wanted}, and an export writes "
        "through no link and over no folder. Move it away, or export to another folder.",
        code=BAD_DESTINATION,
    )
