"""
GAEPyPI's bucket: `packages/NAME/VERSION/FILE`.

NAME was only put into lower case, so `my_pkg/` and `my-pkg/` may both be there, and are one
project. There is nothing beside the files: the time of an upload is when the object was made. The
place may be the bucket, or `packages/` in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.files import distributions
from wheelyard.sources.places import Item, Place, candidate_at, where

FOLDER: Final = "packages"


@dataclass(frozen=True, slots=True)
class GaepypiSource:
    """
    What GAEPyPI has kept.

    Args:
        place: The bucket, or a copy of it.
    """

    place: Place

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is."""
        for found in distributions(self.place):
            if isinstance(found, PassedOver):
                yield found
            elif is_right(found, is_bare=True):
                yield candidate_at(self.place, found)
            else:
                yield PassedOver(
                    where(self.place, found.path), "it is not at packages/NAME/VERSION/FILE"
                )


def is_right(item: Item, *, is_bare: bool = False) -> bool:
    """
    Return whether a file lies where GAEPyPI puts one.

    Args:
        item: The file.
        is_bare: Whether the place may be `packages/` itself.
    """
    parts = item.parts
    if parts[0] == FOLDER:
        parts = parts[1:]
    elif not is_bare:
        return False
    return len(parts) == 3 and all(parts)  # noqa: PLR2004 - NAME, VERSION, FILE
