"""Sources of imports, as tests make them."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from tests.operations.making import Made
from wheelyard.sources.candidate import NO_HASHES, Candidate, PassedOver


@dataclass
class Shelf:
    """Distributions that a source offers; counts how often one is read."""

    read: list[str] = field(default_factory=list)

    def offer(
        self,
        made: Made,
        *,
        place: str = "",
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
            place=place or f"there/{made.filename}",
            read=lambda: self._reading(made),
            size=len(made.body),
            hashes=hashes or NO_HASHES,
            uploaded_at=uploaded_at,
            uploaded_by=uploaded_by,
            yanked=yanked,
        )

    @contextmanager
    def _reading(self, made: Made) -> Iterator[Iterator[bytes]]:
        self.read.append(made.filename)
        yield iter([made.body[:100], made.body[100:]])


@dataclass(frozen=True)
class Listed:
    """A source that offers these, one after the other."""

    all: Iterable[Candidate | PassedOver]

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is."""
        yield from self.all
