"""
The reserve of a store in a folder: room on its disk that only deletions may use.

Without the reserve, nothing could be deleted on a full disk, as each deletion writes documents
first. The reserve is a file. A deletion for which there is no room removes this file, does its
work, and makes the file again. Meanwhile, and until the file has its size again, no upload is
stored. If there is less room by then, the file takes all of it, so that others cannot use it up.

Three folders of the store are locked for that, as locks on folders need no room:

* The root: a thread that makes the reserve locks it exclusively, so that others wait for that.
* The folder with the locks: a deletion that uses the reserve locks it in shared mode, and a thread
  that makes the reserve exclusively, without waiting. So several deletions can use the reserve at a
  time, and an upload fails meanwhile.
* The spool: an upload that has found the reserve whole locks it in shared mode while it writes, and
  a deletion that removes the reserve exclusively. So no upload takes the room of the reserve.

If a process dies without the reserve, the next upload or deletion makes it again. So does the first
write of a process while there is room, as a store of credentials alone gets no uploads.
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
    """
    The reserve of a store in a folder.

    Threads may share it. `root` is the folder of the store, which has the folders `locks` and
    `spool`.
    """

    def __init__(self, root: str, locks: str, spool: str) -> None:
        self._root = root
        self._path = f"{root}/{RESERVE}"
        self._locks_folder = locks
        self._spool_folder = spool

    @contextmanager
    def kept(self) -> Iterator[None]:
        """
        Let the block write a file, or a part of it, without the room of the reserve.

        Raises OSError (ENOSPC) if the reserve is not whole, and cannot be made whole.
        """
        # while this lock is held, no deletion removes the reserve, whose room the block could take
        with _locked(self._spool_folder, LOCK_SH):
            if not self._is_whole() and not self.fill():
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            yield

    def fill(self) -> bool:
        """
        Give the reserve its size, as far as there is room, and return whether it is whole now.

        Does nothing while a deletion uses the reserve. Raises OSError if the folder cannot be
        written.
        """
        if self._is_whole():
            return True
        with (
            _locked(self._root, LOCK_EX),
            _locked(self._locks_folder, LOCK_EX | LOCK_NB) as is_unused,
        ):
            # another process may have made the reserve while this one waited for the first lock
            if self._is_whole():
                return True
            return is_unused and self._write()

    def begin(self) -> None:
        """
        Give the reserve its size if the disk has twice that room, so that some is left for others.

        Raises OSError if the folder cannot be written.
        """
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize > 2 * RESERVE_BYTES:
            self.fill()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let the block use the room of the reserve."""
        # the outer lock is held to the end of the block, so nobody makes the reserve meanwhile
        with _locked(self._locks_folder, LOCK_SH):
            # the inner lock waits for the uploads that have found the reserve whole
            with _locked(self._spool_folder, LOCK_EX), suppress(FileNotFoundError):
                Path(self._path).unlink()
            yield

    def _is_whole(self) -> bool:
        try:
            return os.lstat(self._path).st_size == RESERVE_BYTES
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        """Return a descriptor to write the file, which is created if it is missing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, FILE_MODE)
        except PermissionError:  # a command of another user, such as root, has made it
            Path(self._path).unlink()
            return os.open(self._path, flags, FILE_MODE)

    def _write(self) -> bool:
        """Fill the reserve as far as there is room, and return whether it is whole now."""
        try:
            descriptor = self._open()
        except OSError as error:
            # the name of the file may need room, too, for a new block of the folder
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
            # the bytes that are written stay, so that others do not take their room
            if error.errno not in (ENOSPC, EDQUOT):
                raise
        finally:
            os.close(descriptor)
        return self._is_whole()


@contextmanager
def _locked(folder: str, lock_mode: int) -> Iterator[bool]:
    """
    Lock a folder while the block runs, and yield whether that succeeded.

    It can only fail with LOCK_NB in the mode.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            flock(descriptor, lock_mode)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
