"""Imports and watched folders beside an upstream index: which names they take."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.operations.fake_sources import FakeFiles, FakeSource, counted, taken
from tests.operations.in_memory_index import ALICE
from tests.operations.upstream_names import GuardedHarness
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.operations.importing.parallel_import import (
    RETRY_SECONDS,
    SETTLE_SECONDS,
    FolderWatch,
    Importer,
)
from wheelyard.sources.file_tree import FolderTree

DEMO = NormalizedName("demo")
BROKEN = Distribution("broken-1.0.tar.gz", b"no archive")


@pytest.fixture
def guarded(tmp_path: Path) -> GuardedHarness:
    """An index in memory, with a spool of its own, beside an upstream index."""
    spool = tmp_path / "spool"
    spool.mkdir()
    return GuardedHarness(spool)


def listed(guarded: GuardedHarness) -> tuple[str, ...]:
    """Return the list of private names."""
    return guarded.opened(seed=9).projects.names.get_current().names


def test_a_public_name_stops_no_other(guarded: GuardedHarness, files: FakeFiles) -> None:
    """Files of a public name are refused, and all others are imported and private."""
    made = (make_wheel("requests"), make_wheel(), make_sdist("requests"), make_wheel("acme_core"))

    report = taken(guarded, *map(files.offer, (*made, BROKEN)))

    assert report.counts == counted(new=2, refused=3)
    assert {refusal.code for refusal in report.refused} == {"public_name", "invalid_archive"}
    assert {
        refusal.is_retryable for refusal in report.refused if refusal.code == "public_name"
    } == {True}
    assert listed(guarded) == ("acme-core", "demo")
    assert "requests-1.0-py3-none-any.whl" not in files.read
    assert [*guarded.folder.glob("*")] == []
    assert sorted(set(guarded.public.asked)) == ["broken", "demo", "requests"]


def test_a_silent_upstream_refuses_new_names(guarded: GuardedHarness, files: FakeFiles) -> None:
    """While the upstream is silent, only what is private already is imported."""
    guarded.upload(make_wheel())
    guarded.public.is_down = True

    made = (make_wheel(version="2.0"), make_wheel("fresh"), make_wheel("acme_core"))
    report = taken(guarded, *map(files.offer, made))

    assert report.counts == counted(new=2, refused=1)
    assert [(refusal.code, refusal.is_retryable) for refusal in report.refused] == [
        ("upstream_unavailable", True)
    ]
    assert listed(guarded) == ("acme-core", "demo")


def test_a_name_is_asked_about_twice(guarded: GuardedHarness, files: FakeFiles) -> None:
    """The upstream is asked about a new name before its files are read, and before its claim."""
    count = 30
    made = [
        make_wheel(f"new{number:02}", version) for number in range(count) for version in ("1", "2")
    ]

    report = taken(guarded, *map(files.offer, made))

    assert report.counts == counted(new=2 * count)
    assert len(listed(guarded)) == count
    assert guarded.public.asked.count("new07") == len("12")


def test_a_refused_name_is_asked_about_once(guarded: GuardedHarness, files: FakeFiles) -> None:
    """However many files a public name has, its upstream index and the log hear of it once."""
    made = [make_wheel("requests", str(number)) for number in range(9)]

    report = taken(guarded, *map(files.offer, made))

    assert report.counts == counted(refused=9)
    assert guarded.public.asked == ["requests"]


def test_the_name_becomes_public_during_an_import(
    guarded: GuardedHarness, files: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream is asked again right before the name is claimed, for a huge project, too."""
    ask = guarded.public.ask

    def ask_once(name: NormalizedName) -> bool:
        return ask(name) or guarded.public.asked.count(name) > 1

    monkeypatch.setattr(guarded.public, "ask", ask_once)
    report = taken(guarded, files.offer(make_wheel()))
    monkeypatch.setattr("wheelyard.operations.importing.project_import.MAX_BATCH_BYTES", 1)
    huge = taken(guarded, *map(files.offer, (make_wheel("huge"), make_sdist("huge"))))

    assert report.counts == counted(refused=1)
    assert huge.counts == counted(refused=2)
    assert listed(guarded) == ()
    assert [*guarded.folder.glob("*")] == []


def test_a_dry_run_claims_nothing(guarded: GuardedHarness, files: FakeFiles) -> None:
    """A dry run says which names would be refused, and writes nothing."""
    before = guarded.snapshot()
    source = FakeSource([files.offer(make_wheel()), files.offer(make_wheel("requests"))])

    report = Importer(guarded.index.uploads).run(source, ALICE, dry_run=True)

    assert report.counts == counted(new=1, refused=1)
    assert guarded.snapshot() == before


@pytest.mark.parametrize("key", ["projects.json", "projects/demo.json"])
def test_an_outage_stops_an_import(guarded: GuardedHarness, files: FakeFiles, key: str) -> None:
    """If a name cannot be claimed or committed, the import ends, and its spool is empty."""
    guarded.store = FakeStore(guarded.store, Fault(FaultKind.NOT_DONE, "put", key, times=9))
    guarded.index = guarded.opened(seed=5)

    with pytest.raises(Unavailable):
        taken(guarded, files.offer(make_wheel()), files.offer(make_wheel("other")))

    assert [*guarded.folder.glob("*")] == []
    assert guarded.is_private("demo") is (key != keys.PROJECT_NAMES)


def test_a_list_of_names_that_cannot_be_read_stops_an_import(
    guarded: GuardedHarness, files: FakeFiles
) -> None:
    """If nobody can say which names are private, the import ends, and refuses no single file."""
    fault = Fault(FaultKind.NOT_DONE, "get", keys.PROJECT_NAMES, times=ALWAYS)
    guarded.store = FakeStore(guarded.store, fault)
    guarded.index = guarded.opened(seed=5)

    with pytest.raises(Unavailable, match="The store did not answer"):
        taken(guarded, files.offer(make_wheel()), files.offer(make_wheel("other")))

    assert files.read == []
    assert guarded.snapshot("projects/") == {}


def test_a_watched_folder(guarded: GuardedHarness, folder: Path) -> None:
    """A file of a public name in a watched folder is tried again; other files are imported."""
    guarded.public.is_down = True
    watch = FolderWatch(
        tree=FolderTree(folder),
        importer=Importer(guarded.index.uploads),
        caller=ALICE,
        runtime=guarded.index.server.runtime,
        interval=1.0,
    )
    made = (make_wheel(), make_wheel("acme_core"), make_wheel("requests"))
    touched = max(distribution.write(folder).stat().st_ctime for distribution in made)
    guarded.clock.now = max(guarded.clock.now, datetime.fromtimestamp(touched, UTC))
    guarded.clock.advance(seconds=SETTLE_SECONDS + 1)

    watch.scan()
    assert listed(guarded) == ("acme-core",)
    guarded.public.is_down = False
    guarded.clock.advance(seconds=RETRY_SECONDS + 1)
    watch.scan()

    assert listed(guarded) == ("acme-core", "demo")
