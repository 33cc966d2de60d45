"""An export is killed at every step: what is there works, and the next one finishes it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.conftest import Typed
from tests.durability.serving import environment
from tests.exporting.sites import MANIFEST, WRITES, Killed, broken, pages_of, reader, tree
from tests.exporting.yard import Yard, delete, set_status, watched_export, yank
from tests.http.packages import sdist, wheel
from wheelyard.model.project import Status

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
STEPS = (0, 8, 16)
"""After how many writes a real process is killed."""
THREADS = 4
"""Each of them leaves one scratch file at most."""

PROGRAM = """
import os, signal, sys
from pathlib import Path
from tests.exporting.sites import WRITES
from tests.exporting.yard import Yard, watched_export

left = int(sys.argv[2])

def told(verb, path):
    global left
    left -= verb in WRITES
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

watched_export(Yard(Path(sys.argv[1])).exports(), told, in_order=False)
"""


def changed(yard: Yard) -> None:
    """Change what there is in every way."""
    yard.publish(sdist("demo", "1.1"), wheel("newcomer", "1.0"))
    delete(yard.index, "demo", "1.0")
    delete(yard.index, "gone", "1.0")
    yank(yard.index, "demo", "1.1")
    set_status(yard.index, "hidden", Status.QUARANTINED)
    set_status(yard.index, "old", Status.ARCHIVED)


@pytest.fixture
def begun(yard: Yard) -> Yard:
    """An index with some projects, which have been exported."""
    names = ("gone", "hidden", "old")
    yard.publish(wheel("demo", "1.0"), wheel("demo", "1.1"), *(wheel(each) for each in names))
    yard.export()
    return yard


def killer(left: int) -> Callable[[str, str], None]:
    """Return what ends an export before it has written so many times."""
    steps = iter(range(left))

    def told(verb: str, _path: str) -> None:
        if verb in WRITES and next(steps, None) is None:
            raise Killed

    return told


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_killed_before_every_write(begun: Yard, is_first: bool) -> None:  # noqa: FBT001
    """Wherever it ends, every link leads to what it promises, and the next export finishes it."""
    changed(begun)
    fresh = begun.folder / "fresh"
    begun.export(fresh)
    for left in count():
        site = begun.folder / f"site-{left}"
        if not is_first:
            copytree(begun.site, site)
        try:
            watched_export(begun.exports(site), killer(left))
        except Killed:
            assert broken(reader(site), pages_of(site), is_begun=is_first) == [], left
            begun.export(site)
            assert tree(site) == tree(fresh), left
        else:
            assert left > 20
            return


@pytest.mark.slow
def test_a_process_is_killed(begun: Yard) -> None:
    """The same with a real process, of which a few scratch files are left at most."""
    changed(begun)
    fresh = begun.folder / "fresh"
    begun.export(fresh)
    for left in STEPS:
        other = Yard(begun.folder / f"{left}")
        copytree(begun.store, other.store)
        copytree(begun.site, other.site)
        note = other.site / MANIFEST
        there, here = begun.identity.encode(), other.identity.encode()
        note.write_bytes(note.read_bytes().replace(there, here))  # as if it had always been here
        paths = {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, other.folder, str(left)],
            check=False,
            env=environment() | paths,
        )
        assert done.returncode in {-signal.SIGKILL, 0}
        assert broken(reader(other.site), pages_of(other.site)) == [], left

        other.export()

        assert tree(other.site) == tree(fresh), left
        assert len(list(other.site.joinpath(".spool").iterdir())) <= THREADS


def test_what_a_killed_export_left(begun: Yard) -> None:
    """A scratch file of an export that was killed goes a day later, that of a living one stays."""
    spool = begun.site / ".spool"
    spool.joinpath("upload-old").write_bytes(b"half")
    spool.joinpath("upload-new").write_bytes(b"half")
    os.utime(spool / "upload-old", (0, 0))

    begun.export()

    assert [path.name for path in spool.iterdir()] == ["upload-new"]


def test_interrupted(begun: Yard, wheelyard: Typed) -> None:
    """Other options half-way: the same command again makes every page as it was asked."""
    base = "https://elsewhere.example.com"
    changed(begun)
    asked = begun.exports().asked
    with pytest.raises(Killed):
        watched_export(begun.exports(asked=type(asked)(base_url=base)), killer(9))

    done = wheelyard("export", begun.site, "--store", begun.store, "--base-url", base)

    assert done.returncode == 0
    fresh = begun.folder / "fresh"
    assert wheelyard("export", fresh, "--store", begun.store, "--base-url", base).returncode == 0
    assert tree(begun.site) == tree(fresh)
