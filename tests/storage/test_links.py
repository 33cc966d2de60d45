"""Links in a store: the root may be one, and below it none is followed by any verb."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, NotModified, Stored
from wheelyard.storage.local import LocalStore

SECRET = Key("a/b/secret")
NEW = Key("a/b/new")

NO_PROC = """
import sys
from pathlib import Path
from random import Random
from wheelyard.errors import Unavailable
from wheelyard.storage.base import Key
from wheelyard.storage.local import LocalStore

store = LocalStore(Path(sys.argv[1]), Random())
assert not Path("/proc/self").exists()
print(store.get(Key("real/1")).body.decode(), [each.key for each in store.list("real/")])
for call in (lambda: store.get(Key("a/b/secret")), lambda: list(store.list("a/b/"))):
    try:
        call()
    except Unavailable as fault:
        print(fault.message)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    """Return a store with one object."""
    store = LocalStore(root, Random())
    store.put(Key("real/1"), b"1", ABSENT)
    return store


@pytest.fixture
def outside_folder(tmp_path: Path) -> Path:
    """Return a folder beside the store, with what the store must not show."""
    folder = tmp_path / "outside"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "secret").write_bytes(b"secret")
    return folder


def _upper(root: Path, outside: Path) -> None:
    (root / "a").symlink_to(outside)


def _lower(root: Path, outside: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "b").symlink_to(outside / "b")


def _relative(root: Path, outside: Path) -> None:
    (root / "a").symlink_to(Path("..", outside.name))


def _inside(root: Path, outside: Path) -> None:
    outside.rename(root / "elsewhere")
    (root / "a").symlink_to("elsewhere")


PLANT: list[Callable[[Path, Path], None]] = [_upper, _lower, _relative, _inside]


@pytest.mark.parametrize("plant", PLANT)
def test_a_linked_folder(
    store: LocalStore, root: Path, outside_folder: Path, plant: Callable[[Path, Path], None]
) -> None:
    """A link in the place of a folder leads no verb anywhere, be it out of the store or not."""
    plant(root, outside_folder)
    scratch, sink = store.spool.create()
    sink.close()
    store.delete(Key("none"))  # makes the reserve
    before = sorted(root.parent.rglob("*"))

    for call in (
        lambda: store.get(SECRET),
        lambda: store.get(SECRET, store.get(Key("real/1")).version),  # type: ignore[union-attr]
        lambda: store.read(SECRET),
        lambda: list(store.list("a/b/")),
        lambda: list(store.list("a/b/sec")),
        lambda: store.put(SECRET, b"", None),
        lambda: store.put(NEW, b"", ABSENT),
        lambda: store.put_file(NEW, scratch),
        lambda: store.put_file(Key("a/b/c/new"), b""),
        lambda: store.delete(SECRET),
    ):
        with pytest.raises(Unavailable, match="Put the file or the folder itself there"):
            call()
    assert sorted(root.parent.rglob("*")) == before
    assert [each.key for each in store.list("real/")] == ["real/1"]


@pytest.mark.parametrize("plant", PLANT)
def test_a_listing_of_everything(
    store: LocalStore, root: Path, outside_folder: Path, plant: Callable[[Path, Path], None]
) -> None:
    """In a listing a link is one object, which cannot be read, and nothing behind it is there."""
    plant(root, outside_folder)

    keys = [each.key for each in store.list("")]

    assert SECRET not in keys
    (link,) = [key for key in keys if key.startswith("a")]
    with pytest.raises(Unavailable):
        store.get(link)
    store.delete(link)
    assert not os.path.lexists(root / link)
    assert list(root.parent.rglob("secret"))


def test_a_link_to_nothing(store: LocalStore, root: Path, tmp_path: Path) -> None:
    """A link in the place of a folder that leads to nothing is named, and nothing is made there."""
    (root / "a").symlink_to(tmp_path / "unmounted")

    for key in ("a/new", "a/b/new"):
        with pytest.raises(Unavailable, match=r"/store/a is a link.* itself there"):
            store.put(Key(key), b"", ABSENT)
    assert not (tmp_path / "unmounted").exists()


def test_a_linked_file(store: LocalStore, root: Path, outside_folder: Path) -> None:
    """A link in the place of a file is never read, and a write or delete takes only the link."""
    for name in ("1", "2", "3"):
        (root / "real" / f"link{name}").symlink_to(outside_folder / "b" / "secret")
    link = Key("real/link1")

    for call in (lambda: store.get(link), lambda: store.read(link)):
        with pytest.raises(Unavailable, match="real/link1 is a link"):
            call()
    assert [entry.key for entry in store.list(link)] == [link]
    store.delete(link)
    store.put(Key("real/link2"), b"2", None)
    store.delete(Key("real/link3"))
    assert (outside_folder / "b" / "secret").read_bytes() == b"secret"
    assert [each.key for each in store.list("")] == ["real/1", "real/link2"]


def test_a_folder_that_is_moved_and_linked(store: LocalStore, root: Path, tmp_path: Path) -> None:
    """A folder that is replaced by a symbolic link is not part of the store any more."""
    found = store.get(Key("real/1"))
    assert isinstance(found, Stored)
    (root / "real").rename(tmp_path / "moved")
    (root / "real").symlink_to(tmp_path / "moved")

    for call in (
        lambda: store.get(Key("real/1")),
        lambda: store.read(Key("real/1")),
        lambda: list(store.list("real/")),
    ):
        with pytest.raises(Unavailable):
            call()
    # of the very file that was read before, it is still told that it has not changed
    assert isinstance(store.get(Key("real/1"), found.version), NotModified)
    # but not of a copy, whatever its time
    shutil.copy2(tmp_path / "moved" / "1", tmp_path / "moved" / "copy")
    (tmp_path / "moved" / "copy").rename(tmp_path / "moved" / "1")
    with pytest.raises(Unavailable):
        store.get(Key("real/1"), found.version)


@pytest.mark.parametrize("how", ["root", "above"])
def test_the_root_may_be_a_link(tmp_path: Path, how: str) -> None:
    """An operator may link the store as a whole, or a folder above it, to wherever they want."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    store = LocalStore(link if how == "root" else link / "store", Random())
    key = Key("a/b/c")

    version = store.put(key, b"1", ABSENT)

    assert store.get(key) == Stored(b"1", version)
    assert isinstance(store.get(key, version), NotModified)
    assert b"".join(store.read(key)) == b"1"
    assert [each.key for each in store.list("")] == [key]
    store.delete(next(store.list("a/")).key)
    assert store.get(key) is None


@pytest.mark.parametrize("name", [".spool", ".locks"])
def test_the_folders_of_the_store_itself(root: Path, outside_folder: Path, name: str) -> None:
    """A store whose folder for scratch files or locks is a link is not opened."""
    root.mkdir()
    (root / name).symlink_to(outside_folder / "b")

    with pytest.raises(Unavailable, match=f"{name} is a link"):
        LocalStore(root, Random())
    assert [path.name for path in (outside_folder / "b").iterdir()] == ["secret"]


def test_a_linked_lock(store: LocalStore, root: Path, outside_folder: Path) -> None:
    """A link in the place of a lock makes no file elsewhere."""
    for number in range(256):
        lock = root / ".locks" / f"{number:02x}"
        lock.unlink(missing_ok=True)
        lock.symlink_to(outside_folder / "made")

    with pytest.raises(Unavailable):
        store.put(Key("real/1"), b"2", None)
    assert not (outside_folder / "made").exists()


@pytest.mark.integration
@pytest.mark.usefixtures("store")
def test_links_are_not_followed_without_proc(root: Path, outside_folder: Path) -> None:
    """Where the system does not say where an open file is, links are not followed either."""
    if os.getuid() or not sys.platform.startswith("linux") or not shutil.which("unshare"):
        pytest.skip("needs root on Linux, to take /proc away")
    _upper(root, outside_folder)
    hidden = 'mount -t tmpfs none /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hidden, "sh", sys.executable, "-c", NO_PROC]

    done = subprocess.run([*command, str(root)], check=False, capture_output=True, text=True)

    if "Operation not permitted" in done.stderr:
        pytest.skip("mounting is forbidden here")
    assert done.returncode == 0, done.stderr
    first, *faults = done.stdout.splitlines()
    assert first == "1 ['real/1']"
    assert ["is a link, or behind one" in each for each in faults] == [True, True]
