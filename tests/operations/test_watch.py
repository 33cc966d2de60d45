"""Imports from a watched folder: new, changed, unstable and invalid files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from msgspec import field
from packaging.utils import NormalizedName

from tests.catalog.faulty_store import Fault, FaultKind, FaultyStore
from tests.fake_gcs.server import running_fake_gcs
from tests.operations.distributions import make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.sources.offering import Pauses, make_unreadable
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import (
    RETRY_SECONDS,
    SETTLE_SECONDS,
    FolderWatch,
    Importer,
)
from wheelyard.operations.lifecycle import Selection
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.candidate import SourceItem
from wheelyard.sources.file_tree import FileTree, FolderTree

pytestmark = pytest.mark.usefixtures("log")

DEMO = NormalizedName("demo")


def watching(harness: IndexHarness, place: FileTree) -> FolderWatch:
    """Return what watches a folder for an index."""
    return FolderWatch(
        tree=place,
        importer=Importer(harness.index.uploads),
        caller=ALICE,
        runtime=harness.index.runtime,
        interval=1.0,
        is_atomic=not isinstance(place, FolderTree),
    )


def scan(watch: FolderWatch, times: int) -> None:
    """Scan so many times."""
    for _ in range(times):
        watch.scan()


def listed(harness: IndexHarness, name: NormalizedName = DEMO) -> set[str]:
    """Return the files of a project."""
    return {file.filename for file in harness.index.projects.get_for_update(name).files}


def settle(harness: IndexHarness, *paths: Path) -> None:
    """Move the clock until these files count as stable."""
    touched = max(path.stat().st_ctime for path in paths)
    harness.clock.now = max(harness.clock.now, datetime.fromtimestamp(touched, UTC))
    harness.clock.advance(seconds=SETTLE_SECONDS + 1)


def test_new_files_are_imported_when_two_looks_agree(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """What is there is imported at the first look, what appears as soon as two looks agree."""
    settle(harness, make_wheel().write(folder))
    watch = watching(harness, FolderTree(folder))

    watch.scan()
    assert listed(harness) == {make_wheel().filename}
    (folder / "deeper").mkdir()
    settle(harness, make_sdist().write(folder / "deeper"))
    watch.scan()
    assert listed(harness) == {make_wheel().filename}
    watch.scan()

    assert listed(harness) == {make_wheel().filename, make_sdist().filename}
    assert log.messages == [f"{folder}: imported 1 file", f"{folder}: imported 1 file"]


def test_a_growing_file_waits(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A file that grows waits until two looks have found it the same."""
    made = make_wheel()
    watch = watching(harness, FolderTree(folder))
    watch.scan()
    path = folder / made.filename
    for stop in range(100, len(made.body), 100):
        path.write_bytes(made.body[:stop])
        settle(harness, path)
        watch.scan()
    path.write_bytes(made.body)
    watch.scan()
    assert listed(harness) == set()

    watch.scan()

    assert listed(harness) == {made.filename}
    assert log.messages[1:] == [f"{folder}: imported 1 file"]


def test_a_file_of_the_last_second_waits(harness: IndexHarness, folder: Path) -> None:
    """What is there at the first look waits if it was touched within the last second."""
    path = make_wheel().write(folder)
    harness.clock.now = datetime.fromtimestamp(path.stat().st_ctime + SETTLE_SECONDS / 2, UTC)
    watch = watching(harness, FolderTree(folder))
    watch.scan()
    assert listed(harness) == set()

    watch.scan()

    assert listed(harness) == {path.name}


class CountingFolder(FolderTree, frozen=True):
    """A folder that counts what is read there."""

    opened: list[str] = field(default_factory=list)

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        """Open a file."""
        self.opened.append(path)
        with FolderTree.read(self, path) as chunks:
            yield chunks


def test_an_idle_look_opens_nothing(harness: IndexHarness, folder: Path) -> None:
    """A look at what is known asks the store nothing and opens nothing, refused files included."""
    bad = folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    settle(harness, bad, make_wheel().write(folder))
    store = FaultyStore(harness.store)
    harness.index = harness.opened(5, store)
    place = CountingFolder(folder)
    watch = watching(harness, place)
    watch.scan()
    assert sorted(place.opened) == [bad.name, make_wheel().filename]
    store.calls.clear()
    place.opened.clear()

    looks = [watch.scan() for _ in range(3)]

    assert all(look.is_idle for look in looks)
    assert (store.calls, place.opened) == ([], [])


def test_files_of_another_process_are_skipped(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """Files that another process imported are skipped, and later ones are imported."""
    settle(harness, make_wheel().write(folder))
    watch = watching(harness, FolderTree(folder))
    watch.skip_existing()
    assert watch.scan().is_idle

    settle(harness, make_sdist().write(folder))
    scan(watch, 2)

    assert listed(harness) == {make_sdist().filename}
    assert log.messages == [f"{folder}: imported 1 file"]


@pytest.mark.integration
def test_a_bucket_is_watched_by_one_request_a_look(
    harness: IndexHarness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    """What is put into a bucket is imported at the next look; a look is one request."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with running_fake_gcs("drop") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        bucket = server.bucket("drop")
        bucket.put("in/demo-1.0-py3-none-any.whl", make_wheel().body)
        place = open_watched_tree("gs://drop/in", (), "files/", Pauses().runtime())
        watch = watching(harness, place)
        watch.scan()
        bucket.put("in/deeper/demo-1.0.tar.gz", make_sdist().body)
        bucket.put("out/demo-2.0-py3-none-any.whl", make_wheel(version="2.0").body)
        watch.scan()
        bucket.put("in/demo-1.0-py3-none-any.whl", make_wheel(content=b"other").body)
        watch.scan()
        server.log.clear()
        assert watch.scan().is_idle
        assert server.log.kinds() == ["list"]
        server.stop()
        scan(watch, 2)

    assert listed(harness) == {make_wheel().filename, make_sdist().filename}
    assert (
        len([message for message in log.messages if "was not imported: File already" in message])
        == 1
    )
    assert len([message for message in log.messages if "does not answer" in message]) == 1


def test_refused_once(harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture) -> None:
    """A refusal is told once, and again only when the file was touched; mended, it is taken."""
    made = make_wheel()
    path = folder / made.filename
    path.write_bytes(b"no wheel")
    settle(harness, path)
    watch = watching(harness, FolderTree(folder))

    scan(watch, 3)
    assert len(log.messages) == 2
    assert log.messages[0].startswith(f"{path} was not imported: ")
    assert log.messages[1] == f"{folder}: imported 0 files, 1 refused"
    made.write(folder)
    settle(harness, path)
    scan(watch, 2)

    assert listed(harness) == {made.filename}


def test_a_broken_link_is_told_once(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A link that leads nowhere, or in circles, is told once, and hides nothing else."""
    made = make_wheel()
    for name in ("loop", "loop-1.0.tar.gz"):
        (folder / name).symlink_to(name)
    settle(harness, folder)
    (folder / made.filename).symlink_to(harness.folder / made.filename)
    watch = watching(harness, FolderTree(folder))
    scan(watch, 3)
    assert len(log.messages) == 3

    settle(harness, made.write(harness.folder))
    scan(watch, 2)

    assert listed(harness) == {made.filename}


def test_files_wait_during_an_outage(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """While the store does not answer files wait; that is told once, and once that it is over."""
    settle(harness, make_wheel().write(folder))
    store = FaultyStore(harness.store, (Fault(FaultKind.NOT_DONE, verb="put", times=1000),))
    harness.index = harness.opened(5, store)
    watch = watching(harness, FolderTree(folder))
    scan(watch, 4)
    assert len(log.messages) == 1
    store.faults = ()

    scan(watch, 2)

    assert listed(harness) == {make_wheel().filename}
    assert log.messages[1:] == [
        f"{folder}: the errors of the last scan are gone",
        f"{folder}: imported 1 file",
    ]
    assert not list(harness.folder.glob("upload-*"))


def test_a_missing_folder_is_told_once(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A folder that is gone is told of once; when it is back, nothing is told a second time."""
    bad = folder / "bad-1.0.tar.gz"
    bad.write_bytes(b"no archive")
    settle(harness, bad)
    watch = watching(harness, FolderTree(folder))
    watch.scan()
    elsewhere = folder.rename(harness.folder / "elsewhere")
    scan(watch, 3)
    assert log.messages[2:] == [
        f"{folder}: The folder {str(folder)!a} cannot be read: {os.strerror(2)}."
    ]
    elsewhere.rename(folder)

    watch.scan()
    settle(harness, make_wheel().write(folder))
    scan(watch, 2)

    assert log.messages[3:] == [
        f"{folder}: the errors of the last scan are gone",
        f"{folder}: imported 1 file",
    ]


def test_an_unreadable_folder_hides_no_other(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A folder in it that cannot be read is told once, and hides no other."""
    make_unreadable(folder / "a")
    (folder / "b").mkdir()
    settle(harness, make_wheel().write(folder / "b"))
    watch = watching(harness, FolderTree(folder))

    scan(watch, 2)
    settle(harness, make_sdist().write(folder))
    scan(watch, 2)

    assert listed(harness) == {make_wheel().filename, make_sdist().filename}
    assert [message.count("The folder") for message in log.messages] == [1, 0, 0]


def test_a_removed_file_stays_published(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """What is taken away there stays here, and what was deleted here stays away."""
    path = make_wheel().write(folder)
    settle(harness, path)
    watch = watching(harness, FolderTree(folder))
    watch.scan()
    path.unlink()
    watch.scan()
    assert listed(harness) == {path.name}
    harness.index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("1.0"), None), "")
    make_wheel().write(folder)
    settle(harness, path)

    scan(watch, 3)

    assert listed(harness) == set()
    assert log.messages[1:] == [f"{folder}: imported 0 files, 1 deleted here before"]


def test_a_closed_project_is_tried_again_in_silence(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A file that is refused for another reason than itself is tried again, in silence."""
    harness.upload(make_wheel())
    harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    settle(harness, make_sdist().write(folder))
    watch = watching(harness, FolderTree(folder))
    watch.scan()
    assert watch.scan().is_idle
    for _ in range(10):
        harness.clock.advance(seconds=RETRY_SECONDS / 2)
        watch.scan()
    assert len(log.messages) == 2
    harness.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")
    harness.clock.advance(hours=1)

    watch.scan()

    assert make_sdist().filename in listed(harness)


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


def test_a_mistake_of_the_code_is_told_once(
    harness: IndexHarness, folder: Path, log: pytest.LogCaptureFixture
) -> None:
    """A mistake in the code itself is told once, with where it is, and does not end the watch."""

    def fail() -> None:
        raise RuntimeError("a mistake")

    for each in (make_wheel(), make_sdist()):
        each.write(folder)
    place = InterruptedFolder(folder, fail)
    watch = watching(harness, place)

    scan(watch, 2)
    assert [record.exc_info is not None for record in log.records] == [True]
    place.happens = lambda: None
    watch.scan()

    assert listed(harness) == {make_wheel().filename, make_sdist().filename}


def test_a_stopped_watch_leaves_nothing_behind(harness: IndexHarness, folder: Path) -> None:
    """When it is stopped a watch gives up what it has in hand, and leaves nothing behind."""
    for version in ("1.0", "2.0"):
        make_wheel(version=version).write(folder)
    place = InterruptedFolder(folder, Event().set)
    watch = watching(harness, place)
    place.happens = watch.stop

    watch.run()

    assert listed(harness) == set()
    assert not list(harness.folder.glob("upload-*"))
    assert harness.check().problems == []
