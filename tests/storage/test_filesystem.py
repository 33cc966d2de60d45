"""The order of writes and syncs on disk, and a full disk."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.refused import refused
from tests.storage.small_disk import small_disk
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, Stored
from wheelyard.storage.local import LocalStore

pytestmark = pytest.mark.integration

BEFORE, AFTER = Key("a/before"), Key("a/after")

WRITER = """
import re
import sys
from pathlib import Path
from random import Random
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.local import LocalStore

store = LocalStore(Path(sys.argv[1]), Random(), refetchable=re.compile("copies/"))
"""
PUT = """
version = store.put(Key("new/created"), b"1", ABSENT)
store.put(Key("new/created"), b"2", version)
"""
PUT_FILE = """
path, sink = store.spool.create()
sink.write(b"1")
sink.close()
store.put_file(Key("new/1/spooled"), path)
store.put_file(Key("new/1/bytes"), b"2")
"""
PUT_COPY = """
version = store.put(Key("copies/created"), b"1", ABSENT)
store.put(Key("copies/created"), b"2", version)
store.put_file(Key("copies/1/bytes"), b"2")
body = Path(sys.argv[1]).with_name("body")
body.write_bytes(b"3")
store.put_file(Key("copies/1/copied"), body)
"""
DELETE = """
store.delete(Key("old/first"))
store.delete(Key("old/second"))
"""

ORDERS = {
    "put": (
        PUT,
        """fsync spool, fsync ., link new/created, fsync new,
        fsync spool, rename new/created, fsync new""",
    ),
    "put_file": (
        PUT_FILE,
        """link spool, fsync spool, fsync ., fsync new, rename new/1/spooled, fsync new/1,
        fsync spool, rename new/1/bytes, fsync new/1""",
    ),
    "what is elsewhere, too": (
        PUT_COPY,
        """fsync ., link copies/created, fsync spool, rename copies/created, fsync copies,
        rename copies/1/bytes, fsync spool, rename copies/1/copied""",
    ),
    "delete": (
        DELETE,
        "unlink old/first, fsync old, unlink old/second, fsync old, rmdir old",
    ),
}
"""What is done to a store, and the calls of the system that it makes."""

CALL = re.compile(
    r"^[0-9]+ +(?P<verb>fsync|link|rename|unlink|rmdir)[a-z0-9]*\((?P<rest>.*?)\) += 0$"
)
QUOTED = re.compile(r'<([^>]*)>|"([^"]*)"')


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(("what", "calls"), ORDERS.values(), ids=ORDERS)
def test_order_of_syncs(tmp_path: Path, what: str, calls: str) -> None:
    """Bytes are synced before they get a name, and a folder after that, if they could be lost."""
    root, log = tmp_path / "store", tmp_path / "log"
    store = LocalStore(root, Random())
    store.put(Key("old/first"), b"1", ABSENT)
    store.put(Key("old/second"), b"2", ABSENT)
    store.delete(Key("old/third"))  # makes the reserve, which is there from then on
    trace = "trace=fsync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", trace, sys.executable, "-c"]
    done = subprocess.run(
        [*command, WRITER + what, str(root)], check=False, capture_output=True, text=True
    )
    if "ptrace" in done.stderr:
        pytest.skip("tracing is forbidden here")
    assert done.returncode == 0, done.stderr

    assert _calls(log.read_text(), root) == re.split(r",\s+", calls)


def test_a_write_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """On a full disk a write is refused as such, leaves nothing, and reading goes on."""
    with small_disk(tmp_path, "size=64k,nr_inodes=16") as root:
        store = LocalStore(root, Random())
        store.put(BEFORE, b"there", ABSENT)
        with refused(Unavailable, "storage_full"):
            store.put(AFTER, bytes(1024**2), ABSENT)

        assert list(store.spool.folder.iterdir()) == []
        assert [entry.key for entry in store.list("")] == [BEFORE]
        found = store.get(BEFORE)
        assert isinstance(found, Stored)
        assert found.body == b"there"
        store.put(AFTER, b"small", ABSENT)


def test_read_only_disk(tmp_path: Path) -> None:
    """A disk that turns read-only refuses writes and answers every read."""
    with small_disk(tmp_path, "size=64k,nr_inodes=16") as root:
        store = LocalStore(root, Random())
        version = store.put(BEFORE, b"there", ABSENT)
        _remount(root, "ro")
        for write in (
            lambda: store.put(AFTER, b"", ABSENT),
            lambda: store.put(BEFORE, b"other", version),
            lambda: store.delete(BEFORE),
        ):
            with refused(Unavailable, "storage_unavailable"):
                write()

        assert store.get(BEFORE) == Stored(b"there", version)
        assert b"".join(store.read(BEFORE)) == b"there"
        assert [entry.key for entry in store.list("")] == [BEFORE]
        _remount(root, "rw")
        store.put(AFTER, b"", ABSENT)


def _calls(log: str, root: Path) -> list[str]:
    """Return the calls for our store: verb, and last path."""
    calls = list[str]()
    for line in log.splitlines():
        match = CALL.match(line)
        paths = ["".join(quoted) for quoted in QUOTED.findall(match["rest"])] if match else [""]
        # a name may be relative to the folder before it
        path = paths[-1] if paths[-1].startswith("/") else "/".join(paths[-2:])
        if match is not None and str(root) in path:
            name = path.removeprefix(str(root)).strip("/")
            place = "spool" if name.startswith(".spool/") else name or "."
            calls.append(f"{match['verb']} {place}")
    return [call for call in calls if call != "unlink spool"]


def _remount(root: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", root], check=True)
