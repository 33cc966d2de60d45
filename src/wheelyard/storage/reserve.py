"""
The reserve of a store in a folder: room on its disk that only deletions may use.

Without it, nothing could be deleted on a full disk, as each deletion writes documents first. The
reserve is a file. A deletion for which there is no room removes it, does its work, and makes it
again. Meanwhile, and until it has its size again, no file is stored. If there is less room by then,
it takes what there is, so that others cannot use up the rest.

Three folders of the store are locked for that, which needs no room:

* The root: exclusively by whoever makes the reserve, so that others wait for that.
* The folder with the locks: shared by whoever uses the reserve, and exclusively by whoever makes
  it, who does not wait. So several deletions can use it at a time, and an upload fails meanwhile.
* The spool: shared by whoever writes a file, after a look at the reserve, and exclusively by
  whoever removes the reserve. So no file is written into its room.

A process that dies leaves it missing, and the next upload or deletion makes it again. So does the
first write of a process while there is room: a store of credentials alone gets no uploads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Final

from wheelyard.storage.filesystem import FILE_MODE

RESERVE: Final = ".reserve"
"""The name of the file: no key of an object begins so."""
RESERVE_BYTES: Final = 256 * 1024
BLOCK_BYTES: Final = 4096


class Reserve:
    """The reserve of the store in `root`, which has these two folders. Threads may share it."""

    def __init__(self, root: str, locks: str, spool: str) -> None:
        self._root = root
        self._path = f"{root}/{RESERVE}"
        self._locks = locks
        self._spool = spool

    @contextmanager
    def kept(self) -> Iterator[None]:
        """
        Let the block write a part of a file, or the whole.

        Raises OSError (ENOSPC) unless the reserve has its size, or gets it now.
        """
        # while this lock is held, no deletion removes the reserve and lets others into its room
        with _locked(self._spool, LOCK_SH):
            if not self._is_whole() and not self.fill():
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            yield

    def fill(self) -> bool:
        """
        Give the reserve its size, as far as there is room, and return whether it has that now.

        Nothing is done while a deletion uses it. Raises OSError if the folder cannot be written.
        """
        if self._is_whole():
            return True
        with _locked(self._root, LOCK_EX), _locked(self._locks, LOCK_EX | LOCK_NB) as is_unused:
            # another process may have made it while this one waited for the first lock
            if self._is_whole():
                return True
            return is_unused and self._write()

    def begin(self) -> None:
        """
        Give the reserve its size if the disk has twice that room, so that others find some, too.

        Raises OSError if the folder cannot be written.
        """
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize > 2 * RESERVE_BYTES:
            self.fill()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let the block use the room of the reserve."""
        # the outer lock is held to the end of the block, so nobody makes the reserve meanwhile
        with _locked(self._locks, LOCK_SH):
            # the inner one waits until no upload writes that has seen the reserve
            with _locked(self._spool, LOCK_EX), suppress(FileNotFoundError):
                Path(self._path).unlink()
            yield

    def _is_whole(self) -> bool:
        try:
            return os.lstat(self._path).st_size == RESERVE_BYTES
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        """Return a descriptor of the file, which is created if it is missing, for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, FILE_MODE)
        except PermissionError:  # a command of another user, such as root, has made it
            Path(self._path).unlink()
            return os.open(self._path, flags, FILE_MODE)

    def _write(self) -> bool:
        """Fill the reserve as far as there is room, and return whether it has its size now."""
        try:
            descriptor = self._open()
        except OSError as error:
            # a name may need room, too: that of a new block of the folder
            if error.errno in (ENOSPC, EDQUOT):
                return False
            raise
        try:
            os.fchmod(descriptor, FILE_MODE)
            size = os.fstat(descriptor).st_size
            while size < RESERVE_BYTES:
                # random bytes, as a file system may give no room to holes, zeros and copies
                size += os.pwrite(descriptor, os.urandom(BLOCK_BYTES), size)
            os.ftruncate(descriptor, RESERVE_BYTES)
        except OSError as error:
            # what there is room for stays, so that others do not use up the rest
            if error.errno not in (ENOSPC, EDQUOT):
                raise
        finally:
            os.close(descriptor)
        return self._is_whole()


@contextmanager
def _locked(folder: str, how: int) -> Iterator[bool]:
    """Lock a folder, and yield whether that succeeded."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            flock(descriptor, how)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
