"""
A site in a folder, which any plain web server serves.

An object is a file at its path. A write goes to a scratch file, and takes its name in one step,
under the lock of all writers. Nothing is ever changed in place, as a file may be linked to from
elsewhere. Modes are what the umask leaves of 0666 and 0777, so that the web server can read.

The version of an object is its modification time in nanoseconds, its inode and its size. Where a
put finds its own bytes, the time moves on by a nanosecond, and that is all: whoever compares bytes,
or times in the steps that HTTP has, sees no change.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from stat import S_ISREG
from typing import Final

from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, CHUNK, ObjectVersion, Stored, WebType
from wheelyard.storage.faults import storage_faults
from wheelyard.storage.site.base import (
    SiteEntry,
    conflict,
    is_path,
    no_link,
    no_path,
    unharmed,
)
from wheelyard.storage.site.scratch import Scratch, Staged
from wheelyard.storage.site.tree import Tree, found_in, last

SCRATCH: Final = ".wheelyard-export/.scratch/"
"""What is ours alone below the root."""

UNLINKABLE: Final = {
    errno.EXDEV: "it is on another file system",
    errno.EPERM: "the file system has no links, or the file belongs to somebody else",
    errno.ENOTSUP: "the file system has no links",
    errno.EMLINK: "it has too many names already",
    errno.ENOENT: "it is no file of this machine",
    errno.ENOTDIR: "it is no file of this machine",
}


class FolderSite:
    """
    A site in a folder, which is made if need be.

    Args:
        root: The folder; it may be a link.
        random: Tells apart what is written within one tick of the clock.

    Raises:
        Unavailable: The folder cannot be made or written.
    """

    def __init__(self, root: Path, random: Random) -> None:
        try:
            self._tree = Tree(os.path.realpath(root))
            try:
                self._scratch = self._new_scratch(random)
            except BaseException:
                self._tree.close()
                raise
        except OSError as error:
            raise Unavailable(
                f"No site can be written to {root}: {error.strerror}. Choose another folder, or "
                "make this one writable.",
                short="The site cannot be written.",
            ) from error

    @property
    def serves_folders(self) -> bool:
        """Whether who serves it finds `index.html`: every web server does."""
        return True

    def version(self, path: str) -> ObjectVersion:
        """Return the version of an object, ABSENT if there is none."""
        with self._at(path):
            return _version(self._tree.look(path))

    def get(self, path: str) -> Stored | None:
        """Return an object, None if there is none."""
        with self._at(path):
            found = self._tree.read(path)
        return None if found is None else Stored(found[0], _version(found[1]))

    def put(
        self, path: str, body: bytes, kind: WebType, expect: ObjectVersion | None
    ) -> ObjectVersion:
        """Write an object and return its version; the same bytes are not written again."""
        del kind
        with self._at(path):
            # who expects nothing there has nothing to compare with
            same = None if expect == ABSENT else self._same(path, body)
            if same is not None:
                touched = self._touch(path, same, expect)
                if touched is not None:
                    return touched
            with self._scratch.staged([body]) as staged:
                return self._place(path, staged, expect)

    def put_file(self, path: str, source: Path, kind: WebType) -> bool:
        """Copy a file that never changes, unless it is there."""
        with self._at(path):
            found = self._tree.look(path)
            if found is not None and found.st_size == source.stat().st_size:
                return False
        return self.put_stream(path, lambda: _chunks(source), kind)

    def put_stream(self, path: str, source: Callable[[], Iterator[bytes]], kind: WebType) -> bool:
        """Write a file that never changes, unless it is there."""
        del kind
        with self._at(path), self._scratch.staged(unharmed(source())) as staged:
            return self._bring(path, staged)

    def link_file(self, path: str, source: Path) -> bool:
        """Give a file that never changes a second name, unless it is there."""
        with self._at(path), ExitStack() as stack:
            try:
                linked = stack.enter_context(self._scratch.linked(source))
            except OSError as error:
                if error.errno in UNLINKABLE:
                    raise no_link(source, UNLINKABLE[error.errno]) from error
                raise
            if not S_ISREG(linked.found.st_mode):
                raise no_link(source, "it is no plain file")
            return self._bring(path, linked)

    def delete(self, path: str, expect: ObjectVersion | None) -> None:
        """Remove an object, and the folders that it leaves empty."""
        with self._at(path), self._scratch.locked():
            with self._tree.folder_of(path) as folder:
                before = None if folder is None else found_in(folder, path)
                _compare(path, before, expect)
                if before is None:
                    return
                os.unlink(last(path), dir_fd=folder)
            self._tree.prune(path)

    def names(self, prefix: str) -> Iterator[SiteEntry]:
        """Yield the objects whose path starts with `prefix`, in order."""
        folder = prefix[: prefix.rfind("/") + 1]
        # of what is no path, there are no objects
        if is_path(f"{folder}-") and not folder.startswith(SCRATCH):
            yield from self._walk(folder, prefix)

    def close(self) -> None:
        """Let go of the folder."""
        self._scratch.close()
        self._tree.close()

    def _new_scratch(self, random: Random) -> Scratch:
        folder = self._tree.open_folder(SCRATCH, make=True)
        if folder is None:  # it was made just now
            raise FileNotFoundError(errno.ENOENT, "its scratch folder keeps vanishing")
        try:
            return Scratch(folder, random)
        except BaseException:
            os.close(folder)
            raise

    @contextmanager
    def _at(self, path: str) -> Iterator[None]:
        if not is_path(path) or path.endswith("/") or path.startswith(SCRATCH):
            raise no_path(path)
        with storage_faults(f"{path} of the site"):
            yield

    def _same(self, path: str, body: bytes) -> ObjectVersion | None:
        """Return the version of the object if it has these bytes already."""
        found = self._tree.read(path, len(body))
        return _version(found[1]) if found is not None and found[0] == body else None

    def _touch(
        self, path: str, same: ObjectVersion, expect: ObjectVersion | None
    ) -> ObjectVersion | None:
        """Give the object another version, if it still has the one with the right bytes."""
        with self._scratch.locked(), self._tree.folder_of(path) as folder:
            before = None if folder is None else found_in(folder, path)
            _compare(path, before, expect)
            # the time of a file with two names is seen elsewhere, too
            if folder is None or before is None:
                return None
            if _version(before) != same or before.st_nlink > 1:
                return None
            later = (before.st_atime_ns, before.st_mtime_ns + 1)
            with suppress(PermissionError):  # somebody else's file may be replaced, not touched
                os.utime(last(path), ns=later, dir_fd=folder, follow_symlinks=False)
            after = _version(found_in(folder, path))
            return None if after == same else after  # times may be coarse here

    def _place(self, path: str, staged: Staged, expect: ObjectVersion | None) -> ObjectVersion:
        """Give a staged object its name."""
        locked, opened = self._scratch.locked(), self._tree.folder_of(path, make=not expect)
        with locked, opened as folder:
            before = None if folder is None else found_in(folder, path)
            _compare(path, before, expect)
            if before is not None:
                staged.date_after(before)
            staged.move(last(path), folder)
            return _version(staged.found)

    def _bring(self, path: str, staged: Staged) -> bool:
        """Give a staged file its name, unless its like has it."""
        with self._scratch.locked(), self._tree.folder_of(path, make=True) as folder:
            before = None if folder is None else found_in(folder, path)
            if before is not None and before.st_size == staged.found.st_size:
                return False
            staged.move(last(path), folder)
            return True

    def _walk(self, folder: str, prefix: str) -> Iterator[SiteEntry]:
        for name, found in self._children(folder):
            path = f"{folder}{name}"
            if found is not None:
                if path.startswith(prefix):
                    yield SiteEntry(path, found.st_size, _version(found))
            elif path.startswith(prefix[: len(path)]) and path != SCRATCH:
                yield from self._walk(path, prefix)

    def _children(self, folder: str) -> list[tuple[str, os.stat_result | None]]:
        """Return what is in a folder in the order of paths; a folder's name ends in a slash."""
        with storage_faults(f"{folder} of the site"):
            descriptor = self._tree.open_folder(folder, make=False)
            if descriptor is None:
                return []
            try:
                with os.scandir(descriptor) as entries:
                    return sorted(_seen(entries), key=lambda each: each[0])
            finally:
                os.close(descriptor)


def _seen(entries: Iterable["os.DirEntry[str]"]) -> Iterator[tuple[str, os.stat_result | None]]:
    for each in entries:
        if each.is_dir(follow_symlinks=False):
            yield f"{each.name}/", None
        elif each.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):  # deleted just now
                yield each.name, each.stat(follow_symlinks=False)


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _compare(path: str, before: os.stat_result | None, expect: ObjectVersion | None) -> None:
    if expect is not None and _version(before) != expect:
        raise Conflict(conflict(path))


def _version(found: os.stat_result | None) -> ObjectVersion:
    if found is None:
        return ABSENT
    return ObjectVersion(f"{found.st_mtime_ns}.{found.st_ino}.{found.st_size}")
