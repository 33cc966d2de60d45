"""A static site in a folder: objects that are replaced whole, and nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from pathlib import Path
from shutil import copyfileobj, rmtree
from typing import Final, Protocol

from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    Entry,
    Found,
    Key,
    ObjectBody,
    ObjectVersion,
    Stored,
    WebType,
    conflict_message,
)
from wheelyard.storage.filesystem import link_error, list_no_follow, open_no_follow, storage_faults

PARTS: Final = "wheelyard-export"
"""The folder of incomplete files, and of the manifest."""
PART_PREFIX: Final = ".part-"
_OF_EARLIER_VERSIONS: Final = (".spool", ".locks")


class SiteStore(Protocol):
    """What an export needs of a store: of a folder or of a bucket. See `Store`."""

    def get(self, key: Key) -> Found:
        """Return an object; None if it is absent."""

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """Write an object atomically and return its version; raise Conflict unless `expect`."""

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Delete an object."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield the entries whose key begins with `prefix`, sorted."""


class SiteFolder:
    """
    The objects of a site in a folder, which is made; follows no links, syncs nothing to the disk.

    The version of an object is a digest of its bytes. Incomplete files of killed exports are
    removed.

    Raises:
        Unavailable: Nothing can be written to the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._parts = self._root / PARTS
        self._folders = set[Path]()
        """Folders that are there, without a link on the way to them."""
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            self._require_no_links(self._parts)
            if not os.access(self._parts, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise Unavailable(
                f"No site can be written to {root}: {error.strerror}. Choose another folder, or "
                "make this one writable.",
                short="Storage is not available.",
            ) from error

    def remove_leftovers(self) -> None:
        """Remove incomplete files of killed exports, and what earlier versions needed."""
        with suppress(OSError):
            for path in self._parts.glob(f"{PART_PREFIX}*"):
                path.unlink(missing_ok=True)
        for name in _OF_EARLIER_VERSIONS:
            rmtree(self._root / name, ignore_errors=True)

    def get(self, key: Key) -> Found:
        """See `SiteStore`."""
        try:
            with open(self._path(key), "rb", buffering=0, opener=open_no_follow) as file:
                body = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unusable(key, error) from error
        return Stored(body, _version(body))

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `SiteStore`; a version can be expected of objects beside the incomplete files."""
        del kind
        target = self._path(key)
        with storage_faults(str(key)):
            self._make_folder(target.parent)
            if target.is_symlink():
                raise link_error(str(target))
            part = self._parts / f"{PART_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
            try:
                with part.open("xb") as file:
                    if isinstance(body, Path):
                        with body.open("rb") as source:
                            copyfileobj(source, file, 1024 * 1024)
                    else:
                        file.write(body)
                if expect is None:
                    part.replace(target)
                else:
                    with self._locked():
                        stored = self.get(key)
                        version = stored.version if isinstance(stored, Stored) else ABSENT
                        if version != expect:
                            raise Conflict(conflict_message(key))
                        part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return ABSENT if isinstance(body, Path) else _version(body)

    def delete(self, key: Key, expect: ObjectVersion | None = None) -> None:
        """Delete an object, and the empty folders above it."""
        del expect
        folder = self._path(key)
        with storage_faults(str(key)):
            self._require_no_links(folder.parent)
            folder.unlink(missing_ok=True)
        with suppress(OSError):  # the first that is not empty
            while (folder := folder.parent) != self._root:
                folder.rmdir()
                self._folders.discard(folder)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `SiteStore`; the entries have no version."""
        folder = prefix[: prefix.rfind("/") + 1]
        yield from self._walk(folder, prefix)

    def _walk(self, folder: str, prefix: str) -> Iterator[Entry]:
        try:
            names = sorted(list_no_follow(str(self._root / folder)))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unusable(folder, error) from error
        for name, is_folder in names:
            path = f"{folder}{name}"
            if not path.startswith(prefix[: len(path)]):
                continue
            if is_folder:
                yield from self._walk(f"{path}/", prefix)
            elif path.startswith(prefix):
                with suppress(FileNotFoundError):
                    status = (self._root / path).lstat()
                    yield Entry(Key(path), status.st_size, ABSENT, status.st_mtime)

    def _path(self, key: Key) -> Path:
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            self._require_no_links(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

    def _require_no_links(self, folder: Path) -> None:
        while folder != self._root:
            if folder.is_symlink():
                raise link_error(str(folder))
            folder = folder.parent

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._parts, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _version(body: bytes) -> ObjectVersion:
    return ObjectVersion(blake2b(body, digest_size=16).hexdigest())


def _unusable(what: str, error: OSError) -> Unavailable:
    return Unavailable(
        f"The site's {what} cannot be used: {error.strerror}. Look at the folder and its "
        "permissions.",
        short="Storage is not available.",
    )
