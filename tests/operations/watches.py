"""What watches a place for a world, and the time that passes meanwhile."""

from datetime import UTC, datetime
from pathlib import Path

from packaging.utils import NormalizedName

from tests.operations.world import ALICE, World
from wheelyard.operations.importing.run import Importer
from wheelyard.operations.watching import QUIET, Watch
from wheelyard.sources.places import FolderPlace, Place

DEMO = NormalizedName("demo")


def watching(world: World, place: Place) -> Watch:
    """Return what watches a place for a world."""
    return Watch(
        place=place,
        importer=Importer(world.index.uploads),
        caller=ALICE,
        ambient=world.index.ambient,
        every=1.0,
        appears_whole=not isinstance(place, FolderPlace),
    )


def listed(world: World, name: NormalizedName = DEMO) -> set[str]:
    """Return the files of a project."""
    return {file.filename for file in world.index.projects.latest(name).files}


def settle(world: World, *paths: Path) -> None:
    """Let time pass until nobody has touched these files for a while."""
    touched = max(path.stat().st_ctime for path in paths)
    world.clock.now = max(world.clock.now, datetime.fromtimestamp(touched, UTC))
    world.clock.advance(seconds=QUIET + 1)
