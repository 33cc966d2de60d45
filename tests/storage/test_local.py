"""LocalStore is a Store, as a static site too, and a few things more that only a folder can be."""

import fcntl
import multiprocessing
import os
from concurrent.futures import Future, ThreadPoolExecutor
from errno import EACCES, EDQUOT, EIO, ENOSPC, EROFS
from os.path import samestat
from pathlib import Path
from random import Random
from threading import Event
from types import SimpleNamespace

import pytest

from tests.refused import refused
from tests.storage.conformance import StoreConformance
from wheelyard.errors import STORAGE_FULL, Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored
from wheelyard.storage.filesystem import remote_file_system, write_all
from wheelyard.storage.local import LocalStore, require_place
from wheelyard.storage.reserve import RESERVE, RESERVE_BYTES

COUNTER = Key("counter.json")
PROCESSES = 4
INCREMENTS = 50


class TestLocalStore(StoreConformance):
    """The folder backend."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty store."""
        return LocalStore(tmp_path / "store", Random())


def test_where_a_file_is(tmp_path: Path) -> None:
    """The path of an object is the file at its key below the folder."""
    store = LocalStore(tmp_path, Random())

    assert store.path_of(Key("a/1%20")) == tmp_path / "a/1%20"


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_files_have_the_same_rights_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Files are 0640 and folders 0750, whatever the umask."""
    private, root = tmp_path / "private", tmp_path / "www" / "store"
    private.write_bytes(b"1")
    private.chmod(0o600)
    before = os.umask(umask)
    try:
        root.parent.mkdir(mode=0o750)
        store = LocalStore(root, Random())
        spooled, sink = store.spool.create()
        sink.close()
        store.put_file(Key("files/by/path"), spooled)
        store.put_file(Key("files/private"), private)
        store.put(Key("files/by/bytes"), b"", ABSENT)
        store.put(Key("files/by/bytes"), b"again", None)
    finally:
        os.umask(before)

    shown = [path for path in root.rglob("*") if path.name not in (".spool", ".locks")]
    found = [(path.is_dir(), path.stat().st_mode & 0o777) for path in (root, *shown)]
    assert {mode for is_folder, mode in found if is_folder} == {0o750}
    assert {mode for is_folder, mode in found if not is_folder} == {0o640}


@pytest.mark.parametrize("private", ["credentials/", ""])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_credentials_are_for_the_owner_alone(tmp_path: Path, umask: int, private: str) -> None:
    """Credentials, uploads on their way and locks are for the owner of the store alone."""
    before = os.umask(umask)
    try:
        store = LocalStore(tmp_path / "store", Random(), private=private)
        key = Key("credentials/sessions/key.json")
        store.put(key, b"1", ABSENT)
        store.put(key, b"2", None)
        store.put_file(Key("credentials/tokens/a.json"), b"1")
        store.delete(Key("credentials/tokens/a.json"))
        store.delete(key)
        store.put(key, b"3", ABSENT)
        store.put(Key("credentials-of-others.json"), b"1", ABSENT)
    finally:
        os.umask(before)

    root = tmp_path / "store"
    modes = {path.relative_to(root): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert {str(path): mode for path, mode in modes.items() if path.parts[0] != ".locks"} == {
        ".reserve": 0o640,
        ".spool": 0o700,
        "credentials": 0o700,
        "credentials/sessions": 0o700,
        "credentials/sessions/key.json": 0o600,
        "credentials-of-others.json": 0o640 if private else 0o600,
    }
    assert modes[Path(".locks")] == 0o700
    assert root.stat().st_mode & 0o777 == (0o750 if private else 0o700)


@pytest.mark.parametrize("private", ["credentials/", ""])
def test_folders_made_before(tmp_path: Path, private: str) -> None:
    """A store of an older version is closed to others when it is opened, and stays usable."""
    for name in ("store/credentials/sessions", "store/.spool", "store/.locks"):
        (tmp_path / name).mkdir(parents=True)
    for folder in (tmp_path / "store").rglob("*"):
        folder.chmod(0o2750)
    (tmp_path / "store").chmod(0o755)

    store = LocalStore(tmp_path / "store", Random(), private=private)

    assert store.put(Key("credentials/sessions/key.json"), b"1", ABSENT)
    protected = ["credentials", ".spool", ".locks"] if private else [".", ".spool", ".locks"]
    for name in protected:
        assert not (tmp_path / "store" / name).stat().st_mode & 0o077


def test_a_link_in_place_of_a_private_folder(tmp_path: Path) -> None:
    """What a link in the store leads to keeps its rights."""
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/credentials").symlink_to(tmp_path / "elsewhere")

    LocalStore(tmp_path / "store", Random(), private="credentials/")

    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o755


@pytest.mark.slow
def test_no_process_loses_an_increment(tmp_path: Path) -> None:
    """Processes that count one object up by compare-and-swap lose no step."""
    store = LocalStore(tmp_path, Random())
    store.put(COUNTER, b"0", ABSENT)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path,)) for _ in range(PROCESSES)]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    found = store.get(COUNTER)
    assert isinstance(found, Stored)
    assert int(found.body) == PROCESSES * INCREMENTS


def test_a_write_while_another_one_replaces_the_object(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes over a version while another writer replaces it is told that it has lost."""
    store, other = (LocalStore(tmp_path, Random(seed)) for seed in range(2))
    version = store.put(COUNTER, b"0", ABSENT)
    has_come_far = Event()  # to the lock, or without one to the end
    late = list[Future[ObjectVersion]]()
    replace, flock = os.replace, fcntl.flock

    def lock(descriptor: int, mode: int) -> None:
        has_come_far.set()
        flock(descriptor, mode)

    def replace_slowly(old: str, new: str, *, dst_dir_fd: int) -> None:
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr("wheelyard.storage.local.flock", lock)
        late.append(pool.submit(other.put, COUNTER, b"late", version))
        late[0].add_done_callback(lambda _: has_come_far.set())
        assert has_come_far.wait(30)
        replace(old, new, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", replace_slowly)
    store.put(COUNTER, b"early", version)

    with pytest.raises(Conflict):
        late[0].result()
    assert b"".join(store.read(COUNTER)) == b"early"


def test_objects_of_one_tick_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that gets the inode of a deleted one in the same tick has another time."""

    def written_at_once(descriptor: int, body: bytes) -> None:
        write_all(descriptor, body)
        os.utime(descriptor, ns=(0, 0))

    monkeypatch.setattr("wheelyard.storage.filesystem.write_all", written_at_once)
    store = LocalStore(tmp_path, Random(1))
    times = set[int]()
    for _ in range(10):
        store.put(COUNTER, b"0", ABSENT)
        times.add((tmp_path / COUNTER).stat().st_mtime_ns)
        store.delete(COUNTER)

    assert len(times) == 10


def test_time_never_goes_back(tmp_path: Path) -> None:
    """Each write of an object is younger than the one before, whatever the clock does."""
    store = LocalStore(tmp_path, Random())
    store.put(COUNTER, b"0", ABSENT)
    tomorrow = (tmp_path / COUNTER).stat().st_mtime_ns + 24 * 3600 * 10**9
    os.utime(tmp_path / COUNTER, ns=(tomorrow, tomorrow))

    times = []
    for _ in range(20):
        store.put(COUNTER, b"0", None)
        times.append((tmp_path / COUNTER).stat().st_mtime_ns)

    assert times == sorted({tomorrow, *times})[1:]


def test_nothing_is_left_in_the_spool(tmp_path: Path) -> None:
    """A write leaves no scratch file behind, whether it wins or loses."""
    store = LocalStore(tmp_path, Random())
    store.put(COUNTER, b"0", ABSENT)
    with pytest.raises(Conflict):
        store.put(COUNTER, b"1", ABSENT)
    store.put_file(COUNTER, b"2")
    store.delete(COUNTER)

    assert list(store.spool.folder.iterdir()) == []


def test_a_folder_in_the_place_of_an_object(tmp_path: Path) -> None:
    """An object whose place has a folder is refused as what the disk cannot do, not as a race."""
    store = LocalStore(tmp_path, Random())
    store.put(Key("a/1"), b"1", ABSENT)

    with pytest.raises(Unavailable, match="could not use a: Is a directory"):
        store.put(Key("a"), b"2", ABSENT)
    assert [entry.key for entry in store.list("")] == ["a/1"]


def test_a_folder_that_is_always_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write whose folder goes again and again is refused for a while, and leaves nothing."""
    store = LocalStore(tmp_path, Random())

    def removed(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "link", removed)
    with pytest.raises(Unavailable, match=r"folder of a/1 is removed again and again") as raised:
        store.put(Key("a/1"), b"1", ABSENT)

    assert raised.value.retry_after
    assert list(store.list("")) == []
    assert list(store.spool.folder.iterdir()) == []


def test_a_lost_reserve_is_made_again(tmp_path: Path) -> None:
    """The reserve of a disk, which a process has used up and died, is made by the next upload."""
    store = LocalStore(tmp_path, Random())
    store.put_file(Key("files/a"), b"1")
    (tmp_path / RESERVE).unlink()

    store.put_file(Key("files/b"), b"2")

    assert (tmp_path / RESERVE).stat().st_size == RESERVE_BYTES


@pytest.mark.parametrize(
    ("free_bytes", "is_made"), [(2 * RESERVE_BYTES, False), (2 * RESERVE_BYTES + 4096, True)]
)
def test_the_first_write_makes_the_reserve_and_leaves_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, *, is_made: bool
) -> None:
    """The first write makes the reserve of a disk on which more than its size is left then."""
    disk = SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)

    LocalStore(tmp_path, Random()).put(COUNTER, b"1", ABSENT)

    assert (tmp_path / RESERVE).exists() is is_made


@pytest.mark.parametrize(
    ("call", "number", "code", "why"),
    [
        ("open", ENOSPC, STORAGE_FULL, "no room left"),
        ("open", EDQUOT, STORAGE_FULL, "no room left"),
        ("open", EROFS, "storage_unavailable", "Read-only file system"),
        ("pwrite", EIO, "storage_unavailable", "Input/output error"),
    ],
)
def test_a_reserve_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str, why: str
) -> None:
    """An upload is refused, with the reason, where the disk does not take the reserve."""
    store = LocalStore(tmp_path, Random())
    real, reserve = getattr(os, call), tmp_path / RESERVE

    def fail(target: str | int, *args: object, **more: object) -> object:
        is_reserve = target == str(reserve)
        if isinstance(target, int) and reserve.exists():
            is_reserve = samestat(os.fstat(target), reserve.stat())
        if is_reserve:
            raise OSError(number, os.strerror(number))
        return real(target, *args, **more)

    monkeypatch.setattr(os, call, fail)
    with refused(Unavailable, code, match=why):
        store.put_file(Key("files/a"), b"1")

    assert list(store.list("")) == []


def test_an_object_that_the_disk_does_not_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object breaks off with the reason, and never ends early, where the disk fails."""
    store = LocalStore(tmp_path, Random())
    store.put(COUNTER, b"1", ABSENT)
    chunks = store.read(COUNTER)

    def fail(*_: object) -> bytes:
        raise OSError(EIO, os.strerror(EIO))

    monkeypatch.setattr(os, "pread", fail)
    why = "could not read counter.json: Input/output error. Look at the disk"
    with pytest.raises(Unavailable, match=why):
        list(chunks)


def test_what_is_not_ours_is_not_listed(tmp_path: Path) -> None:
    """Hidden files and folders, the store's own among them, are no objects."""
    store = LocalStore(tmp_path, Random())
    store.put(Key("a/1"), b"", ABSENT)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path.parent / "secret").write_bytes(b"")

    assert [entry.key for entry in store.list("")] == ["a/1"]
    for prefix in (".", ".spool/", "a/.", "../", "a/../", "/"):
        assert list(store.list(prefix)) == []


@pytest.mark.parametrize("key", ["../outside", ".spool/x", "a/../b", "a//b", "/etc/passwd", "a\0b"])
def test_no_key_leaves_the_folder(tmp_path: Path, key: str) -> None:
    """A key that would name something outside the objects is refused by every verb."""
    store = LocalStore(tmp_path / "store", Random())

    for call in (
        lambda: store.get(Key(key)),
        lambda: store.read(Key(key)),
        lambda: store.put(Key(key), b"", None),
        lambda: store.delete(Key(key)),
        lambda: store.path_of(Key(key)),
    ):
        with pytest.raises(Unavailable, match="is no key of an object"):
            call()
    assert {path.name for path in tmp_path.rglob("*")} == {"store", ".spool", ".locks"}


def _count(root: Path) -> None:
    store = LocalStore(root, Random())
    for _ in range(INCREMENTS):
        while True:
            found = store.get(COUNTER)
            assert isinstance(found, Stored)
            try:
                store.put(COUNTER, b"%d" % (int(found.body) + 1), found.version)
            except Conflict:
                continue
            break


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """A store whose disk was taken away does not look like an empty one."""
    root = tmp_path / "store"
    store = LocalStore(root, Random())
    store.put(Key("a/1"), b"1", ABSENT)
    root.rename(tmp_path / "elsewhere")

    for call in (
        lambda: store.get(Key("a/1")),
        lambda: store.read(Key("a/1")),
        lambda: list(store.list("")),
        lambda: store.put(Key("a/2"), b"2", ABSENT),
    ):
        with pytest.raises(Unavailable):
            call()
    root.mkdir()  # the empty mount point
    with pytest.raises(Unavailable):
        store.put(Key("a/2"), b"2", ABSENT)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/store", "/proc/none/store"])
def test_a_place_for_no_store(tmp_path: Path, place: str) -> None:
    """A place at which no folder can be made is told of without making one."""
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="cannot be a store"):
        require_place(tmp_path / place)
    require_place(tmp_path / "new" / "store")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv", None),
        ("/srv/nfs/store", "nfs4"),
        ("/srv/nfs/local/store", None),
        ("/srv/nfs-beside", None),
        ("/srv/a share", "cifs"),
        ("/srv/hidden", None),
    ],
)
def test_a_network_file_system_is_known(tmp_path: Path, folder: str, expected: str | None) -> None:
    """The file system of a folder is that of the nearest mount above it, and the last one there."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4\n"
        "server:/a /srv/nfs nfs4\n"
        "/dev/sdb1 /srv/nfs/local ext4\n"
        "//server/a /srv/a\\040share cifs\n"
        "server:/b /srv/hidden nfs\n"
        "/dev/sdc1 /srv/hidden xfs\n"
        "\n"
    )

    assert remote_file_system(Path(folder), mounts) == expected
    assert remote_file_system(Path(folder), tmp_path / "missing") is None


def test_a_deletion_has_the_room_of_the_reserve(tmp_path: Path) -> None:
    """On a full disk a deletion is tried again without the reserve, which is made again then."""
    store = LocalStore(tmp_path / "store", Random(1))
    reserve = tmp_path / "store" / RESERVE
    store.with_reserve(lambda: None)
    has_reserve = list[bool]()

    def delete() -> str:
        has_reserve.append(reserve.exists())
        if reserve.exists():
            raise Unavailable("The disk is full.", code=STORAGE_FULL)
        return "done"

    assert store.with_reserve(delete) == "done"

    assert has_reserve == [True, False]
    assert reserve.stat().st_size == RESERVE_BYTES


def test_the_reserve_of_another_user_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the reserve that another user has made, whom it belongs to, is replaced."""
    store = LocalStore(tmp_path / "store", Random(1))
    reserve = tmp_path / "store" / RESERVE
    store.with_reserve(lambda: None)
    reserve.write_bytes(b"of root")
    open_file = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if path == str(reserve) and reserve.exists():
            raise PermissionError(EACCES, "Permission denied")
        return open_file(path, flags, mode)

    with monkeypatch.context() as context:
        context.setattr(os, "open", refuse)
        store.with_reserve(lambda: None)

    assert reserve.stat().st_size == RESERVE_BYTES
