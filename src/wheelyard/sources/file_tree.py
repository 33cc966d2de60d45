"""
Read-only file trees of import sources: the protocol, and folders; `bucket_tree.py` has buckets.

A tree knows names, sizes and dates, and nothing about packages.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Final, Protocol

from msgspec import Struct

from wheelyard.sources.candidate import EMPTY_MAPPING, Candidate, Skipped, bad_source, unreadable
from wheelyard.sources.candidate_filter import is_distribution_name
from wheelyard.sources.field_parsing import file_time

READ_CHUNK_BYTES: Final = 256 * 1024
"""Bytes that are read at a time."""
SIDECAR_LIMIT_BYTES: Final = 1024**2
"""Bytes of a small file that describes another one."""


class TreeEntry(Struct, frozen=True, kw_only=True):  # a listing has thousands
    """One file in the listing of a tree: path, size, dates, custom metadata, digests, version."""

    path: str  # relative to the tree, with slashes
    size: int | None  # None if the stored size differs from the size that is read
    created_at: datetime | None  # UTC; in a folder, the modification time
    changed_at: float  # when the bytes or the name last changed, seconds since the epoch
    attributes: Mapping[str, str] | None = EMPTY_MAPPING
    """Custom metadata; empty in a folder, None if a listing lacks it, and `find` has it."""
    hashes: Mapping[str, str] = EMPTY_MAPPING
    version: str  # differs after each change

    @property
    def filename(self) -> str:
        """The last segment of the file's path."""
        return self.path.rpartition("/")[2]

    @property
    def parts(self) -> list[str]:
        """The segments of the file's path."""
        return self.path.split("/")


class FileTree(Protocol):
    """A folder or bucket; `str` of it is its name for messages."""

    def entries(self) -> Iterator[TreeEntry | Skipped]:
        """
        Yield every file in a stable order; `Skipped` for what cannot be read or is no file.

        A folder omits hidden files, and files in hidden or excluded folders.

        Raises:
            Invalid: The tree does not exist; or, raised at the end, one of its folders cannot be
                read (code `bad_source`).
            Unavailable: The tree does not answer.
        """
        ...

    def read(self, item: TreeEntry) -> AbstractContextManager[Iterator[bytes]]:
        """
        Return a context manager that opens a file and gives an iterator over its chunks.

        Raise OSError if the file is missing, Unavailable if the tree does not answer.
        """
        ...

    def find(self, path: str) -> TreeEntry | None:
        """Return the entry at a path, None if it is missing; raise Unavailable like `read`."""
        ...


def to_candidate(tree: FileTree, item: TreeEntry) -> Candidate:
    """Return the candidate for a file of a tree, from the listing; nothing is read."""
    return Candidate(
        filename=item.filename,
        location=f"{tree}/{item.path}",
        read=partial(tree.read, item),
        size=item.size,
        hashes=item.hashes,
        uploaded_at=item.created_at,
        changed_at=item.changed_at,
    )


def described(tree: FileTree, item: TreeEntry) -> TreeEntry:
    """Return an entry with its attributes: the one that is there now if the listing lacks them."""
    return item if item.attributes is not None else tree.find(item.path) or item


def read_bounded(tree: FileTree, item: TreeEntry, limit: int = SIDECAR_LIMIT_BYTES) -> bytearray:
    """Return all bytes of a file; raise OSError if it has more than `limit` bytes."""
    found = bytearray()
    with tree.read(item) as chunks:
        for chunk in chunks:
            found += chunk
            if len(found) > limit:
                raise unreadable(f"it is larger than {limit} bytes")
    return found


class FolderTree(Struct, frozen=True):
    """A local folder; links to files are followed, links to folders are not."""

    root: Path
    excluded: tuple[Path, ...] = ()
    """Folders in it that are not listed, such as the store."""

    def __str__(self) -> str:
        return str(self.root)

    def entries(self) -> Iterator[TreeEntry | Skipped]:
        """See `FileTree`; a broken link, and what is no file, is `Skipped`."""
        others = {os.path.realpath(each) for each in self.excluded}
        below = len(os.path.join(self.root, ""))  # noqa: PTH118 - paths are text here, for speed
        waiting, fault = [str(self.root)], None
        while waiting:
            folder = waiting.pop()
            try:
                entries = _visible_entries(folder)
            except OSError as error:
                if folder == str(self.root) or not isinstance(error, FileNotFoundError):
                    why = f"The folder {folder!a} cannot be read: {error.strerror}."
                    fault = fault or bad_source(why)
                continue
            yield from (_to_item(each, below) for each in entries if not _leads_to_folder(each))
            folders = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
            waiting += [each for each in reversed(folders) if os.path.realpath(each) not in others]
        if fault is not None:
            raise fault

    @contextmanager
    def read(self, item: TreeEntry) -> Iterator[Iterator[bytes]]:
        """Yield, for a `with` block, the chunks of a file; raise OSError if it cannot be opened."""
        with (self.root / item.path).open("rb") as file:
            yield iter(partial(file.read, READ_CHUNK_BYTES), b"")

    def find(self, path: str) -> TreeEntry | None:
        """
        Return the entry of the file at `path`; None if it is missing or no regular file.

        The path is untrusted: None, too, if it is absolute, has `..`, a backslash or NUL, or leads
        through a link to a folder.
        """
        folders = path.split("/")[:-1]
        if "\\" in path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
            return None
        if any(Path(self.root, *folders[: n + 1]).is_symlink() for n in range(len(folders))):
            return None
        with suppress(OSError):  # a broken link, or deleted meanwhile
            found = (self.root / path).stat()
            return _to_entry(path, found) if S_ISREG(found.st_mode) else None
        return None


def _visible_entries(folder: str) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    with suppress(OSError):  # a circular link
        return entry.is_dir()
    return False


def _to_item(entry: "os.DirEntry[str]", below: int) -> TreeEntry | Skipped:
    """Return a file as `TreeEntry`, else `Skipped`; `below` is the length of the root's path."""
    try:
        found = entry.stat()
    except OSError as error:  # a broken link, or deleted meanwhile
        why = f"it cannot be read: {error.strerror}"
        return Skipped(entry.path, why, is_error=is_distribution_name(entry.name))
    if not S_ISREG(found.st_mode):  # reading a pipe would block
        return Skipped(entry.path, "it is no file")
    return _to_entry(entry.path[below:], found)


def _to_entry(path: str, found: os.stat_result) -> TreeEntry:
    return TreeEntry(
        path=path,
        size=found.st_size,
        created_at=file_time(found.st_mtime),
        changed_at=max(found.st_mtime, found.st_ctime),
        version=f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}.{found.st_ino}",
    )
