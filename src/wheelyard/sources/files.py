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
from wheelyard.sources.places import Item, Place, candidate_at, is_hidden, where


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
        for item in self.place.items():
            if is_offered(item.filename) and not is_hidden(item.path):
                yield candidate_at(self.place, item)
            else:
                yield from passed_over(self.place, item)


def passed_over(place: Place, item: Item) -> Iterator[PassedOver]:
    """Yield what a report says of a file that is no distribution, if anybody may miss it."""
    if not is_beside(item.filename) and not is_hidden(item.path) and item.filename:
        yield PassedOver(where(place, item.path), "it is not named like a distribution")
