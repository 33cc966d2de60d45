"""
The store in a folder of one machine.

Safe between threads and processes. An object is a file at its key below the root. A write goes to
`.spool/`, is fsynced, and gets its name in one step: by `link` if the key must be new, else by
`rename` under a lock. The folder is fsynced before the call returns. No file is changed in place.

An object's version is its modification time in nanoseconds, inode and size. The modification time
of a replacement is at least a microsecond after that of the replaced file, under the lock. So
versions never repeat, and one `stat` shows whether an object has changed.

The root may be a symbolic link. Below it no link is followed: objects, and the folders of writes,
are opened without following links, and an object gets its name in the folder that is open. Before a
delete, each folder of the key is checked. A user who can write to the store can still create a link
between that check and the delete.

The group of the store may read its objects. Only the owner may use private folders: the spool, the
locks, and those of the keys that are named when the store is opened.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR, ELOOP
from fcntl import LOCK_EX, flock
from functools import partial
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from random import Random
from re import Pattern
from stat import S_IMODE, S_ISDIR, S_ISLNK
from tempfile import TemporaryFile
from typing import Final, TypeVar

from wheelyard.errors import RETRY_AFTER_SECONDS, STORAGE_FULL, Conflict, NotFound, Unavailable
from wheelyard.storage import base, filesystem
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.reserve import Reserve
from wheelyard.storage.spool import Spool

T = TypeVar("T")

SPOOL = ".spool"
LOCKS = ".locks"
FOLDER_MODE = 0o750
PRIVATE_FOLDER_MODE: Final = 0o700
PRIVATE_FILE_MODE: Final = 0o600
OTHERS_RIGHTS: Final = 0o077
"""The bits of a mode with the rights of the group and of everybody."""
MAX_FOLDER_ATTEMPTS = 64
"""How often a write is tried if a delete removes the folder of its key meanwhile."""
MTIME_JITTER_BITS = 20
"""How many random bits of nanoseconds are added to the modification time of a written file."""
NO_KEY: Final = re.compile(r"(?!)")
"""Matches no key."""
TICK_NANOSECONDS: Final = 1000
"""The least time between two versions of an object: a float of seconds is as fine as that."""


class LocalStore(base.Store):
    """
    Objects as files below the folder `root`, which is created if it does not exist.

    The constructor raises Unavailable if the folder cannot be created or used.

    Args:
        root: The folder.
        random: Gives different modification times to writes within one tick of the clock.
        private: The beginning of the keys of objects that only the owner of the folder may use. An
            empty text is for all objects, and None for no objects.
        refetchable: Matches the beginning of the keys of objects that are not synced when they are
            new. After a power cut such an object may be missing or cut off, which its readers
            notice.
    """

    def __init__(
        self,
        root: Path,
        random: Random,
        *,
        private: str | None = None,
        refetchable: Pattern[str] = NO_KEY,
    ) -> None:
        self._random = random
        self._refetchable = refetchable
        self._root = os.path.realpath(root)  # a str, joined on the hot path
        self._spool_folder = f"{self._root}/{SPOOL}"
        self._lock_folder = f"{self._root}/{LOCKS}"
        private_folders = [f"{self._spool_folder}/", f"{self._lock_folder}/"]
        if private is not None:
            # for an empty text, this is the root itself
            private_folder = f"{self._root}/{private}"
            private_folders.append(f"{private_folder.rstrip('/')}/")
        self._private_folders = tuple(private_folders)  # a tuple for `startswith`
        self._reserve = Reserve(self._root, self._lock_folder, self._spool_folder)
        self._has_put = False
        self.spool = Spool(Path(self._spool_folder), self._reserve)
        try:
            Path(self._root).parent.mkdir(parents=True, exist_ok=True)
            for folder in (self._root, self._spool_folder, self._lock_folder):
                self._new_folder(folder)
                self._require_no_links(folder)
            for path in self._private_folders:
                _protect(Path(path))
        except OSError as error:
            raise _unusable(root, error) from error

    def get(self, key: Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return a document, NOT_MODIFIED if its version is `unless`, or None if it is absent."""
        path = self._path(key)
        try:
            # one `stat` is enough: a version never repeats, and no file is changed in place
            if unless and _version(os.lstat(path)) == unless:
                return base.NOT_MODIFIED
            with open(path, "rb", buffering=0, opener=filesystem.open_no_follow) as file:
                # the version of the open file, as another file may have its name by now
                return base.Stored(file.read(), _version(os.fstat(file.fileno())))
        except (FileNotFoundError, NotADirectoryError):
            # NotADirectoryError: an object has the name of a folder of this key
            self._check_root()
            return None
        except OSError as error:
            raise _unreadable(key, error) from error

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """
        Return an iterator of the bytes from `start` up to `stop`, of one version of the object.

        Raises NotFound, before it returns, if the object does not exist.
        """
        try:
            path = self._path(key)
            file = open(path, "rb", buffering=0, opener=filesystem.open_no_follow)  # noqa: SIM115 - the stream's
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            raise NotFound(f"The store holds nothing at {key}.") from error
        except OSError as error:
            raise _unreadable(key, error) from error
        return _chunks(key, file, start, stop)

    def put(
        self,
        key: Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """
        Write a document atomically and durably, and return its version.

        The first write of a process also makes the reserve of the disk, if there is room. Raises
        Conflict if the object has another version than `expect`, and Unavailable (code
        `storage_full`) if there is no room.
        """
        del kind
        # also if an object is replaced, as its old bytes must not be lost without the new ones
        is_synced = expect != ABSENT or not self._refetchable.match(key)
        with (
            filesystem.storage_faults(str(key)),
            self._spooled(body, is_synced=is_synced) as spooled,
        ):
            version = self._move_into_place(key, spooled, expect, is_synced=is_synced)
        if not self._has_put:  # a store of credentials gets no files, which make the reserve
            self._has_put = True
            with suppress(OSError):
                self._reserve.begin()
        return version

    def put_file(self, key: Key, body: base.FileBody, kind: base.WebType | None = None) -> None:
        """
        Write a file atomically, whatever is stored there, and durably unless it is `refetchable`.

        A body in the spool is linked, not copied. Raises Unavailable (code `storage_full`) if there
        is no room beside the reserve.
        """
        del kind
        is_synced = not self._refetchable.match(key)
        with (
            filesystem.storage_faults(str(key)),
            self._reserve.kept(),
            self._spooled(body, is_synced=is_synced) as spooled,
        ):
            self._move_into_place(key, spooled, None, is_synced=is_synced)

    def delete(self, key: Key) -> None:
        """Delete the object, if there is one, and then the empty folders above it."""
        # with the reserve, as a lock file may need room on a full disk
        self.with_reserve(partial(self._delete, key))

    def _delete(self, key: Key) -> None:
        """Do what `delete` does, without the reserve."""
        path = Path(self._path(key))
        with filesystem.storage_faults(str(key)):
            self._require_no_links(str(path.parent))
            # under the lock of the key: a writer compares a version, and then replaces the object
            with self._locked(key), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            # the object is gone for all readers, so an error from here on does not matter
            with suppress(OSError):
                filesystem.sync_folder(str(path.parent))
                # `rmdir` refuses the first folder that is not empty, which ends the loop
                folder = path.parent
                while str(folder) != self._root:
                    folder.rmdir()
                    folder = folder.parent

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Yield the entries whose key begins with `prefix` and is greater than `after`, sorted."""
        self._check_root()
        if "/." in f"/{prefix}" or "//" in f"/{prefix}":  # no key contains these
            return
        try:
            for path, status in filesystem.walk_no_follow(self._root, prefix, after):
                yield base.Entry(Key(path), status.st_size, status.st_mtime)
        except OSError as error:
            folder = str(error.filename).removeprefix(f"{self._root}/")
            raise _unreadable(Key(folder), error) from error

    def time(self, key: Key) -> float:
        """Return the time by the clock of the file system, from a file in the spool."""
        del key
        self._check_root()
        return self.with_reserve(self.spool.time)

    def with_reserve(self, action: Callable[[], T]) -> T:
        """
        Return the result of an action, which may use the reserve of the disk.

        If the action raises Unavailable (code `storage_full`), it is called again with the room of
        the reserve. Afterwards the reserve is made again, as far as there is room.
        """
        try:
            result = action()
        except Unavailable as error:
            if error.code != STORAGE_FULL:
                raise
            # a deletion writes documents first, for which there may be no room
            try:
                with self._reserve.released():
                    return action()
            finally:
                self._fill_reserve()
        self._fill_reserve()
        return result

    def _fill_reserve(self) -> None:
        """Give the reserve its size again, as far as there is room."""
        with suppress(OSError):  # the next deletion or upload tries it again
            self._reserve.fill()

    def path_of(self, key: Key) -> Path:
        """Return the path of the object's file, existing or not."""
        return Path(self._path(key))

    def _check_root(self) -> None:
        """Raise Unavailable if the spool is missing: an unmounted disk must not look empty."""
        if not os.path.isdir(self._spool_folder):  # noqa: PTH112 - a str
            raise Unavailable(
                "The store is not where it was. Mount its disk again, or restart with the right "
                "--store."
            )

    def _path(self, key: Key) -> str:
        """Return the path of an object. Raises Unavailable for a key that no object can have."""
        if key.startswith((".", "/")) or "/." in key or "//" in key or "\0" in key:
            raise base.no_key(key)
        return f"{self._root}/{key}"

    @contextmanager
    def _spooled(self, body: base.FileBody, *, is_synced: bool) -> Iterator[str]:
        """
        Yield the path of a spool file with the bytes of `body`, and remove that name afterwards.

        A body that is in the spool gets a second name there, which becomes the object. The bytes of
        the spool file are synced if `is_synced`, or if they are copied from another file.
        """
        is_spooled = isinstance(body, Path) and body.parent == self.spool.folder
        if is_spooled:
            path, descriptor = self._link_in_spool(str(body))
        else:
            path, descriptor = self.spool.open_new()
        try:
            if not is_spooled:
                filesystem.write_all(descriptor, body)
                self._jitter_mtime(descriptor)
            # a caller may have synced the body, but not the copy
            is_copy = isinstance(body, Path) and not is_spooled
            # an empty file has no bytes to sync, and its name is synced with the folder
            if body and (is_synced or is_copy):
                filesystem.sync_file(descriptor)
            yield path
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):  # it was renamed
                os.unlink(path)  # noqa: PTH108 - hot

    def _link_in_spool(self, spooled: str) -> tuple[str, int]:
        """Give a spool file a second name, and return that path with a descriptor."""
        path = f"{spooled}-{self._random.getrandbits(64):x}"
        os.link(spooled, path)
        return path, os.open(path, os.O_RDONLY)

    def _jitter_mtime(self, descriptor: int) -> None:
        """
        Move a file's modification time forward by up to a millisecond, at random.

        Otherwise an object that is deleted and created again within one tick of the kernel's clock
        could have its old version, because inodes are reused.
        """
        status = os.fstat(descriptor)
        later_ns = status.st_mtime_ns + self._random.getrandbits(MTIME_JITTER_BITS)
        os.utime(descriptor, ns=(status.st_atime_ns, later_ns))

    def _move_into_place(
        self, key: Key, spooled: str, expect: base.ObjectVersion | None, *, is_synced: bool
    ) -> base.ObjectVersion:
        """
        Give a spool file the name of an object, and return its version.

        A crash before this leaves a file in the spool, which the next start removes. Raises
        Conflict if the object has another version than `expect`.
        """
        target = self._path(key)
        if target.startswith(self._private_folders):
            # before the file has its name, so that the group may not read it at any moment
            os.chmod(spooled, PRIVATE_FILE_MODE)  # noqa: PTH101 - a str
        for _ in range(MAX_FOLDER_ATTEMPTS):
            # FileNotFoundError: a delete has removed the folder, so it is made again
            with suppress(FileNotFoundError), self._opened(_folder_of(target)) as folder:
                name = target[target.rindex("/") + 1 :]
                if expect == ABSENT:
                    version = _create(key, spooled, name, folder)
                else:
                    version = self._replace(key, spooled, name, folder, expect)
                # a power cut before this may lose the new name
                if is_synced:
                    filesystem.sync_file(folder)
                return version
        message = f"The folder of {key} is removed again and again."
        raise Unavailable(message, retry_after=RETRY_AFTER_SECONDS)

    def _replace(
        self, key: Key, spooled: str, name: str, folder: int, expect: base.ObjectVersion | None
    ) -> base.ObjectVersion:
        """Move a spool file over an object. Raises Conflict if that has another version."""
        # all writers of a key take this lock, so the version that is compared is the one replaced
        with self._locked(key):
            try:
                old_status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                old_status = None
            if expect is not None and (old_status is None or not _has_version(old_status, expect)):
                raise Conflict(base.conflict_message(key))
            status = os.stat(spooled)  # noqa: PTH116 - hot
            if old_status is not None:
                # A version could repeat otherwise, after two writes in one tick of the clock, or
                # after the clock was set back.
                earliest_ns = old_status.st_mtime_ns + TICK_NANOSECONDS
                if status.st_mtime_ns < earliest_ns:
                    os.utime(spooled, ns=(status.st_atime_ns, earliest_ns))
                    status = os.stat(spooled)  # noqa: PTH116 - hot
            # the commit point: readers see the old bytes before it, and the new ones after it
            os.replace(spooled, name, dst_dir_fd=folder)
            return _version(status)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """
        Yield a descriptor of a folder, which is made if it is missing.

        Raises Unavailable if the path of the folder has a link in it.
        """
        try:
            try:
                folder = filesystem.open_no_follow(path, os.O_DIRECTORY)
            except FileNotFoundError:
                parent_path = _folder_of(path)
                if len(parent_path) <= len(self._root):  # the disk may not be mounted any more
                    self._check_root()
                if os.path.islink(path):  # noqa: PTH114 - a str
                    raise filesystem.link_error(path) from None
                with self._opened(parent_path) as parent:
                    self._new_folder(path)
                    # a power cut must not lose the folder of a durable object
                    parent_key = f"{parent_path}/"[len(self._root) + 1 :]
                    if not self._refetchable.match(parent_key):
                        filesystem.sync_file(parent)
                folder = filesystem.open_no_follow(path, os.O_DIRECTORY)
        except OSError as error:
            if error.errno == ELOOP:
                raise filesystem.link_error(path) from error
            raise
        try:
            yield folder
        finally:
            os.close(folder)

    def _require_no_links(self, path: str) -> None:
        """Raise Unavailable if a path below the root has a symbolic link in it."""
        while path != self._root:
            if os.path.islink(path):  # noqa: PTH114 - a str
                raise filesystem.link_error(path)
            path = _folder_of(path)

    @contextmanager
    def _locked(self, key: Key) -> Iterator[None]:
        """
        Hold the lock of a key while the block runs, so that no other process has it.

        Keys share 256 locks, by a digest of one byte.
        """
        # lock files are never removed, as then two processes could lock two files of one name
        lock_name = blake2b(key.encode(), digest_size=1).hexdigest()
        descriptor = self._open_lock(f"{self._lock_folder}/{lock_name}")
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _new_folder(self, folder: str) -> None:
        """Make a folder, unless it exists, with the same rights under any umask."""
        with suppress(FileExistsError):
            is_private = f"{folder}/".startswith(self._private_folders)
            mode = PRIVATE_FOLDER_MODE if is_private else FOLDER_MODE
            os.mkdir(folder, mode)  # noqa: PTH102
            os.chmod(folder, mode)  # noqa: PTH101 - the umask may have taken the group's rights

    def _open_lock(self, path: str) -> int:
        """Return the descriptor of a lock file, which is created when it is first needed."""
        flags = os.O_RDWR | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            # not exclusively: if two processes create the file, both open the same one
            descriptor = os.open(path, flags | os.O_CREAT, filesystem.FILE_MODE)
            os.fchmod(descriptor, filesystem.FILE_MODE)
            return descriptor


def require_place(root: Path) -> None:
    """Raise Unavailable unless a store could be made, or written, at a folder."""
    try:
        folder = root.resolve()
        while not folder.exists():
            folder = folder.parent
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unusable(root, error) from error


def _unusable(root: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{root} cannot be a store: {error.strerror}. Choose another folder, or make this one "
        "writable.",
    )


def is_open_to_others(folder: Path) -> bool:
    """Return whether somebody else than its owner has a right to a folder, if the folder exists."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return False
    return S_ISDIR(mode) and bool(mode & OTHERS_RIGHTS)


def _protect(folder: Path) -> None:
    """Take the rights of the group and of everybody from a folder, if this user owns it."""
    # for folders that older versions have made
    with suppress(OSError):  # the disk may be read-only
        # not as root for another user: a server might have its access by the group
        if is_open_to_others(folder) and folder.stat().st_uid == os.geteuid():
            folder.chmod(S_IMODE(folder.stat().st_mode) & ~OTHERS_RIGHTS)


def _folder_of(path: str) -> str:
    return path[: path.rindex("/")]


def _create(key: Key, spooled: str, name: str, folder: int) -> base.ObjectVersion:
    """Give a spool file the name of a new object. Raises Conflict if the object exists."""
    try:
        # the commit point: without a lock, as the kernel lets one of several links succeed
        os.link(spooled, name, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        # not Conflict for a folder, as a reader would find no object there
        existing = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if S_ISDIR(existing.st_mode):
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR)) from error
        raise Conflict(base.conflict_message(key)) from error
    return _version(os.stat(spooled))  # noqa: PTH116 - hot


def _version(status: os.stat_result) -> base.ObjectVersion:
    return base.ObjectVersion(f"{status.st_mtime_ns}.{status.st_ino}.{status.st_size}")


def _has_version(status: os.stat_result, version: base.ObjectVersion) -> bool:
    """Return whether a file with this status is an object of a version. A link is no object."""
    return not S_ISLNK(status.st_mode) and _version(status) == version


def _chunks(key: Key, file: FileIO, start: int, stop: int | None) -> Iterator[bytes]:
    """Yield the bytes of an open file from `start` up to `stop`, and close it in the end."""
    try:
        while stop is None or start < stop:
            size = base.CHUNK_BYTES
            if stop is not None:
                size = min(size, stop - start)
            chunk = os.pread(file.fileno(), size, start)
            if not chunk:
                return
            yield chunk
            start += len(chunk)
    except OSError as error:
        raise _unreadable(key, error) from error
    finally:
        file.close()


def _unreadable(key: Key, error: OSError) -> Unavailable:
    if error.errno == ELOOP:
        return filesystem.link_error(key)
    return Unavailable(
        f"The store could not read {key}: {error.strerror}. Look at the disk and its permissions."
    )
