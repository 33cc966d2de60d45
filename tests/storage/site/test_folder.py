"""FolderSite is a Site, and a few things more that only a folder can be."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.storage.site.conformance import FILE, PAGE, WHEEL, A, B, SiteConformance
from wheelyard.errors import Invalid, Unavailable
from wheelyard.storage.base import ABSENT
from wheelyard.storage.site.base import Site
from wheelyard.storage.site.folder import FolderSite

SCRATCH = ".wheelyard-export/.scratch"

STOPPED = """
import sys, time
from pathlib import Path
from random import Random
from wheelyard.storage.base import WebType
from wheelyard.storage.site.folder import FolderSite

def stream():
    yield b"half"
    print("now", flush=True)
    time.sleep(60)

site = FolderSite(Path(sys.argv[1]), Random())
site.put_stream("files/a", stream, WebType("", ""))
"""

COUNTING = """
import sys
from pathlib import Path
from random import Random
from wheelyard.errors import Conflict
from wheelyard.storage.base import WebType
from wheelyard.storage.site.folder import FolderSite

site, page = FolderSite(Path(sys.argv[1]), Random()), WebType("", "")
for _ in range(int(sys.argv[2])):
    while True:
        found = site.get("counter")
        try:
            site.put("counter", b"%d" % (int(found.body) + 1), page, found.version)
        except Conflict:
            continue
        break
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the site is."""
    return tmp_path / "www" / "pypi"


@pytest.fixture
def site(root: Path) -> Iterator[FolderSite]:
    """Yield an empty site."""
    site = FolderSite(root, Random())
    yield site
    site.close()


class TestFolderSite(SiteConformance):
    """A folder."""

    @pytest.fixture
    def site(self, root: Path) -> Iterator[Site]:
        """Yield an empty site."""
        site = FolderSite(root, Random())
        yield site
        site.close()
        assert os.listdir(root / SCRATCH) == ["lock"]  # noqa: PTH208 - the names alone


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_modes(root: Path, tmp_path: Path, umask: int) -> None:
    """A web server may read what the umask lets others read, folders included."""
    (tmp_path / "private").write_bytes(b"1")
    (tmp_path / "private").chmod(0o600)
    before = os.umask(umask)
    try:
        site = FolderSite(root, Random())
        site.put(A, b"", PAGE, None)
        site.put(A, b"again", PAGE, None)
        site.put_file(FILE, tmp_path / "private", WHEEL)
        site.put_stream("files/b", lambda: iter([b"1"]), WHEEL)
        site.close()
    finally:
        os.umask(before)

    found = [(path.is_dir(), path.stat().st_mode & 0o777) for path in root.parent.rglob("*")]
    assert {mode for is_folder, mode in found if is_folder} == {0o777 & ~umask}
    assert {mode for is_folder, mode in found if not is_folder} == {0o666 & ~umask}


def test_the_same_bytes_are_not_written_again(site: FolderSite, root: Path) -> None:
    """A put of what is there leaves the file as it is, and its time as HTTP and rsync see it."""
    version = site.put(A, b"same", PAGE, None)
    before = (root / A).stat()

    again = site.put(A, b"same", PAGE, version)

    after = (root / A).stat()
    assert again == site.version(A) != version
    assert (after.st_ino, after.st_ctime_ns >= before.st_ctime_ns) == (before.st_ino, True)
    assert after.st_mtime_ns == before.st_mtime_ns + 1


def test_nothing_is_changed_in_place(site: FolderSite, root: Path, tmp_path: Path) -> None:
    """A copy that somebody has linked elsewhere keeps its bytes, and its time, after any put."""
    version = site.put(A, b"one", PAGE, None)
    (tmp_path / "backup").hardlink_to(root / A)
    before = (tmp_path / "backup").stat()

    version = site.put(A, b"one", PAGE, version)
    site.put(A, b"two", PAGE, version)

    assert (tmp_path / "backup").read_bytes() == b"one"
    assert (tmp_path / "backup").stat().st_mtime_ns == before.st_mtime_ns


def test_a_link(site: FolderSite, root: Path, tmp_path: Path) -> None:
    """A linked file is the very file, linked once; a copy of it that is there is good as well."""
    source = tmp_path / "body"
    source.write_bytes(b"bytes")

    assert site.link_file(FILE, source)
    assert not site.link_file(FILE, source)
    assert (root / FILE).samefile(source)
    assert not site.put_file(FILE, source, WHEEL)

    site.put_file("files/copied", source, WHEEL)
    assert not site.link_file("files/copied", source)
    assert not (root / "files/copied").samefile(source)
    site.put("files/half", b"by", WHEEL, None)
    assert site.link_file("files/half", source)
    assert source.stat().st_nlink == 3


def test_what_cannot_be_linked(site: FolderSite, tmp_path: Path) -> None:
    """What cannot have a second name here is refused, in a sentence that says what to do."""
    (tmp_path / "body").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "body")
    for source in (tmp_path / "missing", tmp_path, tmp_path / "link", Path("files/a")):
        with pytest.raises(Invalid, match="--files copy") as caught:
            site.link_file(FILE, source)
        assert caught.value.code == "bad_destination"

    assert list(site.names("")) == []


def test_a_link_to_another_file_system(site: FolderSite, root: Path) -> None:
    """A file of another file system is refused as such."""
    other = Path("/dev/shm")  # noqa: S108 - the one other file system that most machines have
    if not other.is_dir() or other.stat().st_dev == root.stat().st_dev:
        pytest.skip("there is no other file system")
    source = other / f"wheelyard-test-{os.getpid()}"
    source.write_bytes(b"1")
    try:
        with pytest.raises(Invalid, match="another file system"):
            site.link_file(FILE, source)
    finally:
        source.unlink()


@pytest.mark.parametrize("where", ["simple", "simple/a", "simple/a/index.html"])
def test_links_are_not_followed(site: FolderSite, root: Path, tmp_path: Path, where: str) -> None:
    """A link that somebody has put into the site leads no verb out of it, and stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / where).parent.mkdir(parents=True, exist_ok=True)
    (root / where).symlink_to(outside)

    for call in (
        lambda: site.version(A),
        lambda: site.get(A),
        lambda: site.put(A, b"", PAGE, None),
        lambda: site.put(A, b"", PAGE, ABSENT),
        lambda: site.put_stream(A, lambda: iter([b""]), PAGE),
        lambda: site.delete(A, None),
    ):
        with pytest.raises(Invalid, match="Move it away") as caught:
            call()
        assert caught.value.code == "bad_destination"
    assert list(site.names("")) == []
    assert (root / where).is_symlink()
    assert list(outside.iterdir()) == []


def test_what_is_in_the_way(site: FolderSite, root: Path) -> None:
    """A folder where an object belongs is refused, and so is an object where a folder does."""
    site.put("pypi", b"a file", PAGE, None)
    (root / A).mkdir(parents=True)
    os.mkfifo(root / "pipe")

    for path in ("pypi/a/json", A, "pipe"):
        for call in (site.version, site.get):
            with pytest.raises(Invalid, match="Move it away"):
                call(path)
        with pytest.raises(Invalid, match="Move it away"):
            site.put(path, b"", PAGE, None)

    assert [each.path for each in site.names("")] == ["pypi"]


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    """A site may be a link itself; it stays where that led when the site was opened."""
    (tmp_path / "first").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "first")
    site = FolderSite(tmp_path / "current", Random())
    (tmp_path / "second").mkdir()
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(tmp_path / "second")

    site.put(A, b"one", PAGE, None)
    site.close()

    assert (tmp_path / "first" / A).read_bytes() == b"one"
    assert list((tmp_path / "second").iterdir()) == []


def test_our_own_files_are_no_objects(site: FolderSite) -> None:
    """Scratch files and locks are in no listing, and no path names them."""
    site.put(".wheelyard-export/manifest.json", b"{}", PAGE, None)

    assert [each.path for each in site.names("")] == [".wheelyard-export/manifest.json"]
    for prefix in ("../", "/", "simple/../", f"{SCRATCH}/", f"{SCRATCH}/l"):
        assert list(site.names(prefix)) == []
    with pytest.raises(ValueError, match="no path"):
        site.put(f"{SCRATCH}/lock", b"", PAGE, None)
    with pytest.raises(ValueError, match="no path"):
        site.put("simple/", b"", PAGE, None)


def test_empty_folders_go(site: FolderSite, root: Path) -> None:
    """The last object of a folder takes the folder with it, and what others put there stays."""
    site.put(A, b"", PAGE, None)
    site.put(B, b"", PAGE, None)

    site.delete(A, None)
    assert not (root / A).parent.exists()
    (root / B).with_name("robots.txt").write_bytes(b"")
    site.delete(B, None)

    assert [path.name for path in (root / B).parent.iterdir()] == ["robots.txt"]


def test_a_site_that_cannot_be(tmp_path: Path) -> None:
    """Where there can be no folder, one sentence says so."""
    (tmp_path / "file").write_bytes(b"")

    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Unavailable, match="No site can be written to"):
            FolderSite(place, Random())


@pytest.mark.integration
def test_a_killed_run(root: Path) -> None:
    """What a killed export has left half done goes with the next; that of a living one stays."""
    command = [sys.executable, "-c", STOPPED, str(root)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE) as living,
    ):
        try:
            for process in (killed, living):
                assert process.stdout
                assert process.stdout.readline() == b"now\n"
            before = _scratch_files(root)
            killed.send_signal(signal.SIGKILL)
            killed.wait()

            FolderSite(root, Random()).close()
            between = _scratch_files(root)
        finally:
            living.kill()
            killed.kill()
    FolderSite(root, Random()).close()

    # of each, the file that it holds locked, and the half
    assert (len(before), len(between)) == (4, 2)
    assert _scratch_files(root) == set()
    assert not (root / "files").exists()


@pytest.mark.integration
def test_no_process_loses_an_increment(root: Path, site: FolderSite) -> None:
    """Processes that count one object up, each over the version that it has seen, lose no step."""
    site.put("counter", b"0", PAGE, None)
    command = [sys.executable, "-c", COUNTING, str(root), "50"]

    processes = [subprocess.Popen(command) for _ in range(4)]

    assert [process.wait() for process in processes] == [0] * 4
    found = site.get("counter")
    assert found
    assert found.body == b"200"


def test_a_site_that_is_gone(site: FolderSite, root: Path) -> None:
    """Who writes to a site that was removed meanwhile learns so."""
    shutil.rmtree(root)

    with pytest.raises(Unavailable):
        site.put(A, b"", PAGE, None)
    assert not root.exists()


def _scratch_files(root: Path) -> set[str]:
    return {path.name for path in (root / SCRATCH).iterdir()} - {"lock"}
