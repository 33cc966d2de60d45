"""What becomes of what cannot be taken, and of an import that is broken off."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

import pytest
from packaging.utils import NormalizedName

from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.operations.making import Made, make_wheel
from tests.operations.offers import DEMO, Listed, Shelf, counted, importer, taken
from tests.operations.world import ALICE, World
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.index import index_over
from wheelyard.model.project import Status
from wheelyard.operations.importing.report import Fate
from wheelyard.operations.importing.run import Importer
from wheelyard.settings.sections import Settings
from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.storage.spool import Spool


def test_what_is_no_distribution(world: World, shelf: Shelf) -> None:
    """What is no distribution is counted; what ought to have been one is refused."""
    report = taken(
        world,
        PassedOver("there/README", "it is no package"),
        PassedOver("there/list:7", "it is damaged", is_fault=True),
        shelf.offer(Made("demo-1.0.rpm", b"")),
        shelf.offer(Made("simple-1.0.tar.gz", b"")),
    )

    assert report.fates == counted(passed_over=1, refused=3)
    assert {each.place: each.code for each in report.refused} == {
        "there/list:7": "bad_source",
        "there/demo-1.0.rpm": "invalid_filename",
        "there/simple-1.0.tar.gz": "invalid_name",
    }


def test_a_file_that_cannot_be_read(world: World, shelf: Shelf) -> None:
    """A file that the source cannot give is refused, and the others are taken."""

    @contextmanager
    def broken() -> Iterator[Iterator[bytes]]:
        yield iter(_breaking())

    def _breaking() -> Iterator[bytes]:
        yield b"PK"
        raise OSError(5, "Input/output error")

    def silent() -> NoReturn:
        raise Unavailable("That server does not answer.", code="source_unavailable")

    report = taken(
        world,
        replace(shelf.offer(make_wheel("broken")), read=broken),
        replace(shelf.offer(make_wheel("silent")), read=silent),
        shelf.offer(make_wheel()),
    )

    assert report.fates == counted(new=1, refused=2)
    assert {each.code for each in report.refused} == {"unreadable_file", "source_unavailable"}
    assert list(world.folder.iterdir()) == []


@pytest.mark.parametrize("code", ["damaged_document", "forbidden"])
def test_a_project_that_takes_no_files(world: World, shelf: Shelf, code: str) -> None:
    """A project that is closed or damaged is told of, and the others are imported."""
    world.upload(make_wheel())
    if code == "forbidden":
        world.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    else:
        world.store.put(keys.project(DEMO), b"{", None)
    world.index = world.opened(3)
    offers = [make_wheel(version="2.0"), make_wheel(version="3.0"), make_wheel("other")]

    report = taken(world, *(shelf.offer(each) for each in offers))

    assert report.fates == counted(new=1, refused=2)
    assert {each.code for each in report.refused} == {code}


@pytest.mark.parametrize("after", range(1, 34, 4))
def test_the_store_goes_away(world: World, shelf: Shelf, after: int) -> None:
    """Where the store takes nothing any more the import ends; run again, it goes on from there."""
    made = [make_wheel(name, f"{number}.0") for name in ("a", "b", "c") for number in range(3)]
    offers = [shelf.offer(each, algorithms=("sha256",)) for each in made]
    fault = Fault(Kind.NOT_DONE, verb="put", nth=after, times=1000)
    broken = index_over(
        FaultyStore(world.store, (fault,)), Spool(world.folder), Settings(), world.index.ambient
    )

    try:
        Importer(broken.uploads).run(Listed(offers), ALICE)
    except Unavailable:
        is_cut = True
    else:
        is_cut = False
    world.index = world.opened(6)
    report = taken(world, *offers)

    # 18 objects, then a document and a journal entry for each project, then the list of names
    assert is_cut is (after <= 18 + 3 * 2 + 1)
    assert report.fates[Fate.NEW] + report.fates[Fate.THERE] == 9
    assert is_cut or report.fates == counted(there=9)
    names = world.index.projects.names.get().value
    assert names is not None
    assert names.names == ("a", "b", "c")
    assert world.check().problems == []
    assert list(world.folder.iterdir()) == []


def test_a_source_that_ends_early(world: World, shelf: Shelf) -> None:
    """What a source has offered before it failed is imported and found, or can be again."""

    def offers() -> Iterator[Candidate]:
        yield shelf.offer(make_wheel("first"))
        for number in range(600):
            yield shelf.offer(Made(f"x{number}-1.0.tar.gz", b"no archive"))
        raise Unavailable("That server does not answer any more.")

    with pytest.raises(Unavailable, match="any more"):
        importer(world).run(Listed(offers()), ALICE)

    assert len(world.opened(3).projects.get(NormalizedName("first")).files) == 1
    assert list(world.folder.iterdir()) == []


def test_a_project_that_nobody_could_find(world: World, shelf: Shelf) -> None:
    """A project whose name a crash has kept out of the list is in it after the next import."""
    offer = shelf.offer(make_wheel(), algorithms=("sha256",))
    taken(world, offer)
    world.store.delete(keys.NAMES, None)
    world.index = world.opened(3)

    assert taken(world, offer).fates == counted(there=1)
    assert world.opened(4).projects.get(DEMO).files
