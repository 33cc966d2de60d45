"""What becomes of what appears in a place that is watched."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.archive.builders import END_OF_TAR, sdist_tar, tar_file
from tests.bucket.server import running_bucket_server
from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.operations.making import make_sdist, make_wheel
from tests.operations.offers import Shelf
from tests.operations.world import ALICE, World
from tests.sources.offering import Pauses
from wheelyard.index import index_over
from wheelyard.model.distribution import parse_version
from wheelyard.model.project import Status
from wheelyard.operations.importing import Importer
from wheelyard.operations.importing.report import Fate
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.watching import AGAIN, QUIET, Watch
from wheelyard.settings.sections import Settings
from wheelyard.sources.candidate import Candidate
from wheelyard.sources.sights import FolderView, Sight, View
from wheelyard.sources.views import open_view
from wheelyard.storage.spool import Spool

DEMO = NormalizedName("demo")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the operator reads."""
    caplog.set_level(logging.INFO, "wheelyard")
    return caplog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is watched."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


def watching(world: World, view: View, *, lenient: bool = False) -> Watch:
    """Return what watches a place for a world."""
    importer = Importer(world.index.uploads, world.index.projects)
    return Watch(
        view=view,
        importer=importer,
        caller=ALICE,
        ambient=world.index.ambient,
        lenient=lenient,
    )


def listed(world: World, name: NormalizedName = DEMO) -> set[str]:
    """Return the files of a project."""
    return {file.filename for file in world.index.projects.latest(name).files}


def settle(world: World, *paths: Path) -> None:
    """Let time pass until nobody has touched these files for a while."""
    touched = max(path.stat().st_ctime for path in paths)
    world.clock.now = max(world.clock.now, datetime.fromtimestamp(touched, UTC))
    world.clock.advance(seconds=QUIET + 1)


def test_what_is_there_and_what_appears(
    world: World, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """What is there is imported at the first look, what appears as soon as two looks agree."""
    settle(world, make_wheel().write(folder))
    watch = watching(world, FolderView(folder))

    watch.look()
    assert listed(world) == {make_wheel().filename}
    (folder / "deeper").mkdir()
    settle(world, make_sdist().write(folder / "deeper"))
    watch.look()
    assert listed(world) == {make_wheel().filename}
    watch.look()

    assert listed(world) == {make_wheel().filename, make_sdist().filename}
    assert log.messages == [f"{folder}: imported 1 file", f"{folder}: imported 1 file"]


def test_a_file_that_is_being_written(
    world: World, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A file that grows, or was touched within the last second, waits."""
    made = make_wheel()
    watch = watching(world, FolderView(folder))
    watch.look()
    path = folder / made.filename
    for stop in range(100, len(made.body), 100):
        path.write_bytes(made.body[:stop])
        settle(world, path)
        watch.look()
    path.write_bytes(made.body)
    world.clock.now = datetime.fromtimestamp(path.stat().st_ctime, UTC)
    watch.look()
    watch.look()
    assert listed(world) == set()
    world.clock.advance(seconds=QUIET + 0.01)

    watch.look()

    assert listed(world) == {made.filename}
    assert log.messages[1:] == [f"{folder}: imported 1 file"]


def test_other_files(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """Hidden files, those with temporary names and the store are passed by, in silence."""
    made = make_wheel()
    for name in (f".{made.filename}", f"{made.filename}.part", f"{made.filename}.tmp", "README"):
        (folder / name).write_bytes(made.body)
    for name in (".hidden", "store"):
        (folder / name).mkdir()
        made.write(folder / name)
    settle(world, folder)
    watch = watching(world, FolderView(folder, (folder / "store",)))

    assert [watch.look().is_idle for _ in range(3)] == [True, True, True]

    assert log.messages == [f"{folder}: imported 0 files"]


@dataclass
class Counted:
    """A view that counts what is made of its sights."""

    view: View
    every: float = 1.0
    offered: list[str] = field(default_factory=list)

    def sights(self, trouble: Callable[[str], None]) -> Iterator[Sight]:
        """Yield what is there now."""
        for sight in self.view.sights(trouble):
            offer = partial(self._offer, sight)
            yield Sight(sight.place, sight.mark, sight.touched_at, offer)

    def _offer(self, sight: Sight) -> Candidate:
        self.offered.append(Path(sight.place).name)
        offer = sight.offer()
        assert isinstance(offer, Candidate)
        return offer


def test_an_idle_look(world: World, folder: Path) -> None:
    """A look at what is known asks the store nothing and opens nothing, refused files included."""
    bad = folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    settle(world, bad, make_wheel().write(folder))
    store = FaultyStore(world.store)
    world.index = index_over(store, Spool(world.folder), Settings(), world.index.ambient)
    view = Counted(FolderView(folder))
    watch = watching(world, view)
    watch.look()
    assert sorted(view.offered) == [bad.name, make_wheel().filename]
    store.calls.clear()
    view.offered.clear()

    looks = [watch.look() for _ in range(3)]

    assert all(look.is_idle for look in looks)
    assert (store.calls, view.offered) == ([], [])


def test_refusals(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A refusal is told once, and again only when the file was touched; mended, it is taken."""
    made = make_wheel()
    path = folder / made.filename
    path.write_bytes(b"no wheel")
    settle(world, path)
    watch = watching(world, FolderView(folder))

    for _ in range(3):
        watch.look()
    assert len(log.messages) == 2
    assert log.messages[0].startswith(f"{path} was not imported: ")
    assert log.messages[1] == f"{folder}: imported 0 files, 1 refused"
    made.write(folder)
    settle(world, path)
    watch.look()
    watch.look()

    assert listed(world) == {made.filename}


def test_a_link_to_nowhere(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A link that leads nowhere is told once, and is followed when there is something."""
    made = make_wheel()
    settle(world, folder)
    (folder / made.filename).symlink_to(world.folder / made.filename)
    watch = watching(world, FolderView(folder))
    for _ in range(3):
        watch.look()
    assert len(log.messages) == 2

    settle(world, made.write(world.folder))
    watch.look()
    watch.look()

    assert listed(world) == {made.filename}


def test_a_store_that_is_away(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """While the store does not answer files wait; that is told once, and once that it is over."""
    settle(world, make_wheel().write(folder))
    store = FaultyStore(world.store, (Fault(Kind.NOT_DONE, verb="put", times=1000),))
    world.index = index_over(store, Spool(world.folder), Settings(), world.index.ambient)
    watch = watching(world, FolderView(folder))
    for _ in range(4):
        watch.look()
    assert len(log.messages) == 1
    store.faults = ()

    watch.look()
    watch.look()

    assert listed(world) == {make_wheel().filename}
    assert log.messages[1:] == [
        f"{folder}: what was wrong is not wrong any more",
        f"{folder}: imported 1 file",
    ]
    assert not list(world.folder.glob("upload-*"))


def test_a_folder_that_vanishes(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A folder that is gone is told of once; when it is back, nothing is told a second time."""
    bad = folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    settle(world, bad)
    watch = watching(world, FolderView(folder))
    watch.look()
    elsewhere = folder.rename(world.folder / "elsewhere")
    for _ in range(3):
        watch.look()
    assert log.messages[2:] == [f"{folder}: The folder {str(folder)!a} cannot be read: {GONE}."]
    elsewhere.rename(folder)

    watch.look()
    settle(world, make_wheel().write(folder))
    watch.look()
    watch.look()

    assert log.messages[3:] == [
        f"{folder}: what was wrong is not wrong any more",
        f"{folder}: imported 1 file",
    ]


GONE = os.strerror(2)


def test_what_is_taken_away(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """What is taken away there stays here, and what was deleted here stays away."""
    path = make_wheel().write(folder)
    settle(world, path)
    watch = watching(world, FolderView(folder))
    watch.look()
    path.unlink()
    watch.look()
    assert listed(world) == {path.name}
    world.index.lifecycle.delete(ALICE, DEMO, Selection(parse_version("1.0"), None), "")
    make_wheel().write(folder)
    settle(world, path)

    for _ in range(3):
        watch.look()

    assert listed(world) == set()
    assert log.messages[1:] == [f"{folder}: imported 0 files, 1 deleted here before"]


def test_a_project_that_takes_no_files(
    world: World, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A file that is refused for another reason than itself is tried again, in silence."""
    world.upload(make_wheel())
    world.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    settle(world, make_sdist().write(folder))
    watch = watching(world, FolderView(folder))
    watch.look()
    assert watch.look().is_idle
    for _ in range(10):
        world.clock.advance(seconds=AGAIN / 2)
        watch.look()
    assert len(log.messages) == 2
    world.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")
    world.clock.advance(hours=1)

    watch.look()

    assert make_sdist().filename in listed(world)


def test_what_is_passed_by(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """What somebody else imports is not imported again, and what comes after it is."""
    settle(world, make_wheel().write(folder))
    watch = watching(world, FolderView(folder))
    watch.pass_by()
    assert watch.look().is_idle

    settle(world, make_sdist().write(folder))
    watch.look()
    watch.look()

    assert listed(world) == {make_sdist().filename}
    assert log.messages == [f"{folder}: imported 1 file"]


def test_old_files(world: World, folder: Path) -> None:
    """Old formats are taken if that is asked for."""
    old = folder / "demo-1.0.win32.exe"
    old.write_bytes(b"MZ" + bytes(99))
    settle(world, old)

    watching(world, FolderView(folder)).look()
    assert listed(world) == set()
    watching(world, FolderView(folder), lenient=True).look()

    assert listed(world) == {old.name}


@dataclass
class Odd:
    """A view that is broken at first."""

    every: float = 1.0
    is_broken: bool = True
    found: tuple[Sight, ...] = ()

    def sights(self, trouble: Callable[[str], None]) -> Iterator[Sight]:
        """Yield what is there, if it can."""
        del trouble
        yield from self.found
        if self.is_broken:
            raise RuntimeError("a mistake")


def test_a_mistake(world: World, log: pytest.LogCaptureFixture) -> None:
    """A mistake in the code itself is told once, with where it is, and does not end the watch."""
    shelf = Shelf()
    offer = shelf.offer(make_wheel(), algorithms=("sha256",))
    view = Odd(found=(Sight("there", (1,), None, lambda: offer),))
    watch = watching(world, view)

    watch.look()
    watch.look()
    assert [record.exc_info is not None for record in log.records] == [True]
    view.is_broken = False
    watch.look()

    assert listed(world) == {make_wheel().filename}


def test_the_end(world: World) -> None:
    """When it is stopped a watch gives up what it has in hand, and leaves nothing behind."""
    shelf = Shelf()
    first, second = (shelf.offer(make_wheel(version=each)) for each in ("1.0", "2.0"))

    def stopping() -> Candidate:
        watch.stop()
        return second

    view = Odd(
        is_broken=False,
        found=(Sight("1", (1,), None, lambda: first), Sight("2", (1,), None, stopping)),
    )
    watch = watching(world, view)

    watch.run()

    assert listed(world) == set()
    assert not list(world.folder.glob("upload-*"))
    assert world.check().problems == []


def test_a_bucket(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    """What is put into a bucket is imported at the next look; a look is one request."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with running_bucket_server("drop") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        bucket = server.bucket("drop")
        bucket.put("in/demo-1.0-py3-none-any.whl", make_wheel().body)
        view = open_view("gs://drop/in", (), "files/", Pauses().ambient())
        watch = watching(world, view)
        watch.look()
        bucket.put("in/deeper/demo-1.0.tar.gz", make_sdist().body)
        bucket.put("out/demo-2.0-py3-none-any.whl", make_wheel(version="2.0").body)
        watch.look()
        bucket.put("in/demo-1.0-py3-none-any.whl", make_wheel(content=b"other").body)
        watch.look()
        server.log.clear()
        assert watch.look().is_idle
        assert server.log.kinds() == ["list"]
        server.stop()
        watch.look()
        watch.look()

    assert listed(world) == {make_wheel().filename, make_sdist().filename}
    assert len([each for each in log.messages if "was not imported: File already" in each]) == 1
    assert len([each for each in log.messages if "does not answer" in each]) == 1


def test_fates_are_counted(world: World, folder: Path) -> None:
    """A look tells how many files became what."""
    (folder / "bad-1.0.tar.gz").write_bytes(b"no archive")
    settle(world, folder / "bad-1.0.tar.gz", make_wheel().write(folder))
    world.upload(make_wheel())

    fates = watching(world, FolderView(folder)).look().report.fates

    assert (fates[Fate.THERE], fates[Fate.REFUSED], fates[Fate.NEW]) == (1, 1, 0)


def test_a_bare_archive_that_is_not_whole(world: World, folder: Path) -> None:
    """A bare tar archive that is half copied, to the end of a member, is taken when it is whole."""
    body = sdist_tar(tar_file(b"demo-1.0/x", b"x" * 512)) + END_OF_TAR
    path = folder / "demo-1.0.tar"
    watch = watching(world, FolderView(folder), lenient=True)
    path.write_bytes(body[: -len(END_OF_TAR) - 1024])
    settle(world, path)

    watch.look()
    assert listed(world) == set()

    path.write_bytes(body)
    settle(world, path)
    watch.look()
    watch.look()
    assert listed(world) == {path.name}


def test_a_link_in_circles(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A link that leads to itself keeps nothing else from being imported."""
    for name in ("loop", "loop-1.0.tar.gz"):
        (folder / name).symlink_to(name)
    settle(world, make_wheel().write(folder))

    watching(world, FolderView(folder)).look()

    assert listed(world) == {make_wheel().filename}
    assert len(log.messages) == 2
