"""
The spool: a folder of temporary files for upload bodies that are being received and checked.

A local store's spool is on the file system of the store, so that a spooled file becomes an object
by a link, without a copy. Files that a killed process has left are found by their age.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from wheelyard.storage.filesystem import storage_faults

FILE_PREFIX = "upload-"
FILE_MODE = 0o640
"""The mode of every file of a store, independent of the umask."""
UMASK_MODE: Final = 0o666
"""The mode for creating a file whose permissions the umask decides."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder of temporary files for upload bodies."""

    folder: Path
    mode: int | None = FILE_MODE
    """The mode of each file; None: the umask decides."""

    def create(self) -> tuple[Path, BinaryIO]:
        """Create an empty temporary file; return its path and a writer. The caller removes it."""
        with storage_faults("the spool folder"):
            path, descriptor = self.open_new()
        return Path(path), os.fdopen(descriptor, "wb", buffering=0)

    def open_new(self) -> tuple[str, int]:
        """Create an empty temporary file, or raise OSError; return its path and a descriptor."""
        path = f"{self.folder}/{FILE_PREFIX}{token_hex(16)}"
        descriptor = os.open(path, _NEW, UMASK_MODE if self.mode is None else self.mode)
        if self.mode is not None:
            os.fchmod(descriptor, self.mode)
        return path, descriptor

    def leftovers(self, older_than: float) -> Iterator[Path]:
        """Yield temporary files last written before `older_than`, in seconds since the epoch."""
        for path in sorted(self.folder.glob(f"{FILE_PREFIX}*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    yield path
