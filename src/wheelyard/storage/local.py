"""
A store in a folder of one machine, safe between threads and processes.

An object is a file at its key below the root. A write goes to `.spool/` first, is synced, and then
takes its name in one step: `link` where the key must be new, `rename` under a lock otherwise; the
folder is synced before the call returns. Nothing is ever changed in place.

The version of an object is its modification time in nanoseconds, its inode and its size. Under the
lock, a write that would not be younger than what it replaces is dated one nanosecond later, so a
version never repeats and one `stat` tells whether an object changed.

The root may be a link, which is the operator's choice; below it no link is followed. Bytes are read
at the very path of their key. A version is only compared, so a file that still has it is the file
that was read before. Before a write or a delete each folder of the key is looked at; somebody who
may write to the store can still put a link there in between.

A static site is such a store, too. It can be made again, so nothing of it is synced, and a web
server reads it, so the umask decides about the modes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from errno import EISDIR, ELOOP
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from random import Random
from stat import S_ISLNK

from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    CHUNK_BYTES,
    NOT_MODIFIED,
    Entry,
    Found,
    Key,
    ObjectBody,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict_message,
)
from wheelyard.storage.disk import (
    fsync_all,
    fsync_path,
    link_error,
    list_no_follow,
    open_no_follow,
    storage_faults,
    write_all,
)
from wheelyard.storage.spool import FILE_MODE, UMASK_MODE, Spool

SPOOL = ".spool"
LOCKS = ".locks"
FOLDER_MODE = 0o750
MAX_FOLDER_ATTEMPTS = 64
"""How often a write meets a folder that was just removed before it gives up."""
MTIME_JITTER_NS = 1_000_000
"""Nanoseconds over which the times of writes in one tick of the clock are spread."""


class LocalStore(Store):
    """
    Objects as files below `root`, which is created if need be.

    Args:
        root: The folder.
        random: Tells apart what is written within one tick of the clock.
        is_site: Whether it is a static site, which is not synced, and has the modes of the umask.
    """

    def __init__(self, root: Path, random: Random, *, is_site: bool = False) -> None:
        self._random = random
        self._is_site = is_site
        self._root = os.path.realpath(root)  # a str, joined on the hot path
        self.spool = Spool(Path(self._root, SPOOL), None if is_site else FILE_MODE)
        try:
            Path(self._root).parent.mkdir(parents=True, exist_ok=True)
            for folder in (Path(self._root), self.spool.folder, Path(self._root, LOCKS)):
                self._new_folder(str(folder))
                self._refuse_links(str(folder))
        except OSError as error:
            what = f"No site can be written to {root}" if is_site else f"{root} cannot be a store"
            where = "another folder" if is_site else "another folder with --store"
            raise Unavailable(
                f"{what}: {error.strerror}. Choose {where}, or make this one writable.",
                short="Storage is not available.",
            ) from error

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        path = self._path(key)
        try:
            if unless_version and _version(os.lstat(path)) == unless_version:
                return NOT_MODIFIED
            with open(path, "rb", opener=open_no_follow) as file:
                return Stored(file.read(), _version(os.fstat(file.fileno())))
        except (FileNotFoundError, NotADirectoryError):
            self._check_root()
            return None
        except OSError as error:
            raise _unreadable(key, error) from error

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        try:
            path = self._path(key)
            file = open(path, "rb", buffering=0, opener=open_no_follow)  # noqa: SIM115 - the stream's
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            raise NotFound(f"The store holds nothing at {key}.") from error
        except OSError as error:
            raise _unreadable(key, error) from error
        return _chunks(key, file, start, stop)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        del kind
        target = Path(self._path(key))
        with storage_faults(str(key)):
            with ExitStack() as stack:
                stage_body = self._stage_body(body, stack, is_new=expect == ABSENT)
                self._sync(stage_body)
                version = self._place(key, stage_body, target, expect)
            with suppress(FileNotFoundError):  # deleted since, and its folder too
                self._sync(target.parent)
            return version

    def link(self, key: Key, source: Path) -> None:
        """Give a file a second name, under a key that must be new; raise OSError if it cannot."""
        self._place(key, source, Path(self._path(key)), ABSENT)

    def create_all(self, objects: Sequence[tuple[Key, ObjectBody]]) -> list[Key]:
        """See `Store`."""
        taken, unsynced = list[Key](), dict[str, None]()
        with storage_faults("files"), ExitStack() as stack:
            stage_body = [self._stage_body(body, stack, is_new=True) for _, body in objects]
            if not self._is_site:
                fsync_all(stage_body)
            for (key, _), path in zip(objects, stage_body, strict=True):
                target = Path(self._path(key))
                try:
                    self._place(key, path, target, ABSENT, unsynced)
                except Conflict:
                    taken.append(key)
                unsynced[str(target.parent)] = None
            for folder in unsynced:
                with suppress(FileNotFoundError):  # deleted since
                    self._sync(folder)
        return taken

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Remove the object, and the folders that it leaves empty."""
        target = Path(self._path(key))
        with storage_faults(str(key)):
            self._refuse_links(str(target.parent))
            with self._locked(key):
                if expect is not None and _version_at(target) != expect:
                    raise Conflict(conflict_message(key))
                with suppress(FileNotFoundError, NotADirectoryError):
                    target.unlink()
            with suppress(OSError):
                self._sync(target.parent)
                while str(target.parent) != self._root:
                    target = target.parent
                    target.rmdir()

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        self._check_root()
        if "/." not in f"/{prefix}" and "//" not in f"/{prefix}":  # of such, there are no keys
            yield from self._walk(prefix[: prefix.rfind("/") + 1], prefix, after)

    def path_of(self, key: Key) -> Path:
        """Return the path of the object's file, if there is one."""
        return Path(self._path(key))

    def _check_root(self) -> None:
        """Raise Unavailable unless the root is there: a missing disk must not look empty."""
        if not self.spool.folder.is_dir():
            raise Unavailable(
                "The store is not where it was. Mount its disk again, or restart with the right "
                "--store.",
                short="Storage is not available.",
            )

    def _path(self, key: Key) -> str:
        if key.startswith((".", "/")) or "/." in key or "//" in key or "\0" in key:
            raise ValueError(f"no key of wheelyard's: {key!r}")
        return f"{self._root}/{key}"

    def _stage_body(self, body: ObjectBody, stack: ExitStack, *, is_new: bool) -> Path:
        """
        Return a file in the spool, not synced yet; one made for this goes with `stack`.

        A spooled file is taken as it is where the key `is_new`, for that links it. A replacement
        renames its file, and so needs one of its own.
        """
        if is_new and isinstance(body, Path) and body.parent == self.spool.folder:
            return body
        stage_body, sink = self.spool.create()
        stack.callback(stage_body.unlink, missing_ok=True)
        with sink:
            _write(sink.fileno(), body)
            self._jitter_mtime(sink.fileno())
        return stage_body

    def _sync(self, path: Path | str) -> None:
        if not self._is_site:
            fsync_path(path)

    def _jitter_mtime(self, descriptor: int) -> None:
        """
        Move the modification time by up to a millisecond.

        The kernel's clock ticks slowly and inodes come back: an object that is deleted and made
        again within a tick would otherwise have its old version.
        """
        found = os.fstat(descriptor)
        later = found.st_mtime_ns + self._random.randrange(MTIME_JITTER_NS)
        os.utime(descriptor, ns=(found.st_atime_ns, later))

    def _place(
        self,
        key: Key,
        stage_body: Path,
        target: Path,
        expect: ObjectVersion | None,
        unsynced: dict[str, None] | None = None,
    ) -> ObjectVersion:
        """Give a staged file its name, in a folder that a delete may take away at any moment."""
        for _ in range(MAX_FOLDER_ATTEMPTS):
            with suppress(FileNotFoundError):
                self._make_folder(str(target.parent), unsynced)
                if expect == ABSENT:
                    return _create(key, stage_body, target)
                return self._replace(key, stage_body, target, expect)
        raise Unavailable(f"The folder of {key} keeps vanishing. Try again.")

    def _replace(
        self, key: Key, stage_body: Path, target: Path, expect: ObjectVersion | None
    ) -> ObjectVersion:
        with self._locked(key):
            try:
                before = target.lstat()
            except FileNotFoundError:
                before = None
            if expect is not None and (before is None or not _is_at(before, expect)):
                raise Conflict(conflict_message(key))
            now = stage_body.stat()
            if before is not None and now.st_mtime_ns <= before.st_mtime_ns:
                os.utime(stage_body, ns=(now.st_atime_ns, before.st_mtime_ns + 1))
            version = _version(stage_body.stat())
            stage_body.replace(target)
            return version

    def _make_folder(self, folder: str, unsynced: dict[str, None] | None = None) -> None:
        """Make a folder durably, or note in `unsynced` which folder has to be synced for that."""
        self._refuse_links(folder)
        if os.path.isdir(folder):  # noqa: PTH112 - a str at hand
            return
        above = folder[: folder.rindex("/")]
        if len(above) <= len(self._root):  # where an empty folder is, there may have been a disk
            self._check_root()
        try:
            self._new_folder(folder)
        except FileNotFoundError:
            self._make_folder(above)  # others may rely on that one at once
            self._new_folder(folder)
        if unsynced is None:
            self._sync(above)
        else:
            unsynced[above] = None

    def _refuse_links(self, place: str) -> None:
        while place != self._root:
            if os.path.islink(place):  # noqa: PTH114 - a str at hand
                raise link_error(place)
            place = place[: place.rindex("/")]

    @contextmanager
    def _locked(self, key: Key) -> Iterator[None]:
        shard = blake2b(key.encode(), digest_size=1).hexdigest()
        descriptor = self._open_lock(f"{self._root}/{LOCKS}/{shard}")
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _new_folder(self, folder: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(folder, 0o777 if self._is_site else FOLDER_MODE)  # noqa: PTH102
            if not self._is_site:
                os.chmod(folder, FOLDER_MODE)  # noqa: PTH101

    def _open_lock(self, path: str) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(
                path, flags | os.O_CREAT, UMASK_MODE if self._is_site else FILE_MODE
            )
            if not self._is_site:
                os.fchmod(descriptor, FILE_MODE)
            return descriptor

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Entry]:
        for name, is_folder in _names(f"{self._root}/{folder}"):
            path = f"{folder}{name}"
            if is_folder:
                # a folder is worth opening if some key in it could match the prefix and the start
                if path.startswith(prefix[: len(path)]) and path >= after[: len(path)]:
                    yield from self._walk(path, prefix, after)
            elif path.startswith(prefix) and path > after:
                with suppress(FileNotFoundError):
                    found = os.lstat(f"{self._root}/{path}")
                    yield Entry(Key(path), found.st_size, _version(found), found.st_mtime)


def _names(folder: str) -> list[tuple[str, bool]]:
    """Return names in the order of the keys below them, which is why a folder's ends in '/'."""
    try:
        found = list_no_follow(folder.rstrip("/"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(Key(folder), error) from error
    return sorted((f"{name}/" if is_folder else name, is_folder) for name, is_folder in found)


def _create(key: Key, stage_body: Path, target: Path) -> ObjectVersion:
    try:
        os.link(stage_body, target)
    except FileExistsError as error:
        if target.is_dir():  # which is no object, and nobody would find one there
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR)) from error
        raise Conflict(conflict_message(key)) from error
    return _version(stage_body.stat())


def _version(found: os.stat_result) -> ObjectVersion:
    return ObjectVersion(f"{found.st_mtime_ns}.{found.st_ino}.{found.st_size}")


def _is_at(found: os.stat_result, version: ObjectVersion) -> bool:
    # a link is no object, whatever its times
    return not S_ISLNK(found.st_mode) and _version(found) == version


def _version_at(path: Path) -> ObjectVersion:
    try:
        return _version(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT


def _chunks(key: Key, file: FileIO, start: int, stop: int | None) -> Iterator[bytes]:
    try:
        while stop is None or start < stop:
            wanted = CHUNK_BYTES if stop is None else min(CHUNK_BYTES, stop - start)
            chunk = os.pread(file.fileno(), wanted, start)
            if not chunk:
                return
            yield chunk
            start += len(chunk)
    except OSError as error:
        raise _unreadable(key, error) from error
    finally:
        file.close()


def _write(descriptor: int, body: ObjectBody) -> None:
    if isinstance(body, Path):
        with body.open("rb", buffering=0) as source:
            while chunk := source.read(CHUNK_BYTES):
                _write(descriptor, chunk)
        return
    write_all(descriptor, body)


def _unreadable(key: Key, error: OSError) -> Unavailable:
    if error.errno == ELOOP:
        return link_error(key)
    return Unavailable(
        f"The store could not read {key}: {error.strerror}. Look at the disk and its permissions.",
        short="Storage is not available.",
    )
