"""
What a look at a folder or a bucket shows, cheap enough to look again every few seconds.

A look opens nothing. In a folder it costs one `stat` for each file that is named like a
distribution, in a bucket one request for a thousand objects.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.files import FilesSource
from wheelyard.sources.folder import offer_of, walk
from wheelyard.sources.naming import is_offered
from wheelyard.sources.places import Place

FOLDER_EVERY: Final = 2.0
BUCKET_EVERY: Final = 60.0
"""Seconds from one look to the next: a bucket's costs money."""

Mark = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """
    A file that is named like a distribution.

    Args:
        place: Where it is, as a report names it.
        mark: Another one whenever anybody has touched the file.
        touched_at: When somebody did, seconds since the epoch; None where files appear whole.
        offer: Makes of it what an importer gets.
    """

    place: str
    mark: Mark
    touched_at: float | None
    offer: Callable[[], Candidate | PassedOver]


class View(Protocol):
    """A place to look at, again and again."""

    @property
    def every(self) -> float:
        """Seconds from one look to the next."""
        ...

    def sights(self, trouble: Callable[[str], None]) -> Iterator[Sight]:
        """
        Yield what is there now.

        Args:
            trouble: Told, in a sentence, of what could not be looked at.

        Raises:
            Unavailable: The place does not answer.
        """
        ...

    def __str__(self) -> str:
        """Return what a person calls it."""
        ...


@dataclass(frozen=True, slots=True)
class FolderView:
    """
    A folder of this machine.

    Args:
        root: Where it is.
        leave_out: Folders in it that are passed by: the store itself.
    """

    root: Path
    leave_out: tuple[Path, ...] = ()

    @property
    def every(self) -> float:
        """Seconds from one look to the next."""
        return FOLDER_EVERY

    def __str__(self) -> str:
        return str(self.root)

    def sights(self, trouble: Callable[[str], None]) -> Iterator[Sight]:
        """Yield what is there now; a folder in it that cannot be read hides no other."""

        def unreadable(folder: str, error: OSError) -> None:
            if folder == str(self.root) or not isinstance(error, FileNotFoundError):
                trouble(f"The folder {folder!a} cannot be read: {error.strerror}.")

        for entry in walk(self.root, self.leave_out, unreadable):
            if is_offered(entry.name):
                mark, touched_at = _marked(entry)
                yield Sight(entry.path, mark, touched_at, partial(offer_of, entry))


@dataclass(frozen=True, slots=True)
class BucketView:
    """
    A bucket, or what begins with a prefix in it.

    Args:
        place: Where.
    """

    place: Place

    @property
    def every(self) -> float:
        """Seconds from one look to the next."""
        return BUCKET_EVERY

    def __str__(self) -> str:
        return str(self.place)

    def sights(self, trouble: Callable[[str], None]) -> Iterator[Sight]:
        """Yield what is there now."""
        del trouble  # a listing succeeds as a whole or not at all
        for offer in FilesSource(self.place).offers():
            if isinstance(offer, Candidate):
                mark = (offer.size, offer.changed_at, offer.hashes.get("md5"))
                yield Sight(offer.place, mark, None, partial(_itself, offer))


def _itself(offer: Candidate) -> Candidate:
    return offer


def _marked(entry: "os.DirEntry[str]") -> tuple[Mark, float]:
    try:
        found = entry.stat()
    except OSError:  # a link that leads nowhere, or gone meanwhile
        return (), 0.0
    mark = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return mark, max(found.st_mtime, found.st_ctime)
