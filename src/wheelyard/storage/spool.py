"""
Scratch files: where a body waits on disk until it has been checked.

A local store's spool lies inside the store, on the same file system, so that keeping a spooled
file is a link and not a second copy. What a killed process leaves here is found by its age.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from wheelyard.storage.disk import storage_faults

FILE_PREFIX = "upload-"
FILE_MODE = 0o640
"""Of every file of a store, whatever the umask."""
UMASK_MODE: Final = 0o666
"""Of a file whose mode the umask decides."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder of scratch files."""

    folder: Path
    mode: int | None = FILE_MODE
    """Of each file; None leaves that to the umask."""

    def create(self) -> tuple[Path, BinaryIO]:
        """Return a new empty scratch file and its open handle; the caller removes both."""
        with storage_faults("the spool folder"):
            path = self.folder / f"{FILE_PREFIX}{token_hex(16)}"
            descriptor = os.open(path, _NEW, UMASK_MODE if self.mode is None else self.mode)
            if self.mode is not None:
                os.fchmod(descriptor, self.mode)
        return path, os.fdopen(descriptor, "wb", buffering=0)

    def leftovers(self, older_than: float) -> Iterator[Path]:
        """Yield scratch files last written before `older_than`, seconds since the epoch."""
        for path in sorted(self.folder.glob(f"{FILE_PREFIX}*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    yield path
