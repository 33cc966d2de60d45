"""
Where a source's files lie: a folder here; a bucket is in `buckets.py`.

A place knows names, sizes and dates, and nothing of packages. It is only ever read.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Final, Protocol

from msgspec import Struct

from wheelyard.sources.candidate import (
    EMPTY_MAPPING,
    Candidate,
    Skipped,
    bad_source,
    unreadable_file,
)
from wheelyard.sources.candidate_filter import is_distribution_name
from wheelyard.sources.field_parsing import file_time

READ_CHUNK_BYTES: Final = 256 * 1024
"""Bytes that are read at a time."""
SIDECAR_LIMIT_BYTES: Final = 1024**2
"""Bytes of a small file that lies beside another one and describes it."""


class TreeEntry(Struct, frozen=True, kw_only=True):  # a look at a folder makes thousands
    """One file, as a listing shows it."""

    path: str  # below the place, with slashes
    size: int | None  # None where what is read has another size than what is kept
    created_at: datetime | None  # UTC; in a folder, when it was last written
    changed_at: float  # when its bytes, or the file under its name, last changed: seconds
    attributes: Mapping[str, str] = EMPTY_MAPPING  # what was said of it; a folder has none
    hashes: Mapping[str, str] = EMPTY_MAPPING
    version: str  # another one whenever anybody has touched it; a read of a bucket asks for it

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def parts(self) -> list[str]:
        """Every part of its path."""
        return self.path.split("/")


class FileTree(Protocol):
    """Somewhere files lie; `str` of it is what a person calls it."""

    def items(self) -> Iterator[TreeEntry | Skipped]:
        """
        Yield every file that is not hidden, in an order that stays the same.

        Raises:
            Invalid: There is no such place, or, after all others, a folder in it cannot be read
                (code `bad_source`).
            Unavailable: It does not answer.
        """
        ...

    def read(self, item: TreeEntry) -> AbstractContextManager[Iterator[bytes]]:
        """Open a file; raise OSError if it is gone, Unavailable if the place does not answer."""
        ...

    def find(self, path: str) -> TreeEntry | None:
        """Return one file by its path, None if there is none; raise Unavailable as `read`."""
        ...


def to_candidate(tree: FileTree, item: TreeEntry) -> Candidate:
    """Return what the place itself knows of a file."""
    return Candidate(
        filename=item.filename,
        location=f"{tree}/{item.path}",
        read=partial(tree.read, item),
        size=item.size,
        hashes=item.hashes,
        uploaded_at=item.created_at,
        changed_at=item.changed_at,
    )


def read_bounded(tree: FileTree, item: TreeEntry, limit: int = SIDECAR_LIMIT_BYTES) -> bytearray:
    """Return all bytes of a file that describes others; raise OSError if it has too many."""
    found = bytearray()
    with tree.read(item) as chunks:
        for chunk in chunks:
            found += chunk
            if len(found) > limit:
                raise unreadable_file(f"it is larger than {limit} bytes")
    return found


@dataclass(frozen=True, slots=True)
class FolderTree:
    """A folder of this machine; links to files are followed, links to folders are not."""

    root: Path
    excluded: tuple[Path, ...] = ()
    """Folders in it that are passed by: the store itself."""

    def __str__(self) -> str:
        return str(self.root)

    def items(self) -> Iterator[TreeEntry | Skipped]:
        """Yield every file that is not hidden; asks of each its size and times, and opens none."""
        others = {os.path.realpath(each) for each in self.excluded}
        below = len(os.path.join(self.root, ""))  # noqa: PTH118 - paths are text here, for speed
        waiting, fault = [str(self.root)], None
        while waiting:
            folder = waiting.pop()
            try:
                entries = _listed(folder)
            except OSError as error:
                if folder == str(self.root) or not isinstance(error, FileNotFoundError):
                    why = f"The folder {folder!a} cannot be read: {error.strerror}."
                    fault = fault or bad_source(why)
                continue
            yield from (_seen(entry, below) for entry in entries if not _leads_to_folder(entry))
            folders = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
            waiting += [each for each in reversed(folders) if os.path.realpath(each) not in others]
        if fault is not None:
            raise fault

    def read(self, item: TreeEntry) -> AbstractContextManager[Iterator[bytes]]:
        """Open a file."""
        return _reading(self.root / item.path)

    def find(self, path: str) -> TreeEntry | None:
        """Return one file below the root by its path, which somebody else may have written."""
        if "\\" in path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
            return None
        try:
            found = (self.root / path).stat()
        except OSError:  # a link that leads nowhere, or gone meanwhile
            return None
        return _item(path, found) if S_ISREG(found.st_mode) else None


@contextmanager
def _reading(path: Path) -> Iterator[Iterator[bytes]]:
    with path.open("rb") as file:
        yield iter(partial(file.read, READ_CHUNK_BYTES), b"")


def _listed(folder: str) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles
        return False


def _seen(entry: "os.DirEntry[str]", below: int) -> TreeEntry | Skipped:
    """Return what a file is; the path of its place has `below` characters."""
    try:
        found = entry.stat()
    except OSError as error:  # a link that leads nowhere, or gone meanwhile
        why = f"it cannot be read: {error.strerror}"
        return Skipped(entry.path, why, is_error=is_distribution_name(entry.name))
    if not S_ISREG(found.st_mode):  # a pipe would be waited for
        return Skipped(entry.path, "it is no file")
    return _item(entry.path[below:], found)


def _item(path: str, found: os.stat_result) -> TreeEntry:
    return TreeEntry(
        path=path,
        size=found.st_size,
        created_at=file_time(found.st_mtime),
        changed_at=max(found.st_mtime, found.st_ctime),
        version=f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}.{found.st_ino}",
    )
