"""A LocalStore that is a static site, which a web server reads."""

import os
import stat
from pathlib import Path
from random import Random

import pytest

from tests.storage.conformance import StoreConformance
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Key, Store, Stored
from wheelyard.storage.local import LocalStore

PAGE, FILE = Key("simple/a/index.html"), Key("files/a/0123/a-1-py3-none-any.whl")


class TestSite(StoreConformance):
    """A folder that a web server reads."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty site."""
        return LocalStore(tmp_path / "site", Random(), is_site=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the site is."""
    return tmp_path / "www" / "pypi"


@pytest.fixture
def site(root: Path) -> LocalStore:
    """Return an empty site."""
    return LocalStore(root, Random(), is_site=True)


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_modes(root: Path, tmp_path: Path, umask: int) -> None:
    """A web server may read what the umask lets others read, folders included."""
    private = tmp_path / "private"
    private.write_bytes(b"1")
    private.chmod(0o600)
    before = os.umask(umask)
    try:
        site = LocalStore(root, Random(), is_site=True)
        site.put(PAGE, b"", ABSENT)
        site.put(PAGE, b"again", None)
        site.put(FILE, private, ABSENT)
        spooled, sink = site.spool.create()
        sink.close()
        site.put(Key("files/b"), spooled, ABSENT)
    finally:
        os.umask(before)

    found = [(path.is_dir(), path.stat().st_mode & 0o777) for path in root.parent.rglob("*")]
    assert {mode for is_folder, mode in found if is_folder} == {0o777 & ~umask}
    assert {mode for is_folder, mode in found if not is_folder} == {0o666 & ~umask}


def test_a_link(site: LocalStore, root: Path, tmp_path: Path) -> None:
    """A linked file is the very file under a second name, and no other file is replaced by it."""
    source = tmp_path / "body"
    source.write_bytes(b"bytes")

    site.link(FILE, source)

    assert (root / FILE).samefile(source)
    with pytest.raises(Conflict):
        site.link(FILE, source)
    assert source.stat().st_nlink == 2


def test_a_backup(site: LocalStore, root: Path, tmp_path: Path) -> None:
    """A file that somebody has linked elsewhere keeps its bytes and its time: none is changed."""
    version = site.put(PAGE, b"one", ABSENT)
    (tmp_path / "backup").hardlink_to(root / PAGE)
    before = (tmp_path / "backup").stat()

    site.put(PAGE, b"one", version)

    assert (tmp_path / "backup").read_bytes() == b"one"
    assert (tmp_path / "backup").stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_in_the_way(site: LocalStore, root: Path) -> None:
    """A folder where a page belongs is refused, and so is a file where a folder does."""
    site.put(Key("pypi"), b"a file", ABSENT)
    (root / PAGE).mkdir(parents=True)

    for key in (Key("pypi/a/json"), PAGE):
        with pytest.raises(Unavailable, match=key):
            site.put(key, b"", ABSENT)

    assert [each.key for each in site.list("")] == ["pypi"]


def test_a_pipe(site: LocalStore, root: Path) -> None:
    """A pipe that somebody has put into the site keeps nobody waiting."""
    os.mkfifo(root / "pipe")

    found = site.get(Key("pipe"))

    assert isinstance(found, Stored)
    site.put(Key("pipe"), b"page", found.version)
    assert stat.S_ISREG((root / "pipe").stat().st_mode)


def test_a_site_that_cannot_be(tmp_path: Path) -> None:
    """Where there can be no folder, one sentence says so."""
    (tmp_path / "file").write_bytes(b"")

    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Unavailable, match="No site can be written to"):
            LocalStore(place, Random(), is_site=True)
