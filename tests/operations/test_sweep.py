"""Which leftovers a check removes, and what it spares."""

from datetime import timedelta

import pytest
from packaging.utils import NormalizedName

from tests.operations.damages import DEMO, LOST, SDIST, put
from tests.operations.making import make_wheel
from tests.operations.world import ALICE, World
from wheelyard.catalog import keys
from wheelyard.catalog.files import Body
from wheelyard.model.project import Status


def orphan(world: World) -> None:
    """Leave the bytes of an upload that died before its commit."""
    index = world.opened(7)
    scratch = World(world.folder)
    file = scratch.upload(LOST)
    index.files.keep(DEMO, [Body(file, LOST.arrival(world.folder).path, b"metadata")])


def test_sweep(full: World) -> None:
    """Orphans are a note; a sweep removes those older than a day, and not a single listed file."""
    healthy = full.snapshot()
    orphan(full)
    full.clock.advance(hours=23)
    assert full.check(sweep=True).swept == 0

    full.clock.advance(hours=2)
    unasked = full.check()
    assert (unasked.problems, len(unasked.notes)) == ([], 1)

    assert full.check(sweep=True).swept == 2
    assert full.snapshot() == healthy
    assert full.check(sweep=True).swept == 0


def test_sweep_of_deleted_files(full: World) -> None:
    """Bytes of a deleted file, left by a delete that died, are removed at once."""
    healthy = full.snapshot()
    put(full, keys.distribution(DEMO, SDIST.sha256, SDIST.filename), SDIST.body)

    assert full.check(sweep=True).swept == 1
    assert full.snapshot() == healthy


def test_sweep_of_scratch_files(full: World) -> None:
    """Scratch files that a killed process left are removed after a day, younger ones are noted."""
    path, sink = full.index.spool.create()
    sink.close()
    foreign = full.folder / "somebody-elses"
    foreign.touch()
    full.clock.now += timedelta(days=36_500)  # later than the clock of the file system
    assert any("scratch" in note for note in full.check().notes)

    assert full.check(sweep=True).swept == 1
    assert not path.exists()
    assert foreign.exists()


@pytest.mark.parametrize("is_old", [True, False])
def test_an_upload_renews_old_orphans(full: World, *, is_old: bool) -> None:
    """An upload that finds its bytes there renews old ones, so that no sweep takes them."""
    orphan(full)
    key = keys.distribution(DEMO, LOST.sha256, LOST.filename)
    (before,) = [entry for entry in full.store.list(key) if entry.key == key]
    full.clock.advance(hours=48 if is_old else 1)
    full.index.lifecycle.set_status(ALICE, DEMO, Status.ACTIVE, "")

    full.upload(LOST)

    (after,) = [entry for entry in full.store.list(key) if entry.key == key]
    assert (after.version != before.version) is is_old
    assert full.check(sweep=True).swept == 0
    assert full.bytes_at(key) == LOST.body


def test_a_sweep_spares_what_may_be_listed(full: World) -> None:
    """While a project's document is missing, no sweep touches its bytes, however old."""
    key = keys.project(DEMO)
    document = full.bytes_at(key)
    before = full.snapshot(keys.FILES)
    full.store.delete(key, None)
    full.clock.advance(days=3)

    assert full.check(sweep=True).problems != []
    assert full.snapshot(keys.FILES) == before
    assert full.check(rebuild=True, sweep=True).problems == []
    assert full.bytes_at(key) == document


def test_a_sweep_of_a_store_without_projects(full: World) -> None:
    """Where all documents and journals are lost, the bytes are kept: they may be all there is."""
    before = full.snapshot(keys.FILES)
    for prefix in (keys.PROJECTS, keys.JOURNAL, keys.NAMES):
        for entry in full.store.list(prefix):
            full.store.delete(entry.key, None)
    full.clock.advance(days=3)

    full.check(sweep=True)

    assert full.snapshot(keys.FILES) == before


def test_a_sweep_spares_a_listed_project_that_is_lost(full: World) -> None:
    """While a project is in the list and nothing else is left of it, its bytes are kept."""
    other = full.upload(make_wheel("other"))
    for prefix in (keys.project(NormalizedName("other")), keys.journal(NormalizedName("other"))):
        for entry in full.store.list(prefix):
            full.store.delete(entry.key, None)
    full.clock.advance(days=3)
    key = keys.distribution(NormalizedName("other"), other.sha256, other.filename)

    (problem,) = full.check(sweep=True).problems

    assert "document and journal are gone" in problem
    assert full.bytes_at(key)
