"""
The spool: a folder of temporary files for upload bodies that are being received and checked.

A local store's spool is on the file system of the store, so that a spooled file becomes an object
by a link, without a copy. A process that writes a file has locked it (`flock`), so an unlocked file
is the leftover of a killed process. A complete file that waits without being open has another name,
and only its age says that nobody needs it any more.
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
"""Seconds after which nobody needs a waiting file any more."""
MAX_RESERVE_BYTES: Final = 1024**3
RESERVED_PART: Final = 20
"""
Files that need not be stored leave a twentieth of a disk free, and at most a GiB, for files that
must be stored.
"""
_NEW_FILE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING_FILE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Spool:
    """A folder of temporary files for upload bodies."""

    def __init__(self, folder: Path, reserve: Reserve | None = None) -> None:
        self.folder = folder
        self._reserve = reserve
        """The reserve of the store on the same disk, or None for the spool of a bucket."""

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

        Raises Unavailable if the file cannot be created. The writer raises OSError, such as on a
        full disk.
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
            descriptor = os.open(path, _NEW_FILE_FLAGS, FILE_MODE)
            try:
                # a process that starts may have removed the file before it was locked
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
        Remove the temporary files that no living process needs, as far as possible.

        Waiting files, which have no lock, are removed by their age, by the clock of the file
        system.
        """
        # at the start of a server or a copy, while other processes may write to the same spool
        for path in self.folder.glob(f"{FILE_PREFIX}*"):
            with suppress(OSError):
                is_waiting = path.name.startswith(WAITING_PREFIX)
                if is_waiting and path.lstat().st_mtime > self._time() - WAITING_SECONDS:
                    continue
                descriptor = os.open(path, _EXISTING_FILE_FLAGS)
                # the kernel has released the locks of a process that died
                try:
                    # the name may have gone to another file between `open` and the lock
                    if try_lock(descriptor) and _is_at(descriptor, path):
                        path.unlink()
                finally:
                    os.close(descriptor)

    def with_reserve_kept(self) -> AbstractContextManager[None]:
        """
        Return the context in which a block may write a part of a file: the reserve is whole.

        Entering it raises OSError (ENOSPC) if the reserve cannot be made whole.
        """
        if self._reserve is None:  # the disk of a bucket's spool has no objects
            return nullcontext()
        return self._reserve.kept()

    def require_room(self, size: int) -> None:
        """
        Raise OSError (ENOSPC) if `size` more bytes would leave less room than uploads need.

        This is for files that need not be stored, as they must not take the room of uploads.
        """
        disk = os.statvfs(self.folder)
        disk_bytes = disk.f_blocks * disk.f_frsize
        free_bytes = disk.f_bavail * disk.f_frsize
        room_for_uploads = min(MAX_RESERVE_BYTES, disk_bytes // RESERVED_PART)
        if free_bytes < size + room_for_uploads:
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
