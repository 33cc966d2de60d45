"""Imports from a watched folder: new, changed, unstable and invalid files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event

import pytest
from msgspec import field
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_gcs.server import running_fake_gcs
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from tests.http.servers import memory_index
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.sources.offering import make_unreadable
from wheelyard.cli.watching import build_watchers
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import (
    RETRY_SECONDS,
    SETTLE_SECONDS,
    FolderWatch,
    Importer,
)
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.candidate import SourceItem
from wheelyard.sources.file_tree import FileTree, FolderTree
from wheelyard.wiring.stores import StoreTraits

DEMO = NormalizedName("demo")
WHEEL, SDIST = make_wheel(), make_sdist()


@dataclass
class WatchHarness:
    """An index, a folder that is watched for it, and the log."""

    index: IndexHarness
    folder: Path
    caplog: pytest.LogCaptureFixture

    @property
    def log(self) -> list[str]:
        """The messages so far; where they begin with the folder, without it."""
        return [message.removeprefix(f"{self.folder}: ") for message in self.caplog.messages]

    def watch(self, place: FileTree | None = None) -> FolderWatch:
        """Return what watches the folder, or another place."""
        place = place or FolderTree(self.folder)
        return FolderWatch(
            tree=place,
            importer=Importer(self.index.index.uploads),
            caller=ALICE,
            runtime=self.index.index.server.runtime,
            interval=1.0,
            is_atomic=not isinstance(place, FolderTree),
        )

    def listed(self) -> set[str]:
        """Return the published files."""
        return {file.filename for file in self.index.index.projects.get_for_update(DEMO).files}

    def settle(self, *paths: Path) -> None:
        """Move the clock until these files count as stable."""
        touched, clock = max(path.stat().st_ctime for path in paths), self.index.clock
        clock.now = max(clock.now, datetime.fromtimestamp(touched, UTC))
        clock.advance(seconds=SETTLE_SECONDS + 1)


@pytest.fixture
def watched_folder(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> WatchHarness:
    """An empty folder that is watched for an index in memory."""
    return WatchHarness(harness, folder, log)


def scan(watch: FolderWatch, times: int) -> None:
    """Look so many times."""
    for _ in range(times):
        watch.scan()


def test_new_files_are_imported_when_two_looks_agree(watched_folder: WatchHarness) -> None:
    """What is there is imported at the first look, what appears as soon as two looks agree."""
    watched_folder.settle(WHEEL.write(watched_folder.folder))
    watch = watched_folder.watch()

    watch.scan()
    assert watched_folder.listed() == {WHEEL.filename}
    (watched_folder.folder / "deeper").mkdir()
    watched_folder.settle(SDIST.write(watched_folder.folder / "deeper"))
    watch.scan()
    assert watched_folder.listed() == {WHEEL.filename}
    watch.scan()

    assert watched_folder.listed() == {WHEEL.filename, SDIST.filename}
    assert watched_folder.log == ["imported 1 file", "imported 1 file"]


class OnePause(Event):
    """An event that is set by the first wait, whose seconds it notes."""

    seconds = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        """Note the seconds of the wait."""
        self.seconds = timeout or 0
        self.set()
        return True


@pytest.mark.parametrize(
    ("files", "pause"), [((), 40.0), ((WHEEL,), 1.0)], ids=["nothing new", "a new file"]
)
def test_a_folder_that_takes_long_to_list_is_listed_seldom(
    watched_folder: WatchHarness,
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[Distribution, ...],
    pause: float,
) -> None:
    """A folder is listed twenty times as seldom as that takes, while nothing new comes."""
    list_entries = FolderTree.entries

    def list_slowly(tree: FolderTree) -> Iterator[SourceItem]:
        watched_folder.index.clock.advance(seconds=2)
        yield from list_entries(tree)

    monkeypatch.setattr(FolderTree, "entries", list_slowly)
    for made in files:
        watched_folder.settle(made.write(watched_folder.folder))
    watch = watched_folder.watch()
    watch.stopped = OnePause()

    watch.run()

    assert watch.stopped.seconds == pause


def test_what_is_no_distribution_is_passed_over_in_silence(watched_folder: WatchHarness) -> None:
    """A file that is not named like a distribution may lie in the folder, and is not told of."""
    other = watched_folder.folder / "README.txt"
    other.write_bytes(b"Put wheels here.")
    watched_folder.settle(other, WHEEL.write(watched_folder.folder))

    scan(watched_folder.watch(), 3)

    assert watched_folder.listed() == {WHEEL.filename}
    assert watched_folder.log == ["imported 1 file"]


def test_a_growing_file_waits(watched_folder: WatchHarness) -> None:
    """A file that grows waits until two looks have found it the same."""
    watch = watched_folder.watch()
    watch.scan()
    path = watched_folder.folder / WHEEL.filename
    for stop in range(100, len(WHEEL.body), 100):
        path.write_bytes(WHEEL.body[:stop])
        watched_folder.settle(path)
        watch.scan()
    path.write_bytes(WHEEL.body)
    watch.scan()
    assert watched_folder.listed() == set()

    watch.scan()

    assert watched_folder.listed() == {WHEEL.filename}
    assert watched_folder.log[1:] == ["imported 1 file"]


def test_a_file_of_the_last_second_waits(watched_folder: WatchHarness) -> None:
    """What is there at the first look waits if it was touched within the last second."""
    touched = WHEEL.write(watched_folder.folder).stat().st_ctime
    watched_folder.index.clock.now = datetime.fromtimestamp(touched + SETTLE_SECONDS / 2, UTC)
    watch = watched_folder.watch()
    watch.scan()
    assert watched_folder.listed() == set()

    watch.scan()

    assert watched_folder.listed() == {WHEEL.filename}


class CountingFolder(FolderTree, frozen=True):
    """A folder that counts what is read there."""

    opened: list[str] = field(default_factory=list)

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        """Open a file."""
        self.opened.append(path)
        with FolderTree.read(self, path) as chunks:
            yield chunks


def test_an_idle_look_opens_nothing(watched_folder: WatchHarness) -> None:
    """A look at what is known asks the store nothing and opens nothing, refused files included."""
    bad = watched_folder.folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    watched_folder.settle(bad, WHEEL.write(watched_folder.folder))
    store = FakeStore(watched_folder.index.store)
    watched_folder.index.index = watched_folder.index.opened(5, store)
    place = CountingFolder(watched_folder.folder)
    watch = watched_folder.watch(place)
    watch.scan()
    assert sorted(place.opened) == [bad.name, WHEEL.filename]
    store.calls.clear()
    place.opened.clear()

    looks = [watch.scan() for _ in range(3)]

    assert all(look.is_idle for look in looks)
    assert (store.calls, place.opened) == ([], [])


def test_files_of_another_process_are_skipped(watched_folder: WatchHarness) -> None:
    """Files that another process imported are skipped, and later ones are imported."""
    watched_folder.settle(WHEEL.write(watched_folder.folder))
    watch = watched_folder.watch()
    watch.skip_existing()
    assert watch.scan().is_idle

    watched_folder.settle(SDIST.write(watched_folder.folder))
    scan(watch, 2)

    assert watched_folder.listed() == {SDIST.filename}
    assert watched_folder.log == ["imported 1 file"]


@pytest.mark.integration
def test_a_bucket_is_watched_by_one_request_a_look(
    watched_folder: WatchHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is put into a bucket is imported at the next look; a look is one request."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with running_fake_gcs("drop") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        bucket = server.bucket("drop")
        bucket.put("in/demo-1.0-py3-none-any.whl", WHEEL.body)
        place = open_watched_tree("gs://drop/in", (), "files/", Clock().runtime())
        watch = watched_folder.watch(place)
        watch.scan()
        bucket.put("in/deeper/demo-1.0.tar.gz", SDIST.body)
        bucket.put("out/demo-2.0-py3-none-any.whl", make_wheel(version="2.0").body)
        watch.scan()
        bucket.put("in/demo-1.0-py3-none-any.whl", make_wheel(content=b"other").body)
        watch.scan()
        server.log.clear()
        assert watch.scan().is_idle
        assert server.log.kinds() == ["list"]
        server.stop()
        scan(watch, 2)

    assert watched_folder.listed() == {WHEEL.filename, SDIST.filename}
    for words in ("was not imported: File already", "does not answer"):
        assert len([message for message in watched_folder.log if words in message]) == 1


def test_refused_once(watched_folder: WatchHarness) -> None:
    """A refusal is told once, and again only when the file was touched; mended, it is taken."""
    path = watched_folder.folder / WHEEL.filename
    path.write_bytes(b"no wheel")
    watched_folder.settle(path)
    watch = watched_folder.watch()

    scan(watch, 3)
    refusal, summary = watched_folder.log
    assert refusal.startswith(f"{path} was not imported: ")
    assert summary == "imported 0 files, 1 refused"
    watched_folder.settle(WHEEL.write(watched_folder.folder))
    scan(watch, 2)

    assert watched_folder.listed() == {WHEEL.filename}


def test_a_broken_link_is_told_once(watched_folder: WatchHarness) -> None:
    """A link that leads nowhere, or in circles, is told once, and hides nothing else."""
    for name in ("loop", "loop-1.0.tar.gz"):
        (watched_folder.folder / name).symlink_to(name)
    watched_folder.settle(watched_folder.folder)
    outside = watched_folder.index.folder
    (watched_folder.folder / WHEEL.filename).symlink_to(outside / WHEEL.filename)
    watch = watched_folder.watch()
    scan(watch, 3)
    assert len(watched_folder.log) == 3

    watched_folder.settle(WHEEL.write(outside))
    scan(watch, 2)

    assert watched_folder.listed() == {WHEEL.filename}


def test_files_wait_during_an_outage(watched_folder: WatchHarness) -> None:
    """While the store does not answer files wait; that is told once, and once that it is over."""
    watched_folder.settle(WHEEL.write(watched_folder.folder))
    store = FakeStore(watched_folder.index.store, Fault(FaultKind.NOT_DONE, verb="put", times=1000))
    watched_folder.index.index = watched_folder.index.opened(5, store)
    watch = watched_folder.watch()
    scan(watch, 4)
    assert len(watched_folder.log) == 1
    store.follow()

    scan(watch, 2)

    assert watched_folder.listed() == {WHEEL.filename}
    assert watched_folder.log[1:] == ["the errors of the last scan are gone", "imported 1 file"]
    assert not list(watched_folder.index.folder.glob("upload-*"))


def test_a_missing_folder_is_told_once(watched_folder: WatchHarness) -> None:
    """A folder that is gone is told of once; when it is back, nothing is told a second time."""
    bad = watched_folder.folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    watched_folder.settle(bad)
    watch = watched_folder.watch()
    watch.scan()
    elsewhere = watched_folder.folder.rename(watched_folder.index.folder / "elsewhere")
    scan(watch, 3)
    missing = f"The folder {str(watched_folder.folder)!a} cannot be read: {os.strerror(2)}."
    assert watched_folder.log[2:] == [missing]
    elsewhere.rename(watched_folder.folder)

    watch.scan()
    watched_folder.settle(WHEEL.write(watched_folder.folder))
    scan(watch, 2)

    assert watched_folder.log[3:] == ["the errors of the last scan are gone", "imported 1 file"]


def test_an_unreadable_folder_hides_no_other(watched_folder: WatchHarness) -> None:
    """A folder below the watched one that cannot be read is told once, and hides no other."""
    make_unreadable(watched_folder.folder / "a")
    (watched_folder.folder / "b").mkdir()
    watched_folder.settle(WHEEL.write(watched_folder.folder / "b"))
    watch = watched_folder.watch()

    scan(watch, 2)
    watched_folder.settle(SDIST.write(watched_folder.folder))
    scan(watch, 2)

    assert watched_folder.listed() == {WHEEL.filename, SDIST.filename}
    assert [message.count("The folder") for message in watched_folder.log] == [1, 0, 0]


def test_a_removed_file_stays_published(watched_folder: WatchHarness) -> None:
    """What is removed from the folder stays published; what was deleted here stays deleted."""
    path = WHEEL.write(watched_folder.folder)
    watched_folder.settle(path)
    watch = watched_folder.watch()
    watch.scan()
    path.unlink()
    watch.scan()
    assert watched_folder.listed() == {path.name}
    release = Selection(parse_version("1.0"), None)
    watched_folder.index.index.lifecycle.change("delete", ALICE, DEMO, release, "")
    watched_folder.settle(WHEEL.write(watched_folder.folder))

    scan(watch, 3)

    assert watched_folder.listed() == set()
    assert watched_folder.log[1:] == ["imported 0 files, 1 deleted here before"]


def test_a_closed_project_is_tried_again_in_silence(watched_folder: WatchHarness) -> None:
    """A file that is refused for another reason than itself is tried again, in silence."""
    lifecycle = watched_folder.index.index.lifecycle
    watched_folder.index.upload(WHEEL)
    lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    watched_folder.settle(SDIST.write(watched_folder.folder))
    watch = watched_folder.watch()
    watch.scan()
    assert watch.scan().is_idle
    for _ in range(10):
        watched_folder.index.clock.advance(seconds=RETRY_SECONDS / 2)
        watch.scan()
    assert len(watched_folder.log) == 2
    lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")
    watched_folder.index.clock.advance(hours=1)

    watch.scan()

    assert SDIST.filename in watched_folder.listed()


class InterruptedFolder:
    """A place where something happens behind the first file."""

    def __init__(self, folder: Path, happens: Callable[[], None]) -> None:
        self._folder = FolderTree(folder)
        self.happens = happens
        self.find = self._folder.find

    def entries(self) -> Iterator[SourceItem]:
        """Yield what is there."""
        for number, item in enumerate(self._folder.entries()):
            if number:
                self.happens()
            yield item


def test_a_mistake_of_the_code_is_told_once(watched_folder: WatchHarness) -> None:
    """A mistake in the code itself is told once, with where it is, and does not end the watch."""

    def fail() -> None:
        raise RuntimeError("a mistake")

    for made in (WHEEL, SDIST):
        made.write(watched_folder.folder)
    place = InterruptedFolder(watched_folder.folder, fail)
    watch = watched_folder.watch(place)

    scan(watch, 2)
    assert [record.exc_info is not None for record in watched_folder.caplog.records] == [True]
    place.happens = lambda: None
    watch.scan()

    assert watched_folder.listed() == {WHEEL.filename, SDIST.filename}


def test_a_stopped_watch_leaves_nothing_behind(watched_folder: WatchHarness) -> None:
    """A watch that is stopped lists no more, gives up what it has, and leaves nothing behind."""
    for version in ("1.0", "2.0", "3.0"):
        make_wheel(version=version).write(watched_folder.folder)
    listed = count()

    def stop() -> None:
        watch.stop()
        next(listed)

    place = InterruptedFolder(watched_folder.folder, stop)
    watch = watched_folder.watch(place)

    watch.run()

    assert next(listed) == 1
    assert watched_folder.listed() == set()
    assert not list(watched_folder.index.folder.glob("upload-*"))
    assert watched_folder.index.check().problems == []


@pytest.mark.parametrize("part", ["store", "files"])
def test_no_part_of_the_store_is_watched(tmp_path: Path, part: str) -> None:
    """A place with files of the store is not watched, as they would be imported again for ever."""
    for name in ("store", "files", "free"):
        (tmp_path / name).mkdir()
    settings = Settings(store=StoreSettings(location=str(tmp_path / "store")))
    traits = StoreTraits(files_location=str(tmp_path / "files"))
    index = memory_index(tmp_path, settings, traits=traits)

    with pytest.raises(Invalid, match=r"cannot be watched: the store .* is there"):
        build_watchers(index, [str(tmp_path / part)], lenient=False, every=None)
    free = build_watchers(index, [str(tmp_path / "free")] * 2, lenient=False, every=None)

    assert [str(watch.tree) for watch in free.watches] == [str(tmp_path / "free")]
