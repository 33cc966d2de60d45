"""What becomes of what appears in a place that is watched."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bucket.server import running_bucket_server
from tests.catalog.faulty import FaultyStore
from tests.operations.making import make_sdist, make_wheel
from tests.operations.watches import listed, settle, watching
from tests.operations.world import World
from tests.sources.offering import Pauses
from wheelyard.index import index_over
from wheelyard.operations.watching import QUIET
from wheelyard.settings.sections import Settings
from wheelyard.sources.buckets import open_view
from wheelyard.sources.places import FolderPlace, Item
from wheelyard.storage.spool import Spool

pytestmark = pytest.mark.usefixtures("log")


def test_what_is_there_and_what_appears(
    world: World, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """What is there is imported at the first look, what appears as soon as two looks agree."""
    settle(world, make_wheel().write(folder))
    watch = watching(world, FolderPlace(folder))

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
    """A file that grows waits until two looks have found it the same."""
    made = make_wheel()
    watch = watching(world, FolderPlace(folder))
    watch.look()
    path = folder / made.filename
    for stop in range(100, len(made.body), 100):
        path.write_bytes(made.body[:stop])
        settle(world, path)
        watch.look()
    path.write_bytes(made.body)
    watch.look()
    assert listed(world) == set()

    watch.look()

    assert listed(world) == {made.filename}
    assert log.messages[1:] == [f"{folder}: imported 1 file"]


def test_a_file_that_was_just_written(world: World, folder: Path) -> None:
    """What is there at the first look waits if it was touched within the last second."""
    path = make_wheel().write(folder)
    world.clock.now = datetime.fromtimestamp(path.stat().st_ctime + QUIET / 2, UTC)
    watch = watching(world, FolderPlace(folder))
    watch.look()
    assert listed(world) == set()

    watch.look()

    assert listed(world) == {path.name}


def test_other_files(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """Hidden files, those with temporary names and the store are passed by, in silence."""
    made = make_wheel()
    for name in (f".{made.filename}", f"{made.filename}.part", f"{made.filename}.tmp", "README"):
        (folder / name).write_bytes(made.body)
    for name in (".hidden", "store"):
        (folder / name).mkdir()
        made.write(folder / name)
    settle(world, folder)
    watch = watching(world, FolderPlace(folder, (folder / "store",)))

    assert [watch.look().is_idle for _ in range(3)] == [True, True, True]

    assert log.messages == [f"{folder}: imported 0 files"]


@dataclass(frozen=True, slots=True)
class Counted(FolderPlace):
    """A folder that counts what is read there."""

    opened: list[str] = field(default_factory=list)

    def read(self, item: Item) -> AbstractContextManager[Iterator[bytes]]:
        """Open a file."""
        self.opened.append(item.path)
        return FolderPlace.read(self, item)


def test_an_idle_look(world: World, folder: Path) -> None:
    """A look at what is known asks the store nothing and opens nothing, refused files included."""
    bad = folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    settle(world, bad, make_wheel().write(folder))
    store = FaultyStore(world.store)
    world.index = index_over(store, Spool(world.folder), Settings(), world.index.ambient)
    place = Counted(folder)
    watch = watching(world, place)
    watch.look()
    assert sorted(place.opened) == [bad.name, make_wheel().filename]
    store.calls.clear()
    place.opened.clear()

    looks = [watch.look() for _ in range(3)]

    assert all(look.is_idle for look in looks)
    assert (store.calls, place.opened) == ([], [])


def test_what_is_passed_by(world: World, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """What somebody else imports is not imported again, and what comes after it is."""
    settle(world, make_wheel().write(folder))
    watch = watching(world, FolderPlace(folder))
    watch.pass_by()
    assert watch.look().is_idle

    settle(world, make_sdist().write(folder))
    watch.look()
    watch.look()

    assert listed(world) == {make_sdist().filename}
    assert log.messages == [f"{folder}: imported 1 file"]


@pytest.mark.integration
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
        place = open_view("gs://drop/in", (), "files/", Pauses().ambient())
        watch = watching(world, place)
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
