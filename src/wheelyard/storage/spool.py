"""
The spool: a folder of temporary files for upload bodies that are being received and checked.

A local store's spool is on the file system of the store, so that a spooled file becomes an object
by a link, without a copy. The process that writes a file has locked it (`flock`), so that what a
killed one has left is known. A file that waits without being open has another name, and only its
age says that nobody needs it any more.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from errno import ENOSPC
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from wheelyard.storage.filesystem import FILE_MODE, storage_faults
from wheelyard.storage.reserve import Reserve

FILE_PREFIX = "upload-"
WAITING_PREFIX: Final = f"{FILE_PREFIX}waiting-"
"""The prefix of files that are complete, and that no process has locked."""
WAITING_SECONDS: Final = 86_400.0
"""Seconds after which nobody needs such a file any more."""
MAX_RESERVE_BYTES: Final = 1024**3
RESERVED_PART: Final = 20
"""The twentieth part of a disk, and at most a GiB, is left for what must be stored."""
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Spool:
    """A folder of temporary files for upload bodies."""

    def __init__(self, folder: Path, reserve: Reserve | None = None) -> None:
        self.folder = folder
        self._reserve = reserve
        """What uploads must leave of the disk, or None."""

    def create(self) -> tuple[Path, BinaryIO]:
        """
        Create an empty temporary file, and return its path and a writer.

        The caller removes the file. Raises Unavailable if it cannot be created.
        """
        with storage_faults("a file in the spool folder"):
            path, descriptor = self.open_new()
        return Path(path), os.fdopen(descriptor, "wb", buffering=0)

    @contextmanager
    def scratch_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        """
        Yield the path and the writer of a temporary file, which is removed in the end.

        Raises Unavailable if it cannot be created. The writer raises OSError, as of a full disk.
        """
        path, file = self.create()
        try:
            with file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def open_new(self) -> tuple[str, int]:
        """
        Create an empty temporary file, and return its path and a descriptor.

        The file is locked until the descriptor is closed. Raises OSError if it cannot be created.
        """
        while True:
            path = f"{self.folder}/{FILE_PREFIX}{token_hex(16)}"
            descriptor = os.open(path, _NEW, FILE_MODE)
            try:
                # a process that starts may have removed it before it was locked
                if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
                    os.fchmod(descriptor, FILE_MODE)
                    return path, descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def time(self) -> float:
        """
        Return the time by the clock of the file system, in seconds since the epoch.

        Raises Unavailable if no file can be created.
        """
        with storage_faults("a file in the spool folder"):
            return self._time()

    def _time(self) -> float:
        """Return the time by the clock of the file system, in seconds, or raise OSError."""
        path, descriptor = self.open_new()
        try:
            return os.fstat(descriptor).st_mtime
        finally:
            Path(path).unlink()
            os.close(descriptor)

    def remove_abandoned(self) -> None:
        """
        Remove the temporary files that no living process needs, as far as that is possible.

        Those that wait without a lock go by their age, by the clock of the file system.
        """
        # at the start of a server or a copy, while other processes may write to the same spool
        for path in self.folder.glob(f"{FILE_PREFIX}*"):
            with suppress(OSError):
                is_waiting = path.name.startswith(WAITING_PREFIX)
                if is_waiting and path.lstat().st_mtime > self._time() - WAITING_SECONDS:
                    continue
                descriptor = os.open(path, _EXISTING)
                # the kernel has released the lock of a process that died
                try:
                    # the name may have gone to another file between `open` and the lock
                    if try_lock(descriptor) and _is_at(descriptor, path):
                        path.unlink()
                finally:
                    os.close(descriptor)

    def with_reserve_kept(self) -> AbstractContextManager[None]:
        """
        Return what lets a block write a part of a file, while the reserve has its size.

        To enter it raises OSError (ENOSPC) if the reserve cannot get its size.
        """
        if self._reserve is None:  # the spool of a bucket, on a disk that has no objects
            return nullcontext()
        return self._reserve.kept()

    def require_room(self, size: int) -> None:
        """
        Raise OSError if `size` more bytes would leave less room than uploads need.

        It is for files that need not be stored: they must not fill the disk of those that must.
        """
        disk = os.statvfs(self.folder)
        reserve = min(MAX_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // RESERVED_PART)
        if disk.f_bavail * disk.f_frsize < size + reserve:
            raise OSError(ENOSPC, os.strerror(ENOSPC))

    def leftovers(self, older_than: float) -> Iterator[Path]:
        """Yield temporary files last written before `older_than`, in seconds since the epoch."""
        for path in sorted(self.folder.glob(f"{FILE_PREFIX}*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    yield path


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, and return whether nobody else had locked it."""
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has the name `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
