"""Sources of imports, as tests make them, and imports from them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from packaging.utils import NormalizedName

from tests.distributions import Distribution
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.project_import import FileStatus, Report
from wheelyard.sources.candidate import EMPTY_MAPPING, Candidate, Skipped

DEMO = NormalizedName("demo")
LONG_AGO = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass
class FakeFiles:
    """Distributions that a source offers; counts how often one is read."""

    read: list[str] = field(default_factory=list)

    def offer(
        self,
        made: Distribution,
        *,
        location: str = "",
        algorithms: tuple[str, ...] = (),
        uploaded_at: datetime | None = None,
        uploaded_by: str = "",
        yanked: str | None = None,
    ) -> Candidate:
        """Return a distribution as a source offers it, with digests of these algorithms."""
        hashes = {
            name: hashlib.new(name, made.body, usedforsecurity=False).hexdigest()
            for name in algorithms
        }
        return Candidate(
            filename=made.filename,
            location=location or f"there/{made.filename}",
            read=lambda: self._reading(made),
            size=len(made.body),
            hashes=hashes or EMPTY_MAPPING,
            uploaded_at=uploaded_at,
            uploaded_by=uploaded_by,
            yanked=yanked,
        )

    @contextmanager
    def _reading(self, made: Distribution) -> Iterator[Iterator[bytes]]:
        self.read.append(made.filename)
        yield iter([made.body[:100], made.body[100:]])


@dataclass(frozen=True)
class FakeSource:
    """A source that offers these, one after the other."""

    all: Iterable[Candidate | Skipped]

    def candidates(self) -> Iterator[Candidate | Skipped]:
        """Yield what there is."""
        yield from self.all


def importer(harness: IndexHarness) -> Importer:
    """Return the importer of an index."""
    return Importer(harness.index.uploads)


def taken(harness: IndexHarness, *candidates: Candidate | Skipped) -> Report:
    """Import what is offered."""
    return importer(harness).run(FakeSource(candidates), ALICE)


def counted(**counts: int) -> Counter[FileStatus]:
    """Return how often each fate is expected."""
    return Counter({FileStatus(name): count for name, count in counts.items()})
