"""A static site in a folder: objects that are replaced whole, and nothing else."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import Final

from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    Entry,
    FileBody,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict_message,
)
from wheelyard.storage.filesystem import (
    link_error,
    open_no_follow,
    require_no_links,
    storage_faults,
    walk_no_follow,
    write_all,
)

PARTS: Final = "wheelyard-export"
"""The folder of incomplete files, and of the manifest."""
PART_PREFIX: Final = ".part-"
_OF_EARLIER_VERSIONS: Final = (".spool", ".locks")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SiteFolder:
    """
    The objects of a site in a folder, which is made; follows no links, syncs nothing to the disk.

    The version of an object is a digest of its bytes.

    Raises:
        Unavailable: Nothing can be written to the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._parts = self._root / PARTS
        self._folders = set[Path]()
        """Folders that are there, without a link on the way to them."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            if not os.access(self._root, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise Unavailable(
                f"No site can be written to {root}: {error.strerror}. Choose another folder, or "
                "make this one writable."
            ) from error

    def remove_leftovers(self, prefixes: Iterable[str]) -> None:
        """
        Remove incomplete files of killed exports, and what earlier versions needed.

        Below `prefixes`, empty folders are removed, too.
        """
        with suppress(OSError):
            for path in self._parts.glob(f"{PART_PREFIX}*"):
                path.unlink(missing_ok=True)
        for top in (self._root / prefix for prefix in prefixes):
            for folder, _, _ in () if top.is_symlink() else os.walk(top, topdown=False):
                with suppress(OSError):  # it is not empty
                    os.rmdir(folder)  # noqa: PTH106 - hot
        for name in _OF_EARLIER_VERSIONS:
            rmtree(self._root / name, ignore_errors=True)

    def get(self, key: Key) -> Found:
        """See `Store`."""
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with storage_faults(f"{key} of the site"), missing:
            with open(self._path(key), "rb", buffering=0, opener=open_no_follow) as file:
                body = file.read()
            return Stored(body, _version(body))
        return None

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`; a version can be expected of objects beside the incomplete files."""
        del kind
        self._write(key, body, expect)
        return ABSENT if expect is None else _version(body)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        del kind
        self._write(key, body, None)

    def _write(self, key: Key, body: FileBody, expect: ObjectVersion | None) -> None:
        target = self._path(key)
        with storage_faults(f"{key} of the site"):
            self._make_folder(self._parts)
            self._make_folder(target.parent)
            if os.path.islink(target):  # noqa: PTH114 - hot
                raise link_error(str(target))
            part = f"{self._parts}/{PART_PREFIX}{os.getpid()}-{token_hex(8)}"
            try:
                with FileIO(os.open(part, _NEW, 0o666), "w") as file:
                    write_all(file.fileno(), body)
                with self._locked(key, expect):
                    os.replace(part, target)  # noqa: PTH105 - hot
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise

    def delete(self, key: Key) -> None:
        """Delete an object, and the empty folders above it."""
        folder = self._path(key)
        with storage_faults(f"{key} of the site"):
            require_no_links(folder.parent)
            folder.unlink(missing_ok=True)
        with suppress(OSError):  # the first that is not empty
            while (folder := folder.parent) != self._root:
                folder.rmdir()
                self._folders.discard(folder)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store`; the entries have no version."""
        with storage_faults("a folder of the site"):
            for path, found in walk_no_follow(str(self._root), prefix):
                yield Entry(Key(path), found.st_size, found.st_mtime)

    def _path(self, key: Key) -> Path:
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if folder != self._root:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            if folder.is_symlink():
                raise link_error(str(folder))
        self._folders.add(folder)

    @contextmanager
    def _locked(self, key: Key, expect: ObjectVersion | None) -> Iterator[None]:
        """Keep other exports from replacing an object; raise Conflict unless it is as expected."""
        if expect is None:
            yield
            return
        descriptor = os.open(self._parts, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flock(descriptor, LOCK_EX)
            stored = self.get(key)
            if (stored.version if isinstance(stored, Stored) else ABSENT) != expect:
                raise Conflict(conflict_message(key))
            yield
        finally:
            os.close(descriptor)


def _version(body: bytes) -> ObjectVersion:
    return ObjectVersion(blake2b(body, digest_size=16).hexdigest())


SiteStore = Store | SiteFolder
"""Where a site is; a folder has what an export needs of a store."""
