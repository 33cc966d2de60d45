"""Read-only trees of files, in folders and buckets, and the import source `files` over them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final, Protocol

from msgspec import Struct

from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Invalid
from wheelyard.sources.candidate import (
    Candidate,
    Skipped,
    SourceItem,
    bad_source,
    file_time,
    is_distribution_name,
    is_sidecar,
    unreadable,
)

READ_CHUNK_BYTES: Final = 256 * 1024
"""Bytes that are read at a time."""
SIDECAR_LIMIT_BYTES: Final = 1024**2
"""Bytes of a small file that describes another one."""

_FROM_UPSTREAM: Final = re.compile(
    r"(?:.+/)?upstream/[^/]+/files/[a-z0-9-]+/[0-9a-f]{64}/[^/]+", re.DOTALL
)
"""The path of a public file that a wheelyard store has kept of an upstream index."""


class FileTree(Protocol):
    """A folder or bucket. `str` of it is its name for messages."""

    def entries(self) -> Iterator[SourceItem]:
        """
        Yield every file in a stable order, and `Skipped` for what cannot be read or is no file.

        A folder omits hidden files, and files in hidden or excluded folders. Raises Invalid (code
        `bad_source`) if the tree does not exist, or at the end if one of its folders cannot be
        read. Raises Unavailable if the tree does not answer.
        """
        ...

    def find(self, path: str) -> Candidate | None:
        """
        Return the file at a path, or None if it is missing.

        Raises Unavailable if the tree does not answer.
        """
        ...


def read_bounded(file: Candidate, limit: int = SIDECAR_LIMIT_BYTES) -> bytearray:
    """
    Return all bytes of a file.

    Raises OSError if it has more than `limit` bytes, or cannot be read. Raises Unavailable if its
    tree or server does not answer.
    """
    body = bytearray()
    with file.read() as chunks:
        for chunk in chunks:
            body += chunk
            if len(body) > limit:
                raise unreadable(f"it is larger than {limit} bytes")
    return body


class FolderTree(Struct, frozen=True):
    """A local folder. Links to files are followed, links to folders are not."""

    root: Path
    excluded: tuple[Path, ...] = ()
    """Folders in it that are not listed, such as the store."""

    def __str__(self) -> str:
        return str(self.root)

    def entries(self) -> Iterator[SourceItem]:
        """
        Yield every file of the folder. A broken link, and what is no file, is `Skipped`.

        Hidden files, and files in hidden or excluded folders, are omitted. Raises Invalid (code
        `bad_source`) if the folder does not exist, or at the end if a folder in it cannot be read.
        """
        excluded = {os.path.realpath(folder) for folder in self.excluded}
        root_length = len(os.path.join(self.root, ""))  # noqa: PTH118 - texts, for speed
        folders_to_list = [str(self.root)]
        fault: Invalid | None = None
        while folders_to_list:
            folder = folders_to_list.pop()
            try:
                entries = _visible_entries(folder)
            except OSError as error:
                # a folder may be deleted while others are listed, but not the root
                may_be_gone = folder != str(self.root) and isinstance(error, FileNotFoundError)
                if fault is None and not may_be_gone:
                    fault = bad_source(f"The folder {folder!a} cannot be read: {error.strerror}.")
                continue
            for entry in entries:
                if not _leads_to_folder(entry):
                    yield self._describe(entry, root_length)
            # the last folder is popped first, and folders come in the order of their names
            for entry in reversed(entries):
                # a link to a folder is not followed: it may lead to a folder above, without an end
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and os.path.realpath(entry.path) not in excluded:
                    folders_to_list.append(entry.path)

        # at the end, so that one folder without rights does not keep back all other files
        if fault is not None:
            raise fault

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        """
        Yield, for a `with` block, the chunks of a file.

        Raises OSError if the file cannot be opened or read.
        """
        with (self.root / path).open("rb") as file:
            yield _chunks(file)

    def find(self, path: str) -> Candidate | None:
        """
        Return the file at `path`, or None if it is missing or no regular file.

        The path is untrusted: the result is None, too, if the path is absolute, has `..`, a
        backslash or NUL, or leads through a link to a folder.
        """
        segments = path.split("/")
        if "\\" in path or "\0" in path:
            return None
        if not {"", ".", ".."}.isdisjoint(segments):
            return None
        folder = self.root
        for segment in segments[:-1]:
            folder = folder / segment
            if folder.is_symlink():
                return None
        with suppress(OSError):  # a broken link, or deleted meanwhile
            status = (self.root / path).stat()
            if S_ISREG(status.st_mode):
                return self._file(path, status)
        return None

    def _describe(self, entry: "os.DirEntry[str]", root_length: int) -> SourceItem:
        """Return an entry of a folder as a candidate, or why it is no file that can be read."""
        try:
            status = entry.stat()
        except OSError as error:  # a broken link, or deleted meanwhile
            why = f"it cannot be read: {error.strerror}"
            return Skipped(entry.path, why, is_error=is_distribution_name(entry.name))
        if not S_ISREG(status.st_mode):  # reading a pipe would block
            return Skipped(entry.path, "it is no file")
        return self._file(entry.path[root_length:], status)

    def _file(self, path: str, status: os.stat_result) -> Candidate:
        """Return a file below the root as a candidate."""
        _, _, filename = path.rpartition("/")
        return Candidate(
            filename=filename,
            location=f"{self.root}/{path}",
            path=path,
            read=partial(self.read, path),
            size=status.st_size,
            uploaded_at=file_time(status.st_mtime),
            # a copy may keep the time of its bytes, and then only `st_ctime` says when it came
            changed_at=max(status.st_mtime, status.st_ctime),
            version=f"{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_ino}",
        )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of an open file."""
    while chunk := file.read(READ_CHUNK_BYTES):
        yield chunk


def _visible_entries(folder: str) -> list["os.DirEntry[str]"]:
    """Return what is in a folder and not hidden, in the order of names."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=attrgetter("name"))


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder, or a link to one."""
    with suppress(OSError):  # a circular link
        return entry.is_dir()
    return False


class FileDescriber(Protocol):
    """Describes files by what another index has kept beside them."""

    def describe(self, file: Candidate) -> Iterator[SourceItem]:
        """
        Yield a file with what is kept about it, or with a warning if that cannot be used.

        Yield a `Skipped` for a file that the other index has not listed. Raises Unavailable if the
        tree with the descriptions does not answer.
        """
        ...


class FileTreeSource(Struct, frozen=True):
    """Source of the distributions in a file tree."""

    tree: FileTree
    describer: FileDescriber | None = None

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield each distribution as it is described, and every `Skipped` of `distribution_files`.

        Raises Invalid (code `bad_source`) if the tree does not exist, or at the end if one of its
        folders cannot be read. Raises Unavailable if the tree does not answer.
        """
        if self.describer is None:
            return distribution_files(self.tree)
        # on a bucket, each description is a request, so several threads read them
        return chain.from_iterable(prefetch_map(self._describe, distribution_files(self.tree)))

    def total(self) -> int | None:
        """
        Return the number of distributions, after a scan of the folder, or None for a bucket.

        Raises Invalid (code `bad_source`) if the folder, or one in it, cannot be read.
        """
        if not isinstance(self.tree, FolderTree):
            return None
        return sum(isinstance(file, Candidate) for file in distribution_files(self.tree))

    def _describe(self, file: SourceItem) -> list[SourceItem]:
        """Return what the describer yields for a file. This runs in a thread of its own."""
        if isinstance(file, Skipped) or self.describer is None:
            return [file]
        return list(self.describer.describe(file))


def distribution_files(tree: FileTree) -> Iterator[SourceItem]:
    """
    Yield the files of a tree that are named like distributions, and `Skipped` for other files.

    Hidden files, files in hidden folders, and sidecars (`is_sidecar`) are omitted. What a wheelyard
    store has of upstream indexes is skipped, too: an import would make it private. Raises Invalid
    (code `bad_source`) if the tree does not exist, or at the end if one of its folders cannot be
    read. Raises Unavailable if the tree does not answer.
    """
    for file in tree.entries():
        if isinstance(file, Skipped):
            yield file
        elif _FROM_UPSTREAM.fullmatch(file.path):
            why = "it was fetched from an upstream index, and is no private package"
            yield Skipped(file.location, why)
        elif not (file.path.startswith(".") or "/." in file.path):
            if is_distribution_name(file.filename):
                yield file
            elif not is_sidecar(file.filename):
                yield Skipped(file.location, "it is not named like a distribution")
