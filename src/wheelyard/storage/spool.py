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
from tempfile import mkstemp
from typing import BinaryIO

from wheelyard.storage.faults import storage_faults

PREFIX = "upload-"
FILE_MODE = 0o640
"""Of every file of a store, whatever the umask."""


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder of scratch files."""

    folder: Path

    def create(self) -> tuple[Path, BinaryIO]:
        """
        Return a new empty scratch file and its open handle; both are the caller's to remove.

        Raises:
            Unavailable: The disk is full or refuses writes.
        """
        with storage_faults("the spool folder"):
            descriptor, name = mkstemp(prefix=PREFIX, dir=self.folder)
            os.fchmod(descriptor, FILE_MODE)
        return Path(name), os.fdopen(descriptor, "wb", buffering=0)

    def leftovers(self, older_than: float) -> Iterator[Path]:
        """Yield scratch files last written before `older_than`, seconds since the epoch."""
        for path in sorted(self.folder.glob(f"{PREFIX}*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    yield path
