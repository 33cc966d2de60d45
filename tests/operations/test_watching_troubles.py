"""What becomes of a place that is watched when something is wrong with it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.operations.making import make_sdist, make_wheel
from tests.operations.watches import DEMO, listed, settle, watching
from tests.operations.world import ALICE, World
from tests.sources.offering import make_unreadable
from wheelyard.index import index_over
from wheelyard.model.distribution import parse_version
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.watching import AGAIN
from wheelyard.settings.sections import Settings
from wheelyard.sources.candidate import PassedOver
from wheelyard.sources.places import FolderPlace, Item
from wheelyard.storage.spool import Spool

pytestmark = pytest.mark.usefixtures("log")


def test_refusals(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A refusal is told once, and again only when the file was touched; mended, it is taken."""
    made = make_wheel()
    path = folder / made.filename
    path.write_bytes(b"no wheel")
    settle(world, path)
    watch = watching(world, FolderPlace(folder))

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
    watch = watching(world, FolderPlace(folder))
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
    watch = watching(world, FolderPlace(folder))
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
    watch = watching(world, FolderPlace(folder))
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


def test_a_folder_too_deep(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A folder in it that cannot be read is told once, and hides no other."""
    make_unreadable(folder / "a")
    (folder / "b").mkdir()
    settle(world, make_wheel().write(folder / "b"))
    watch = watching(world, FolderPlace(folder))

    watch.look()
    watch.look()
    settle(world, make_sdist().write(folder))
    watch.look()
    watch.look()

    assert listed(world) == {make_wheel().filename, make_sdist().filename}
    assert [message.count("The folder") for message in log.messages] == [1, 0, 0]


def test_what_is_taken_away(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """What is taken away there stays here, and what was deleted here stays away."""
    path = make_wheel().write(folder)
    settle(world, path)
    watch = watching(world, FolderPlace(folder))
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
    watch = watching(world, FolderPlace(folder))
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


class Odd:
    """A place where something happens behind the first file."""

    def __init__(self, folder: Path, happens: Callable[[], None]) -> None:
        self._folder = FolderPlace(folder)
        self.happens = happens
        self.find, self.read = self._folder.find, self._folder.read

    def items(self) -> Iterator[Item | PassedOver]:
        """Yield what is there."""
        for number, item in enumerate(self._folder.items()):
            if number:
                self.happens()
            yield item


def test_a_mistake(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A mistake in the code itself is told once, with where it is, and does not end the watch."""

    def fail() -> None:
        raise RuntimeError("a mistake")

    for each in (make_wheel(), make_sdist()):
        each.write(folder)
    place = Odd(folder, fail)
    watch = watching(world, place)

    watch.look()
    watch.look()
    assert [record.exc_info is not None for record in log.records] == [True]
    place.happens = lambda: None
    watch.look()

    assert listed(world) == {make_wheel().filename, make_sdist().filename}


def test_a_link_in_circles(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A link that leads to itself keeps nothing else from being imported."""
    for name in ("loop", "loop-1.0.tar.gz"):
        (folder / name).symlink_to(name)
    settle(world, make_wheel().write(folder))

    watching(world, FolderPlace(folder)).look()

    assert listed(world) == {make_wheel().filename}
    assert len(log.messages) == 2


def test_the_end(world: World, folder: Path) -> None:
    """When it is stopped a watch gives up what it has in hand, and leaves nothing behind."""
    for version in ("1.0", "2.0"):
        make_wheel(version=version).write(folder)
    place = Odd(folder, Event().set)
    watch = watching(world, place)
    place.happens = watch.stop

    watch.run()

    assert listed(world) == set()
    assert not list(world.folder.glob("upload-*"))
    assert world.check().problems == []
