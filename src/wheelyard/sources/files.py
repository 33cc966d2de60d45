"""
Files in a bucket or a folder, named as distributions are, in whatever folders.

Flat, `NAME/FILE` as nginx lists it, or in `raw/` beside a static site (gcs-pypi): only the last
part of a path counts. Nothing else is known of a file but when it was put there. A bucket says that
itself; copying from bucket to bucket begins anew, so the first one is the better source.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.naming import is_beside, is_offered
from wheelyard.sources.places import FolderPlace, Item, Place, candidate_at, is_hidden, where


@dataclass(frozen=True, slots=True)
class FilesSource:
    """
    Whatever is named like a distribution.

    Args:
        place: Where.
    """

    place: Place

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is."""
        for found in distributions(self.place):
            yield found if isinstance(found, PassedOver) else candidate_at(self.place, found)

    def total(self) -> int | None:
        """Return how many distributions there are, None where it costs requests to know that."""
        if not isinstance(self.place, FolderPlace):
            return None
        return sum(isinstance(each, Item) for each in distributions(self.place))


def distributions(place: Place) -> Iterator[Item | PassedOver]:
    """
    Yield what is named like a distribution, and what a report says of other files.

    A file that nobody would miss is passed by: a hidden one, or one that goes with a distribution.
    """
    for found in place.items():
        if isinstance(found, PassedOver):
            yield found
        elif not is_hidden(found.path):
            if is_offered(found.filename):
                yield found
            elif not is_beside(found.filename):
                yield PassedOver(where(place, found.path), "it is not named like a distribution")
