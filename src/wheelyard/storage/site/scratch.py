"""
Scratch files of a site in a folder, and the lock of all who write there.

They lie in a hidden folder inside the root, on the same file system, so that a finished file takes
its name in one step. Each run holds a lock on a file of its own for as long as it lives; the kernel
lets go of it when the process dies, however it does. So the next run knows whose files are left.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

LOCK: Final = "lock"
ALIVE: Final = "alive"
"""The last part of the name of the file that a run holds locked."""
SCATTER_NS: Final = 1_000_000
"""Nanoseconds over which the times of writes in one tick of the clock are spread."""

_OURS: Final = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class Staged:
    """A file that has all its bytes, and not its name yet."""

    scratch: int
    """The folder that it is in."""
    name: str
    descriptor: int
    """Open for as long as the file is staged; -1 where it is somebody else's file."""
    found: os.stat_result
    """What the file system knows of it."""
    is_moved: bool = False

    def date_after(self, other: os.stat_result) -> None:
        """See to it that the file is younger than another."""
        if self.found.st_mtime_ns <= other.st_mtime_ns:
            self._date(other.st_mtime_ns + 1)

    def scatter(self, nanoseconds: int) -> None:
        """
        Move the modification time by so much.

        The kernel's clock ticks slowly and inodes come back: an object that is deleted and made
        again within a tick would otherwise have its old version.
        """
        self._date(self.found.st_mtime_ns + nanoseconds)

    def move(self, name: str, folder: int | None) -> None:
        """Give it its name in an open folder."""
        os.rename(self.name, name, src_dir_fd=self.scratch, dst_dir_fd=folder)
        self.is_moved = True

    def _date(self, nanoseconds: int) -> None:
        os.utime(self.descriptor, ns=(self.found.st_atime_ns, nanoseconds))
        self.found = os.fstat(self.descriptor)  # which may have rounded it


class Scratch:
    """
    The scratch files of one run, made by the mode that the umask gives.

    Args:
        folder: Open; it is ours to close.
        random: Names the run, and tells apart what is written within one tick of the clock.

    Raises:
        OSError: The folder cannot be written, or not be locked.
    """

    def __init__(self, folder: int, random: Random) -> None:
        self.folder = folder
        self._random = random
        self._run = f"{random.getrandbits(64):016x}"
        self._numbers = count()
        with self.locked():
            self._alive = self._open(self._named(ALIVE), os.O_RDWR | os.O_EXCL)
            flock(self._alive, LOCK_EX | LOCK_NB)
            self._sweep()

    def close(self) -> None:
        """Remove what is left of this run."""
        folder, self.folder = self.folder, -1  # a thread that comes late must not find another one
        with suppress(OSError):
            os.unlink(self._named(ALIVE), dir_fd=folder)
        os.close(self._alive)
        os.close(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep out all other writers, of this process and of others."""
        descriptor = self._open(LOCK, os.O_RDWR)
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def staged(self, chunks: Iterable[bytes]) -> Iterator[Staged]:
        """Yield a file with these bytes, and remove it if it has not been moved away."""
        name = self._new_name()
        descriptor = self._open(name, os.O_WRONLY | os.O_EXCL)
        staged = Staged(self.folder, name, descriptor, os.fstat(descriptor))
        try:
            for chunk in chunks:
                write_all(descriptor, chunk)
            staged.scatter(self._random.randrange(SCATTER_NS))
            yield staged
        finally:
            os.close(descriptor)
            if not staged.is_moved:
                self._remove(name)

    @contextmanager
    def linked(self, source: Path) -> Iterator[Staged]:
        """Yield a second name of a file, and remove it if it has not been moved away."""
        name = self._new_name()
        os.link(source, name, dst_dir_fd=self.folder, follow_symlinks=False)
        try:
            found = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
            yield Staged(self.folder, name, -1, found)
        finally:
            self._remove(name)  # one that is moved over another name of its own file stays

    def _new_name(self) -> str:
        return self._named(str(next(self._numbers)))

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)

    def _named(self, what: str) -> str:
        return f"{self._run}.{what}"

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | _OURS, 0o666, dir_fd=self.folder)

    def _sweep(self) -> None:
        """Remove what is left of runs that are over."""
        living = {LOCK: True, self._run: True}
        for name in os.listdir(self.folder):  # noqa: PTH208 - of a descriptor
            run = name.partition(".")[0]
            if run not in living:
                living[run] = self._lives(run)
            if not living[run]:
                with suppress(OSError):  # somebody else's; they will sweep it themselves
                    os.unlink(name, dir_fd=self.folder)

    def _lives(self, run: str) -> bool:
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(f"{run}.{ALIVE}", flags, dir_fd=self.folder)
        except OSError as error:
            return not isinstance(error, FileNotFoundError)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def write_all(descriptor: int, body: bytes) -> None:
    """Write bytes to a file, however many calls that takes."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]
