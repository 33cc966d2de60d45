"""Imports into a world, and what is said of them."""

from collections import Counter
from datetime import UTC, datetime

from packaging.utils import NormalizedName

from tests.operations.offers import Listed
from tests.operations.world import ALICE, World
from wheelyard.operations.importing.report import Fate, Report
from wheelyard.operations.importing.run import Importer
from wheelyard.sources.candidate import Candidate, PassedOver

DEMO = NormalizedName("demo")
LONG_AGO = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)


def importer(world: World) -> Importer:
    """Return what imports into a world."""
    return Importer(world.index.uploads)


def taken(world: World, *offers: Candidate | PassedOver) -> Report:
    """Import what is offered."""
    return importer(world).run(Listed(offers), ALICE)


def counted(**fates: int) -> Counter[Fate]:
    """Return how often each fate is expected."""
    return Counter({Fate(name): count for name, count in fates.items()})
